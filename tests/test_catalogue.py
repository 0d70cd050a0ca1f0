"""The catalogue is whole and right, each loss in it holds, and the package is light to import."""

import ast
import csv
import dataclasses
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib.mathtext
import numpy as np
import pytest
import tensorflow as tf

import segloss_ref as sl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from contents import ROOT, names

ENTRIES = sl.catalogue()
each = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


def losses_in(module):
    """The classes of losses that a module defines; bases have no source."""
    members = [member for member in vars(module).values() if inspect.isclass(member)]
    own = [member for member in members if member.__module__ == module.__name__]
    losses = [member for member in own if issubclass(member, sl.SegmentationLoss)]
    return [loss for loss in losses if "\nSource:" in (inspect.getdoc(loss) or "")]


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in Path(sl.losses.__path__[0]).glob("*"))
)
def test_every_loss_of_a_module_is_in_it(name):
    if name.startswith("__"):
        return
    module = importlib.import_module(f"segloss_ref.losses.{name}")
    missing = {loss.__name__ for loss in losses_in(module)} - {entry.name for entry in ENTRIES}
    assert not missing, f"segloss_ref/losses/{name}.py: put `@catalogued(...)` before {missing}"


@each
def test_every_loss_has_what_a_new_one_needs(entry):
    """Each message names the file that lacks something."""
    folder = ROOT / "tests" / "losses"
    tables = {path: path.read_text() for path in folder.glob("cases_*.py")}
    has_oracle = any(re.search(rf"\bsl\.{entry.name}\b", text) for text in tables.values())
    # What takes instance maps, and sums, have oracles in tests of their own.
    assert has_oracle or entry.loss.truth != "mask" or entry.loss is sl.CompoundLoss, (
        f"tests/losses/cases_{entry.family}.py lacks a `Case(sl.{entry.name}, oracle)`: the loss "
        "once more from its formula, in float64 NumPy"
    )
    with (ROOT / "data" / "results" / "backends.csv").open(newline="") as file:
        stored = {row["loss"] for row in csv.DictReader(file)}
    # A sum is compared by those that have names.
    assert entry.name in stored or entry.loss is sl.CompoundLoss, (
        f"data/results/backends.csv has no row of {entry.name}: run "
        "`python benchmarks/backends.py --store`"
    )
    chapter = ROOT / "book" / f"{entry.chapter}.md"
    assert chapter.exists(), f"{chapter.relative_to(ROOT)} is missing: the chapter on {entry.name}"


def test_families_come_in_order():
    families = ["distribution", "region", "boundary", "compound"]
    assert list(dict.fromkeys(entry.family for entry in ENTRIES)) == families


def test_a_list_of_its_own_each_time():
    entries = sl.catalogue()
    entries.clear()
    assert sl.catalogue() == ENTRIES
    with pytest.raises(dataclasses.FrozenInstanceError):
        ENTRIES[0].name = "mine"


@each
def test_the_class_is_named_and_documented(entry):
    assert issubclass(entry.loss, sl.SegmentationLoss) and entry.loss is getattr(sl, entry.name)
    documentation = inspect.getdoc(entry.loss)
    parts = ["Formula", "Args:", "Shapes:", "Returns:", "Raises:", "Example:", "Source:"]
    places = [documentation.find(f"\n{part}") for part in parts]
    assert -1 not in places and places == sorted(places)
    assert documentation.splitlines()[0].endswith(".") and "TODO" not in documentation


@each
def test_the_source_is_in_the_bibliography(entry):
    keys = re.findall(r"^@\w+\{([^,]+),", (ROOT / "book/references.bib").read_text(), re.MULTILINE)
    assert entry.citation in keys


@each
def test_the_formula_can_be_set(entry):
    assert entry.formula == entry.formula.strip()
    matplotlib.mathtext.MathTextParser("path").parse(f"${entry.formula}$")


def test_the_chapters_are_those_of_the_book():
    files = names()
    chapters = {f"notebooks/{entry.chapter}" for entry in ENTRIES}
    # A chapter in the folder of a family is on a loss at least, and one is on how to train with it.
    of_losses = {f for f in files if f.split("/")[1] in {e.family for e in ENTRIES}}
    assert chapters == of_losses - {"notebooks/region/optimising_dice"}


@each
def test_the_chapter_speaks_of_the_loss(entry):
    assert entry.name in (ROOT / "book" / f"{entry.chapter}.md").read_text()


@each
def test_made_without_arguments_and_from_its_configuration(entry):
    loss = entry.loss()
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is entry.loss and again.get_config() == loss.get_config()


def masks(shape):
    """An empty, a full and a one-pixel mask: one batch."""
    y = np.zeros((3, *shape), "int32")
    y[1] = 1
    y[(2, *(side // 2 for side in shape))] = 1
    return y


LOGITS = (-1e4, -3.0, 0.0, 3.0, 1e4)


@each
def test_finite_forward_and_backward_on_empty_full_and_one_pixel_masks(entry):
    """All masks with all logits in one batch: each image has a value and a slope of its own."""
    loss = entry.loss()
    for dimensions in loss.dimensions:
        for kind in loss.takes:
            y, classes = masks((8, 6, 5)[:dimensions]), 1 if kind == "binary" else 2
            if loss.truth == "mask":
                y = y[..., None] if kind == "binary" else np.eye(2, dtype="float32")[y]
            sides = np.array([1.0, -1.0], "float32")[-classes:]
            spatial = (1,) * dimensions
            logits = np.repeat(np.array(LOGITS, "float32"), len(y)).reshape(-1, *spatial, 1)
            z = np.broadcast_to(
                logits * sides, (len(logits), *y.shape[1 : dimensions + 1], classes)
            )
            y, z = np.concatenate([y] * len(LOGITS)), tf.constant(z)
            p = tf.nn.softmax(z) if kind == "exclusive" else tf.sigmoid(z)
            check_finite(made(entry, kind, from_logits=True), y, z)
            check_finite(made(entry, kind), y, p)


def made(entry, kind, **options):
    """The loss with options that a loss around a loss, or made of losses, has from within."""
    options |= {"multilabel": kind == "independent", "reduction": None}
    if "kwargs" in inspect.signature(entry.loss.__init__).parameters:
        return entry.loss(**options)
    inside = sl.DiceLoss(**options)
    return entry.loss([inside] if entry.loss is sl.CompoundLoss else inside)


def check_finite(loss, y, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(y, x)
    assert value.shape == (len(y),) and np.isfinite(value).all()
    assert np.isfinite(tape.gradient(value, x)).all()


IMPORTED = """
import json, socket, sys
import keras
before = set(sys.modules)
def refuse(*args, **kwargs):
    raise OSError("no network while importing")
socket.socket.connect = socket.getaddrinfo = refuse
import segloss_ref
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_importing_loads_neither_plots_nor_data_tools_and_asks_no_network():
    """Seen in a process of its own, beyond what Keras loads."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert "segloss_ref" in modules
    assert not modules & {"matplotlib", "pandas", "skimage", "pooch", "PIL", "tqdm", "requests"}


@pytest.mark.parametrize("path", sorted((ROOT / "segloss_ref").rglob("*.py")), ids=lambda p: p.stem)
def test_no_module_of_the_package_imports_a_backend(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert not imported & {"tensorflow", "torch", "jax"}

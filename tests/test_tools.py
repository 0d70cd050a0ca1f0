"""The tools notice a text and a notebook that differ, and what would not hold elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import elsewhere
from contents import ROOT

import notebooks

TEXT = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Title

```{code-cell} ipython3
:tags: [parameters]

a = 1
```
"""


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A chapter in step: its text, and a notebook made from it."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "TEXT", tmp_path / "book")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    text = tmp_path / "book" / "part" / "one.md"
    notebook = tmp_path / "notebooks" / "part" / "one.ipynb"
    for path in (text, notebook):
        path.parent.mkdir(parents=True)
    text.write_text(TEXT)
    (tmp_path / "book" / "page.md").write_text("# Prose, and no notebook")
    nbformat.write(notebooks.jupytext.read(text), notebook)
    return text, notebook


def test_in_step(chapter):
    assert notebooks.check() == 0


@pytest.mark.parametrize(("old", "new"), [("a = 1", "a = 2"), ("Title", "Titel"), ("param", "p")])
def test_a_changed_text_is_noticed(chapter, old, new, capsys):
    text, _ = chapter
    text.write_text(TEXT.replace(old, new))
    assert notebooks.check() == 1
    assert "one.ipynb differ: `make run` mends it" in capsys.readouterr().err


def test_a_missing_side_is_noticed(chapter, capsys):
    _, notebook = chapter
    notebook.rename(notebook.with_name("two.ipynb"))
    assert notebooks.check() == 1
    errors = capsys.readouterr().err
    assert "one.md has no notebook" in errors and "two.ipynb has no text" in errors


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"output_type": "error", "ename": "E", "evalue": "", "traceback": []}, "an error is"),
        ({"output_type": "stream", "name": "stderr", "text": "careful"}, "'careful'"),
    ],
)
def test_errors_and_warnings_in_outputs_are_noticed(chapter, output, message, capsys):
    _, path = chapter
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs = [nbformat.from_dict(output)]
    nbformat.write(notebook, path)
    assert notebooks.check() == 1
    assert message in capsys.readouterr().err


# A stand-in for another machine: a value that the notebook sees.
MACHINES = {"same": "machine = 1", "other": "machine = 2"}


def notebook_of(*cells):
    """A notebook that ran here: pairs of source and output, and tags if there are any."""
    made = [nbformat.v4.new_markdown_cell("# Title")]
    for source, text, *tags in cells:
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": tags})
        if text:
            cell.outputs = [nbformat.v4.new_output("stream", text=text)]
        made.append(cell)
    return nbformat.v4.new_notebook(cells=made)


def test_what_does_not_hold_elsewhere_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(elsewhere, "VARIANTS", MACHINES)
    notebook = notebook_of(
        ("print('the same everywhere')", "the same everywhere\n"),
        ("print(machine)", "1\n"),
        ("print(machine)", "1\n", "nbval-ignore-output"),
        ("x = machine\nassert x < 2", "", "nbval-ignore-output"),
        ("1 / 0", "", "raises-exception", "nbval-ignore-output"),
    )
    found = elsewhere.faults(notebook, tmp_path)
    line = "fails: assert x < 2 (AssertionError: )"
    assert found == {(2, "other"): "differs", (4, "other"): line}
    elsewhere.report("part/one", notebook, found)
    said = capsys.readouterr().out
    assert "2 cells do not hold elsewhere" in said and f"  4: {line}\n" in said


def test_pictures_are_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(elsewhere, "VARIANTS", {"other": MACHINES["other"]})
    show = "from IPython.display import display\ndisplay({{'{}': str(machine)}}, raw=True)"
    notebook = notebook_of((show.format("image/png"), ""), (show.format("text/html"), ""))
    for cell, kind in zip(notebook.cells[1:], ("image/png", "text/html"), strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", {kind: "1"})]
    assert elsewhere.faults(notebook, tmp_path) == {(2, "other"): "differs"}


def test_weights_are_moved_by_a_millionth(monkeypatch):
    def kernels():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        return np.concatenate([w.numpy().ravel() for w in model.weights])

    plain = kernels()
    monkeypatch.setattr(keras.Layer, "add_weight", keras.Layer.add_weight)  # is put back
    exec(elsewhere.MOVED_WEIGHTS, {})
    moved = kernels()
    np.testing.assert_allclose(moved, plain, rtol=1.2e-6)
    assert (moved[:20] != plain[:20]).mean() > 0.8  # the kernel; the bias is zero


def test_another_seed_reaches_the_initial_weights(monkeypatch):
    def kernel(seed):
        keras.utils.set_random_seed(seed)
        layer = keras.layers.Dense(2)
        layer.build((1, 3))
        return layer.kernel.numpy()

    expected = kernel(1007)
    assert (kernel(7) != expected).any()
    monkeypatch.setattr(keras.utils, "set_random_seed", keras.utils.set_random_seed)
    exec(elsewhere.OTHER_SEED.format(shift=1000), {})
    np.testing.assert_array_equal(kernel(7), expected)


@pytest.mark.parametrize(
    ("source", "trains"),
    [
        ("model.fit(x, y)", True),
        ("found = trial({}, train, held_out)", True),
        ("record = experiments.run(experiment, folder)", True),
        ("value = model.train_on_batch(x, y)", True),
        ("subprocess.run(command)", False),
        ("profit(x)", False),
    ],
)
def test_training_is_recognised(source, trains):
    assert elsewhere.trains(notebook_of((source, ""))) is trains


class Client:
    """A notebook client that runs nothing."""

    def __init__(self, *args, **kwargs):
        pass

    def execute(self):
        pass


@pytest.mark.parametrize(
    ("old", "new", "here", "stored"),
    [
        ("a = 1", "model.fit(1)", False, False),
        ("a = 1", "model.fit(1)", True, True),
        ("a = 1", "a = 2", False, True),
    ],
)
def test_new_training_is_stored_if_it_holds_elsewhere(old, new, here, stored, chapter, monkeypatch):
    text, notebook = chapter
    monkeypatch.setattr(notebooks, "NotebookClient", Client)
    monkeypatch.setattr(elsewhere, "faults", lambda *_: {(1, "seed 1"): "differs"})
    (text.parents[2] / "requirements.txt").touch()
    text.write_text(TEXT.replace(old, new))
    assert notebooks.run(False, [], here) == (0 if stored else 1)
    assert (new in notebook.read_text()) is stored


def test_prose_and_package_do_not_ask_for_elsewhere(chapter, monkeypatch):
    text, notebook = chapter
    monkeypatch.setattr(notebooks, "NotebookClient", Client)
    monkeypatch.setattr(elsewhere, "faults", lambda *_: pytest.fail("ran elsewhere"))
    (text.parents[2] / "requirements.txt").touch()
    trained = TEXT.replace("a = 1", "model.fit(1)")
    nbformat.write(notebooks.jupytext.reads(trained, "md:myst"), notebook)
    text.write_text(trained.replace("Title", "Another title"))
    assert notebooks.run(False, []) == 0
    assert "Another title" in notebook.read_text()


SOURCE = '''"""What the module is for."""

A = "text"  # a comment


class Loss:
    """Its formula."""

    #: A setting.
    name = f("a string in a call",
             "# no comment")

    def call(self, y):
        """The value.

        More of it.
        """
        return y + 1
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("What the module is for", "What it does", True),
        ("Its formula", "Its formula:\n\n    `y + 1`", True),
        ("        More of it.\n", "", True),
        ("  # a comment", "", True),
        ("    #: A setting.\n", "\n", True),
        ("y + 1\n", "y + 2\n", False),
        ('"text"', '"words"', False),
        ("a string in a call", "another", False),
        ("# no comment", "# another", False),
        ("class Loss", "class Dice", False),
        ("    def call", "def call", False),
    ],
)
def test_a_notebook_is_stale_by_code_and_not_by_words(old, new, same, chapter, monkeypatch):
    text, _ = chapter
    root = text.parents[2]
    module = root / "segloss_ref" / "losses.py"
    module.parent.mkdir()
    (root / "requirements.txt").touch()
    module.write_text(SOURCE)
    before = notebooks.digest(text)
    assert SOURCE.count(old) == 1
    module.write_text(SOURCE.replace(old, new))
    assert (notebooks.digest(text) == before) is same


def test_a_notebook_is_stale_by_the_tables_it_names(chapter):
    text, _ = chapter
    root = text.parents[2]
    (root / "requirements.txt").touch()
    text.write_text(text.read_text() + "read_table(results / 'speed', results / \"sweep\")\n")
    digests = [notebooks.digest(text)]
    for name in ("speed.csv", "sweep/b.csv", "sweep/a.csv", "sweep.json"):
        file = root / "data" / "results" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        digests.append(notebooks.digest(text))
    assert digests[0] == digests[1] and len(set(digests)) == 4


@pytest.fixture(scope="module")
def with_new_losses(tmp_path_factory):
    """A copy of the project in which two losses have been begun."""
    copy = tmp_path_factory.mktemp("new")
    for name in ("segloss_ref", "tests", "tools", "book", "_toc.yml", "pyproject.toml"):
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy / name)
    for given in (("SquaredHinge", "region"), ("PlainErrorLoss", "distribution")):
        run_in(copy, "tools/new_loss.py", *given).check_returncode()
    return copy


def run_in(copy, *command):
    environment = {**os.environ, "PYTHONPATH": str(copy), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, *command]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)


def test_a_new_loss_keeps_the_contract_from_its_first_line(with_new_losses):
    tests = ["-m", "pytest", "-q", "tests/losses/test_contract.py", "-p", "no:cacheprovider"]
    done = run_in(with_new_losses, *tests, "-k", "squared-hinge or plain-error")
    assert done.returncode == 0 and int(re.search(r"(\d+) passed", done.stdout)[1]) > 40, (
        done.stdout
    )
    for look in (["check"], ["format", "--check"]):
        done = run_in(with_new_losses, "-m", "ruff", *look, "segloss_ref", "tests/losses")
        assert done.returncode == 0, done.stdout


def test_a_new_loss_comes_last_in_its_part(with_new_losses):
    contents = yaml.safe_load((with_new_losses / "_toc.yml").read_text())
    last = {part["chapters"][-1]["file"] for part in contents["parts"]}
    assert {"notebooks/region/squared_hinge", "notebooks/distribution/plain_error"} <= last
    assert "# Squared hinge loss" in (with_new_losses / "book/region/squared_hinge.md").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("Dice", "region"), "The name must be new. Received: Dice"),
        (("squared hinge", "region"), "must be one of a class"),
        (("Squared", "topology"), "invalid choice"),
    ],
)
def test_a_name_or_family_that_cannot_be_is_refused(given, message):
    done = run_in(ROOT, "tools/new_loss.py", *given)
    assert done.returncode != 0 and message in done.stderr

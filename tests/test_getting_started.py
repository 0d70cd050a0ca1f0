"""The page for beginners runs as it stands, each block after the one before it, on each backend."""

import re
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from segloss_ref import __version__

PAGE = Path(__file__).resolve().parent.parent / "book" / "start" / "getting_started.md"


def blocks():
    """The programs of the page in their order, and those of one backend by its name."""
    found = re.findall(r"^```(?:\{code-block\} )?python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    named = [(re.match(r":name: start-(\w+)\n", each), each) for each in found]
    alone = {name[1]: each.partition("\n")[2] for name, each in named if name}
    return [each for name, each in named if not name], alone


@pytest.fixture(scope="module")
def names():
    """What the blocks that run everywhere have defined."""
    if find_spec("matplotlib"):
        import matplotlib

        matplotlib.use("agg")
    names = {}
    for block in blocks()[0]:
        if "matplotlib" not in block or find_spec("matplotlib"):
            exec(compile(block, PAGE.name, "exec"), names)
    return names


def test_the_first_loss_trains(names):
    assert len(blocks()[0]) == 6
    assert names["images"].shape == names["masks"].shape == (16, 96, 96, 1)
    assert set(np.unique(names["masks"])) == {0, 1}
    losses = names["history"].history["loss"]
    assert len(losses) == 15 and losses[-1] < 0.5 * losses[0]
    assert len(names["scores"]) == 4 and min(names["scores"]) > 0.85  # as the page says


def test_the_lines_for_this_backend_run(names):
    programs = blocks()[1]
    assert sorted(programs) == ["jax", "torch"]
    if (backend := keras.backend.backend()) not in programs:
        pytest.skip("the page has lines for PyTorch and JAX: `make backends` runs them there")
    names = dict(names)
    exec(compile(programs[backend], PAGE.name, "exec"), names)
    gradient = names["gradient"] if backend == "jax" else names["network"].weight.grad
    gradient = np.asarray(gradient)
    assert 0 < names["loss"].item() < 1
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_it_says_what_there_is_to_install():
    text = PAGE.read_text()
    assert f"segloss_ref-{__version__}-py3-none-any.whl" in text
    project = (PAGE.parents[2] / "pyproject.toml").read_text()
    for extra in set(re.findall(r'pip install "\.\[([\w,]+)\]"', text)):
        assert re.search(rf"^{extra} = \[", project, re.M)

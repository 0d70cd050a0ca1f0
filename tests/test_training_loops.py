"""The training loops of the book run as they stand, each on its backend."""

import re
from pathlib import Path

import keras

PAGE = Path(__file__).resolve().parent.parent / "book" / "code" / "training_loops.md"


def blocks():
    """The programs of the page by their names; that without a name comes before each of them."""
    found = re.findall(r"```(?:\{code-block\} )?python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    first, *programs = found
    names = [re.match(r":name: loop-(\w+)\n", program)[1] for program in programs]
    return first, {n: p.partition("\n")[2] for n, p in zip(names, programs, strict=True)}


def test_there_is_one_for_each_backend():
    assert sorted(blocks()[1]) == ["jax", "tensorflow", "torch"]


def test_the_loop_of_this_backend_learns():
    first, programs = blocks()
    names = {}
    exec(compile(first, PAGE.name, "exec"), names)
    exec(compile(programs[keras.backend.backend()], PAGE.name, "exec"), names)
    losses = names["losses"]
    assert len(losses) == 30 and losses[-1] < 0.8 * losses[0]

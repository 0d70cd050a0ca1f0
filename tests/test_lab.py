"""The loss lab: its losses and sliders, and how programs are simplified and written.

That the JavaScript computes what the losses do, `lab/check.py` shows in a browser.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lab"))
from graph import Graph, Node, translated
from javascript import program
from lab_losses import LEFT_OUT, cases

from segloss_ref import catalogue

CASES = cases()


def test_every_loss_is_there_or_left_out():
    chapters = {(type(case.loss()).__name__, case.chapter) for case in CASES}
    missing = {entry.name for entry in catalogue()} - {name for name, _ in chapters}
    assert missing == set(LEFT_OUT) - {"CompoundLoss"}  # of which one is Dice and boundary
    assert len({case.key for case in CASES}) == len({case.title for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_sliders_stay_in_what_the_loss_allows(case):
    for slider in case.sliders:
        assert slider.low <= case.defaults[slider.name] <= slider.high
        for value in (slider.low, slider.high):
            case.loss(**{slider.name: value})


def graph_of(function, *shapes):
    """The graph of a function of arrays, and its only output."""
    jaxpr = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(shape, "float32") for shape in shapes))
    graph = Graph()
    inputs = [graph.add(Node("input", dims=tuple(n for n in s if n != 1))) for s in shapes]
    (output,) = translated(graph, jaxpr.jaxpr, jaxpr.consts, inputs)
    return graph, inputs, output


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[1:5, ::2],
        lambda x: x[2:, 1:7].T[::3],
        lambda x: jnp.flip(x, axis=0)[1:4, 3:],
        lambda x: jnp.broadcast_to(x[:, 2][:, None, None], (6, 3, 8)),
        lambda x: jnp.split(x, [2, 5], axis=1)[1],
        lambda x: jnp.squeeze(x[3:4, 4:])[1:],
        lambda x: jnp.swapaxes(x[None, :, 1:3], 0, 2),
    ],
)
def test_views_compose(function):
    """Numbers 0, 1, ... read by a view's index are those that NumPy's own operation gives."""
    x = np.arange(48.0).reshape(6, 8)
    _, (read,), view = graph_of(function, x.shape)
    assert view.op == "view" and view.args == (read,)
    offset, steps, _ = view.params
    got = as_strided(x.ravel()[offset:], view.dims, [8 * step for step in steps])
    np.testing.assert_array_equal(got.ravel(), np.ravel(function(jnp.asarray(x))))


def test_what_changes_nothing_is_gone():
    _, (x,), same = graph_of(lambda x: 1 * (x.reshape(4, 6) + 0).ravel().reshape(2, 12), (24,))
    assert same is x
    _, _, known = graph_of(lambda x: jnp.sum(jnp.full((5,), 2.0) * 3) - 29, (5,))
    assert (known.op, known.params) == ("const", 1)


def test_equal_nodes_are_one():
    def function(x):
        return jnp.exp(x[1:]) * jnp.exp(x[1:]) + jnp.sum(x) / jnp.sum(x)

    graph, _, _ = graph_of(function, (9,))
    kinds = [node.op for node in graph.nodes]
    assert [kinds.count(op) for op in ("view", "exp", "reduce")] == [1, 1, 1]


def test_what_is_not_known_is_named():
    with pytest.raises(NotImplementedError, match=r"erf_inv.*graph.py"):
        graph_of(jax.lax.erf_inv, (4,))


def traced(function):
    image = jax.ShapeDtypeStruct((4, 4), "float32")
    number = jax.ShapeDtypeStruct((), "float32")
    return jax.make_jaxpr(jax.value_and_grad(function, argnums=1))(image, image, number)


def test_a_program_does_again_only_what_it_must():
    """What depends on the truth alone stands apart, value and gradient share what they can."""
    text = program(traced(lambda y, z, s: jnp.sum(jnp.sqrt(y + s) * jnp.exp(s * z))), 1)
    truth, rest = text.split("value(y,z,s){")
    value, gradient = rest.split("gradient(y,z,s){")
    assert "sqrt(" in truth and "exp(" not in truth
    assert "exp(" in value and "sqrt(" not in value
    assert "exp(" not in gradient and "sqrt(" not in gradient
    assert "s[0]" in truth and value.count("for(") == 1


def test_the_same_loss_gives_the_same_program():
    first, second = (program(traced(lambda y, z, s: jnp.sum((y - z) ** 2) * s), 1) for _ in "12")
    assert first == second

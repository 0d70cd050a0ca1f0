"""Losses traced by JAX, each into one program of its value and its gradient by the logits.

The program is made from the package's own class. Its settings are inputs of the program, as the
logits are: the loss is made with an ordinary number, a mark, and a tracer takes the mark's place
wherever the loss or one of its parts keeps it.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import keras
import numpy as np
from lab_losses import SIDE, Case, sliders_called

from segloss_ref import weight_maps
from segloss_ref.losses import SegmentationLoss, structure

if keras.backend.backend() != "jax":
    raise RuntimeError("Only JAX traces losses here: set KERAS_BACKEND=jax before Keras is loaded.")
jax.config.update("jax_enable_x64", True)


def traced(case: Case) -> Any:
    """The jaxpr of value and gradient by the logits: truth, logits and settings in."""

    def value_and_gradient(truth, logits, *settings):
        loss = with_settings(case, settings)
        return jax.value_and_grad(lambda z: case.value(loss, truth, z))(logits)

    image = jax.ShapeDtypeStruct((SIDE, SIDE), np.float64)
    numbers = [jax.ShapeDtypeStruct((), np.float64)] * len(case.sliders)
    with settings_may_be_traced():
        return jax.make_jaxpr(value_and_gradient)(image, image, *numbers)


def with_settings(case: Case, settings: Sequence[Any]) -> SegmentationLoss:
    """The loss with tracers as its settings."""
    marks = {}
    for i, slider in enumerate(case.sliders):
        share = (i + 1) * (math.sqrt(5) - 2) % 1  # numbers that nothing else in a loss has
        marks[slider.name] = slider.low + (slider.high - slider.low) * share
    loss = case.loss(**marks)
    places = {mark: value for mark, value in zip(marks.values(), settings)}
    places |= {1 - mark: 1 - value for mark, value in places.items()}  # "the other has the rest"
    seen = set()
    _put(loss, places, seen)
    if missing := [name for name, mark in marks.items() if mark not in seen]:
        raise ValueError(f"{case.key} keeps no setting {', '.join(missing)} that could be traced")
    return loss


def _put(thing, places, seen):
    """`thing` with tracers at the places of marks; losses are changed where they are."""
    if isinstance(thing, float) and thing in places:
        seen.add(thing)
        return places[thing]
    if isinstance(thing, tuple | list):
        return type(thing)(_put(each, places, seen) for each in thing)
    if isinstance(thing, SegmentationLoss):
        for name, value in vars(thing).items():
            vars(thing)[name] = _put(value, places, seen)
    return thing


@contextlib.contextmanager
def settings_may_be_traced() -> Iterator[None]:
    """While it holds, what asks for Python's own numbers when it is called takes tracers, too.

    A weight map looks only as far as its σ needs; here, as far as the largest one does.
    """
    reach = weight_maps.seam_reach(max(slider.high for slider in sliders_called("sigma")))
    with (
        mock.patch.multiple(
            weight_maps, check_number=lambda name, value, **_: value, seam_reach=lambda _: reach
        ),
        mock.patch.object(structure, "math", SimpleNamespace(exp=jnp.exp)),
    ):
        yield

"""Arithmetic with a limit where the plain operation has none, in the dtype of its arguments.

Keras's own `divide_no_nan`, `mean` and `maximum(x, 0.0)` compute in float32 on PyTorch, whatever
comes in; a `where` behind a power or a root leaves its gradient NaN. NaN stays NaN in all of these.
"""

from typing import Any

from keras import ops

#: As in `checks`, which nothing here needs: an array, or a tensor of whatever backend.
Tensor = Any


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """`numerator / denominator`, and 0 (with gradient 0) where the denominator is 0."""
    nothing = denominator == 0
    safe = ops.where(nothing, ops.ones_like(denominator), denominator)
    quotient = numerator / safe
    return ops.where(ops.broadcast_to(nothing, ops.shape(quotient)), 0 * quotient, quotient)


def flat(*arrays: Tensor | None) -> list[Tensor | None]:
    """Arrays `(regions, pixels, 1)` without their last axis, where all have only one class.

    XLA vectorises along the last axis on processors (`jax.jit` takes ten times as long without),
    and other backends sum contiguous numbers. `None` stays.
    """
    one = all(x is None or x.shape[2:] == (1,) for x in arrays)
    return [x if x is None or not one else ops.reshape(x, ops.shape(x)[:-1]) for x in arrays]


def total(x: Tensor, mass: Tensor | None = None) -> Tensor:
    """The sum over pixels, axis 1, of x times their weights; without `mass` these are 1.

    `(regions, classes)`, from `(regions, pixels, classes)` or what is `flat`.
    """
    if x.shape[2:] == (1,):
        x, mass = flat(x, mass)
    sums = ops.sum(x if mass is None else mass * x, axis=1)
    return sums if len(x.shape) == 3 else sums[:, None]


def mean(x: Tensor, axis: int = -1, keepdims: bool = False) -> Tensor:
    """The mean over one axis of known size."""
    if keepdims and x.shape[axis] == 1:
        return x
    return ops.sum(x, axis=axis, keepdims=keepdims) / x.shape[axis]


def power(x: Tensor, exponent: Tensor | float) -> Tensor:
    """`x ** exponent` for x >= 0, with gradient 0 at x = 0, where exponents below 1 have none.

    The zero is replaced *before* the power: behind a `where` alone, its gradient would be NaN. What
    is so small that a second derivative would overflow counts as 0.
    """
    nothing = x <= _tiny(x)
    safe = ops.where(nothing, ops.ones_like(x), x)
    return ops.where(nothing, ops.zeros_like(x), ops.power(safe, exponent))


def _tiny(x: Tensor) -> float:
    return 1e-150 if "64" in str(x.dtype) else 1e-18


def root(x: Tensor, least: float = 0.0) -> Tensor:
    """The square root for x >= 0, with slope 0 instead of an infinite one at 0.

    What is at most `least` counts as 0: where x is a difference, and could be rounding.
    """
    nothing = x <= least
    return ops.where(nothing, ops.zeros_like(x), ops.sqrt(ops.where(nothing, ops.ones_like(x), x)))


def nan_of(x: Tensor) -> Tensor:
    """0, and NaN where x is NaN: for what is compared, and would lose it."""
    return 0 * ops.stop_gradient(x)

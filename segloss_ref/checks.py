"""Every check of a setting, in one dialect: what it must be, then what was received.

Each function takes the name of a setting and its value, and returns the value as it is kept or
raises a `ValueError` that says what is allowed. `visible` is for checks of values: it gives those
of an array or tensor, if they can be seen. The module knows nothing of the others.
"""

import difflib
import math
import numbers
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

#: An array, or a tensor of whatever backend Keras runs on: they have no type in common.
Tensor = Any

_T = TypeVar("_T")

#: The label of pixels that are out of the picture: in class maps, masks and instance maps alike.
VOID = -1

DATA_FORMATS = ("channels_last", "channels_first")


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> float:
    """A finite number within bounds, as a float."""
    bounds = []
    if above is not None:
        bounds.append((f"greater than {above}", value_is(value, lambda v: v > above)))
    if at_least is not None:
        bounds.append((f"at least {at_least}", value_is(value, lambda v: v >= at_least)))
    if at_most is not None:
        bounds.append((f"at most {at_most}", value_is(value, lambda v: v <= at_most)))
    if below is not None:
        bounds.append((f"less than {below}", value_is(value, lambda v: v < below)))
    if not value_is(value, math.isfinite) or not all(ok for _, ok in bounds):
        allowed = " and ".join(["a finite number", *(text for text, _ in bounds)])
        raise ValueError(f"`{name}` must be {allowed}. Received: {value!r}")
    return float(value)


def check_whole(
    name: str,
    value: Any,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
    odd: bool = False,
) -> int:
    """A whole number (7, not 7.0) within bounds, as an int; odd, where that is asked for."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    too_low = whole and at_least is not None and value < at_least
    too_high = whole and at_most is not None and value > at_most
    if not whole or too_low or too_high or (odd and value % 2 == 0):
        kind = ["an odd whole number" if odd else "a whole number"]
        kind += [] if at_least is None else [f"at least {at_least}"]
        kind += [] if at_most is None else [f"at most {at_most}"]
        raise ValueError(f"`{name}` must be {', '.join(kind)}. Received: {value!r}")
    return int(value)


def check_seed(name: str, value: Any) -> int:
    """A seed that NumPy and Keras take: 0 to 2^32 - 1."""
    return check_whole(name, value, at_least=0, at_most=2**32 - 1)


def value_is(value: Any, test: Callable[[Any], bool]) -> bool:
    """Whether `value` is a real number (not a boolean) that passes `test`."""
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and test(value)
    except OverflowError:  # an integer too large for a float
        return False


def check_flag(name: str, value: Any) -> bool:
    """True or False: neither 1 nor "yes"."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False. Received: {value!r}")
    return value


def check_choice(name: str, value: _T, allowed: Collection[Any]) -> _T:
    """One of a few names; the nearest ones are named where there are many."""
    if value not in tuple(allowed):
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, allowed))}. Received: {value!r}"
            f"{did_you_mean(value, allowed)}"
        )
    return value


def check_data_format(value: str | None, default: str) -> str:
    """`"channels_last"` or `"channels_first"`; `None` is the default."""
    return check_choice("data_format", default if value is None else value, DATA_FORMATS)


def check_spacing(name: str, spacing: Any) -> float | tuple[float, ...]:
    """A pixel's side, or one for each axis, as a float or a tuple of floats."""
    if isinstance(spacing, (tuple, list, np.ndarray)):
        return tuple(check_number(name, side, above=0) for side in spacing)
    return check_number(name, spacing, above=0)


def sides_of(spacing: float | tuple[float, ...], dimensions: int) -> tuple[float, ...]:
    """A pixel's side along each of so many axes."""
    sides = spacing if isinstance(spacing, tuple) else (spacing,) * dimensions
    if len(sides) != dimensions:
        raise ValueError(
            f"`spacing` must be one positive number, or one for each of the {dimensions} axes of "
            f"space. Received: {spacing!r}"
        )
    return sides


def check_weights(name: str, weights: Any) -> tuple[float, ...] | None:
    """A tuple of finite numbers that are not negative and not all 0, or `None`."""
    if weights is None:
        return None
    if isinstance(weights, (dict, str)) or not hasattr(weights, "__iter__"):
        raise ValueError(
            f"`{name}` must be a sequence with one number per class. Received: {weights!r}"
        )
    weights = tuple(check_number(f"{name}[{i}]", w, at_least=0) for i, w in enumerate(weights))
    if not sum(weights) > 0:
        raise ValueError(f"`{name}` must have a weight greater than 0. Received: {weights}")
    return weights


def check_labels(name: str, labels: Any) -> tuple[int, ...]:
    """One label, several, or none: a sorted tuple of integers, empty for `None`."""
    if labels is None:
        return ()
    several = labels if isinstance(labels, (list, tuple, set, frozenset, range)) else (labels,)
    if not all(isinstance(i, numbers.Integral) and not isinstance(i, bool) for i in several):
        raise ValueError(
            f"`{name}` must be an integer label, several of them, or None. Received: {labels!r}"
        )
    return tuple(sorted({int(i) for i in several}))


def check_keys(
    where: str,
    given: Any,
    allowed: Collection[str] | None = None,
    needed: Iterable[str] = (),
) -> Mapping[str, Any]:
    """A mapping of names: those allowed, if that is said, and all that are needed."""
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise TypeError(f"{where} must be a mapping of names. Received: {given!r}")
    if allowed is not None and (unknown := [key for key in given if key not in allowed]):
        raise ValueError(
            f"{where} has no key {', '.join(unknown)}. Allowed: {', '.join(allowed)}"
            f"{did_you_mean(unknown[0], allowed)}"
        )
    if missing := [key for key in needed if key not in given]:
        raise ValueError(
            f"{where} must have the key {', '.join(missing)}. Received: {dict(given)!r}"
        )
    return given


def did_you_mean(value: Any, allowed: Iterable[Any]) -> str:
    """A hint at the names that exist, for one that is near to them; else nothing."""
    names = [name for name in allowed if isinstance(name, str)]
    if not isinstance(value, str):
        return ""
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(value.lower(), lower, n=3, cutoff=0.6)
    near += [low for low in lower if value and value.lower() in low and low not in near][:3]
    near = [repr(lower[low]) for low in near[:3]]
    return f". Did you mean {' or '.join(near)}?" if near else ""


def visible(x: Tensor) -> np.ndarray | None:
    """The values of an array or tensor as a NumPy array where they can be seen now, else `None`.

    They cannot where a function is being compiled, or a model is put together.
    """
    if isinstance(x, np.ndarray):
        return x
    import keras  # here, for what only checks settings needs no backend

    backend = keras.backend.backend()
    if isinstance(x, keras.KerasTensor) or (backend == "tensorflow" and not hasattr(x, "numpy")):
        return None
    if backend == "jax" and isinstance(x, sys.modules["jax"].core.Tracer):
        return None
    if backend == "torch" and sys.modules["torch"].compiler.is_compiling():
        return None
    try:
        return keras.ops.convert_to_numpy(x)
    except (RuntimeError, TypeError, NotImplementedError):  # transforms of PyTorch hide values, too
        return None

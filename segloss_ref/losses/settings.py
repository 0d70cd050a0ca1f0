"""Checks of a loss's settings. Each returns the setting as it is kept, or says what is allowed."""

import math
import numbers


def check_number(name, value, *, above=None, at_least=None, at_most=None, below=None):
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


def check_whole(name, value, *, at_least, odd=False):
    """A whole number (7, not 7.0) that is large enough, as an int; odd, where that is asked for."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < at_least or (odd and value % 2 == 0):
        kind = "an odd whole number" if odd else "a whole number"
        raise ValueError(f"`{name}` must be {kind}, at least {at_least}. Received: {value!r}")
    return int(value)


def value_is(value, test):
    """Whether `value` is a real number (not a boolean) that passes `test`."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and test(value)


def check_flag(name, value):
    """True or False: neither 1 nor "yes"."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False. Received: {value!r}")
    return value


def check_choice(name, value, allowed):
    """One of a few names."""
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {allowed}. Received: {value!r}")
    return value


def check_weights(name, weights):
    """A tuple of finite numbers that are not negative and not all 0, or `None`."""
    if weights is None:
        return None
    if isinstance(weights, dict) or not hasattr(weights, "__iter__"):
        raise ValueError(
            f"`{name}` must be a sequence with one number per class. Received: {weights!r}"
        )
    weights = tuple(check_number(f"{name}[{i}]", w, at_least=0) for i, w in enumerate(weights))
    if not sum(weights) > 0:
        raise ValueError(f"`{name}` must have a weight greater than 0. Received: {weights}")
    return weights

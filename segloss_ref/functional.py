"""The losses as functions, one value an image, for training loops of your own.

    from segloss_ref import functional

    def loss(z):  # for jax.grad, a GradientTape, or autograd of PyTorch
        return ops.mean(functional.dice(y, z, from_logits=True))

`functional.dice` computes what `DiceLoss` computes with `reduction=None`, and has its settings as
keywords. The functions are made from the catalogue; a sum of losses is a sum of functions here.
"""

import inspect
from collections.abc import Callable
from typing import Any

from segloss_ref.catalogue import catalogue, defaults_of
from segloss_ref.losses import SegmentationLoss  # which also fills the catalogue

__all__ = []


def _function_of(loss: type[SegmentationLoss], name: str) -> Callable:
    """The loss as a function of this name, with the settings of the class in its signature."""

    def function(y_true: Any, y_pred: Any, sample_weight: Any = None, **settings: Any) -> Any:
        terms = loss(**settings).terms(y_true, y_pred, sample_weight)
        return sum(factor * values * weights for factor, values, weights in terms)

    signature = inspect.signature(function)
    called = list(signature.parameters.values())[:-1]
    hints = _hints_of(loss)
    settings = [
        inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[key]
        )
        for key, default in defaults_of(loss).items()
        if key not in ("name", "reduction")
    ]
    function.__signature__ = signature.replace(parameters=[*called, *settings])
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{inspect.getdoc(loss).splitlines()[0]}

    Args:
        y_true, y_pred, sample_weight: as `{loss.__name__}` takes them.
        **settings: those of `{loss.__name__}`, which has the formula and its source.

    Returns:
        The loss of each image, `(batch,)`: that of the class with `reduction=None`.

    Raises:
        ValueError: as the class.
        TypeError: for a setting that the class does not have.
    """
    return function


def _hints_of(loss: type[SegmentationLoss]) -> dict[str, Any]:
    """The type hints of all settings, from the constructors that have them."""
    found: dict[str, Any] = {}
    for owner in (*loss.__mro__, *getattr(loss, "kwargs_go_to", object).__mro__):
        if "__init__" in vars(owner):
            for name, setting in inspect.signature(owner.__init__).parameters.items():
                found.setdefault(name, setting.annotation)
    return found


for _entry in catalogue():
    # A sum of losses has no name of its own; it is a sum of functions here.
    if _name := defaults_of(_entry.loss)["name"]:
        globals()[_name] = _function_of(_entry.loss, _name)
        __all__ += [_name]

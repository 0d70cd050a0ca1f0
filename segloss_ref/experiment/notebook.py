"""What a notebook is given by papermill: taken where it fits, refused where it does not."""

from collections.abc import Collection, Iterable
from typing import Any

from segloss_ref.catalogue import loss_class, settings_of
from segloss_ref.checks import did_you_mean
from segloss_ref.losses.expressions import loss_of


def loss_options(loss: str, given: dict[str, Any]) -> dict[str, Any]:
    """Which of the parameters that a notebook was given are settings of its loss.

    Args:
        loss: the name of the loss class, or an expression, see `Experiment`.
        given: a dict of parameters that the notebook does not have.

    Returns:
        `given`, if all of them are settings of the loss.

    Raises:
        TypeError: names those that are not, and the settings that there are.
        ValueError: if there is no such loss.
    """
    if not given or not isinstance(loss, str) or not loss.isidentifier():
        loss_of(loss, given)  # which says what is wrong with it
        return {}
    own = sorted({*settings_of(loss_class(loss))} - {"name", "dtype", "from_logits", "data_format"})
    if unknown := sorted({*given} - {*own}):
        raise TypeError(
            f"There is no parameter {', '.join(unknown)}, of this notebook or of {loss}. "
            f"Settings of {loss}: {', '.join(own)}{did_you_mean(unknown[0], own)}"
        )
    return dict(given)


def refuse_unknown_parameters(declared: Collection[str], names: Iterable[str]) -> None:
    """Stops a notebook that was given a parameter it does not have.

    Papermill writes such a parameter into the notebook with no more than a warning, and the
    value that was meant stays what it was.

    Args:
        declared: `dir()` at the end of the cell tagged `parameters`.
        names: `dir()` in the cell after it, behind what papermill injects.

    Raises:
        TypeError: names the unknown ones, and those that exist.
    """
    own = sorted(name for name in declared if not name.startswith("_"))
    unknown = [name for name in names if not name.startswith("_") and name not in declared]
    unknown = [name for name in unknown if name != "declared"]
    if unknown:
        raise TypeError(
            f"There is no parameter {', '.join(unknown)}. "
            f"There are: {', '.join(own)}{did_you_mean(unknown[0], own)}"
        )

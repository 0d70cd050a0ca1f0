"""Packages that only a part of segloss_ref needs: imported where they are used, missed with words.

`pip install segloss_ref` brings what losses, metrics, weight maps and runs need. What else there is
comes in extras, and whoever lacks one is told its name.
"""

import importlib
import sys
from types import ModuleType

_DISTRIBUTED_AS = {"PIL": "pillow", "yaml": "pyyaml"}  # where it differs from the module's name


def require(module: str, *, extra: str) -> ModuleType:
    """A module of a package that is an extra; where it is missing, an error that says which.

    Args:
        module: name of the module, such as "yaml" or "matplotlib.pyplot".
        extra: the extra of segloss_ref that brings it.

    Returns:
        The module.

    Raises:
        ModuleNotFoundError: if its package is not installed.

    Example:
        >>> require("json", extra="sweep").loads("[1]")
        [1]
        >>> require("no_such_package", extra="sweep")
        Traceback (most recent call last):
        ...
        ModuleNotFoundError: `...` needs no_such_package: pip install "segloss_ref[sweep]"
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        user = sys._getframe(1).f_globals["__name__"]
        package = _DISTRIBUTED_AS.get(error.name, error.name)
        raise ModuleNotFoundError(
            f'`{user}` needs {package}: pip install "segloss_ref[{extra}]"', name=error.name
        ) from error

"""The public names of the package: what the reference must have, and docstrings may link to."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import segloss_ref
from segloss_ref.losses.inputs import Batch, Prediction

#: Modules that serve the package alone. Of a package below it, such as `segloss_ref.metrics`, the
#: names are those of its `__all__`, and the modules within are its own affair.
INTERNAL = {"checks", "extras", "verdicts", "writing", "__main__"}


def modules() -> list[ModuleType]:
    """The modules and packages right below the package that users import from."""
    names = sorted(module.name for module in pkgutil.iter_modules(segloss_ref.__path__))
    return [importlib.import_module(f"segloss_ref.{n}") for n in names if n not in INTERNAL]


def names_of(module: ModuleType) -> list[str]:
    """The public names of a module: its `__all__`, else the functions and classes it defines."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    return [
        name
        for name, member in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(member) or inspect.isfunction(member))
        and member.__module__ == module.__name__
    ]


def bases_of(classes: Iterable[type]) -> list[type]:
    """The bases of classes in the package, the widest one first: they have settings for many."""
    found = {base: None for cls in classes for base in reversed(cls.__mro__)}
    ours = [base for base in found if base.__module__.startswith("segloss_ref.")]
    return [base for base in ours if not base.__name__.startswith("_") and base not in classes]


def bases() -> list[type]:
    """The bases of the losses, and what they hand to a formula: for a loss of one's own."""
    losses = [entry.loss for entry in segloss_ref.catalogue()]
    return [*bases_of(losses), Batch, Prediction]


def public() -> dict[str, Any]:
    """Each public thing under the shortest name that it is imported by."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for module in [segloss_ref, *modules()]:
        for name in names_of(module):
            member = getattr(module, name)
            # Constants may be one object by chance; functions and classes are what they are.
            if callable(member) and id(member) in seen:
                continue
            seen.add(id(member))
            found.setdefault(f"{module.__name__}.{name}", member)
    classes = [member for member in found.values() if inspect.isclass(member)]
    for base in [*bases_of(classes), Batch, Prediction]:
        found[f"{base.__module__}.{base.__name__}"] = base
    return found


def missing(documented: set[str]) -> list[str]:
    """The public names that are not among those documented."""
    return sorted(set(public()) - documented)

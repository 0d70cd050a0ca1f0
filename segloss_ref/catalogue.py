"""The catalogue: every loss with its family, formula, source and chapter.

It is filled by a decorator on each class, `catalogued`, which also makes Keras know the class by
name and exports it from its module. All other lists of losses are made from it.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import keras

from segloss_ref.checks import did_you_mean

_Class = TypeVar("_Class", bound=type)

FAMILIES = ("distribution", "region", "boundary", "compound")


@dataclass(frozen=True)
class Entry:
    """One loss of the catalogue.

    Args:
        name: name of the class.
        family: one of "distribution", "region", "boundary", "compound".
        loss: the class; it can be made without arguments.
        formula: what it computes, in LaTeX, for one region and class where they do not matter.
        citation: key of its source in the bibliography, `book/references.bib`.
        chapter: the chapter on it, such as "region/dice".
    """

    name: str
    family: str
    loss: type
    formula: str
    citation: str
    chapter: str


_ENTRIES: dict[str, Entry] = {}


def catalogued(
    *, family: str, chapter: str, citation: str, formula: str
) -> Callable[[_Class], _Class]:
    """Decorator of a loss class: puts it into the catalogue, exports it, makes Keras know it.

    In the formulas, y is the truth, p the prediction and p_t the probability of what is true; TP,
    FP, FN, TN are soft counts, CE is cross-entropy and D the Dice loss; s smooths.

    Args:
        family: one of `FAMILIES`.
        chapter: the chapter on it.
        citation: key of its source in the bibliography.
        formula: in LaTeX.
    """

    def decorate(cls: _Class) -> _Class:
        name = cls.__name__
        _ENTRIES[name] = Entry(name, family, cls, formula, citation, chapter)
        vars(sys.modules[cls.__module__]).setdefault("__all__", []).append(name)
        return known_to_keras(cls)

    return decorate


def known_to_keras(cls: _Class) -> _Class:
    """Registers a loss with Keras: for saving, and as a string, `compile(loss="DiceLoss")`."""
    cls = keras.saving.register_keras_serializable(package="segloss_ref")(cls)
    # `keras.losses.get` looks strings up in one table only, which has no public name.
    table = keras.losses.get.__globals__.get("ALL_OBJECTS_DICT", {})
    table.setdefault(cls.__name__, cls)
    return cls


def catalogue() -> list[Entry]:
    """The catalogue of losses, a list of `Entry` in the order of the families.

    Returns:
        One entry for each loss of the package, with the fields `name`, `family`, `loss`, `formula`,
        `citation` and `chapter`.

    Example:
        >>> entry = {entry.name: entry for entry in catalogue()}["FocalLoss"]
        >>> entry.family, entry.citation, entry.loss().gamma
        ('distribution', 'lin2017focal', 2.0)
    """
    return sorted(_ENTRIES.values(), key=lambda entry: FAMILIES.index(entry.family))


def loss_class(name: str) -> type:
    """The loss class of this name.

    Args:
        name: as in the catalogue, such as "DiceLoss".

    Raises:
        ValueError: if there is none; it names the nearest ones.

    Example:
        >>> loss_class("Dice")
        Traceback (most recent call last):
        ...
        ValueError: There is no loss 'Dice'. Did you mean 'DiceLoss' or 'LogCoshDiceLoss' ...
    """
    if not isinstance(name, str) or name not in _ENTRIES:
        hint = did_you_mean(name, _ENTRIES) or f". There are: {', '.join(_ENTRIES)}"
        raise ValueError(f"There is no loss {name!r}{hint}")
    return _ENTRIES[name].loss


def settings_of(cls: type) -> tuple[str, ...]:
    """The names of all settings of a loss class: the parameters of its constructor.

    Where a constructor hands `**kwargs` on, those of the class that gets them are among them: the
    next one in the order of inheritance, or `cls.kwargs_go_to`.

    Example:
        >>> settings_of(loss_class("TverskyLoss"))[:3]
        ('alpha', 'beta', 'smooth')
    """
    return tuple(defaults_of(cls))


@functools.cache
def defaults_of(cls: type) -> dict[str, Any]:
    """All settings of a loss class, see `settings_of`, with their defaults."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        (_, *parameters) = inspect.signature(base.__init__).parameters.values()
        named = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
        found |= {name: default for name, default in named.items() if name not in found}
        if len(named) == len(parameters):
            break
        if further := getattr(cls, "kwargs_go_to", None):
            return found | {k: v for k, v in defaults_of(further).items() if k not in found}
    return found

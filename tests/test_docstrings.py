"""Every public name is documented, and what its example shows is what it gives."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import segloss_ref

MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(segloss_ref.__path__, "segloss_ref.")
]
PUBLIC = {
    f"{module.__name__}.{name}": member
    for module in MODULES
    for name, member in vars(module).items()
    if not name.startswith("_")
    and (inspect.isclass(member) or inspect.isfunction(member))
    and member.__module__ == module.__name__
}


@pytest.mark.parametrize("name", PUBLIC)
def test_documented(name):
    documentation = inspect.getdoc(PUBLIC[name])
    assert documentation and documentation.splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", [n for n in PUBLIC if ">>>" in (inspect.getdoc(PUBLIC[n]) or "")])
def test_examples(name):
    names = {"np": np, **vars(segloss_ref), **vars(inspect.getmodule(PUBLIC[name]))}
    parser = doctest.DocTestParser()
    example = parser.get_doctest(inspect.getdoc(PUBLIC[name]), names, name, None, 0)
    report = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    doctest.DocTestRunner(optionflags=flags).run(example, out=report.append)
    assert not report, "".join(report)


def test_everything_named_is_there_and_sorted_out():
    assert all(hasattr(segloss_ref, name) for name in segloss_ref.__all__)
    losses = [n for n, m in PUBLIC.items() if n.endswith("Loss") and n.count(".") == 3]
    bases = {"PixelLoss", "RegionLoss", "SmoothedLoss", "TrueClassLoss"}
    bases |= {"ClassPixelLoss", "WindowLoss"}
    assert {n.split(".")[-1] for n in losses} - bases <= set(segloss_ref.__all__)

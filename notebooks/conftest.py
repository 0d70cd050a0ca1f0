"""Skips the notebooks whose real data are not there, saying so; in CI that is a failure."""

import os

import pytest

from segloss_ref.datasets import public


def pytest_collection_modifyitems(items):
    for item in items:
        needed = getattr(item.parent, "nb", {}).get("metadata", {}).get("segloss", {})
        missing = [name for name in needed.get("data", []) if public.find(name) is None]
        if missing and not os.environ.get("CI"):
            why = f"no archive of {', '.join(missing)} here: set SEGLOSS_DATA to its folder"
            item.add_marker(pytest.mark.skip(reason=why))

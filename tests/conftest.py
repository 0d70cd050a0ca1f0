"""Real data where there are any."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is loaded

from segloss_ref.datasets import public


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "requires_data(*names): skipped without these public data; in CI a failure"
    )


def pytest_runtest_setup(item):
    for marker in item.iter_markers("requires_data"):
        for name in marker.args:
            if public.find(name) is None:
                why = f"no archive of {name!r} here: set SEGLOSS_DATA to the folder that holds it"
                # In CI a test that silently does not run is a failure.
                (pytest.fail if os.environ.get("CI") else pytest.skip)(why)

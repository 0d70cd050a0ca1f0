"""Tables of ratios at the end of a run of benchmarks; pytest-benchmark prints times only."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On a GPU the processes that are started to measure memory need some beside this one's.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

TABLES = pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[TABLES] = {}


@pytest.fixture
def report(request):
    """`report(title, row)` adds a row, {column: value}, to a table, and to --benchmark-json."""
    timed = "benchmark" in request.fixturenames
    stored = request.getfixturevalue("benchmark").extra_info if timed else {}

    def add(title, row):
        request.config.stash[TABLES].setdefault(title, []).append(row)
        stored.setdefault(title, []).append(row)

    return add


def pytest_terminal_summary(terminalreporter, config):
    for title, rows in config.stash[TABLES].items():
        terminalreporter.section(title)
        lines = [list(rows[0]), *([_short(value) for value in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            terminalreporter.line("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)))


def _short(value):
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

"""The stored comparison with other libraries is whole, explained, and of today's losses."""

import csv
import json
import sys
from pathlib import Path

import keras
import pytest

import segloss_ref as sl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import backends
from parity_cases import every_case
from parity_pairs import PAIRS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "data" / "results"
LIBRARIES = {"Keras", "PyTorch", "MONAI", "SMP"}


def read(name):
    with (RESULTS / name).open(newline="") as file:
        return list(csv.DictReader(file))


def pins(path):
    lines = (line.split(" ")[0] for line in path.read_text().splitlines())
    return dict(line.lower().split("==") for line in lines if "==" in line)


@pytest.fixture(scope="module")
def table():
    return read("parity.csv")


def key(row):
    names = ("loss", "settings", "library", "their_class", "their_settings", "classes", "case")
    return tuple(row[name] for name in names)


def test_a_note_says_how_two_losses_differ_and_only_then(table):
    for row in table:
        same = row["agrees"] == row["gradient_agrees"] == "True"
        assert same == (row["note"] == ""), row
        ours, theirs = float(row["ours"]), float(row["theirs"])
        near = abs(ours - theirs) <= 1e-6 * max(abs(theirs), 1)
        # Both were rounded to six digits before they were stored.
        close = abs(ours - theirs) <= 3e-6 * max(abs(theirs), 1)
        assert close if row["agrees"] == "True" else not near, row


def test_it_holds_what_the_program_would_compare(table):
    """Whoever adds a pair or a case has to run `make parity`."""
    cases = every_case()
    described = [
        (pair.described, cases[pair.kind][name].kind, name, pair.note(name))
        for pair in PAIRS
        for name in pair.cases(cases)
    ]
    names = [*described[0][0], "classes", "case", "note"]
    stored = [[row[name] for name in names] for row in table]
    assert stored == [[*words.values(), *more] for words, *more in described]
    assert {row["library"] for row in table} == LIBRARIES


def test_our_side_is_what_the_losses_give_today(table):
    """One case of each pair, another one from pair to pair; the table was made on PyTorch."""
    cases, stored = every_case(), {key(row): row for row in table}
    seen = set()
    for number, pair in enumerate(PAIRS):
        names = pair.cases(cases)
        name = names[number % len(names)]
        case = pair.loss, pair.described["settings"], pair.kind, name
        if case in seen or name in ("volume", "large, missed"):  # those take long
            continue
        seen.add(case)
        row = stored[key({**pair.described, "classes": pair.kind, "case": name})]
        assert float(pair.ours(cases[pair.kind][name])) == pytest.approx(
            float(row["ours"]), abs=2e-6
        ), row
    assert len({loss for loss, *_ in seen}) >= 20


def test_every_loss_that_others_have_is_compared(table):
    compared = {row["loss"] for row in table}
    assert len(compared) >= 25
    for name in compared:
        assert issubclass(getattr(sl, name), sl.SegmentationLoss)


def test_the_versions_are_those_pinned():
    (made,) = json.loads((RESULTS / "parity.json").read_text())
    pinned = pins(ROOT / "benchmarks" / "requirements.txt")
    for name, version in made["versions"].items():
        if name != "segloss_ref":
            assert pinned[name] == version, name
    locked = pins(ROOT / "requirements.txt")
    jax = pins(ROOT / "benchmarks" / "requirements-jax.txt")
    assert pinned["keras"] == locked["keras"] == jax["keras"] == keras.__version__
    assert pinned["numpy"] == locked["numpy"] == jax["numpy"]


def test_the_reference_for_other_backends_is_what_the_losses_give_today():
    """Value and slope of every row. Both are float64: processors differ by the order of sums."""
    stored = {backends.key(row): row for row in read("backends.csv")}
    made = {backends.key(row): row for row in backends.rows()}
    assert list(made) == list(stored), "run `python benchmarks/backends.py --store`"
    for name, row in made.items():
        assert row["error"] == "", name
        assert backends.difference(row, stored[name]) < 1e-8, name

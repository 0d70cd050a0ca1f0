"""Comparisons in a given time: the plan keeps to it, and the runs are those of the plan."""

import dataclasses
import itertools
from types import SimpleNamespace

import pytest
from small import SMALL

from segloss_ref.experiment import Experiment, Plan, carried_out, comparison, named_losses, planned

LOSSES = {"cross-entropy": "BinaryCrossEntropyLoss", "Dice": "DiceLoss"}


@pytest.fixture
def timed(monkeypatch):
    """A machine on which a step takes 0.1 s, a first step 5 s and a look 1 s."""

    def of(experiment, images, validation):
        return comparison._Timing(start=5.0, step=0.1, look=1.0)

    monkeypatch.setattr(comparison, "_timed", of)


@pytest.mark.usefixtures("timed")
def test_twice_the_time_is_more_than_twice_the_steps():
    short, long = (planned(LOSSES, Experiment(**SMALL), minutes=m) for m in (10, 20))
    assert short.minutes <= 10 and long.minutes <= 20
    assert long.experiment.steps > 2 * short.experiment.steps  # beginnings are paid once
    # By hand: 2 losses, 8 trials of a third and 3 runs, with beginnings and looks, a tenth kept.
    steps, trial = long.experiment.steps, long.trials
    spent = 2 * (11 * 5 + (8 * trial + 3 * steps) * 0.1 + (8 + 3 * 12) * 1) / 0.9
    assert long.minutes == pytest.approx(spent / 60)
    assert 20 * 60 - spent < 2 * 5.7 * 8 * 0.1 / 0.9 + 1  # eight more steps would not fit


@pytest.mark.usefixtures("timed")
def test_too_short_a_time_says_what_would_do():
    with pytest.raises(ValueError, match="`minutes` must be at least 6: 2 losses and 3 seeds"):
        planned(LOSSES, Experiment(**SMALL), minutes=1)


@pytest.mark.parametrize(
    ("losses", "settings", "message"),
    [
        ({"Dice": "DiceLoss"}, {}, "At least two losses"),
        (LOSSES, {"seeds": 1}, "`seeds` must be .* at least 2"),
        (LOSSES, {"minutes": 0}, "`minutes` must be .* greater than 0"),
    ],
)
def test_what_is_no_comparison_is_refused(losses, settings, message):
    with pytest.raises(ValueError, match=message):
        planned(losses, Experiment(**SMALL), **{"minutes": 10, **settings})


def test_a_step_is_timed_on_this_machine():
    plan = planned(LOSSES, Experiment(**SMALL), minutes=30, seeds=2)
    assert plan.experiment.steps > comparison.FEWEST_STEPS
    assert "2 losses" in str(plan) and "2 runs of" in str(plan)


def test_runs_of_a_plan_are_kept_and_not_made_again(tmp_path):
    shared = dataclasses.replace(Experiment(**SMALL), steps=8, evaluate_every=4, learning_rate=None)
    plan = Plan(LOSSES, shared, seeds=2, trials=8, minutes=1.0)
    said = []
    found = carried_out(plan, tmp_path, said.append)
    assert list(found) == list(LOSSES) and "2 of 2 seeds" in said[-1]
    files = [folder / "metrics.csv" for folders in found.values() for folder in folders]
    made = [file.stat().st_mtime_ns for file in files]
    assert carried_out(plan, tmp_path, said.append) == found
    assert [file.stat().st_mtime_ns for file in files] == made


def test_seeds_that_would_end_too_late_are_left_out_of_all_losses(tmp_path, monkeypatch):
    shared = dataclasses.replace(Experiment(**SMALL), steps=8, evaluate_every=4, learning_rate=None)
    plan = Plan(LOSSES, shared, seeds=4, trials=8, minutes=9.0, within=10.0)
    clock = itertools.count(step=60)  # each question for the time is a minute later
    made = []

    def choose(plan, loss, file):
        file.parent.mkdir(exist_ok=True)
        file.write_text('{"chosen": {"learning_rate": 0.003}}')

    monkeypatch.setattr(comparison, "_tuned", choose)
    monkeypatch.setattr(comparison, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(comparison, "run", lambda experiment, out, tuning: made.append(out))
    said = []
    found = carried_out(plan, tmp_path, said.append)
    # A seed takes a minute; the time is asked for at 5 and at 8.
    assert {len(folders) for folders in found.values()} == {4}
    plan = dataclasses.replace(plan, within=5.0)
    clock = itertools.count(step=60)
    found = carried_out(plan, tmp_path, said.append)
    assert {len(folders) for folders in found.values()} == {2}
    assert said[-1].startswith("2 of 4 seeds of each loss")


@pytest.mark.parametrize(
    "given", ["DiceLoss, FocalLoss(gamma=1)", ["DiceLoss", "FocalLoss(gamma=1)"]]
)
def test_losses_that_are_asked_for_replace_those_proposed(given):
    assert list(named_losses(given, LOSSES).values()) == ["DiceLoss", "FocalLoss(gamma=1)"]
    assert named_losses("", LOSSES) == LOSSES


@pytest.mark.parametrize(
    ("given", "message"),
    [("DiceLoss FocalLoss", "with commas between them"), ("DiceLoss, DiceLoss", "must differ")],
)
def test_losses_that_cannot_be_read_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        named_losses(given, {})

"""Tuning: as many trials for every loss, the best of them chosen, and told."""

import dataclasses
import json

import numpy as np
import pytest
from small import SMALL

from segloss_ref.experiment import LEARNING_RATES, MAIN_SETTINGS, Experiment, run, tune, tuning
from segloss_ref.experiment.tuning import WIDER, chosen, trial_steps, tuned, tuning_seed

SETTINGS = {**SMALL, "learning_rate": None, "steps": 300}


@pytest.fixture
def scores(monkeypatch):
    """Trials that do not train: the score is a function of the rate and the options."""
    tried = []

    def use(score):
        def train(experiment, images, validation, rate, steps):
            assert experiment.steps == experiment.evaluate_every == steps
            tried.append((rate, dict(experiment.options)))
            last = score(rate, experiment.options)
            return None, [{"validation_dice_at_best_cut": last, "validation_cut": 0.5}]

        monkeypatch.setattr(tuning, "train", train)
        return tried

    return use


def test_every_main_setting_is_one_of_its_loss():
    for name, (setting, values) in MAIN_SETTINGS.items():
        default = Experiment(loss=name).make_loss().get_config()[setting]
        assert len(set(values)) == 3 and default not in values
        for value in values:
            loss = Experiment(loss=name, options={setting: value}).make_loss()
            assert loss.get_config()[setting] == value


def test_a_loss_with_a_main_setting(tmp_path, scores):
    score = {0.001: 0.2, 0.003: 0.5, 0.01: 0.4, 0.03: 0.0}
    tried = scores(lambda rate, options: score[rate] + 0.1 * (options.get("beta") == 5.0))
    experiment = Experiment(loss="WeightedBinaryCrossEntropyLoss", **SETTINGS)
    found = tuned(experiment, None, None, tmp_path / "kept.json")
    rates = [(rate, {}) for rate in LEARNING_RATES]
    assert tried == rates + [(0.003, {"beta": beta}) for beta in (2.0, 5.0, 20.0)]
    assert found["chosen"] == {"learning_rate": 0.003, "options": {"beta": 5.0}}
    assert found["setting"] == "beta" and not found["widened"] and found["steps"] == 100
    assert [trial["dice"] for trial in found["trials"]][:4] == [0.2, 0.5, 0.4, 0.0]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("BinaryCrossEntropyLoss", {}),
        ("DiceLoss + FocalLoss", {}),
        ("DiceLoss", {"smooth": 0.5}),
    ],
)
def test_a_loss_without_one_has_as_many_trials(tmp_path, scores, loss, options):
    tried = scores(lambda rate, _: 1 - abs(np.log(rate / 0.004)) / 10)
    found = tuned(Experiment(loss=loss, options=options, **SETTINGS), None, None, tmp_path / "k")
    assert [rate for rate, _ in tried] == [*LEARNING_RATES, 0.0017, 0.0053, 0.004]
    assert all(given == options for _, given in tried)
    assert found["setting"] is None
    assert found["chosen"] == {"learning_rate": 0.004, "options": options}


@pytest.mark.parametrize(
    ("edge", "wider"), [(LEARNING_RATES[0], WIDER[0]), (LEARNING_RATES[-1], WIDER[1])]
)
def test_a_best_rate_at_the_edge_widens_the_grid(tmp_path, scores, edge, wider):
    tried = scores(lambda rate, _: 0.5 + (rate == edge) * 0.1 + (rate == wider) * 0.2)
    found = tuned(Experiment(loss="DiceLoss", **SETTINGS), None, None, tmp_path / "kept.json")
    assert found["widened"] and found["chosen"]["learning_rate"] == wider
    assert [rate for rate, _ in tried] == [*LEARNING_RATES, *[wider] * 4]


@pytest.mark.parametrize("nothing", [0.0, float("nan")])
def test_no_rate_is_not_the_first_one(tmp_path, scores, nothing):
    scores(lambda *_: nothing)
    experiment = Experiment(loss="DiceLoss", **SETTINGS)
    found = tuned(experiment, None, None, tmp_path / "kept.json")
    assert found["chosen"] is None and len(found["trials"]) == 4
    with pytest.raises(RuntimeError, match="No rate: DiceLoss found nothing on 'synthetic/cells'"):
        chosen(experiment, found)


def test_a_trial_that_diverged_is_not_chosen(tmp_path, scores):
    scores(lambda rate, _: float("nan") if rate > 0.001 else 0.1)
    found = tuned(Experiment(loss="DiceLoss", **SETTINGS), None, None, tmp_path / "kept.json")
    assert found["chosen"]["learning_rate"] == 0.001


def test_trials_that_are_done_are_not_done_again(tmp_path, scores):
    experiment = Experiment(loss="DiceLoss", **SETTINGS)
    scores(lambda rate, _: rate)
    first = tuned(experiment, None, None, tmp_path / "kept.json")
    scores(lambda *_: pytest.fail("tried again"))
    assert tuned(experiment, None, None, tmp_path / "kept.json") == first


def test_steps_and_seeds():
    settings = {**SETTINGS, "evaluate_every": None}
    steps = {n: trial_steps(Experiment(**{**settings, "steps": n})) for n in (4, 99, 300, 999)}
    assert steps == {4: 4, 99: 50, 300: 100, 999: 333}
    assert tuning_seed(range(5)) == 1000 and tuning_seed([2**32 - 1]) == 999


def test_a_run_is_tuned_and_runs_share_a_tuning(tmp_path, scores):
    scores(lambda rate, options: rate + options.get("smooth", 0) / 1000)
    experiment = Experiment(loss="DiceLoss", **{**SMALL, "learning_rate": None, "steps": 2})
    alone = run(experiment, tmp_path / "alone")
    found = tune(dataclasses.replace(experiment, seed=1000), tmp_path / "tuning.json")
    assert json.loads((tmp_path / "tuning.json").read_text()) == found
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert alone["tuning"]["trials"] == found["trials"]
    shared = run(experiment, tmp_path / "shared", tuning=tmp_path / "tuning.json")
    assert shared["test"] == alone["test"] and shared["tuning"] == found
    assert shared["learning_rate"] == found["chosen"]["learning_rate"]
    assert shared["settings"]["learning_rate"] is None
    other = dataclasses.replace(experiment, loss="FocalLoss")
    with pytest.raises(ValueError, match="Different: loss='DiceLoss', not 'FocalLoss'"):
        run(other, tmp_path / "other", tuning=tmp_path / "tuning.json")
    with pytest.raises(FileExistsError, match=r"tuning\.json exists already"):
        tune(experiment, tmp_path / "tuning.json")
    with pytest.raises(ValueError, match="`learning_rate` must be None"):
        tune(Experiment(**SMALL), tmp_path / "new.json")

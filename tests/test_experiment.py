"""Runs: validated before they start, whole or absent when they end, the same for the same seed."""

import csv
import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from segloss_ref import experiment as experiments
from segloss_ref import metrics
from segloss_ref.datasets import load
from segloss_ref.experiment import (
    Experiment,
    evaluate,
    fit_picture,
    foreground,
    loss_options,
    refuse_unknown_parameters,
    run,
)
from segloss_ref.losses import DiceLoss, ShapeAwareLoss

SMALL = {
    "learning_rate": 0.003,
    "limit": 4,
    "size": 48,
    "crop": 32,
    "steps": 4,
    "evaluate_every": 2,
    "batch_size": 2,
    "width": 4,
    "depth": 2,
}


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("loss", ["BinaryCrossEntropyLoss", "ShapeAwareLoss"])
def test_a_run_leaves_its_record(loss, tmp_path):
    settings = Experiment(loss=loss, seed=5, **SMALL)
    record = run(settings, tmp_path / "runs" / "one")
    folder = tmp_path / "runs" / "one"
    assert sorted(p.name for p in folder.iterdir()) == [
        "history.csv",
        "metrics.csv",
        "model.keras",
        "record.json",
    ]
    assert [p.name for p in folder.parent.iterdir()] == ["one"], "nothing is left beside it"
    assert json.loads((folder / "record.json").read_text()) == record
    assert record["settings"] == dataclasses.asdict(settings)
    assert record["versions"]["keras"] == keras.__version__
    assert [int(row["step"]) for row in rows_of(folder / "history.csv")] == [2, 4]

    test = load("synthetic/cells", "test", limit=4, size=48)
    rows = rows_of(folder / "metrics.csv")
    assert [row["image"] for row in rows] == list(test.names)
    model = keras.models.load_model(folder / "model.keras")
    assert type(model.loss).__name__ == loss
    again = evaluate(model, test)
    for written, measured in zip(rows, again):
        assert float(written["dice"]) == pytest.approx(measured["dice"])
        assert int(written["merges"]) == measured["merges"]
    assert record["test"]["dice"] == pytest.approx(np.mean([row["dice"] for row in again]))


def test_the_same_settings_give_the_same_run(tmp_path):
    tables = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(Experiment(seed=seed, **SMALL), tmp_path / name)
        tables.append((tmp_path / name / "metrics.csv").read_text())
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]


def test_results_are_never_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="mine exists already"):
        run(Experiment(**SMALL), tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"


def finished(folder):
    """What looks like a result in a folder: what is not hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def equal_tables(one, other):
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    rows = [rows_of(folder / "history.csv") for folder in (one, other)]
    for a, b in zip(*rows, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {
            k: v for k, v in b.items() if k != "seconds"
        }


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    settings = Experiment(**SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "_write_csv", full)
        with pytest.raises(OSError, match="No space left") as caught:
            run(settings, tmp_path / "out")
    assert any("Run the same again to go on from there" in note for note in caught.value.__notes__)
    assert finished(tmp_path) == []

    # Run again, it does not train again.
    monkeypatch.setattr(keras.Model, "train_step", lambda *_: pytest.fail("trained again"))
    run(settings, tmp_path / "out")
    monkeypatch.undo()
    run(settings, tmp_path / "undisturbed")
    equal_tables(tmp_path / "out", tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "undisturbed"]


def test_a_run_that_is_killed_goes_on_and_ends_as_if_it_had_not(tmp_path):
    settings = {**SMALL, "steps": 60, "loss": "ShapeAwareLoss", "learning_rate": 0.01}
    code = (
        "from segloss_ref.experiment import Experiment, run\n"
        f"run(Experiment(**{settings!r}), {str(tmp_path / 'out')!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".out.partial/step-*.json")) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert finished(tmp_path) == []

    record = run(Experiment(**settings), tmp_path / "out")
    run(Experiment(**settings), tmp_path / "undisturbed")
    equal_tables(tmp_path / "out", tmp_path / "undisturbed")
    assert record["steps"] == 60 and record["ended_by"] == "steps"


def test_what_another_run_has_left_is_not_gone_on_with(tmp_path):
    partial = tmp_path / ".out.partial"
    experiments._open_partial(partial, Experiment(seed=1, **SMALL))
    (partial / "step-00000002.json").write_text("[]")
    experiments._open_partial(partial, Experiment(seed=1, **SMALL))
    assert (partial / "step-00000002.json").exists()
    experiments._open_partial(partial, Experiment(seed=2, **SMALL))
    assert not (partial / "step-00000002.json").exists()


def test_a_checkpoint_without_its_history_does_not_count(tmp_path):
    (tmp_path / "step-00000004.keras").write_text("half")
    assert experiments._last_checkpoint(tmp_path) == (None, [])


def test_the_learning_rate_is_chosen_on_the_validation_images(tmp_path, monkeypatch):
    settings = Experiment(**{**SMALL, "steps": 12, "learning_rate": None})
    record = run(settings, tmp_path / "out")
    tuning = record["tuning"]
    assert tuning["grid"] == [0.001, 0.003, 0.01] and tuning["steps"] == 4
    assert record["learning_rate"] == tuning["chosen"]
    # The first looks of a run at that rate are those of its trial.
    data = [load("synthetic/cells", split, limit=4, size=48) for split in ("train", "validation")]
    for rate, dice in zip(tuning["grid"], tuning["validation_dice"]):
        *_, last = experiments._train(settings, *data, rate, 4)[1]
        assert last["validation_dice"] == dice
    assert tuning["validation_dice"][tuning["grid"].index(tuning["chosen"])] == max(
        tuning["validation_dice"]
    )
    assert record["seconds_training"] < record["seconds"]


def test_rates_that_were_tried_are_not_tried_again(tmp_path, monkeypatch):
    kept = tmp_path / "tuning.json"
    kept.write_text(json.dumps({"0.001": 0.2, "0.003": float("nan"), "0.01": 0.1}))
    monkeypatch.setattr(experiments, "_train", lambda *_: pytest.fail("tried again"))
    assert experiments._tuned(Experiment(**SMALL), None, None, kept)["chosen"] == 0.001


def test_a_budget_in_seconds_ends_a_run_at_a_look(tmp_path):
    settings = Experiment(**{**SMALL, "steps": 1000, "seconds": 1e-3})
    record = run(settings, tmp_path / "out")
    assert (record["steps"], record["ended_by"]) == (2, "seconds")
    assert len(rows_of(tmp_path / "out" / "history.csv")) == 1


def test_nothing_is_written_to_the_screen_unless_it_is_a_terminal(tmp_path, capfd):
    run(Experiment(**SMALL), tmp_path / "out")
    out, err = capfd.readouterr()
    assert out == "" and "step" not in err


@pytest.mark.requires_data("streets")
def test_several_classes(tmp_path):
    settings = {**SMALL, "size": (48), "limit": 3, "dataset": "streets"}
    record = run(Experiment(loss="GeneralizedDiceLoss", **settings), tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "metrics.csv")
    test = load("streets", "test", limit=3, size=48)
    model = keras.models.load_model(tmp_path / "out" / "model.keras")
    predicted = model.predict(test.images, verbose=0).argmax(axis=-1)
    valid = test.masks != test.card.ignore_class
    for i, row in enumerate(rows):
        dice = {}
        for label, name in enumerate(test.class_names):
            a, b = ((m[i] == label) & valid[i] for m in (test.masks, predicted))
            if a.any():
                dice[name] = 2 * (a & b).sum() / (a.sum() + b.sum())
                assert float(row[f"dice: {name}"]) == pytest.approx(dice[name])
            else:
                assert row[f"dice: {name}"] == "nan"  # whatever is predicted
        assert float(row["dice"]) == pytest.approx(np.mean(list(dice.values())))
    assert 0 <= record["test"]["calibration_error"] <= 1
    with pytest.raises(ValueError, match="BinaryCrossEntropyLoss takes one class; 'streets' has"):
        run(Experiment(**settings), tmp_path / "binary")


def test_options_are_those_of_the_loss():
    assert loss_options("TverskyLoss", {"alpha": 0.2, "smooth": 2}) == {"alpha": 0.2, "smooth": 2}
    assert loss_options("DiceLoss", {"per": "batch"}) == {"per": "batch"}
    with pytest.raises(TypeError, match=r"no parameter gamma, of this notebook or of TverskyLoss"):
        loss_options("TverskyLoss", {"gamma": 1})
    with pytest.raises(ValueError, match="`loss` must be the name of a loss"):
        loss_options("TheLoss", {})


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 3}, TypeError, "epochs"),
        ({"steps": "200"}, TypeError, "`steps` must be of type int. Received: '200'"),
        ({"steps": 10.0}, TypeError, "`steps`"),
        ({"steps": True}, TypeError, "`steps`"),
        ({"limit": 2.5}, TypeError, "`limit`"),
        ({"options": [1]}, TypeError, "`options`"),
        ({"dataset": "cats"}, ValueError, "nuclei.*Received: 'cats'"),
        ({"loss": "TheLoss"}, ValueError, "Received: 'TheLoss'"),
        ({"loss": "check_batch"}, ValueError, "name of a loss"),
        ({"loss": "DiceLoss", "options": {"smooth": -1}}, ValueError, "`smooth`"),
        ({"loss": "DiceLoss", "options": {"soft": 1}}, TypeError, "soft"),
        ({"options": {"from_logits": False}}, ValueError, "from_logits"),
        ({"steps": 0}, ValueError, "`steps` must be at least 1"),
        ({"steps": 30, "evaluate_every": 20}, ValueError, "multiple of `evaluate_every`"),
        ({"learning_rate": 0.0}, ValueError, "`learning_rate`"),
        ({"crop": 90}, ValueError, r"divisible by 2\*\*depth = 8"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(settings, error, message):
    with pytest.raises(error, match=message):
        Experiment(**settings)


def test_data_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`crop` must fit into the images"):
        run(Experiment(**{**SMALL, "crop": 64}), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_instances_are_asked_for_where_there_are_none():
    data = dataclasses.replace(load("synthetic/cells", "train", limit=1), instances=None)
    settings = Experiment(loss="ShapeAwareLoss")
    with pytest.raises(ValueError, match="needs instances; 'synthetic/cells' has none"):
        experiments._check_data(settings, data)


def test_crops_are_pieces_of_the_images_and_the_same_for_every_loss():
    data = load("synthetic/cells", "train", limit=4, size=48)
    settings = Experiment(**SMALL)
    crops = experiments._Crops(data, settings, ShapeAwareLoss())
    images, truth = crops[1]
    again = experiments._Crops(data, settings, DiceLoss())[1]
    assert images.shape == truth.shape == (2, 32, 32, 1)
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(truth > 0, again[1])
    # A turned and mirrored crop still shows what its truth says: cells are brighter.
    assert images[truth > 0].mean() > images[truth == 0].mean() + 0.1


def test_the_truth_of_a_crop_reaches_as_far_beyond_it_as_the_loss_wants():
    data = load("synthetic/cells", "train", limit=3)
    settings = Experiment(crop=64, seed=4)
    x, y = experiments._Crops(data, settings, ShapeAwareLoss())[1]
    same, wide = experiments._Crops(data, settings, ShapeAwareLoss(surround=200))[1]
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(wide[:, 200:-200, 200:-200], y)
    side = data.images.shape[1]
    for around in wide:  # the whole image is in there, and -1 around it
        assert (around >= 0).sum() == side**2


def test_scores_by_hand():
    """A model that says "bright is foreground", on two cells that touch and one alone."""
    data = load("synthetic/cells", "test", limit=1, size=48)
    labels = np.zeros((1, 48, 48), "int32")
    labels[0, 5:15, 5:15], labels[0, 5:15, 15:25], labels[0, 30:40, 30:40] = 1, 2, 3
    images = (labels > 0).astype("float32")[..., None]
    masks = (labels > 0).astype("int32")
    data = dataclasses.replace(data, images=images, masks=masks, instances=labels)
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Rescaling(10, -5)])
    (row,) = evaluate(model, data)
    assert row["dice"] == row["iou"] == row["precision"] == row["recall"] == 1
    assert (row["cells"], row["predicted"], row["merges"], row["splits"]) == (3, 2, 1, 0)
    # The pair merged: IoU 1/2 with each, not more; one of three found, one made up.
    assert row["average_precision"] == pytest.approx(1 / (1 + 1 + 2))


@pytest.mark.requires_data("membranes")
def test_foreground_is_the_objects_even_where_class_1_is_what_lies_between():
    data = load("membranes", "test", limit=1, size=128)
    np.testing.assert_array_equal(foreground(data), data.masks == 0)


@pytest.mark.parametrize("loss", [DiceLoss(from_logits=True), ShapeAwareLoss(from_logits=True)])
def test_fit_picture(loss):
    data = load("synthetic/cells", "train", limit=1, size=48)
    probability, rows = fit_picture(loss, data.images[0], data.instances[0].clip(0, 1), steps=30)
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["recall"] == metrics.recall(data.masks[0] > 0, probability > 0.5)


def test_unknown_parameters_are_refused():
    declared = {"dataset", "steps"}
    refuse_unknown_parameters(declared, {"dataset", "steps", "declared", "_i3"})
    with pytest.raises(TypeError, match=r"no parameter step\. There are: dataset, steps"):
        refuse_unknown_parameters(declared, {"dataset", "steps", "declared", "step"})


@pytest.mark.requires_data("nuclei")
@pytest.mark.parametrize("loss", ["BinaryCrossEntropyLoss", "DiceLoss"])
def test_real_nuclei_are_learnt(loss, tmp_path):
    """The main job: a mean Dice of 0.85 on held-out images, in a fraction of three minutes."""
    settings = Experiment(
        dataset="nuclei", learning_rate=0.003, loss=loss, steps=150, evaluate_every=150, crop=128
    )
    assert run(settings, tmp_path / "out")["test"]["dice"] >= 0.85


def test_options_of_the_data_set(tmp_path):
    small = {**SMALL, "steps": 2}
    settings = {"dataset": "synthetic/tumours", "dataset_options": {"foreground": 0.1}}
    experiment = Experiment(**settings, **small)
    assert 0.05 < experiments.splits_of(experiment)[0].masks.mean() < 0.15
    record = run(experiment, tmp_path / "run")
    assert record["settings"]["dataset_options"] == {"foreground": 0.1}
    with pytest.raises(TypeError, match=r"has no option share\. Allowed: foreground, empty_share"):
        Experiment(dataset="synthetic/tumours", dataset_options={"share": 0.1})
    with pytest.raises(ValueError, match="`foreground` must be over 0"):
        Experiment(dataset="synthetic/tumours", dataset_options={"foreground": 0.0})
    with pytest.raises(ValueError, match="`dataset_options` are for synthetic data"):
        Experiment(data_dir=str(tmp_path), dataset_options={"foreground": 0.1})


def test_a_damaged_checkpoint_is_told_and_the_run_begins_anew(tmp_path, monkeypatch):
    settings = Experiment(**SMALL)
    want = run(settings, tmp_path / "whole")["test"]

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(experiments, "evaluate", full)
        with pytest.raises(OSError, match="No space left"):
            run(settings, tmp_path / "run")
    (checkpoint,) = (tmp_path / ".run.partial").glob("step-*.keras")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=f"{checkpoint.name} cannot be read"):
        assert run(settings, tmp_path / "run")["test"] == want


def test_two_processes_do_not_share_a_folder(tmp_path):
    with experiments._only_one(tmp_path / "run"):
        with pytest.raises(FileExistsError, match="is being made by another process: process"):
            run(Experiment(**SMALL), tmp_path / "run")


def test_an_image_that_is_void_everywhere_has_no_scores_and_ends_nothing():
    data = load("synthetic/cells", "test", limit=2)
    masks = data.masks.copy()
    masks[0] = -1
    data = dataclasses.replace(data, masks=masks)
    model = experiments.unet(1, 1, width=2, depth=1)
    first, second = evaluate(model, data)
    assert np.isnan(first["dice"]) and np.isnan(first["calibration_error"])
    assert np.isfinite(second["dice"])
    assert (experiments.instances_of(data)[0] == -1).all()


def test_looks_are_a_share_of_the_steps():
    assert Experiment(steps=20).evaluate_every == 2
    assert Experiment(steps=200).evaluate_every == 25
    assert Experiment(steps=7).evaluate_every == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": "Dice"}, "Did you mean 'DiceLoss'"),
        ({"loss": "SegmentationLoss"}, "There is no loss 'SegmentationLoss'"),
        ({"dataset": "nucleii"}, "Did you mean 'nuclei'"),
        ({"seed": 2**32}, "at most 4294967295. Received: 4294967296"),
        ({"data_dir": "no/such/folder"}, "must be a folder. There is none"),
    ],
)
def test_what_can_be_known_is_said_at_once(settings, words):
    with pytest.raises(ValueError, match=words):
        Experiment(**settings)

"""Runs: validated before they start, whole or absent when they end, the same for the same seed."""

import csv
import dataclasses
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
    refuse_unknown_parameters,
    run,
)
from segloss_ref.losses import DiceLoss, ShapeAwareLoss

SMALL = {
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


def test_a_run_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(experiments, "_write_csv", broken)
    with pytest.raises(OSError, match="disk full"):
        run(Experiment(**SMALL), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_killed_leaves_nothing_that_looks_finished(tmp_path):
    settings = {**SMALL, "steps": 100000}
    code = (
        "from segloss_ref.experiment import Experiment, run\n"
        f"run(Experiment(**{settings!r}), {str(tmp_path / 'out')!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = list(tmp_path.iterdir())
    assert [path.name.startswith(".out-") for path in left] == [True]
    assert not list(left[0].iterdir())


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
        experiments._check_data(settings, data, settings.make_loss())


def test_crops_are_pieces_of_the_images_and_the_same_for_every_loss():
    data = load("synthetic/cells", "train", limit=4, size=48)
    settings = Experiment(**SMALL)
    crops = experiments._Crops(data, settings, "instances")
    images, truth = crops[1]
    again = experiments._Crops(data, settings, "mask")[1]
    assert images.shape == truth.shape == (2, 32, 32, 1)
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(truth > 0, again[1])
    # A turned and mirrored crop still shows what its truth says: cells are brighter.
    assert images[truth > 0].mean() > images[truth == 0].mean() + 0.1


def test_the_truth_of_a_crop_reaches_as_far_beyond_it_as_the_loss_wants():
    data = load("synthetic/cells", "train", limit=3)
    settings = Experiment(crop=64, seed=4)
    x, y = experiments._Crops(data, settings, "instances")[1]
    same, wide = experiments._Crops(data, settings, "instances", surround=200)[1]
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
    settings = Experiment(dataset="nuclei", loss=loss, steps=150, evaluate_every=150, crop=128)
    assert run(settings, tmp_path / "out")["test"]["dice"] >= 0.85

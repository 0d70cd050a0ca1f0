"""Runs: whole or absent when they end, the same for the same seed."""

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
from small import SMALL

from segloss_ref.datasets import load
from segloss_ref.experiment import (
    Experiment,
    evaluate,
    run,
    running,
    splits_of,
)


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
        "probabilities.npz",
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
    again = evaluate(model, test, record["cut"])
    assert 0 < record["cut"] < 1 and "dice_at_cut" in rows[0]
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
        patch.setattr(running, "write_rows", full)
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
    running._open_partial(partial, Experiment(seed=1, **SMALL))
    (partial / "step-00000002.json").write_text("[]")
    running._open_partial(partial, Experiment(seed=1, **SMALL))
    assert (partial / "step-00000002.json").exists()
    running._open_partial(partial, Experiment(seed=2, **SMALL))
    assert not (partial / "step-00000002.json").exists()


def test_nothing_is_written_to_the_screen_unless_it_is_a_terminal(tmp_path, capfd):
    run(Experiment(**SMALL), tmp_path / "out")
    out, err = capfd.readouterr()
    assert out == "" and "step" not in err


def test_a_budget_in_seconds_ends_a_run_at_a_look(tmp_path):
    settings = Experiment(**{**SMALL, "steps": 1000, "seconds": 1e-3})
    record = run(settings, tmp_path / "out")
    assert (record["steps"], record["ended_by"]) == (2, "seconds")
    assert len(rows_of(tmp_path / "out" / "history.csv")) == 1


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


def test_options_of_the_data_set(tmp_path):
    small = {**SMALL, "steps": 2}
    settings = {"dataset": "synthetic/tumours", "dataset_options": {"foreground": 0.1}}
    experiment = Experiment(**settings, **small)
    assert 0.05 < splits_of(experiment)[0].masks.mean() < 0.15
    record = run(experiment, tmp_path / "run")
    assert record["settings"]["dataset_options"] == {"foreground": 0.1}
    with pytest.raises(TypeError, match=r"has no option share\. Allowed: foreground, empty_share"):
        Experiment(dataset="synthetic/tumours", dataset_options={"share": 0.1})
    with pytest.raises(ValueError, match="`foreground` must be over 0"):
        Experiment(dataset="synthetic/tumours", dataset_options={"foreground": 0.0})
    with pytest.raises(ValueError, match="`dataset_options` are for the data sets of `load`"):
        Experiment(data_dir=str(tmp_path), dataset_options={"foreground": 0.1})


@pytest.mark.requires_data("nuclei")
def test_real_nuclei_are_learnt(tmp_path):
    """The main job: a mean Dice of 0.85 on held-out images, in a fraction of three minutes."""
    settings = Experiment(
        dataset="nuclei",
        learning_rate=0.01,
        loss="DiceLoss",
        steps=150,
        evaluate_every=150,
        crop=128,
    )
    assert run(settings, tmp_path / "out")["test"]["dice"] >= 0.85


def test_a_damaged_checkpoint_is_told_and_the_run_begins_anew(tmp_path, monkeypatch):
    settings = Experiment(**SMALL)
    want = run(settings, tmp_path / "whole")["test"]

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(running, "scores_of", full)
        with pytest.raises(OSError, match="No space left"):
            run(settings, tmp_path / "run")
    (checkpoint,) = (tmp_path / ".run.partial").glob("step-*.keras")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=f"{checkpoint.name} cannot be read"):
        assert run(settings, tmp_path / "run")["test"] == want


def test_two_processes_do_not_share_a_folder(tmp_path):
    with running._only_one(tmp_path / "run"):
        with pytest.raises(FileExistsError, match="is being made by another process: process"):
            run(Experiment(**SMALL), tmp_path / "run")


@pytest.mark.parametrize(
    "loss",
    [
        "DiceLoss(from_logits=True) + 0.5 * BinaryCrossEntropyLoss(from_logits=True)",
        "BlobLoss(DiceLoss, max_blobs=16)",
        "DeepSupervisionLoss(DiceLoss)",
    ],
)
def test_sums_and_wrappers_run(loss, tmp_path):
    record = run(Experiment(loss=loss, **SMALL), tmp_path / "run")
    assert record["settings"]["loss"] == loss
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert len(model.outputs) == (2 if loss.startswith("Deep") else 1)
    losses = [float(row["loss"]) for row in rows_of(tmp_path / "run" / "history.csv")]
    assert np.isfinite(losses).all()
    again = evaluate(model, splits_of(Experiment(loss=loss, **SMALL))[2])
    assert record["test"]["dice"] == pytest.approx(np.mean([row["dice"] for row in again]))

"""Scores from what a run has kept: the same without a model, or others."""

import csv
import functools
import json
import shutil

import numpy as np
import pytest
from small import SMALL

from segloss_ref import metrics
from segloss_ref.experiment import Experiment, predict, rescore, rescoring, run, splits_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    run(Experiment(seed=3, **{**SMALL, "steps": 20, "evaluate_every": 10}), folder)
    return folder


def rows_of(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def as_written(rows):
    return [{key: str(value) for key, value in row.items()} for row in rows]


def test_every_score_again_in_every_digit(folder):
    (folder / "model.keras").rename(folder / "away")
    try:
        rows = rescore(folder)
    finally:
        (folder / "away").rename(folder / "model.keras")
    assert as_written(rows) == rows_of(folder)
    assert "average_precision_at_cut" in rows[0] and "betti1_error_at_cut" in rows[0]


def test_probabilities_are_those_of_the_model_in_8_bits(folder):
    import keras

    test = splits_of(Experiment(**json.loads((folder / "record.json").read_text())["settings"]))[2]
    model = keras.models.load_model(folder / "model.keras")
    with np.load(folder / "probabilities.npz") as kept:
        assert abs(kept["levels"] / 255 - predict(model, test.images)).max() <= 0.5 / 255 + 1e-6
        assert kept["names"].tolist() == list(test.names)


def test_other_scores_at_both_cuts(folder):
    other = {
        "farthest": functools.partial(metrics.hausdorff_distance, percentile=100),
        "dice": metrics.dice,
    }
    rows = rescore(folder, other)
    assert list(rows[0]) == ["image", "farthest", "dice", "farthest_at_cut", "dice_at_cut"]
    for row, written in zip(rows, rows_of(folder), strict=True):
        for name in ("dice", "dice_at_cut"):
            assert row[name] == float(written[name])


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_damaged_file_is_told(copy):
    file = copy / "probabilities.npz"
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no zip at all"):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"probabilities\.npz is damaged .*Run it again"):
            rescore(copy)
    np.savez_compressed(file, levels=np.zeros((1, 2, 2), "uint8"))
    with pytest.raises(ValueError, match="is damaged"):
        rescore(copy)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="needs the folder of a run that kept"):
        rescore(copy)


@pytest.mark.parametrize("setting", [{"size": 64}, {"limit": 3}, {"dataset": "synthetic/tumours"}])
def test_data_that_have_changed_since_are_told(copy, setting):
    record = json.loads((copy / "record.json").read_text())
    record["settings"] |= setting
    (copy / "record.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="the data have changed since"):
        rescore(copy)


def test_a_pixel_of_the_truth_that_has_changed_is_seen(copy, monkeypatch):
    def changed(experiment):
        splits = splits_of(experiment)
        masks = splits[2].masks.copy()
        masks[0, 0, 0] = -1
        return [*splits[:2], splits[2].__class__(**{**vars(splits[2]), "masks": masks})]

    monkeypatch.setattr(rescoring, "splits_of", changed)
    with pytest.raises(ValueError, match="the data have changed since"):
        rescore(copy)


def test_several_classes(tmp_path):
    settings = {**SMALL, "dataset": "synthetic/streets", "loss": "CategoricalCrossEntropyLoss"}
    record = run(Experiment(**settings), tmp_path / "run")
    assert record["cut"] is None
    rows = rescore(tmp_path / "run")
    assert as_written(rows) == rows_of(tmp_path / "run")
    right = {"right": lambda truth, predicted: float(np.mean(truth == predicted))}
    assert list(rescore(tmp_path / "run", right)[0]) == ["image", "right"]

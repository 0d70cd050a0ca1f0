"""The probabilities that a run keeps, and every score computed again from them."""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segloss_ref.checks import VOID
from segloss_ref.datasets import SegmentationData
from segloss_ref.experiment.data import instances_of, is_binary, only, splits_of, truth_of
from segloss_ref.experiment.evaluation import Score, scores_of
from segloss_ref.experiment.probabilities import from_levels
from segloss_ref.experiment.settings import Experiment

FILE = "probabilities.npz"


def rescore(
    folder: str | os.PathLike[str], scores: Mapping[str, Score] | None = None
) -> list[dict[str, Any]]:
    """Scores the test images of a run again, from the probabilities that it kept, without a model.

    Args:
        folder: what `run` made.
        scores: other scores than those of `metrics.csv`, by their names: functions of the truth and
            the predicted mask of an image, or of its two class maps. In the truth -1 are pixels
            without a class, which all metrics of `segloss_ref.metrics` leave out.

    Returns:
        A list with a dict for each image. By default the rows of `metrics.csv`, equal in every
        digit, or what this version of `evaluate` says of the same probabilities; else `image` and
        the scores, for binary data at 1/2 and as `NAME_at_cut` at the cut of the run.

    Raises:
        FileNotFoundError: if the folder does not hold a run with its probabilities.
        ValueError: if its files are damaged, or the data are no longer those it was tested on.

    Example:
        >>> from functools import partial
        >>> from segloss_ref.metrics import hausdorff_distance
        >>> from segloss_ref.experiment import rescore
        >>> farthest = {"farthest": partial(hausdorff_distance, percentile=100)}
        >>> rows = rescore("runs/one", farthest)  # doctest: +SKIP
    """
    folder = Path(folder)
    kept = _read(folder / FILE)
    experiment = Experiment(**json.loads((folder / "record.json").read_text())["settings"])
    test = splits_of(experiment)[2]
    if kept["names"].tolist() != list(test.names) or str(kept["truth"]) != _digest(test):
        raise ValueError(
            f"The test images of {experiment.data_dir or experiment.dataset!r} or their truth are "
            f"not those that {folder} was scored on: the data have changed since. Take the old "
            "data, or run it again."
        )
    cut = float(kept["cut"])
    return scores_of(kept["levels"], test, None if np.isnan(cut) else cut, scores)


def kept_masks(
    folder: str | os.PathLike[str], data: SegmentationData, i: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of test image i to show its errors by, as a run has kept its prediction.

    Args:
        folder: what `run` made.
        data: the test images.
        i: the number of one of them.

    Returns:
        The truth and the prediction at the cut of the run; of several classes, the pixels that have
        a class, and those of them whose class is right.
    """
    kept = _read(Path(folder) / FILE)
    levels, truth = kept["levels"][i], truth_of(only(data, i))[0]
    if is_binary(data):
        return truth == 1, from_levels(levels) > float(kept["cut"])
    return truth != VOID, (truth != VOID) & (levels.argmax(axis=-1) == truth)


def keep(folder: Path, levels: np.ndarray, data: SegmentationData, cut: float | None) -> None:
    """Writes the probabilities of the test images, in 8 bits: arrays by name in a zip.

    `levels`, `(n, *spatial)` or, of several classes, `(n, *spatial, classes)`; `names` of the
    images; `cut`, NaN where there is none; `truth`, the SHA-256 of what they are scored against.
    """
    arrays = {"levels": levels, "names": np.array(data.names), "truth": np.array(_digest(data))}
    np.savez_compressed(folder / FILE, **arrays, cut=np.array(np.nan if cut is None else cut))


def _read(file):
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is missing. `rescore` needs the folder of a run that kept its probabilities; "
            "runs of older versions kept none, and are run again."
        )
    try:
        # Opened here: NumPy would leave a damaged one open.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("levels", "names", "cut", "truth")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file} is damaged ({error}). Run it again.") from error


def _digest(data):
    """SHA-256 of the truth, and of the instances where there are some."""
    found = hashlib.sha256(truth_of(data).astype("int32").tobytes())
    if data.instances is not None:
        found.update(instances_of(data).tobytes())
    return found.hexdigest()

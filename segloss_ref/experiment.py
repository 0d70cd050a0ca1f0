"""One training run: settings in, a record out."""

import csv
import dataclasses
import functools
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

from segloss_ref import losses, metrics
from segloss_ref.datasets import NAMES, SPLITS, load
from segloss_ref.models import unet


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The settings of one run. Equal settings give equal runs.

    Args:
        dataset: one of `segloss_ref.datasets.NAMES`, of two classes.
        loss: the name of a loss class of `segloss_ref`.
        options: settings of the loss, such as `{"beta": 2.0}`. It is always given logits.
        seed: of the initial weights and of the crops that the network is shown.
        size: side of the images in pixels; `None` keeps them as they are.
        limit: at most this many images per split; `None` takes all.
        crop: side of the random crops to train on, turned and mirrored at random.
        batch_size: crops per step.
        steps: training steps, in all.
        evaluate_every: steps between two looks at the validation images.
        learning_rate: of Adam.
        width: filters of the U-Net at full resolution.
        depth: how often the U-Net halves the image; `crop` must be divisible by 2**depth.

    Raises:
        TypeError: for a setting that does not exist, or has the wrong type.
        ValueError: for a value that is not allowed.

    Example:
        >>> experiment = Experiment(dataset="nuclei", loss="DiceLoss", options={"smooth": 0.1})
        >>> experiment.make_loss().smooth
        0.1
    """

    dataset: str = "synthetic/cells"
    loss: str = "BinaryCrossEntropyLoss"
    options: Mapping = dataclasses.field(default_factory=dict)
    seed: int = 0
    size: int | None = None
    limit: int | None = None
    crop: int = 96
    batch_size: int = 8
    steps: int = 200
    evaluate_every: int = 25
    learning_rate: float = 3e-3
    width: int = 8
    depth: int = 3

    def __post_init__(self):
        _check_types(self)
        if self.dataset not in NAMES:
            raise ValueError(
                f"`dataset` must be one of {', '.join(NAMES)}. Received: {self.dataset!r}"
            )
        for name in ("crop", "batch_size", "steps", "evaluate_every", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(
                f"`learning_rate` must be greater than 0. Received: {self.learning_rate}"
            )
        if self.crop % 2**self.depth:
            raise ValueError(
                f"`crop` must be divisible by 2**depth = {2**self.depth}. Received: {self.crop}"
            )
        if self.steps % self.evaluate_every:
            raise ValueError(
                "`steps` must be a multiple of `evaluate_every`, so that the last step is "
                f"evaluated. Received: {self.steps} and {self.evaluate_every}"
            )
        self.make_loss()

    def make_loss(self):
        """The loss object; also the check that `loss` and `options` exist."""
        loss = getattr(losses, self.loss, None)
        if not (isinstance(loss, type) and issubclass(loss, losses.SegmentationLoss)):
            raise ValueError(
                f"`loss` must be the name of a loss of segloss_ref. Received: {self.loss!r}"
            )
        if "from_logits" in self.options:
            raise ValueError("`options` must not hold `from_logits`: the U-Net gives logits.")
        return loss(from_logits=True, **self.options)


def _check_types(experiment):
    for field in dataclasses.fields(experiment):
        value = getattr(experiment, field.name)
        # An integer is a good learning rate, but True is no number of steps.
        allowed = (int, float) if field.type is float else field.type
        if isinstance(value, bool) or not isinstance(value, allowed):
            name = getattr(field.type, "__name__", field.type)
            raise TypeError(f"`{field.name}` must be of type {name}. Received: {value!r}")


def run(experiment, out):
    """Trains, evaluates on the test split, and writes a folder, whole or not at all.

    The folder holds `record.json` (settings, versions, commit, seconds), `history.csv` (a row
    per look at the validation images), `metrics.csv` (a row per test image) and `model.keras`.
    It is written beside its place under another name, and renamed when it is complete.

    Args:
        experiment: an `Experiment`.
        out: the folder to make. It must not exist.

    Returns:
        The record, a dict.

    Raises:
        FileExistsError: if `out` exists: results are never overwritten.
        ValueError: if the data set is not binary, or `crop` is larger than its images.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} exists already. Remove it, or name another folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        record = _run_into(experiment, scratch)
        os.replace(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return record


def _run_into(experiment, folder):
    started = time.perf_counter()
    keras.utils.set_random_seed(experiment.seed)
    train, validation, test = _load(experiment.dataset, experiment.size, experiment.limit)
    loss = experiment.make_loss()
    _check_data(experiment, train, loss)
    model = unet(train.images.shape[-1], width=experiment.width, depth=experiment.depth)
    # Not compiled by XLA: on a CPU its convolutions are some three times slower than oneDNN's.
    optimizer = keras.optimizers.Adam(experiment.learning_rate)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    history = _History(validation)
    model.fit(
        _Crops(train, experiment, loss.truth, surround=getattr(loss, "surround", 0)),
        epochs=experiment.steps // experiment.evaluate_every,
        callbacks=[history],
        verbose=0,
        shuffle=False,
    )
    rows = evaluate(model, test)
    backend = keras.backend.backend()
    record = {
        "settings": dataclasses.asdict(experiment),
        "versions": {name: version(name) for name in ("segloss_ref", "keras", backend, "numpy")},
        "python": platform.python_version(),
        "backend": backend,
        "device": f"{', '.join(keras.distribution.list_devices())} on {platform.machine()}",
        "commit": _commit(),
        "parameters": model.count_params(),
        "seconds": round(time.perf_counter() - started, 1),
        "seconds_training": round(history.rows[-1]["seconds"], 1),
        "test": _means(rows),
    }
    _write_csv(folder / "history.csv", history.rows)
    _write_csv(folder / "metrics.csv", rows)
    model.save(folder / "model.keras")
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


@functools.lru_cache(maxsize=1)
def _load(dataset, size, limit):
    """The three splits; kept, because runs that are compared use the same ones."""
    return [load(dataset, split, size=size, limit=limit) for split in SPLITS]


def _check_data(experiment, data, loss):
    if len(data.class_names) != 2:
        raise ValueError(
            f"Experiments are binary so far. Received: {experiment.dataset!r} with "
            f"{len(data.class_names)} classes"
        )
    if min(data.images.shape[1:3]) < experiment.crop:
        raise ValueError(
            f"`crop` must fit into the images, {data.images.shape[1:3]} pixels. "
            f"Received: {experiment.crop}"
        )
    if loss.truth == "instances" and data.instances is None:
        raise ValueError(f"{experiment.loss} needs instances; {experiment.dataset!r} has none.")


class _Crops(keras.utils.PyDataset):
    """Random crops, mirrored and turned. Batch i of a seed is the same for every loss.

    The truth reaches `surround` pixels farther on each side; -1 stands beyond the image.
    """

    def __init__(self, data, experiment, truth, surround=0):
        super().__init__()
        self.images = data.images
        truth = foreground(data) if truth == "mask" else data.instances
        margins = ((0, 0), (surround, surround), (surround, surround))
        truth = np.pad(truth, margins, constant_values=-1) if surround else truth
        self.truth = truth[..., None]
        self.experiment, self.epoch, self.surround = experiment, 0, surround

    def __len__(self):
        return self.experiment.evaluate_every

    def on_epoch_end(self):
        self.epoch += 1

    def __getitem__(self, index):
        step = self.epoch * len(self) + index
        rng = np.random.default_rng((self.experiment.seed, step))
        pairs = [self._crop(rng) for _ in range(self.experiment.batch_size)]
        return tuple(np.stack(side) for side in zip(*pairs))

    def _crop(self, rng):
        side = self.experiment.crop
        image = rng.integers(len(self.images))
        top, left = (rng.integers(n - side + 1) for n in self.images.shape[1:3])
        turns, mirror = rng.integers(4), rng.integers(2)
        pair = []
        for pixels, wide in ((self.images, side), (self.truth, side + 2 * self.surround)):
            piece = np.rot90(pixels[image, top : top + wide, left : left + wide], turns)
            pair.append(piece[:, ::-1] if mirror else piece)
        return pair


class _History(keras.callbacks.Callback):
    """After every round: the loss, and the Dice of the validation images at threshold 1/2."""

    def __init__(self, validation):
        super().__init__()
        self.validation, self.rows, self.seconds = validation, [], 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        # Looking at the validation images is not training, and not counted as such.
        self.seconds += time.perf_counter() - self.started
        predicted = predict(self.model, self.validation.images) > 0.5
        dice = [metrics.dice(y, p) for y, p in zip(foreground(self.validation), predicted)]
        self.rows.append(
            {
                "step": (epoch + 1) * self.params["steps"],
                "seconds": self.seconds,
                "loss": logs["loss"],
                "validation_dice": float(np.mean(dice)),
            }
        )


def foreground(data):
    """The masks `(n, h, w)` that a binary run learns: the objects, where there are instances.

    In `membranes` class 1 is what lies between the objects.
    """
    return data.masks == 1 if data.instances is None else data.instances > 0


def predict(model, images):
    """Foreground probabilities `(n, height, width)` of a model that returns logits."""
    logits = model.predict(images, batch_size=8, verbose=0)[..., 0]
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


def evaluate(model, data):
    """Scores the model on each image of a binary data set, at threshold 1/2.

    Where the data have instances, predicted objects are the connected components of the
    predicted mask, and they are scored as well.

    Returns:
        A list with a dict for each image: `image`, `dice`, `iou`, `precision`, `recall`, and for
        instances `cells`, `predicted`, `average_precision`, `merges`, `splits`.
    """
    rows = []
    masks = foreground(data)
    for i, probability in enumerate(predict(model, data.images)):
        truth, predicted = masks[i], probability > 0.5
        row = {"image": data.names[i]}
        for metric in (metrics.dice, metrics.iou, metrics.precision, metrics.recall):
            row[metric.__name__] = float(metric(truth, predicted))
        if data.instances is not None:
            row |= _instance_scores(data.instances[i], predicted)
        rows.append(row)
    return rows


def _instance_scores(instances, predicted):
    components = metrics.label_components(predicted)
    counts = metrics.merges_and_splits(instances, components)
    return {
        "cells": len(np.unique(instances[instances > 0])),
        "predicted": int(components.max()),
        "average_precision": float(metrics.average_precision(instances, components)),
        "merges": int(counts.merges),
        "splits": int(counts.splits),
    }


def _means(rows):
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "image"}


def refuse_unknown_parameters(declared, names):
    """Stops a notebook that was given a parameter it does not have.

    Papermill writes such a parameter into the notebook with no more than a warning, and the
    value that was meant stays what it was.

    Args:
        declared: `dir()` at the end of the cell tagged `parameters`.
        names: `dir()` in the cell after it, behind what papermill injects.

    Raises:
        TypeError: names the unknown ones, and those that exist.
    """
    own = sorted(name for name in declared if not name.startswith("_"))
    unknown = [name for name in names if not name.startswith("_") and name not in declared]
    unknown = [name for name in unknown if name != "declared"]
    if unknown:
        raise TypeError(f"There is no parameter {', '.join(unknown)}. There are: {', '.join(own)}")


def _commit():
    """The commit of the clone that the package is used from, `None` elsewhere."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def fit_picture(loss, image, truth, *, steps=400, every=10, seed=0):
    """Trains two convolutions on one picture: enough to see what a loss asks for first.

    The chapters compare losses by it, since it takes seconds. It says nothing of other pictures.

    Args:
        loss: a loss that takes logits.
        image: `(h, w, channels)`.
        truth: `(h, w)`: the mask, or the instance map that the loss takes.
        steps: training steps, of Adam at a learning rate of 0.01.
        every: steps between two looks.
        seed: of the initial weights.

    Returns:
        The foreground probability `(h, w)` at the end, and a list of dicts, one for each look:
        `step`, `loss`, `recall`, `precision`.
    """
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((None, None, image.shape[-1])),
            keras.layers.Conv2D(8, 7, padding="same", activation="relu"),
            keras.layers.Conv2D(1, 7, padding="same"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), loss=loss, jit_compile=False)
    rows = []
    for step in range(steps):
        value = model.train_on_batch(image[None], truth[None, ..., None])
        if (step + 1) % every == 0:
            predicted = predict(model, image[None])[0] > 0.5
            rows.append(
                {
                    "step": step + 1,
                    "loss": float(value),
                    "recall": float(metrics.recall(truth > 0, predicted)),
                    "precision": float(metrics.precision(truth > 0, predicted)),
                }
            )
    return predict(model, image[None])[0], rows

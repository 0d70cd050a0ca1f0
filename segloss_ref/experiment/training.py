"""Training: crops in, a network and the course of its learning out."""

import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from segloss_ref.checks import VOID
from segloss_ref.datasets import SegmentationData
from segloss_ref.experiment.data import instances_of, is_binary, most_in_a_crop, truth_of
from segloss_ref.experiment.evaluation import mean_dice
from segloss_ref.experiment.settings import Experiment
from segloss_ref.losses import BlobLoss, SegmentationLoss
from segloss_ref.models import unet
from segloss_ref.writing import read_json, write_whole

#: What a learning rate is chosen from, the same for every loss.
LEARNING_RATES = (0.001, 0.003, 0.01)


def tuned(
    experiment: Experiment, images: SegmentationData, validation: SegmentationData, kept: Path
) -> dict[str, Any]:
    """Chooses the learning rate; `kept` is a file for the rates that are done."""
    steps = max(experiment.steps // 3 // experiment.evaluate_every, 1) * experiment.evaluate_every
    found = read_json(kept) or {}
    for rate in LEARNING_RATES:
        if str(rate) not in found:
            *_, last = train(experiment, images, validation, rate, steps)[1]
            found[str(rate)] = last["validation_dice"]
            write_whole(kept, json.dumps(found))
    dice = [found[str(rate)] for rate in LEARNING_RATES]
    # A rate at which the loss diverged has no Dice to speak of, and is not chosen.
    best = int(np.argmax(np.nan_to_num(dice, nan=-1.0)))
    return {
        "grid": list(LEARNING_RATES),
        "steps": steps,
        "validation_dice": dice,
        "chosen": LEARNING_RATES[best],
    }


def train(
    experiment: Experiment,
    images: SegmentationData,
    validation: SegmentationData,
    learning_rate: float,
    steps: int,
    checkpoints: Path | None = None,
) -> tuple[keras.Model, list[dict[str, Any]]]:
    """The trained model, and a row for each look at the validation images.

    With a folder for checkpoints it goes on from the last of them.
    """
    keras.utils.set_random_seed(experiment.seed)
    loss, outputs = experiment.make_loss(), experiment.outputs
    model, rows = _last_checkpoint(checkpoints) if checkpoints else (None, [])
    if model is None:
        model = unet(
            images.images.shape[-1],
            channels_of(images),
            width=experiment.width,
            depth=experiment.depth,
            outputs=outputs,
        )
        # Not compiled by XLA: on a CPU its convolutions are some three times slower than oneDNN's.
        optimizer = keras.optimizers.Adam(learning_rate)
        losses = loss if outputs == 1 else [loss] * outputs
        model.compile(optimizer=optimizer, loss=losses, jit_compile=False)
    crops = Crops(images, experiment, loss, epoch=len(rows), outputs=outputs)
    looks = _Looks(validation, rows, experiment.seconds, checkpoints)
    model.fit(
        crops,
        initial_epoch=len(rows),
        epochs=steps // experiment.evaluate_every,
        callbacks=[looks, _Bar(experiment, steps, len(rows))],
        verbose=0,
        shuffle=False,
    )
    return model, rows


def check_data(experiment: Experiment, data: SegmentationData) -> None:
    """Refuses what can be known to fail before anything is trained.

    Raises:
        ValueError: if images, loss and `crop` do not fit together.
    """
    loss, crop = experiment.make_loss(), experiment.crop
    if data.images.ndim != 4:
        raise ValueError(
            "A run trains on images of two dimensions. Received: images of "
            f"{experiment.dataset!r} with the shape {data.images.shape[1:]}"
        )
    if not is_binary(data) and "exclusive" not in loss.takes:
        raise ValueError(
            f"{experiment.loss} takes one class; {experiment.dataset!r} has "
            f"{len(data.class_names)}. Received: loss={experiment.loss!r}"
        )
    if min(data.images.shape[1:3]) < crop:
        raise ValueError(
            f"`crop` must fit into the images, {data.images.shape[1:3]} pixels. Received: {crop}"
        )
    if loss.truth == "instances" and data.instances is None:
        raise ValueError(f"{experiment.loss} needs instances; {experiment.dataset!r} has none.")
    if isinstance(loss, BlobLoss):
        most = max(most_in_a_crop(labels, crop) for labels in data.instances)
        if most > loss.max_blobs:
            raise ValueError(
                f"`max_blobs` must be at least {most}: so many objects of {experiment.dataset!r} "
                f"can be in one crop. Received: {loss.max_blobs}"
            )
    # Whatever else the loss refuses, such as too few class weights, it refuses on a first crop.
    _, truth = Crops(data, experiment, loss)[0]
    loss(truth[:1], np.zeros((1, crop, crop, channels_of(data)), "float32"))


def channels_of(data: SegmentationData) -> int:
    """How many channels a network needs for these data."""
    return 1 if is_binary(data) else len(data.class_names)


class Crops(keras.utils.PyDataset):
    """Random crops, mirrored and turned. Batch i of a seed is the same for every loss.

    The truth reaches as far beyond the crop as the loss wants; -1 stands beyond the image.
    """

    def __init__(
        self,
        data: SegmentationData,
        experiment: Experiment,
        loss: SegmentationLoss,
        epoch: int = 0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.images, self.surround = data.images, getattr(loss, "surround", 0)
        truth = truth_of(data) if loss.truth == "mask" else instances_of(data)
        margin = (self.surround, self.surround)
        if self.surround:
            truth = np.pad(truth, ((0, 0), margin, margin), constant_values=VOID)
        self.truth, self.numbered = truth[..., None], isinstance(loss, BlobLoss)
        self.experiment, self.epoch, self.outputs = experiment, epoch, outputs

    def __len__(self) -> int:
        return self.experiment.evaluate_every

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray | tuple[np.ndarray, ...]]:
        step = self.epoch * len(self) + index
        rng = np.random.default_rng((self.experiment.seed, step))
        pairs = [self._crop(rng) for _ in range(self.experiment.batch_size)]
        images, truth = (np.stack(side) for side in zip(*pairs))
        return images, truth if self.outputs == 1 else (truth,) * self.outputs

    def _crop(self, rng):
        side = self.experiment.crop
        image = rng.integers(len(self.images))
        top, left = (rng.integers(n - side + 1) for n in self.images.shape[1:3])
        turns, mirror = rng.integers(4), rng.integers(2)
        pair = []
        for pixels, wide in ((self.images, side), (self.truth, side + 2 * self.surround)):
            piece = np.rot90(pixels[image, top : top + wide, left : left + wide], turns)
            pair.append(piece[:, ::-1] if mirror else piece)
        return pair[0], numbered(pair[1]) if self.numbered else pair[1]


def numbered(labels: np.ndarray) -> np.ndarray:
    """An instance map with its objects numbered 1, 2, 3, ... without gaps."""
    found = np.unique(labels[labels > 0])
    places = np.searchsorted(found, labels).astype(labels.dtype) + 1
    return np.where(labels > 0, places, labels)


class _Looks(keras.callbacks.Callback):
    """After every round: the loss, the Dice of the validation images, and a checkpoint."""

    def __init__(self, validation, rows, seconds, checkpoints):
        super().__init__()
        self.validation, self.rows, self.checkpoints = validation, rows, checkpoints
        self.budget = float("inf") if seconds is None else seconds
        self.seconds = rows[-1]["seconds"] if rows else 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        # Looking at the validation images is not training, and not counted as such.
        self.seconds += time.perf_counter() - self.started
        self.rows.append(
            {
                "step": (epoch + 1) * self.params["steps"],
                "seconds": self.seconds,
                "loss": logs["loss"],
                "validation_dice": mean_dice(self.model, self.validation),
            }
        )
        if self.seconds >= self.budget:
            self.model.stop_training = True
        if self.checkpoints:
            _write_checkpoint(self.model, self.rows, self.checkpoints)


class _Bar(keras.callbacks.Callback):
    """Progress of one training, in a terminal only."""

    def __init__(self, experiment, steps, looks):
        super().__init__()
        done = looks * experiment.evaluate_every
        name = f"{experiment.loss}, seed {experiment.seed}"
        self.bar = tqdm(total=steps, initial=done, desc=name, unit="step", disable=None)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}")

    def on_train_end(self, logs=None):
        self.bar.close()


def _write_checkpoint(model, rows, folder):
    """The model first, then its history: a checkpoint without one is not complete."""
    name = f"step-{rows[-1]['step']:08}"
    unfinished = folder / "unfinished.keras"
    model.save(unfinished)
    os.replace(unfinished, folder / f"{name}.keras")
    write_whole(folder / f"{name}.json", json.dumps(rows))
    for older in folder.glob("step-*"):
        if older.stem != name:
            older.unlink()


def _last_checkpoint(folder):
    """The newest checkpoint that can be read, and its history; damaged ones are removed."""
    for rows in sorted(folder.glob("step-*.json"), reverse=True):
        model = rows.with_suffix(".keras")
        found = read_json(rows)
        try:
            if found:
                return keras.models.load_model(model), found
        except Exception as error:  # damage shows as errors of many kinds
            warnings.warn(f"{model} cannot be read ({error}). The run begins anew.", stacklevel=2)
        for file in (rows, model):
            file.unlink(missing_ok=True)
    return None, []

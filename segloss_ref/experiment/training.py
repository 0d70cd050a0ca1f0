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

from segloss_ref.datasets import SegmentationData
from segloss_ref.experiment.crops import Crops, crop_sides, images_by_class
from segloss_ref.experiment.data import is_binary, most_in_a_crop
from segloss_ref.experiment.evaluation import validation_scores
from segloss_ref.experiment.settings import Experiment, own_model
from segloss_ref.losses import BlobLoss
from segloss_ref.models import standardizing, unet
from segloss_ref.writing import read_json, write_whole


def train(
    experiment: Experiment,
    images: SegmentationData,
    validation: SegmentationData,
    learning_rate: float,
    steps: int,
    checkpoints: Path | None = None,
) -> tuple[keras.Model, list[dict[str, Any]]]:
    """The trained model, with its last weights, and a row for each look at the validation images.

    With a folder for checkpoints it goes on from the last of them.
    """
    keras.utils.set_random_seed(experiment.seed)
    loss, outputs = experiment.make_loss(), experiment.outputs
    model, rows = _last_checkpoint(checkpoints) if checkpoints else (None, [])
    if model is None:
        model = compiled(experiment, images, learning_rate, steps)
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


def compiled(
    experiment: Experiment, images: SegmentationData, learning_rate: float, steps: int
) -> keras.Model:
    """The network of a run with new weights, ready to be trained for so many steps."""
    model, loss = make_model(experiment, images), experiment.make_loss()
    # Compiled by XLA with JAX alone, which would else run step by step: on a CPU its
    # convolutions are some three times slower than oneDNN's, which TensorFlow has.
    by_xla = keras.backend.backend() == "jax"
    optimizer = keras.optimizers.Adam(schedule(learning_rate, steps))
    losses = loss if experiment.outputs == 1 else [loss] * experiment.outputs
    model.compile(optimizer=optimizer, loss=losses, jit_compile=by_xla)
    return model


def check_data(experiment: Experiment, data: SegmentationData) -> None:
    """Refuses what can be known to fail before anything is trained.

    Raises:
        ValueError: if images, loss and `crop` do not fit together.
    """
    loss, dims = experiment.make_loss(), data.images.ndim - 2
    if not is_binary(data) and "exclusive" not in loss.takes:
        raise ValueError(
            f"{experiment.loss} takes one class; {experiment.dataset!r} has "
            f"{len(data.class_names)}. Received: loss={experiment.loss!r}"
        )
    if dims not in loss.dimensions:
        raise ValueError(
            f"{experiment.loss} takes images of {' or '.join(map(str, loss.dimensions))} "
            f"dimensions; those of {experiment.dataset!r} have {dims}."
        )
    sizes, sides = data.images.shape[1:-1], crop_sides(experiment, dims)
    if any(side > size for side, size in zip(sides, sizes)):
        raise ValueError(
            f"`crop` must fit into the images, {sizes} pixels. Received: {experiment.crop}"
        )
    if experiment.foreground_crops and not images_by_class(data):
        raise ValueError(
            f"No training image of {experiment.dataset!r} has foreground, so `foreground_crops` "
            f"must be 0. Received: {experiment.foreground_crops}"
        )
    if loss.truth == "instances" and data.instances is None:
        raise ValueError(f"{experiment.loss} needs instances; {experiment.dataset!r} has none.")
    if isinstance(loss, BlobLoss):
        _check_blobs(experiment, loss, data, sides)
    if experiment.model != "unet":
        _check_shape(experiment, data, sides)
    # Whatever else the loss refuses, such as too few class weights, it refuses on a first crop.
    _, truth = Crops(data, experiment, loss)[0]
    loss(truth[:1], np.zeros((1, *sides, channels_of(data)), "float32"))


def _check_shape(experiment, data, sides):
    shape = (1, *sides, data.images.shape[-1])
    found = make_model(experiment, data)(np.zeros(shape, "float32"))
    found = tuple(getattr(found, "shape", ())) or type(found).__name__
    if found != (1, *sides, channels_of(data)):
        raise ValueError(
            f"`model` must return logits of shape {(1, *sides, channels_of(data))} for a crop of "
            f"shape {shape}. {experiment.model!r} has returned: {found}"
        )


def _check_blobs(experiment, loss, data, sides):
    # A crop that is turned and scaled sees no farther than a square of twice the side.
    wide = 2 if experiment.augmentation == "deformation" else 1
    seen = [wide * side for side in sides]
    most = max(most_in_a_crop(labels, seen) for labels in data.instances)
    if most > loss.max_blobs:
        raise ValueError(
            f"`max_blobs` must be at least {most}: so many objects of {experiment.dataset!r} "
            f"can be in one crop. Received: {loss.max_blobs}"
        )


def make_model(experiment: Experiment, data: SegmentationData) -> keras.Model:
    """The network of a run, with new weights, behind the standardisation of its images."""
    channels, classes, dims = data.images.shape[-1], channels_of(data), data.images.ndim - 2
    if experiment.model == "unet":
        settings = {"width": experiment.width, "depth": experiment.depth}
        settings |= {"spatial_dims": dims, "outputs": experiment.outputs}
        network = unet(channels, classes, **settings)
    else:
        network = own_model(experiment.model)(channels, classes, dims)
        if not isinstance(network, keras.Model):
            raise TypeError(
                f"`model` must return a Keras model. {experiment.model!r} has returned: {network!r}"
            )
    return standardizing(network, channels, dims)


def schedule(learning_rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Rises to the rate over a twentieth of the steps, then falls along a cosine, to 0 at the end.

    With a constant rate the scores of a network go up and down from look to look by more than
    losses differ; the weights at the end of a falling one can be compared.

    Example:
        >>> rate = schedule(0.01, steps=40)
        >>> [round(float(rate(step)), 4) for step in (0, 1, 2, 21, 39)]
        [0.0033, 0.0067, 0.01, 0.005, 0.0]
    """
    warm_up = max(round(steps / 20), 1)
    return keras.optimizers.schedules.CosineDecay(
        # The first step has a rate, too.
        learning_rate / (warm_up + 1),
        decay_steps=max(steps - warm_up, 1),
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )


def channels_of(data: SegmentationData) -> int:
    """How many channels a network needs for these data."""
    return 1 if is_binary(data) else len(data.class_names)


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
                **validation_scores(self.model, self.validation),
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

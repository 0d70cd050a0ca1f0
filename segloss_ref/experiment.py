"""One training run: settings in, a record out."""

import contextlib
import csv
import dataclasses
import fcntl
import functools
import inspect
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from segloss_ref import losses, metrics
from segloss_ref.catalogue import loss_class as catalogued_class
from segloss_ref.checks import VOID, check_labels, check_seed, did_you_mean
from segloss_ref.datasets import NAMES, SPLITS, load
from segloss_ref.datasets.folder import fingerprint, load_folder, stamp
from segloss_ref.models import unet

#: What a learning rate is chosen from, the same for every loss.
LEARNING_RATES = (0.001, 0.003, 0.01)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The settings of one run. Equal settings give equal runs.

    Args:
        dataset: one of `segloss_ref.datasets.NAMES`; `None` is `"synthetic/cells"`, or what
            `data_dir` is called.
        data_dir: a folder of your own with `images/` and `masks/` instead, see `load_folder`.
        dataset_options: of a synthetic data set, such as `{"foreground": 0.001}` of tumours.
        loss: the name of a loss class of `segloss_ref`.
        options: settings of the loss, such as `{"beta": 2.0}`. It is always given logits.
        seed: of the initial weights and of the crops that the network is shown.
        size: side of the images in pixels; `None` keeps them as they are.
        limit: at most this many images per split; `None` takes all.
        crop: side of the random crops to train on, turned and mirrored at random.
        batch_size: crops per step.
        steps: training steps, in all.
        evaluate_every: steps between two looks at the validation images; `steps` is a multiple of
            it. `None`: the largest such number that is at most an eighth of the steps.
        learning_rate: of Adam. `None`: the one of `LEARNING_RATES` that has the best Dice on the
            validation images after a third of the steps, each from the same initial weights.
        seconds: of training; it ends at the first look after them if not at `steps`. A run that
            ends by the clock is another one on another machine.
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

    dataset: str | None = None
    data_dir: str | None = None
    dataset_options: Mapping = dataclasses.field(default_factory=dict)
    loss: str = "BinaryCrossEntropyLoss"
    options: Mapping = dataclasses.field(default_factory=dict)
    seed: int = 0
    size: int | None = None
    limit: int | None = None
    crop: int = 96
    batch_size: int = 8
    steps: int = 200
    evaluate_every: int | None = None
    learning_rate: float | None = None
    seconds: float | None = None
    width: int = 8
    depth: int = 3

    def __post_init__(self):
        _check_types(self)
        object.__setattr__(self, "dataset", self._name_of_data())
        check_seed("seed", self.seed)
        if self.evaluate_every is None and self.steps > 0:
            object.__setattr__(self, "evaluate_every", _share_of(self.steps))
        if self.dataset_options:
            self._check_dataset_options()
        for name in ("crop", "batch_size", "steps", "evaluate_every", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)}")
        for name in ("size", "limit"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)}")
        for name in ("learning_rate", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"`{name}` must be greater than 0. Received: {value}")
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

    def _name_of_data(self):
        if self.data_dir is None:
            name = "synthetic/cells" if self.dataset is None else self.dataset
            if name not in NAMES:
                raise ValueError(
                    f"`dataset` must be one of {', '.join(NAMES)}. Received: {name!r}"
                    f"{did_you_mean(name, NAMES)}"
                )
            return name
        if not Path(self.data_dir).is_dir():
            raise ValueError(f"`data_dir` must be a folder. There is none: {self.data_dir!r}")
        name = Path(self.data_dir).resolve().name
        if self.dataset not in (None, name):
            raise ValueError(
                "Either `dataset` or `data_dir` says what to train on. Received both: "
                f"{self.dataset!r} and {self.data_dir!r}"
            )
        return name

    def _check_dataset_options(self):
        if self.data_dir is not None:
            raise ValueError(
                "`dataset_options` are for synthetic data; a folder has none. "
                f"Received: {dict(self.dataset_options)}"
            )
        load(self.dataset, "test", size=self.size, limit=1, **self.dataset_options)

    def make_loss(self, **more):
        """The loss object; also the check that `loss` and `options` exist."""
        loss = loss_class(self.loss)
        if "from_logits" in self.options:
            raise ValueError("`options` must not hold `from_logits`: the U-Net gives logits.")
        # The U-Net has its channels last, whatever Keras is set to.
        return loss(from_logits=True, data_format="channels_last", **more, **self.options)


def loss_class(name):
    """The loss class of this name, for experiments.

    Raises:
        ValueError: if there is none.
    """
    try:
        return catalogued_class(name)
    except ValueError as error:
        raise ValueError(
            f"`loss` must be the name of a loss of segloss_ref. Received: {name!r}. {error}"
        ) from error


def _share_of(steps):
    """The largest divisor of the steps that is at most an eighth of them."""
    return max(n for n in range(1, max(steps // 8, 1) + 1) if steps % n == 0)


def _check_types(experiment):
    for field in dataclasses.fields(experiment):
        value = getattr(experiment, field.name)
        # An integer is a good learning rate, but True is no number of steps.
        allowed = field.type | int if field.type in (float, float | None) else field.type
        if isinstance(value, bool) or not isinstance(value, allowed):
            name = getattr(field.type, "__name__", field.type)
            raise TypeError(f"`{field.name}` must be of type {name}. Received: {value!r}")


def run(experiment, out):
    """Trains, evaluates on the test split, and writes a folder, whole or not at all.

    The folder holds `record.json` (settings, versions, commit, seconds), `history.csv` (a row
    per look at the validation images), `metrics.csv` (a row per test image) and `model.keras`.
    Until it is complete, everything lies in a hidden folder beside it, `.NAME.partial`. A run that
    was killed or failed goes on from there, at its last look at the validation images, and ends
    as if nothing had happened. A bar shows the progress in a terminal, and nothing elsewhere.

    Args:
        experiment: an `Experiment`.
        out: the folder to make. It must not exist.

    Returns:
        The record, a dict.

    Raises:
        FileExistsError: if `out` exists: results are never overwritten.
        ValueError: if data, loss and `crop` do not fit together.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} exists already. Remove it, or name another folder.")
    started = time.perf_counter()
    data = splits_of(experiment)
    _check_data(experiment, data[0])
    partial = out.parent / f".{out.name}.partial"
    out.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(out):
        try:
            _open_partial(partial, experiment)
            record = _run_into(experiment, data, partial, started)
            os.replace(partial / "result", out)
        except OSError as error:
            if partial.is_dir() and any(partial.glob("step-*.keras")):
                error.add_note(
                    f"What is done lies in {partial}. Run the same again to go on from there."
                )
            raise
        shutil.rmtree(partial)
    return record


@contextlib.contextmanager
def _only_one(out):
    """Holds the name of a run for this process. The lock ends with it, however it ends."""
    file = out.parent / f".{out.name}.running"
    with file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise FileExistsError(
                f"{out} is being made by another process: {lock.read()}. Wait for it or end it, "
                "or name another folder."
            ) from error
        if out.exists():  # made while this process was loading its data
            raise FileExistsError(f"{out} exists already. Remove it, or name another folder.")
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}")
        lock.flush()
        yield
        file.unlink(missing_ok=True)


def _open_partial(partial, experiment):
    """Keeps what a run of these settings, data and versions has left there; removes any other."""
    identity = json.dumps(_identity(experiment), indent=2) + "\n"
    note = partial / "identity.json"
    if not (note.exists() and note.read_text() == identity):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_whole(note, identity)


def _identity(experiment):
    folder = experiment.data_dir
    backend = keras.backend.backend()
    return {
        "settings": dataclasses.asdict(experiment),
        "data": None if folder is None else fingerprint(folder),
        "versions": {
            **{name: version(name) for name in ("segloss_ref", "keras", "numpy")},
            # Of the module: its package may be called otherwise, as `tensorflow-cpu` is.
            backend: sys.modules[backend].__version__,
        },
        "python": platform.python_version(),
        "backend": backend,
        "device": f"{', '.join(_devices())} on {platform.machine()}",
        "commit": _commit(),
    }


def _devices():
    if keras.backend.backend() == "torch":  # Keras has no list of devices there
        torch = sys.modules["torch"]
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    return keras.distribution.list_devices()


def _run_into(experiment, data, partial, started):
    train, validation, test = data
    tuning = None
    rate = experiment.learning_rate
    if rate is None:
        tuning = _tuned(experiment, train, validation, partial / "tuning.json")
        rate = tuning["chosen"]
    model, history = _train(experiment, train, validation, rate, experiment.steps, partial)
    rows = evaluate(model, test)
    record = {
        **_identity(experiment),
        "parameters": model.count_params(),
        "learning_rate": rate,
        "tuning": tuning,
        "steps": history[-1]["step"],
        "ended_by": "steps" if history[-1]["step"] == experiment.steps else "seconds",
        "seconds": round(time.perf_counter() - started, 1),
        "seconds_training": round(history[-1]["seconds"], 1),
        "test": _means(rows),
    }
    result = partial / "result"
    shutil.rmtree(result, ignore_errors=True)
    result.mkdir()
    _write_csv(result / "history.csv", history)
    _write_csv(result / "metrics.csv", rows)
    model.save(result / "model.keras")
    write_whole(result / "record.json", json.dumps(record, indent=2) + "\n")
    return record


def _tuned(experiment, train, validation, kept):
    """Chooses the learning rate; `kept` is a file for the rates that are done."""
    steps = max(experiment.steps // 3 // experiment.evaluate_every, 1) * experiment.evaluate_every
    found = _whole_json(kept) or {}
    for rate in LEARNING_RATES:
        if str(rate) not in found:
            *_, last = _train(experiment, train, validation, rate, steps)[1]
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


def _train(experiment, train, validation, learning_rate, steps, checkpoints=None):
    """The trained model, and a row for each look at the validation images.

    With a folder for checkpoints it goes on from the last of them.
    """
    keras.utils.set_random_seed(experiment.seed)
    loss = experiment.make_loss()
    model, rows = _last_checkpoint(checkpoints) if checkpoints else (None, [])
    if model is None:
        channels = 1 if is_binary(train) else len(train.class_names)
        model = unet(
            train.images.shape[-1], channels, width=experiment.width, depth=experiment.depth
        )
        # Not compiled by XLA: on a CPU its convolutions are some three times slower than oneDNN's.
        optimizer = keras.optimizers.Adam(learning_rate)
        model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    crops = _Crops(train, experiment, loss, epoch=len(rows))
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


def splits_of(experiment):
    """What an experiment trains on, is validated with, and is tested on."""
    options = tuple(sorted(experiment.dataset_options.items()))
    folder = experiment.data_dir
    return _load(
        experiment.dataset,
        options,
        folder,
        experiment.size,
        experiment.limit,
        None if folder is None else stamp(folder),
    )


@functools.lru_cache(maxsize=1)
def _load(dataset, options, data_dir, size, limit, changed):
    """The three splits; kept, because runs that are compared use the same ones.

    `changed` says when the files of a folder did: later they are read anew.
    """
    if data_dir is None:
        return [load(dataset, split, size=size, limit=limit, **dict(options)) for split in SPLITS]
    return [load_folder(data_dir, split, size=size, limit=limit) for split in SPLITS]


def _check_data(experiment, data):
    loss = experiment.make_loss()
    if not is_binary(data) and "exclusive" not in loss.takes:
        raise ValueError(
            f"{experiment.loss} takes one class; {experiment.dataset!r} has "
            f"{len(data.class_names)}. Received: loss={experiment.loss!r}"
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

    The truth reaches as far beyond the crop as the loss wants; -1 stands beyond the image.
    """

    def __init__(self, data, experiment, loss, epoch=0):
        super().__init__()
        self.images, self.surround = data.images, getattr(loss, "surround", 0)
        truth = truth_of(data) if loss.truth == "mask" else instances_of(data)
        margin = (self.surround, self.surround)
        if self.surround:
            truth = np.pad(truth, ((0, 0), margin, margin), constant_values=-1)
        self.truth = truth[..., None]
        self.experiment, self.epoch = experiment, epoch

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
                "validation_dice": _mean_dice(self.model, self.validation),
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
        found = _whole_json(rows)
        try:
            if found:
                return keras.models.load_model(model), found
        except Exception as error:  # damage shows as errors of many kinds
            warnings.warn(f"{model} cannot be read ({error}). The run begins anew.", stacklevel=2)
        for file in (rows, model):
            file.unlink(missing_ok=True)
    return None, []


def _whole_json(file):
    """What a JSON file holds, `None` where there is none; a damaged one is told and removed."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        warnings.warn(f"{file} is damaged ({error}) and not used.", stacklevel=2)
        file.unlink()
        return None


def is_binary(data):
    """Whether a network needs one channel for these data: two classes, or instances."""
    return len(data.class_names) == 2


def foreground(data):
    """The masks `(n, h, w)` that a binary run learns: the objects, where there are instances.

    In `membranes` class 1 is what lies between the objects.
    """
    return data.masks == 1 if data.instances is None else data.instances > 0


def has_class(data):
    """Where the pixels have a class, `(n, h, w)`: the others belong in no loss and no score."""
    ignored = check_labels("ignore_class", data.card.ignore_class)
    return ~np.isin(data.masks, (VOID, *ignored))


def truth_of(data):
    """What a loss is given, `(n, h, w)`: the foreground, or the classes where they are several.

    Pixels that have no class are -1, which every loss and metric leaves out.
    """
    truth = foreground(data) if is_binary(data) else data.masks
    valid = has_class(data)
    return truth if valid.all() else np.where(valid, truth, VOID).astype("int32")


def instances_of(data):
    """The instance maps, -1 where the pixels have no class."""
    return np.where(has_class(data), data.instances, VOID).astype("int32")


def predict(model, images):
    """Probabilities of a model that returns logits.

    Those of the foreground, `(n, height, width)`, where the model has one channel; else those of
    all classes, `(n, height, width, classes)`.
    """
    logits = model.predict(images, batch_size=8, verbose=0)
    if logits.shape[-1] == 1:
        return 1 / (1 + np.exp(-np.clip(logits[..., 0], -80, 80)))
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=-1)))


def evaluate(model, data):
    """Scores the model on each image of a data set: at threshold 1/2, or by the best class.

    Where binary data have instances, predicted objects are the connected components of the
    predicted mask, and they are scored as well. Pixels without a class are in no score of pixels.

    Returns:
        A list with a dict for each image: `image`, `dice`, `iou`, then for binary data
        `precision`, `recall`, and for instances `cells`, `predicted`, `average_precision`,
        `merges`, `splits`; for several classes the Dice of each, `dice: NAME`, whose mean over
        the classes in the picture (but for one named background) is `dice`; and
        `calibration_error`. What cannot be measured on an image is NaN.
    """
    score = _binary_scores if is_binary(data) else _class_scores
    probabilities = predict(model, data.images)
    return [{"image": data.names[i], **score(data, i, p)} for i, p in enumerate(probabilities)]


def _binary_scores(data, i, probability):
    truth = truth_of(_only(data, i))[0]
    overlaps = (metrics.dice, metrics.iou, metrics.precision, metrics.recall)
    row = {metric.__name__: float(metric(truth, probability > 0.5)) for metric in overlaps}
    if data.instances is not None:
        row |= _instance_scores(instances_of(_only(data, i))[0], probability > 0.5)
    return row | {"calibration_error": metrics.expected_calibration_error(truth, probability)}


def _only(data, i):
    """Image i alone."""
    instances = None if data.instances is None else data.instances[i : i + 1]
    return dataclasses.replace(
        data,
        images=data.images[i : i + 1],
        masks=data.masks[i : i + 1],
        instances=instances,
        names=data.names[i : i + 1],
    )


def _class_scores(data, i, probabilities):
    truth = truth_of(_only(data, i))[0]
    predicted = np.where(truth == VOID, VOID, probabilities.argmax(axis=-1))
    each = {}
    for label, name in enumerate(data.class_names):
        masks = truth == label, predicted == label
        # By the truth alone: else a false alarm on a class would be counted for one loss, and
        # leave the image out for another. It is counted, as a miss of the class that is there.
        occurs = masks[0].any() and label != data.background
        each[name] = [f(*masks) if occurs else np.nan for f in (metrics.dice, metrics.iou)]
    dice, iou = (_mean_of(values) for values in zip(*each.values()))
    return {
        "dice": dice,
        "iou": iou,
        **{f"dice: {name}": float(values[0]) for name, values in each.items()},
        "calibration_error": metrics.expected_calibration_error(truth, probabilities),
    }


def right_and_found(model, data, i):
    """Two masks of image i to show its errors by: the truth and the prediction.

    With several classes: the pixels that have a class, and those of them whose class is right.
    """
    p = predict(model, data.images[i : i + 1])[0]
    if is_binary(data):
        return foreground(data)[i], p > 0.5
    valid = has_class(_only(data, i))[0]
    return valid, valid & (p.argmax(axis=-1) == data.masks[i])


def all_pixels(model, data):
    """Truth and probabilities of all pixels that have a class, for the metrics of calibration."""
    truth = foreground(data) if is_binary(data) else data.masks
    valid = has_class(data)
    return truth[valid], predict(model, data.images)[valid]


def _instance_scores(instances, predicted):
    components = metrics.label_components(predicted)
    counts = metrics.merges_and_splits(instances, components)
    return {
        "cells": len(np.unique(instances[instances > 0])),
        "predicted": int(components.max()),
        "average_precision": float(metrics.average_precision(instances, components)),
        "merges": counts.merges,
        "splits": counts.splits,
    }


def _mean_dice(model, data):
    """The mean Dice of the images, by the one look that training takes at the validation split."""
    probabilities = predict(model, data.images)
    if not is_binary(data):
        return _mean_of([_class_scores(data, i, p)["dice"] for i, p in enumerate(probabilities)])
    pairs = zip(truth_of(data), probabilities)
    return _mean_of([metrics.dice(truth, p > 0.5) for truth, p in pairs])


def _mean_of(values):
    """The mean of those that are numbers; NaN if none is."""
    values = np.asarray(values, float)
    return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float("nan")


def _means(rows):
    return {key: _mean_of([row[key] for row in rows]) for key in rows[0] if key != "image"}


def loss_options(loss, given):
    """Which of the parameters that a notebook was given are settings of its loss.

    Args:
        loss: the name of the loss class.
        given: a dict of parameters that the notebook does not have.

    Returns:
        `given`, if all of them are settings of the loss.

    Raises:
        TypeError: names those that are not, and the settings that there are.
    """
    cls = loss_class(loss)
    own = {
        name
        for base in cls.__mro__
        if issubclass(base, losses.SegmentationLoss)
        for name in inspect.signature(base.__init__).parameters
    } - {"self", "kwargs", "name", "dtype", "from_logits"}
    unknown = sorted(set(given) - own)
    if unknown:
        raise TypeError(
            f"There is no parameter {', '.join(unknown)}, of this notebook or of {loss}. "
            f"Settings of {loss}: {', '.join(sorted(own))}"
        )
    return dict(given)


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
    """The commit of the clone that the package is used from, `None` elsewhere.

    An installed package may lie in somebody else's repository, whose commit is not ours.
    """
    folder = Path(__file__).resolve().parents[1]

    def git(*arguments):
        command = ["git", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)

    try:
        top = Path(git("rev-parse", "--show-toplevel").stdout.strip())
        git("ls-files", "--error-unmatch", "segloss_ref/__init__.py")
        if top.resolve() != folder:
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40").stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def write_whole(path, text):
    """Writes a file under another name and renames it: nobody ever reads half of it."""
    path = Path(path)
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(scratch, 0o644)  # mkstemp gives it to its owner alone
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


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

"""Every loss of the package on the backend in use, beside what TensorFlow gave for it.

    python benchmarks/backends.py --store                 with TensorFlow: data/results/backends.csv
    KERAS_BACKEND=torch python benchmarks/backends.py     compare; fails if a loss does

A row per loss, kind of classes and number of dimensions, in float64, with a map of pixel weights:
the value, and the slope of the loss along one fixed direction in the space of the logits (one
number that no wrong gradient gets right by chance). `make backends` compares PyTorch and JAX.
"""

import argparse
import csv
import inspect
import itertools
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")  # float64 is float32 otherwise

import keras
import numpy as np

import segloss_ref

STORED = Path(__file__).resolve().parent.parent / "data" / "results" / "backends.csv"
KEY = ("loss", "classes", "dimensions")
#: Relative to the value stored, or to 1e-3. Some of Keras's operations leave float64 for float32
#: on the way: `mean` on PyTorch and JAX, `divide_no_nan` on PyTorch, `sinh` on JAX.
TOLERANCE = 1e-5


def losses():
    """Names and classes of all losses but the sum, which has no value of its own."""
    found = {entry.name: entry.loss for entry in segloss_ref.catalogue()}
    return sorted((name, loss) for name, loss in found.items() if name != "CompoundLoss")


def make(loss, **settings):
    """The loss with its defaults; one around another loss has the settings of that one."""
    wraps = "kwargs" not in inspect.signature(loss.__init__).parameters
    return loss(segloss_ref.DiceLoss(**settings)) if wraps else loss(**settings)


def draw(loss, kind, dimensions):
    """Truth, logits, pixel weights and a direction, the same on every backend."""
    rng = np.random.default_rng(7)
    spatial = {2: (12, 14), 3: (12, 13, 14)}[dimensions]
    classes = 1 if kind == "binary" else 3
    z = 2 * rng.normal(size=(2, *spatial, classes))
    labels = np.zeros((2, *spatial), "int32")
    labels[0, 2:7, 3:9], labels[0, 8:11, 2:12], labels[1, 4:6, 4:8] = 1, 2, 1
    if loss.truth == "instances":
        y = labels
    elif kind == "exclusive":
        y = np.eye(3)[labels]
    else:
        y = np.stack([labels == c + 1 for c in range(classes)], axis=-1).astype(float)
    weight = rng.integers(0, 3, labels.shape).astype(float)
    return y, z, weight, rng.normal(size=z.shape)


def value_and_gradient(loss, y, z, weight):
    """As NumPy, by the means of the backend in use."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        z = tf.constant(z)
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z, weight)
        return float(value), tape.gradient(value, z).numpy()
    if backend == "jax":
        import jax

        y, z, weight = map(jax.numpy.asarray, (y, z, weight))
        # One operation after the other: compiling a whole deep skeleton takes minutes.
        value, gradient = jax.value_and_grad(lambda z: loss(y, z, weight))(z)
        return float(value), np.asarray(gradient)
    import torch

    z = torch.tensor(z, requires_grad=True)
    value = loss(y, z, weight)
    value.backward()
    return value.item(), z.grad.numpy()


def rows():
    """A row per loss, kind of classes and dimensions; what failed has an error instead."""
    for name, loss in losses():
        for kind, dimensions in itertools.product(loss.takes, loss.dimensions):
            row = {"loss": name, "classes": kind, "dimensions": str(dimensions)}
            multilabel = {"multilabel": True} if kind == "independent" else {}
            try:
                made = make(loss, from_logits=True, dtype="float64", **multilabel)
                *data, direction = draw(loss, kind, dimensions)
                value, gradient = value_and_gradient(made, *data)
                slope = float(np.sum(gradient * direction))
                yield {**row, "value": value, "slope": slope, "error": ""}
            except Exception as error:
                yield {**row, "value": np.nan, "slope": np.nan, "error": shorten(error)}


def key(row):
    """What names a row."""
    return tuple(row[name] for name in KEY)


def shorten(error):
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:90]}"


def difference(row, stored):
    """The larger difference of value and slope from what is stored, relative."""
    return max(
        abs(row[name] - float(stored[name])) / max(abs(float(stored[name])), 1e-3)
        for name in ("value", "slope")
    )


def compare():
    backend, failed = keras.backend.backend(), 0
    with STORED.open(newline="") as file:
        known = {key(row): row for row in csv.DictReader(file)}
    print(f"{backend}, Keras {keras.__version__}, float64; difference from TensorFlow")
    print(f"{'loss':38} {'classes':12} dim {'value':>12} {'difference':>11}")
    for row in rows():
        line = f"{row['loss']:38} {row['classes']:12} {row['dimensions']:>3} {row['value']:12.6f}"
        stored = known.pop(key(row), None)
        off = np.nan if row["error"] or stored is None else difference(row, stored)
        bad = not off <= TOLERANCE
        failed += bad
        why = row["error"] or ("not stored yet" if stored is None else "")
        print(f"{line} {off:11.1e}{'  ! ' + why if bad else ''}", flush=True)
    for name in known:
        print(f"stored, but there is no such loss: {name}")
    print(f"{failed} rows differ by more than {TOLERANCE} or fail")
    return 1 if failed or known else 0


def store():
    if keras.backend.backend() != "tensorflow":
        sys.exit(f"The reference is TensorFlow's. Received: {keras.backend.backend()}")
    made = list(rows())
    for row in made:
        if row["error"]:
            sys.exit(f"{row['loss']}, {row['classes']}, {row['dimensions']}: {row['error']}")
    with STORED.open("w", newline="") as file:
        writer = csv.DictWriter(file, (*KEY, "value", "slope"), lineterminator="\n")
        writer.writeheader()
        for row in made:
            numbers = {name: f"{row[name]:.10g}" for name in ("value", "slope")}
            writer.writerow({**{k: row[k] for k in KEY}, **numbers})
    made_with = {
        "run": "backends",
        "settings": {"dtype": "float64"},
        "versions": {name: version(name) for name in ("keras", "tensorflow", "numpy")},
        "python": platform.python_version(),
        "backend": "tensorflow",
        "device": f"cpu on {platform.machine()}",
    }
    STORED.with_suffix(".json").write_text(json.dumps([made_with], indent=1) + "\n")
    print(f"{len(made)} rows in {STORED.name}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="store what TensorFlow gives")
    sys.exit(store() if parser.parse_args().store else compare())

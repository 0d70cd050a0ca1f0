"""What a weight map costs: beside its definition, in a training step, and in memory.

    make bench
    KERAS_BACKEND=jax .cache/jax/bin/python -m pytest benchmarks/bench_weight_maps.py
    KERAS_BACKEND=torch .cache/parity/bin/python -m pytest benchmarks/bench_weight_maps.py

The ratios, in the tables at the end, are of times taken in one run. `--benchmark-json=FILE` keeps
both. On a GPU every time ends with the result on the host, so that none is of the queueing alone.
"""

import multiprocessing
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import keras
import numpy as np
import pytest
from scipy import ndimage

from segloss_ref.losses import BinaryCrossEntropyLoss, ShapeAwareLoss
from segloss_ref.models import unet
from segloss_ref.weight_maps import UNetWeightMap, unet_weight_map

BACKEND = keras.backend.backend()
BATCH, SIDE = 8, 256
ROUNDS = 16
STATISTICS = {"minimum": min, "median": median}
# Whether XLA compiles. Without it JAX would run step by step, and PyTorch has no XLA.
XLA = {"tensorflow": (True, False), "jax": (True,), "torch": (False,)}[BACKEND]
MAPS = [  # side, cells, their diameter, whether the definition runs in full
    (256, 30, 24, True),
    (256, 100, 16, True),
    (512, 30, 30, True),
    (512, 100, 24, True),
    (512, 400, 16, True),
    (1024, 100, 30, True),
    (1024, 400, 16, False),
    (1024, 400, 24, False),
    (1024, 400, 30, True),
    # The distances would need 13 GB and more.
    (1024, 1600, 16, False),
    (2048, 400, 30, False),
    (2048, 1600, 24, False),
]


def discs(side, count, diameter, seed=0):
    """A label map: `count` discs of about this diameter on a shaken grid, the first on top."""
    rng = np.random.default_rng(seed)
    per_row = int(np.ceil(np.sqrt(count)))
    labels = np.zeros((side, side), np.int32)
    y, x = np.ogrid[:side, :side]
    for label in range(count, 0, -1):
        row, column = divmod(label - 1, per_row)
        center_y, center_x = (np.array([row, column]) + rng.uniform(0.4, 0.6, 2)) * side / per_row
        radius = diameter / 2 * rng.uniform(0.8, 1.2)
        labels[(y - center_y) ** 2 + (x - center_x) ** 2 <= radius**2] = label
    return labels


def batch_of_discs(count):
    return np.stack([discs(SIDE, count, 0.7 * SIDE / count**0.5, seed) for seed in range(BATCH)])


class Definition:
    """The map by the formula, word for word, in parts: between them the other map can be timed.

    In full, or with only some of the transforms and a sort of as many rows, multiplied up.
    """

    def __init__(self, labels, parts, in_full=True):
        self.labels, self.cells, self.in_full = labels, labels.max(), in_full
        self.distances = np.empty((self.cells if in_full else parts, *labels.shape))
        numbers = np.linspace(1, self.cells, len(self.distances)).astype(int)
        self.parts = iter(np.array_split(list(enumerate(numbers)), parts))
        self.transforms = self.transforms_and_storing = 0.0

    def part(self):
        for i, label in next(self.parts):
            start = time.process_time()
            distance = ndimage.distance_transform_edt(self.labels != label)
            self.transforms += time.process_time() - start
            self.distances[i] = distance
            self.transforms_and_storing += time.process_time() - start

    def sort(self):
        """Seconds of the transforms, and of all until the distances are sorted."""
        rows, (height, width) = self.distances, self.labels.shape
        if not self.in_full:
            rows = np.random.default_rng(0).random((self.cells, len(self.distances), width))
        sort = seconds(partial(rows.sort, axis=0), time.process_time) * height / rows.shape[1]
        scale = self.cells / len(self.distances)
        return scale * self.transforms, scale * self.transforms_and_storing + sort

    def weights(self, w0=10.0, sigma=5.0):
        seam = w0 * np.exp(-((self.distances[0] + self.distances[1]) ** 2) / (2 * sigma**2))
        return 1 + np.where(self.labels == 0, seam, 0)


def seconds(function, clock=time.perf_counter):
    start = clock()
    function()
    return clock() - start


def in_turn(benchmark, functions, rounds):
    """Seconds of each function, {name: list}: one round of all, then the next, as load varies.

    pytest-benchmark takes the time of the last one; the others run as its untimed set-up.
    """
    *others, (last, measured) = functions.items()
    times = {name: [] for name, _ in others}

    def run_others():
        for name, function in others:
            times[name].append(seconds(function))

    benchmark.pedantic(measured, setup=run_others, rounds=rounds)
    return {**times, last: benchmark.stats.stats.data}


def compiled_layer(xla):
    """A function from labels to weights, both on the host."""
    layer = UNetWeightMap()
    if BACKEND == "tensorflow":
        import tensorflow as tf

        layer = tf.function(layer, jit_compile=xla)
    elif BACKEND == "jax":
        import jax

        layer = jax.jit(layer)
    return lambda labels: keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(labels)))


# Processor seconds, as neither side has threads. Load still makes them up to half as long again,
# for seconds on end, so the map is run between the parts of the definition, and means compared.
@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("side, cells, diameter, in_full", MAPS)
def test_numpy_map(benchmark, report, side, cells, diameter, in_full):
    labels = discs(side, cells, diameter)
    definition = Definition(labels, ROUNDS, in_full)
    unet_weight_map(labels)
    ours = benchmark.pedantic(unet_weight_map, args=(labels,), setup=definition.part, rounds=ROUNDS)
    transforms, whole = definition.sort()
    if in_full:
        np.testing.assert_allclose(ours, definition.weights(), atol=1e-5)
    mean = benchmark.stats.stats.mean
    report(
        "unet_weight_map beside one transform of the whole image per cell",
        {
            "side": side,
            "cells": cells,
            "diameter": diameter,
            "map s": mean,
            "transforms s": transforms,
            "ratio": transforms / mean,
            "stored, sorted s": whole,
            "its ratio": whole / mean,
            "definition": "measured" if in_full else "extrapolated",
        },
    )


@pytest.mark.parametrize("xla", XLA)
def test_layer(benchmark, report, xla):
    layer = compiled_layer(xla)
    batches = {cells: batch_of_discs(cells) for cells in (4, 100, 400, 900)}
    first = seconds(lambda: layer(batches[4]))
    calls = {cells: partial(layer, batch) for cells, batch in batches.items()}
    times = in_turn(benchmark, calls, rounds=40)
    for name, statistic in STATISTICS.items():
        of = {f"{cells} cells": statistic(values) for cells, values in times.items()}
        report(
            f"UNetWeightMap on {BATCH} x {SIDE} x {SIDE}, {BACKEND}, in seconds",
            {
                "XLA": xla,
                "first call": first,
                "of 40": name,
                **of,
                "largest / smallest": max(of.values()) / min(of.values()),
            },
        )


@pytest.mark.parametrize("xla", XLA)
def test_training_step(benchmark, report, xla):
    instances = batch_of_discs(100)[..., None]
    layer = compiled_layer(xla)
    steps = {
        "layer": partial(layer, instances),
        "without": training_step(BinaryCrossEntropyLoss, (instances > 0).astype("uint8"), xla),
        "with": training_step(ShapeAwareLoss, instances, xla),
    }
    for step in steps.values():  # compiles it
        step()
    times = in_turn(benchmark, steps, rounds=ROUNDS)
    for name, statistic in STATISTICS.items():
        of = {step: statistic(values) for step, values in times.items()}
        report(
            f"Training step of the U-Net on {BATCH} x {SIDE} x {SIDE}, {BACKEND}, in seconds",
            {
                "XLA": xla,
                f"of {ROUNDS} steps": name,
                **of,
                "share of the map": (of["with"] - of["without"]) / of["with"],
                "layer / without": of["layer"] / of["without"],
            },
        )


def training_step(loss, truth, xla):
    keras.utils.set_random_seed(0)
    model = unet(1)
    model.compile("adam", loss=loss(from_logits=True), jit_compile=xla)
    images = np.random.default_rng(0).random((BATCH, SIDE, SIDE, 1), np.float32)
    return partial(model.train_on_batch, images, truth)


def test_memory_of_the_numpy_map(report):
    labels = discs(512, 100, 24)
    ours, theirs = (peak_of_numpy(make, labels) for make in (unet_weight_map, by_definition))
    title = "Peak memory at 512 x 512, 100 cells, in MB"
    report(title, {"unet_weight_map": ours, "definition": theirs, "ratio": theirs / ours})


def by_definition(labels):
    definition = Definition(labels, parts=1)
    definition.part()
    definition.sort()
    return definition.weights()


def peak_of_numpy(function, labels):
    tracemalloc.start()
    function(labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel's count is Linux's")
@pytest.mark.parametrize("xla", XLA)
def test_memory_of_the_layer(report, xla):
    # In new processes, because the memory of this one has long been higher.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawn, max_tasks_per_child=1) as pool:
        without, few, many = pool.map(peak_here, [xla] * 3, [900, 4, 900], [False, True, True])
    report(
        f"Peak memory of a process on {BATCH} x {SIDE} x {SIDE}, {BACKEND}, on the host, in MB",
        {
            "XLA": xla,
            "labels only": without,
            "and the layer, 4 cells": few - without,
            "and the layer, 900 cells": many - without,
        },
    )


def peak_here(xla, cells, run):
    labels, layer = batch_of_discs(cells), compiled_layer(xla)
    if run:
        layer(labels)
    # Not `ru_maxrss`: a process starts with that of the one it was forked from.
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) / 2**10

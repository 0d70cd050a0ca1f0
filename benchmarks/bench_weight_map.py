"""What a weight map costs: NumPy against one full distance transform per cell, and the layer.

    python benchmarks/bench_weight_map.py

First table: `unet_weight_map` of one 1024 x 1024 image. The definition needs one distance transform
of the whole image per cell, and sorts them to find the two smallest. A few transforms are timed,
those of the largest cells, and the sorting of a few rows of the image; both are multiplied up. The
first ratio leaves the sorting out, to the advantage of the definition. All in processor seconds
of this process, the best of several runs, so that other load on the machine weighs little.

Second table: the layer `UNetWeightMap` on a batch of 8 images of 256 x 256 with the backend's
compiler (`jit`) and, on TensorFlow, without it (`graph`), in seconds by the clock.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from scipy import ndimage

from segloss_ref.weight_maps import UNetWeightMap, unet_weight_map


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


def best_time(function, clock, repeats):
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def bench_numpy(side=1024, sampled=8, rows=8):
    print(f"unet_weight_map, {side} x {side}; transforms timed for {sampled} cells of each map")
    print(" cells  diameter px    map s  transforms s  ratio  with sorting s  ratio")
    for count, diameter in ((100, 30), (400, 16), (400, 24), (400, 30), (400, 40), (1600, 16)):
        labels = discs(side, count, diameter)
        largest = np.argsort(np.bincount(labels.ravel())[1:])[::-1][:sampled] + 1
        distances = np.random.default_rng(0).random((rows, side, count))

        def one_map(labels=labels):
            unet_weight_map(labels)

        def transforms(labels=labels, largest=largest):
            for label in largest:
                ndimage.distance_transform_edt(labels != label)

        def sorting(distances=distances):
            np.sort(distances, axis=-1)

        ours = best_time(one_map, time.process_time, repeats=7)
        theirs = best_time(transforms, time.process_time, repeats=3) / sampled * count
        sorted_too = theirs + best_time(sorting, time.process_time, repeats=3) / rows * side
        print(
            f"{count:6} {diameter:12} {ours:8.3f} {theirs:13.1f} {theirs / ours:6.0f}"
            f" {sorted_too:15.1f} {sorted_too / ours:6.0f}"
        )


def compiled_layers():
    """(name, compiled function) for the backend in use."""
    layer = UNetWeightMap()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return [
            ("jit", tf.function(layer, jit_compile=True)),
            ("graph", tf.function(layer, jit_compile=False)),
        ]
    if keras.backend.backend() == "jax":
        import jax

        return [("jit", jax.jit(layer))]
    return [("eager", layer)]


def bench_layer(batch=8, side=256):
    print(f"\nUNetWeightMap, {batch} x {side} x {side}, {keras.backend.backend()}")
    print(f"{'mode':>6} {'cells':>6} {'first call s':>13} {'per batch s':>12}")
    for mode, compiled in compiled_layers():
        for count in (100, 4, 900):
            labels = np.stack(
                [discs(side, count, 0.7 * side / count**0.5, s) for s in range(batch)]
            )
            labels = keras.ops.convert_to_tensor(labels)

            def one_batch(compiled=compiled, labels=labels):
                # To the host, or an asynchronous backend would only be timed for the queueing.
                keras.ops.convert_to_numpy(compiled(labels))

            first = best_time(one_batch, time.perf_counter, repeats=1)
            later = best_time(one_batch, time.perf_counter, repeats=10)
            # Only the first of the rows compiles.
            print(f"{mode:>6} {count:6} {first:13.2f} {later:12.3f}")


if __name__ == "__main__":
    bench_numpy()
    bench_layer()

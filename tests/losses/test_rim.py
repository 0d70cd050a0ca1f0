"""The rim of the numbers: second derivatives, huge weights, flat predictions."""

import numpy as np
import pytest
import tensorflow as tf
from test_door import ENTRIES, around

import segloss_ref as sl

# TensorFlow's recomputation of a blob's turn on the way back has no second derivative.
TWICE = {name: cls for name, cls in ENTRIES.items() if cls is not sl.BlobLoss}


def truth_for(loss, kind, rng):
    if loss.truth == "instances":
        return (np.arange(128).reshape(2, 8, 8) % 3).astype("int32")
    if kind == "exclusive":
        return np.eye(3, dtype="float32")[rng.integers(0, 3, (2, 8, 8))]
    return (rng.random((2, 8, 8, 1 if kind == "binary" else 3)) > 0.6).astype("float32")


@pytest.mark.parametrize("cls", TWICE.values(), ids=TWICE)
def test_first_and_second_derivatives_are_finite(cls, rng):
    """Logits of all sizes in one batch: each image has derivatives of its own."""
    for kind in cls().takes:
        loss = around(cls, from_logits=True, multilabel=kind == "independent")
        y, classes = truth_for(loss, kind, rng), 1 if kind == "binary" else 3
        signs = np.sign(rng.normal(size=(5, 2, 8, 8, classes)))
        sizes = np.array([0, 1, 30, 45, 1e4]).reshape(5, 1, 1, 1, 1)
        y = np.concatenate([y] * 5)
        z = tf.constant((signs * sizes).reshape(10, 8, 8, classes), "float32")
        direction = tf.constant(rng.normal(size=z.shape), "float32")
        with tf.GradientTape() as second:
            second.watch(z)
            with tf.GradientTape() as first:
                first.watch(z)
                value = loss(y, z)
            slope = first.gradient(value, z)
            along = tf.reduce_sum(slope * direction)
        curvature = second.gradient(along, z)
        assert np.isfinite(slope).all(), kind
        assert curvature is None or np.isfinite(curvature).all(), kind


def test_matthews_does_not_overflow_at_huge_weights(rng):
    y, z = (rng.random((1, 8, 8, 1)) > 0.5).astype("float32"), rng.normal(size=(1, 8, 8, 1))
    loss = sl.MatthewsLoss(smooth=1e-6, from_logits=True)
    want = float(loss(y, z))
    for weight in (1e20, 1e30):
        assert float(loss(y, z, np.full((1, 8, 8), weight))) == pytest.approx(want, rel=1e-4)


def test_the_gradient_on_a_flat_prediction_is_no_rounding(rng):
    """Eager, in a graph and with XLA, which round differently, it is the same."""
    y = np.zeros((1, 24, 24, 1), "float32")
    y[:, 8:16, 8:16] = 1
    loss = sl.StructuralSimilarityLoss(from_logits=True)

    def gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z)
        return tape.gradient(value, z)

    z = tf.fill((1, 24, 24, 1), 0.3)
    want = gradient(z)
    for other in (tf.function(gradient), tf.function(gradient, jit_compile=True)):
        np.testing.assert_allclose(other(z), want, atol=1e-5)

"""The arithmetic of the losses where the plain operation has no limit, or loses NaN."""

import numpy as np
import pytest
import tensorflow as tf

from segloss_ref.losses.arithmetic import mean, nan_of, power, ratio, root


def value_and_slope(function, x):
    x = tf.constant(x, "float64")
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return value.numpy(), tape.gradient(value, x, unconnected_gradients="zero").numpy()


def test_nothing_over_nothing_is_0_and_so_is_anything():
    value, slope = value_and_slope(lambda x: ratio(x, tf.zeros_like(x)), [0.0, 3.0, -1.0])
    np.testing.assert_array_equal([value, slope], np.zeros((2, 3)))
    value, slope = value_and_slope(lambda x: ratio(2 * tf.ones_like(x), x), [0.0, 4.0])
    np.testing.assert_array_equal([value, slope], [[0, 0.5], [0, -0.125]])


def test_nan_over_nothing_stays_nan():
    assert np.isnan(ratio(tf.constant(np.nan), tf.constant(0.0)))
    assert np.isnan(ratio(tf.constant(1.0), tf.constant(np.nan)))


@pytest.mark.parametrize(
    ("function", "least"), [(lambda x: power(x, 0.5), 1e-150), (lambda x: root(x, 0.25), 0.25)]
)
def test_what_is_at_most_the_least_counts_as_0(function, least):
    value, slope = value_and_slope(function, [0.0, least, 1.0])
    np.testing.assert_array_equal(value, [0, 0, 1])
    np.testing.assert_array_equal(slope, [0, 0, 0.5])
    assert np.isnan(function(tf.constant(np.nan)))


def test_nan_is_kept_without_a_slope():
    value, slope = value_and_slope(lambda x: nan_of(x), [1.0, np.nan, 2.0])
    np.testing.assert_array_equal(value, [0, np.nan, 0])
    np.testing.assert_array_equal(slope, [0, 0, 0])


def test_mean_over_one_axis():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(mean(tf.constant(x)), [1, 4])
    np.testing.assert_array_equal(mean(tf.constant(x), axis=0, keepdims=True), [[1.5, 2.5, 3.5]])

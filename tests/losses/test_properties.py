"""Properties that hold for every loss on whatever Hypothesis draws, extremes included."""

from functools import cache

import numpy as np
import pytest
import tensorflow as tf
from cases import CASES, FIRST, activate, classes_of, make, which_and_kind
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import segloss_ref as sl

# The largest value where there is one, without pixel weights; the least is 0 but for one loss.
LARGEST = {
    sl.BoundaryDoULoss: 1,
    sl.ClDiceLoss: 1,
    sl.DiceLoss: 1,
    sl.DiceSemimetricLoss: 1,
    sl.FocalTverskyLoss: 1,
    sl.GeneralizedDiceLoss: 1,
    sl.GeneralizedWassersteinDiceLoss: 1,
    sl.JaccardLoss: 1,
    sl.JaccardMetricLoss: 1,
    sl.LogCoshDiceLoss: np.log(np.cosh(1)),
    sl.LovaszSoftmaxLoss: 1,
    sl.MatthewsLoss: 2,
    sl.ModifiedFocalTverskyLoss: 1,
    sl.SensitivitySpecificityLoss: 1,
    sl.SkeletonRecallLoss: 1,
    sl.TverskyLoss: 1,
}
LEAST = {sl.BoundaryLoss: -np.inf}

# With the first case of each class: what settings change, the oracles see.
first_case_and_kind = which_and_kind(lambda case: case is CASES[FIRST[case.loss]])

SIDE = 3
LOGITS = st.one_of(st.floats(-4, 4), st.sampled_from([-1e4, -40.0, 0.0, 40.0, 1e4]))


@st.composite
def batches(draw, case, kind):
    """Truth, logits and pixel weights of two images of 3 pixels a side."""
    classes = classes_of(kind)
    leading = (2, *(SIDE,) * CASES[case].loss.dimensions[0])
    z = draw(arrays("float64", (*leading, classes), elements=LOGITS))
    if kind == "exclusive":
        y = np.eye(classes)[draw(arrays("int64", leading, elements=st.integers(0, classes - 1)))]
    else:
        y = draw(arrays("float64", z.shape, elements=st.sampled_from([0.0, 1.0])))
    w = draw(arrays("float64", leading, elements=st.sampled_from([0.0, 0.5, 1.0, 3.0])))
    return y, z, w


@cache
def compiled(case, kind, from_logits):
    """The values of a loss, as a graph: Hypothesis asks for many."""
    options = {"from_logits": from_logits, "dtype": "float64", "reduction": None}
    return tf.function(make(case, kind, **options))


def value(case, kind, *args, from_logits=True):
    return compiled(case, kind, from_logits)(*map(tf.constant, args)).numpy()


@first_case_and_kind
def test_range(case, kind):
    loss = CASES[case].loss
    low, high = LEAST.get(loss, 0), LARGEST.get(loss, np.inf)

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(batches(case, kind))
    def check(batch):
        y, z, w = batch
        plain, weighted = value(case, kind, y, z), value(case, kind, y, z, w)
        assert np.isfinite(plain).all() and np.isfinite(weighted).all()
        assert (plain >= low - 1e-9).all() and (plain <= high + 1e-9).all()

    check()


@which_and_kind(lambda case: case is CASES[FIRST[case.loss]] and case.least is not None)
def test_no_prediction_is_better_than_the_truth(case, kind):
    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(batches(case, kind))
    def check(batch):
        y, z, _ = batch
        p = activate(kind, np.clip(z, -700, 700))
        # A logarithm from probabilities ends at 1e-7, so a perfect pixel may cost that much.
        given, perfect = (value(case, kind, y, x, from_logits=False) for x in (p, y))
        assert (given >= perfect - 1e-6).all()

    check()


@first_case_and_kind
def test_a_pixel_of_weight_zero_has_no_say(case, kind):
    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(batches(case, kind), batches(case, kind))
    def check(batch, other):
        (y, z, w), (other_y, other_z, _) = batch, other
        out = (w == 0)[..., None]
        changed = np.where(out, other_y, y), np.where(out, other_z, z)
        want = value(case, kind, y, z, w)
        assert value(case, kind, *changed, w) == pytest.approx(want, rel=1e-12, abs=1e-12)

    check()

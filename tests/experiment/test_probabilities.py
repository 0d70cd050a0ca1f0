"""Probabilities in 8 bits: the same masks, and nearly the same numbers."""

import numpy as np
import pytest

from segloss_ref.experiment.probabilities import CUTS, from_levels, to_levels


def test_masks_are_the_same_before_and_after_at_every_cut():
    rng = np.random.default_rng(0)
    at_cuts = CUTS.astype("float32")
    p = np.concatenate([rng.uniform(0, 1, 2000).astype("float32"), at_cuts, [0, 0.5, 1]])
    p = np.concatenate([p, np.nextafter(np.float32(0.5), [0, 1], dtype="float32")])
    levels = to_levels(p)
    assert levels.dtype == "uint8" and 0.5 in CUTS
    np.testing.assert_array_equal(from_levels(levels) > 0.5, p > 0.5)
    inner = ~np.isin(p, at_cuts)  # a cut is no float32 but for one half: there both are right
    for cut in CUTS:
        np.testing.assert_array_equal((from_levels(levels) > cut)[inner], (p > cut)[inner])
    assert abs(from_levels(levels) - p).max() <= 0.5 / 255 + 1e-7


def test_the_most_probable_class_stays_the_first():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(12, 0.3), size=5000)
    p[0] = [0.0834] + [0.9166 / 11] * 11  # closer than rounding tells
    p[1, ::-1] = p[0]
    levels = to_levels(p, classes=True)
    np.testing.assert_array_equal(levels.argmax(axis=-1), p.argmax(axis=-1))
    assert ((levels == levels.max(axis=-1, keepdims=True)).sum(axis=-1) == 1).all()
    again = from_levels(levels, classes=True)
    np.testing.assert_allclose(again.sum(axis=-1), 1)
    assert abs(again - p).max() < 6 / 255


def test_many_classes_of_which_none_is_probable():
    p = np.full((1, 600), 1 / 600)
    assert from_levels(to_levels(p, classes=True), classes=True)[0, 0] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(ValueError, match="must be finite"):
        to_levels(np.array([0.1, bad]))

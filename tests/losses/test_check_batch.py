"""`check_batch` finds in the values what a compiled graph cannot."""

import numpy as np
import pytest

from segloss_ref import check_batch

PIXELS = (1, 2, 2, 1)
HALF = np.full(PIXELS, 0.5)
THIRDS = np.full((1, 2, 2, 3), 1 / 3)


@pytest.mark.parametrize(
    ("y", "p", "options"),
    [
        (HALF, HALF, {}),
        (np.zeros(PIXELS, "uint8"), HALF, {}),
        (HALF, HALF * 40, {"from_logits": True}),
        (np.array([[[0, 1], [2, 0]]]), THIRDS, {}),
        (np.array([[[0, 1], [2, 255]]]), THIRDS, {"ignore_class": 255}),
        (np.array([[[0, 1], [2, -1]]]), THIRDS, {}),  # out of the picture
        (THIRDS, THIRDS * 2, {"multilabel": True}),
        (HALF, HALF, {"sample_weight": np.array([2.0])}),
    ],
)
def test_good_batches_pass(y, p, options):
    assert check_batch(y, p, **options) is None


@pytest.mark.parametrize(
    ("y", "p", "options", "message"),
    [
        (np.full(PIXELS, 255), HALF, {}, "from 255 to 255. Divide"),
        (-HALF, HALF, {}, r"`y_true` must lie in \[0, 1\]"),
        (HALF * np.nan, HALF, {}, "`y_true` must be finite. Received: 4 values of 4"),
        (HALF, HALF * np.inf, {}, "`y_pred` must be finite"),
        (HALF, HALF * 3, {}, "from_logits=True"),
        (THIRDS, THIRDS * 2, {}, "sums from 2 to 2"),
        (np.array([[[0, 1], [3, 0]]]), THIRDS, {}, "0 to 2. Received: values from 0 to 3"),
        (np.array([[[0, 1], [-2, 0]]]), THIRDS, {}, "values from -2 to 1"),
        (HALF[..., 0], HALF, {}, "never broadcast"),
        (HALF, HALF, {"sample_weight": np.array([-2.0])}, "must not be negative"),
        (HALF, HALF, {"sample_weight": np.array([np.nan])}, "`sample_weight` must be finite"),
    ],
)
def test_bad_batches_say_what_is_wrong(y, p, options, message):
    with pytest.raises(ValueError, match=message):
        check_batch(y, p, **options)

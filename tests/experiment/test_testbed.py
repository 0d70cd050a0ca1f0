"""A training of seconds."""

import pytest

from segloss_ref import metrics
from segloss_ref.datasets import load
from segloss_ref.experiment import (
    fit_picture,
)
from segloss_ref.losses import DiceLoss, ShapeAwareLoss


@pytest.mark.parametrize("loss", [DiceLoss(from_logits=True), ShapeAwareLoss(from_logits=True)])
def test_fit_picture(loss):
    data = load("synthetic/cells", "train", limit=1, size=48)
    probability, rows = fit_picture(loss, data.images[0], data.instances[0].clip(0, 1), steps=30)
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["recall"] == metrics.recall(data.masks[0] > 0, probability > 0.5)

"""The losses, one module per family of the taxonomy."""

from segloss_ref.losses.base import SegmentationLoss
from segloss_ref.losses.boundary import ShapeAwareLoss
from segloss_ref.losses.compound import CompoundLoss
from segloss_ref.losses.distribution import (
    BalancedBinaryCrossEntropyLoss,
    BinaryCrossEntropyLoss,
    WeightedBinaryCrossEntropyLoss,
)
from segloss_ref.losses.inputs import check_batch
from segloss_ref.losses.region import DiceLoss

__all__ = [
    "BalancedBinaryCrossEntropyLoss",
    "BinaryCrossEntropyLoss",
    "CompoundLoss",
    "DiceLoss",
    "SegmentationLoss",
    "ShapeAwareLoss",
    "WeightedBinaryCrossEntropyLoss",
    "check_batch",
]

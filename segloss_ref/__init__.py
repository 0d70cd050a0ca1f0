"""Segmentation losses: derived, implemented once and right, compared.

`from segloss_ref import DiceLoss`, pass it to `model.compile`, give it logits with
`from_logits=True`. The book derives every loss.
"""

from segloss_ref import functional, losses
from segloss_ref.augmentation import AugmentedModel, RandomDeformation
from segloss_ref.catalogue import catalogue
from segloss_ref.losses import *  # noqa: F403
from segloss_ref.masks import Description, Proposal, describe, proposals
from segloss_ref.weight_maps import (
    UNET_2015,
    UNET_2019,
    UNetWeightMap,
    seam_reach,
    separate_touching,
    unet_weight_map,
)

__version__ = "0.1.0.dev0"

__all__ = [
    *losses.__all__,
    "UNET_2015",
    "UNET_2019",
    "AugmentedModel",
    "Description",
    "Proposal",
    "RandomDeformation",
    "UNetWeightMap",
    "catalogue",
    "describe",
    "functional",
    "proposals",
    "seam_reach",
    "separate_touching",
    "unet_weight_map",
]

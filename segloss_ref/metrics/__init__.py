"""Metrics that judge a segmentation: overlap, surfaces, instances and calibration.

Every function takes **one image**, the truth first and the prediction second, and computes in
float64 with NumPy; map over the images of a batch and average what comes back. Three kinds of
input occur:

* a *binary mask*: booleans or the numbers 0 and 1;
* an *instance map*: integers, 0 for background and one number, any number, per object;
* *probabilities*, for calibration alone.

Masks and maps have the axes of space and no others: two or three.

Two empty masks agree perfectly: each metric gives its best value, 1 or, for distances and errors,
0. Where only one of the two is empty it gives its worst: 0; 1 for the adapted Rand error; `inf` for
distances. Specificity, variation of information and calibration need no such rule: an empty mask
is to them a mask like others.
"""

from segloss_ref.metrics.calibration import (
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from segloss_ref.metrics.instances import (
    MergesAndSplits,
    PanopticQuality,
    VariationOfInformation,
    adapted_rand_error,
    aggregated_jaccard_index,
    average_precision,
    label_components,
    merges_and_splits,
    panoptic_quality,
    variation_of_information,
)
from segloss_ref.metrics.overlap import dice, iou, precision, recall, specificity
from segloss_ref.metrics.surfaces import (
    average_surface_distance,
    boundary_iou,
    hausdorff_distance,
    surface_dice,
)

__all__ = [
    "MergesAndSplits",
    "PanopticQuality",
    "ReliabilityCurve",
    "VariationOfInformation",
    "adapted_rand_error",
    "aggregated_jaccard_index",
    "average_precision",
    "average_surface_distance",
    "boundary_iou",
    "dice",
    "expected_calibration_error",
    "hausdorff_distance",
    "iou",
    "label_components",
    "merges_and_splits",
    "panoptic_quality",
    "precision",
    "recall",
    "reliability_curve",
    "specificity",
    "surface_dice",
    "variation_of_information",
]

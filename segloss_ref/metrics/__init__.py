"""Metrics that judge a segmentation: overlap, surfaces, topology, instances and calibration.

Every function takes the truth first and the prediction second, and computes in float64 with NumPy,
from arrays, lists, or tensors of any backend outside of compiled graphs. Three kinds of input
occur:

* a *binary mask*: booleans or the numbers 0 and 1;
* an *instance map*: integers, 0 for background and one number, any number, per object;
* *probabilities*, for calibration alone.

Masks and maps have the axes of space and no others. Without a word they are **one image of two
dimensions**, `(height, width)`, and the value is a float. `spatial_dims` says 2 or 3; with one axis
more than that the arrays are a batch, and there is one value an image: an array `(n,)`, or a named
tuple of such arrays. An array of three axes is refused without it: a stack of images and a volume
look alike. Calibration alone takes the pixels of all images together.

Pixels whose truth is -1 are out of the picture, and so are those of the labels that `ignore_class`
names. What is predicted there, NaN included, is never looked at. They are left out of all counts;
they make no surface; and they are cut out of both instance maps, and for topology out of both
masks, so that an object that lies there wholly does not count. An image without a pixel to judge
has no value: it is NaN.

Two empty masks agree perfectly: each metric gives its best value, 1 or, for distances and errors,
0. Where only one of the two is empty it gives its worst: 0; 1 for the adapted Rand error; `inf` for
distances. Specificity, variation of information, Betti numbers and calibration need no such rule:
an empty mask is to them a mask like others. Where pixels are left out, a mask that is not empty may
have no surface, since it fills what is seen: then two equal masks agree perfectly, and others not
at all.

During training, `DiceMetric`, `IoUMetric`, `PrecisionMetric`, `RecallMetric` and
`SurfaceDiceMetric` give the mean over images of the same values, on the device, and
`ExpectedCalibrationErrorMetric` the error over all their pixels:
`model.compile(..., metrics=[DiceMetric()])`.
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
from segloss_ref.metrics.keras import (
    DiceMetric,
    ExpectedCalibrationErrorMetric,
    IoUMetric,
    PrecisionMetric,
    RecallMetric,
    SurfaceDiceMetric,
)
from segloss_ref.metrics.overlap import dice, iou, precision, recall, specificity
from segloss_ref.metrics.surfaces import (
    average_surface_distance,
    boundary_iou,
    hausdorff_distance,
    surface_dice,
)
from segloss_ref.metrics.topology import (
    BettiErrors,
    BettiNumbers,
    betti_errors,
    betti_numbers,
    cl_dice,
)

__all__ = [
    "BettiErrors",
    "BettiNumbers",
    "DiceMetric",
    "ExpectedCalibrationErrorMetric",
    "IoUMetric",
    "MergesAndSplits",
    "PanopticQuality",
    "PrecisionMetric",
    "RecallMetric",
    "ReliabilityCurve",
    "SurfaceDiceMetric",
    "VariationOfInformation",
    "adapted_rand_error",
    "aggregated_jaccard_index",
    "average_precision",
    "average_surface_distance",
    "betti_errors",
    "betti_numbers",
    "boundary_iou",
    "cl_dice",
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

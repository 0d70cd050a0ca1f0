"""The losses of the lab, made from the catalogue, and the sliders for their settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from keras import ops

import segloss_ref
from segloss_ref.catalogue import catalogue, defaults_of
from segloss_ref.losses import SegmentationLoss
from segloss_ref.losses.base import CompoundLoss

#: Pixels along a side of the lab's image.
SIDE = 64
#: As many cells as the lab numbers; `BlobLoss` takes a turn for each.
MAX_CELLS = 16


@dataclass(frozen=True)
class Slider:
    """One setting of a loss: its range, and whether the slider's steps are factors."""

    name: str
    symbol: str
    low: float
    high: float
    factors: bool = False


_SHARE = (0.0, 1.0)
_SLIDERS = [
    Slider("smooth", "s", 1e-3, 1000, factors=True),
    Slider("alpha", "α", *_SHARE),
    Slider("beta", "β", 0.1, 10, factors=True),
    Slider("gamma", "γ", 0.0, 5.0),
    Slider("gamma_dice", "γ of Dice", 0.1, 3.0),
    Slider("gamma_cross_entropy", "γ of CE", 0.1, 3.0),
    Slider("delta", "δ", *_SHARE),
    Slider("epsilon", "ε", -1.0, 5.0),
    Slider("q", "q", 0.01, 1.0),
    Slider("k", "k", 0.01, 1.0),
    Slider("r", "r", *_SHARE),
    Slider("penalty", "k", 0.0, 10.0),
    Slider("neighbor_weight", "λ", 0.0, 1.0),
    Slider("w0", "w₀", 0.0, 50.0),
    Slider("sigma", "σ", 0.5, 10.0),
    Slider("max_alpha", "largest α", *_SHARE),
    Slider("region_weight", "λ", 0.0, 10.0),
    Slider("dice_weight", "λ of Dice", 0.0, 5.0),
    Slider("cross_entropy_weight", "λ of CE", 0.0, 5.0),
    Slider("focal_weight", "λ of focal", 0.0, 5.0),
    Slider("image_weight", "λ of image", 0.0, 5.0),
    Slider("blob_weight", "λ of blobs", 0.0, 5.0),
    Slider("boundary_weight", "λ of boundary", 0.0, 1.0),
]
_BY_NAME = {slider.name: slider for slider in _SLIDERS}
#: Where a loss allows another range than others do for a setting of this name.
_OTHERWISE = {
    ("TverskyLoss", "alpha"): (0.0, 2.0, False),
    ("TverskyLoss", "beta"): (0.01, 2.0, False),
    ("FocalTverskyLoss", "alpha"): (0.0, 2.0, False),
    ("FocalTverskyLoss", "beta"): (0.01, 2.0, False),
    ("FocalTverskyLoss", "gamma"): (0.1, 3.0, False),
    ("BalancedBinaryCrossEntropyLoss", "beta"): (*_SHARE, False),
    ("NoiseRobustDiceLoss", "gamma"): (1.0, 2.0, False),
    ("HausdorffDistanceLoss", "alpha"): (0.5, 4.0, False),
    ("StructuralSimilarityLoss", "beta"): (*_SHARE, False),
    ("ComboLoss", "cross_entropy_weight"): (*_SHARE, False),
    ("ComboLoss", "beta"): (*_SHARE, False),
    ("ModifiedFocalLoss", "gamma"): (*_SHARE, False),
    ("ModifiedFocalTverskyLoss", "gamma"): (0.01, 1.0, False),
    ("UnifiedFocalLoss", "focal_weight"): (*_SHARE, False),
    ("UnifiedFocalLoss", "gamma"): (0.01, 0.99, False),
}
# Wide windows cost time and tell nothing new; the window of 11 pixels ends where σ is about 3.
_WINDOWS = ("StructuralSimilarityLoss", "SSIMLoss", "MultiScaleSSIMLoss")
_OTHERWISE |= {(name, "sigma"): (0.5, 3.0, False) for name in _WINDOWS}


@dataclass(frozen=True)
class Case:
    """A loss of the lab.

    Args:
        key: its name in the lab's addresses.
        title: its name for readers.
        family, chapter: as in the catalogue.
        make: the class, or a function that makes the loss from its settings.
        defaults: the settings with a slider, and where the sliders begin.
        sliders: those.
        fixed: other settings.
    """

    key: str
    title: str
    family: str
    chapter: str
    make: Callable[..., SegmentationLoss]
    defaults: dict[str, float]
    sliders: tuple[Slider, ...]
    fixed: dict[str, Any] = field(default_factory=dict)

    def loss(self, **settings: float) -> SegmentationLoss:
        """The loss with these settings, from logits, in double precision."""
        common = {"from_logits": True, "reduction": None, "dtype": "float64"}
        return self.make(**{**self.defaults, **settings}, **self.fixed, **common)

    @property
    def truth(self) -> str:
        """What it is compared with: a "mask", or "instances"."""
        return self.loss().truth

    def value(self, loss: SegmentationLoss, truth: Any, logits: Any) -> Any:
        """What `loss`, one of this case, says of an image of `(SIDE, SIDE)` pixels.

        A loss of exclusive classes has two of them, with the logits -z/2 and z/2.
        """
        y, z = ops.convert_to_tensor(truth)[None, ..., None], logits[None, ..., None]
        exclusive = "binary" not in loss.takes
        if exclusive:
            z = ops.concatenate([-z / 2, z / 2], axis=-1)
        if exclusive or self.truth == "instances":
            y = ops.cast(y, "int32")
        return loss(y, z)[0]


def dice_and_boundary(boundary_weight: float = 0.01, **common: Any) -> SegmentationLoss:
    """What the chapter on the boundary loss trains with."""
    parts = [segloss_ref.DiceLoss(**common), segloss_ref.BoundaryLoss(**common)]
    return CompoundLoss(parts, [1.0, boundary_weight])


def blob(image_weight: float = 2.0, blob_weight: float = 1.0, **common: Any) -> SegmentationLoss:
    """`BlobLoss` of the Dice loss, for as many blobs as the lab has."""
    inner = segloss_ref.DiceLoss(**common)
    return segloss_ref.BlobLoss(inner, image_weight, blob_weight, MAX_CELLS)


#: Losses that the lab does not have: with two classes the first two are binary cross-entropy and
#: the Dice loss, the third needs coarse predictions, and a sum is `dice_boundary` here.
LEFT_OUT = (
    "CategoricalCrossEntropyLoss",
    "GeneralizedWassersteinDiceLoss",
    "DeepSupervisionLoss",
    "CompoundLoss",
)
#: Losses with a setting that is no number: a program for each value worth seeing.
_VARIANTS = {
    "BalancedBinaryCrossEntropyLoss": [("", {}), ("beta set", {"beta": 0.5})],
    "DiceLoss": [("", {}), ("squared", {"squared": True})],
    "GeneralizedDiceLoss": [("", {}), ("simple weights", {"weighting": "simple"})],
    "HausdorffDistanceLoss": [("", {}), ("log", {"log": True})],
    "UnifiedFocalLoss": [("", {}), ("asymmetric", {"symmetric": False})],
}
_TITLES = {
    "BinaryCrossEntropyLoss": "Binary cross-entropy",
    "WeightedBinaryCrossEntropyLoss": "Weighted cross-entropy",
    "BalancedBinaryCrossEntropyLoss": "Balanced cross-entropy",
    "FocalLoss": "Focal",
    "TopKCrossEntropyLoss": "Top-k cross-entropy",
    "PolyLoss": "Poly-1",
    "GeneralizedCrossEntropyLoss": "Generalised cross-entropy",
    "NeighborAwareCalibrationLoss": "NACL",
    "DistancePenaltyCrossEntropyLoss": "Distance penalty",
    "DiceLoss": "Dice",
    "TverskyLoss": "Tversky",
    "FocalTverskyLoss": "Focal Tversky",
    "JaccardLoss": "Jaccard",
    "DiceSemimetricLoss": "Dice semimetric",
    "JaccardMetricLoss": "Jaccard metric",
    "GeneralizedDiceLoss": "Generalised Dice",
    "LogCoshDiceLoss": "Log-cosh Dice",
    "SensitivitySpecificityLoss": "Sensitivity-specificity",
    "MatthewsLoss": "Matthews",
    "NoiseRobustDiceLoss": "Noise-robust Dice",
    "LovaszHingeLoss": "Lovász hinge",
    "LovaszSoftmaxLoss": "Lovász-Softmax",
    "ShapeAwareLoss": "Shape-aware (U-Net)",
    "BoundaryLoss": "Boundary",
    "HausdorffDistanceLoss": "Hausdorff distance",
    "AlArifShapeLoss": "Al Arif's shape-aware",
    "BoundaryDoULoss": "Boundary DoU",
    "ActiveContourLoss": "Active contour",
    "StructuralSimilarityLoss": "Structural similarity",
    "SSIMLoss": "SSIM",
    "MultiScaleSSIMLoss": "Multi-scale SSIM",
    "ClDiceLoss": "clDice",
    "SkeletonRecallLoss": "Skeleton recall",
    "DiceCrossEntropyLoss": "Dice + cross-entropy",
    "DiceFocalLoss": "Dice + focal",
    "DiceTopKLoss": "Dice + top-k",
    "ComboLoss": "Combo",
    "ExponentialLogarithmicLoss": "Exponential logarithmic",
    "ModifiedFocalLoss": "Modified focal",
    "ModifiedFocalTverskyLoss": "Modified focal Tversky",
    "UnifiedFocalLoss": "Unified focal",
    "BlobLoss": "Blob (of Dice)",
}


def cases() -> list[Case]:
    """All losses of the lab, in the order of the catalogue."""
    found = []
    for entry in catalogue():
        if entry.name in LEFT_OUT:
            continue
        make = blob if entry.name == "BlobLoss" else entry.loss
        for word, fixed in _VARIANTS.get(entry.name, [("", {})]):
            found.append(_case(entry, make, word, fixed))
        if entry.name == "BoundaryLoss":
            defaults = {"boundary_weight": 0.01}
            sliders = _sliders("", defaults)
            found.append(
                Case(
                    "dice_boundary",
                    "Dice + boundary",
                    "compound",
                    entry.chapter,
                    dice_and_boundary,
                    defaults,
                    sliders,
                )
            )
    return found


def sliders_called(setting: str) -> list[Slider]:
    """The sliders for settings of this name."""
    return [slider for case in cases() for slider in case.sliders if slider.name == setting]


def _case(entry, make, word, fixed):
    name = defaults_of(entry.loss)["name"]
    settings = {**defaults_of(entry.loss), **fixed}
    defaults = {k: v for k, v in settings.items() if k in _BY_NAME and isinstance(v, float)}
    title = _TITLES.get(entry.name, entry.name.removesuffix("Loss"))
    return Case(
        key=f"{name}_{word.replace(' ', '_')}" if word else name,
        title=f"{title}, {word.replace('beta', 'β')}" if word else title,
        family=entry.family,
        chapter=entry.chapter,
        make=make,
        defaults=defaults,
        sliders=_sliders(entry.name, defaults),
        fixed={k: v for k, v in fixed.items() if k not in defaults},
    )


def _sliders(name, defaults):
    def slider(setting):
        usual = _BY_NAME[setting]
        if (name, setting) not in _OTHERWISE:
            return usual
        return Slider(setting, usual.symbol, *_OTHERWISE[name, setting])

    return tuple(slider(setting) for setting in defaults)

"""The catalogue: every loss with its family, formula, source and chapter."""

from dataclasses import dataclass

from segloss_ref import losses

FAMILIES = ("distribution", "region", "boundary", "compound")


@dataclass(frozen=True)
class Entry:
    """One loss of the catalogue.

    Args:
        name: name of the class.
        family: one of "distribution", "region", "boundary", "compound".
        loss: the class; it can be made without arguments.
        formula: what it computes, in LaTeX, for one region and class where they do not matter.
        citation: key of its source in the bibliography, `book/references.bib`.
        chapter: the chapter on it, such as "region/dice".
    """

    name: str
    family: str
    loss: type
    formula: str
    citation: str
    chapter: str


# In the formulas, y is the truth, p the prediction and p_t the probability of what is true; TP, FP,
# FN, TN are soft counts, CE is cross-entropy and D the Dice loss; s smooths.
_LOVASZ = r"\sum_i m_{\pi(i)} \left(\Delta_{\{\pi(1) \ldots \pi(i)\}} - "
_LOVASZ += r"\Delta_{\{\pi(1) \ldots \pi(i-1)\}}\right)"
# The chapter of the book on each loss.
_CHAPTERS = {
    "BinaryCrossEntropyLoss": "distribution/binary_cross_entropy",
    "WeightedBinaryCrossEntropyLoss": "distribution/weighted_cross_entropy",
    "BalancedBinaryCrossEntropyLoss": "distribution/weighted_cross_entropy",
    "CategoricalCrossEntropyLoss": "distribution/calibration",
    "NeighborAwareCalibrationLoss": "distribution/calibration",
    "FocalLoss": "distribution/focal",
    "PolyLoss": "distribution/focal",
    "TopKCrossEntropyLoss": "distribution/hard_and_noisy",
    "GeneralizedCrossEntropyLoss": "distribution/hard_and_noisy",
    "DistancePenaltyCrossEntropyLoss": "distribution/distance_penalty",
    "DiceLoss": "region/dice",
    "GeneralizedDiceLoss": "region/generalized_dice",
    "JaccardLoss": "region/jaccard",
    "LovaszHingeLoss": "region/jaccard",
    "LovaszSoftmaxLoss": "region/jaccard",
    "DiceSemimetricLoss": "region/soft_labels",
    "JaccardMetricLoss": "region/soft_labels",
    "TverskyLoss": "region/tversky",
    "FocalTverskyLoss": "region/tversky",
    "LogCoshDiceLoss": "region/log_cosh",
    "SensitivitySpecificityLoss": "region/log_cosh",
    "MatthewsLoss": "region/matthews",
    "NoiseRobustDiceLoss": "region/matthews",
    "GeneralizedWassersteinDiceLoss": "region/wasserstein",
    "ShapeAwareLoss": "boundary/shape_aware",
    "BoundaryLoss": "boundary/boundary_loss",
    "HausdorffDistanceLoss": "boundary/hausdorff",
    "AlArifShapeLoss": "boundary/contour_weights",
    "BoundaryDoULoss": "boundary/contour_weights",
    "ClDiceLoss": "boundary/centrelines",
    "SkeletonRecallLoss": "boundary/centrelines",
    "ActiveContourLoss": "boundary/active_contour",
    "StructuralSimilarityLoss": "boundary/active_contour",
    "CompoundLoss": "compound/dice_cross_entropy",
    "DiceCrossEntropyLoss": "compound/dice_cross_entropy",
    "DiceFocalLoss": "compound/dice_cross_entropy",
    "DiceTopKLoss": "compound/dice_cross_entropy",
    "ComboLoss": "compound/combo",
    "ExponentialLogarithmicLoss": "compound/combo",
    "UnifiedFocalLoss": "compound/unified_focal",
    "ModifiedFocalLoss": "compound/unified_focal",
    "ModifiedFocalTverskyLoss": "compound/unified_focal",
    "BlobLoss": "compound/wrappers",
    "DeepSupervisionLoss": "compound/wrappers",
}
_DISTRIBUTION = [
    ("BinaryCrossEntropyLoss", "jadon2020survey", r"-y \log p - (1 - y) \log(1 - p)"),
    (
        "WeightedBinaryCrossEntropyLoss",
        "jadon2020survey",
        r"-\beta y \log p - (1 - y) \log(1 - p)",
    ),
    (
        "BalancedBinaryCrossEntropyLoss",
        "xie2015holistically",
        r"-\beta y \log p - (1 - \beta)(1 - y) \log(1 - p)",
    ),
    ("CategoricalCrossEntropyLoss", "ma2021odyssey", r"-\sum_c w_c y_c \log p_c"),
    ("FocalLoss", "lin2017focal", r"-\alpha_t (1 - p_t)^\gamma \log p_t"),
    (
        "TopKCrossEntropyLoss",
        "wu2016bridging",
        r"\frac{1}{k n} \sum_{i \leq k n} \mathrm{CE}_{\pi(i)}",
    ),
    ("PolyLoss", "leng2022polyloss", r"-\log p_t + \epsilon (1 - p_t)"),
    ("GeneralizedCrossEntropyLoss", "zhang2018generalized", r"\frac{1 - p_t^q}{q}"),
    (
        "NeighborAwareCalibrationLoss",
        "murugesan2023nacl",
        r"\mathrm{CE} + \frac{\lambda}{C} \sum_c |\tau_c - z_c|",
    ),
    ("DistancePenaltyCrossEntropyLoss", "caliva2019distance", r"(1 + \phi)\, \mathrm{CE}"),
]
_REGION = [
    ("DiceLoss", "milletari2016vnet", r"1 - \frac{2 \sum y p + s}{\sum y^q + \sum p^q + s}"),
    (
        "GeneralizedDiceLoss",
        "sudre2017generalised",
        r"1 - \frac{2 \sum_c v_c \sum y_c p_c}{\sum_c v_c \sum (y_c + p_c)}",
    ),
    (
        "JaccardLoss",
        "jaccard1912distribution",
        r"1 - \frac{\sum y p + s}{\sum y + \sum p - \sum y p + s}",
    ),
    ("DiceSemimetricLoss", "wang2023dice", r"\frac{\sum |y - p|}{\sum y + \sum p + s}"),
    ("JaccardMetricLoss", "wang2023jaccard", r"\frac{\sum |y - p|}{\sum \max(y, p) + s}"),
    (
        "TverskyLoss",
        "salehi2017tversky",
        r"1 - \frac{\mathrm{TP} + s}"
        r"{\mathrm{TP} + \alpha\, \mathrm{FP} + \beta\, \mathrm{FN} + s}",
    ),
    ("FocalTverskyLoss", "abraham2019focal", r"(1 - \mathrm{TI})^\gamma"),
    ("LogCoshDiceLoss", "jadon2020survey", r"\log \cosh D"),
    (
        "SensitivitySpecificityLoss",
        "brosch2015deep",
        r"r \frac{\sum y (y - p)^2}{\sum y} + (1 - r) \frac{\sum (1 - y)(y - p)^2}{\sum (1 - y)}",
    ),
    ("LovaszHingeLoss", "berman2018lovasz", _LOVASZ + r",\ m = \max(0, 1 - (2 y - 1) z)"),
    ("LovaszSoftmaxLoss", "berman2018lovasz", _LOVASZ + r",\ m = |y - p|"),
    (
        "MatthewsLoss",
        "abhishek2021matthews",
        r"1 - \frac{\mathrm{TP}\, \mathrm{TN} - \mathrm{FP}\, \mathrm{FN}}"
        r"{\sqrt{(\mathrm{TP} + \mathrm{FP})(\mathrm{TP} + \mathrm{FN})"
        r"(\mathrm{TN} + \mathrm{FP})(\mathrm{TN} + \mathrm{FN})}}",
    ),
    (
        "NoiseRobustDiceLoss",
        "wang2020noise",
        r"\frac{\sum |y - p|^\gamma}{\sum y^2 + \sum p^2 + s}",
    ),
    (
        "GeneralizedWassersteinDiceLoss",
        "fidon2017generalised",
        r"1 - \frac{2\, \mathrm{TP} + s}{2\, \mathrm{TP} + \sum W + s}",
    ),
]
_BOUNDARY = [
    (
        "ShapeAwareLoss",
        "ronneberger2015unet",
        r"w\, \mathrm{CE},\ w = w_c + w_0 \exp\left(-\frac{(d_1 + d_2)^2}{2 \sigma^2}\right)",
    ),
    ("BoundaryLoss", "kervadec2019boundary", r"\phi\, p"),
    (
        "HausdorffDistanceLoss",
        "karimi2019hausdorff",
        r"(y - p)^2 \left(d_p^{\,\alpha} + d_y^{\,\alpha}\right)",
    ),
    ("AlArifShapeLoss", "alarif2017shape", r"(1 + E\, [\mathrm{wrong}])\, \mathrm{CE}"),
    (
        "BoundaryDoULoss",
        "sun2023boundary",
        r"\frac{\sum (y - p)^2}{\sum (y - p)^2 + (1 - \alpha) \sum y p + s}",
    ),
    ("ClDiceLoss", "shit2021cldice", r"1 - \frac{2\, T_p T_s}{T_p + T_s}"),
    ("SkeletonRecallLoss", "kirchhoff2024skeleton", r"1 - \frac{\sum T p + s}{\sum T + s}"),
    (
        "ActiveContourLoss",
        "chen2019active",
        r"|\nabla p| + \lambda \left(p (1 - y)^2 + (1 - p) y^2\right)",
    ),
    (
        "StructuralSimilarityLoss",
        "zhao2019correlation",
        r"\frac{\sum f e\, \mathrm{CE}}{\sum f},\ "
        r"e = \left|\frac{y - \mu_y}{\sigma_y} - \frac{p - \mu_p}{\sigma_p}\right|",
    ),
]
_COMPOUND = [
    ("CompoundLoss", "ma2021odyssey", r"\sum_k \lambda_k L_k"),
    ("DiceCrossEntropyLoss", "ma2021odyssey", r"\lambda_D D + \lambda_{CE}\, \mathrm{CE}"),
    ("DiceFocalLoss", "ma2021odyssey", r"\lambda_D D + \lambda_F L_{\mathrm{focal}}"),
    ("DiceTopKLoss", "ma2021odyssey", r"\lambda_D D + \lambda_{CE} L_{\mathrm{TopK}}"),
    (
        "ComboLoss",
        "taghanaki2018combo",
        r"-\alpha \left(\beta y \log p + (1 - \beta)(1 - y) \log(1 - p)\right) + (1 - \alpha) D",
    ),
    (
        "ExponentialLogarithmicLoss",
        "wong2018exponential",
        r"\lambda_D\, \mathrm{E}[(-\log(1 - D))^{\gamma_D}] "
        r"+ \lambda_{CE}\, \mathrm{E}[w_l (-\log p_l)^{\gamma_{CE}}]",
    ),
    ("ModifiedFocalLoss", "yeung2021unified", r"-\delta_t (1 - p_t)^{1 - \gamma} \log p_t"),
    (
        "ModifiedFocalTverskyLoss",
        "yeung2021unified",
        r"\frac{1}{C} \sum_c (1 - \mathrm{TI}_c)^\gamma",
    ),
    ("UnifiedFocalLoss", "yeung2021unified", r"\lambda L_{mF} + (1 - \lambda) L_{mFT}"),
    (
        "BlobLoss",
        "kofler2022blob",
        r"\alpha L(\Omega) + \frac{\beta}{N} \sum_n L(\Omega_n)",
    ),
    ("DeepSupervisionLoss", "lee2015deeply", r"\sum_k \frac{1}{r_k} L_k"),
]


def catalogue():
    """The catalogue of losses, a list of `Entry` in the order of the families.

    Returns:
        One entry for each loss of the package, with the fields `name`, `family`, `loss`, `formula`,
        `citation` and `chapter`.

    Example:
        >>> entry = {entry.name: entry for entry in catalogue()}["FocalLoss"]
        >>> entry.family, entry.citation, entry.loss().gamma
        ('distribution', 'lin2017focal', 2.0)
    """
    rows = zip(FAMILIES, (_DISTRIBUTION, _REGION, _BOUNDARY, _COMPOUND))
    return [
        Entry(name, family, getattr(losses, name), formula, citation, _CHAPTERS[name])
        for family, table in rows
        for name, citation, formula in table
    ]

"""Which loss is compared with which, under which settings, and where they differ.

The settings on the right are the translation of those on the left. `differs` says for a case, or
for "*", all cases, in one sentence how the two definitions differ; where it is silent, value and
gradient must agree.
"""

from dataclasses import dataclass, field

from parity_cases import IGNORED, SPECIAL

import segloss_ref

BINARY, EXCLUSIVE, INDEPENDENT = "binary", "exclusive", "independent"


@dataclass(frozen=True)
class Pair:
    """A loss here and one there.

    `on` names the cases; by default all of the kind of classes that need no setting. `without`
    leaves some of them out.
    """

    kind: str
    loss: str
    settings: dict
    library: str
    their_class: str
    their_settings: dict
    differs: dict = field(default_factory=dict)
    on: tuple = ()
    without: tuple = ()

    def cases(self, every):
        names = self.on or [name for name in every[self.kind] if name not in SPECIAL]
        return [name for name in names if name not in self.without]

    def ours(self, case):
        settings = {"from_logits": True, "dtype": "float64", **self.settings}
        if case.kind == "independent":
            settings["multilabel"] = True
        loss = getattr(segloss_ref, self.loss)(**settings)
        as_labels = "ignore_class" in settings and case.labels is not None
        return loss(case.labels if as_labels else case.y, case.z, case.weight)

    def theirs(self, case):
        from parity_libraries import CALLS  # PyTorch and the others; not needed for `ours`

        return CALLS[self.library](self.their_class, self.their_settings, case)

    def note(self, name):
        return self.differs.get(name, self.differs.get("*", ""))

    @property
    def described(self):
        return {
            "loss": self.loss,
            "settings": in_words(self.settings),
            "library": self.library,
            "their_class": self.their_class,
            "their_settings": in_words(self.their_settings),
        }


def in_words(settings):
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())


HARD_ONLY = ("soft",)

KERAS_EMPTY = (
    "Keras's epsilon stands in the denominator only: an empty batch costs 1, whatever is predicted"
)
SMP_EMPTY = "SMP multiplies by 0 where the truth is empty: false positives are free there"
SMP_ONE_FORM = "SMP's overlap is (sum y + sum p - sum |y - p|) / 2, the semimetric form of Wang"
KERAS_SWAPPED = (
    "Keras 3.15.1 gives alpha to false negatives and beta to false positives, against its own text"
)
ONE_RATIO = "{} sums over the classes, too: one ratio of all, not the mean of one per class"
MONAI_ABSENT = "MONAI gives an absent class the largest weight there is; here it has 0"
MAP_IGNORED = "the map does not reach the sums: Keras multiplies the loss by the mean of the map"

CROSS_ENTROPY = [
    Pair(
        BINARY, "BinaryCrossEntropyLoss", {}, "Keras", "BinaryCrossentropy", {"from_logits": True}
    ),
    Pair(
        BINARY,
        "BinaryCrossEntropyLoss",
        {},
        "Keras",
        "BinaryCrossentropy",
        {"from_logits": True},
        on=("weight map",),
    ),
    Pair(
        BINARY,
        "BinaryCrossEntropyLoss",
        {"reduction": "mean_with_sample_weight"},
        "Keras",
        "BinaryCrossentropy",
        {"from_logits": True, "reduction": "mean_with_sample_weight"},
        on=("weight map",),
    ),
    Pair(
        INDEPENDENT,
        "BinaryCrossEntropyLoss",
        {},
        "Keras",
        "BinaryCrossentropy",
        {"from_logits": True},
    ),
    Pair(BINARY, "BinaryCrossEntropyLoss", {}, "PyTorch", "BCEWithLogitsLoss", {}),
    Pair(
        BINARY, "BinaryCrossEntropyLoss", {}, "PyTorch", "BCEWithLogitsLoss", {}, on=("weight map",)
    ),
    Pair(INDEPENDENT, "BinaryCrossEntropyLoss", {}, "PyTorch", "BCEWithLogitsLoss", {}),
    Pair(BINARY, "BinaryCrossEntropyLoss", {}, "SMP", "SoftBCEWithLogitsLoss", {}),
    Pair(
        BINARY,
        "BinaryCrossEntropyLoss",
        {"ignore_class": IGNORED},
        "SMP",
        "SoftBCEWithLogitsLoss",
        {"ignore_index": IGNORED},
        on=("ignored",),
        differs={"*": "SMP divides by all pixels, the ignored ones included; here by the others"},
    ),
    Pair(
        BINARY,
        "WeightedBinaryCrossEntropyLoss",
        {"beta": 3.0},
        "PyTorch",
        "BCEWithLogitsLoss",
        {"pos_weight": [3.0]},
    ),
    Pair(
        BINARY,
        "WeightedBinaryCrossEntropyLoss",
        {"beta": 3.0},
        "SMP",
        "SoftBCEWithLogitsLoss",
        {"pos_weight": [3.0]},
    ),
]

DICE = [
    Pair(EXCLUSIVE, "DiceLoss", {}, "Keras", "Dice", {},
         {"*": "Keras takes one ratio of the whole batch and all classes, without smoothing"},
         on=("hard",)),
    Pair(EXCLUSIVE, "DiceLoss", {}, "MONAI", "DiceLoss", {"softmax": True},
         {"*": "MONAI's smoothing is 1e-5, here it is 1"}, on=("hard",)),
    Pair(EXCLUSIVE, "DiceLoss", {}, "SMP", "DiceLoss", {},
         {"*": "SMP's sums run over the batch, without smoothing"}, on=("hard",)),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-7, "per": "batch"}, "Keras", "Dice", {},
         {"empty, found": KERAS_EMPTY}),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-7}, "Keras", "Dice", {"axis": (1, 2, 3)},
         {"empty, found": KERAS_EMPTY}, without=("volume",)),
    Pair(BINARY, "DiceLoss", {"smooth": 1.0, "per": "batch"}, "Keras", "Dice", {},
         {"*": "Keras has no smoothing but its epsilon, 1e-7"}, on=("hard", "empty")),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-7, "per": "batch"}, "Keras", "Dice", {},
         {"*": MAP_IGNORED}, on=("weight map", "mask")),
    Pair(EXCLUSIVE, "DiceLoss", {"smooth": 1e-7, "per": "batch"}, "Keras", "Dice", {},
         {"*": ONE_RATIO.format("Keras")}),
    Pair(EXCLUSIVE, "DiceLoss", {"smooth": 1e-7}, "Keras", "Dice", {"axis": (1, 2)},
         without=("volume",)),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-5}, "MONAI", "DiceLoss", {"sigmoid": True}),
    Pair(BINARY, "DiceLoss", {"smooth": 1.0, "per": "batch"}, "MONAI", "DiceLoss",
         {"sigmoid": True, "smooth_nr": 1.0, "smooth_dr": 1.0, "batch": True}),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-5, "squared": True}, "MONAI", "DiceLoss",
         {"sigmoid": True, "squared_pred": True}),
    Pair(EXCLUSIVE, "DiceLoss", {"smooth": 1e-5}, "MONAI", "DiceLoss", {"softmax": True}),
    Pair(EXCLUSIVE, "DiceLoss", {"smooth": 1e-5, "include_background": False}, "MONAI", "DiceLoss",
         {"softmax": True, "include_background": False}),
    Pair(EXCLUSIVE, "DiceLoss", {"smooth": 1e-5, "class_weights": [1.0, 2.0, 5.0]}, "MONAI",
         "DiceLoss", {"softmax": True, "weight": [1.0, 2.0, 5.0]},
         {"*": "MONAI divides the weighted sum by the number of classes, here by that of weights"}),
    Pair(EXCLUSIVE, "DiceLoss", {"smooth": 1e-5, "class_weights": [1.0, 2.0, 5.0]}, "MONAI",
         "DiceLoss", {"softmax": True, "weight": [0.375, 0.75, 1.875]}),
    Pair(INDEPENDENT, "DiceLoss", {"smooth": 1e-5}, "MONAI", "DiceLoss", {"sigmoid": True}),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-5}, "MONAI", "MaskedDiceLoss", {"sigmoid": True},
         on=("mask",)),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-5}, "MONAI", "MaskedDiceLoss", {"sigmoid": True},
         {"*": "MONAI multiplies y and p by the map, so that overlaps count its square"},
         on=("weight map",)),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-5, "ignore_class": IGNORED}, "MONAI", "DiceLoss",
         {"sigmoid": True, "ignore_index": IGNORED}, on=("ignored",)),
    Pair(EXCLUSIVE, "DiceLoss", {"smooth": 1e-5, "ignore_class": IGNORED}, "MONAI", "DiceLoss",
         {"softmax": True, "to_onehot_y": True, "ignore_index": IGNORED}, on=("ignored",)),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-7, "per": "batch"}, "SMP", "DiceLoss", {},
         {"empty": SMP_EMPTY, "empty, found": SMP_EMPTY, "soft": SMP_ONE_FORM}),
    Pair(BINARY, "DiceLoss", {"smooth": 2.0, "per": "batch"}, "SMP", "DiceLoss", {"smooth": 1.0},
         {"empty": SMP_EMPTY, "soft": SMP_ONE_FORM}),
    Pair(EXCLUSIVE, "DiceLoss", {"smooth": 1e-7, "per": "batch"}, "SMP", "DiceLoss", {},
         {"a class absent": SMP_EMPTY}, without=HARD_ONLY),
    Pair(INDEPENDENT, "DiceLoss", {"smooth": 1e-7, "per": "batch"}, "SMP", "DiceLoss", {},
         {"a class absent": SMP_EMPTY, "soft": SMP_ONE_FORM}),
    Pair(EXCLUSIVE, "DiceLoss", {"smooth": 1e-7, "per": "batch", "ignore_class": IGNORED}, "SMP",
         "DiceLoss", {"ignore_index": IGNORED}, on=("ignored",)),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-7, "per": "batch", "ignore_class": IGNORED}, "SMP",
         "DiceLoss", {"ignore_index": IGNORED}, on=("ignored",)),
]  # fmt: skip

TVERSKY = [
    Pair(BINARY, "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1e-7, "per": "batch"},
         "Keras", "Tversky", {"alpha": 0.3, "beta": 0.7},
         {**dict.fromkeys(("hard", "soft", "one of two empty", "volume"), KERAS_SWAPPED),
          "empty, found": KERAS_EMPTY}),
    Pair(BINARY, "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1e-7, "per": "batch"},
         "Keras", "Tversky", {"alpha": 0.7, "beta": 0.3}, {"empty, found": KERAS_EMPTY}),
    Pair(EXCLUSIVE, "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1e-7}, "Keras", "Tversky",
         {"alpha": 0.7, "beta": 0.3, "axis": (1, 2)}, without=("volume",)),
    Pair(BINARY, "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1e-5}, "MONAI",
         "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "sigmoid": True}),
    Pair(EXCLUSIVE, "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1e-5}, "MONAI",
         "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "softmax": True}),
    Pair(INDEPENDENT, "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1e-5}, "MONAI",
         "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "sigmoid": True}),
    Pair(BINARY, "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1.0, "per": "batch"}, "SMP",
         "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1.0},
         {"empty": SMP_EMPTY, "soft": SMP_ONE_FORM}),
    Pair(EXCLUSIVE, "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1.0, "per": "batch"},
         "SMP", "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "smooth": 1.0},
         {"a class absent": SMP_EMPTY}, without=HARD_ONLY),
    Pair(BINARY, "FocalTverskyLoss", {"gamma": 0.75, "smooth": 1.0, "per": "batch"}, "SMP",
         "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "gamma": 0.75, "smooth": 1.0},
         {"empty": SMP_EMPTY, "soft": SMP_ONE_FORM}, without=("empty, found", "found")),
    Pair(EXCLUSIVE, "FocalTverskyLoss", {"gamma": 0.75, "smooth": 1.0, "per": "batch"}, "SMP",
         "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "gamma": 0.75, "smooth": 1.0},
         {"*": "SMP takes the power of the mean over classes, not the mean of powers"},
         without=HARD_ONLY),
]  # fmt: skip

JACCARD = [
    Pair(BINARY, "JaccardLoss", {"smooth": 5e-6}, "MONAI", "DiceLoss",
         {"sigmoid": True, "jaccard": True}),
    Pair(EXCLUSIVE, "JaccardLoss", {"smooth": 5e-6}, "MONAI", "DiceLoss",
         {"softmax": True, "jaccard": True}),
    Pair(BINARY, "JaccardLoss", {"smooth": 1.0, "per": "batch"}, "SMP", "JaccardLoss",
         {"smooth": 1.0}, {"empty": SMP_EMPTY, "soft": SMP_ONE_FORM}),
    Pair(EXCLUSIVE, "JaccardLoss", {"smooth": 1.0, "per": "batch"}, "SMP", "JaccardLoss",
         {"smooth": 1.0}, {"a class absent": SMP_EMPTY}, without=HARD_ONLY),
    Pair(INDEPENDENT, "JaccardLoss", {"smooth": 1.0, "per": "batch"}, "SMP", "JaccardLoss",
         {"smooth": 1.0}, {"a class absent": SMP_EMPTY, "soft": SMP_ONE_FORM}),
]  # fmt: skip

SEMIMETRIC = [
    Pair(BINARY, "DiceSemimetricLoss", {"smooth": 1e-5}, "MONAI", "DiceLoss",
         {"sigmoid": True, "soft_label": True}),
    Pair(EXCLUSIVE, "DiceSemimetricLoss", {"smooth": 1e-5}, "MONAI", "DiceLoss",
         {"softmax": True, "soft_label": True}),
    Pair(BINARY, "DiceSemimetricLoss", {"smooth": 2.0, "per": "batch"}, "SMP", "DiceLoss",
         {"smooth": 1.0}, {"empty": SMP_EMPTY}),
    Pair(INDEPENDENT, "DiceSemimetricLoss", {"smooth": 2.0, "per": "batch"}, "SMP", "DiceLoss",
         {"smooth": 1.0}, {"a class absent": SMP_EMPTY}),
    Pair(BINARY, "JaccardMetricLoss", {"smooth": 5e-6}, "MONAI", "DiceLoss",
         {"sigmoid": True, "jaccard": True, "soft_label": True}),
    Pair(BINARY, "JaccardMetricLoss", {"smooth": 1.0, "per": "batch"}, "SMP", "JaccardLoss",
         {"smooth": 1.0}, {"empty": SMP_EMPTY}),
]  # fmt: skip

NO_SMOOTHING = {"smooth_nr": 0.0, "smooth_dr": 0.0}
GENERALIZED = [
    Pair(EXCLUSIVE, "GeneralizedDiceLoss", {}, "MONAI", "GeneralizedDiceLoss",
         {"softmax": True, **NO_SMOOTHING},
         {"a class absent": MONAI_ABSENT}),
    Pair(EXCLUSIVE, "GeneralizedDiceLoss", {}, "MONAI", "GeneralizedDiceLoss", {"softmax": True},
         {"*": "MONAI adds 1e-5 to sums that are weighed by 1 / V², where it is not small"},
         on=("hard",)),
    Pair(EXCLUSIVE, "GeneralizedDiceLoss", {"weighting": "simple"}, "MONAI", "GeneralizedDiceLoss",
         {"softmax": True, "w_type": "simple", **NO_SMOOTHING},
         {"a class absent": MONAI_ABSENT}),
    Pair(EXCLUSIVE, "GeneralizedDiceLoss", {"per": "batch"}, "MONAI", "GeneralizedDiceLoss",
         {"softmax": True, "batch": True, **NO_SMOOTHING},
         {"a class absent": MONAI_ABSENT}),
    Pair(BINARY, "GeneralizedDiceLoss", {}, "MONAI", "GeneralizedDiceLoss",
         {"sigmoid": True, **NO_SMOOTHING},
         {"*": "with one channel MONAI's weight cancels; here the background is the second class"},
         on=("hard", "volume")),
    Pair(INDEPENDENT, "GeneralizedDiceLoss", {}, "MONAI", "GeneralizedDiceLoss",
         {"sigmoid": True, **NO_SMOOTHING},
         {"*": "MONAI has one ratio for all channels; here each has one, with its background"}),
]  # fmt: skip

MONAI_CHANCE = (
    "without a true pixel MONAI's coefficient is 0 unless nothing at all is wrong, and has no "
    "gradient; here the loss grows from 0 with what is made up"
)
MATTHEWS = [
    Pair(BINARY, "MatthewsLoss", {"smooth": 1e-9, "per": "batch"}, "SMP", "MCCLoss", {"eps": 1e-9},
         dict.fromkeys(("empty", "empty, found"),
                       "SMP adds eps to all four counts, which leaves no correlation: 1")),
    Pair(BINARY, "MatthewsLoss", {"smooth": 1.0, "per": "batch"}, "SMP", "MCCLoss", {"eps": 1.0},
         {"*": "SMP adds eps to all four counts; here s is added to the right ones, TP and TN"}),
    Pair(BINARY, "MatthewsLoss", {"smooth": 1e-9}, "MONAI", "MCCLoss",
         {"sigmoid": True, "smooth_dr": 1e-9},
         dict.fromkeys(("one of two empty", "empty", "empty, found"), MONAI_CHANCE)),
    Pair(EXCLUSIVE, "MatthewsLoss", {"smooth": 1e-9}, "MONAI", "MCCLoss",
         {"softmax": True, "smooth_dr": 1e-9}, {"a class absent": MONAI_CHANCE}),
]  # fmt: skip

WEIGHTED_MEAN = "PyTorch divides by the sum of the weights of the true classes, here by the pixels"
CATEGORICAL = [
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {}, "Keras", "CategoricalCrossentropy",
         {"from_logits": True}),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {}, "Keras", "CategoricalCrossentropy",
         {"from_logits": True}, on=("weight map",)),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {"label_smoothing": 0.1}, "Keras",
         "CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {"ignore_class": IGNORED, "per": "batch"},
         "Keras", "SparseCategoricalCrossentropy",
         {"from_logits": True, "ignore_class": IGNORED}, on=("ignored",)),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {"ignore_class": IGNORED}, "Keras",
         "SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": IGNORED},
         {"*": "the mean over all pixels left in the batch; here each image has a mean of its own"},
         on=("ignored",)),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {}, "PyTorch", "CrossEntropyLoss", {}),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {"label_smoothing": 0.1}, "PyTorch",
         "CrossEntropyLoss", {"label_smoothing": 0.1}),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {"ignore_class": IGNORED, "per": "batch"},
         "PyTorch", "CrossEntropyLoss", {"ignore_index": IGNORED}, on=("ignored",)),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {"class_weights": [1.0, 2.0, 5.0]}, "PyTorch",
         "CrossEntropyLoss", {"weight": [1.0, 2.0, 5.0]},
         dict.fromkeys(("hard", "a class absent", "volume"), WEIGHTED_MEAN)),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {"label_smoothing": 0.1}, "SMP",
         "SoftCrossEntropyLoss", {"smooth_factor": 0.1}, without=HARD_ONLY),
    Pair(EXCLUSIVE, "CategoricalCrossEntropyLoss", {"ignore_class": IGNORED}, "SMP",
         "SoftCrossEntropyLoss", {"smooth_factor": 0.0, "ignore_index": IGNORED},
         {"*": "SMP divides by all pixels, the ignored ones included; here by the others"},
         on=("ignored",)),
    Pair(EXCLUSIVE, "GeneralizedCrossEntropyLoss", {"q": 0.7}, "Keras",
         "CategoricalGeneralizedCrossEntropy", {"q": 0.7}, without=HARD_ONLY),
]  # fmt: skip

FOCAL_SOFT = (
    "for a soft label {} here the focal factor weighs the terms of y and 1 - y apart, as in the "
    "cross-entropy"
)
FOCAL = [
    Pair(BINARY, "FocalLoss", {"alpha": 0.25, "gamma": 2.0}, "Keras", "BinaryFocalCrossentropy",
         {"alpha": 0.25, "gamma": 2.0, "apply_class_balancing": True, "from_logits": True},
         {"soft": FOCAL_SOFT.format("Keras takes p_t = y p + (1 - y)(1 - p) first;")}),
    Pair(BINARY, "FocalLoss", {"alpha": 0.25, "gamma": 2.0}, "Keras", "BinaryFocalCrossentropy",
         {"alpha": 0.25, "gamma": 2.0, "from_logits": True},
         {"*": "Keras ignores alpha unless apply_class_balancing=True"}, on=("hard", "volume")),
    Pair(BINARY, "FocalLoss", {"alpha": None, "gamma": 2.0}, "Keras", "BinaryFocalCrossentropy",
         {"alpha": 0.25, "gamma": 2.0, "from_logits": True},
         {"soft": FOCAL_SOFT.format("Keras takes p_t = y p + (1 - y)(1 - p) first;")}),
    Pair(EXCLUSIVE, "FocalLoss", {"alpha": 0.25, "gamma": 2.0}, "Keras",
         "CategoricalFocalCrossentropy", {"alpha": 0.25, "gamma": 2.0, "from_logits": True}),
    Pair(BINARY, "FocalLoss", {"alpha": 0.25, "gamma": 2.0}, "MONAI", "FocalLoss",
         {"alpha": 0.25, "gamma": 2.0},
         {"soft": FOCAL_SOFT.format("MONAI takes 1 - p_t = sigmoid(-(2 y - 1) z);")}),
    Pair(INDEPENDENT, "FocalLoss", {"alpha": 0.25, "gamma": 2.0}, "MONAI", "FocalLoss",
         {"alpha": 0.25, "gamma": 2.0}, without=("soft",)),
    Pair(EXCLUSIVE, "FocalLoss", {"alpha": None, "gamma": 2.0}, "MONAI", "FocalLoss",
         {"gamma": 2.0, "use_softmax": True},
         {"*": "MONAI takes the mean over classes, too, most of which are 0: a third for three"}),
    Pair(EXCLUSIVE, "FocalLoss", {"alpha": [0.75, 0.25, 0.25], "gamma": 2.0}, "MONAI", "FocalLoss",
         {"alpha": 0.25, "gamma": 2.0, "use_softmax": True, "weight": [3.0, 3.0, 3.0]}),
    Pair(BINARY, "FocalLoss", {"alpha": 0.25, "gamma": 2.0}, "SMP", "FocalLoss",
         {"alpha": 0.25, "gamma": 2.0},
         {"soft": FOCAL_SOFT.format("SMP takes p_t = exp(-cross-entropy);")}),
    Pair(EXCLUSIVE, "FocalLoss", {"alpha": None, "gamma": 2.0}, "SMP", "FocalLoss",
         {"gamma": 2.0}, {"*": "SMP has no softmax: each class against the rest, by a sigmoid"},
         without=HARD_ONLY),
    Pair(EXCLUSIVE, "FocalLoss", {"alpha": None, "gamma": 2.0, "multilabel": True}, "SMP",
         "FocalLoss", {"gamma": 2.0}, without=HARD_ONLY),
]  # fmt: skip

NEIGHBOURS = [
    Pair(EXCLUSIVE, "NeighborAwareCalibrationLoss", {"neighbor_weight": 0.1, "size": 1}, "MONAI",
         "NACLLoss", {"alpha": 0.1, "kernel_size": 1}, without=HARD_ONLY),
    Pair(EXCLUSIVE, "NeighborAwareCalibrationLoss", {"neighbor_weight": 0.1}, "MONAI", "NACLLoss",
         {"alpha": 0.1},
         {"*": "at the border MONAI's window holds pixels without any class; here it ends there"},
         without=HARD_ONLY),
]  # fmt: skip

DISTANCES = [
    Pair(BINARY, "HausdorffDistanceLoss", {"alpha": 2.0}, "MONAI", "HausdorffDTLoss",
         {"alpha": 2.0, "sigmoid": True}),
    Pair(EXCLUSIVE, "HausdorffDistanceLoss", {"alpha": 2.0}, "MONAI", "HausdorffDTLoss",
         {"alpha": 2.0, "softmax": True, "include_background": True}),
    Pair(EXCLUSIVE, "HausdorffDistanceLoss", {"include_background": False}, "MONAI",
         "HausdorffDTLoss", {"softmax": True}),
    Pair(BINARY, "HausdorffDistanceLoss", {"log": True}, "MONAI", "LogHausdorffDTLoss",
         {"sigmoid": True},
         {"*": "MONAI takes the logarithm of the mean over images and classes, here of each one"},
         without=("empty, found", "found")),
    Pair(BINARY, "BoundaryLoss", {}, "MONAI", "BoundaryLoss", {"sigmoid": True},
         {"*": "inside, MONAI has the distance -(d - 1), here it is -d"},
         without=("soft", "empty", "empty, found")),
    Pair(BINARY, "BoundaryLoss", {}, "MONAI", "BoundaryLoss", {"sigmoid": True},
         on=("empty", "empty, found")),
    Pair(BINARY, "ClDiceLoss", {"iterations": 3}, "MONAI", "SoftclDiceLoss",
         {"iter_": 3, "sigmoid": True, "smooth": 1e-12}),
    Pair(BINARY, "ClDiceLoss", {"iterations": 3}, "MONAI", "SoftclDiceLoss",
         {"iter_": 3, "sigmoid": True},
         {"*": "MONAI adds another 1e-4 below the harmonic mean"}, on=("hard", "volume")),
    Pair(EXCLUSIVE, "ClDiceLoss", {"iterations": 3}, "MONAI", "SoftclDiceLoss",
         {"iter_": 3, "softmax": True, "smooth": 1e-12},
         {"*": ONE_RATIO.format("MONAI")}),
    Pair(BINARY, "SSIMLoss", {"window": 5}, "MONAI", "SSIMLoss",
         {"win_size": 5},
         {"*": "MONAI scores only pixels whose window is whole; here it ends with the picture"},
         on=("hard", "soft", "volume")),
]  # fmt: skip

LOVASZ = [
    Pair(BINARY, "LovaszHingeLoss", {}, "SMP", "LovaszLoss", {"per_image": True},
         without=HARD_ONLY),
    Pair(BINARY, "LovaszHingeLoss", {"per": "batch"}, "SMP", "LovaszLoss", {}, without=HARD_ONLY),
    Pair(EXCLUSIVE, "LovaszSoftmaxLoss", {}, "SMP", "LovaszLoss", {"per_image": True},
         without=HARD_ONLY),
    Pair(EXCLUSIVE, "LovaszSoftmaxLoss", {"per": "batch"}, "SMP", "LovaszLoss", {},
         without=HARD_ONLY),
]  # fmt: skip

DISTANCE_MATRIX = [[0.0, 1.0, 1.0], [1.0, 0.0, 0.5], [1.0, 0.5, 0.0]]
WASSERSTEIN = [
    Pair(EXCLUSIVE, "GeneralizedWassersteinDiceLoss",
         {"smooth": 1e-5, "distances": DISTANCE_MATRIX}, "MONAI",
         "GeneralizedWassersteinDiceLoss", {"dist_matrix": DISTANCE_MATRIX},
         without=HARD_ONLY),
]  # fmt: skip

COMPOUND = [
    Pair(BINARY, "DiceCrossEntropyLoss", {"smooth": 1e-5}, "MONAI", "DiceCELoss",
         {"sigmoid": True}),
    Pair(EXCLUSIVE, "DiceCrossEntropyLoss", {"smooth": 1e-5}, "MONAI", "DiceCELoss",
         {"softmax": True}),
    Pair(INDEPENDENT, "DiceCrossEntropyLoss", {"smooth": 1e-5}, "MONAI", "DiceCELoss",
         {"sigmoid": True},
         {"*": "MONAI's cross-entropy is that of a softmax as soon as there are two channels"}),
    Pair(BINARY, "DiceFocalLoss", {"smooth": 1e-5, "alpha": None}, "MONAI", "DiceFocalLoss",
         {"sigmoid": True},
         {"soft": FOCAL_SOFT.format("MONAI takes 1 - p_t = sigmoid(-(2 y - 1) z);")}),
    Pair(INDEPENDENT, "DiceFocalLoss", {"smooth": 1e-5, "alpha": None}, "MONAI", "DiceFocalLoss",
         {"sigmoid": True}, without=("soft",)),
    Pair(EXCLUSIVE, "DiceFocalLoss", {"smooth": 1e-5, "alpha": None}, "MONAI", "DiceFocalLoss",
         {"softmax": True},
         {"*": "MONAI's focal half has no softmax: each class against the rest, by a sigmoid"}),
    Pair(BINARY, "ModifiedFocalTverskyLoss",
         {"symmetric": False, "delta": 0.7, "gamma": 0.5, "smooth": 1e-7}, "MONAI",
         "AsymmetricUnifiedFocalLoss", {"weight": 0.0, "delta": 0.7, "gamma": 0.5},
         dict.fromkeys(("empty, found", "found"),
                       "MONAI clips each p to at least 1e-7, which adds up to more than its "
                       "smoothing, 1e-7")),
    Pair(BINARY, "ModifiedFocalLoss", {"symmetric": False, "delta": 0.7, "gamma": 0.5}, "MONAI",
         "AsymmetricUnifiedFocalLoss", {"weight": 1.0, "delta": 0.7, "gamma": 0.5},
         {"*": "MONAI takes the mean over object and background where the authors' code has a sum"},
         without=("empty, found", "found")),
]  # fmt: skip

GENERALIZED_LARGE = [
    Pair(BINARY, "DiceLoss", {"smooth": 1e-5}, "MONAI", "GeneralizedDiceLoss",
         {"sigmoid": True, **NO_SMOOTHING}, on=("hard", "large, missed")),
    Pair(BINARY, "DiceLoss", {"smooth": 1e-5}, "MONAI", "GeneralizedDiceLoss", {"sigmoid": True},
         {"*": "MONAI adds 1e-5 to sums that are weighed by 1 / V², where it is not small"},
         on=("large, missed",)),
]  # fmt: skip

PAIRS = [
    *CROSS_ENTROPY,
    *CATEGORICAL,
    *FOCAL,
    *NEIGHBOURS,
    *DICE,
    *TVERSKY,
    *JACCARD,
    *SEMIMETRIC,
    *GENERALIZED,
    *GENERALIZED_LARGE,
    *MATTHEWS,
    *LOVASZ,
    *WASSERSTEIN,
    *DISTANCES,
    *COMPOUND,
]

"""How a loss of each library is called on a case: the shape, activation and order that it wants."""

import keras
import monai.losses
import segmentation_models_pytorch.losses as smp
import torch
from parity_cases import CLASSES


def first(x):
    """`(batch, *spatial, channels)` as `(batch, channels, *spatial)`."""
    return torch.movedim(x, -1, 1)


def probabilities(case):
    """For what takes no logits."""
    return torch.softmax(case.z, -1) if case.kind == "exclusive" else torch.sigmoid(case.z)


def call_keras(name, settings, case):
    """Truth first; probabilities unless told otherwise; channels last; weights when called."""
    loss = getattr(keras.losses, name)(**settings, dtype="float64")
    prediction = case.z if settings.get("from_logits") else probabilities(case)
    takes_labels = name.startswith("Sparse") or name == "CategoricalGeneralizedCrossEntropy"
    truth = case.labels if takes_labels else case.y
    return loss(truth, prediction, sample_weight=case.weight)


def call_torch(name, settings, case):
    """Prediction first; logits; channels second; weights as a setting."""
    settings = {k: _tensor_where_list(v) for k, v in settings.items()}
    if case.weight is not None:
        settings["weight"] = case.weight[:, None]
    loss = getattr(torch.nn, name)(**settings)
    labels = case.labels is not None and "CrossEntropy" in name
    return loss(first(case.z), case.labels if labels else first(case.y))


def call_monai(name, settings, case):
    """Prediction first; logits if `sigmoid` or `softmax` is set; channels second."""
    settings = {k: _tensor_where_list(v) for k, v in settings.items()}
    prediction, truth, more = first(case.z), first(case.y), {}
    if name == "GeneralizedWassersteinDiceLoss":
        truth = case.labels
    elif name == "NACLLoss":
        settings = {"classes": CLASSES, "dim": case.z.ndim - 2, **settings}
        truth = case.labels
    elif name in ("AsymmetricUnifiedFocalLoss", "SSIMLoss"):
        prediction = first(probabilities(case))
        if name == "SSIMLoss":
            settings = {"spatial_dims": case.z.ndim - 2, **settings}
    if name == "MaskedDiceLoss":
        more["mask"] = case.weight[:, None]
    if "ignore_index" in settings and case.labels is not None:
        truth = case.labels[:, None]
    return getattr(monai.losses, name)(**settings)(prediction, truth, **more)


def call_smp(name, settings, case):
    """Prediction first; logits, except MCCLoss; a class map where classes exclude each other."""
    modes = {"binary": "binary", "exclusive": "multiclass", "independent": "multilabel"}
    settings = {k: _tensor_where_list(v) if k == "pos_weight" else v for k, v in settings.items()}
    if name not in ("MCCLoss", "SoftBCEWithLogitsLoss", "SoftCrossEntropyLoss"):
        settings["mode"] = modes[case.kind]
    prediction = first(probabilities(case) if name == "MCCLoss" else case.z)
    truth = first(case.y) if case.labels is None else case.labels
    if name == "LovaszLoss":  # fails on float64: it multiplies with a float32 of its own
        prediction = prediction.float()
        truth = truth.float() if case.labels is None else truth
    return getattr(smp, name)(**settings)(prediction, truth)


def _tensor_where_list(value):
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value


CALLS = {
    "Keras": call_keras,
    "PyTorch": call_torch,
    "MONAI": call_monai,
    "SMP": call_smp,
}

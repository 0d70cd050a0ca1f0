"""This machine: what runs here, and whether the losses give the numbers of their formulas.

`python -m segloss_ref` prints it. Of each loss in `REFERENCE` stands the value that its formula has
in float64 for one fixed mask and prediction, see `scene`; the tests compute these values anew from
the oracles, and a machine that gives others computes something else.
"""

import importlib.metadata
import math
import platform
import re
import sys
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from segloss_ref.catalogue import loss_class
from segloss_ref.losses import DiceLoss

#: What the losses give for `scene`, from their formulas in float64.
REFERENCE: dict[str, float] = {
    "BinaryCrossEntropyLoss": 0.6666832889668002,
    "FocalLoss": 0.2051954009945915,
    "DiceLoss": 0.3914970116164025,
    "GeneralizedDiceLoss": 0.3802449017663082,
    "TverskyLoss": 0.3682762340870347,
    "JaccardLoss": 0.5597890706451123,
    "LovaszHingeLoss": 1.3562947036539517,
    "MatthewsLoss": 0.7354764338952883,
    "ShapeAwareLoss": 2.6565182542898134,
    "BoundaryLoss": -0.04947882670851202,
    "HausdorffDistanceLoss": 0.9229254541624203,
    "ClDiceLoss": 0.3896414434145874,
    "SSIMLoss": 0.7270471748910594,
    "DiceCrossEntropyLoss": 1.0581803005832027,
}

#: So far from the reference, as a share of it, a value may be: float32 knows seven digits.
TOLERANCE = 1e-5


class Deviation(NamedTuple):
    """A loss here and in float64: its value, the `reference`, and what they differ by, as a share.

    A loss that cannot be computed here has NaN and the `error`.
    """

    loss: str
    value: float
    reference: float
    share: float
    error: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the two differ by no more than `TOLERANCE`."""
        return self.share <= TOLERANCE  # NaN is not


def scene() -> tuple[np.ndarray, np.ndarray]:
    """The fixed mask and prediction: an instance map and logits, both `(1, 12, 12)`.

    Two objects with a gap of one pixel, and logits that are partly wrong, none of them 0. All of
    these numbers are exact in half precision, too.

    Example:
        >>> labels, logits = scene()
        >>> labels.shape, int(labels.max()), int((logits > 0).sum())
        ((1, 12, 12), 2, 74)
    """
    row, column = np.mgrid[:12, :12]
    labels = np.zeros((12, 12), int)
    labels[2:9, 1:6], labels[3:10, 7:11] = 1, 2
    logits = ((5 * row + 3 * column) % 13 - 6) / 2 + np.where(labels > 0, 1.25, -0.75)
    return labels[None], logits[None]


def deviations(names: Iterable[str] = ()) -> list[Deviation]:
    """Compares losses with their formulas on the backend that runs.

    Args:
        names: Losses that are in `REFERENCE`; all of them by default.

    Returns:
        A list of `Deviation`.

    Example:
        >>> all(found.is_right for found in deviations(["DiceLoss", "FocalLoss"]))
        True
    """
    return [_deviation(name, REFERENCE[name]) for name in names or REFERENCE]


def _deviation(name, reference):
    labels, logits = scene()
    try:
        loss = loss_class(name)(from_logits=True)
        truth = labels if loss.truth == "instances" else (labels > 0)[..., None]
        truth = truth.astype("int32" if loss.truth == "instances" else "float32")
        value = float(keras.ops.convert_to_numpy(loss(truth, logits.astype("float32")[..., None])))
    except Exception as error:  # whatever it is, it is what this machine has to say
        return Deviation(name, math.nan, reference, math.nan, _first_line(error))
    return Deviation(name, value, reference, abs(value - reference) / abs(reference))


def versions() -> dict[str, str]:
    """The versions of what computes: this package, Python, Keras, its backend, NumPy, SciPy.

    Example:
        >>> list(versions())[:3]
        ['segloss_ref', 'python', 'keras']
    """
    backend = sys.modules[keras.backend.backend()]
    return {
        "segloss_ref": sys.modules["segloss_ref"].__version__,
        "python": platform.python_version(),
        "keras": keras.__version__,
        # Of the module: its package may be called otherwise, as `tensorflow-cpu` is.
        backend.__name__: backend.__version__,
        **{name: importlib.metadata.version(name) for name in ("numpy", "scipy")},
    }


def devices() -> list[str]:
    """The devices that the backend has, such as "cpu:0" or "gpu:0"."""
    if keras.backend.backend() == "torch":  # Keras has no list of devices there
        torch = sys.modules["torch"]
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    return keras.distribution.list_devices()


def processor(described: str | PathLike[str] = "/proc/cpuinfo") -> str:
    """The kind of processor. On another kind, sums come in another order, and digits may differ.

    Args:
        described: Where Linux describes it; without such a file the architecture is all there is.

    Returns:
        A text such as "x86_64, Intel(R) Xeon(R) Processor, model 6-167".
    """
    kind = platform.machine()
    try:
        lines = Path(described).read_text(errors="replace").partition("\n\n")[0].splitlines()
    except OSError:
        return kind
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    told = {name.strip(): value.strip() for name, value in pairs}
    family, model = told.get("cpu family"), told.get("model")
    parts = [kind, told.get("model name"), family and model and f"model {family}-{model}"]
    return ", ".join(part for part in parts if part)


def missing_packages() -> dict[str, list[str]]:
    """The packages of each extra that are not installed, such as `{"data": ["pillow"]}`.

    An extra that is whole, and those for work on the package itself, are not in it.
    """
    found: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("segloss_ref") or []:
        extra = re.search(r"extra == ['\"](data|plots|sweep)['\"]", line)
        package = re.match(r"[\w.-]+", line)[0]
        if extra and not _is_installed(package):
            found.setdefault(extra[1], []).append(package)
    return found


def _is_installed(package):
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def why_not_compiled() -> str:
    """Why a training step is not compiled here, by XLA or `torch.compile`; "" if it is."""
    return _why_not(lambda: _loss_of_a_step(jit_compile=True))


def why_not_mixed() -> str:
    """Why a layer of half precision does not train here; "" if it does, to the same loss."""
    return _why_not(lambda: _loss_of_a_step(dtype="mixed_float16"))


def _why_not(step):
    try:
        value, wanted = step(), _loss_of_a_step()
    except Exception as error:  # as above
        return _first_line(error)
    # Half precision has three digits.
    return "" if abs(value - wanted) < 1e-2 else f"the loss is {value:.4f}, not {wanted:.4f}"


def _loss_of_a_step(dtype=None, jit_compile=False):
    """The loss of one step of training on `scene`."""
    labels, logits = scene()
    images = keras.Input((*logits.shape[1:], 1))
    layer = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="ones", dtype=dtype)
    model = keras.Model(images, layer(images))
    model.compile("sgd", loss=DiceLoss(from_logits=True), jit_compile=jit_compile)
    mask = (labels > 0)[..., None].astype("float32")
    return float(model.train_on_batch(logits.astype("float32")[..., None], mask))


def _first_line(error):
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0][:200]}"

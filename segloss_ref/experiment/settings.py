"""What one run is: its settings, checked before anything is read or trained."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from segloss_ref.checks import check_choice, check_number, check_seed, check_whole
from segloss_ref.datasets import NAMES, load
from segloss_ref.losses import DeepSupervisionLoss, SegmentationLoss
from segloss_ref.losses.expressions import loss_of

#: What is done to the crops that a network is shown.
AUGMENTATIONS = ("none", "turns", "deformation")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The settings of one run. Equal settings give equal runs.

    Args:
        dataset: one of `segloss_ref.datasets.NAMES`; `None` is `"synthetic/cells"`, or what
            `data_dir` is called.
        data_dir: a folder of your own with `images/` and `masks/` instead, see `load_folder`.
        dataset_options: what `load` takes besides, such as `{"foreground": 0.001}` of tumours.
        loss: the name of a loss class of `segloss_ref`, or an expression that makes a loss, as in
            Python: `"DiceLoss + 0.5 * FocalLoss(gamma=1)"`, `"BlobLoss(DiceLoss)"`. It is always
            given logits. `DeepSupervisionLoss` has an output on every level of the U-Net.
        options: settings of a loss that is named alone, such as `{"beta": 2.0}`.
        seed: of the initial weights and of the crops that the network is shown.
        size: side of the images in pixels; `None` keeps them as they are.
        limit: at most this many images per split; `None` takes all.
        crop: side of the random crops to train on, or one side for each axis of the images.
        augmentation: of the crops: `"turns"` mirrors and turns them by right angles;
            `"deformation"` turns them by any angle besides, scales and bends them; `"none"`.
        foreground_crops: the probability that a crop is placed so that it holds a pixel of the
            foreground (before it is bent). More than 0 helps where it is rare; 0 is the control.
        batch_size: crops per step.
        steps: training steps, in all.
        evaluate_every: steps between two looks at the validation images; `steps` is a multiple of
            it. `None`: the largest such number that is at most an eighth of the steps.
        learning_rate: of Adam, the highest one: it rises to it over a twentieth of the steps, and
            falls to 0 at the end along a cosine. `None`: it is chosen on the validation images,
            with the loss's main setting, by trials of a third of the steps (`tune`).
        seconds: of training; it ends at the first look after them if not at `steps`. A run that
            ends by the clock is another one on another machine.
        model: `"unet"`, or `"package.module:function"`, a function of your own: called with the
            channels of the image, the channels of the output (1 is binary) and the number of
            spatial dimensions, it returns a Keras model, channels last, that returns logits of the
            size of its image. What the images need is done before; layers of your own must be
            registered with Keras.
        width: filters of the U-Net at full resolution.
        depth: how often the U-Net halves the image; `crop` must be divisible by 2**depth.

    Whatever the loss: images are standardised one by one, before crops are taken of them, and by
    the first layer of the model that a run leaves (`Standardize`); the weights at the last step
    are kept.

    Raises:
        TypeError: for a setting that does not exist, or has the wrong type.
        ValueError: for a value that is not allowed.

    Example:
        >>> experiment = Experiment(dataset="nuclei", loss="DiceLoss", options={"smooth": 0.1})
        >>> experiment.make_loss().smooth
        0.1
    """

    dataset: str | None = None
    data_dir: str | None = None
    dataset_options: Mapping = dataclasses.field(default_factory=dict)
    loss: str = "BinaryCrossEntropyLoss"
    options: Mapping = dataclasses.field(default_factory=dict)
    seed: int = 0
    size: int | None = None
    limit: int | None = None
    crop: int | list | tuple = 96
    augmentation: str = "turns"
    foreground_crops: float = 0.0
    batch_size: int = 8
    steps: int = 200
    evaluate_every: int | None = None
    learning_rate: float | None = None
    seconds: float | None = None
    model: str = "unet"
    width: int = 8
    depth: int = 3

    def __post_init__(self) -> None:
        _check_types(self)
        object.__setattr__(self, "dataset", self._name_of_data())
        check_seed("seed", self.seed)
        if self.evaluate_every is None and self.steps > 0:
            object.__setattr__(self, "evaluate_every", _share_of(self.steps))
        self._check_crop()
        check_choice("augmentation", self.augmentation, AUGMENTATIONS)
        check_number("foreground_crops", self.foreground_crops, at_least=0, at_most=1)
        for name in ("batch_size", "steps", "evaluate_every", "width", "depth"):
            check_whole(name, getattr(self, name), at_least=1)
        for name in ("size", "limit"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), at_least=1)
        for name in ("learning_rate", "seconds"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        if self.model == "unet" and any(side % 2**self.depth for side in self._sides()):
            raise ValueError(
                f"`crop` must be divisible by 2**depth = {2**self.depth}. Received: {self.crop}"
            )
        if self.steps % self.evaluate_every:
            raise ValueError(
                "`steps` must be a multiple of `evaluate_every`, so that the last step is "
                f"evaluated. Received: {self.steps} and {self.evaluate_every}"
            )
        if self.dataset_options:
            self._check_dataset_options()
        self._check_loss()
        if self.model != "unet":
            own_model(self.model)
            if self.outputs > 1:
                raise ValueError(
                    "`DeepSupervisionLoss` needs the outputs of the U-Net, `model='unet'`. "
                    f"Received: {self.model!r}"
                )

    def _name_of_data(self):
        if self.data_dir is None:
            name = "synthetic/cells" if self.dataset is None else self.dataset
            return check_choice("dataset", name, NAMES)
        if not Path(self.data_dir).is_dir():
            raise ValueError(f"`data_dir` must be a folder. There is none: {self.data_dir!r}")
        name = Path(self.data_dir).resolve().name
        if self.dataset not in (None, name):
            raise ValueError(
                "Either `dataset` or `data_dir` says what to train on. Received both: "
                f"{self.dataset!r} and {self.data_dir!r}"
            )
        return name

    def _sides(self):
        return [self.crop] if isinstance(self.crop, int) else self.crop

    def _check_crop(self):
        if not isinstance(self.crop, int):
            # As JSON and papermill have it, so that a record holds what the run was given.
            object.__setattr__(self, "crop", list(self.crop))
            if len(self.crop) not in (2, 3):
                raise ValueError(
                    "`crop` must be one side, or one for each of the two or three axes. "
                    f"Received: {self.crop}"
                )
        for side in self._sides():
            check_whole("crop", side, at_least=1)

    def _check_dataset_options(self):
        if self.data_dir is not None:
            raise ValueError(
                "`dataset_options` are for the data sets of `load`; a folder has none. "
                f"Received: {dict(self.dataset_options)}"
            )
        load(self.dataset, "test", size=self.size, limit=1, **self.dataset_options)

    def _check_loss(self):
        loss = self.make_loss()
        if loss.reduction in (None, "none"):
            raise ValueError(
                "The loss of a run must be one number, so its `reduction` must not be None. "
                f"Received: {loss!r}"
            )
        if loss.multilabel:
            raise ValueError(
                "The classes of a data set exclude each other here, so `multilabel` must be False. "
                f"Received: {loss!r}"
            )
        inside = getattr(loss, "losses", ()) or [getattr(loss, "loss", None)]
        if any(isinstance(part, DeepSupervisionLoss) for part in inside):
            raise ValueError(
                "`DeepSupervisionLoss` must stand around the whole loss, which has all outputs: "
                f"'DeepSupervisionLoss(DiceLoss + FocalLoss)'. Received: {self.loss!r}"
            )
        if isinstance(loss, DeepSupervisionLoss) and self.depth == 1:
            raise ValueError(
                "`DeepSupervisionLoss` needs coarser outputs, so `depth` must be at least 2. "
                "Received: 1"
            )

    @property
    def outputs(self) -> int:
        """How many outputs the U-Net has: one, or with deep supervision one on each level."""
        return self.depth if isinstance(self.make_loss(), DeepSupervisionLoss) else 1

    def make_loss(self) -> SegmentationLoss:
        """The loss object; also the check that `loss` and `options` exist."""
        # The U-Net has its channels last, whatever Keras is set to.
        logits = {"from_logits": True, "data_format": "channels_last"}
        return loss_of(self.loss, self.options, **logits)


def own_model(name: str) -> Callable:
    """The function that `"package.module:function"` names.

    Raises:
        ValueError: for a text of another form, a module that cannot be imported, and a name in it
            that is not there or cannot be called.
    """
    where = f"`model` must be 'unet' or 'package.module:function'. Received: {name!r}. "
    module, _, function = name.partition(":")
    if not (module and function):
        raise ValueError(f"{where}There is no function in it.")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where}{error}") from error
    if not callable(found):
        raise ValueError(f"{where}It cannot be called: {found!r}")
    return found


def _share_of(steps):
    """The largest divisor of the steps that is at most an eighth of them."""
    return max(n for n in range(1, max(steps // 8, 1) + 1) if steps % n == 0)


def _check_types(experiment):
    for field in dataclasses.fields(experiment):
        value = getattr(experiment, field.name)
        if field.name == "loss":  # whatever is no loss is told how one is written
            continue
        # An integer is a good learning rate, but True is no number of steps.
        allowed = field.type | int if field.type in (float, float | None) else field.type
        if isinstance(value, bool) or not isinstance(value, allowed):
            name = getattr(field.type, "__name__", field.type)
            raise TypeError(f"`{field.name}` must be of type {name}. Received: {value!r}")

"""What every data set comes as: images, masks, and a card that says what they are.

And what those that are read from files share: how they are split, and the packages they need.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segloss_ref.checks import VOID, check_choice, check_labels, check_whole

#: The names of the splits that each data set has.
SPLITS = ("train", "validation", "test")

#: The side of images in pixels, or one for each of their axes.
Size = int | tuple[int, ...] | list[int]


@dataclass(frozen=True)
class Card:
    """What a data set is, under which terms it may be used, and how to cite it.

    Args:
        title: One line.
        classes: What the classes mean.
        terms: Who may use the data, and for what.
        citation: The works to cite, one a line.
        address: Where the data come from.
        ignore_class: The value in `masks` that is no class, or several such values: their pixels
            belong in no loss and in no score. `None` where every pixel has a class. Besides, -1
            always is such a value.
        notes: How the data are read and split, and what was measured on them; Markdown.
    """

    title: str
    classes: str
    terms: str
    citation: str
    address: str
    ignore_class: int | tuple[int, ...] | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        check_labels("ignore_class", self.ignore_class)


@dataclass(frozen=True, eq=False)  # Arrays have no single truth value to compare by.
class SegmentationData:
    """Images, or volumes, and their masks.

    Args:
        images: float32 in [0, 1], `(n, height, width, channels)`, or
            `(n, depth, height, width, channels)`.
        masks: int32 class maps, as `images` without channels: indices into `class_names`, or
            `card.ignore_class`, or -1 on pixels that are out of the picture.
        instances: int32 as `masks`, 0 outside objects and 1, 2, 3, ... on the objects of an image,
            -1 on pixels that are out of the picture; or `None` where objects are not told apart.
        class_names: The name of each class, by index.
        names: The name of each image.
        card: What the data are.
        background: The class that is no thing to be found, by index, whatever its name; or `None`
            where all classes count alike. Means of scores over classes leave it out.
        groups: What each image was taken from together with others that are like it, by name: the
            field of a tile, the child whose eye it is. Statistics resample groups, not images.
            `None`: each image is its own.

    Raises:
        ValueError: If shapes, types or values are not as above.
    """

    images: np.ndarray
    masks: np.ndarray
    instances: np.ndarray | None
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    card: Card
    background: int | None = None
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim not in (4, 5) or self.images.dtype != np.float32:
            raise ValueError(
                "`images` must be float32 (n, height, width, channels), or (n, depth, height, "
                f"width, channels). Received: {_describe(self.images)}"
            )
        if self.images.size and not (self.images.min() >= 0 and self.images.max() <= 1):
            raise ValueError(
                f"`images` must lie in [0, 1]. Received: {self.images.min()} to {self.images.max()}"
            )
        for field in ("masks", "instances"):
            array = getattr(self, field)
            if array is None and field == "instances":
                continue
            if array.shape != self.images.shape[:-1] or array.dtype != np.int32:
                raise ValueError(
                    f"`{field}` must be int32 {self.images.shape[:-1]}, as the images are "
                    f"{self.images.shape}. Received: {_describe(array)}"
                )
        if len(self.names) != len(self.images):
            raise ValueError(
                f"`names` must name each of the {len(self.images)} images. "
                f"Received: {len(self.names)} names"
            )
        if self.groups is not None and len(self.groups) != len(self.images):
            raise ValueError(
                f"`groups` must give the group of each of the {len(self.images)} images, or be "
                f"None. Received: {len(self.groups)} groups"
            )
        ignored = check_labels("ignore_class", self.card.ignore_class)
        allowed = {*range(len(self.class_names)), *ignored, VOID}
        if not allowed.issuperset(values := np.unique(self.masks).tolist()):
            raise ValueError(
                f"`masks` must hold indices of {self.class_names}, `card.ignore_class` "
                f"({self.card.ignore_class}), or {VOID}. Received the values: {values}"
            )
        if self.instances is not None and self.instances.size and self.instances.min() < VOID:
            raise ValueError(
                f"`instances` must hold 0, 1, 2, ..., or {VOID}. Received: {self.instances.min()}"
            )
        if self.background is not None:
            last = len(self.class_names) - 1
            check_whole("background", self.background, at_least=0, at_most=last)

    def __len__(self) -> int:
        return len(self.images)


def _describe(array):
    return f"{array.dtype} {array.shape}"


def checked_split(split: str) -> str:
    """Returns `split` if it is one of `SPLITS`."""
    return check_choice("split", split, SPLITS)


def spatial_shape(size: Size, dims: int = 2) -> tuple[int, ...]:
    """A side, or one for each of `dims` axes, in pixels, as a tuple."""
    sides = tuple(size) if isinstance(size, tuple | list) else (size,) * dims
    if len(sides) != dims:
        axes = "(height, width)" if dims == 2 else "(depth, height, width)"
        raise ValueError(f"`size` must be a side or {axes}, in pixels. Received: {size!r}")
    return tuple(check_whole("size", side, at_least=1) for side in sides)


def position(name: str) -> float:
    """A fixed place in [0, 1) for a name: its SHA-256, read as a fraction."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:13], 16) / 16**13  # 52 bits: exact


def split_by_share(name: str, shares: Mapping[str, float]) -> str:
    """The split whose interval of [0, 1) holds the name; `shares` are their lengths, in order."""
    ends = np.cumsum(list(shares.values()))
    return list(shares)[np.searchsorted(ends, position(name), side="right")]

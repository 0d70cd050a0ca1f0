"""What every data set comes as: images, masks, and a card that says what they are.

And what those that are read from files share: how they are split, and how they are resized.
"""

import hashlib
from dataclasses import dataclass
from numbers import Integral

import numpy as np

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Card:
    """What a data set is, under which terms it may be used, and how to cite it.

    Args:
        title: One line.
        classes: What the classes mean.
        terms: Who may use the data, and for what.
        citation: The works to cite, one a line.
        address: Where the data come from.
        ignore_class: The value in `masks` that is no class: its pixels belong in no loss and in no
            score. `None` where every pixel has a class.
        notes: How the data are read and split, and what was measured on them; Markdown.
    """

    title: str
    classes: str
    terms: str
    citation: str
    address: str
    ignore_class: int | None = None
    notes: str = ""


@dataclass(frozen=True, eq=False)  # Arrays have no single truth value to compare by.
class SegmentationData:
    """Images and their masks.

    Args:
        images: float32 in [0, 1], `(n, height, width, channels)`.
        masks: int32 class maps, `(n, height, width)`: indices into `class_names`, or
            `card.ignore_class`.
        instances: int32 `(n, height, width)`, 0 outside objects and 1, 2, 3, ... on the objects of
            an image; or `None` where objects are not told apart.
        class_names: The name of each class, by index.
        names: The name of each image.
        card: What the data are.

    Raises:
        ValueError: If shapes, types or values are not as above.
    """

    images: np.ndarray
    masks: np.ndarray
    instances: np.ndarray | None
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    card: Card

    def __post_init__(self):
        if self.images.ndim != 4 or self.images.dtype != np.float32:
            raise ValueError(
                "`images` must be float32 (n, height, width, channels). "
                f"Received: {_describe(self.images)}"
            )
        if self.images.size and not (self.images.min() >= 0 and self.images.max() <= 1):
            raise ValueError(
                f"`images` must lie in [0, 1]. Received: {self.images.min()} to {self.images.max()}"
            )
        for field in ("masks", "instances"):
            array = getattr(self, field)
            if array is None and field == "instances":
                continue
            if array.shape != self.images.shape[:3] or array.dtype != np.int32:
                raise ValueError(
                    f"`{field}` must be int32 {self.images.shape[:3]}, as the images are "
                    f"{self.images.shape}. Received: {_describe(array)}"
                )
        if len(self.names) != len(self.images):
            raise ValueError(
                f"`names` must name each of the {len(self.images)} images. "
                f"Received: {len(self.names)} names"
            )
        allowed = {*range(len(self.class_names)), self.card.ignore_class}
        if not allowed.issuperset(values := np.unique(self.masks).tolist()):
            raise ValueError(
                f"`masks` must hold indices of {self.class_names} or `card.ignore_class` "
                f"({self.card.ignore_class}). Received the values: {values}"
            )

    def __len__(self):
        return len(self.images)


def _describe(array):
    return f"{array.dtype} {array.shape}"


def checked_split(split):
    """Returns `split` if it is one of `SPLITS`."""
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {', '.join(SPLITS)}. Received: {split!r}")
    return split


def checked_count(name, value, *, least):
    """Returns `value` if it is a whole number of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"`{name}` must be a whole number >= {least}. Received: {value!r}")
    return int(value)


def height_and_width(size):
    """A side, or a pair `(height, width)`, in pixels, as a pair."""
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"`size` must be a side or (height, width), in pixels. Received: {size!r}")
    return tuple(checked_count("size", side, least=1) for side in pair)


def position(name):
    """A fixed place in [0, 1) for a name: its SHA-256, read as a fraction."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:13], 16) / 16**13  # 52 bits: exact


def split_by_share(name, shares):
    """The split whose interval of [0, 1) holds the name; `shares` are their lengths, in order."""
    ends = np.cumsum(list(shares.values()))
    return list(shares)[np.searchsorted(ends, position(name), side="right")]


def resized(image, mask, instances, shape):
    """One image and its labels at another `(height, width)`; `shape=None` leaves them as is."""
    if shape is None or shape == mask.shape:
        return image, mask, instances
    from skimage import transform

    image = transform.resize(image, shape, anti_aliasing=True)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, mask.shape)
    )
    nearest = np.ix_(rows, columns)
    if instances is not None:
        instances = renumbered(instances[nearest])
    return image, mask[nearest], instances


def renumbered(instances):
    """The labels 1, 2, 3, ... again, in the same order, where a number is missing."""
    present = np.bincount(instances.ravel()) > 0
    present[0] = False
    return np.cumsum(present)[instances].astype(np.int32)

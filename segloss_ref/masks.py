"""What masks are like, in the few numbers on which the choice of a loss depends."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from segloss_ref.checks import VOID, check_choice, check_labels, check_whole
from segloss_ref.metrics import label_components

_AXES = {2: "(n, height, width)", 3: "(n, depth, height, width)"}

_UNITS = {
    "images": "",
    "foreground": "of all pixels",
    "empty": "of the images",
    "objects": "in an image",
    "size": "pixels",
    "size_spread": "times from the small to the large",
    "touching": "of the objects",
    "width": "pixels",
    "thinness": "lengths over widths",
}


@dataclass(frozen=True)
class Description:
    """What `describe` measures. `print` it.

    Args:
        images: How many there are. Those that are out of the picture everywhere are none.
        foreground: Share of the foreground in all pixels of the picture.
        empty: Share of the images that have no object.
        objects: Mean number of objects in an image.
        size: Median size of an object, in pixels.
        size_spread: How many times as large the 90th percentile of the sizes is as the 10th.
        touching: Share of the objects that touch another one, also at a corner. `None` for binary
            masks, in which objects that touch are one.
        width: In pixels. That of an object is its size over the length of its skeleton, but not
            more than what fits into it, twice the largest distance to the outside, less one.
        thinness: Skeleton length over width: below 1 for what is round, about length over width
            for what is long, hundreds for a net of vessels.

    Width and thinness are medians over the pixels of the foreground, each taken for the object
    that it lies in: a speck counts little.

    With no object in any image, what describes objects is `None`.
    """

    images: int
    foreground: float
    empty: float
    objects: float
    size: float | None
    size_spread: float | None
    touching: float | None
    width: float | None
    thinness: float | None

    def __str__(self) -> str:
        rows = []
        for field in fields(self):
            value = getattr(self, field.name)
            shown = "unknown" if value is None else f"{value:.4g} {_UNITS[field.name]}".rstrip()
            rows.append(f"{field.name:12} {shown}")
        return "\n".join(rows)


def describe(
    masks: ArrayLike,
    *,
    spatial_dims: int = 2,
    ignore_class: int | tuple[int, ...] | None = None,
) -> Description:
    """Measures on masks what a choice among the losses depends on.

    Args:
        masks: Binary masks or, better, instance maps, `(n, height, width)` or, with
            `spatial_dims=3`, `(n, depth, height, width)`: 0 background, each object of an image a
            number of its own, -1 out of the picture (not counted). In binary masks, of booleans or
            of 0 and 1, each connected component is an object. Of a class map, give one class:
            `np.where(masks == -1, -1, masks == 3)`.
        spatial_dims: 2 for images, 3 for volumes.
        ignore_class: Numbers in `masks` that are out of the picture beside -1: one, several, or
            `None`.

    Returns:
        A `Description`.

    Raises:
        ValueError: If `masks` is not such an array, or a setting is not one of those above.

    Example:
        >>> masks = np.zeros((2, 16, 16), int)
        >>> masks[0, 2:5, 2:14], masks[0, 5:8, 2:5] = 1, 2
        >>> print(describe(masks))
        images       2
        foreground   0.08789 of all pixels
        empty        0.5 of the images
        objects      1 in an image
        size         9 pixels
        size_spread  2.846 times from the small to the large
        touching     1 of the objects
        width        3 pixels
        thinness     3.667 lengths over widths
    """
    masks, valid = _checked(masks, spatial_dims, check_labels("ignore_class", ignore_class))
    binary, inside = masks.dtype == bool or masks.max() <= 1, masks > 0
    objects = []
    for image in masks:
        labels = label_components(image > 0, spatial_dims=spatial_dims) if binary else image
        objects += [(*_shape_of(alone), _touches(around)) for alone, around in _objects(labels)]
    sizes, widths, lengths, touching = np.array(objects, float).reshape(-1, 4).T

    def middle(values, **weights):
        if not len(values):
            return None
        return float(np.quantile(values, 0.5, method="inverted_cdf", **weights))

    low, high = np.quantile(sizes, (0.1, 0.9)) if len(sizes) else (1, None)
    return Description(
        images=len(masks),
        foreground=float(inside.sum() / valid.sum()),
        empty=float(1 - inside.reshape(len(masks), -1).any(axis=1).mean()),
        objects=len(objects) / len(masks),
        size=middle(sizes),
        size_spread=None if high is None else float(high / low),
        touching=None if binary or not objects else float(touching.mean()),
        width=middle(widths, weights=sizes),
        thinness=middle(lengths / widths, weights=sizes),
    )


@dataclass(frozen=True)
class Proposal:
    """A loss to try.

    Args:
        name: To show it by.
        loss: As `Experiment` and sweeps read it.
        why: What about the masks speaks for it.
    """

    name: str
    loss: str
    why: str


#: Below this share of the pixels the foreground is rare; above these numbers the others are much.
RARE, TOUCHING, THIN = 0.01, 0.05, 15


def proposals(description: Description, classes: int = 1, *, most: int = 5) -> list[Proposal]:
    """Losses to compare on masks like these, from the chapter "Choosing a loss for your masks".

    Cross-entropy, Dice and their sum come first: what any other loss has to beat. Then those that
    the masks speak for. The limits, such as 1 % for a rare foreground, are round numbers that were
    chosen for the data sets of the book.

    Args:
        description: Of the masks, see `describe`; of several classes, that of all that is no
            background, as one mask.
        classes: Channels of the network: 1 for a mask, else the number of classes.
        most: At most this many, at least 3.

    Returns:
        A list of `Proposal`.

    Raises:
        ValueError: If `classes` or `most` is out of range.

    Example:
        >>> masks = np.zeros((2, 16, 16), int)
        >>> masks[0, 2:5, 2:14], masks[0, 5:8, 2:5] = 1, 2
        >>> [proposal.name for proposal in proposals(describe(masks), most=4)]
        ['cross-entropy', 'Dice', 'Dice + cross-entropy', 'shape-aware']
    """
    check_whole("classes", classes, at_least=1)
    check_whole("most", most, at_least=3)
    entropy = "BinaryCrossEntropyLoss" if classes == 1 else "CategoricalCrossEntropyLoss"
    found = [
        Proposal("cross-entropy", entropy, "the baseline"),
        Proposal("Dice", "DiceLoss", "the other baseline"),
        Proposal("Dice + cross-entropy", "DiceCrossEntropyLoss", "where to begin in any case"),
        *(_for_a_mask(description) if classes == 1 else _for_classes(description)),
    ]
    return found[:most]


def _for_a_mask(d: Description) -> Iterator[Proposal]:
    if d.touching is not None and d.touching > TOUCHING:
        yield Proposal("shape-aware", "ShapeAwareLoss", f"{d.touching:.0%} of the objects touch")
    if d.thinness is not None and d.thinness > THIN:
        loss = "DiceCrossEntropyLoss + 0.5 * ClDiceLoss"
        yield Proposal("Dice + cross-entropy + clDice", loss, "the foreground is thin")
    if d.foreground < RARE:
        why = f"{d.foreground:.2%} of the pixels are foreground"
        yield Proposal("Dice per batch", "DiceLoss(per='batch')", why)
    yield Proposal("focal", "FocalLoss", "easy pixels are many")
    yield Proposal("Tversky", "TverskyLoss", "misses cost more than false alarms")


def _for_classes(d: Description) -> Iterator[Proposal]:
    yield Proposal("focal", "FocalLoss(alpha=None)", "easy pixels are many")
    yield Proposal("generalised Dice", "GeneralizedDiceLoss", "rare classes count as large ones")
    yield Proposal("Lovász", "LovaszSoftmaxLoss", "the Jaccard index itself")


def _objects(labels):
    """For each object its own mask, and the labels around it, other objects' as 2."""
    from scipy import ndimage

    number = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    number += labels.min() > 0  # no background at all: then 0 is no object's number, either
    padded = np.pad(number, 1)
    for k, window in enumerate(ndimage.find_objects(padded), start=1):
        around = padded[tuple(slice(s.start - 1, s.stop + 1) for s in window)]
        alone = around == k
        yield alone, np.where(alone, 1, np.where(around > 0, 2, 0))


def _shape_of(alone):
    """Size, width and length of an object with a margin of background around it."""
    from scipy import ndimage
    from skimage.morphology import skeletonize

    along = skeletonize(alone) > 0
    if not along.any():  # nothing is left of some small volumes
        along = alone
    size, length = alone.sum(), along.sum()
    widest = 2 * ndimage.distance_transform_edt(alone).max() - 1
    return size, min(size / length, widest), length


def _touches(around):
    from scipy import ndimage

    near = ndimage.binary_dilation(around == 1, np.ones((3,) * around.ndim))
    return (around[near] == 2).any()


def _checked(
    masks: ArrayLike, spatial_dims: int, ignored: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The masks, 0 where they are out of the picture, and where they are in it."""
    axes, masks = _AXES[check_choice("spatial_dims", spatial_dims, _AXES)], np.asarray(masks)
    if masks.ndim != spatial_dims + 1 or masks.dtype.kind not in "biu" or masks.shape[-1] == 1:
        raise ValueError(
            f"`masks` must be booleans or integers of shape {axes}: an axis of images first, and "
            "no axis of channels. One image is `masks[None]`, a last axis of one goes with "
            "`masks[..., 0]`, and volumes need `spatial_dims=3`. "
            f"Received: {masks.dtype} {masks.shape}, spatial_dims={spatial_dims}"
        )
    out = np.isin(masks, (VOID, *ignored))
    seen = ~out.reshape(len(masks), -1).all(axis=1) if masks.size else np.zeros(len(masks), bool)
    if not seen.any():
        raise ValueError(
            f"`masks` must be at least one image of {axes}, with pixels in the picture. "
            f"Received: {masks.dtype} {masks.shape}, {out.sum()} pixels out of the picture"
        )
    masks, valid = np.where(out, np.zeros_like(masks), masks)[seen], ~out[seen]
    if masks.dtype.kind == "i" and masks.min() < 0:
        raise ValueError(f"`masks` must hold no value below -1. Received: {masks.min()}")
    if masks.max() == 255 and np.isin(masks, (0, 255)).all():
        raise ValueError(
            "`masks` must be binary or number the objects. Received 0 and 255: give masks > 0, or, "
            "where 255 is out of the picture, `ignore_class=255`"
        )
    return masks, valid

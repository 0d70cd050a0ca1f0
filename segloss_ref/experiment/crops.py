"""Crops: the pieces of standardised images that a network is shown, and the truth of each."""

import keras
import numpy as np

from segloss_ref.augmentation import RandomDeformation
from segloss_ref.checks import VOID
from segloss_ref.datasets import SegmentationData
from segloss_ref.experiment.data import instances_of, is_binary, truth_of
from segloss_ref.experiment.settings import Experiment
from segloss_ref.losses import BlobLoss, SegmentationLoss
from segloss_ref.models import standardized


class Crops(keras.utils.PyDataset):
    """Random crops of standardised images. Batch i of a seed is the same for every loss.

    With `foreground_crops` some are placed so that they hold a pixel of the foreground: of a class
    drawn evenly, in an image drawn evenly among those that have it. Then they are mirrored and
    turned, and bent, as `augmentation` says. The truth reaches as far beyond the crop as the loss
    wants; beyond the image it is -1, and the image is 0, its mean.

    Volumes are mirrored along all axes, and turned and bent in the plane of the last two, all
    slices alike.
    """

    def __init__(
        self,
        data: SegmentationData,
        experiment: Experiment,
        loss: SegmentationLoss,
        epoch: int = 0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.images, self.surround = standardized(data.images), getattr(loss, "surround", 0)
        self.classes = truth_of(data)
        truth = self.classes if loss.truth == "mask" else instances_of(data)
        self.truth, self.numbered = truth[..., None], isinstance(loss, BlobLoss)
        self.experiment, self.epoch, self.outputs = experiment, epoch, outputs
        self.sides = crop_sides(experiment, data.images.ndim - 2)
        self.images_of = images_by_class(data) if experiment.foreground_crops else {}
        self.deform = None
        if experiment.augmentation == "deformation":
            self.deform = deformation(self.sides, self.surround)

    def __len__(self) -> int:
        return self.experiment.evaluate_every

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray | tuple[np.ndarray, ...]]:
        step = self.epoch * len(self) + index
        rng = np.random.default_rng((self.experiment.seed, step))
        pairs = [self._crop(rng) for _ in range(self.experiment.batch_size)]
        images, truth = (np.stack(side) for side in zip(*pairs))
        if self.deform is not None:
            # The draws of a step do not depend on those before it: a run can go on from any.
            self.deform.seed_generator.state.assign([self.experiment.seed, step])
            images, truth = _in_plane(self.deform, images, truth)
        if self.numbered:
            truth = np.stack([numbered(labels) for labels in truth])
        return images, truth if self.outputs == 1 else (truth,) * self.outputs

    def _crop(self, rng):
        image, start = self._place(rng)
        turn = _drawn_turn(rng, self.sides) if self.experiment.augmentation != "none" else None
        # What is bent is cut out twice as large, so that the middle of it has a picture all over.
        plane = 0 if self.deform is None else 1
        margins = [plane * (i >= len(start) - 2) * (n // 2) for i, n in enumerate(self.sides)]
        pair = []
        for pixels, more, fill in ((self.images, 0, 0), (self.truth, self.surround, VOID)):
            first = [x - margin - more for x, margin in zip(start, margins)]
            sides = [n + 2 * (margin + more) for n, margin in zip(self.sides, margins)]
            piece = cut_out(pixels[image], first, sides, fill)
            pair.append(piece if turn is None else _turned(piece, *turn))
        return pair

    def _place(self, rng):
        """The number of an image, and where in it the crop begins."""
        sizes = self.images.shape[1:-1]
        share = self.experiment.foreground_crops
        if not share or rng.random() >= share:
            image = rng.integers(len(self.images))
            return image, [rng.integers(n - side + 1) for n, side in zip(sizes, self.sides)]
        label = rng.choice(list(self.images_of))
        image = rng.choice(self.images_of[label])
        pixel = rng.choice(np.flatnonzero(self.classes[image] == label))
        # All crops that hold the pixel, and lie within the image, are equally likely.
        starts = [
            (max(x - side + 1, 0), min(x, n - side))
            for x, n, side in zip(np.unravel_index(pixel, sizes), sizes, self.sides)
        ]
        return image, [rng.integers(first, last + 1) for first, last in starts]


def crop_sides(experiment: Experiment, spatial_dims: int) -> tuple[int, ...]:
    """The sides of a crop, one for each axis of the images.

    Raises:
        ValueError: if `crop` has another number of sides.
    """
    crop = experiment.crop
    sides = (crop,) * spatial_dims if isinstance(crop, int) else tuple(crop)
    if len(sides) != spatial_dims:
        raise ValueError(
            f"`crop` must be one side, or one for each of the {spatial_dims} axes of "
            f"{experiment.dataset!r}. Received: {crop}"
        )
    return sides


def images_by_class(data: SegmentationData) -> dict[int, np.ndarray]:
    """For each class of the foreground that there is, the numbers of the images that have it."""
    background = 0 if is_binary(data) else data.background
    truth = truth_of(data).reshape(len(data), -1)
    labels = (label for label in range(len(data.class_names)) if label != background)
    found = {label: np.flatnonzero((truth == label).any(axis=1)) for label in labels}
    return {label: images for label, images in found.items() if len(images)}


def deformation(sides: tuple[int, ...], surround: int) -> RandomDeformation:
    """Turns by any angle, scales by 0.8 to 1.25, and bends: by a sixteenth of the smaller side."""
    plane = sides[-2:]
    return RandomDeformation(
        flip="none",
        elastic=min(plane) / 16,
        crop=plane,
        place="middle",
        surround=surround,
        data_format="channels_last",
    )


def cut_out(pixels: np.ndarray, first: list[int], sides: list[int], fill: float) -> np.ndarray:
    """A piece of one image `(*spatial, channels)`, with `fill` where there is no image.

    Args:
        pixels: the image.
        first: where the piece begins along each axis; it may be outside.
        sides: of the piece.
        fill: what stands beyond the edges.
    """
    ends = [(a, a + n, size) for a, n, size in zip(first, sides, pixels.shape)]
    seen = pixels[tuple(slice(max(a, 0), max(min(b, size), 0)) for a, b, size in ends)]
    if seen.shape[:-1] == tuple(sides):
        return seen
    margins = [(max(-a, 0), max(b - size, 0)) for a, b, size in ends]
    dtype = np.result_type(pixels.dtype, np.min_scalar_type(fill))
    return np.pad(seen.astype(dtype), (*margins, (0, 0)), constant_values=fill)


def _drawn_turn(rng, sides):
    """Which axes are mirrored, and whether the last two change places: any of the turns by a
    right angle, mirrored or not, each as likely as any other."""
    mirrored = tuple(np.flatnonzero(rng.integers(2, size=len(sides))))
    return mirrored, sides[-1] == sides[-2] and bool(rng.integers(2))


def _turned(piece, mirrored, swapped):
    piece = np.flip(piece, mirrored)
    return np.swapaxes(piece, -2, -3) if swapped else piece


def _in_plane(deform, images, truth):
    """Deforms images, or volumes slice by slice, all slices of one alike."""
    if images.ndim == 4:
        pair = deform(images, truth, training=True)
        return tuple(keras.ops.convert_to_numpy(x) for x in pair)
    # (batch, depth, height, width, channels) with depth and channels in one axis, and back.
    flat = [np.moveaxis(x, 1, 3) for x in (images, truth)]
    pair = deform(*(x.reshape(*x.shape[:3], -1) for x in flat), training=True)
    pair = (keras.ops.convert_to_numpy(x) for x in pair)
    return tuple(
        np.moveaxis(x.reshape(*x.shape[:3], *wide.shape[3:]), 3, 1) for x, wide in zip(pair, flat)
    )


def numbered(labels: np.ndarray) -> np.ndarray:
    """An instance map with its objects numbered 1, 2, 3, ... without gaps."""
    found = np.unique(labels[labels > 0])
    places = np.searchsorted(found, labels).astype(labels.dtype) + 1
    return np.where(labels > 0, places, labels)

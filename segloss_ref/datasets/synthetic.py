"""Images made by seed: crowded cells, and one small tumour in a large image.

Every image has a random generator of its own, seeded by `(seed, split, index)`. So image 3 is the
same picture whether four images are made or a thousand, and no split shares an image with another.
"""

from functools import lru_cache

import numpy as np

from segloss_ref.datasets.base import (
    SPLITS,
    Card,
    SegmentationData,
    checked_count,
    checked_split,
    height_and_width,
)

COUNTS = {"train": 64, "validation": 16, "test": 32}  # images of a split from `load`

_TERMS = "Made by this package; no terms."
_CITATION = "This package."
_ADDRESS = "segloss_ref.datasets.synthetic"

CELLS_CARD = Card(
    title="Synthetic cells that crowd and touch",
    classes="cell: the inside of every cell, up to where it meets the next one.",
    terms=_TERMS,
    citation=_CITATION,
    address=_ADDRESS,
    notes=(
        "Where two cells meet, their labels differ and no background pixel lies between them. "
        "Cells differ in brightness; the background is uneven; blur and noise are added, and each "
        "image is scaled to [0, 1] by itself."
    ),
)
TUMOURS_CARD = Card(
    title="One small synthetic tumour in a large textured image",
    classes="tumour: the inside of the one bright, irregular object.",
    terms=_TERMS,
    citation=_CITATION,
    address=_ADDRESS,
    notes=(
        "The share of tumour pixels is chosen; it varies from half to one and a half times of "
        "that from image to image. The tissue around is as bright in places, but not as compact."
    ),
)

# Golden ratio: the fractional parts of its multiples fill [0, 1) more evenly than chance does, so
# that means over a few images already come near the chosen value.
_GOLDEN = (1 + 5**0.5) / 2

_RADIUS = (5.5, 9.0)  # of a cell, in pixels
_NEAREST = 0.72  # centres come no nearer than this share of the sum of the radii
_TRIES = 12  # places drawn for a cell before it is given up


def cells(n, size=96, *, seed=0, split="train"):
    """Round and oval cells of varied brightness, crowded and touching, as in fluorescence.

    A cell k is the set of pixels where its elliptic distance `q_k` from its centre is under 1 and
    smaller than that of every other cell. So cells that overlap share a border line.

    Args:
        n: Number of images.
        size: Side, or `(height, width)`, in pixels. A larger image holds more cells.
        seed: A whole number >= 0.
        split: The stream to draw from: `"train"`, `"validation"` or `"test"`.

    Returns:
        A `SegmentationData` of one channel, classes `("background", "cell")`, with instances.

    Raises:
        ValueError: If an argument is not one of the above.

    Example:
        >>> cells(2, size=(64, 128)).instances.shape
        (2, 64, 128)
    """
    shape, streams = _checked(n, size, seed, split)
    images = np.empty((n, *shape, 1), np.float32)
    instances = np.empty((n, *shape), np.int32)
    for i, rng in enumerate(streams):
        instances[i], elliptic = _draw_cells(rng, shape)
        images[i, ..., 0] = _photograph_cells(rng, instances[i], elliptic)
    return SegmentationData(
        images=images,
        masks=(instances > 0).astype(np.int32),
        instances=instances,
        class_names=("background", "cell"),
        names=tuple(f"cells-{split}-{i}" for i in range(n)),
        card=CELLS_CARD,
    )


def tumours(n, size=128, *, foreground=0.01, empty_share=0.0, seed=0, split="train"):
    """One bright tumour of irregular outline in each large textured image.

    The tumour is a star: with `(r, φ)` polar about its centre, its pixels are those with the
    smallest `r / ρ(φ)`, as many as wanted, where `ρ` is a random smooth outline.

    Args:
        n: Number of images.
        size: Side, or `(height, width)`, in pixels.
        foreground: Mean share of tumour pixels, over 0 and at most 0.2, of the images that have a
            tumour. A single image has 0.5 to 1.5 times of it, and never less than one pixel.
        empty_share: Share of images without a tumour, from 0 to 1.
        seed: A whole number >= 0.
        split: The stream to draw from: `"train"`, `"validation"` or `"test"`.

    Returns:
        A `SegmentationData` of one channel, classes `("background", "tumour")`, with instances
        (the same as the masks).

    Raises:
        ValueError: If an argument is not one of the above.

    Example:
        >>> float(tumours(32, foreground=0.002).masks.mean().round(3))
        0.002
    """
    if not 0 < foreground <= 0.2:
        raise ValueError(f"`foreground` must be over 0 and at most 0.2. Received: {foreground}")
    if not 0 <= empty_share <= 1:
        raise ValueError(f"`empty_share` must lie in [0, 1]. Received: {empty_share}")
    shape, streams = _checked(n, size, seed, split)
    # Drawn for the whole split at once, and yet image i does not depend on n.
    start = np.random.default_rng([seed, SPLITS.index(split)]).random(2)
    even = (start[:, None] + np.outer([_GOLDEN, 2**0.5], np.arange(n))) % 1
    areas = foreground * (0.5 + even[0]) * shape[0] * shape[1]
    areas = np.maximum(np.rint(areas).astype(int), 1)
    areas[even[1] < empty_share] = 0

    images = np.empty((n, *shape, 1), np.float32)
    masks = np.empty((n, *shape), np.int32)
    for i, rng in enumerate(streams):
        masks[i] = _draw_tumour(rng, shape, areas[i])
        images[i, ..., 0] = _photograph_tumour(rng, masks[i])
    return SegmentationData(
        images=images,
        masks=masks,
        instances=masks.copy(),
        class_names=("background", "tumour"),
        names=tuple(f"tumours-{split}-{i}" for i in range(n)),
        card=TUMOURS_CARD,
    )


MAKERS = {"synthetic/cells": cells, "synthetic/tumours": tumours}


def loader(maker):
    """How `load` calls `maker`: a split has a fixed number of images, `limit` takes the first."""

    def load(split, size, limit, seed):
        n = COUNTS[split] if limit is None else min(limit, COUNTS[split])
        return maker(n, **({} if size is None else {"size": size}), seed=seed, split=split)

    return load


def _checked(n, size, seed, split):
    checked_count("n", n, least=1)
    checked_count("seed", seed, least=0)
    stream = SPLITS.index(checked_split(split))
    shape = height_and_width(size)
    if min(shape) < 16:
        raise ValueError(f"`size` must be 16 pixels or more a side. Received: {size!r}")
    return shape, (np.random.default_rng([seed, stream, i]) for i in range(n))


def _draw_cells(rng, shape):
    """Labels, and each pixel's elliptic distance from the centre of the nearest cell."""
    centres, radii = _place(rng, shape)
    stretch = np.sqrt(rng.uniform(1.0, 1.6, len(radii)))
    angle = rng.uniform(0, np.pi, len(radii))
    cos, sin = np.cos(angle), np.sin(angle)
    # Pixels are pushed about a little, so that outlines are not perfect ellipses.
    y, x = np.indices(shape) + 0.8 * np.stack([_noise(rng, shape, 2) for _ in range(2)])

    labels = np.zeros(shape, np.int32)
    elliptic = np.full(shape, np.inf)
    half = np.ceil(radii * stretch).astype(int) + 3  # 3: more than a pixel is pushed
    low = np.maximum(centres.astype(int) - half[:, None], 0)
    high = centres.astype(int) + half[:, None] + 1
    for k, (cy, cx) in enumerate(centres):
        window = np.s_[low[k, 0] : high[k, 0], low[k, 1] : high[k, 1]]
        dy, dx = y[window] - cy, x[window] - cx
        distance = np.hypot(
            (cos[k] * dx + sin[k] * dy) / (radii[k] * stretch[k]),
            (cos[k] * dy - sin[k] * dx) / (radii[k] / stretch[k]),
        )
        nearer = distance < elliptic[window]
        elliptic[window][nearer] = distance[nearer]
        labels[window][nearer] = k + 1
    labels[elliptic >= 1] = 0
    return _tidied(labels), elliptic


def _place(rng, shape):
    """Centres and radii; most cells are put beside another one, the rest anywhere."""
    wanted = max(int(shape[0] * shape[1] / 430 * rng.uniform(0.6, 1.25)), 1)
    radii = rng.uniform(*_RADIUS, wanted)
    anywhere = rng.random((wanted, _TRIES, 2)) * shape
    neighbour = rng.random((wanted, _TRIES))
    turn = rng.uniform(0, 2 * np.pi, (wanted, _TRIES))
    away = rng.uniform(_NEAREST, 1.0, (wanted, _TRIES))
    direction = away[..., None] * np.stack([np.sin(turn), np.cos(turn)], axis=-1)
    crowds = rng.random(wanted) < 0.6

    centres = np.empty((wanted, 2))
    placed = 0
    for k in range(wanted):
        reach = radii[k] + radii[:placed]
        places = anywhere[k]
        if crowds[k] and placed:
            beside = (neighbour[k] * placed).astype(int)
            places = centres[beside] + reach[beside, None] * direction[k]
        gaps = ((places[:, None] - centres[:placed]) ** 2).sum(axis=-1)
        free = (gaps >= (_NEAREST * reach) ** 2).all(axis=1)
        free &= ((places >= 0) & (places < shape)).all(axis=1)
        if free.any():
            centres[placed], radii[placed] = places[free.argmax()], radii[k]
            placed += 1
    return centres[:placed], radii[:placed]


def _tidied(labels, smallest=12):
    """Labels 1, 2, 3, ... of cells in one piece; splinters and slivers become background."""
    from skimage import measure

    pieces = measure.label(labels, connectivity=1)  # of equal value
    areas = np.bincount(pieces.ravel())
    cell = np.zeros_like(areas)
    cell[pieces] = labels
    order = np.lexsort((areas, cell))
    largest = order[np.append(np.diff(cell[order]) > 0, True)]  # the last piece of every cell
    kept = largest[(cell[largest] > 0) & (areas[largest] >= smallest)]
    new = np.zeros(len(areas), np.int32)
    new[kept] = np.arange(1, len(kept) + 1)
    return new[pieces]


def _photograph_cells(rng, labels, elliptic):
    from scipy import ndimage

    shape = labels.shape
    brightness = np.concatenate([[0], rng.uniform(0.35, 1.0, labels.max())])
    dome = 1 - 0.45 * np.minimum(elliptic, 1) ** 2  # cells are thickest in the middle
    grain = 1 + 0.12 * _noise(rng, shape, 1.2)  # chromatin
    signal = ndimage.gaussian_filter(brightness[labels] * dome * grain, 1.0)
    haze = 0.15 * ndimage.gaussian_filter(signal, 8)  # light from out of focus
    uneven = 0.12 + 0.03 * _noise(rng, shape, 3)
    photons = rng.uniform(60, 200)
    light = np.maximum(signal + haze + uneven, 0)
    return _stretched(rng.poisson(light * photons) / photons + rng.normal(0, 0.015, shape))


def _draw_tumour(rng, shape, area):
    if area == 0:
        return np.zeros(shape, np.int32)
    height, width = shape
    # Far enough from the edge that a usual tumour is whole.
    margin = np.minimum(1.6 * np.sqrt(area / np.pi), 0.45 * np.array(shape))
    centre = rng.uniform(margin, shape - margin)
    y, x = np.mgrid[:height, :width] - centre[:, None, None]
    angle = np.arctan2(y, x)
    waves = np.arange(2, 7)
    strength = rng.normal(0, 0.5, len(waves)) / waves
    phase = rng.uniform(0, 2 * np.pi, len(waves))
    wobble = sum(s * np.cos(k * angle + p) for s, k, p in zip(strength, waves, phase))
    star = np.hypot(y, x) * np.exp(-wobble)
    chosen = np.argpartition(star, area - 1, axis=None)[:area]
    mask = np.zeros(shape, np.int32)
    mask.flat[chosen] = 1
    return mask


def _photograph_tumour(rng, mask):
    from scipy import ndimage

    shape = mask.shape
    tissue = 0.4 + 0.07 * _noise(rng, shape, 1.3) + 0.04 * _noise(rng, shape, 0.5)
    contrast = rng.uniform(0.25, 0.4) * (1 + 0.2 * _noise(rng, shape, 1.3))
    light = tissue + contrast * ndimage.gaussian_filter(mask.astype(float), 1.0)
    return _stretched(light + rng.normal(0, 0.03, shape))


def _noise(rng, shape, exponent):
    """Noise of mean 0 and deviation 1 whose amplitude falls as frequency^-exponent.

    0 is white; the larger the exponent, the smoother and the broader the patches.
    """
    spectrum = np.fft.rfft2(rng.normal(size=shape)) * _falling(shape, exponent)
    noise = np.fft.irfft2(spectrum, s=shape)
    return noise / noise.std()


@lru_cache(maxsize=16)
def _falling(shape, exponent):
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    frequency[0, 0] = np.inf  # no mean
    return frequency**-exponent


def _stretched(image):
    low, high = image.min(), image.max()
    return ((image - low) / (high - low)).astype(np.float32)

"""Cells that crowd and touch, as under a fluorescence microscope."""

import numpy as np

from segloss_ref.datasets.base import SegmentationData, Size
from segloss_ref.datasets.synthetic.base import (
    checked_streams,
    noise,
    stretched,
    synthetic_card,
)

CELLS_CARD = synthetic_card(
    title="Synthetic cells that crowd and touch",
    classes="cell: the inside of every cell, up to where it meets the next one.",
    notes=(
        "Where two cells meet, their labels differ and no background pixel lies between them. "
        "Cells differ in brightness; the background is uneven; blur and noise are added, and each "
        "image is scaled to [0, 1] by itself."
    ),
)

_RADIUS = (5.5, 9.0)  # of a cell, in pixels
_NEAREST = 0.72  # centres come no nearer than this share of the sum of the radii
_TRIES = 12  # places drawn for a cell before it is given up


def cells(n: int, size: Size = 96, *, seed: int = 0, split: str = "train") -> SegmentationData:
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
    shape, streams = checked_streams(n, size, seed, split)
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
        background=0,
    )


def _draw_cells(rng, shape):
    """Labels, and each pixel's elliptic distance from the centre of the nearest cell."""
    centres, radii = _place(rng, shape)
    stretch = np.sqrt(rng.uniform(1.0, 1.6, len(radii)))
    angle = rng.uniform(0, np.pi, len(radii))
    cos, sin = np.cos(angle), np.sin(angle)
    # Pixels are pushed about a little, so that outlines are not perfect ellipses.
    y, x = np.indices(shape) + 0.8 * np.stack([noise(rng, shape, 2) for _ in range(2)])

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
    grain = 1 + 0.12 * noise(rng, shape, 1.2)  # chromatin
    signal = ndimage.gaussian_filter(brightness[labels] * dome * grain, 1.0)
    haze = 0.15 * ndimage.gaussian_filter(signal, 8)  # light from out of focus
    uneven = 0.12 + 0.03 * noise(rng, shape, 3)
    photons = rng.uniform(60, 200)
    light = np.maximum(signal + haze + uneven, 0)
    return stretched(rng.poisson(light * photons) / photons + rng.normal(0, 0.015, shape))

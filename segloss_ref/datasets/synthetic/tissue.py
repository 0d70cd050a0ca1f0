"""One small tumour in a large textured image."""

import numpy as np

from segloss_ref.datasets.base import SPLITS, SegmentationData, Size
from segloss_ref.datasets.synthetic.base import (
    checked_streams,
    noise,
    stretched,
    synthetic_card,
)

TUMOURS_CARD = synthetic_card(
    title="One small synthetic tumour in a large textured image",
    classes="tumour: the inside of the one bright, irregular object.",
    notes=(
        "The share of tumour pixels is chosen; it varies from half to one and a half times of "
        "that from image to image. The tissue around is as bright in places, but not as compact."
    ),
)

# Golden ratio: the fractional parts of its multiples fill [0, 1) more evenly than chance does, so
# that means over a few images already come near the chosen value.
_GOLDEN = (1 + 5**0.5) / 2


def tumours(
    n: int,
    size: Size = 128,
    *,
    foreground: float = 0.01,
    empty_share: float = 0.0,
    seed: int = 0,
    split: str = "train",
) -> SegmentationData:
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
    shape, streams = checked_streams(n, size, seed, split)
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
        background=0,
    )


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
    tissue = 0.4 + 0.07 * noise(rng, shape, 1.3) + 0.04 * noise(rng, shape, 0.5)
    contrast = rng.uniform(0.25, 0.4) * (1 + 0.2 * noise(rng, shape, 1.3))
    light = tissue + contrast * ndimage.gaussian_filter(mask.astype(float), 1.0)
    return stretched(light + rng.normal(0, 0.03, shape))

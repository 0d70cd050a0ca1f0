"""Probabilities for images of any size: small ones in batches, large ones in tiles."""

import itertools
from collections.abc import Iterator

import keras
import numpy as np

from segloss_ref.models import MirrorToMultiple, Standardize, standardized

#: Pixels that a network is shown at a time. A U-Net of width 8 needs some 300 bytes for each.
PIXELS = 512**2

# Of a network that does not say how often it halves its images.
_MULTIPLE = 32


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Probabilities of a model that returns logits.

    It is shown `PIXELS` at a time: several small images at once, and large ones in tiles that
    overlap, of which only the middle is kept. Tiles begin at multiples of 2**depth of a `unet`, and
    overlap by 8 · 2**depth on each side, which is farther than any pixel of it sees: the result is
    that of the whole image. For another network a depth of 5 is assumed; with more, or with layers
    that see the whole image, the seams may show.

    Args:
        model: a Keras model, channels last. If it has several outputs, the first one counts.
        images: `(n, *spatial, channels)`.

    Returns:
        Those of the foreground, `(n, *spatial)`, where the model has one channel; else those of all
        classes, `(n, *spatial, classes)`; float32.
    """
    found = list(predictions(model, images))
    return np.stack(found) if len(found) != 1 else found[0][None]  # no copy of a large one


def predictions(model: keras.Model, images: np.ndarray) -> Iterator[np.ndarray]:
    """The same image by image, for those who need not have all in memory at once."""
    sides = images.shape[1:-1]
    if len(images) == 0:
        raise ValueError(f"There must be at least one image. Received: shape {images.shape}")
    at_once = max(PIXELS // int(np.prod(sides)), 1)
    places = list(itertools.product(*_tiles(sides, _multiple_of(model))))
    model, prepared = _behind_standardization(model) if len(places) > 1 else (model, None)
    for start in range(0, len(images), at_once):
        some, whole = images[start : start + at_once], None
        some = some if prepared is None else prepared(some)
        for place in places:
            shown = some[(slice(None), *(tile.shown for tile in place))]
            p = _probabilities(model.predict_on_batch(shown))
            if whole is None:
                whole = np.empty((len(some), *sides, *p.shape[1 + len(sides) :]), "float32")
            middle = p[(slice(None), *(tile.middle for tile in place))]
            whole[(slice(None), *(tile.kept for tile in place))] = middle
        yield from whole


class _Tile:
    """One axis of a tile: what is shown of the image, what of that is kept, and where it goes."""

    def __init__(self, start, stop, size, overlap):
        first, last = max(start - overlap, 0), min(stop + overlap, size)
        self.shown, self.kept = slice(first, last), slice(start, stop)
        self.middle = slice(start - first, stop - first)


def _tiles(sides, multiple):
    """The tiles along each axis, a list for each; a small image is one tile."""
    if np.prod(sides) <= PIXELS:
        return [[_Tile(0, side, side, 0)] for side in sides]
    overlap = 8 * multiple
    side = int(PIXELS ** (1 / len(sides)))
    step = max((side - 2 * overlap) // multiple, 1) * multiple
    return [
        [_Tile(start, min(start + step, size), size, overlap) for start in range(0, size, step)]
        for size in sides
    ]


def _multiple_of(model):
    """The number of pixels at whose multiples a tile may begin."""
    found = [layer.multiple for layer in _layers(model) if isinstance(layer, MirrorToMultiple)]
    return max(found, default=_MULTIPLE)


def _layers(model):
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _behind_standardization(model):
    """The network behind `Standardize`, and what does the same to whole images before tiles."""
    for layer in model.layers:
        if isinstance(layer, Standardize):
            return keras.Model(layer.output, model.outputs), standardized
    return model, None


def _probabilities(logits):
    logits = logits[0] if isinstance(logits, list | tuple) else logits
    if logits.shape[-1] == 1:
        return 1 / (1 + np.exp(-np.clip(logits[..., 0], -80, 80)))
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=-1)))

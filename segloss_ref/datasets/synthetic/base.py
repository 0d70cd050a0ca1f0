"""What all synthetic images share: a stream of random numbers for each image, and noise."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from segloss_ref.checks import check_seed, check_whole
from segloss_ref.datasets.base import (
    SPLITS,
    Card,
    Size,
    checked_split,
    spatial_shape,
)


def synthetic_card(title: str, classes: str, notes: str) -> Card:
    """The card of a data set that nobody has to ask for."""
    return Card(
        title=title,
        classes=classes,
        terms="Made by this package; no terms.",
        citation="This package.",
        address="segloss_ref.datasets.synthetic",
        notes=notes,
    )


def checked_streams(
    n: int, size: Size, seed: int, split: str
) -> tuple[tuple[int, ...], Iterator[np.random.Generator]]:
    """Height and width, and a random generator for each of the `n` images."""
    check_whole("n", n, at_least=1)
    check_seed("seed", seed)
    stream = SPLITS.index(checked_split(split))
    shape = spatial_shape(size)
    if min(shape) < 16:
        raise ValueError(f"`size` must be 16 pixels or more a side. Received: {size!r}")
    return shape, (np.random.default_rng([seed, stream, i]) for i in range(n))


def noise(rng: np.random.Generator, shape: tuple[int, ...], exponent: float) -> np.ndarray:
    """Noise of mean 0 and deviation 1 whose amplitude falls as frequency^-exponent.

    0 is white; the larger the exponent, the smoother and the broader the patches.
    """
    spectrum = np.fft.rfft2(rng.normal(size=shape)) * _falling(shape, exponent)
    picture = np.fft.irfft2(spectrum, s=shape)
    return picture / picture.std()


@lru_cache(maxsize=16)
def _falling(shape, exponent):
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    frequency[0, 0] = np.inf  # no mean
    return frequency**-exponent


def stretched(image: np.ndarray) -> np.ndarray:
    """The image as float32, its darkest pixel 0 and its brightest 1."""
    low, high = image.min(), image.max()
    return ((image - low) / (high - low)).astype(np.float32)

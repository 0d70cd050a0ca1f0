"""A melody and a drum kit, mixed: the spectrum over time as an image, and who owns which pixel."""

import numpy as np

from segloss_ref.datasets.base import SegmentationData, Size
from segloss_ref.datasets.synthetic.base import checked_streams, synthetic_card

RATE = 8000  # samples per second
_FLOOR = 60.0  # decibels below the loudest pixel that become black
_PENTATONIC = 2 ** (np.array([0, 2, 4, 7, 9, 12, 14, 16]) / 12)

SPECTROGRAMS_CARD = synthetic_card(
    title="Spectrograms of a synthetic melody with drums",
    classes="melody: pixels where the melody is louder than the drums (the ideal binary mask).",
    notes=(
        "Rows are frequencies from 0 Hz in the first row up to half of the 8000 samples per "
        "second; columns are moments, a quarter of the window apart. Brightness is the level in "
        "decibels, from 60 below the loudest pixel to it. Pixels that are black belong to no "
        "source and are background. `sources` gives the waveforms, `stft` and `istft` go between "
        "a waveform and its spectrum."
    ),
)


def spectrograms(
    n: int, size: Size = 128, *, level: float = 0.0, seed: int = 0, split: str = "train"
) -> SegmentationData:
    """Spectrograms of a melody with drums, and the mask of the pixels that the melody owns.

    With `M` and `D` the short-time spectra of melody and drums, the image is the level of
    `|M + D|` in decibels and the mask is `|M| > |D|`, where the image is not black.

    Args:
        n: Number of images.
        size: Side, or `(frequencies, moments)`. 128 moments of 128 frequencies are a second.
        level: Of the melody over the drums, in decibels of their energies.
        seed: A whole number >= 0.
        split: The stream to draw from: `"train"`, `"validation"` or `"test"`.

    Returns:
        A `SegmentationData` of one channel, classes `("drums", "melody")`, without instances.

    Raises:
        ValueError: If an argument is not one of the above.

    Example:
        >>> spectrograms(2, size=(128, 64)).images.shape
        (2, 128, 64, 1)
    """
    shape, generators = checked_streams(n, size, seed, split)
    _check(shape, level)
    images = np.empty((n, *shape, 1), np.float32)
    masks = np.empty((n, *shape), np.int32)
    for i, rng in enumerate(generators):
        melody, drums = stft(_play(rng, shape, level), shape[0])
        images[i, ..., 0] = picture(melody + drums)
        masks[i] = (np.abs(melody) > np.abs(drums))[:-1] & (images[i, ..., 0] > 0)
    return SegmentationData(
        images=images,
        masks=masks,
        instances=None,
        class_names=("drums", "melody"),
        names=tuple(f"spectrograms-{split}-{i}" for i in range(n)),
        card=SPECTROGRAMS_CARD,
    )


def sources(
    i: int, size: Size = 128, *, level: float = 0.0, seed: int = 0, split: str = "train"
) -> np.ndarray:
    """The waveforms of melody and drums behind image `i` of `spectrograms`, `(2, samples)`.

    Their sum is the mixture. There are `RATE` samples per second. Arguments and errors are those
    of `spectrograms`.

    Example:
        >>> sources(0, size=(128, 64)).shape
        (2, 4096)
    """
    shape, generators = checked_streams(i + 1, size, seed, split)
    _check(shape, level)
    *_, rng = generators
    return _play(rng, shape, level)


def stft(wave: np.ndarray, frequencies: int = 128) -> np.ndarray:
    """The short-time spectrum: Hann windows of twice as many samples, a quarter of that apart.

    Args:
        wave: `(..., samples)`, a whole number of steps of `frequencies // 2` samples.
        frequencies: The rows of the image, less one: the highest frequency is dropped in images.

    Returns:
        complex `(..., frequencies + 1, samples // step)`.
    """
    transform = _transform(frequencies)
    return transform.stft(wave, p0=0, p1=np.shape(wave)[-1] // transform.hop)


def istft(spectrum: np.ndarray) -> np.ndarray:
    """The waveform of a short-time spectrum, `(..., samples)`: the inverse of `stft`.

    It is exact for waveforms that are silent for half a window at both ends, as `sources` are.
    """
    transform = _transform(spectrum.shape[-2] - 1)
    samples = spectrum.shape[-1] * transform.hop
    # SciPy also wants the moments whose windows reach beyond the ends.
    beyond = (-transform.p_min, transform.p_max(samples) - spectrum.shape[-1])
    padded = np.pad(spectrum, [(0, 0)] * (spectrum.ndim - 1) + [beyond])
    return transform.istft(padded, k1=samples)


def picture(spectrum: np.ndarray) -> np.ndarray:
    """The level in decibels, as an image: 1 at the loudest pixel, 0 at 60 decibels below it."""
    power = np.abs(spectrum[..., :-1, :]) ** 2
    level = 10 * np.log10(power / power.max() + 1e-30)
    return np.maximum(1 + level / _FLOOR, 0).astype(np.float32)


def _check(shape, level):
    if shape[0] % 2:
        raise ValueError(f"`size` must have an even number of frequencies. Received: {shape}")
    if not -60 <= level <= 60:
        raise ValueError(f"`level` must lie in [-60, 60] decibels. Received: {level}")


def _transform(frequencies):
    from scipy import signal

    window = signal.windows.hann(2 * frequencies, sym=False)
    return signal.ShortTimeFFT(window, hop=frequencies // 2, fs=RATE)


def _play(rng, shape, level):
    """Melody and drums, the first `level` decibels louder, silent at both ends."""
    samples, silence = shape[1] * (shape[0] // 2), shape[0]
    length = max(samples - 2 * silence, 1)
    both = np.stack([_melody(rng, length), _drums(rng, length)])
    both *= np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / 80)  # fades
    both /= np.sqrt((both**2).mean(axis=-1, keepdims=True)) + 1e-12
    both *= 0.1 * 10 ** (np.array([[level], [-level]]) / 40)
    return np.pad(both, ((0, 0), (silence, samples - silence - length)))[:, :samples]


def _melody(rng, length):
    """Notes of a pentatonic scale, one after the other, each with eight harmonics."""
    wave = np.zeros(length)
    base, start = rng.uniform(180, 300), 0
    while start < length:
        beats = rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15])
        time = np.arange(min(int(0.14 * beats * RATE), length - start)) / RATE
        pitch = base * rng.choice(_PENTATONIC)
        vibrato = rng.uniform(0, 0.008) * np.sin(2 * np.pi * 5.5 * time) / 5.5
        envelope = np.minimum(time / 0.01, 1) * np.exp(-time / rng.uniform(0.15, 0.5))
        for k in range(1, 9):
            if k * pitch * 1.02 < RATE / 2:
                phase = 2 * np.pi * k * pitch * (time + vibrato) + rng.uniform(0, 2 * np.pi)
                tone = rng.uniform(0.5, 1) * k**-1.1 * envelope * np.sin(phase)
                wave[start : start + len(time)] += tone
        start += len(time)
    return wave


def _drums(rng, length):
    """A bass drum, a snare and a hi-hat on a grid of beats, and a little hiss."""
    wave = 0.004 * rng.normal(size=length)
    beat = int(rng.uniform(0.11, 0.15) * RATE)
    for number, start in enumerate(range(rng.integers(beat), length, beat)):
        time = np.arange(min(int(0.25 * RATE), length - start)) / RATE
        hiss = rng.normal(size=len(time))
        hit = 0.35 * np.exp(-time / 0.02) * np.diff(hiss, prepend=0)  # bright: the hi-hat
        if number % 4 == 0 or rng.random() < 0.15:
            glide = 50 * time + 60 * 0.05 * (1 - np.exp(-time / 0.05))  # from 110 down to 50 Hz
            hit = hit + 2.2 * np.exp(-time / 0.09) * np.sin(2 * np.pi * glide)
        if number % 4 == 2:
            hit = hit + 0.8 * np.exp(-time / 0.05) * hiss
        wave[start : start + len(time)] += rng.uniform(0.6, 1) * hit
    return wave

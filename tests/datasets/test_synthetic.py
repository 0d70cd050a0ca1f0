"""Synthetic images: reproducible, of the promised shares, and with cells that touch."""

import numpy as np
import pytest
from scipy import ndimage

from segloss_ref.datasets import load
from segloss_ref.datasets.synthetic import COUNTS, cells, sound, spectrograms, streets, tumours

MAKERS = pytest.mark.parametrize("maker", [cells, tumours, streets, spectrograms])


@pytest.fixture(scope="module")
def many_cells():
    return cells(100)


def touching_pairs(labels):
    """Pairs of different labels with pixels side by side."""
    pairs = set()
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        meet = (one != other) & (one > 0) & (other > 0)
        pairs |= {(min(p), max(p)) for p in zip(one[meet].tolist(), other[meet].tolist())}
    return pairs


def test_touching_pairs():
    labels = np.array([[1, 1, 2], [3, 0, 2], [3, 0, 4]])
    # 1-2 in the top row; 1-3 and 2-4 in the columns; 3 and 4 have background between.
    assert touching_pairs(labels) == {(1, 2), (1, 3), (2, 4)}


@pytest.mark.parametrize(("split", "n"), COUNTS.items())
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cells", (96, 96, 1)),
        ("tumours", (128, 128, 1)),
        ("streets", (96, 144, 3)),
        ("spectrograms", (128, 128, 1)),
    ],
)
def test_load(name, shape, split, n):
    data = load(f"synthetic/{name}", split)
    assert data.images.shape == (n, *shape)
    assert data.names == tuple(f"{name}-{split}-{i}" for i in range(n))
    assert len(load(f"synthetic/{name}", split, limit=3)) == 3
    assert len(load(f"synthetic/{name}", split, limit=1000, size=32)) == n  # at most


@MAKERS
def test_an_image_depends_on_seed_split_and_index_alone(maker):
    few, more = maker(3, 48, seed=5), maker(6, 48, seed=5)
    np.testing.assert_array_equal(few.images, more.images[:3])
    np.testing.assert_array_equal(few.masks, more.masks[:3])
    if few.instances is not None:
        np.testing.assert_array_equal(few.instances, more.instances[:3])
    pictures = [
        image.tobytes()
        for seed in (0, 5)
        for split in COUNTS
        for image in maker(4, 48, seed=seed, split=split).images
    ]
    assert len(set(pictures)) == 2 * 3 * 4


@MAKERS
def test_size_is_height_and_width(maker):
    data = maker(2, (40, 64))
    assert data.images.shape[:3] == (2, 40, 64)
    if maker is streets:
        return  # an exposure of its own, and things that are no instance
    assert data.images.min() == 0
    assert data.images.max() == 1
    if data.instances is not None:
        np.testing.assert_array_equal(data.masks, data.instances > 0)


def test_cells_are_whole_and_numbered(many_cells):
    for labels in many_cells.instances:
        count = labels.max()
        assert set(np.unique(labels)) == set(range(count + 1))
        for cell in range(1, count + 1):
            assert ndimage.label(labels == cell)[1] == 1  # in one piece
            assert (labels == cell).sum() >= 12


def test_cells_crowd(many_cells):
    assert 0.25 < many_cells.masks.mean() < 0.4
    shares = [
        len({cell for pair in touching_pairs(labels) for cell in pair}) / labels.max()
        for labels in many_cells.instances
    ]
    assert 0.5 < np.mean(shares) < 0.95
    # What a binary mask cannot tell: cells that touch make one component.
    components = sum(ndimage.label(labels > 0)[1] for labels in many_cells.instances)
    assert components < 0.6 * many_cells.instances.max(axis=(1, 2)).sum()


def test_cells_are_brighter_but_not_by_a_threshold(many_cells):
    images, inside = many_cells.images[..., 0], many_cells.masks == 1
    assert images[inside].mean() > 2 * images[~inside].mean()
    assert np.quantile(images[inside], 0.02) < np.quantile(images[~inside], 0.98)


@pytest.mark.parametrize(("foreground", "size"), [(0.001, 256), (0.01, 128), (0.1, 64)])
@pytest.mark.parametrize("seed", [0, 1])
def test_tumours_have_the_chosen_share(foreground, size, seed):
    shares = tumours(16, size, foreground=foreground, seed=seed).masks.mean(axis=(1, 2))
    assert shares.mean() == pytest.approx(foreground, rel=0.05)
    one_pixel = 1 / size**2
    assert shares.min() >= 0.5 * foreground - one_pixel
    assert shares.max() <= 1.5 * foreground + one_pixel
    assert shares.std() > 0.2 * foreground  # uniform: 0.289


def test_tumours_are_one_piece_and_bright():
    data = tumours(50)
    eight = np.ones((3, 3))
    assert all(ndimage.label(mask, eight)[1] == 1 for mask in data.masks)
    inside, outside = (data.images[..., 0][data.masks == value] for value in (1, 0))
    assert inside.mean() > outside.mean() + 0.2
    # But no threshold does: the one that finds 80 % finds more of the tissue than of the tumours.
    threshold = np.quantile(inside, 0.2)
    assert (outside > threshold).sum() > (inside > threshold).sum()


def test_tumours_never_vanish_unless_asked():
    assert (tumours(20, 16, foreground=0.001).masks.sum(axis=(1, 2)) == 1).all()  # 0.256 pixels
    assert tumours(5, 16, empty_share=1.0).masks.sum() == 0
    empty = tumours(60, 32, empty_share=0.25).masks.sum(axis=(1, 2)) == 0
    assert empty.mean() == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"foreground": 0}, r"`foreground` must be over 0 and at most 0.2. Received: 0"),
        ({"foreground": 1.0}, r"`foreground` must be over 0 and at most 0.2. Received: 1.0"),
        ({"empty_share": -0.1}, r"`empty_share` must lie in \[0, 1\]. Received: -0.1"),
        ({"n": 0}, r"`n` must be a whole number, at least 1. Received: 0"),
        (
            {"split": "all"},
            r"`split` must be one of .*'test'. Received: 'all'",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tumours(**{"n": 1, **arguments})


@pytest.fixture(scope="module")
def many_streets():
    return streets(40)


def test_streets_have_rare_classes(many_streets):
    share = dict(
        zip(many_streets.class_names, np.bincount(many_streets.masks.ravel(), minlength=8))
    )
    pixels = many_streets.masks.size
    assert min(share["building"], share["road"]) > 0.1 * pixels
    assert 0.002 * pixels < min(share["person"], share["pole"])
    assert max(share["person"], share["pole"]) < 0.01 * pixels


def test_streets_number_cars_persons_and_poles(many_streets):
    kinds = {many_streets.class_names.index(name) for name in ("car", "person", "pole")}
    for classes, things in zip(many_streets.masks, many_streets.instances):
        assert set(np.unique(things)) == set(range(things.max() + 1))
        np.testing.assert_array_equal(things > 0, np.isin(classes, list(kinds)))
        for thing in range(1, things.max() + 1):
            assert len(np.unique(classes[things == thing])) == 1


def test_streets_are_scaled_and_not_cut():
    small, large = (streets(1, (48 * k, 72 * k), seed=3).masks[0] for k in (1, 2))
    assert (large[::2, ::2] == small).mean() > 0.8


@pytest.mark.parametrize("size", [(128, 128), (64, 200)])
def test_a_spectrum_leads_back_to_its_sound(size):
    waves = sound.sources(2, size)
    assert waves.shape == (2, size[1] * size[0] // 2)
    spectra = sound.stft(waves, size[0])
    assert spectra.shape == (2, size[0] + 1, size[1])
    np.testing.assert_allclose(sound.istft(spectra), waves, atol=1e-12)


def test_sources_are_those_of_the_image():
    data = spectrograms(3, (64, 96), level=-5.0, seed=4, split="test")
    melody, drums = sound.stft(sound.sources(2, (64, 96), level=-5.0, seed=4, split="test"), 64)
    np.testing.assert_array_equal(data.images[2, ..., 0], sound.picture(melody + drums))
    louder = (np.abs(melody) > np.abs(drums))[:-1]
    np.testing.assert_array_equal(data.masks[2] == 1, louder & (data.images[2, ..., 0] > 0))


@pytest.mark.parametrize("level", [-10.0, 0.0, 10.0])
def test_the_level_of_the_melody(level):
    melody, drums = sound.sources(0, level=level)
    assert 10 * np.log10((melody**2).sum() / (drums**2).sum()) == pytest.approx(level, abs=1e-6)


def test_the_ideal_mask_separates():
    """What the mask keeps of the mixture is the melody, mostly."""
    melody, drums = waves = sound.sources(1, (128, 256))
    spectra = sound.stft(waves)
    mask = np.abs(spectra[0]) > np.abs(spectra[1])
    error = sound.istft(mask * spectra.sum(axis=0)) - melody
    assert 10 * np.log10((drums**2).sum() / (error**2).sum()) > 10


def test_wrong_settings_of_spectrograms():
    with pytest.raises(ValueError, match=r"even number of frequencies. Received: \(33, 64\)"):
        spectrograms(1, (33, 64))
    with pytest.raises(
        ValueError, match=r"`level` must lie in \[-60, 60\] decibels. Received: nan"
    ):
        spectrograms(1, level=float("nan"))

"""Facts about the real data, measured apart from this package when the archives were put together.

They are the numbers on the cards, most to three digits.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from segloss_ref.datasets import SPLITS, load, public

NUCLEI = pytest.mark.requires_data("nuclei")
MEMBRANES = pytest.mark.requires_data("membranes")
STREETS = pytest.mark.requires_data("streets")
EIGHT = np.ones((3, 3))

_loaded = {}


@pytest.fixture
def whole():
    """Loads all splits of a data set, once: `whole(name)` has each of them, and all together."""

    def whole(name):
        if name not in _loaded:
            splits = {split: load(name, split) for split in SPLITS}
            fields = {
                field: np.concatenate([getattr(data, field) for data in splits.values()])
                for field in ("masks", "names")
            }
            _loaded[name] = SimpleNamespace(splits=splits, **fields)
        return _loaded[name]

    return whole


@pytest.mark.parametrize(
    ("name", "counts", "shape", "class_names"),
    [
        pytest.param(
            "nuclei", (143, 29, 48), (256, 256, 1), ("background", "nucleus"), marks=NUCLEI
        ),
        pytest.param("membranes", (18, 4, 8), (512, 512, 1), ("cell", "membrane"), marks=MEMBRANES),
        pytest.param(
            "streets",
            (46, 13, 30),
            (360, 480, 3),
            "sky building pole road pavement tree sign fence car pedestrian bicyclist".split(),
            marks=STREETS,
        ),
    ],
)
def test_splits(whole, name, counts, shape, class_names):
    data = whole(name)
    assert tuple(len(split) for split in data.splits.values()) == counts
    assert len(set(data.names)) == sum(counts)  # no image twice
    for split in data.splits.values():
        assert split.images.shape[1:] == shape
        assert split.class_names == tuple(class_names)
        assert (split.instances is None) == (name == "streets")


@NUCLEI
def test_nuclei_shares(whole):
    shares = whole("nuclei").masks.mean(axis=(1, 2))
    extremes = [shares.mean(), shares.min(), shares.max()]
    assert np.round(extremes, 3).tolist() == [0.101, 0.003, 0.378]


@NUCLEI
def test_nuclei_instances(whole):
    from scipy import ndimage

    labels = np.concatenate([d.instances for d in whole("nuclei").splits.values()])
    counts = labels.max(axis=(1, 2))
    assert (counts.sum(), counts.min(), np.median(counts), counts.max()) == (8100, 2, 32.5, 101)
    components = np.array([ndimage.label(image > 0, EIGHT)[1] for image in labels])
    assert (components.sum(), (components == counts).sum()) == (6894, 6)
    np.testing.assert_array_equal(whole("nuclei").masks, labels > 0)

    pairs = [touching_pairs(image) for image in labels]
    assert sum(map(len, pairs)) == 1274
    assert sum(map(bool, pairs)) == 214
    touched = sum(len({label for pair in image for label in pair}) for image in pairs)
    assert round(touched / 8100, 3) == 0.256

    areas = np.concatenate([np.bincount(image.ravel())[1:] for image in labels])
    assert (len(areas), areas.min(), areas.max()) == (8100, 21, 1932)


def touching_pairs(labels):
    """Pairs of labels that have pixels among each other's 8 neighbours."""
    pairs = set()
    for one, other in (
        (labels[1:], labels[:-1]),
        (labels[:, 1:], labels[:, :-1]),
        (labels[1:, 1:], labels[:-1, :-1]),
        (labels[1:, :-1], labels[:-1, 1:]),
    ):
        meet = (one != other) & (one > 0) & (other > 0)
        pairs |= {(min(p), max(p)) for p in zip(one[meet].tolist(), other[meet].tolist())}
    return pairs


@NUCLEI
def test_nuclei_are_scaled_one_by_one(whole):
    for data in whole("nuclei").splits.values():
        assert (data.images.min(axis=(1, 2, 3)) == 0).all()
        assert (data.images.max(axis=(1, 2, 3)) == 1).all()
        inside = data.images[..., 0][data.masks == 1].mean()
        assert inside > 3 * data.images[..., 0][data.masks == 0].mean()


@NUCLEI
def test_nuclei_split_is_fixed_by_the_name(whole):
    """The SHA-256 of the id as a fraction: below 0.60, below 0.75, or above."""
    for split, (low, high) in {
        "train": (0, 0.60),
        "validation": (0.60, 0.75),
        "test": (0.75, 1),
    }.items():
        places = [public._position(name) for name in whole("nuclei").splits[split].names]
        assert places == sorted(places)
        assert all(low <= place < high for place in places)
    # printf %s 00071198d059ba7f5914a526d124d28e6d010c92466da21d4a04cd5413362552 | sha256sum
    name = "00071198d059ba7f5914a526d124d28e6d010c92466da21d4a04cd5413362552"
    assert public._position(name) == pytest.approx(0xA2C1B506 / 2**32, abs=1e-9)
    assert name in whole("nuclei").splits["validation"].names


@NUCLEI
@pytest.mark.parametrize("size", [None, 128, (96, 64)])
def test_limit_gives_the_first_images_of_the_split(whole, size):
    two, three = (load("nuclei", "test", limit=n, size=size) for n in (2, 3))
    assert two.names == whole("nuclei").splits["test"].names[:2]
    np.testing.assert_array_equal(two.images, three.images[:2])
    np.testing.assert_array_equal(two.instances, three.instances[:2])


@NUCLEI
def test_no_nucleus_is_lost_at_half_the_size(whole):
    native = whole("nuclei").splits["validation"]
    half = load("nuclei", "validation", size=128)
    np.testing.assert_array_equal(
        half.instances.max(axis=(1, 2)), native.instances.max(axis=(1, 2))
    )
    assert half.masks.mean() == pytest.approx(native.masks.mean(), rel=0.01)
    np.testing.assert_allclose(half.images.mean(), native.images.mean(), rtol=0.01)


@MEMBRANES
def test_membranes(whole):
    data = whole("membranes")
    share = dict(zip(data.names, data.masks.mean(axis=(1, 2))))
    shares = np.array(list(share.values()))
    assert (shares.mean().round(3), np.median(shares).round(3)) == (0.220, 0.220)
    assert min(share, key=share.get) == "29"
    assert max(share, key=share.get) == "5"
    assert (share["29"].round(3), share["5"].round(3)) == (0.168, 0.270)
    halves = [np.mean([share[str(i)] for i in half]) for half in (range(15), range(15, 30))]
    assert np.round(halves, 3).tolist() == [0.235, 0.204]

    grey = np.concatenate([d.images[..., 0] for d in data.splits.values()]) * 255
    assert grey[data.masks == 1].mean().round() == 85
    assert grey[data.masks == 0].mean().round() == 138


@MEMBRANES
def test_membrane_sections_of_the_splits_are_apart(whole):
    sections = {s: sorted(map(int, d.names)) for s, d in whole("membranes").splits.items()}
    assert sections == {
        "train": [*range(9), *range(21, 30)],
        "validation": [9, 10, 19, 20],
        "test": [*range(11, 19)],
    }
    distances = np.abs(np.subtract.outer(sections["train"], sections["test"]))
    assert distances.min() > 2
    for of_split in sections.values():  # as many of each half
        assert sum(i < 15 for i in of_split) == len(of_split) / 2


@MEMBRANES
def test_cells_of_membranes_are_derived(whole):
    from scipy import ndimage

    data = whole("membranes").splits["validation"]
    np.testing.assert_array_equal(data.instances > 0, data.masks == 0)
    for labels in data.instances:
        # One piece each, and no two of them side by side.
        pieces, count = ndimage.label(labels > 0)
        np.testing.assert_array_equal(labels, pieces)
        assert count == labels.max()
    small = load("membranes", "validation", size=128)
    assert small.instances.max(axis=(1, 2)).sum() > 0.95 * data.instances.max(axis=(1, 2)).sum()


@STREETS
def test_streets(whole):
    data = whole("streets")
    labelled = (data.masks != 11).mean(axis=(1, 2))
    # The mean: 14,864,160 labelled of 15,379,200 pixels, 0.96651.
    extremes = [labelled.mean(), labelled.min(), labelled.max()]
    assert np.round(extremes, 3).tolist() == [0.967, 0.871, 0.999]
    assert data.splits["train"].card.ignore_class == 11
    # Per cent of pixels of the classes 0 to 11, from the table on the card.
    expected = {
        "train": [16.92, 24.25, 0.91, 31.22, 5.01, 9.28, 0.95, 1.21, 6.00, 0.63, 0.33, 3.32],
        "validation": [9.27, 26.14, 0.53, 28.83, 8.74, 16.35, 0.78, 3.07, 1.80, 0.67, 2.20, 1.62],
        "test": [16.40, 26.37, 1.19, 25.13, 9.31, 10.39, 0.90, 1.19, 4.34, 0.56, 0.07, 4.14],
    }
    for split, shares in expected.items():
        masks = data.splits[split].masks
        measured = 100 * np.bincount(masks.ravel(), minlength=12) / masks.size
        np.testing.assert_allclose(measured, shares, atol=0.0051)
    train = data.splits["train"].masks
    assert [(train == c).any(axis=(1, 2)).sum() for c in (7, 10)] == [20, 24]


@pytest.mark.parametrize("name", public.NAMES)
def test_digests_and_cards_belong_together(name):
    """No archive needed: every split has images, and all of their files have digests."""
    settings, digests = public._settings(name), public._digests(name)
    samples = list(public._READERS[name][0](digests, settings))
    assert {sample.split for sample in samples} == set(SPLITS)
    assert len({sample.name for sample in samples}) == len(samples)
    used = {file for sample in samples for file in (sample.image, *sample.masks)}
    assert used | ({"LICENSE"} & set(digests)) == set(digests)
    assert all(len(digest) == 64 for digest in digests.values())
    for text in ("title", "classes", "terms", "citation", "notes"):
        assert settings["card"][text].strip()

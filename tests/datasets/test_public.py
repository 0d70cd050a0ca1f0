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
MORTAR = pytest.mark.requires_data("mortar")
VESSELS = pytest.mark.requires_data("vessels")
CRACKS = pytest.mark.requires_data("cracks")
HIPPOCAMPUS = pytest.mark.requires_data("hippocampus")
EIGHT = np.ones((3, 3))

# What digest lists have besides the images, or for other values of the options.
NOT_READ = {
    "mortar": ("LICENSE", "results/", "dataset/"),
    "vessels": ("CHASEDB1/",),
    "hippocampus": (
        "data/TrainingSet/images/.DS_Store",
        "data/TrainingSet/images/hippocampus_118",
    ),
}

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
            "nuclei", (142, 25, 53), (256, 256, 1), ("background", "nucleus"), marks=NUCLEI
        ),
        pytest.param("membranes", (18, 4, 8), (512, 512, 1), ("cell", "membrane"), marks=MEMBRANES),
        pytest.param(
            "streets",
            (46, 13, 30),
            (360, 480, 3),
            "sky building pole road pavement tree sign fence car pedestrian bicyclist".split(),
            marks=STREETS,
        ),
        pytest.param("mortar", (50, 20, 50), (512, 512, 3), ("brick", "mortar"), marks=MORTAR),
        pytest.param("vessels", (16, 4, 8), (960, 999, 3), ("background", "vessel"), marks=VESSELS),
        pytest.param("cracks", (156, 30, 54), (224, 224, 3), ("background", "crack"), marks=CRACKS),
        pytest.param(
            "hippocampus",
            (164, 45, 51),
            (40, 56, 32, 1),
            ("background", "anterior", "posterior"),
            marks=HIPPOCAMPUS,
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
        assert (split.instances is None) == (name not in ("nuclei", "membranes"))


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
def test_nuclei_split_is_fixed_by_the_field(whole):
    """The SHA-256 of its name as a fraction: below 0.60, below 0.75, or above."""
    for split, (low, high) in {
        "train": (0, 0.60),
        "validation": (0.60, 0.75),
        "test": (0.75, 1),
    }.items():
        data = whole("nuclei").splits[split]
        assert all(low <= public._position(field) < high for field in data.groups)
        places = [public._position(name) for name in data.names]
        assert places == sorted(places)  # the order is that of the images' own hashes
    # printf %s 00071198 | sha256sum
    assert public._position("00071198") == pytest.approx(0x9ADD13F2 / 2**32, abs=1e-9)
    name = "00071198d059ba7f5914a526d124d28e6d010c92466da21d4a04cd5413362552"
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


GROUPS = {
    "nuclei": (60, 9, 22),
    "membranes": (10, 2, 4),
    "streets": (3, 1, 2),
    "vessels": (8, 2, 4),
    "cracks": (40, 16, 20),
    "hippocampus": (111, 26, 33),
}


@pytest.mark.parametrize("name", public.NAMES)
def test_groups(name):
    """No archive needed: which image is of which group, and that splits part none."""
    samples = public.samples_of(name)
    of_split = {s: {i.group for i in samples if i.split == s} for s in SPLITS}
    if name == "mortar":
        assert of_split == {split: {None} for split in SPLITS}
        return
    assert tuple(len(groups) for groups in of_split.values()) == GROUPS[name]
    together = sum(map(len, of_split.values())) - len(set.union(*of_split.values()))
    # The authors' split of streets has two drives on two sides: 0016E5 and 0001TP.
    assert together == (2 if name == "streets" else 0)


@NUCLEI
def test_groups_follow_the_limit():
    data = load("nuclei", "test", limit=5)
    group_of = {s.name: s.group for s in public.samples_of("nuclei")}
    assert data.groups == tuple(group_of[name] for name in data.names)


def test_members_of_groups():
    """From the names, by hand."""
    members = {}
    for name in ("membranes", "vessels", "cracks", "hippocampus", "streets"):
        for sample in public.samples_of(name):
            members.setdefault((name, sample.group), []).append(sample.name)
    assert members["membranes", "11-12"] == ["11", "12"]
    assert members["membranes", "8-8"] == ["8"]
    assert members["vessels", "14"] == ["14L", "14R"]
    assert sorted(members["cracks", "c_38"]) == [
        f"c_38_{i}" for i in ("196", "197", "198", "252", "253")
    ]
    assert members["hippocampus", "002"] == ["003", "004"]
    assert members["hippocampus", "001"] == ["001"]
    assert len(members["streets", "Seq05VD"]) == 22


@MORTAR
def test_labels_of_mortar(whole):
    accurate = whole("mortar").splits
    shares = {"accurate": (0.304, 0.301), "noisy": (0.132, 0.152), "pseudo": (0.356, 0.350)}
    for labels, expected in shares.items():
        for split, share in zip(("train", "validation"), expected):
            data = load("mortar", split, labels=labels, limit=None)
            assert data.masks.mean() == pytest.approx(share, abs=5e-4)
            assert data.names == accurate[split].names
    test = load("mortar", "test", labels="noisy", limit=4)
    np.testing.assert_array_equal(test.masks, accurate["test"].masks[:4])
    assert accurate["test"].masks.mean().round(3) == 0.286


@VESSELS
def test_observers_of_vessels(whole):
    first = whole("vessels").splits
    second = {split: load("vessels", split, observer=2) for split in SPLITS}
    dice = []
    for split, share in zip(SPLITS, (0.065, 0.066, 0.068)):
        a, b = first[split].masks, second[split].masks
        assert b.mean() == pytest.approx(share, abs=6e-4)
        np.testing.assert_array_equal(first[split].images, second[split].images)
        both = load("vessels", split, observer="both")
        for k, alone in (("1", first[split]), ("2", second[split])):
            of = {name: i for i, name in enumerate(both.names)}
            rows = [of[f"{name} {k}"] for name in alone.names]
            np.testing.assert_array_equal(both.masks[rows], alone.masks)
            np.testing.assert_array_equal(both.images[rows], alone.images)
            assert [both.groups[row] for row in rows] == list(alone.groups)
        assert len(both) == 2 * len(a)
        dice += [2 * (x & y).sum() / (x.sum() + y.sum()) for x, y in zip(a, b)]
    assert np.round([np.mean(dice), min(dice), max(dice)], 3).tolist() == [0.777, 0.739, 0.827]
    shares = whole("vessels").masks.mean(axis=(1, 2))
    assert np.round([shares.mean(), shares.min(), shares.max()], 3).tolist() == [
        0.069,
        0.051,
        0.085,
    ]


@VESSELS
def test_vessels_lie_on_their_image(whole):
    """They are darker than what lies within ten pixels; mirrored or shifted masks would not be."""
    from scipy import ndimage

    def darker(image, mask):
        around = ndimage.binary_dilation(mask, iterations=10) & ~mask
        return image[around].mean() - image[mask].mean()

    for data in whole("vessels").splits.values():
        for image, mask in zip(data.images[..., 1], data.masks == 1):
            right = darker(image, mask)
            assert right > 0.01
            for wrong in (mask[:, ::-1], mask[::-1], np.roll(mask, 20, axis=1)):
                assert darker(image, wrong) < right / 2


@CRACKS
def test_cracks(whole):
    shares = whole("cracks").masks.mean(axis=(1, 2))
    measured = [shares.mean(), np.median(shares), shares.min(), shares.max()]
    assert np.round(measured, 3).tolist() == [0.042, 0.031, 0.005, 0.234]
    grey = np.concatenate(
        [d.images.mean(axis=-1, dtype=float) for d in whole("cracks").splits.values()]
    )
    masks = whole("cracks").masks
    assert np.round([grey[masks == 1].mean(), grey[masks == 0].mean()], 2).tolist() == [0.22, 0.56]


@HIPPOCAMPUS
def test_hippocampus(whole):
    masks = whole("hippocampus").masks
    assert np.unique(masks).tolist() == [-1, 0, 1, 2]
    outside = (masks == -1).mean(axis=(1, 2, 3))
    assert np.round([outside.mean(), outside.max()], 2).tolist() == [0.21, 0.43]
    front, back = (np.argwhere(masks == k)[:, 2].mean() for k in (1, 2))
    assert front > back + 15  # anterior is further to the front, in voxels of a millimetre
    for data in whole("hippocampus").splits.values():
        images = data.images[..., 0]
        assert (images[data.masks == -1] == 0).all()
        inside = [image[mask >= 0] for image, mask in zip(images, data.masks)]
        assert all(voxels.min() <= 0.05 and voxels.max() >= 0.95 for voxels in inside)


@HIPPOCAMPUS
def test_no_voxel_of_the_hippocampus_is_cut(whole):
    """Every voxel of both classes that is in a file is in the mask that was cut out of it."""
    with public.Archive(public.find("hippocampus"), public.digests_of("hippocampus")) as archive:
        for data in whole("hippocampus").splits.values():
            for name, mask in zip(data.names, data.masks):
                file = f"data/TrainingSet/labels/hippocampus_{name}.nii.gz"
                labels = archive.volume(file)
                counts = [(labels == k).sum() for k in (1, 2)]
                assert [(mask == k).sum() for k in (1, 2)] == counts


@HIPPOCAMPUS
def test_volumes_of_one_subject(whole):
    """Numbers 2k - 1 and 2k were scanned on one scale, 2k and 2k + 1 were not: see the card."""
    digests, medians = public.digests_of("hippocampus"), {}
    with public.Archive(public.find("hippocampus"), digests) as archive:
        for sample in public.samples_of("hippocampus"):
            medians[int(sample.name)] = np.median(archive.volume(sample.image)) + 1.0
    of_one, of_two = (
        [max(medians[i] / medians[i + 1], medians[i + 1] / medians[i]) for i in first]
        for first in (
            [i for i in medians if i % 2 == parity and i + 1 in medians] for parity in (1, 0)
        )
    )
    assert (len(of_one), len(of_two)) == (90, 91)
    assert max(of_one) < 1.084
    assert np.mean(np.array(of_two) < 1.2) < 0.32


@HIPPOCAMPUS
def test_volumes_of_another_size():
    data = load("hippocampus", "test", limit=2, size=(20, 28, 16))
    assert data.images.shape == (2, 20, 28, 16, 1)
    assert set(np.unique(data.masks)) <= {-1, 0, 1, 2}
    assert load("hippocampus", "test", limit=1, size=16).masks.shape == (1, 16, 16, 16)
    with pytest.raises(ValueError, match=r"`size` must be a side or \(depth, height, width\)"):
        load("hippocampus", "test", size=(20, 28))


@pytest.mark.parametrize("name", public.NAMES)
def test_digests_and_cards_belong_together(name):
    """No archive needed: every split has images, and all of their files have digests."""
    settings, digests = public.settings_of(name), public.digests_of(name)
    samples = public.samples_of(name)
    assert {sample.split for sample in samples} == set(SPLITS)
    assert len({sample.name for sample in samples}) == len(samples)
    used = {file for sample in samples for file in (sample.image, *sample.masks)}
    others = set(digests) - used
    assert used <= set(digests)
    assert all(file.startswith(NOT_READ.get(name, ("LICENSE",))) for file in others)
    assert all(len(digest) == 64 for digest in digests.values())
    for text in ("title", "classes", "terms", "citation", "notes"):
        assert settings["card"][text].strip()

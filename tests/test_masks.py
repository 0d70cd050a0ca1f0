"""Descriptions of masks: answers counted by hand, and the same for what must not matter."""

import dataclasses

import numpy as np
import pytest

from segloss_ref import describe
from segloss_ref.datasets import load, synthetic


def drawn(*rows):
    return np.array([[int(c) for c in row] for row in rows])[None]


def test_counted_by_hand():
    found = describe(drawn("1110000000", "1110220000", "1110220030", "0000000000"))
    # 9 + 4 + 1 of 40 pixels; sizes 9, 4, 1: percentiles 10 and 90 are 1.6 and 8.
    assert found.foreground == pytest.approx(14 / 40)
    assert found.objects == 3 and found.size == 4
    assert found.size_spread == pytest.approx(8 / 1.6)
    assert found.touching == 0
    assert found.empty == 0


@pytest.mark.parametrize(
    ("rows", "touching"),
    [
        (("1122",), 1.0),
        (("11022",), 0.0),
        (("110", "002"), 1.0),  # at a corner
        (("1102203300", "0000003440"), 0.5),
        (("1111", "1221", "1111"), 1.0),  # one inside the other
    ],
)
def test_touching(rows, touching):
    assert describe(drawn(*rows)).touching == touching


def test_a_binary_mask_does_not_know_what_touches():
    labels = drawn("11220", "11220", "00000", "00033")
    as_mask = describe(labels > 0)
    assert as_mask.touching is None
    assert (as_mask.objects, describe(labels).objects) == (2, 3)
    assert describe((labels > 0).astype("uint8")) == as_mask


@pytest.mark.parametrize(("height", "length"), [(1, 30), (3, 31), (5, 61)])
def test_bars(height, length):
    mask = np.zeros((1, 20, 80), bool)
    mask[0, 5 : 5 + height, 5 : 5 + length] = True
    found = describe(mask)
    assert found.width == pytest.approx(height, rel=0.15)
    assert found.thinness == pytest.approx(length / height, rel=0.2)


def test_discs_are_compact():
    y, x = np.mgrid[:80, :80]
    found = describe((np.hypot(y - 40, x - 40) < 20)[None])
    assert found.thinness < 0.5
    assert found.width == pytest.approx(40, rel=0.15)


def test_nothing_there():
    found = describe(np.zeros((3, 8, 8), int))
    assert (found.foreground, found.empty, found.objects) == (0, 1, 0)
    assert found.size is found.size_spread is found.touching is found.width is None
    assert "unknown" in str(found)


def test_all_foreground():
    assert describe(np.ones((1, 8, 8), int)).foreground == 1
    assert describe(np.full((1, 8, 8), 7)).objects == 1


def test_outside_the_picture_does_not_count():
    labels = drawn("1100", "2200", "0000")
    framed = np.pad(labels, ((0, 0), (2, 2), (2, 2)), constant_values=-1)
    assert describe(framed) == describe(labels)


def test_numbers_of_objects_do_not_matter():
    labels = load("synthetic/cells", "test", limit=2).instances
    shuffled = np.where(labels > 0, 1000 - 3 * labels, 0)
    # Every figure is a median or a mean over the objects: the order does not matter, either.
    for name, value in dataclasses.asdict(describe(labels)).items():
        assert getattr(describe(shuffled), name) == pytest.approx(value), name


def test_data_sets_are_told_apart():
    cells = describe(synthetic.cells(4).instances)
    tumours = describe(synthetic.tumours(8, foreground=0.005, empty_share=0.5).instances)
    scenes = synthetic.streets(4)
    poles = describe(scenes.masks == scenes.class_names.index("pole"))
    assert cells.touching > 0.5 and cells.foreground > 0.2 and cells.objects > 5
    assert tumours.foreground < 0.01 and tumours.empty > 0
    assert poles.thinness > 5 > 1 > cells.thinness


def test_volumes():
    mask = np.zeros((1, 9, 9, 20), bool)
    mask[0, 3:6, 3:6, 2:18] = True
    found = describe(mask)
    assert found.size == 9 * 16 and found.objects == 1
    assert 2 <= found.width <= 3.5


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((8, 8), int), r"\(n, height, width\).*Received: int64 \(8, 8\)"),
        (np.zeros((1, 8, 8)), "Received: float64"),
        (np.zeros((0, 8, 8), int), "at least one image"),
        (np.full((1, 8, 8), -2), "no value below -1. Received: -2"),
        (np.eye(8, dtype="uint8")[None] * 255, "Received 0 and 255: give masks > 0"),
    ],
)
def test_errors_say_what_came(masks, message):
    with pytest.raises(ValueError, match=message):
        describe(masks)

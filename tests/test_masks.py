"""Descriptions of masks: answers counted by hand, and the same for what must not matter."""

import dataclasses

import numpy as np
import pytest

from segloss_ref import describe, proposals
from segloss_ref.datasets import load, synthetic
from segloss_ref.experiment import Experiment


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
    found = describe(mask, spatial_dims=3)
    assert found.size == 9 * 16 and found.objects == 1
    assert 2 <= found.width <= 3.5


def test_a_volume_is_no_stack_of_images():
    # A rod through all slices: one object of the volume, one of each slice.
    mask = np.zeros((5, 9, 9), bool)
    mask[:, 3:6, 3:6] = True
    as_images, as_volume = describe(mask), describe(mask[None], spatial_dims=3)
    assert (as_images.images, as_images.objects, as_images.size) == (5, 1, 9)
    assert (as_volume.images, as_volume.objects, as_volume.size) == (1, 1, 45)


def test_labels_to_ignore_do_not_count():
    labels = drawn("1100", "2200", "0000")
    framed = np.pad(labels, ((0, 0), (2, 2), (2, 2)), constant_values=255)
    framed[0, 0] = -1
    framed[0, 1] = 77
    assert describe(framed, ignore_class=(255, 77)) == describe(labels)
    mask = np.where(framed == 255, 255, framed > 0).astype("uint8")[:, 2:]
    assert describe(mask, ignore_class=255) == describe((labels > 0).astype("uint8"))


@pytest.mark.parametrize("ignored", [-1, 300, (-7, 2**40), ()])
def test_a_label_that_the_masks_cannot_hold_ignores_nothing(ignored):
    labels = drawn("1100", "2200", "0000").astype("uint8")
    assert describe(labels, ignore_class=ignored) == describe(labels)
    assert describe(labels > 0, ignore_class=ignored) == describe(labels > 0)


def test_images_that_are_out_everywhere_are_none():
    labels = drawn("1100", "2200", "0000")
    both = np.concatenate([labels, np.full_like(labels, -1)])
    assert describe(both) == describe(labels)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((8, 8), int), r"One image is `masks\[None\]`.*Received: int64 \(8, 8\)"),
        (np.zeros((8, 8, 1), int), r"last axis of one goes with `masks\[..., 0\]`.*\(8, 8, 1\)"),
        (np.zeros((2, 8, 8, 1), int), r"`masks\[..., 0\]`.*Received: int64 \(2, 8, 8, 1\)"),
        (np.zeros((2, 8, 8, 8), int), "volumes need `spatial_dims=3`.*spatial_dims=2"),
        (np.zeros((1, 8, 8)), "must be booleans or integers.*Received: float64"),
        (np.full((1, 8, 8), 0.5), "must be booleans or integers.*Received: float64"),
        (np.full((1, 8, 8), np.nan), "must be booleans or integers.*Received: float64"),
        (np.zeros((0, 8, 8), int), r"at least one image.*Received: int64 \(0, 8, 8\)"),
        (np.zeros((2, 0, 8), int), r"with pixels in the picture. Received: int64 \(2, 0, 8\)"),
        (np.full((1, 8, 8), -1), "with pixels in the picture.*64 pixels out of the picture"),
        (np.full((1, 8, 8), -2), "no value below -1. Received: -2"),
        (np.eye(8, dtype="uint8")[None] * 255, "0 and 255: give masks > 0, or.*ignore_class=255"),
    ],
)
def test_errors_say_what_came(masks, message):
    with pytest.raises(ValueError, match=message):
        describe(masks)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 8, 8), r"\(n, depth, height, width\).*\(8, 8, 8\), spatial_dims=3"),
        ((1, 8, 8, 1), r"`masks\[..., 0\]`.*\(1, 8, 8, 1\), spatial_dims=3"),
        ((2, 8, 8, 8, 1), "spatial_dims=3"),
    ],
)
def test_volumes_have_an_axis_of_volumes_and_none_of_channels(shape, message):
    with pytest.raises(ValueError, match=message):
        describe(np.zeros(shape, int), spatial_dims=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_dims": 4}, "`spatial_dims` must be one of 2, 3. Received: 4"),
        ({"spatial_dims": "2"}, "`spatial_dims` must be one of 2, 3. Received: '2'"),
        ({"ignore_class": 2.0}, "`ignore_class` must be an integer label, several of them, or N"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        describe(np.zeros((1, 8, 8), int), **settings)


TYPICAL = describe(drawn("1110000000", "1110220000"))


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"touching": 0.06}, "shape-aware"),
        ({"thinness": 16.0}, "Dice + cross-entropy + clDice"),
        ({"foreground": 0.009}, "Dice per batch"),
    ],
)
def test_what_the_masks_are_like_is_proposed_for(changed, name):
    assert name not in [p.name for p in proposals(TYPICAL)]
    (found,) = [p for p in proposals(dataclasses.replace(TYPICAL, **changed)) if p.name == name]
    assert found.why


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("empty", [False, True])
def test_every_proposal_can_be_run(classes, empty):
    d = (
        describe(np.zeros((1, 8, 8), int))
        if empty
        else dataclasses.replace(TYPICAL, touching=1.0, thinness=99.0, foreground=1e-6)
    )
    found = proposals(d, classes, most=9)
    assert len({p.name for p in found}) == len(found) >= 5
    for proposal in found:
        loss = Experiment(loss=proposal.loss).make_loss()
        assert ("binary" if classes == 1 else "exclusive") in loss.takes


def test_at_least_the_baselines_are_proposed():
    with pytest.raises(ValueError, match=r"`most` must be .* at least 3"):
        proposals(TYPICAL, most=2)

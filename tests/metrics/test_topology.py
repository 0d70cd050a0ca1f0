"""Pieces, loops and cavities, counted by hand, by brute force and by others; centrelines."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from segloss_ref import metrics
from segloss_ref.datasets.public import find
from segloss_ref.metrics.topology import BettiErrors, BettiNumbers, _skeleton

quick = settings(max_examples=60, deadline=None, derandomize=True)
RING = np.pad(np.ones((3, 3), int), 1)
RING[2, 2] = 0

masks = array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=6).flatmap(
    lambda shape: arrays(bool, shape)
)
pairs = array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=6).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


# --- Betti numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mask, b0, b1",
    [
        ([[0, 0]], 0, 0),
        ([[1, 1]], 1, 0),
        ([[1, 0, 1]], 2, 0),
        (RING, 1, 1),
        (RING[1:, 1:], 1, 1),  # it touches the image's edge
        (RING[2:], 1, 0),  # the edge cuts it: it opens
        # Corners join the mask, and do not join what is around it.
        ([[1, 0], [0, 1]], 1, 0),
        ([[0, 1, 0], [1, 0, 1], [0, 1, 0]], 1, 1),
        # Two windows beside one another, and one in the other's middle.
        ([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], 1, 2),
        (np.pad(RING, 1, constant_values=1), 2, 2),
    ],
)
def test_betti_numbers_by_hand(mask, b0, b1):
    assert metrics.betti_numbers(mask) == (b0, b1, 0)


def solid(radii):
    z, y, x = np.ogrid[-12:13, -12:13, -12:13]
    return radii(z, y, x, np.hypot(x, y))


@pytest.mark.parametrize(
    "mask, numbers",
    [
        (solid(lambda z, y, x, r: z**2 + r**2 <= 100), (1, 0, 0)),  # a ball
        (solid(lambda z, y, x, r: abs(z**2 + r**2 - 70) <= 30), (1, 0, 1)),  # its shell
        (solid(lambda z, y, x, r: z**2 + (r - 8) ** 2 <= 9), (1, 1, 0)),  # a ring
        # The surface of a ring: once around it, and once through its hole.
        (solid(lambda z, y, x, r: abs(z**2 + (r - 8) ** 2 - 6) <= 5), (1, 2, 1)),
        (solid(lambda z, y, x, r: (abs(z) > 5) & (r <= 10) & (r >= 5)), (2, 2, 0)),
        (np.zeros((2, 2, 2)), (0, 0, 0)),
        (np.ones((1, 1, 2)), (1, 0, 0)),
        ([[[1, 0], [0, 0]], [[0, 0], [0, 1]]], (1, 0, 0)),  # joined at a corner
    ],
)
def test_betti_numbers_of_solids(mask, numbers):
    assert metrics.betti_numbers(mask, spatial_dims=3) == numbers


def euler_characteristic(mask):
    """Corners, edges, faces and cubes that the mask's closed pixels have, with their signs."""
    cells = set()
    for place in np.argwhere(mask):
        for steps in np.ndindex((3,) * mask.ndim):
            # Pixel i reaches from corner 2i to corner 2i + 2; what lies between is odd.
            cells.add(tuple(2 * place + steps))
    return sum((-1) ** sum(c % 2 for c in cell) for cell in cells)


@quick
@given(masks)
def test_betti_numbers_sum_to_the_euler_characteristic(mask):
    b0, b1, b2 = metrics.betti_numbers(mask, spatial_dims=mask.ndim)
    assert b0 - b1 + b2 == euler_characteristic(mask)
    assert min(b0, b1, b2) >= 0 and all(isinstance(b, int) for b in (b0, b1, b2))
    assert (b0 > 0) == mask.any()
    again = np.pad(np.flip(mask, 0).swapaxes(0, 1), 2)
    assert metrics.betti_numbers(again, spatial_dims=mask.ndim) == (b0, b1, b2)


def test_a_flat_volume_has_the_numbers_of_the_image():
    rng = np.random.default_rng(0)
    for mask in rng.integers(0, 2, (20, 7, 8)):
        flat = metrics.betti_numbers(mask[None], spatial_dims=3)
        assert flat == metrics.betti_numbers(mask)


def test_void_pixels_are_outside():
    mask = np.array(RING)
    mask[1, 1:4] = -1
    assert metrics.betti_numbers(mask) == (1, 0, 0), "the ring has lost a side"
    assert metrics.betti_numbers(np.where(mask == -1, 9, mask), ignore_class=9) == (1, 0, 0)
    assert metrics.betti_errors(mask, RING) == (0, 0, 0), "and so has the prediction"


def test_numbers_of_a_batch():
    batch = metrics.betti_numbers([RING, np.zeros_like(RING)], spatial_dims=2)
    assert isinstance(batch, BettiNumbers)
    assert [b.tolist() for b in batch] == [[1, 0], [1, 0], [0, 0]]
    unknown = metrics.betti_numbers([RING, np.full_like(RING, -1)], spatial_dims=2)
    np.testing.assert_array_equal(unknown.b1, [1, np.nan])


@pytest.mark.parametrize("bad", [RING * 255, np.ones((2, 2, 2)), np.ones((2, 2)) / 3])
def test_what_is_no_mask_is_refused_by_its_name(bad):
    with pytest.raises(ValueError, match="`mask`"):
        metrics.betti_numbers(bad)


@pytest.mark.requires_data("mortar")
def test_numbers_that_topomortar_publishes():
    """Of its fifty test masks: pieces and holes in the same convention."""
    path = find("mortar")
    with zipfile.ZipFile(path) as archive:
        folder = f"{path.stem}/dataset"
        table = io.StringIO(archive.read(f"{folder}/betti_numbers.csv").decode())
        published = {row["ID"]: row for row in csv.DictReader(table)}
        files = [n for n in archive.namelist() if n.startswith(f"{folder}/test/accurate/")]
        files = [name for name in files if Path(name).stem in published]
        assert len(files) >= 50
        for name in files:
            mask = np.array(Image.open(io.BytesIO(archive.read(name)))) > 0
            row = published[Path(name).stem]
            want = tuple(int(row[f"Betti{k}"]) for k in range(3))
            assert metrics.betti_numbers(mask) == want, name


# --- Betti errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "true, pred, errors",
    [
        (RING, RING, (0, 0, 0)),
        (RING, RING * 0, (1, 1, 0)),
        (RING * 0, RING, (1, 1, 0)),
        (RING * 0, RING * 0, (0, 0, 0)),
        ([[1, 0, 1, 0, 1]], [[1, 1, 1, 0, 0]], (2, 0, 0)),
        # A piece too many on the left and one too few on the right: whole images hide it.
        ([[1, 1, 1, 0, 1, 0, 1]], [[1, 0, 1, 0, 1, 1, 1]], (0, 0, 0)),
    ],
)
def test_betti_errors_by_hand(true, pred, errors):
    got = metrics.betti_errors(true, pred)
    assert got == errors and type(got) is BettiErrors


@quick
@given(pairs)
def test_betti_errors_are_differences_and_symmetric(pair):
    said = {"spatial_dims": pair[0].ndim}
    counts = [metrics.betti_numbers(mask, **said) for mask in pair]
    errors = metrics.betti_errors(*pair, **said)
    assert errors == tuple(abs(a - b) for a, b in zip(*counts))
    assert errors == metrics.betti_errors(*pair[::-1], **said)


# --- Centrelines --------------------------------------------------------------------------------


def bar(columns, rows=slice(2, 5), length=20):
    mask = np.zeros((7, length), int)
    mask[rows, columns] = 1
    return mask


def test_cl_dice_by_hand():
    # Lines one pixel wide are their own skeletons: 6 of the 8 predicted pixels are true, 6 of 12.
    line, shifted = bar(slice(0, 12), 3), bar(slice(6, 14), 3)
    assert metrics.cl_dice(line, shifted) == pytest.approx(2 * 0.75 * 0.5 / (0.75 + 0.5))
    # A gap of one pixel in twelve: all that is predicted is right, 11/12 of the truth found.
    gap = line.copy()
    gap[3, 5] = 0
    assert metrics.cl_dice(line, gap) == pytest.approx(2 * (11 / 12) / (1 + 11 / 12))


def test_cl_dice_does_not_see_width_and_sees_a_gap():
    wide, thin = bar(slice(0, 20)), bar(slice(0, 20), 3)
    assert metrics.dice(wide, thin) == 0.5 and metrics.cl_dice(wide, thin) > 0.95
    beside = bar(slice(0, 20), 6)
    assert metrics.cl_dice(wide, beside) == 0


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_cl_dice_of_empty_masks(shape):
    empty, full = np.zeros(shape, int), np.ones(shape, int)
    said = {"spatial_dims": len(shape)}
    assert metrics.cl_dice(empty, empty, **said) == 1
    assert metrics.cl_dice(full, empty, **said) == metrics.cl_dice(empty, full, **said) == 0
    one = np.zeros(shape, int)
    one.flat[0] = 1
    assert metrics.cl_dice(one, one, **said) == 1


def test_cl_dice_leaves_void_pixels_out():
    line = bar(slice(0, 12), 3)
    void = np.where(bar(slice(6, 20), slice(None)) == 1, -1, line)
    assert metrics.cl_dice(void, line) == 1
    assert metrics.cl_dice(void, bar(slice(0, 3), 3)) == pytest.approx(2 * 0.5 / 1.5)
    assert metrics.cl_dice(void, np.where(void == -1, np.nan, line)) == 1


@quick
@given(pairs)
def test_cl_dice_properties(pair):
    said = {"spatial_dims": pair[0].ndim}
    value = metrics.cl_dice(*pair, **said)
    assert 0 <= value <= 1 and type(value) is float
    assert value == pytest.approx(metrics.cl_dice(*pair[::-1], **said))
    assert metrics.cl_dice(pair[0], pair[0], **said) == 1


@quick
@given(masks)
def test_a_skeleton_has_the_topology_of_its_mask(mask):
    line = _skeleton(mask)
    assert not (line & ~mask).any()
    said = {"spatial_dims": mask.ndim}
    assert metrics.betti_numbers(line, **said) == metrics.betti_numbers(mask, **said)


def test_a_small_cube_has_a_skeleton():
    """Of which the algorithm of Lee leaves nothing: it would count as nothing predicted."""
    cube = np.pad(np.ones((2, 2, 2), int), 2)
    assert metrics.cl_dice(cube, cube, spatial_dims=3) == 1
    assert metrics.cl_dice(cube, cube * 0, spatial_dims=3) == 0

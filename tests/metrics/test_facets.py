"""Surfaces weighed by area: hand-computed solids, planes and spheres, and published values."""

import math

import numpy as np
import pytest
from skimage import measure

from segloss_ref import metrics
from segloss_ref.metrics.facets import facet_sizes, neighbours


def pieces(mask, sides=None):
    """The size of the surface at each corner between pixels."""
    framed, axes = np.pad(mask, 1), range(mask.ndim)
    code = sum(view * 2**bit for bit, view in enumerate(neighbours(framed, axes)))
    return facet_sizes(tuple(sides or [1.0] * mask.ndim))[code]


def ball(radius, dims):
    grid = np.indices((2 * radius + 3,) * dims) - radius - 1
    return (grid**2).sum(axis=0) <= radius**2


# --- How large a surface is ---------------------------------------------------------------------


def test_the_sixteen_codes_of_two_dimensions():
    a, b = 3.0, 4.0
    half = 2.5  # of the diagonal, 5
    rows = {0: 0, 15: 0, 3: b, 12: b, 5: a, 10: a, 6: 2 * half, 9: 2 * half}
    expected = [rows.get(code, half) for code in range(16)]
    assert facet_sizes((a, b)).tolist() == expected


@pytest.mark.parametrize("a, b, c", [(1.0, 1.0, 1.0), (3.0, 2.0, 0.5)])
def test_codes_of_three_dimensions_by_hand(a, b, c):
    sizes = facet_sizes((a, b, c))
    # Of a corner: the triangle between the middles of three edges, which are halves of the sides.
    triangle = math.sqrt((a * b) ** 2 + (b * c) ** 2 + (c * a) ** 2) / 8
    assert sizes[[1 << bit for bit in range(8)]] == pytest.approx(triangle)
    # Pairs along the last axis (bits 0 and 1), the middle one and the first: a roof over an edge.
    assert sizes[0b11] == pytest.approx(c * math.hypot(a, b) / 2)
    assert sizes[0b101] == pytest.approx(b * math.hypot(a, c) / 2)
    assert sizes[0b10001] == pytest.approx(a * math.hypot(b, c) / 2)
    # Four of a side: a plane through the middle.
    assert sizes[[0b1111, 0b110011, 0b1010101]] == pytest.approx([b * c, a * c, a * b])
    # A corner and its three neighbours: the hexagon through the middles of six edges, six times
    # the triangle between two of them and the centre, which is as large as that of the corner.
    assert sizes[0b10111] == pytest.approx(6 * triangle)
    # Two that touch at an edge or at the corner: each on its own.
    assert sizes[[0b1001, 0b10000001]] == pytest.approx(2 * triangle)
    # Three in an L, of unit cells: a triangle of 1/2 and a trapezoid with the sides sqrt 2 and
    # sqrt 2 / 2 at the distance sqrt(3/8).
    if a == b == c:
        trapezoid = 3 * math.sqrt(2) / 4 * math.sqrt(3 / 8)
        assert sizes[0b111] == pytest.approx(1 / 2 + trapezoid)


@pytest.mark.parametrize("sides", [(1.0, 2.0), (1.0, 2.0, 0.3)])
def test_sizes_do_not_know_inside_from_outside_nor_left_from_right(sides):
    sizes = facet_sizes(sides)
    assert sizes == pytest.approx(sizes[::-1])
    cells = np.arange(len(sizes)).reshape((2,) * 2 ** len(sides))
    places = np.arange(2 ** len(sides)).reshape((2,) * len(sides))
    for axis in range(len(sides)):
        mirrored = cells.transpose(np.flip(places, axis).ravel()).ravel()
        assert sizes == pytest.approx(sizes[mirrored])
    assert sizes[[0, -1]].tolist() == [0, 0] and (sizes[1:-1] > 0).all()
    assert facet_sizes(tuple(2 * side for side in sides)) == pytest.approx(
        2 ** (len(sides) - 1) * sizes
    )


@pytest.mark.parametrize("a, b, c", [(1.0, 1.0, 1.0), (3.0, 2.0, 0.5)])
def test_a_box_by_hand(a, b, c):
    box = np.pad(np.ones((4, 5, 6), bool), 2)
    # Its sides are planes between the outermost centres, of 3 a by 4 b by 5 c. The edges are
    # bevelled by half a diagonal, and the eight corners cut off by a triangle each.
    planes = 2 * (4 * b * 5 * c + 3 * a * 5 * c + 3 * a * 4 * b)
    bevels = (
        4 / 2 * (3 * a * math.hypot(b, c) + 4 * b * math.hypot(a, c) + 5 * c * math.hypot(a, b))
    )
    corners = math.sqrt((a * b) ** 2 + (b * c) ** 2 + (c * a) ** 2)
    assert pieces(box, (a, b, c)).sum() == pytest.approx(planes + bevels + corners)
    # A rectangle likewise; where the image cuts it, it ends.
    for mask in (np.ones((4, 5), bool), np.pad(np.ones((4, 5), bool), 3)):
        assert pieces(mask, (a, b)).sum() == pytest.approx(2 * (3 * a + 4 * b + math.hypot(a, b)))


def test_tilted_planes_by_hand():
    i, j, k = np.indices((9, 9, 9))
    inner = (slice(2, -2),) * 3  # away from the edge of the image: 6 corners along each axis
    # At 45° about an axis the plane is exact. It runs through two rows of corners, 6 and 5 of these
    # 6 by 6, with half a diagonal times c over each, in 6 layers.
    a, b, c = 2.0, 1.0, 0.5
    expected = (6 + 5) / 2 * 6 * math.hypot(a, b) * c
    assert pieces(i + j < 9, (a, b, c))[inner].sum() == pytest.approx(expected)
    # Across the diagonal of the cube it is exact, too: sqrt 3 over each corner, and 1 below, where
    # the image ends.
    over = pieces(i + j + k < 9)[2:-2, 2:-2].sum(axis=-1)
    whole = (i + j)[2:8, 2:8, 0] <= 8
    assert over[whole] == pytest.approx(math.sqrt(3) + 1)
    # Others are steps of these three and up to 13 % too large, never too small.
    rng = np.random.default_rng(0)
    corners = np.indices((41, 41, 41)) - 20
    seen = (corners**2).sum(axis=0) < 16**2
    for normal in rng.normal(size=(20, 3)):
        normal /= np.linalg.norm(normal)
        plane = np.tensordot(normal, corners[:, :-1, :-1, :-1] + 0.5, 1) < 0
        area = pieces(plane)[seen].sum() / (math.pi * 16**2)
        assert 0.98 < area < 1.15


def test_a_circle_and_a_sphere_tend_to_their_known_shares():
    # Along a direction at the angle t to an axis, up to 45°, a line is steps of 1 and of sqrt 2:
    # cos t + (sqrt 2 - 1) sin t long. The mean over all t is 8 (sqrt 2 - 1) / pi = 1.055.
    share = 8 * (math.sqrt(2) - 1) / math.pi
    found = [pieces(ball(r, 2)).sum() / (2 * math.pi * r) for r in (20, 400)]
    assert found[1] == pytest.approx(share, abs=0.002) and abs(found[0] - share) < 0.03
    # A sphere likewise tends to a multiple of 4 pi r², by which all large smooth surfaces are too
    # large: a mask does not know how its surface slants within a cell. It cancels in shares.
    found = [pieces(ball(r, 3)).sum() / (4 * math.pi * r**2) for r in (5, 20, 60)]
    assert found[1:] == pytest.approx([1.087, 1.087], abs=0.004)
    # The same by marching cubes at one go.
    mesh = measure.marching_cubes(1.0 * ball(20, 3), 0.5, method="lorensen")[:2]
    assert found[1] * 4 * math.pi * 20**2 == pytest.approx(measure.mesh_surface_area(*mesh))


# --- Metrics by area ----------------------------------------------------------------------------


def test_two_voxels_two_apart():
    # Each has eight corners, four of them 1 and four of them 2 away from the other's.
    t, p = np.zeros((2, 4, 5, 6), bool)
    t[1, 2, 1] = p[1, 2, 3] = True
    said = {"spacing": (3, 2, 1), "spatial_dims": 3}
    assert metrics.average_surface_distance(t, p, **said) == pytest.approx(1.5)
    assert metrics.hausdorff_distance(t, p, 100, **said) == 2.0
    assert metrics.hausdorff_distance(t, p, 50, **said) == 1.0
    assert metrics.hausdorff_distance(t, p, 50.1, **said) == 2.0
    assert metrics.surface_dice(t, p, 1, **said) == pytest.approx(0.5)
    # By pixels each is one, 2 away.
    assert metrics.average_surface_distance(t, p, weighting="pixels", **said) == 2.0


def test_a_contour_weighs_what_it_is_long():
    # A square of 2 x 2 with pixels of 2 by 1, and one row more below. Half a diagonal is d.
    # The truth: 4 corners d, 2 sides of 2 (down), 2 of 1 (across). Below, its d, 1, d are 2 away
    # from the prediction's lower corners, but the d are 0 from its sides; the 1 is 1 from them.
    t, p = np.zeros((2, 6, 6), bool)
    t[1:3, 1:3] = p[1:4, 1:3] = True
    d = math.hypot(2, 1) / 2
    there, back = 4 * d + 2 * 2 + 2 * 1, 4 * d + 4 * 2 + 2 * 1
    # Back: the lower d, 1, d are 2 away; all else is 0.
    said = {"spacing": (2, 1), "weighting": "area"}
    far = 1 * 1 + 2 * (2 * d + 1)
    assert metrics.average_surface_distance(t, p, **said) == pytest.approx(far / (there + back))
    near = there + back - (2 * d + 1)
    assert metrics.surface_dice(t, p, 1, **said) == pytest.approx(near / (there + back))
    assert metrics.hausdorff_distance(t, p, **said) == 2.0
    # 2 d + 1 of the prediction's length is 2 away, and what is left 0; of the truth's, 1 is 1 away.
    edge = 100 * (1 - (2 * d + 1) / back)
    assert metrics.hausdorff_distance(p, t, edge - 0.01, **said) == 0.0
    assert metrics.hausdorff_distance(p, t, edge + 0.01, **said) == 2.0


def test_the_cubes_of_surface_distance():
    """Its own test gives these numbers; the average it gives in each direction is 0.322, 0.339."""
    t, p = np.zeros((2, 100, 100, 100), bool)
    t[:50], p[:51] = True, True
    said = {"spacing": (2, 1, 1), "spatial_dims": 3}
    assert metrics.surface_dice(t, p, 1, **said) == pytest.approx(0.836, abs=5e-4)
    assert metrics.hausdorff_distance(t, p, 100, **said) == 2.0
    assert metrics.hausdorff_distance(t, p, 95, **said) == 2.0
    assert 0.322 < metrics.average_surface_distance(t, p, **said) < 0.339


def test_three_dimensions_are_weighed_by_area_and_two_by_pixels():
    rng = np.random.default_rng(0)
    t, p = rng.random((2, 5, 6, 7)) < 0.5
    for metric in (metrics.hausdorff_distance, metrics.average_surface_distance):
        assert metric(t, p, spatial_dims=3) == metric(t, p, spatial_dims=3, weighting="area")
        assert metric(t[0], p[0]) == metric(t[0], p[0], weighting="pixels")
        assert metric(t[0], p[0]) != metric(t[0], p[0], weighting="area") or metric(t, p) == 0


def test_corners_of_a_pixel_that_is_out_are_no_surface():
    # Three columns of 4 x 6, moved by one. The lower row is out: the corners on its upper edge, and
    # what the masks hold in it, do not count.
    t = np.zeros((4, 6), int)
    t[:, :3] = 1
    p = np.roll(t, 1, axis=1)
    t[3], p[3] = -1, 1
    d = math.sqrt(2) / 2
    # Truth: upper left corner, 2 down on its left, 2 along the top, upper right corner, 2 down.
    # The prediction likewise, one further right. They share the top between places 1 and 3: of the
    # truth 1, 1 and d, of the prediction d, 1 and 1.
    length, both = 2 * d + 6, 2 * (1 + 1 + d)
    said = {"weighting": "area"}
    assert metrics.surface_dice(t, p, 1, **said) == 1.0
    assert metrics.surface_dice(t, p, 0, **said) == pytest.approx(both / (2 * length))
    unseen = np.where(t == -1, np.nan, p)
    assert metrics.surface_dice(t, unseen, 0, **said) == metrics.surface_dice(t, p, 0, **said)

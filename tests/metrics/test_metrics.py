import ast
import doctest
import functools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, directed_hausdorff
from skimage.metrics import hausdorff_distance as skimage_hausdorff

from segloss_ref import metrics

OVERLAP = [
    metrics.dice,
    metrics.iou,
    metrics.precision,
    metrics.recall,
    metrics.specificity,
]
SURFACE = [
    metrics.hausdorff_distance,
    metrics.average_surface_distance,
    lambda t, p, **settings: metrics.surface_dice(t, p, tolerance=1.0, **settings),
    metrics.boundary_iou,
]
TOPOLOGY = [metrics.betti_errors, metrics.cl_dice]
BY_AREA = [functools.partial(metric, weighting="area") for metric in SURFACE[:3]]
INSTANCE = [
    metrics.average_precision,
    metrics.merges_and_splits,
    metrics.panoptic_quality,
    metrics.aggregated_jaccard_index,
    metrics.adapted_rand_error,
    metrics.variation_of_information,
]

spatial_shapes = array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=7)


@st.composite
def mask_pairs(draw):
    shape = draw(spatial_shapes)
    return draw(arrays(bool, shape)), draw(arrays(bool, shape))


@st.composite
def instance_pairs(draw):
    shape = draw(spatial_shapes)
    maps = arrays(np.int64, shape, elements=st.integers(0, 4), fill=st.nothing())
    return draw(maps), draw(maps)


quick = settings(max_examples=60, deadline=None, derandomize=True)


def test_docstring_examples():
    modules = (
        metrics.overlap,
        metrics.surfaces,
        metrics.topology,
        metrics.facets,
        metrics.instances,
        metrics.calibration,
    )
    failed, tried = np.sum([doctest.testmod(module) for module in modules], axis=0)
    assert failed == 0 and tried >= 16


def test_heavy_libraries_are_imported_only_when_they_are_needed():
    for path in Path(metrics.__file__).parent.glob("*.py"):
        top = [node for node in ast.parse(path.read_text()).body if hasattr(node, "names")]
        names = {name.name.split(".")[0] for node in top for name in node.names}
        names |= {(getattr(node, "module", None) or "").split(".")[0] for node in top}
        assert not names & {"scipy", "skimage", "matplotlib", "pandas"}, path
        assert path.name == "keras.py" or "keras" not in names, path


# --- Overlap ------------------------------------------------------------------------------------

E, F = [[0, 0, 0, 0]], [[1, 1, 1, 1]]


@pytest.mark.parametrize(
    "y_true, y_pred, dice, iou, precision, recall, specificity",
    [
        # TP 1, FP 2, FN 1, TN 4: 2/5, 1/4, 1/3, 1/2, 4/6
        (
            [[1, 1, 0, 0], [0, 0, 0, 0]],
            [[0, 1, 1, 1], [0, 0, 0, 0]],
            0.4,
            1 / 4,
            1 / 3,
            1 / 2,
            2 / 3,
        ),
        # only false positives, TP 1, FP 3: 2/5, 1/4, 1/4, 1/1, 0/3
        ([[1, 0, 0, 0]], F, 0.4, 0.25, 0.25, 1.0, 0.0),
        # only false negatives, TP 1, FN 3: 2/5, 1/4, 1/1, 1/4; no background 0/0, though predicted
        (F, [[1, 0, 0, 0]], 0.4, 0.25, 1.0, 0.25, 0.0),
        # nothing shared, TP 0, FP 1, FN 1, TN 2
        ([[1, 0, 0, 0]], [[0, 1, 0, 0]], 0.0, 0.0, 0.0, 0.0, 2 / 3),
        # both empty, TN 4
        (E, E, 1.0, 1.0, 1.0, 1.0, 1.0),
        # truth empty, FP 1, TN 3: recall is 0/0
        (E, [[1, 0, 0, 0]], 0.0, 0.0, 0.0, 0.0, 0.75),
        # prediction empty, FN 1, TN 3: precision is 0/0
        ([[1, 0, 0, 0]], E, 0.0, 0.0, 0.0, 0.0, 1.0),
        # both full: specificity is 0/0, and both agree that there is no background
        (F, F, 1.0, 1.0, 1.0, 1.0, 1.0),
        # one pixel
        ([[1]], [[1]], 1.0, 1.0, 1.0, 1.0, 1.0),
        ([[1]], [[0]], 0.0, 0.0, 0.0, 0.0, 0.0),
        ([[0]], [[1]], 0.0, 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_overlap_by_hand(y_true, y_pred, dice, iou, precision, recall, specificity):
    expected = dice, iou, precision, recall, specificity
    for dtype in (bool, np.uint8, np.int64, np.float32):
        t, p = np.array(y_true, dtype), np.array(y_pred, dtype)
        values = [metric(t, p) for metric in OVERLAP]
        assert values == pytest.approx(expected, abs=1e-15)
        assert all(type(value) is float for value in values)


@quick
@given(mask_pairs())
def test_overlap_properties(pair):
    t, p = pair
    said = {"spatial_dims": t.ndim}
    d, j, pr, re, sp = (metric(t, p, **said) for metric in OVERLAP)
    assert all(0 <= value <= 1 for value in (d, j, pr, re, sp))
    assert d == pytest.approx(2 * j / (1 + j), abs=1e-12)
    # Dice is the harmonic mean of precision and recall, in the empty cases too.
    assert d == pytest.approx(2 * pr * re / (pr + re) if pr + re else 0.0, abs=1e-12)
    assert metrics.dice(p, t, **said) == d and metrics.iou(p, t, **said) == j
    assert metrics.recall(p, t, **said) == pr
    assert metrics.recall(~t, ~p, **said) == sp
    for metric in OVERLAP:
        assert metric(t, t, **said) == 1
        assert metric(np.flip(t), np.flip(p), **said) == metric(t, p, **said)


def test_overlap_does_not_overflow_small_integers():
    # 300 x 300 pixels of uint8: sums of 8 or 16 bits would wrap round.
    full = np.ones((300, 300), np.uint8)
    assert metrics.dice(full, full) == 1.0
    half = full.copy()
    half[:, 150:] = 0
    assert metrics.iou(full, half) == 0.5


# --- Surfaces -----------------------------------------------------------------------------------


def surface_points(mask, spacing=1.0):
    """Pixels of the mask with a neighbour across an edge that is not, one by one."""
    padded = np.pad(mask, 1)
    points = []
    for index in np.argwhere(mask):
        neighbours = [
            padded[tuple(index + 1 + step * unit)]
            for unit in np.eye(mask.ndim, dtype=int)
            for step in (-1, 1)
        ]
        if not all(neighbours):
            points.append(index)
    return np.array(points) * spacing


def nearest(points, others):
    return cdist(points, others).min(axis=1)


# A square of side 3 in 5 x 5, and the same one shifted by one pixel to the right.
SQUARE, SHIFTED = np.zeros((2, 5, 5), bool)
SQUARE[1:4, 1:4] = SHIFTED[1:4, 2:5] = True


def test_surface_metrics_of_a_shifted_square_by_hand():
    # Each surface is a ring of 8 pixels. Of the true ring (columns 1 to 3 of rows 1 to 3, without
    # the centre (2, 2)), the ring of the prediction has columns 2 to 4 without (2, 3):
    # the left column (3 pixels) is 1 away; of (1, 2), (3, 2), (1, 3), (3, 3) each is 0 away; (2, 3)
    # is the other's centre, 1 away. So 4 zeros and 4 ones, and by symmetry the same way back.
    assert metrics.hausdorff_distance(SQUARE, SHIFTED) == 1.0
    assert metrics.hausdorff_distance(SQUARE, SHIFTED, percentile=50) == 0.5  # between 0 and 1
    assert metrics.average_surface_distance(SQUARE, SHIFTED) == 8 / 16
    assert metrics.surface_dice(SQUARE, SHIFTED, tolerance=0) == 8 / 16
    assert metrics.surface_dice(SQUARE, SHIFTED, tolerance=0.99) == 8 / 16
    assert metrics.surface_dice(SQUARE, SHIFTED, tolerance=1) == 1.0
    # The bands of width 1 are the rings: 4 pixels in common, 16 - 4 = 12 in the union.
    assert metrics.boundary_iou(SQUARE, SHIFTED, width=1) == 4 / 12
    # Of width 2 they fill the squares: 6 in common, 18 - 6 = 12 in the union.
    assert metrics.boundary_iou(SQUARE, SHIFTED, width=2) == metrics.iou(SQUARE, SHIFTED) == 6 / 12


def test_hausdorff_percentile_forgives_a_stray_pixel_and_its_direction_matters():
    # A row of 39 pixels is right; a 40th is predicted 20 pixels further on.
    t, p = np.zeros((2, 1, 60), bool)
    t[0, :39] = p[0, :39] = p[0, 58] = True
    # 1 of 40 distances is 20, the others 0. The 95th percentile sits at place 0.95 * 39 = 37.05 of
    # 0 to 39, where the sorted distances are still 0.
    assert metrics.hausdorff_distance(t, p) == 0.0
    assert metrics.hausdorff_distance(t, p, percentile=100) == 20.0
    # 10 pixels are right, and of 11 predicted ones one is 5 away: place 0.95 * 10 = 9.5, halfway
    # between 0 and 5. Pooled with the 10 zeros of the other direction it would be place 19 of
    # 0 to 20, that is 0: the directions must be kept apart.
    t, p = np.zeros((2, 1, 20), bool)
    t[0, :10] = p[0, :10] = p[0, 14] = True
    assert metrics.hausdorff_distance(t, p) == pytest.approx(2.5)
    assert metrics.hausdorff_distance(p, t) == pytest.approx(2.5)


def test_surface_metrics_use_spacing_along_the_right_axis():
    said = {"spatial_dims": 3, "weighting": "pixels"}
    # One voxel each, 1 apart in z, 2 in y and 3 in x: with sides 5, 1 and 0.5
    # sqrt(5² + 2² + 1.5²) = sqrt(31.25).
    t, p = np.zeros((2, 3, 4, 5), bool)
    t[0, 0, 0] = p[1, 2, 3] = True
    expected = math.sqrt(31.25)
    spacing = (5, 1, 0.5)
    assert metrics.hausdorff_distance(t, p, spacing=spacing, **said) == pytest.approx(expected)
    assert metrics.average_surface_distance(t, p, spacing=spacing, **said) == pytest.approx(
        expected
    )
    assert metrics.surface_dice(t, p, tolerance=5.59, spacing=spacing, **said) == 0.0
    assert metrics.surface_dice(t, p, tolerance=5.60, spacing=spacing, **said) == 1.0


def test_tolerance_survives_rounding():
    # Three pixels of 0.1 are 0.30000000000000004.
    t, p = [[1, 0, 0, 0]], [[0, 0, 0, 1]]
    assert metrics.surface_dice(t, p, tolerance=0.3, spacing=0.1) == 1.0
    assert metrics.surface_dice(t, p, tolerance=0.2999, spacing=0.1) == 0.0
    # A square of 7 x 7 pixels of 0.1: its third ring is 0.1 * 3 deep, and in a band of 0.3.
    t, p = np.ones((7, 7), bool), np.ones((7, 7), bool)
    p[3, 3] = False  # the hole is a boundary too, but of the prediction alone
    wide = metrics.boundary_iou(t, p, width=0.3, spacing=0.1)
    # Truth: 49 - 1 (the centre is 4 deep). Prediction: all 48. Both leave out the centre alone.
    assert wide == 1.0


def test_surface_of_an_object_cut_by_the_image_ends_there():
    # All 9 pixels true, a ring of 8 on the surface; predicted is the centre alone. Ring to centre:
    # 4 x 1 and 4 x sqrt 2; centre to ring: 1.
    t, p = np.ones((3, 3), bool), np.pad([[True]], 1)
    expected = (4 + 4 * math.sqrt(2) + 1) / 9
    assert metrics.average_surface_distance(t, p) == pytest.approx(expected)
    assert metrics.boundary_iou(t, p, width=1) == 0.0


def test_boundary_iou_default_width():
    # 2 % of the diagonal of 300 x 400 pixels, 500, is 10 pixels.
    t, p = np.zeros((2, 300, 400), bool)
    t[50:150, 50:150] = True
    p[50:150, 53:153] = True
    assert metrics.boundary_iou(t, p) == metrics.boundary_iou(t, p, width=10)
    assert metrics.boundary_iou(t, p) != metrics.boundary_iou(t, p, width=9)
    # The same scene in millimetres.
    assert metrics.boundary_iou(t, p, spacing=0.25) == metrics.boundary_iou(t, p)
    # It sees what IoU hardly does: 3 of 100 columns. By hand, the bands are frames of 10 around a
    # hole of 80 x 80, 3600 pixels each; shifted by 3 they share the rows above and below, 2 times
    # 10 x 97, and of the 80 rows between 7 on each side: 1940 + 2 * 80 * 7 = 3060.
    assert metrics.boundary_iou(t, p) == 3060 / (7200 - 3060)
    assert metrics.iou(t, p) == 97 / 103


@pytest.mark.parametrize("metric", SURFACE + BY_AREA)
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (1, 1)])
def test_surface_metrics_of_empty_masks(metric, shape):
    said = {"spatial_dims": len(shape)}
    empty, full = np.zeros(shape, bool), np.ones(shape, bool)
    is_distance = metric in SURFACE[:2] + BY_AREA[:2]
    best, worst = (0.0, math.inf) if is_distance else (1.0, 0.0)
    assert metric(empty, empty, **said) == best
    assert metric(full, full, **said) == best
    assert metric(empty, full, **said) == worst
    assert metric(full, empty, **said) == worst


@quick
@given(mask_pairs(), st.sampled_from([(2.0, 1.0, 0.5), (0.3, 1.7, 1.0)]))
def test_surface_metrics_against_brute_force(pair, sides):
    t, p = pair
    said = {"spatial_dims": t.ndim, "weighting": "pixels"}
    t.flat[0] = p.flat[-1] = True  # empty masks have a test of their own
    sides = np.array(sides[: t.ndim])
    a, b = surface_points(t, sides), surface_points(p, sides)
    there, back = nearest(a, b), nearest(b, a)

    assert metrics.hausdorff_distance(t, p, 100, sides, **said) == pytest.approx(
        max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
    )
    # The linear percentile, written out: place q (n - 1) between two neighbours of the sorted list.
    expected = []
    for d in (there, back):
        place = 0.95 * (len(d) - 1)
        low, share = int(place), place - int(place)
        d = np.append(np.sort(d), 0.0)
        expected.append((1 - share) * d[low] + (share * d[low + 1] if share else 0))
    assert metrics.hausdorff_distance(t, p, spacing=sides, **said) == pytest.approx(max(expected))
    pooled = np.concatenate([there, back])
    assert metrics.average_surface_distance(t, p, sides, **said) == pytest.approx(pooled.mean())
    tau = np.median(pooled)
    within = sum(d <= tau * (1 + 1e-12) for d in pooled)
    assert metrics.surface_dice(t, p, tau, sides, **said) == pytest.approx(within / len(pooled))


@quick
@given(mask_pairs())
def test_boundary_iou_against_brute_force(pair):
    t, p = pair
    said = {"spatial_dims": t.ndim}
    t.flat[0] = True
    width = 1.5

    def band(mask):
        framed = np.pad(mask, 1)
        inside, outside = np.argwhere(framed), np.argwhere(~framed)
        near = nearest(inside, outside) <= width if len(inside) else []
        return {tuple(index) for index in inside[near]} if len(inside) else set()

    t_band, p_band = band(t), band(p)
    expected = len(t_band & p_band) / len(t_band | p_band)
    assert metrics.boundary_iou(t, p, width=width, **said) == pytest.approx(expected)


@quick
@given(mask_pairs())
def test_surface_metric_properties(pair):
    t, p = pair
    said = {"spatial_dims": t.ndim}
    for metric in SURFACE + BY_AREA:
        value = metric(t, p, **said)
        assert value == pytest.approx(metric(p, t, **said))
        assert value == pytest.approx(metric(np.flip(t), np.flip(p), **said))
        assert value == pytest.approx(metric(t.T, p.T, **said))
        assert metric(t, t, **said) == (0 if metric in SURFACE[:2] + BY_AREA[:2] else 1)
    for metric in SURFACE[:2] + BY_AREA[:2]:  # twice the pixel, twice the distance
        assert metric(t, p, spacing=2.0, **said) == pytest.approx(2 * metric(t, p, **said))
    hd50, hd95, hd100 = (metrics.hausdorff_distance(t, p, q, **said) for q in (50, 95, 100))
    assert 0 <= hd50 <= hd95 <= hd100
    assert metrics.average_surface_distance(t, p, **said) <= hd100
    assert 0 <= metrics.surface_dice(t, p, 0, **said) <= metrics.surface_dice(t, p, 1, **said) <= 1
    assert 0 <= metrics.boundary_iou(t, p, **said) <= 1
    assert metrics.boundary_iou(t, p, width=100, **said) == metrics.iou(t, p, **said)


def test_hausdorff_agrees_with_scikit_image():
    rng = np.random.default_rng(0)
    for _ in range(10):
        t, p = rng.random((2, 20, 20)) < 0.1
        # Isolated pixels are their own surface; larger parts need the interior taken out first.
        rings = []
        for mask in (t, p):
            ring = np.zeros_like(mask)
            ring[tuple(surface_points(mask).astype(int).T)] = True
            rings.append(ring)
        assert metrics.hausdorff_distance(t, p, 100) == pytest.approx(skimage_hausdorff(*rings))


# --- Instances ----------------------------------------------------------------------------------


def test_label_components_parts_cells_at_a_diagonal_seam():
    # Two cells and a diagonal seam, one pixel wide, between them: 2 cells, or 1 if corners join.
    mask = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]])
    np.testing.assert_array_equal(metrics.label_components(mask), [[1, 1, 0], [1, 0, 2], [0, 2, 2]])
    assert metrics.label_components(mask, connectivity=2).max() == 1
    assert metrics.label_components(np.zeros((3, 3), bool)).max() == 0
    # In three dimensions two voxels that share an edge, not a face.
    voxels = np.zeros((2, 2, 2), bool)
    voxels[0, 0, 0] = voxels[1, 1, 0] = True
    assert metrics.label_components(voxels, spatial_dims=3).max() == 2
    assert metrics.label_components(voxels, connectivity=2, spatial_dims=3).max() == 1
    for connectivity in (0, 3, 1.5, True):
        with pytest.raises(ValueError, match=r"`connectivity` must be a whole number.*at most 2"):
            metrics.label_components(mask, connectivity)


NONE = [[0, 0, 0, 0, 0, 0]]
ONE = [[1, 1, 1, 1, 0, 0]]
TWO = [[1, 1, 1, 0, 2, 2]]


@pytest.mark.parametrize(
    "y_true, y_pred, threshold, expected",
    [
        # IoU 1 and 0: TP 1, FN 1
        (TWO, [[1, 1, 1, 0, 0, 0]], 0.5, 1 / 2),
        # one too many: TP 1, FP 1
        (ONE, [[1, 1, 1, 1, 0, 9]], 0.5, 1 / 2),
        # IoU 2/3 and 1/2 (2 of 3 pixels; 1 of 2): at 0.5 "greater" leaves one, TP 1, FP 1, FN 1
        (TWO, [[1, 1, 0, 0, 0, 2]], 0.5, 1 / 3),
        (TWO, [[1, 1, 0, 0, 0, 2]], 0.49, 1.0),
        (TWO, [[1, 1, 0, 0, 0, 2]], 0.7, 0.0),  # FP 2, FN 2
        # merged: IoU with the larger is 3/6: not greater than 0.5: FP 1, FN 2
        (TWO, [[7, 7, 7, 7, 7, 7]], 0.5, 0.0),
        # below 0.5 the merged object may still have one partner only: TP 1, FN 1
        (TWO, [[7, 7, 7, 7, 7, 7]], 0.3, 1 / 2),
        # split in two equal halves, IoU 2/4 each: one partner only: TP 1, FP 1
        (ONE, [[1, 1, 2, 2, 0, 0]], 0.4, 1 / 2),
        (ONE, [[1, 1, 2, 2, 0, 0]], 0.5, 0.0),
        (NONE, NONE, 0.5, 1.0),
        (NONE, ONE, 0.5, 0.0),
        (ONE, NONE, 0.5, 0.0),
    ],
)
def test_average_precision_by_hand(y_true, y_pred, threshold, expected):
    value = metrics.average_precision(y_true, y_pred, threshold)
    assert type(value) is float
    assert value == pytest.approx(expected, abs=1e-15)


def test_average_precision_below_one_half_makes_as_many_matches_as_it_can():
    # P1 overlaps T1 by 2 and T2 by 2, P2 overlaps T1 alone by 3:
    #   T1 = 3 + 2 + 0, T2 = 2 + 1 alone, P1 = 4, P2 = 3
    #   IoU(T1, P1) = 2/7, IoU(T2, P1) = 2/5, IoU(T1, P2) = 3/5
    # At 0.25 a greedy start with T1-P1 would strand T2 and P2; the answer is T1-P2 and T2-P1.
    t = [[1, 1, 1, 1, 1, 2, 2, 2]]
    p = [[2, 2, 2, 1, 1, 1, 1, 0]]
    assert metrics.average_precision(t, p, 0.25) == 1.0
    # Here the best pair alone would strand two: T1 = 4 with P1 in 3 of them, and so on in a chain
    # T1-P1 (IoU 3/6), T1-P2 (1/5), T2-P1 (2/6): P1 to T2 and P2 to T1 makes 2 matches at 0.1.
    t = [[1, 1, 1, 1, 2, 2, 2, 0]]
    p = [[1, 1, 1, 2, 1, 1, 0, 2]]
    assert metrics.average_precision(t, p, 0.1) == 1.0


def test_average_precision_over_thresholds():
    # One object, 3 of its 4 pixels found: IoU 0.75 is greater than 0.5 to 0.7, five of ten.
    thresholds = np.linspace(0.5, 0.95, 10)
    p = [[1, 1, 1, 0, 0, 0]]
    values = metrics.average_precision(ONE, p, thresholds)
    assert values.tolist() == [1.0] * 5 + [0.0] * 5
    assert values.mean() == 0.5
    assert metrics.average_precision(ONE, p, [0.5]).shape == (1,)
    for bad in (1.0, -0.1, [0.5, 1.5], np.nan, [[0.5]]):
        with pytest.raises(
            ValueError, match=r"`threshold` .* at least 0 and less than 1\. Received"
        ):
            metrics.average_precision(ONE, p, bad)


@pytest.mark.parametrize(
    "y_true, y_pred, merges, splits",
    [
        (TWO, TWO, 0, 0),
        (TWO, [[3, 3, 3, 3, 3, 3]], 1, 0),  # covers 3 of 3 and 2 of 2
        (ONE, [[1, 1, 2, 2, 0, 0]], 0, 1),  # both lie in it wholly
        # 2 of 3 and 1 of 2: the second is half, not more than half
        (TWO, [[0, 3, 3, 3, 3, 0]], 0, 0),
        # 2 of 3 and 2 of 2
        (TWO, [[0, 3, 3, 3, 3, 3]], 1, 0),
        # pieces of the second part outside: 2 of 2 in, and 2 of 4, half, not more
        ([[1, 1, 1, 1, 0, 0]], [[1, 1, 2, 2, 2, 2]], 0, 0),
        # 2 of 3: more than half
        ([[1, 1, 1, 1, 0, 0]], [[1, 1, 2, 2, 2, 0]], 0, 1),
        # three in one is one merge, and in three pieces one split
        ([[1, 0, 2, 0, 3, 0]], [[4, 4, 4, 4, 4, 4]], 1, 0),
        ([[4, 4, 4, 4, 4, 4]], [[1, 0, 2, 0, 3, 0]], 0, 1),
        # two merges: {1, 2} and {3, 4}
        ([[1, 2, 0, 0, 3, 4]], [[8, 8, 0, 0, 9, 9]], 2, 0),
        # at once: cell 1 in two pieces, the second of which takes all of cells 2 and 3. It lies in
        # cell 1 by 1 of 3 only, so cell 1 holds one piece: a merge and no split.
        ([[1, 1, 1, 2, 3, 0]], [[5, 5, 6, 6, 6, 0]], 1, 0),
        (NONE, TWO, 0, 0),
        (TWO, NONE, 0, 0),
        (NONE, NONE, 0, 0),
    ],
)
def test_merges_and_splits_by_hand(y_true, y_pred, merges, splits):
    assert metrics.merges_and_splits(y_true, y_pred) == (merges, splits)
    assert metrics.merges_and_splits(y_pred, y_true) == (splits, merges)


@pytest.mark.parametrize(
    "y_true, y_pred, sq, rq",
    [
        # IoU 2/3 and 1/2, the second no match: TP 1, FP 1, FN 1: SQ 2/3, RQ 1 / (1 + 1)
        (TWO, [[1, 1, 0, 0, 0, 2]], 2 / 3, 1 / 2),
        # IoU 3/4 and 1: mean 7/8, all found
        ([[1, 1, 1, 1, 0, 2]], [[4, 4, 4, 0, 0, 3]], 7 / 8, 1.0),
        # only false positives left over: TP 1, FP 2: 1 / (1 + 1)
        ([[1, 0, 0]], [[1, 2, 3]], 1.0, 1 / 2),
        # only false negatives left over: TP 1, FN 3: 1 / (1 + 1.5)
        ([[1, 2, 3, 4]], [[1, 0, 0, 0]], 1.0, 1 / 2.5),
        (TWO, [[7, 7, 7, 7, 7, 7]], 0.0, 0.0),  # IoU 3/6 and 2/6: no match
        (NONE, NONE, 1.0, 1.0),
        (NONE, ONE, 0.0, 0.0),
        (ONE, NONE, 0.0, 0.0),
    ],
)
def test_panoptic_quality_by_hand(y_true, y_pred, sq, rq):
    value = metrics.panoptic_quality(y_true, y_pred)
    assert value == pytest.approx((sq * rq, sq, rq), abs=1e-15)


@pytest.mark.parametrize(
    "y_true, y_pred, expected",
    [
        # 2 of 3 and 1 of 2: (2 + 1) / (3 + 2)
        (TWO, [[1, 1, 0, 0, 0, 2]], 3 / 5),
        # missed: 3 / (3 + 2)
        (TWO, [[1, 1, 1, 0, 0, 0]], 3 / 5),
        # invented: 4 / (4 + 2)
        (ONE, [[1, 1, 1, 1, 2, 2]], 4 / 6),
        # split, 3 and 1: the larger is chosen, 3 / (4 + 1 unused)
        (ONE, [[1, 1, 1, 2, 0, 0]], 3 / 5),
        # merged: both true objects choose it, (3 + 2) / (6 + 6), its area twice
        (TWO, [[7, 7, 7, 7, 7, 7]], 5 / 12),
        (NONE, NONE, 1.0),
        (NONE, ONE, 0.0),
        (ONE, NONE, 0.0),
    ],
)
def test_aggregated_jaccard_by_hand(y_true, y_pred, expected):
    assert metrics.aggregated_jaccard_index(y_true, y_pred) == pytest.approx(expected, abs=1e-15)


def test_aggregated_jaccard_tie_takes_the_larger_overlap():
    # True object of 4. P1 = 1 pixel inside: IoU 1/4. P2 = 2 inside and 4 outside: IoU 2/8 = 1/4.
    # With P2: 2 / (8 + 1) = 2/9. With P1: 1 / (4 + 6) = 1/10.
    t = [[1, 1, 1, 1, 0, 0, 0, 0]]
    p = [[1, 2, 2, 0, 2, 2, 2, 2]]
    assert metrics.aggregated_jaccard_index(t, p) == pytest.approx(2 / 9)


@pytest.mark.parametrize(
    "y_true, y_pred, expected",
    [
        # t: 2 pixels twice, 2 * 2 * 1 = 4; s: one of 4, 4 * 3 = 12; n = t: 1 - 2 * 4 / 16
        ([[1, 1, 0, 2, 2]], [[3, 3, 3, 3, 3]], 1 / 2),
        # the same turned round, 1 - 2 * 4 / (12 + 4)
        ([[3, 3, 3, 3]], [[1, 1, 2, 2]], 1 / 2),
        # an object invented on the background has no say
        ([[1, 1, 0, 0]], [[1, 1, 2, 2]], 0.0),
        # half missed, as one more segment: n = s = (2, 2): 4; t: 12
        ([[1, 1, 1, 1]], [[1, 1, 0, 0]], 1 / 2),
        # all objects of one pixel: no pair of pixels to judge, in either map
        ([[1, 2, 0]], [[5, 6, 0]], 0.0),
        # one pixel each, joined: n 0, t 0, s 2 * 1: 1 - 0 / 2
        ([[1, 2, 0]], [[5, 5, 0]], 1.0),
        (NONE, NONE, 0.0),
        (NONE, ONE, 1.0),
        (ONE, NONE, 1.0),
    ],
)
def test_adapted_rand_error_by_hand(y_true, y_pred, expected):
    assert metrics.adapted_rand_error(y_true, y_pred) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    "y_true, y_pred, merge, split",
    [
        # four quarters joined: log2(4) bits are lost
        ([[1, 2, 3, 4]], [[1, 1, 1, 1]], 2.0, 0.0),
        ([[1, 1, 1, 1]], [[1, 2, 3, 4]], 0.0, 2.0),
        # the left half is kept, the right half (weight 1/2) split in two: 1/2 bit
        ([[1, 1, 2, 2]], [[1, 1, 2, 3]], 0.0, 0.5),
        # independent halves: 1 bit each way
        ([[1, 1], [2, 2]], [[1, 2], [1, 2]], 1.0, 1.0),
        # background is a segment: half of it filled adds 1 bit
        ([[0, 0, 0, 0]], [[0, 0, 1, 1]], 0.0, 1.0),
        ([[0, 0, 1, 1]], [[0, 0, 0, 0]], 1.0, 0.0),
        ([[0, 0, 0, 0]], [[0, 0, 0, 0]], 0.0, 0.0),
    ],
)
def test_variation_of_information_by_hand(y_true, y_pred, merge, split):
    value = metrics.variation_of_information(y_true, y_pred)
    assert value == pytest.approx((merge, split), abs=1e-12)
    assert math.copysign(1, value.merge) == math.copysign(1, value.split) == 1


def dense_table(t, p):
    """Contingency table with background, cell by cell."""
    true, pred = np.unique(np.append(t, 0)), np.unique(np.append(p, 0))
    return np.array([[np.sum((t == i) & (p == j)) for j in pred] for i in true], float)


@quick
@given(instance_pairs())
def test_instance_metrics_against_the_dense_table(pair):
    t, p = pair
    said = {"spatial_dims": t.ndim}
    table = dense_table(t, p)
    t_area, p_area = table.sum(axis=1)[1:], table.sum(axis=0)[1:]
    inter = table[1:, 1:]
    union = t_area[:, None] + p_area - inter
    ious = inter / np.maximum(union, 1)
    n, m = inter.shape

    for threshold in (0.0, 0.2, 0.5, 0.7):
        rows, columns = linear_sum_assignment(-(ious > threshold).astype(float))
        tp = (ious > threshold)[rows, columns].sum()
        expected = tp / (n + m - tp) if n + m else 1.0
        assert metrics.average_precision(t, p, threshold, **said) == pytest.approx(expected)

    pq = ious[ious > 0.5].sum() / ((n + m) / 2) if n + m else 1.0
    assert metrics.panoptic_quality(t, p, **said).pq == pytest.approx(pq)

    c, u, used = 0.0, 0.0, set()
    for i in range(n):
        best = max(range(m), key=lambda j: (ious[i, j], inter[i, j], -j), default=None)
        if best is None or inter[i, best] == 0:
            u += t_area[i]
            continue
        c, u = c + inter[i, best], u + union[i, best]
        used.add(best)
    u += sum(p_area[j] for j in range(m) if j not in used)
    assert metrics.aggregated_jaccard_index(t, p, **said) == pytest.approx(c / u if u else 1.0)

    if n and m:
        in_cells = table[1:]
        pairs = [(x * (x - 1)).sum() for x in (in_cells, in_cells.sum(axis=0), t_area)]
        expected = 1 - 2 * pairs[0] / (pairs[1] + pairs[2]) if pairs[1] + pairs[2] else 0.0
        assert metrics.adapted_rand_error(t, p, **said) == pytest.approx(expected)

    share = table / table.sum()

    def entropy(q):
        return -sum(x * math.log2(x) for x in q.ravel() if x > 0)

    joint = entropy(share)
    expected = (joint - entropy(share.sum(axis=0)), joint - entropy(share.sum(axis=1)))
    assert metrics.variation_of_information(t, p, **said) == pytest.approx(expected, abs=1e-9)

    covered, held = inter > t_area[:, None] / 2, inter > p_area / 2
    expected = (covered.sum(axis=0) >= 2).sum(), (held.sum(axis=1) >= 2).sum()
    assert metrics.merges_and_splits(t, p, **said) == expected


@quick
@given(instance_pairs(), st.permutations(range(1, 5)))
def test_instance_metric_properties(pair, numbers):
    t, p = pair
    said = {"spatial_dims": t.ndim}
    permuted = np.array([0, *numbers])[p]
    # Gaps and numbers beyond 32 bits, in the same order.
    spread = np.array([0, 3, 10**6, 2**40, 2**62])[t]
    for metric in INSTANCE:
        value = metric(t, p, **said)
        assert metric(spread, p, **said) == pytest.approx(value)
        assert metric(np.flip(t), np.flip(p), **said) == pytest.approx(value)
        if metric is not metrics.aggregated_jaccard_index:  # its last tie-break is the number
            assert metric(t, permuted, **said) == pytest.approx(value)
    assert metrics.average_precision(t, t, **said) == 1
    assert metrics.merges_and_splits(t, t, **said) == (0, 0)
    assert metrics.panoptic_quality(t, t, **said) == (1, 1, 1)
    assert metrics.aggregated_jaccard_index(t, t, **said) == 1
    assert metrics.adapted_rand_error(t, t, **said) == 0
    assert metrics.variation_of_information(t, t, **said) == pytest.approx((0, 0), abs=1e-12)
    assert metrics.average_precision(p, t, 0.3, **said) == metrics.average_precision(
        t, p, 0.3, **said
    )
    assert metrics.panoptic_quality(p, t, **said) == pytest.approx(
        metrics.panoptic_quality(t, p, **said)
    )
    merge, split = metrics.variation_of_information(t, p, **said)
    assert metrics.variation_of_information(p, t, **said) == pytest.approx(
        (split, merge), abs=1e-12
    )
    assert 0 <= metrics.aggregated_jaccard_index(t, p, **said) <= 1
    assert 0 <= metrics.adapted_rand_error(t, p, **said) <= 1
    one = (t > 0).astype(int), (p > 0).astype(int)
    assert metrics.aggregated_jaccard_index(*one, **said) == pytest.approx(
        metrics.iou(*one, **said)
    )


def test_instance_metrics_take_every_integer_type():
    for dtype in (np.uint8, np.int16, np.uint16, np.int32, np.uint64):
        t, p = np.array(TWO, dtype), np.array([[1, 1, 0, 0, 0, 2]], dtype)
        assert metrics.average_precision(t, p) == 1 / 3
        assert metrics.panoptic_quality(t, p).sq == 2 / 3


# --- Calibration --------------------------------------------------------------------------------


def test_reliability_curve_by_hand():
    # Bins (0, .25], (.25, .5], (.5, .75], (.75, 1], the first with 0.
    y_true = [[0, 1, 0, 1, 1, 0]]
    y_prob = [[0.0, 0.25, 0.5, 0.8, 0.9, 1.0]]
    curve = metrics.reliability_curve(y_true, y_prob, bins=4)
    # 0 and .25: mean .125, 1 of 2 foreground; .5: none of 1; no pixel; .8, .9, 1: mean .9, 2 of 3
    assert curve.count.tolist() == [2, 1, 0, 3]
    np.testing.assert_allclose(curve.confidence, [0.125, 0.5, np.nan, 0.9])
    np.testing.assert_allclose(curve.accuracy, [0.5, 0.0, np.nan, 2 / 3])
    # 2/6 * .375 + 1/6 * .5 + 3/6 * (.9 - 2/3) = .125 + .08333 + .11667 = .325
    assert metrics.expected_calibration_error(y_true, y_prob, bins=4) == pytest.approx(0.325)


def test_calibration_of_classes_by_hand():
    y_true = [0, 1, 2]
    y_prob = [[0.6, 0.4, 0.0], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]
    # Confidence .6, .6, .8; right, wrong, right. Bins of a fifth, (.4, .6] and (.6, .8]:
    # 2/3 * |1/2 - .6| + 1/3 * |1 - .8| = .0667 + .0667
    assert metrics.expected_calibration_error(y_true, y_prob, bins=5) == pytest.approx(2 / 15)
    curve = metrics.reliability_curve(y_true, y_prob, bins=5)
    assert curve.count.tolist() == [0, 0, 2, 1, 0]


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_calibration_extremes(bins):
    y_true = np.array([[0, 1], [1, 1]])
    assert metrics.expected_calibration_error(y_true, y_true.astype(float), bins) == 0
    assert metrics.expected_calibration_error(y_true, 1.0 - y_true, bins) == pytest.approx(
        # sure and wrong in both bins; in one bin the errors cancel: |3/4 - 1/4|
        1.0 if bins > 1 else 0.5
    )
    empty = np.zeros((3, 3), int)
    assert metrics.expected_calibration_error(empty, np.zeros((3, 3)), bins) == 0
    assert metrics.expected_calibration_error(empty, np.ones((3, 3)), bins) == 1


@quick
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.booleans())
def test_calibration_against_brute_force(seed, bins, classes):
    rng = np.random.default_rng(seed)
    if classes:
        y_prob = rng.dirichlet(np.ones(4), size=(6, 5))
        y_true = rng.integers(0, 4, size=(6, 5))
        confidence = y_prob.max(axis=-1).ravel()
        right = (y_prob.argmax(axis=-1) == y_true).ravel()
    else:
        # Multiples of 1/20 hit the edges of the bins.
        y_prob = np.where(
            rng.random((6, 5)) < 0.5, rng.random((6, 5)), rng.integers(0, 21, (6, 5)) / 20
        )
        y_true = rng.integers(0, 2, size=(6, 5))
        confidence, right = y_prob.ravel(), y_true.ravel()
    error = 0.0
    edges = np.linspace(0, 1, bins + 1)
    for m in range(bins):
        inside = (confidence > edges[m]) & (confidence <= edges[m + 1])
        if m == 0:
            inside |= confidence == 0
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    value = metrics.expected_calibration_error(y_true, y_prob, bins)
    assert value == pytest.approx(error, abs=1e-12)
    assert 0 <= value <= 1
    keep = rng.random(y_true.shape) < 0.5
    keep.flat[0] = True
    assert metrics.reliability_curve(y_true[keep], y_prob[keep]).count.sum() == keep.sum()


def test_calibrated_probabilities_have_a_small_error_and_overconfident_ones_do_not():
    rng = np.random.default_rng(0)
    p = rng.random((200, 200))
    y = rng.random((200, 200)) < p
    # 40,000 pixels in 15 bins: the gap of a bin is about sqrt(.25 / 2667) = 0.01 at most.
    assert metrics.expected_calibration_error(y, p) < 0.01
    sharpened = p**3 / (p**3 + (1 - p) ** 3)
    # The gap is |s(p) - p|, whose mean over p is 0.141 (by quadrature).
    grid = (np.arange(10_000) + 0.5) / 10_000
    gap = np.abs(grid**3 / (grid**3 + (1 - grid) ** 3) - grid).mean()
    assert metrics.expected_calibration_error(y, sharpened) == pytest.approx(gap, abs=0.01)


def test_float32_softmax_rounding_is_not_an_error():
    y_prob = np.array([[1.0000001, 0.0]], np.float32)
    assert y_prob.max() > 1
    assert metrics.expected_calibration_error([0], y_prob) == 0
    assert metrics.expected_calibration_error([1], y_prob[:, 0]) == 0


# --- Errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", OVERLAP + SURFACE + TOPOLOGY)
@pytest.mark.parametrize(
    "bad, message",
    [
        (np.full((4, 4), 255, np.uint8), "`y_{}` must be a binary mask.*uint8.*from 255 to 255"),
        (np.full((4, 4), 0.3), "`y_{}` must be a binary mask.*threshold.*float64.*from 0.3"),
        (np.full((4, 4), np.nan), "`y_{}` must be a binary mask.*nan"),
        (-2 * np.eye(4, dtype=int), "`y_{}` must be a binary mask.*from -2 to 0"),
        (np.full((4, 4), "a"), "`y_{}` must be one array of booleans or numbers.*dtype <U1"),
        ([[1, 0], [1]], "`y_{}` must be one array.*all images of one size.*list"),
        (np.ones(4), r"`y_{}` must be one image.*shape \(4,\)"),
        (np.ones((2, 4, 4)), r"`y_{}` has 3 axes.*Say `spatial_dims=2` or.*shape \(2, 4, 4\)"),
        (np.ones((1, 4, 4, 2)), r"`y_{}` has 4 axes.*shape \(1, 4, 4, 2\)"),
        (np.ones((1, 1, 4, 4, 2)), r"`y_{}` must be one image.*shape \(1, 1, 4, 4, 2\)"),
        (np.ones((0, 4)), r"`y_{}` must be one image.*shape \(0, 4\)"),
        (np.ones((4, 4, 1)), r"`y_{0}` seems to carry a channel axis.*`y_{0}\[\.\.\., 0\]`"),
        (np.ones((4, 5)), r"the same shape.*\(4, [45]\).*\(4, [45]\)"),
    ],
)
def test_binary_metrics_refuse(metric, bad, message):
    good = np.eye(4, dtype=int)
    with pytest.raises(ValueError, match=message.format("true")):
        metric(bad, good)
    with pytest.raises(ValueError, match=message.format("pred")):
        metric(good, bad)


@pytest.mark.parametrize("metric", INSTANCE)
@pytest.mark.parametrize(
    "bad, message",
    [
        (np.ones((4, 4), bool), "`y_{}` must be an integer instance map.*touch.*label_components"),
        (np.ones((4, 4)), "`y_{}` must be an integer instance map.*float64"),
        (np.eye(4) / 2, "`y_{}` must be an integer instance map.*from 0.0 to 0.5"),
        (-2 * np.eye(4, dtype=int), "`y_{}` must be an integer instance map.*from -2 to 0"),
        ([[2**64, 0]], "`y_{}` must be one array of booleans or numbers.*dtype object"),
        (np.ones(4, int), r"`y_{}` must be one image.*shape \(4,\)"),
        (np.ones((2, 4, 4), int), r"`y_{}` has 3 axes.*Say `spatial_dims=2` or"),
        (np.ones((4, 4, 1), int), "`y_{}` seems to carry a channel axis"),
        (np.ones((4, 5), int), r"the same shape.*\(4, [45]\).*\(4, [45]\)"),
    ],
)
def test_instance_metrics_refuse(metric, bad, message):
    good = np.eye(4, dtype=int)
    with pytest.raises(ValueError, match=message.format("true")):
        metric(bad, good)
    with pytest.raises(ValueError, match=message.format("pred")):
        metric(good, bad)


@pytest.mark.parametrize("metric", SURFACE)
@pytest.mark.parametrize(
    "spacing", [0, -1.0, np.nan, np.inf, "1", True, (1, 0), (1, 1, 1), [[1, 1]], np.eye(2)]
)
def test_surface_metrics_refuse_spacing(metric, spacing):
    # Masks that are empty are no way round the check.
    for mask in (SQUARE, np.zeros_like(SQUARE)):
        with pytest.raises(
            ValueError,
            match=r"`spacing` must be .*(number and greater than 0|of the 2 axes).*Received",
        ):
            metric(mask, mask, spacing=spacing)


def test_surface_metrics_refuse_settings():
    for percentile in (0, -5, 101, np.nan, "95", None):
        with pytest.raises(ValueError, match=r"`percentile` must be .* at most 100\. Received"):
            metrics.hausdorff_distance(SQUARE, SQUARE, percentile)
    for metric in SURFACE[:3]:
        with pytest.raises(ValueError, match=r"`weighting` must be one of .*'area'.*'volume'"):
            metric(SQUARE, SQUARE, weighting="volume")
    for tolerance in (-1, np.nan, np.inf, None):
        with pytest.raises(ValueError, match=r"`tolerance` must be .*Received"):
            metrics.surface_dice(SQUARE, SQUARE, tolerance)
    for width in (0, 0.5, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"`width` must be .*Received"):
            metrics.boundary_iou(SQUARE, SQUARE, width)
    with pytest.raises(ValueError, match=r"largest side, 1\. Received: 0\.5"):
        metrics.boundary_iou(SQUARE, SQUARE, 0.5)
    with pytest.raises(ValueError, match=r"largest side, 2\.5. Received: 2"):
        metrics.boundary_iou(SQUARE, SQUARE, 2, spacing=(1, 2.5))


@pytest.mark.parametrize(
    "y_true, y_prob, bins, message",
    [
        ([0, 1], [0.5, 0.5], 0, "`bins` must be"),
        ([0, 1], [0.5, 0.5], 2.5, "`bins` must be"),
        ([0, 1], [0.5, 0.5], 10**12, "`bins` must be"),
        ([0, 1], [-3.0, 4.0], 15, "probabilities between 0 and 1.*logits.*from -3.0 to 4.0"),
        ([0, 1], [0.5, np.nan], 15, "probabilities between 0 and 1"),
        ([0, 2], [0.5, 0.5], 15, "`y_true` must be a binary mask.*from 0 to 2"),
        ([0, 1], [0.5, 0.5, 0.5], 15, "shape of `y_true`"),
        ([0, 1], [True, False], 15, "must hold numbers"),
        ([], [], 15, "there must be a pixel"),
        ([0, 1], [[0.5], [0.5]], 15, "two or more"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], 15, "from 0 to classes - 1.*from 0 to 2"),
        ([0, -2], [[0.5, 0.5], [0.5, 0.5]], 15, "from 0 to classes - 1"),
        ([0, 255], [[0.5, 0.5], [0.5, 0.5]], 15, "from 0 to classes - 1, beside -1 and `ignore_c"),
        ([0.0, 1.0], [[0.5, 0.5], [0.5, 0.5]], 15, "integer class map"),
    ],
)
def test_calibration_refuses(y_true, y_prob, bins, message):
    for function in (metrics.reliability_curve, metrics.expected_calibration_error):
        with pytest.raises(ValueError, match=message):
            function(np.array(y_true), np.array(y_prob), bins)

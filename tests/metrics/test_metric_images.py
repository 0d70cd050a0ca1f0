"""One image or several, pixels that are left out, and where the numbers come from."""

import functools
import math

import keras
import numpy as np
import pytest

from segloss_ref import metrics

surface_dice = functools.partial(metrics.surface_dice, tolerance=0)
MASKS = [
    metrics.dice,
    metrics.iou,
    metrics.precision,
    metrics.recall,
    metrics.specificity,
    metrics.hausdorff_distance,
    metrics.average_surface_distance,
    surface_dice,
    metrics.boundary_iou,
    metrics.betti_errors,
    metrics.cl_dice,
]
MAPS = [
    metrics.average_precision,
    functools.partial(metrics.average_precision, threshold=[0.3, 0.5]),
    metrics.merges_and_splits,
    metrics.panoptic_quality,
    metrics.aggregated_jaccard_index,
    metrics.adapted_rand_error,
    metrics.variation_of_information,
]


def a_batch(shape, high, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, high, shape), rng.integers(0, high, shape)


def image_by_image(values):
    """An array with one row, or one number, for each image."""
    return np.transpose(values) if isinstance(values, tuple) else values


# --- One image or a batch -----------------------------------------------------------------------


def test_an_image_that_is_missed_in_a_stack_counts():
    # A stack as one volume would give 2 * 4 / (4 + 5) = 8/9 for both.
    t = [[[1, 1], [1, 1]], [[1, 0], [0, 0]]]
    p = [[[1, 1], [1, 1]], [[0, 0], [0, 0]]]
    assert metrics.dice(t, p, spatial_dims=2).tolist() == [1.0, 0.0]
    assert metrics.dice(t, p, spatial_dims=3) == 8 / 9
    with pytest.raises(ValueError, match=r"Say `spatial_dims=2` or `spatial_dims=3`"):
        metrics.dice(t, p)


@pytest.mark.parametrize("metric, high", [(m, 2) for m in MASKS] + [(m, 4) for m in MAPS])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_has_the_value_of_each_image(metric, high, dims):
    t, p = a_batch((3, *(2, 5, 6)[-dims:]), high)
    batch = metric(t, p, spatial_dims=dims)
    each = [metric(a, b, spatial_dims=dims) for a, b in zip(t, p)]
    if isinstance(each[0], tuple):
        assert type(batch) is type(each[0])
        assert all(field.shape == (3,) for field in batch)
    np.testing.assert_array_equal(image_by_image(batch), each)
    nothing = metric(t[:0], p[:0], spatial_dims=dims)
    assert image_by_image(nothing).shape == (0, *np.shape(each)[1:])


def test_label_components_of_a_batch_do_not_join():
    masks = np.ones((2, 1, 3), int)
    masks[1, 0, 1] = 0
    labels = metrics.label_components(masks, spatial_dims=2)
    assert labels.tolist() == [[[1, 1, 1]], [[1, 0, 2]]]
    volume = metrics.label_components(masks, spatial_dims=3)
    assert volume.tolist() == [[[1, 1, 1]], [[1, 0, 1]]]


@pytest.mark.parametrize(
    "shape, dims, message",
    [
        ((4, 5), 3, r"must be one image, \(depth, height, width\), or a batch of them"),
        ((2, 3, 4, 5), 2, r"must be one image, \(height, width\), or a batch of them"),
        ((2, 3, 4, 5, 6), 3, r"must be one image"),
        ((0, 5), 2, "with a pixel at least"),
        ((2, 0, 5), 2, "with a pixel at least"),
        # As lines, or volumes of one plane, they would be something else than what was meant.
        ((4, 5, 1), None, "seems to carry a channel axis"),
        ((4, 5, 1), 2, "seems to carry a channel axis"),
        ((4, 5, 1), 3, "seems to carry a channel axis"),
        ((2, 4, 5, 1), 3, "seems to carry a channel axis"),
        ((4, 5), 1, "`spatial_dims` must be one of None, 2, 3. Received: 1"),
        ((4, 5), "2", "`spatial_dims` must be one of"),
    ],
)
def test_other_axes_are_refused(shape, dims, message):
    y = np.ones(shape, int)
    for metric in (metrics.dice, metrics.hausdorff_distance, metrics.panoptic_quality):
        with pytest.raises(ValueError, match=message):
            metric(y, y, spatial_dims=dims)
    with pytest.raises(ValueError, match=message):
        metrics.label_components(y, spatial_dims=dims)


def test_shapes_are_never_broadcast():
    with pytest.raises(ValueError, match=r"the same shape.*\(1, 4, 5\).*\(3, 4, 5\)"):
        metrics.dice(np.ones((1, 4, 5)), np.ones((3, 4, 5)), spatial_dims=2)
    with pytest.raises(ValueError, match=r"the same shape.*\(4, 5\).*\(1, 4, 5\)"):
        metrics.dice(np.ones((4, 5)), np.ones((1, 4, 5)), spatial_dims=2)


# --- Pixels that are left out -------------------------------------------------------------------


def test_overlap_leaves_pixels_out():
    # Of six pixels the last two are out: TP 1, FN 1, FP 1, TN 1.
    p = [[1, 0, 1, 0, 1, math.nan]]
    for t, ignored in (
        ([[1, 1, 0, 0, -1, -1]], None),
        ([[1, 1, 0, 0, -1, 255]], 255),
        (np.uint8([[1, 1, 0, 0, 254, 255]]), (254, 255)),
        ([[1.0, 1.0, 0.0, 0.0, -1.0, 7.0]], [7]),
    ):
        found = [metric(t, p, ignore_class=ignored) for metric in MASKS[:5]]
        assert found == [1 / 2, 1 / 3, 1 / 2, 1 / 2, 1 / 2]
    # What is left out is said: another number than 0 and 1 is no mask.
    with pytest.raises(ValueError, match=r"`y_true` must be a binary mask.*`ignore_class`"):
        metrics.dice([[1, 0, 255]], [[1, 0, 0]])
    with pytest.raises(ValueError, match=r"`y_pred` must be a binary mask"):
        metrics.dice([[1, 0, 255]], [[1, -1, 0]], ignore_class=255)
    with pytest.raises(ValueError, match="`ignore_class` must be an integer label"):
        metrics.dice([[1, 0]], [[1, 0]], ignore_class=1.5)


def test_a_void_neighbour_makes_no_surface():
    # In a row of 3 x 9 the truth is columns 2 to 4; columns 5 and 6 are out. Its surface are its
    # pixels but for the middle of columns 3 and 4: (1, 4) has the void on its right.
    t = np.zeros((3, 9), int)
    t[:, 2:5], t[:, 5:7] = 1, -1
    p = np.zeros((3, 9), int)
    p[:, 3:7] = 1
    # Of the prediction columns 3 and 4 are left; its surface there is all but (1, 4).
    # Truth to prediction: column 2 is 1 away (3 pixels), the other 4 are on its surface.
    # Prediction to truth: (1, 3) has the truth's surface 1 away, the other 4 are on it.
    assert metrics.average_surface_distance(t, p) == (3 + 1) / (7 + 5)
    assert metrics.hausdorff_distance(t, p, 100) == 1.0
    assert surface_dice(t, p) == (4 + 4) / (7 + 5)
    # The bands of one pixel are the surfaces: 4 in common of 7 + 5.
    assert metrics.boundary_iou(t, p, width=1) == 4 / (7 + 5 - 4)
    # Whatever the prediction is beyond, and whatever the label is called.
    other = np.where(t == -1, np.nan, p)
    named = np.where(t == -1, 9, t)
    for metric in MASKS:
        assert metric(named, other, ignore_class=9) == metric(t, p)


def test_the_edge_of_the_image_stays_a_surface_beside_void_pixels():
    t = np.ones((3, 3), int)
    t[0, 0] = -1
    p = np.zeros((3, 3), int)
    p[1, 1] = 1
    # (0, 1) and (1, 0) lie at the edge, so the surface is the ring without (0, 0): distances 1 four
    # times and sqrt 2 three times; back 1.
    expected = (4 + 3 * math.sqrt(2) + 1) / 8
    assert metrics.average_surface_distance(t, p) == pytest.approx(expected)


def test_masks_that_fill_what_is_seen_have_no_surface():
    # A frame of void around two rooms of one pixel, parted by void.
    t = np.full((3, 5), -1)
    t[1, 1], t[1, 3] = 1, 0
    same, other = (t == 1).astype(int), (t == 0).astype(int)
    values = [metric(t, same) for metric in MASKS[5:9]]
    assert values == [0.0, 0.0, 1.0, 1.0]
    values = [metric(t, other) for metric in MASKS[5:9]]
    assert values == [math.inf, math.inf, 0.0, 0.0]


def test_instances_lose_their_void_pixels():
    # Object 2 lies in the void wholly and does not count, nor does what is predicted there.
    # T1 = columns 0-3 of which 3 is out: 3 pixels. P5 = 2 of them, P6 in the void alone.
    t = [[1, 1, 1, -1, 0, -1, -1]]
    p = [[5, 5, 0, 5, 0, 6, -8]]
    assert metrics.average_precision(t, p) == 1.0  # IoU 2/3
    assert metrics.panoptic_quality(t, p) == (2 / 3, 2 / 3, 1.0)
    assert metrics.aggregated_jaccard_index(t, p) == 2 / 3
    assert metrics.merges_and_splits(t, p) == (0, 0)
    # t: 3 * 2; of it 2 pixels in P5 and 1 in the background: 1 - 2 * 2 / (6 + 2)
    assert metrics.adapted_rand_error(t, p) == pytest.approx(1 / 2)
    # Pixels 3 and 1 of the truth, 2 and 2 of the prediction: one of T1 lies in the background.
    whole = metrics.variation_of_information([[1, 1, 1, 0]], [[5, 5, 0, 0]])
    assert metrics.variation_of_information(t, p) == pytest.approx(whole)
    named = np.where(np.array(t) == -1, 77, t)
    assert metrics.panoptic_quality(named, p, ignore_class=77) == (2 / 3, 2 / 3, 1.0)
    with pytest.raises(ValueError, match=r"`y_pred` must be an integer instance map.*from -8 to 6"):
        metrics.average_precision([[1, 1, 1, 0, 0, 0, 0]], p)


def test_large_numbers_of_objects_stay_apart():
    # In float64 these three are one number.
    t = np.array([[2**63, 2**63, 2**63 + 1, 0]], np.uint64)
    p = np.array([[1, 1, 2, 2**64 - 1]], np.uint64)
    assert metrics.average_precision(t, p) == 2 / 3
    assert metrics.average_precision(t, p, ignore_class=2**63 + 1) == 1 / 2
    assert metrics.variation_of_information(t, np.array([[1, 1, 2, 0]])) == (0, 0)


def test_calibration_leaves_pixels_out():
    t, p = [[0, 1, -1, 255]], [[0.2, 0.7, math.nan, -9.0]]
    # |0 - .2| and |1 - .7|, each of half of the pixels.
    error = metrics.expected_calibration_error(t, p, ignore_class=255)
    assert error == pytest.approx((0.2 + 0.3) / 2)
    assert metrics.reliability_curve(t, p, 2, ignore_class=255).count.tolist() == [1, 1]
    classes = [[[0.9, 0.1], [0.2, 0.8], [math.nan, 0.0], [5.0, 5.0]]]
    error = metrics.expected_calibration_error(t, classes, ignore_class=255)
    assert error == pytest.approx((0.1 + 0.2) / 2)
    with pytest.raises(ValueError, match="`y_true` must be a binary mask"):
        metrics.expected_calibration_error([[0, 255]], [[0.2, 0.7]])


def test_label_components_keep_void_apart():
    labels = metrics.label_components([[1, -1, 1, 255, 1]], ignore_class=255)
    assert labels.tolist() == [[1, -1, 2, -1, 3]]
    # And they go into a metric as they are: truth 1, 2, 3 of which the last is merged with 2.
    assert metrics.average_precision(labels, [[1, 9, 2, 2, 0]]) == 2 / 3


@pytest.mark.parametrize("metric", MASKS + MAPS)
def test_an_image_without_a_pixel_to_judge_is_nan(metric):
    t, p = np.full((2, 3), -1), np.ones((2, 3), int)
    assert np.isnan(metric(t, p)).all()
    assert type(metric(t, p)) is type(metric(p, p))
    batch = metric(np.stack([p, t]), np.stack([p, p]), spatial_dims=2)
    np.testing.assert_array_equal(image_by_image(batch), [metric(p, p), metric(t, p)])


def test_calibration_without_a_pixel_to_judge_is_nan():
    assert math.isnan(metrics.expected_calibration_error([[-1, -1]], [[0.5, math.nan]]))
    curve = metrics.reliability_curve([[-1, -1]], [[0.5, 0.5]], bins=3)
    assert curve.count.tolist() == [0, 0, 0] and np.isnan(curve.accuracy).all()


# --- Where the numbers come from ----------------------------------------------------------------


def test_eager_tensors_are_read():
    t, p = keras.ops.convert_to_tensor([[1, 1, 0]]), keras.ops.convert_to_tensor([[0, 1, 1]])
    assert metrics.dice(t, p) == 0.5
    half = keras.ops.convert_to_tensor([[0.5, 0.5, 0.5]], dtype="bfloat16")
    assert metrics.expected_calibration_error(t, half) == pytest.approx(2 / 3 - 1 / 2)


def test_tensors_of_pytorch_are_read_whatever_they_belong_to():
    class Tensor:
        """What a tensor with a gradient, on another device, lets one do."""

        dtype, shape = "torch.float32", (1, 3)

        def __init__(self, values, here=False):
            self.values, self.here = values, here

        def detach(self):
            return Tensor(self.values)

        def cpu(self):
            return Tensor(self.values, here=True)

        def __array__(self, dtype=None, copy=None):
            if not self.here:
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            return np.array(self.values)

    assert metrics.dice(Tensor([[1, 1, 0]]), Tensor([[0, 1, 1]])) == 0.5
    # What a compiled model of PyTorch hands out has values, but other axes.
    batch = Tensor(np.zeros((2, 4, 4, 1)))
    with pytest.raises(ValueError, match=r"channel axis.*segloss_ref\.metrics\.DiceMetric\(\)"):
        metrics.dice(batch, batch)


def test_symbolic_tensors_are_told_what_to_use():
    message = r"`y_true` must hold values.*`segloss_ref\.metrics\.DiceMetric\(\)`.*KerasTensor"
    symbolic = keras.KerasTensor((1, 4, 4, 1))
    with pytest.raises(TypeError, match=message):
        metrics.dice(symbolic, symbolic)
    with pytest.raises(TypeError, match="DiceMetric"):
        metrics.expected_calibration_error(symbolic, symbolic)


def test_a_model_compiled_with_a_function_is_told_what_to_use():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", "mse", metrics=[metrics.dice])
    with pytest.raises(TypeError, match=r"segloss_ref\.metrics\.DiceMetric\(\)"):
        model.fit(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4, 1)), verbose=0)

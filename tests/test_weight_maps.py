import doctest
import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from scipy import ndimage

from segloss_ref import ShapeAwareLoss, weight_maps
from segloss_ref.weight_maps import (
    UNET_2015,
    UNET_2019,
    UNetWeightMap,
    seam_reach,
    separate_touching,
    separate_touching_ops,
    unet_weight_map,
    unet_weight_map_ops,
)

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="compiles with tf.function"
)
SPACINGS = [0.4, (1, 2.5), (0.7, 0.3), (1, 1000)]
SIDES = st.sampled_from([0.3, 0.7, 1.0, 2.0, 2.5, 40.0])
# One shape for all examples, or each would be traced anew.
label_maps = arrays(
    np.int32, (8, 9), elements=st.sampled_from([0, 0, 0, -1, 1, 2, 3, 4, 70]), fill=st.nothing()
)


def by_definition(labels, w0, sigma, spacing=1.0):
    """The formula as it stands: a full distance transform per cell, stacked and sorted."""
    weights = np.where(labels < 0, 0.0, 1.0)
    cells = [label for label in np.unique(labels) if label > 0]
    if len(cells) < 2:
        return weights
    distances = [
        ndimage.distance_transform_edt(labels != label, sampling=spacing) for label in cells
    ]
    d1, d2 = np.sort(distances, axis=0)[:2]
    return weights + (labels == 0) * w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))


def discs(side, count, radius, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    y, x = np.ogrid[:side, :side]
    for label in range(1, count + 1):
        center_y, center_x = rng.uniform(0, side, 2)
        labels[(y - center_y) ** 2 + (x - center_x) ** 2 <= radius**2] = label
    return labels


def pair_of_squares(gap, side=20):
    labels = np.zeros((60, 60), np.int32)
    labels[20 : 20 + side, 25 - side : 25] = 1
    labels[20 : 20 + side, 25 + gap : 25 + gap + side] = 2
    return labels


def renumbered(labels, numbers):
    """The cells of `labels` under new numbers, in the same order."""
    cells = np.unique(labels[labels > 0])
    table = dict(zip(cells, numbers, strict=False))
    return np.vectorize(lambda label: table.get(label, label), otypes=[np.int64])(labels)


CROWDED = discs(64, 40, 5)
MAPS = {
    "crowded": CROWDED,
    "scattered": discs(64, 6, 3, seed=1),
    "many tiny": np.random.default_rng(2).integers(0, 30, (64, 64)),
    "no cell": np.zeros((64, 64), np.int32),
    "one cell": discs(64, 1, 9),
    "all one cell": np.ones((64, 64), np.int32),
    "two that touch": np.pad(np.repeat([[1, 2]], 20, 0).repeat(15, 1), ((22, 22), (17, 17))),
    "cut by the border": np.pad(np.zeros((56, 56), np.int32), 4, constant_values=3)
    + np.pad(np.full((4, 4), 8), 30),
    "gaps between the numbers": renumbered(CROWDED, range(7, 1000, 13)),
    "huge numbers": renumbered(CROWDED, range(10**6, 10**9, 10**7)),
    "filled corner": np.where(np.add.outer(range(64), range(64)) < 30, -1, CROWDED),
}


@pytest.fixture(params=MAPS, ids=list(MAPS))
def labels(request):
    return MAPS[request.param]


class TestUNetWeightMap:
    """The NumPy map."""

    @pytest.mark.parametrize(
        ("gap", "added"),
        # In the middle of a gap of n pixels d1 + d2 = n + 1, and 10 exp(-(n + 1)² / 50) is
        # n = 1: exp(-4 / 50) = .923, 2: exp(-9 / 50) = .835, ...
        [(1, 9.231), (2, 8.353), (3, 7.261), (5, 4.868), (10, 0.889), (20, 0.001)],
    )
    def test_gap_table(self, gap, added):
        weights = unet_weight_map(pair_of_squares(gap, side=15))
        np.testing.assert_allclose(weights[27, 25 : 25 + gap] - 1, added, atol=5e-4)

    @pytest.mark.parametrize("settings", [UNET_2015, UNET_2019, {"w0": 3.0, "sigma": 0.8}])
    def test_equals_the_definition(self, labels, settings):
        weights = unet_weight_map(labels, **settings)
        assert weights.dtype == np.float64
        expected = by_definition(labels, **settings)
        # The window leaves out at most 1e-7 w0.
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-7 * settings["w0"])

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(labels=label_maps, sigma=st.floats(0.05, 8))
    def test_equals_the_definition_on_any_labels(self, labels, sigma):
        expected = by_definition(labels, 10, sigma)
        np.testing.assert_allclose(unet_weight_map(labels, 10, sigma), expected, rtol=0, atol=1e-6)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(labels=label_maps, sigma=st.floats(0.05, 8), sides=st.tuples(SIDES, SIDES))
    def test_equals_the_definition_for_any_pixels(self, labels, sigma, sides):
        expected = by_definition(labels, 10, sigma, sides)
        weights = unet_weight_map(labels, 10, sigma, spacing=sides)
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-6)

    def test_published_settings(self):
        assert UNET_2015 == {"w0": 10.0, "sigma": 5.0}
        assert UNET_2019 == {"w0": 50.0, "sigma": 6.0}
        default = unet_weight_map(MAPS["crowded"])
        np.testing.assert_array_equal(default, unet_weight_map(MAPS["crowded"], **UNET_2015))

    def test_touching_cells_get_nothing_between_them_until_they_are_separated(self):
        labels = MAPS["two that touch"]
        assert (unet_weight_map(labels)[labels > 0] == 1).all()
        separated = separate_touching(labels)
        seam = (labels > 0) & (separated == 0)
        assert seam.sum() == 20
        # One pixel wide: d1 = d2 = 1.
        np.testing.assert_allclose(unet_weight_map(separated)[seam], 1 + 10 * np.exp(-4 / 50))

    def test_a_stack_is_its_images(self):
        stack = np.stack([MAPS["crowded"], MAPS["one cell"], MAPS["filled corner"]])
        each = [unet_weight_map(image, class_weights="balanced") for image in stack]
        np.testing.assert_array_equal(unet_weight_map(stack, class_weights="balanced"), each)
        assert unet_weight_map(stack[:0]).shape == (0, 64, 64)

    def test_numbers_do_not_matter(self):
        expected = unet_weight_map(MAPS["crowded"])
        for same in ("gaps between the numbers", "huge numbers"):
            np.testing.assert_array_equal(unet_weight_map(MAPS[same]), expected)
        # Renumbered or not, -1 and 0 are no cells; 9.231 as in a gap of 1 pixel above.
        weights = unet_weight_map(np.array([[-1, 10**6, 0, 10**9]]))
        np.testing.assert_allclose(weights, [[0, 1, 10.231, 1]], atol=5e-4)

    def test_outside_the_picture_weighs_nothing_and_is_no_cell(self):
        labels = np.array([[1, 0, -1], [1, 0, -1]])
        np.testing.assert_array_equal(unet_weight_map(labels), [[1, 1, 0], [1, 1, 0]])


class TestSpacing:
    """Distances and sigma as lengths, in NumPy, on the device, in the layer and in the loss."""

    @pytest.mark.parametrize("spacing", SPACINGS)
    def test_equals_the_definition(self, labels, spacing):
        sigma = 5 * np.min(spacing)
        expected = by_definition(labels, 10, sigma, spacing)
        weights = unet_weight_map(labels, 10, sigma, spacing=spacing)
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("spacing", SPACINGS)
    def test_on_the_device_it_is_the_same(self, spacing):
        batch = np.stack(list(MAPS.values())).astype(np.int32)
        for sigma in (1.7, 5 * np.min(spacing)):
            expected = unet_weight_map(batch, 10, sigma, "balanced", spacing)
            weights = unet_weight_map_ops(batch, 10, sigma, "balanced", spacing)
            np.testing.assert_allclose(ops.convert_to_numpy(weights), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("sides", [(1, 3), (3, 1), (2, 3)])
    def test_fine_pixels_weigh_as_the_coarse_ones_between_the_same_cells(self, sides):
        # A cell of one coarse pixel is one fine pixel in its place, so that distances are equal.
        coarse = np.zeros((9, 8), np.int32)
        coarse[[1, 1, 7], [1, 6, 3]] = 1, 2, 3
        fine = np.zeros((9 * sides[0], 8 * sides[1]), np.int32)
        fine[:: sides[0], :: sides[1]] = coarse
        want = unet_weight_map(fine, sigma=6)[:: sides[0], :: sides[1]]
        np.testing.assert_allclose(unet_weight_map(coarse, sigma=6, spacing=sides), want)

    def test_a_unit_is_only_a_unit(self):
        for spacing in (0.25, (0.25, 0.25)):
            weights = unet_weight_map(CROWDED, sigma=1.25, spacing=spacing)
            np.testing.assert_array_equal(weights, unet_weight_map(CROWDED))

    def test_by_hand(self):
        # Between the cells d1 + d2 is 4 mm down, 6 mm across.
        labels = np.array([[1, 0, 2], [0, 0, 0], [3, 0, 4]])
        weights = unet_weight_map(labels, w0=10, sigma=5, spacing=(2, 3))
        np.testing.assert_allclose(weights[1, 0], 1 + 10 * np.exp(-(4**2) / 50))
        np.testing.assert_allclose(weights[0, 1], 1 + 10 * np.exp(-(6**2) / 50))
        np.testing.assert_allclose(weights[1, 1], 1 + 10 * np.exp(-4 * 13 / 50))

    def test_the_layer_has_it_and_keeps_it(self):
        layer = UNetWeightMap(sigma=4, spacing=[2, 0.75])
        assert layer.get_config()["spacing"] == (2.0, 0.75)
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert again.get_config() == layer.get_config()
        expected = unet_weight_map(separate_touching(CROWDED), sigma=4, spacing=(2, 0.75))
        weights = ops.convert_to_numpy(again(CROWDED[None].astype(np.int32)))
        np.testing.assert_allclose(weights[0], expected, rtol=0, atol=1e-5)
        assert np.abs(expected - unet_weight_map(separate_touching(CROWDED), sigma=4)).max() > 1

    def test_the_loss_has_it_and_keeps_it(self):
        loss = ShapeAwareLoss(sigma=4, spacing=(2, 0.75), from_logits=True, reduction=None)
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert again.spacing == (2.0, 0.75) and again.get_config() == loss.get_config()
        # Of logits 0 cross-entropy is log 2 everywhere.
        value = again(CROWDED[None], np.zeros((1, 64, 64, 1), "float32"))
        weights = unet_weight_map(separate_touching(CROWDED), sigma=4, spacing=(2, 0.75))
        np.testing.assert_allclose(
            ops.convert_to_numpy(value), [np.log(2) * weights.mean()], rtol=1e-5
        )

    @pytest.mark.parametrize(("spacing", "reach"), [(0.5, 56), ((0.5, 2), 56), ((3, 2), 14)])
    def test_what_lies_beyond_the_reach_adds_nothing(self, spacing, reach):
        assert seam_reach(5.0, spacing) == reach
        alone, both = np.zeros((2, 2 * reach + 3, 2 * reach + 3), np.int32)
        alone[reach + 1, reach] = both[reach + 1, reach] = 1  # beside the middle
        both[[0, -1, reach + 1, reach + 1], [reach + 1, reach + 1, 0, -1]] = 2
        pairs = [unet_weight_map(x, spacing=spacing)[reach + 1, reach + 1] for x in (alone, both)]
        assert abs(np.diff(pairs)) <= 1e-6


@pytest.mark.parametrize(("weights_of", "side"), [(UNetWeightMap(), 2048), (unet_weight_map, 256)])
def test_a_million_cells(weights_of, side):
    """Single pixels, one apart in each direction: nothing to separate, all of it seam.

    In NumPy 16,000 of them: there, a million take a minute.
    """
    labels = np.zeros((side, side), np.int32)
    labels[::2, ::2] = np.arange(1, side**2 // 4 + 1).reshape(side // 2, side // 2)
    labels[0, 0] = 2**31 - 1  # and with gaps between the numbers
    weights = weights_of(labels if weights_of is unet_weight_map else labels[None])
    weights = np.reshape(ops.convert_to_numpy(weights), labels.shape)[:-1, :-1]
    np.testing.assert_array_equal(weights[::2, ::2], 1)
    for between, total in (
        (np.s_[::2, 1::2], 2),
        (np.s_[1::2, ::2], 2),
        (np.s_[1::2, 1::2], 8**0.5),
    ):
        np.testing.assert_allclose(weights[between], 1 + 10 * np.exp(-(total**2) / 50), rtol=1e-6)


@pytest.mark.parametrize("compute", ["numpy", "ops"])
class TestClassWeights:
    # w0 = 0 leaves w_c alone.
    def weights(self, compute, labels, class_weights):
        labels = np.array(labels)
        if compute == "numpy":
            return unet_weight_map(labels, w0=0, class_weights=class_weights)
        batch = unet_weight_map_ops(labels[None], w0=0, class_weights=class_weights)
        return ops.convert_to_numpy(batch)[0]

    @pytest.mark.parametrize(
        ("labels", "class_weights", "expected"),
        [
            ([[0, 0, 0, 7]], None, [[1, 1, 1, 1]]),
            ([[0, 0, -1, 7]], (0.5, 4), [[0.5, 0.5, 0, 4]]),
            # Shares 3/4 and 1/4; 1 / (2 * 3/4) = 2/3 and 1 / (2 * 1/4) = 2; mean (3 * 2/3 + 2) / 4.
            ([[0, 0, 0, 7]], "balanced", [[2 / 3, 2 / 3, 2 / 3, 2]]),
            # What is outside has no share.
            ([[0, 0, 0, 7, -1]], "balanced", [[2 / 3, 2 / 3, 2 / 3, 2, 0]]),
            # One class, or none: nothing to balance.
            ([[0, 0]], "balanced", [[1, 1]]),
            ([[5, 5]], "balanced", [[1, 1]]),
            ([[-1, -1]], "balanced", [[0, 0]]),
        ],
    )
    def test_by_hand(self, compute, labels, class_weights, expected):
        weights = self.weights(compute, labels, class_weights)
        np.testing.assert_allclose(weights, expected, rtol=1e-6)

    def test_balanced_has_mean_one(self, compute):
        weights = self.weights(compute, MAPS["crowded"], "balanced")
        np.testing.assert_allclose(weights.mean(), 1, rtol=1e-6)
        cells = MAPS["crowded"] > 0
        np.testing.assert_allclose(weights[cells].sum(), weights[~cells].sum(), rtol=1e-5)


def neighbour_pairs(labels):
    """All pairs of 8 neighbours, as two lists of labels."""
    height, width = labels.shape
    for y, x in ((0, 1), (1, 0), (1, 1)):
        for image in (labels, labels[:, ::-1]):
            first, second = image[: height - y, : width - x], image[y:, x:]
            yield first.ravel(), second.ravel()


def touching_pairs(labels):
    return sum(
        ((a > 0) & (b > 0) & (a != b)).sum().item() for a, b in neighbour_pairs(np.asarray(labels))
    )


def separated_one_by_one(labels):
    """The rule of `separate_touching` pixel by pixel, the strongest first."""
    height, width = labels.shape

    def around(y, x):
        for v, u in itertools.product((y - 1, y, y + 1), (x - 1, x, x + 1)):
            if 0 <= v < height and 0 <= u < width and (v, u) != (y, x):
                yield v, u

    def touches(y, x, image):
        return any(image[at] not in (labels[y, x], 0, -1) for at in around(y, x))

    pixels = [at for at in np.ndindex(height, width) if labels[at] > 0]
    alone = {at for at in pixels if not touches(*at, labels)}
    contact = [at for at in pixels if at not in alone]

    def backed(at):
        return any(n in alone and labels[n] == labels[at] for n in around(*at))

    result = np.where(labels < 0, -1, 0)
    for at in alone:
        result[at] = labels[at]
    for at in sorted(contact, key=lambda at: (backed(at), labels[at])):
        if not touches(*at, result):
            result[at] = labels[at]
    return result


class TestSeparateTouching:
    @pytest.mark.parametrize(
        ("labels", "expected"),
        [
            ([[0, 1, 1, 0]], [[0, 1, 1, 0]]),
            # The higher label gives way.
            ([[1, 1, 2, 2]], [[1, 1, 0, 2]]),
            ([[2, 2, 1, 1]], [[2, 0, 1, 1]]),
            # A gap is a gap.
            ([[1, 1, 0, 2, 2]], [[1, 1, 0, 2, 2]]),
            # A single pixel is not lost to a cell that has others, whatever their numbers.
            ([[1, 1, 1, 2]], [[1, 1, 0, 2]]),
            ([[1, 1, 2, 3, 3]], [[1, 0, 2, 0, 3]]),
            # Without room for all: first come the lower; the third need not go with the second.
            ([[1, 2]], [[1, 0]]),
            ([[1, 2, 3]], [[1, 0, 3]]),
            # Corners touch.
            ([[1, 1, 0], [0, 0, 2], [0, 0, 2]], [[1, 1, 0], [0, 0, 0], [0, 0, 2]]),
            # Outside the picture is neither carved nor touched.
            ([[-1, 1, -1, 2]], [[-1, 1, -1, 2]]),
        ],
    )
    def test_by_hand(self, labels, expected):
        np.testing.assert_array_equal(separate_touching(np.array(labels)), expected)

    def test_a_thin_cell_between_thick_ones_keeps_its_pixels(self):
        labels = np.repeat([[1, 1, 1, 9, 9, 2, 2, 2]], 6, axis=0)
        expected = np.repeat([[1, 1, 0, 9, 9, 0, 2, 2]], 6, axis=0)
        np.testing.assert_array_equal(separate_touching(labels), expected)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(labels=label_maps)
    def test_what_holds_for_any_labels(self, labels):
        separated = separate_touching(labels)
        carved = separated != labels

        assert touching_pairs(separated) == 0
        assert (separated[carved] == 0).all()
        assert (labels[carved] > 0).all()
        # Giving back any one pixel would make two cells touch.
        for at in zip(*np.nonzero(carved), strict=True):
            given_back = separated.copy()
            given_back[at] = labels[at]
            assert touching_pairs(given_back) > 0
        # A cell with a pixel that touched nobody is still there.
        for label in np.unique(labels[labels > 0]):
            others = np.where(labels == label, 0, labels) > 0
            near_others = ndimage.binary_dilation(others, np.ones((3, 3)))
            if ((labels == label) & ~near_others).any():
                assert (separated == label).any()

        np.testing.assert_array_equal(separate_touching(separated), separated)
        for turn in (np.fliplr, np.flipud, np.rot90):
            np.testing.assert_array_equal(separate_touching(turn(labels)), turn(separated))

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(labels=label_maps)
    def test_equals_the_rule_pixel_by_pixel(self, labels):
        np.testing.assert_array_equal(separate_touching(labels), separated_one_by_one(labels))

    def test_real_cells_lose_a_seam_and_nothing_else(self):
        labels = MAPS["crowded"]
        separated = separate_touching(labels)
        assert set(np.unique(separated)) == set(np.unique(labels))
        assert (separated != labels).sum() < touching_pairs(labels) / 2

    def test_a_stack_is_its_images_and_keeps_its_dtype(self):
        stack = np.stack([MAPS["crowded"], MAPS["many tiny"]]).astype(np.int16)
        separated = separate_touching(stack)
        assert separated.dtype == np.int16
        np.testing.assert_array_equal(separated, [separate_touching(image) for image in stack])

    def test_the_input_is_left_alone(self):
        labels = np.array([[1, 1, 2, 2]])
        separate_touching(labels)
        np.testing.assert_array_equal(labels, [[1, 1, 2, 2]])

    def test_on_the_device_it_is_the_same(self):
        batch = np.stack(list(MAPS.values()))
        np.testing.assert_array_equal(
            ops.convert_to_numpy(separate_touching_ops(batch)), separate_touching(batch)
        )

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(labels=label_maps)
    def test_on_the_device_it_is_the_same_for_any_labels(self, labels):
        on_device = ops.convert_to_numpy(separate_touching_ops(labels[None]))[0]
        np.testing.assert_array_equal(on_device, separate_touching(labels))


class TestLayer:
    BATCH = np.stack(list(MAPS.values())).astype(np.int32)

    @pytest.mark.parametrize(
        "settings",
        [UNET_2015, {**UNET_2019, "class_weights": (0.5, 3)}, {"class_weights": "balanced"}],
    )
    def test_equals_numpy(self, settings):
        weights = UNetWeightMap(**settings)(self.BATCH)
        assert keras.backend.standardize_dtype(weights.dtype) == "float32"
        expected = unet_weight_map(separate_touching(self.BATCH), **settings)
        np.testing.assert_allclose(ops.convert_to_numpy(weights), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("sigma", [0.1, 1.0])
    def test_narrow_seams(self, sigma):
        weights = ops.convert_to_numpy(UNetWeightMap(sigma=sigma)(self.BATCH[:2]))
        expected = unet_weight_map(separate_touching(self.BATCH[:2]), sigma=sigma)
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-5)

    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(labels=label_maps)
    def test_equals_numpy_for_any_labels(self, labels):
        weights = ops.convert_to_numpy(UNetWeightMap()(labels[None]))[0]
        expected = unet_weight_map(separate_touching(labels))
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-5)

    def test_a_channel_axis_comes_back(self):
        plain = UNetWeightMap()(self.BATCH[:2])
        channel = UNetWeightMap()(self.BATCH[:2, ..., None])
        assert tuple(channel.shape) == (2, 64, 64, 1)
        np.testing.assert_array_equal(ops.convert_to_numpy(channel)[..., 0], plain)

    def test_the_contact_line_gets_the_full_weight(self):
        touching = MAPS["two that touch"].astype(np.int32)
        weights = ops.convert_to_numpy(UNetWeightMap()(touching[None]))[0]
        # The second column of the contact belongs to the higher label, which gave it up.
        np.testing.assert_allclose(weights[22:42, 32], 1 + 10 * np.exp(-4 / 50), rtol=1e-6)
        np.testing.assert_array_equal(weights[22:42, 31], 1)

    def test_half_precision_leaves_the_labels_alone(self):
        # 4096 and 4097 are one number in float16; labels come as floats out of many a layer.
        labels = np.array([[[4096, 4096, 0, 4097, 4097]]], "float32")
        expected = unet_weight_map(labels[0].astype(int))
        for dtype in ("float32", "mixed_float16", "mixed_bfloat16", "float16"):
            weights = UNetWeightMap(dtype=dtype)(labels)
            assert keras.backend.standardize_dtype(weights.dtype) == "float32"
            np.testing.assert_allclose(ops.convert_to_numpy(weights)[0], expected, atol=1e-5)

    def test_config_round_trip(self):
        layer = UNetWeightMap(50, 6, class_weights=[1, 2], dtype="mixed_float16", name="weights")
        config = keras.saving.serialize_keras_object(layer)
        assert config["registered_name"] == "segloss_ref>UNetWeightMap"
        again = keras.saving.deserialize_keras_object(config)
        assert (again.w0, again.sigma, again.class_weights) == (50.0, 6.0, (1.0, 2.0))
        assert again.get_config() == layer.get_config()

    def test_saved_and_loaded_inside_a_model(self, tmp_path):
        inputs = keras.Input((64, 64, 1), dtype="int32")
        outputs = UNetWeightMap(**UNET_2019)(inputs)
        assert outputs.shape == (None, 64, 64, 1)
        assert outputs.dtype == "float32"
        model = keras.Model(inputs, outputs)
        model.save(tmp_path / "weights.keras")
        loaded = keras.saving.load_model(tmp_path / "weights.keras")
        batch = self.BATCH[:3, ..., None]
        expected = model.predict(batch, verbose=0)
        np.testing.assert_array_equal(loaded.predict(batch, verbose=0), expected)
        assert expected.max() > 40

    @on_tensorflow
    @pytest.mark.parametrize("jit", [False, True])
    def test_compiled_it_is_the_same_for_any_batch_size(self, jit):
        import tensorflow as tf

        layer = UNetWeightMap()
        signature = [tf.TensorSpec((None, 64, 64), tf.int32)]
        compiled = tf.function(layer, input_signature=signature, jit_compile=jit)
        eager = ops.convert_to_numpy(layer(self.BATCH))
        for size in (len(self.BATCH), 1):
            weights = compiled(tf.constant(self.BATCH[:size])).numpy()
            np.testing.assert_allclose(weights, eager[:size], rtol=0, atol=1e-5)

    @on_tensorflow
    def test_images_of_unknown_size(self):
        import tensorflow as tf

        layer = UNetWeightMap()
        compiled = tf.function(layer, input_signature=[tf.TensorSpec((None,) * 3, tf.int32)])
        for crop in (self.BATCH[:2], self.BATCH[:2, :40, :17]):
            expected = ops.convert_to_numpy(layer(crop))
            np.testing.assert_allclose(compiled(crop).numpy(), expected, rtol=0, atol=1e-5)

    @on_tensorflow
    @pytest.mark.parametrize("jit", [False, True])
    def test_inside_a_training_step_it_is_a_constant(self, jit):
        import tensorflow as tf

        layer, scale = UNetWeightMap(), tf.Variable(2.0)
        labels = tf.constant(self.BATCH[:2])

        @tf.function(jit_compile=jit)
        def gradient():
            with tf.GradientTape() as tape:
                # The labels depend on the variable, as if a network had drawn them.
                drawn = tf.cast(labels, "float32") * scale / 2.0
                loss = tf.reduce_sum(layer(drawn)) * scale
            return tape.gradient(loss, scale)

        expected = unet_weight_map(separate_touching(self.BATCH[:2])).sum()
        np.testing.assert_allclose(gradient().numpy(), expected, rtol=1e-5)


BAD_LABELS = [
    (np.zeros((4, 4), bool), "Boolean labels.*cells that touch are one object and get no seam"),
    (np.zeros((4, 4), np.float32), "must be integers. Received: dtype float32"),
    (np.full((4, 4), np.nan), "must be integers. Received: dtype float64"),
    (np.zeros((4, 4), object), "must be integers. Received: dtype object"),
    (np.zeros(4, int), r"one image \(height, width\) or a stack.*int64, shape \(4,\)"),
    (np.zeros((1, 4, 4, 1), int), r"Received: dtype int64, shape \(1, 4, 4, 1\)"),
    # A trailing axis of one would make a stack of lines of one image.
    (np.zeros((4, 4, 1), int), r"no last axis of one: give `labels\[..., 0\]`.*\(4, 4, 1\)"),
    (np.full((4, 4), -2), r"-1 \(outside the picture\). Received: -2"),
]


@pytest.mark.parametrize("function", [unet_weight_map, separate_touching])
@pytest.mark.parametrize(("labels", "message"), BAD_LABELS)
def test_labels_that_are_none_are_refused(function, labels, message):
    with pytest.raises(ValueError, match=message):
        function(labels)


@pytest.mark.parametrize("function", [unet_weight_map_ops, separate_touching_ops, UNetWeightMap()])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((1, 4, 4), bool), "Boolean labels received"),
        (np.zeros((4, 4), np.int32), r"\(batch, height, width\).*Received:.*, shape \(4, 4\)"),
        (np.zeros((1, 4, 4, 2), np.int32), r"Received:.*, shape \(1, 4, 4, 2\)"),
        (np.full((1, 4, 4), 0.5, "float32"), "whole numbers. Received: fractions or NaN, dtype f"),
        (np.full((1, 4, 4), np.nan, "float32"), "must be whole numbers. Received: fractions or N"),
        (np.full((1, 4, 4), -2, np.int32), r"-1 \(outside the picture\). Received: -2"),
        (np.full((1, 4, 4), 2**31), "at most 2147483647, or -1.*Received: 2147483648"),
        (np.full((1, 4, 4), 2**32 + 5), "at most 2147483647, or -1.*Received: 4294967301"),
        (np.full((1, 4, 4), 2**31, "uint32"), "at most 2147483647, or -1.*Received: 2147483648"),
        (np.full((1, 4, 4), 2.0**31, "float32"), "at most 2147483647, or -1.*Received: 2147483"),
    ],
)
def test_tensors_that_are_no_labels_are_refused(function, labels, message):
    with pytest.raises(ValueError, match=message):
        function(labels)
    if labels.dtype.itemsize <= 4 and labels.dtype != "uint32":  # JAX and PyTorch have no others
        with pytest.raises(ValueError, match=message):
            function(ops.convert_to_tensor(labels))


@on_tensorflow
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (np.int32, -2),
        (np.int8, -128),
        (np.int64, 2**31),
        (np.int64, 2**32 + 1),
        (np.int64, -(2**32)),
        (np.uint32, 2**31),
        (np.float32, 0.5),
        (np.float32, np.nan),
        (np.float32, 2.0**31),
        (np.float32, -np.inf),
    ],
)
def test_what_a_graph_finds_to_be_no_label_weighs_nan(good, bad, jit):
    import tensorflow as tf

    labels = np.zeros((2, 3, 9), good)
    labels[:, 1, 2], labels[:, 1, 6] = 1, 2
    layer = UNetWeightMap(sigma=0.1)  # too narrow for seams, which take XLA long to compile
    want = layer(labels).numpy()
    labels[1, 0, 0] = bad
    got = tf.function(layer, jit_compile=jit)(tf.constant(labels)).numpy()
    assert np.isnan(got[1, 0, 0]) and np.isnan(got).sum() == 1
    got[1, 0, 0] = want[1, 0, 0]
    np.testing.assert_allclose(got, want, atol=1e-5)


class TestNothingIn:
    @pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 4, 0)])
    def test_gives_nothing(self, shape):
        labels = np.zeros(shape, np.int32)
        for function in (unet_weight_map, separate_touching, UNetWeightMap()):
            assert tuple(function(labels).shape) == shape


class TestLayout:
    LABELS = np.array([[[1, 1, 0, 2, 2], [0] * 5, [3] * 5]], np.int32)

    def test_the_axis_of_channels_is_where_it_is_said(self):
        plain = ops.convert_to_numpy(UNetWeightMap()(self.LABELS))
        last = UNetWeightMap(data_format="channels_last")(self.LABELS[..., None])
        np.testing.assert_array_equal(ops.convert_to_numpy(last), plain[..., None])
        layer = UNetWeightMap(data_format="channels_first")
        first = layer(self.LABELS[:, None])
        np.testing.assert_array_equal(ops.convert_to_numpy(first), plain[:, None])
        np.testing.assert_array_equal(ops.convert_to_numpy(layer(self.LABELS)), plain)

    def test_it_is_that_of_keras_unless_said(self):
        assert UNetWeightMap().data_format == "channels_last"
        keras.config.set_image_data_format("channels_first")
        try:
            layer = UNetWeightMap()
        finally:
            keras.config.set_image_data_format("channels_last")
        assert layer.data_format == layer.get_config()["data_format"] == "channels_first"

    def test_axes_that_stand_elsewhere_are_refused(self):
        with pytest.raises(ValueError, match=r"where its `data_format` has it.*\(1, 1, 3, 5\)"):
            UNetWeightMap()(self.LABELS[:, None])
        with pytest.raises(ValueError, match=r"where its `data_format` has it.*\(1, 3, 5, 1\)"):
            UNetWeightMap(data_format="channels_first")(self.LABELS[..., None])
        with pytest.raises(ValueError, match=r"give `labels\[None\]`.*shape \(3, 5, 1\)"):
            UNetWeightMap()(self.LABELS[0, ..., None])
        with pytest.raises(ValueError, match="`data_format` must be one of 'channels_last'"):
            UNetWeightMap(data_format="NHWC")

    def test_images_one_pixel_wide_have_an_axis_of_channels(self):
        column = np.array([[1, 0, 2]], np.int32)[..., None, None]
        weights = ops.convert_to_numpy(UNetWeightMap()(column))
        np.testing.assert_allclose(np.ravel(weights), [1, 10.231, 1], atol=5e-4)
        np.testing.assert_allclose(unet_weight_map(column[0, ..., 0]), weights[0, ..., 0])


@pytest.mark.parametrize("sigma", [1e4, 1e7])
def test_seams_wider_than_any_picture(sigma):
    # Two cells: w0 almost everywhere on the background. One cell has no seam at all.
    two = np.array([[1, 0, 0, 0, 2]], np.int32)
    for weights in (unet_weight_map(two, sigma=sigma), UNetWeightMap(sigma=sigma)(two[None])):
        np.testing.assert_allclose(np.ravel(weights), [1, 11, 11, 11, 1], rtol=1e-6)
    for weights in (
        unet_weight_map(two % 2, sigma=sigma),
        UNetWeightMap(sigma=sigma)(two[None] % 2),
    ):
        np.testing.assert_array_equal(np.ravel(weights), [1] * 5)


@pytest.mark.parametrize(
    "make",
    [
        lambda **settings: unet_weight_map(np.zeros((4, 4), int), **settings),
        lambda **settings: unet_weight_map_ops(np.zeros((1, 4, 4), np.int32), **settings),
        UNetWeightMap,
    ],
    ids=["numpy", "ops", "layer"],
)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"w0": -1}, "`w0` must be a finite number and at least 0. Received: -1"),
        ({"w0": np.nan}, "`w0` must be a finite number"),
        ({"w0": "10"}, "`w0` must be a finite number and at least 0. Received: '10'"),
        ({"sigma": 0}, "`sigma` must be a finite number and greater than 0. Received: 0"),
        ({"sigma": np.inf}, "`sigma` must be a finite number"),
        ({"sigma": True}, "`sigma` must be a finite number"),
        ({"class_weights": "balance"}, "None, \"balanced\", or a pair.*Received: 'balance'"),
        ({"class_weights": (1, 2, 3)}, r"or a pair.*Received: \(1, 2, 3\)"),
        ({"class_weights": (1, -2)}, r"`class_weights\[1\]` must be.*at least 0. Received: -2"),
        ({"class_weights": {0: 1, 1: 5}}, "or a pair"),
        ({"spacing": 0}, "`spacing` must be a finite number and greater than 0. Received: 0"),
        ({"spacing": (1, np.nan)}, "`spacing` must be a finite number"),
        ({"spacing": "1"}, "`spacing` must be a finite number and greater than 0. Received: '1'"),
        ({"spacing": (1, 1, 2)}, r"one for each of the 2 axes.*Received: \(1.0, 1.0, 2.0\)"),
    ],
)
def test_settings_out_of_range_are_refused(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


@pytest.mark.parametrize("sigma", [0, -1, np.inf, None])
def test_a_reach_of_no_width_is_refused(sigma):
    with pytest.raises(ValueError, match="`sigma` must be a finite number and greater than 0"):
        seam_reach(sigma)
    with pytest.raises(ValueError, match="`spacing` must be"):
        seam_reach(5.0, (1, -1))


def test_examples_in_the_docstrings():
    result = doctest.testmod(weight_maps)
    assert result.attempted > 0
    assert result.failed == 0

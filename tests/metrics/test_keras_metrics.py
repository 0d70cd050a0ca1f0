"""The metrics for training: the mean over images of the NumPy functions' values."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from segloss_ref import DiceLoss, metrics

BACKEND = keras.backend.backend()
# Whether XLA compiles. Without it JAX runs step by step, and PyTorch has no XLA.
JIT = {"tensorflow": (False, True), "jax": (True,), "torch": (False,)}[BACKEND]
PAIRS = [
    (metrics.DiceMetric, metrics.dice),
    (metrics.IoUMetric, metrics.iou),
    (metrics.PrecisionMetric, metrics.precision),
    (metrics.RecallMetric, metrics.recall),
]


def surface_dice(tolerance, **settings):
    """The metric and the function with the same settings."""
    kinds = metrics.SurfaceDiceMetric, metrics.surface_dice
    return tuple(functools.partial(kind, tolerance=tolerance, **settings) for kind in kinds)


# In 2-D by pixels and in 3-D by area, each once by the other, too, and with a tolerance of 0.
IMAGES = [
    *PAIRS,
    surface_dice(1.0),
    surface_dice(0.0),
    surface_dice(1.0, weighting="area", spacing=0.7),
    surface_dice(1.5, weighting="pixels", spacing=1.3),
]


def value(metric, *batches):
    for batch in batches:
        metric.update_state(*batch)
    return float(metric.result())


def scene(seed=0, images=7, space=(5, 6), classes=1):
    """A class map with void pixels and two ignored labels, and logits."""
    rng = np.random.default_rng(seed)
    shape = (images, *space)
    truth = rng.choice([-1, 8, 9, *range(max(classes, 2))], shape)
    truth[0] = np.where(truth[0] > 0, truth[0], 0)  # without some class at times
    return truth.astype("int32"), rng.normal(size=(*shape, classes)).astype("float32")


def in_batches(size, *arrays):
    """Batches of so many images; the last is smaller."""
    return [[a[i : i + size] for a in arrays] for i in range(0, len(arrays[0]), size)]


# --- The values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("metric, function", IMAGES)
@pytest.mark.parametrize("space", [(5, 6), (2, 4, 3)])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.0])
def test_binary_is_the_mean_of_the_images(metric, function, space, threshold):
    truth, logits = scene(space=space)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    each = function(truth, p[..., 0] > threshold, spatial_dims=len(space), ignore_class=(8, 9))
    for from_logits, y_pred in ((True, logits), (False, p.astype("float32"))):
        made = metric(from_logits=from_logits, threshold=threshold, ignore_class=[8, 9])
        batches = in_batches(3, truth[..., None], y_pred)
        assert value(made, *batches) == pytest.approx(each.mean(), rel=1e-6)


@pytest.mark.parametrize("metric, function", IMAGES)
@pytest.mark.parametrize("include_background", [True, False])
def test_exclusive_classes_count_where_they_occur(metric, function, include_background):
    truth, logits = scene(classes=4)
    chosen = logits.argmax(axis=-1)
    labels = range(0 if include_background else 1, 4)
    each = []
    for t, p in zip(truth, chosen):
        out = (t < 0) | (t > 3)
        masks = [(np.where(out, -1, t == c), p == c) for c in labels if (t == c).any()]
        each.append(np.mean([function(*pair) for pair in masks]) if masks else np.nan)
    settings = {"include_background": include_background, "from_logits": True}
    made = metric(ignore_class=(8, 9), **settings)
    assert value(made, *in_batches(2, truth, logits)) == pytest.approx(np.nanmean(each), rel=1e-6)
    # The same with an axis at the end, and one-hot, where -1 in all classes is void.
    one_hot = np.where(
        (truth >= 4)[..., None] | (truth < 0)[..., None], -1, truth[..., None] == range(4)
    )
    assert value(
        metric(ignore_class=(8, 9), **settings), (truth[..., None], logits)
    ) == pytest.approx(np.nanmean(each), rel=1e-6)
    assert value(metric(**settings), (one_hot, logits)) == pytest.approx(np.nanmean(each), rel=1e-6)


def test_exclusive_classes_by_hand():
    # Classes 0, 0, 1, 1 and the largest 0, 1, 1, 2: class 0: TP 1, FN 1: 2/3. Class 1: TP 1, FP 1,
    # FN 1: 1/2. Class 2 is not in the truth.
    truth, p = np.array([[[0, 0, 1, 1]]]), np.eye(3)[[[[0, 1, 1, 2]]]].astype("float32")
    assert value(metrics.DiceMetric(), (truth, p)) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert value(metrics.DiceMetric(include_background=False), (truth, p)) == pytest.approx(1 / 2)


@pytest.mark.parametrize("metric, function", IMAGES)
def test_independent_classes_all_count(metric, function):
    rng = np.random.default_rng(0)
    truth, p = rng.integers(0, 2, (3, 4, 5, 2)), rng.random((3, 4, 5, 2)).astype("float32")
    truth[0, ..., 1], p[0, ..., 1] = 0, 0  # both empty: perfect
    each = [function(truth[..., c], p[..., c] > 0.5, spatial_dims=2) for c in range(2)]
    assert value(metric(multilabel=True), (truth, p)) == pytest.approx(np.mean(each), rel=1e-6)


def test_empty_masks_follow_the_functions():
    empty, full = np.zeros((1, 2, 2, 1)), np.ones((1, 2, 2, 1))
    for metric, function in IMAGES:
        for t, p in ((empty, empty), (empty, full), (full, empty), (full, full)):
            assert value(metric(), (t, p)) == function(t[0, ..., 0], p[0, ..., 0])


# --- Weights, and what is left out --------------------------------------------------------------


def test_weights_of_images_are_those_of_the_mean():
    truth, logits = scene()
    each = metrics.dice(truth, logits[..., 0] > 0, spatial_dims=2, ignore_class=(8, 9))
    weights = np.array([1, 0, 2, 3, 0.5, 1, 1], "float32")
    logits[1] = np.nan  # an image of weight 0 is not looked at
    made = metrics.DiceMetric(from_logits=True, ignore_class=(8, 9))
    found = value(made, *in_batches(3, truth[..., None], logits, weights))
    assert found == pytest.approx(np.average(each, weights=weights), rel=1e-6)


def test_weights_of_pixels_multiply_in_the_counts():
    truth, p = np.array([[[1, 1, 0, 0]]])[..., None], np.array([[[0.9, 0.1, 0.9, 0.9]]])[..., None]
    # TP 2, FN 1, FP 3; the last pixel is out, whatever it holds.
    p[0, 0, 3] = np.nan
    weights = np.array([[[2.0, 1.0, 3.0, 0.0]]])
    for w in (weights, weights[..., None]):
        assert value(metrics.DiceMetric(), (truth, p, w)) == pytest.approx(4 / (4 + 3 + 1))
        assert value(metrics.RecallMetric(), (truth, p, w)) == pytest.approx(2 / 3)
    # An image whose pixels all weigh 0 is left out.
    both = np.concatenate([weights, 0 * weights])
    found = value(metrics.DiceMetric(), (np.repeat(truth, 2, 0), np.repeat(p, 2, 0), both))
    assert found == pytest.approx(1 / 2)


def test_an_image_that_is_void_is_left_out_and_no_image_is_nan():
    truth, p = np.array([[[1, 0]], [[-1, -1]]])[..., None], np.full((2, 1, 2, 1), 0.9)
    made = metrics.DiceMetric()
    assert value(made, (truth[1:], p[1:])) != value(made)  # NaN
    assert value(made, (truth, p)) == pytest.approx(2 / 3)
    made.reset_state()
    assert np.isnan(value(made))


def test_channels_first_is_the_same():
    truth, logits = scene(classes=3)
    first = np.moveaxis(logits, -1, 1)
    made = functools.partial(metrics.IoUMetric, from_logits=True, ignore_class=(8, 9))
    expected = value(made(), (truth, logits))
    assert value(made(data_format="channels_first"), (truth, first)) == expected
    with pytest.raises(ValueError, match="channels_first"):
        value(made(), (truth, first))


# --- What is refused, and what is NaN -----------------------------------------------------------

P = np.full((1, 2, 2, 1), 0.9, "float32")


@pytest.mark.parametrize(
    "y_true, y_pred, message",
    [
        (np.full((1, 2, 2, 1), 255), P, r"must lie in \[0, 1\].*255"),
        (np.full((1, 2, 2), 3), np.full((1, 2, 2, 3), 1 / 3), "must hold 0 to 2"),
        (np.ones((1, 2, 2, 1)), 9 * P, "from_logits=True"),
        (np.ones((1, 2, 2)), P, r"y_true\[\.\.\., None\]"),
        (np.ones((2, 2, 2, 1)), P, "never broadcast"),
    ],
)
def test_what_losses_refuse_is_refused(y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        metrics.DiceMetric().update_state(y_true, y_pred)


def test_nan_and_soft_truths_give_nan():
    ones = np.ones((1, 2, 2, 1), "float32")
    with_nan = P.copy()
    with_nan[0, 0, 0] = np.nan
    assert np.isnan(value(metrics.DiceMetric(), (ones, with_nan)))
    assert np.isnan(value(metrics.DiceMetric(from_logits=True), (ones, with_nan)))
    assert np.isnan(value(metrics.DiceMetric(), (0.3 * ones, P)))


@pytest.mark.skipif(BACKEND == "torch", reason="no graph: values are seen, and refused")
@pytest.mark.parametrize("jit", JIT)
def test_in_a_graph_what_is_out_of_range_is_nan(jit):
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 1)])
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=3),
        metrics=[metrics.DiceMetric(from_logits=True)],
        jit_compile=jit,
    )
    x, y = np.zeros((2, 4, 4, 1), "float32"), np.ones((2, 4, 4), "int32")
    assert 0 <= model.evaluate(x, y, verbose=0)[1] <= 1
    y[0, 0, 0] = 3
    assert np.isnan(model.evaluate(x, y, verbose=0)[1])


@pytest.mark.parametrize(
    "setting",
    [
        {"from_logits": 1},
        {"multilabel": "yes"},
        {"threshold": 1.0},
        {"threshold": "0.5"},
        {"include_background": None},
        {"ignore_class": 1.5},
        {"data_format": "last"},
    ],
)
def test_settings_are_checked(setting):
    with pytest.raises(ValueError, match=f"`{next(iter(setting))}` must be"):
        metrics.DiceMetric(**setting)


def test_settings_do_not_change_later():
    metric = metrics.DiceMetric()
    with pytest.raises(AttributeError, match=r"`DiceMetric\.threshold` cannot be changed"):
        metric.threshold = 0.7
    assert metric.threshold == 0.5


# --- In a model ---------------------------------------------------------------------------------


def model_and_scene():
    """A network, five images and their truth."""
    keras.utils.set_random_seed(0)
    truth, _ = scene(images=5, space=(8, 8))
    x = np.random.default_rng(1).normal(size=(5, 8, 8, 1)).astype("float32")
    convolution = keras.layers.Conv2D(1, 3, padding="same")
    return keras.Sequential([keras.Input((8, 8, 1)), convolution]), x, truth


@pytest.mark.parametrize("jit", JIT)
def test_evaluate_gives_the_functions_mean(jit):
    model, x, truth = model_and_scene()
    settings = {"from_logits": True, "ignore_class": (8, 9)}
    model.compile(
        "sgd",
        DiceLoss(**settings),
        metrics=[metric(**settings) for metric, _ in PAIRS],
        weighted_metrics=[metrics.DiceMetric(**settings, name="weighted")],
        jit_compile=jit,
    )
    weights = np.array([1, 2, 3, 4, 5], "float32")
    logs = model.evaluate(
        x, truth[..., None], sample_weight=weights, batch_size=2, verbose=0, return_dict=True
    )
    predicted = model.predict(x, verbose=0)[..., 0] > 0
    said = {"spatial_dims": 2, "ignore_class": (8, 9)}
    for metric, function in PAIRS:
        name = metric().name
        assert logs[name] == pytest.approx(function(truth, predicted, **said).mean(), rel=1e-5)
    dice = metrics.dice(truth, predicted, **said)
    assert logs["weighted"] == pytest.approx(np.average(dice, weights=weights), rel=1e-5)


@pytest.mark.parametrize("metric", [metric for metric, _ in PAIRS])
def test_a_metric_is_saved_with_its_settings(metric):
    made = metric(
        from_logits=True,
        multilabel=True,
        threshold=0.25,
        include_background=False,
        ignore_class=(3, 1),
        data_format="channels_first",
        name="mine",
    )
    back = keras.metrics.deserialize(keras.metrics.serialize(made))
    assert type(back) is metric and back.get_config() == made.get_config()
    assert set(made._settings) | {"name", "dtype"} == set(made.get_config())
    assert back.ignore_class == (1, 3) and back.threshold == 0.25


def test_a_model_is_saved_with_its_metric(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", "mse", metrics=[metrics.IoUMetric(from_logits=True)])
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype("float32")
    model.fit(x, x > 0, verbose=0)
    model.save(tmp_path / "model.keras")
    back = keras.saving.load_model(tmp_path / "model.keras")
    assert back.evaluate(x, x > 0, verbose=0) == model.evaluate(x, x > 0, verbose=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_counts_exactly(dtype):
    # 90,000 pixels of one image: float16 ends at 65,504, bfloat16 counts to 256.
    y = np.ones((1, 300, 300, 1), "float32")
    y[:, 150:] = 0
    made = metrics.IoUMetric(dtype=dtype)
    assert value(made, (y, ops.ones((1, 300, 300, 1), dtype=dtype))) == 0.5
    assert all(variable.dtype == "float32" for variable in made.variables)


def test_many_batches_leave_the_mean_exact():
    # In half precision the count would stay at 256 or 2048.
    made = metrics.DiceMetric(dtype="float16")
    empty, full = np.zeros((2, 1, 1, 1), "float32"), np.ones((2, 1, 1, 1), "float32")
    t = np.concatenate([full] * 1200 + [empty] * 400)
    p = np.ones_like(t)
    assert value(made, *in_batches(801, t, p)) == 0.75


# --- Surfaces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ["pixels", "area"])
@pytest.mark.parametrize("spacing", [(2.0, 0.7), (3.0, 1.0, 0.6)])
@pytest.mark.parametrize("tolerance", [0.0, 0.7, 1.3, 4.0, 100.0])
def test_surface_dice_in_the_unit_of_the_spacing(weighting, spacing, tolerance):
    metric, function = surface_dice(tolerance, weighting=weighting, spacing=spacing)
    truth, logits = scene(space=(9, 8, 7)[: len(spacing)])
    said = {"spatial_dims": len(spacing), "ignore_class": (8, 9)}
    each = function(truth, logits[..., 0] > 0, **said)
    made = metric(from_logits=True, ignore_class=(8, 9))
    assert value(made, *in_batches(3, truth[..., None], logits)) == pytest.approx(each.mean())


def test_a_surface_of_pixels_that_weigh_twice_counts_twice():
    t, p = np.zeros((2, 1, 6, 8, 1))
    t[:, 1:3, 1:3] = t[:, 4:, 5:] = 1  # one object is found, the other is not
    p[:, 1:3, 1:3] = 1
    weight = np.ones((1, 6, 8))
    weight[:, :, :4] = 2
    made = metrics.SurfaceDiceMetric(0)
    assert value(made, (t, p)) == pytest.approx(8 / (8 + 6))
    made.reset_state()
    assert value(made, (t, p, weight)) == pytest.approx(16 / (16 + 6))


@pytest.mark.parametrize("setting", [{"tolerance": -1}, {"spacing": 0}, {"weighting": "mm"}])
def test_settings_of_surfaces_are_checked(setting):
    with pytest.raises(ValueError, match=f"`{next(iter(setting))}"):
        metrics.SurfaceDiceMetric(**{"tolerance": 1, **setting})


# --- Calibration --------------------------------------------------------------------------------


def expected_error(truth, p, weights=None, bins=15):
    """By its definition, over the pixels that count; of several classes by the largest."""
    right, confidence = truth, p[..., 0]
    if p.shape[-1] > 1:
        right, confidence = p.argmax(axis=-1) == truth, p.max(axis=-1)
    counts = (truth >= 0) & (truth < max(p.shape[-1], 2))
    weights = np.ones(truth.shape) if weights is None else np.broadcast_to(weights, truth.shape)
    right, confidence, weights = (x[counts].astype(float) for x in (right, confidence, weights))
    bin_of = np.ceil(confidence * bins).clip(1, bins)
    gaps = [(weights * (right - confidence))[bin_of == b].sum() for b in range(1, bins + 1)]
    return np.abs(gaps).sum() / weights.sum()


@pytest.mark.parametrize("classes", [1, 3])
def test_the_calibration_error_is_that_of_all_pixels(classes):
    truth, logits = scene(classes=classes, images=9)
    z = logits.astype(float)
    p = 1 / (1 + np.exp(-z)) if classes == 1 else np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    want = expected_error(truth, p)
    y = truth[..., None]
    for size in (9, 4, 1):
        made = metrics.ExpectedCalibrationErrorMetric(from_logits=True, ignore_class=(8, 9))
        assert value(made, *in_batches(size, y, logits)) == pytest.approx(want, rel=1e-5)
    left = np.where(truth > 2, -1, truth)
    found = metrics.expected_calibration_error(left, p if classes > 1 else p[..., 0])
    assert found == pytest.approx(want)
    # The mean of the errors of batches would be another number.
    each = [expected_error(truth[i : i + 4], p[i : i + 4]) for i in (0, 4, 8)]
    assert np.mean(each) > 1.05 * want


def test_weights_in_the_calibration_error():
    truth, logits = scene(images=6)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    rng = np.random.default_rng(2)
    made = functools.partial(
        metrics.ExpectedCalibrationErrorMetric, 7, from_logits=True, ignore_class=(8, 9)
    )
    images, pixels = rng.random(6), rng.random(truth.shape)
    images[2], pixels[:, 0, 0] = 0, 0
    logits[2] = np.nan  # of weight 0
    for weights, all_of in ((images, images[:, None, None]), (images[:, None, None] * pixels,) * 2):
        want = expected_error(truth, p, all_of, bins=7)
        found = value(made(), *in_batches(4, truth[..., None], logits, weights))
        assert found == pytest.approx(want, rel=1e-5)


def test_a_calibration_error_of_nothing_or_of_nan_is_nan():
    made = metrics.ExpectedCalibrationErrorMetric()
    assert np.isnan(value(made))
    assert np.isnan(value(made, (np.full((1, 2, 2, 1), -1), P)))
    with_nan = P.copy()
    with_nan[0, 0, 0] = np.nan
    assert np.isnan(value(made, (np.ones((1, 2, 2, 1)), with_nan)))


@pytest.mark.parametrize("bins", [0, 2.0, 1001])
def test_bins_are_a_whole_number(bins):
    with pytest.raises(ValueError, match="`bins` must be a whole number"):
        metrics.ExpectedCalibrationErrorMetric(bins)


@pytest.mark.parametrize("jit", JIT)
def test_surfaces_and_calibration_in_a_compiled_model(jit):
    model, x, truth = model_and_scene()
    settings = {"from_logits": True, "ignore_class": (8, 9)}
    made = [
        metrics.SurfaceDiceMetric(1.5, weighting="area", **settings),
        metrics.ExpectedCalibrationErrorMetric(**settings),
    ]
    model.compile("sgd", DiceLoss(**settings), metrics=made, jit_compile=jit)
    logs = model.evaluate(x, truth[..., None], batch_size=2, verbose=0, return_dict=True)
    logits = model.predict(x, verbose=0).astype(float)
    said = {"spatial_dims": 2, "ignore_class": (8, 9)}
    each = metrics.surface_dice(truth, logits[..., 0] > 0, 1.5, weighting="area", **said)
    assert logs["surface_dice"] == pytest.approx(each.mean(), rel=1e-5)
    want = expected_error(truth, 1 / (1 + np.exp(-logits)))
    assert logs["expected_calibration_error"] == pytest.approx(want, rel=1e-5)


def test_new_metrics_are_saved_with_their_settings():
    for made in (
        metrics.SurfaceDiceMetric(2.0, (1, 2), weighting="area", threshold=0.25, ignore_class=3),
        metrics.ExpectedCalibrationErrorMetric(7, multilabel=True, name="mine"),
    ):
        back = keras.metrics.deserialize(keras.metrics.serialize(made))
        assert type(back) is type(made) and back.get_config() == made.get_config()
        assert set(made._settings) | {"name", "dtype"} == set(made.get_config())

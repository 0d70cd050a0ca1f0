"""Losses around a loss: one blob after the other, and predictions of several scales."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import segloss_ref as sl

# --- Blob loss -----------------------------------------------------------------------------------

# Rows of 6 pixels: instance map, prediction, α, β, value by hand; the Dice loss with s = 1.
BY_HAND = [
    # the small one of two is missed: 2 (1 - 7/8), blobs 1 - 7/7 and 1 - 1/2, their mean
    ([1, 1, 1, 0, 2, 0], [1, 1, 1, 0, 0, 0], 2, 1, 1 / 4 + 1 / 4),
    # the large one is missed: 2 (1 - 3/6), blobs 1 - 1/4 and 0
    ([1, 1, 1, 0, 2, 0], [0, 0, 0, 0, 1, 0], 2, 1, 1 + 3 / 8),
    # a false positive on background is one in every turn: 2 (1 - 9/10), 1 - 7/8 and 1 - 3/4
    ([1, 1, 1, 0, 2, 0], [1, 1, 1, 0, 1, 1], 2, 1, 1 / 5 + 3 / 16),
    # one blob: the image and the blob are the same, (2 + 1)(1 - 3/4)
    ([0, 0, 3, 3, 0, 0], [0, 0, 1, 0, 0, 0], 2, 1, 3 / 4),
    # no blob: the image alone, 2 (1 - 1/3)
    ([0] * 6, [1, 1, 0, 0, 0, 0], 2, 1, 4 / 3),
    # blobs alone (α = 0), touching and far apart in number: 1 - 1/3 and 1 - 3/4
    ([4, 4, 64, 64, 0, 0], [0, 0, 1, 0, 0, 0], 0, 1, (2 / 3 + 1 / 4) / 2),
    # all found
    ([1, 1, 0, 2, 2, 2], [1, 1, 0, 1, 1, 1], 2, 1, 0),
    # all missed, by weights 1 and 3: 1 - 1/6, and 3 times the mean of 1 - 1/3 and 1 - 1/4
    ([1, 1, 0, 2, 2, 2], [0] * 6, 1, 3, 5 / 6 + 3 * (2 / 3 + 3 / 4) / 2),
]


@pytest.mark.parametrize(("labels", "p", "alpha", "beta", "want"), BY_HAND)
@pytest.mark.parametrize("channel", [True, False])
def test_blobs_by_hand(labels, p, alpha, beta, want, channel):
    labels, p = np.array(labels).reshape(1, 2, 3), np.array(p, float).reshape(1, 2, 3, 1)
    loss = sl.BlobLoss(sl.DiceLoss(dtype="float64"), alpha, beta)
    assert float(loss(labels[..., None] if channel else labels, p)) == pytest.approx(
        want, abs=1e-12
    )


INSIDE = {
    "dice": sl.DiceLoss,
    "bce": sl.BinaryCrossEntropyLoss,
    "dice + ce": sl.DiceCrossEntropyLoss,
    "sum": lambda **o: sl.TverskyLoss(**o) + 0.3 * sl.FocalLoss(**o),
    "unified": sl.UnifiedFocalLoss,
    "top k": sl.TopKCrossEntropyLoss,
    "boundary": sl.BoundaryLoss,
}
OPTIONS = {"from_logits": True, "dtype": "float64", "reduction": None}


def blobs(rng, spatial=(9, 8)):
    """Three images: three blobs (two of them touch), one blob, and none."""
    labels = np.zeros((3, *spatial), "int32")
    labels[0, 1:5, 1:4], labels[0, 1:4, 4:7], labels[0, 7] = 1, 2, 4
    labels[1, 2:4, 3:6] = 3
    return labels, rng.normal(size=(*labels.shape, 1))


def by_definition(inside, labels, z, weight, alpha=2.0, beta=1.0):
    """α L(image) + β mean over its blobs of L(image without the others)."""
    pixel = np.ones(labels.shape) if weight is None or weight.ndim == 1 else weight
    each = np.ones(3) if weight is None or weight.ndim > 1 else weight

    def value(mask, i, w):
        return float(
            np.asarray(inside(mask[None, ..., None].astype(int), z[i : i + 1], w[None]))[0]
        )

    values = []
    for i, image in enumerate(labels):
        numbers = [n for n in np.unique(image) if n > 0]
        turns = [value(image == n, i, pixel[i] * np.isin(image, (0, n))) for n in numbers]
        mean = np.mean(turns) if turns else 0
        values.append(each[i] * (alpha * value(image > 0, i, pixel[i]) + beta * mean))
    return np.array(values)


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("weights", [None, "image", "pixel"])
@pytest.mark.parametrize("spatial", [(9, 8), (8, 8, 3)])
def test_blobs_equal_the_definition(inside, weights, spatial, rng):
    labels, z = blobs(rng, spatial)
    shapes = {"image": (3,), "pixel": labels.shape}
    weight = None if weights is None else rng.random(shapes[weights])
    inside = INSIDE[inside](**OPTIONS)
    got = sl.BlobLoss(inside, max_blobs=5)(labels, z, weight)
    want = by_definition(inside, labels, z, weight)
    # The distances inside the boundary loss are float32.
    tolerance = 1e-6 if isinstance(inside, sl.BoundaryLoss) else 1e-12
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=1e-12)


def value_and_gradient(loss, labels, z, weight=None):
    z = tf.convert_to_tensor(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(labels, z, weight)
    return value, tape.gradient(value, z)


def test_gradient_of_blobs_equals_central_differences(rng):
    labels, z = blobs(rng)
    weight = rng.random(labels.shape)
    loss = sl.BlobLoss(sl.DiceCrossEntropyLoss(from_logits=True, dtype="float64"), max_blobs=5)
    got = value_and_gradient(loss, labels, z, weight)[1].numpy()
    compiled = tf.function(loss)
    for i in [(0, 2, 2, 0), (0, 2, 5, 0), (0, 7, 7, 0), (1, 3, 3, 0), (2, 4, 4, 0), (0, 0, 0, 0)]:
        up, down = z.copy(), z.copy()
        up[i] += 1e-6
        down[i] -= 1e-6
        ahead, behind = (float(compiled(labels, tf.constant(a), weight)) for a in (up, down))
        assert got[i] == pytest.approx((ahead - behind) / 2e-6, abs=2e-9)
        assert abs(got[i]) > 1e-5


def test_a_small_blob_pulls_as_much_as_a_large_one():
    """Both missed: summed over its pixels, the pull of 1 pixel and of 36, in Dice and in blobs."""
    labels = np.zeros((1, 10, 10), int)
    labels[0, 1:7, 1:7], labels[0, 8, 8] = 1, 2
    z = np.full((1, 10, 10, 1), -9.0)  # so sure of it that Σ p is nothing beside Σ y
    shares = []
    for alpha, beta in ((1, 0), (0, 1)):
        loss = sl.BlobLoss(sl.DiceLoss(1e-3, from_logits=True), alpha, beta)
        pull = -value_and_gradient(loss, labels, z)[1].numpy()
        shares.append(pull[labels == 2].sum() / pull[labels == 1].sum())
    assert shares[0] == pytest.approx(1 / 36, rel=1e-4)
    assert shares[1] == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("inside", [sl.DiceCrossEntropyLoss, sl.UnifiedFocalLoss])
def test_blobs_are_finite_at_the_extremes(inside, dtype):
    """Of no blob, one of a pixel, one of all and as many as pixels, each at each logit."""
    y = np.zeros((4, 4, 4), "int32")
    y[1, 1, 1], y[2], y[3] = 3, 3, np.arange(16).reshape(4, 4) + 1
    logits = np.repeat([-1e4, 0.0, 1e4], 4).reshape(12, 1, 1, 1)
    z = tf.cast(np.broadcast_to(logits, (12, 4, 4, 1)), dtype)
    loss = sl.BlobLoss(inside(from_logits=True, reduction=None), max_blobs=16)
    values, gradient = value_and_gradient(loss, np.concatenate([y] * 3), z)
    assert values.dtype == "float32" and gradient.dtype == z.dtype
    assert values.shape == (12,) and np.isfinite(values).all()
    assert np.isfinite(tf.cast(gradient, "float32").numpy()).all()


@pytest.mark.parametrize("held", [np.nan, np.inf])
def test_a_pixel_of_weight_zero_is_out_and_so_is_a_blob_of_them(held, rng):
    labels, z = blobs(rng)
    weight = np.ones(labels.shape)
    weight[0, 7] = 0  # the whole of blob 4
    loss = sl.BlobLoss(sl.DiceLoss(**OPTIONS), max_blobs=5)
    background = np.where(labels == 4, 0, labels)
    want = np.asarray(loss(background, z, weight))
    z[0, 7] = held
    value, gradient = value_and_gradient(loss, labels, z, weight)
    np.testing.assert_allclose(value, want, rtol=1e-14)
    assert np.isfinite(gradient.numpy()).all() and (gradient.numpy()[0, 7] == 0).all()


@pytest.mark.parametrize(("out", "options"), [(-1, {}), (255, {"ignore_class": 255})])
@pytest.mark.parametrize("inside", ["bce", "sum", "boundary"])
def test_what_is_out_of_the_picture_counts_nowhere(out, options, inside, rng):
    labels, z = blobs(rng)
    loss = sl.BlobLoss(INSIDE[inside](**OPTIONS), max_blobs=5)
    wide = np.pad(labels, [(0, 0), (0, 3), (0, 2)], constant_values=out)
    z_wide = np.pad(z, [(0, 0), (0, 3), (0, 2), (0, 0)], constant_values=np.nan)
    ignoring = sl.BlobLoss(INSIDE[inside](**OPTIONS, **options), max_blobs=5)
    np.testing.assert_allclose(ignoring(wide, z_wide), loss(labels, z), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (3, 9, 8)])
def test_blobs_reduce_as_every_loss(shape, rng):
    labels, z = blobs(rng)
    weight = rng.random(shape)

    def reduced(reduction):
        inside = sl.BinaryCrossEntropyLoss(from_logits=True, dtype="float64", reduction=reduction)
        return np.asarray(sl.BlobLoss(inside, max_blobs=5)(labels, z, weight))

    each = reduced(None)
    mean_weight = weight.reshape(3, -1).mean(axis=1)
    assert reduced("sum") == pytest.approx(each.sum())
    assert reduced("sum_over_batch_size") == pytest.approx(each.mean())
    assert reduced("mean_with_sample_weight") == pytest.approx(each.sum() / mean_weight.sum())
    loss = sl.BlobLoss(sl.DiceCrossEntropyLoss(from_logits=True))
    assert float(loss(labels, z, 0 * weight)) == 0


def test_blobs_eager_graph_and_xla_agree(rng):
    labels, z = blobs(rng)
    z, weight = z.astype("float32"), rng.random(labels.shape).astype("float32")
    loss = sl.BlobLoss(sl.DiceCrossEntropyLoss(from_logits=True), max_blobs=6)
    want, slope = value_and_gradient(loss, labels, z, weight)
    signature = [
        tf.TensorSpec((None, None, None), "int32"),
        tf.TensorSpec((None, None, None, 1)),
        tf.TensorSpec((None, None, None)),
    ]

    def step(labels, z, weight):
        return value_and_gradient(loss, labels, z, weight)

    for compiled in (
        tf.function(step, input_signature=signature),
        tf.function(step, jit_compile=True),
    ):
        value, gradient = compiled(labels, z, weight)
        assert float(value) == pytest.approx(float(want), rel=1e-5)
        np.testing.assert_allclose(gradient, slope, atol=1e-6 * np.abs(slope).max())


def test_the_order_and_the_bound_of_numbers_do_not_matter(rng):
    labels, z = blobs(rng)
    want = np.asarray(sl.BlobLoss(sl.DiceLoss(**OPTIONS), max_blobs=4)(labels, z))
    other = np.array([0, 9, 2, 1, 7])[labels]
    got = sl.BlobLoss(sl.DiceLoss(**OPTIONS), max_blobs=20)(other, z)
    np.testing.assert_allclose(got, want, rtol=1e-14)


def test_a_blob_beyond_the_last_number_is_nan_in_a_graph():
    labels = np.array([[[1, 1, 0, 3]], [[1, 2, 0, 0]]], "int32")
    z = np.zeros((2, 1, 4, 1), "float32")
    loss = sl.BlobLoss(sl.DiceLoss(from_logits=True, reduction=None), max_blobs=2)
    beyond, inside = tf.function(loss)(tf.constant(labels), tf.constant(z))
    assert np.isnan(beyond) and np.isfinite(inside)


def tiny_model():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.Conv2D(1, 3, padding="same")]
    )


@pytest.mark.parametrize("shape", [None, (3,), (3, 9, 8), (3, 9, 8, 1)])
def test_fit_with_blobs_gives_the_value_of_a_direct_call(shape, rng):
    labels, x = blobs(rng)
    weight = None if shape is None else rng.random(shape)
    loss = sl.BlobLoss(sl.DiceCrossEntropyLoss(from_logits=True), max_blobs=5)
    model = tiny_model()
    model.compile(loss=loss, optimizer=keras.optimizers.SGD(0.0), jit_compile=shape is None)
    want = float(loss(labels, model(x), weight))
    history = model.fit(x, labels, sample_weight=weight, batch_size=3, verbose=0)
    assert history.history["loss"][0] == pytest.approx(want, rel=1e-5)


def test_two_replicas_take_the_step_of_one_with_blobs(rng):
    labels, x = (np.concatenate([a[:2], a[:2]]) for a in blobs(rng))
    steps = []
    for strategy in (
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    ):
        with strategy.scope():
            model = tiny_model()
            loss = sl.BlobLoss(sl.DiceLoss(from_logits=True), max_blobs=4)
            model.compile(loss=loss, optimizer=keras.optimizers.SGD(1.0), jit_compile=False)
        # `fit` would build the loss on the mean of what the replicas hold, which makes fractions
        # of whole numbers (Keras 3.15); here it is built on a batch.
        model.test_on_batch(x, labels)
        before = np.array(model.get_weights()[0])
        model.fit(tf.data.Dataset.from_tensors((x, labels)), shuffle=False, verbose=0)
        steps.append(model.get_weights()[0] - before)
    assert np.abs(steps[0]).max() > 1e-5
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-4, atol=1e-7)


MASK, MAP = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), int)


@pytest.mark.parametrize(
    ("y", "z", "message"),
    [
        (MASK, (1, 4, 4, 1), "dtype bool"),
        (MAP.astype(float), (1, 4, 4, 1), "each object its own number.*dtype float64"),
        (MAP, (1, 4, 4, 3), r"takes one class. Received: several.*\(1, 4, 4, 3\)"),
        (MAP, (2, 4, 4, 1), r"y_true.shape=\(1, 4, 4\), y_pred.shape=\(2, 4, 4, 1\)"),
        (MAP, (1, 4, 4), r"y_pred.shape=\(1, 4, 4\)"),
        (MAP + 65, (1, 4, 4, 1), r"1 to `max_blobs`, 64.* Received: labels from 65 to 65"),
        (MAP - 2, (1, 4, 4, 1), "Received: values from -2 to -2"),
    ],
)
def test_bad_inputs_of_blobs_say_what_came(y, z, message):
    with pytest.raises(ValueError, match=message):
        sl.BlobLoss()(y, np.zeros(z))


@pytest.mark.parametrize("shape", [(), (2,), (1, 1), (4, 4), (1, 4, 4, 2)])
def test_bad_weights_of_blobs_are_refused(shape):
    with pytest.raises(ValueError, match="one value per image"):
        sl.BlobLoss()(MAP, np.zeros((1, 4, 4, 1)), np.ones(shape))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sl.BlobLoss(keras.losses.Dice()), "`loss` must be a loss of this package"),
        (lambda: sl.BlobLoss(sl.DiceLoss), "`loss` must be a loss of this package"),
        (lambda: sl.BlobLoss(sl.ShapeAwareLoss()), "must compare masks. Received: shape_aware"),
        (lambda: sl.BlobLoss(sl.BlobLoss()), "must compare masks. Received: blob"),
        (lambda: sl.BlobLoss(sl.DiceLoss(per="batch")), "per='image'"),
        (lambda: sl.BlobLoss(sl.DiceLoss() + sl.DiceLoss(per="batch")), "per='image'"),
        (lambda: sl.BlobLoss(sl.DiceLoss() + sl.DiceLoss(ignore_class=1)), "the same class"),
        (lambda: sl.BlobLoss(image_weight=-1), "`image_weight` must be .* Received: -1"),
        (lambda: sl.BlobLoss(blob_weight="1"), "`blob_weight` must be .* Received: '1'"),
        (lambda: sl.BlobLoss(max_blobs=0), "`max_blobs` must be .* Received: 0"),
        (lambda: sl.BlobLoss(max_blobs=2.0), "`max_blobs` must be .* Received: 2.0"),
        (lambda: sl.DeepSupervisionLoss("dice"), "`loss` must be a loss of this package"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "loss",
    [
        sl.BlobLoss(sl.DiceCrossEntropyLoss(**OPTIONS), 1.5, 0.5, 7, name="mine"),
        sl.BlobLoss(sl.DiceLoss(ignore_class=9) + 2 * sl.FocalLoss(gamma=1.0, ignore_class=9)),
        sl.DeepSupervisionLoss(sl.UnifiedFocalLoss(symmetric=False, multilabel=True)),
        sl.DeepSupervisionLoss(sl.BlobLoss(sl.DiceLoss(from_logits=True))),
    ],
)
def test_configuration_round_trip(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    for key in ("from_logits", "multilabel", "reduction", "dtype", "ignore_class", "truth"):
        assert getattr(again, key) == getattr(loss, key)


def test_wrapping_leaves_the_loss_inside_as_it_was(rng):
    inside = sl.DiceLoss(ignore_class=4) + sl.FocalLoss(ignore_class=4)
    sl.BlobLoss(inside)
    assert [part.ignore_class for part in inside.losses] == [4, 4]


# --- Deep supervision ----------------------------------------------------------------------------


def test_scales_by_hand():
    y = np.zeros((1, 4, 4, 1))
    y[0, 2:, 2:] = 1  # one of four blocks of 2 x 2
    fine, middle, coarse = y.copy(), np.zeros((1, 2, 2, 1)), np.ones((1, 1, 1, 1))
    fine[0, 3, 3] = 0
    loss = sl.DeepSupervisionLoss(sl.DiceLoss(dtype="float64"))
    # fine: 1 - (2·3 + 1) / (4 + 3 + 1); middle misses its one pixel: 1 - 1/2; the pixel at the
    # centre of 4 x 4, row and column 2, is foreground: 0
    values = [1 / 8, 1 / 2, 0]
    for p, value, weight in zip((fine, middle, coarse), values, (1, 1 / 2, 1 / 4), strict=True):
        assert float(loss(y, p)) == pytest.approx(weight * value)
    assert float(loss(y, [fine, middle, coarse])) == pytest.approx(1 / 8 + 1 / 4)
    assert float(loss(y, 1 - coarse)) == pytest.approx((1 - 1 / 2) / 4)


def downsampled(a, stride):
    """The pixel at the centre of each block, by indices."""
    for axis, s in enumerate(stride, start=1):
        a = np.take(a, np.arange(a.shape[axis] // s) * s + s // 2, axis=axis)
    return a


SUPERVISED = {
    "binary": (sl.DiceCrossEntropyLoss, 1),
    "exclusive": (sl.DiceCrossEntropyLoss, 3),
    "sum": (lambda **o: sl.TverskyLoss(**o) + 0.3 * sl.FocalLoss(**o), 3),
    "boundary": (sl.BoundaryLoss, 1),
}


@pytest.mark.parametrize("supervised", SUPERVISED)
@pytest.mark.parametrize("stride", [(2, 2), (4, 4), (3, 3), (1, 2), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("weights", [None, "image", "pixel", "channel"])
def test_a_coarse_prediction_meets_the_coarse_truth(supervised, stride, weights, rng):
    inside, classes = SUPERVISED[supervised]
    inside = inside(**OPTIONS)
    spatial = (12, 24) if len(stride) == 2 else (2, 4, 8)
    labels = rng.integers(0, max(classes, 2), (2, *spatial))
    y = labels[..., None].astype(float) if classes == 1 else np.eye(classes)[labels]
    z = rng.normal(size=(*downsampled(y, stride).shape[:-1], classes))
    shapes = {"image": (2,), "pixel": (2, *spatial), "channel": (2, *spatial, 1)}
    weight = None if weights is None else rng.random(shapes[weights])
    loss = sl.DeepSupervisionLoss(inside)
    coarse = weight if weight is None or weight.ndim == 1 else downsampled(weight, stride)
    want = np.asarray(inside(downsampled(y, stride), z, coarse)) / max(stride)
    np.testing.assert_allclose(loss(y, z, weight), want, rtol=1e-12)
    if classes > 1:
        for maps in (labels, labels[..., None].astype("uint8")):
            np.testing.assert_allclose(loss(maps, z, weight), want, rtol=1e-12)


def test_the_pixel_taken_is_the_nearest_to_the_centre(rng):
    """As in `tf.image.resize`, whose blocks have their centres where ours have."""
    from segloss_ref.losses.wrappers import coarser

    x = rng.normal(size=(2, 12, 24, 3))
    for stride in (2, 3, 4, 6):
        want = tf.image.resize(x, (12 // stride, 24 // stride), method="nearest")
        np.testing.assert_array_equal(
            coarser(x, (stride, stride), (12 // stride, 24 // stride)), want
        )


def test_ignored_pixels_stay_ignored(rng):
    y = (rng.random((2, 8, 8, 1)) > 0.5).astype("uint8")
    z = rng.normal(size=(2, 4, 4, 1))
    y[:, 4:] = 255
    inside = sl.DiceCrossEntropyLoss(**OPTIONS, ignore_class=255)
    want = np.asarray(sl.DiceCrossEntropyLoss(**OPTIONS)(y[:, 1:4:2, 1::2], z[:, :2])) / 2
    np.testing.assert_allclose(sl.DeepSupervisionLoss(inside)(y, z), want, rtol=1e-12)


def test_labels_beyond_the_classes_are_refused():
    labels = np.full((1, 4, 4), 3)
    with pytest.raises(ValueError, match=r"must hold 0 to 2.* from 3 to 3"):
        sl.DeepSupervisionLoss()(labels, np.full((1, 2, 2, 3), 1 / 3))


@pytest.mark.parametrize("inside", [sl.ShapeAwareLoss, lambda **o: sl.BlobLoss(sl.DiceLoss(**o))])
def test_instance_maps_stay_instance_maps(inside, rng):
    labels, _ = blobs(rng, (8, 8))
    z = rng.normal(size=(3, 4, 4, 1))
    inside = inside(**OPTIONS)
    want = np.asarray(inside(labels[:, 1::2, 1::2], z)) / 2
    np.testing.assert_allclose(sl.DeepSupervisionLoss(inside)(labels, z), want, rtol=1e-12)


@pytest.mark.parametrize(
    ("true", "pred"),
    [((1, 5, 4, 1), (1, 2, 2, 1)), ((1, 4, 6, 1), (1, 4, 4, 1)), ((1, 2, 2, 1), (1, 4, 4, 1))],
)
def test_sizes_that_do_not_divide_are_refused_with_both_named(true, pred):
    with pytest.raises(ValueError, match="whole multiples") as error:
        sl.DeepSupervisionLoss()(np.zeros(true), np.zeros(pred))
    assert str(true) in str(error.value) and str(pred) in str(error.value)
    step = tf.function(
        sl.DeepSupervisionLoss(), input_signature=[tf.TensorSpec((None, None, None, 1))] * 2
    )
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        step(tf.zeros(true), tf.zeros(pred))


@pytest.mark.parametrize("inside", ["binary", "boundary"])
def test_scales_eager_graph_and_xla_agree(inside, rng):
    y = (rng.random((2, 8, 12, 1)) > 0.5).astype("float32")
    z, weight = (rng.normal(size=(2, 4, 6, 1)).astype("float32"), rng.random((2, 8, 12)))
    weight = weight.astype("float32")
    loss = sl.DeepSupervisionLoss(SUPERVISED[inside][0](from_logits=True))
    want, slope = value_and_gradient(loss, y, z, weight)
    signature = [tf.TensorSpec((None, None, None, 1))] * 2 + [tf.TensorSpec((None, None, None))]

    def step(y, z, weight):
        return value_and_gradient(loss, y, z, weight)

    for compiled in (
        tf.function(step, input_signature=signature),
        tf.function(step, jit_compile=True),
    ):
        value, gradient = compiled(y, z, weight)
        assert float(value) == pytest.approx(float(want), rel=1e-5)
        np.testing.assert_allclose(gradient, slope, atol=1e-5 * np.abs(slope).max())


def supervised_model(classes=1):
    """A model with three outputs, from fine to coarse."""
    keras.utils.set_random_seed(3)
    inputs = x = keras.Input((None, None, 1))
    outputs = []
    for scale in ("fine", "middle", "coarse"):
        x = x if scale == "fine" else keras.layers.AveragePooling2D(2)(x)
        outputs.append(keras.layers.Conv2D(classes, 3, padding="same", name=scale)(x))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("weights", [None, "pixel"])
@pytest.mark.parametrize("jit", [False, True])
def test_one_loss_serves_a_model_with_several_outputs(weights, jit, rng, tmp_path):
    x, labels = rng.random((4, 8, 12, 1)), rng.integers(0, 3, (4, 8, 12))
    weight = rng.random((4, 8, 12)) if weights else None
    loss = sl.DeepSupervisionLoss(sl.DiceCrossEntropyLoss(from_logits=True))
    model = supervised_model(classes=3)
    model.compile(loss=loss, optimizer=keras.optimizers.SGD(0.0), jit_compile=jit)
    want = float(loss(labels, model(x), weight))
    history = model.fit(
        x,
        [labels] * 3,
        sample_weight=None if weight is None else [weight] * 3,
        batch_size=4,
        verbose=0,
    )
    assert history.history["loss"][0] == pytest.approx(want, rel=1e-5)
    inside, fine = loss.loss, model(x)[0]
    assert want > 1.01 * float(inside(labels, fine, weight))
    if not jit:
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        value = loaded.evaluate(x, [labels] * 3, verbose=0, batch_size=4)
        unweighted = float(loss(labels, model(x)))
        assert (value[0] if isinstance(value, list) else value) == pytest.approx(unweighted)


def test_every_scale_learns(rng):
    x = rng.random((8, 16, 16, 1)).astype("float32")
    y = (x > 0.5).astype("float32")
    loss = sl.DeepSupervisionLoss(sl.DiceLoss(from_logits=True))
    model = supervised_model()
    model.compile(loss=loss, optimizer=keras.optimizers.Adam(0.05))
    before = [float(loss(y, p)) for p in model(x)]
    model.fit(x, [y] * 3, epochs=20, batch_size=8, verbose=0)
    after = [float(loss(y, p)) for p in model(x)]
    assert all(a < b for a, b in zip(after, before, strict=True))

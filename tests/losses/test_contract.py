"""What every loss must do, whatever it computes: shapes, weights, extremes, saving, training."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from cases import CASES, every_case, make, oracle, which

import segloss_ref as sl


def draw(rng, shape, soft=False):
    y = rng.random(shape) if soft else (rng.random(shape) > 0.6).astype(float)
    return y, rng.normal(size=shape) * 2


def value(loss, *args):
    return np.asarray(loss(*args))


def sample_weight_of(weights, rng, shape):
    return {"image": rng.random(shape[:1]), "pixel": rng.random(shape[:-1]), None: None}[weights]


@every_case
@pytest.mark.parametrize("weights", [None, "image", "pixel"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_equals_oracle(case, weights, from_logits, rng):
    for spatial in ((5, 7), (3, 4, 5)):
        for soft in (False, True)[: 1 + CASES[case].soft]:
            if len(spatial) in CASES[case].dimensions:
                check_against_oracle(case, weights, from_logits, (3, *spatial, 1), soft, rng)


def check_against_oracle(case, weights, from_logits, shape, soft, rng):
    y, z = draw(rng, shape, soft)
    p = oracles.sigmoid(z)
    w = sample_weight_of(weights, rng, shape)
    loss = make(case, from_logits=from_logits, dtype="float64", reduction=None)
    pixel = w if weights == "pixel" else np.ones(shape[:-1])
    want = np.array([oracle(case)(y[i, ..., 0], p[i, ..., 0], pixel[i]) for i in range(3)])
    if weights == "image":
        want = want * w
    got = value(loss, y, z if from_logits else p, w)
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


@which(lambda case: case.permutable)
@pytest.mark.parametrize("weights", [None, "image", "pixel"])
def test_per_batch_is_one_large_image(case, weights, rng):
    """Sums over the batch are the sums over its images set side by side."""
    y, z = draw(rng, (3, 4, 5, 1))
    w = sample_weight_of(weights, rng, y.shape)
    pixel = np.ones((3, 4, 5))
    if w is not None:
        pixel = pixel * w.reshape(3, *w.shape[1:] or (1, 1))
    want = oracle(case)(y.ravel(), oracles.sigmoid(z).ravel(), pixel.ravel())
    got = value(make(case, per="batch", from_logits=True, reduction=None, dtype="float64"), y, z, w)
    np.testing.assert_allclose(got, np.full(3, want), rtol=1e-11)


@which(lambda case: case.smooth_gradient)
def test_gradient_equals_central_differences(case, rng):
    y, z = draw(rng, (2, 3, 4, 1), soft=CASES[case].soft)
    w = rng.random((2, 3, 4))
    loss = make(case, from_logits=True, dtype="float64")
    logits = tf.Variable(z)
    with tf.GradientTape() as tape:
        result = loss(y, logits, w)
    got = tape.gradient(result, logits).numpy()
    step, want = 1e-6, np.zeros_like(z)
    for i in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[i] += step
        down[i] -= step
        want[i] = (value(loss, y, up, w) - value(loss, y, down, w)) / (2 * step)
    # Central differences are good to step² and to rounding over step, about 1e-10 here.
    np.testing.assert_allclose(got, want, atol=2e-9)
    assert np.abs(want).max() > 1e-4


def one_pixel(shape):
    y = np.zeros(shape)
    y[:, 0, 0] = 1
    return y


EXTREMES = {"empty truth": np.zeros, "full truth": np.ones, "one pixel": one_pixel}


@every_case
@pytest.mark.parametrize("truth", EXTREMES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_finite_at_the_extremes(case, truth, dtype):
    for side in (1, 8):
        y = EXTREMES[truth]((2, *(side,) * CASES[case].dimensions[0], 1))
        for logit in (-1e4, -100.0, 0.0, 100.0, 1e4):
            z = tf.cast(tf.fill(y.shape, logit), dtype)
            check_finite(make(case, from_logits=True), y, z)
            check_finite(make(case), y, tf.cast(tf.sigmoid(tf.cast(z, "float32")), dtype))


def check_finite(loss, y, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        result = loss(y, x)
    gradient = tape.gradient(result, x)
    assert result.dtype == "float32" and gradient.dtype == x.dtype
    assert np.isfinite(result.numpy()), f"value {result} at {x.numpy().flat[0]}"
    assert np.isfinite(tf.cast(gradient, "float32").numpy()).all(), f"at {x.numpy().flat[0]}"


@every_case
def test_half_precision_sums_do_not_overflow(case):
    """512² ones sum to 262144; float16 ends at 65504."""
    y = np.zeros((1, 512, 512, 1), "float32")
    y[:, :300] = 1
    z = np.where(y > 0, 3, -3).astype("float16")
    want = value(make(case, from_logits=True), y, z.astype("float32"))
    assert value(make(case, from_logits=True), y, z) == pytest.approx(want, rel=1e-6)
    half = make(case, from_logits=True, dtype="float16")(y.astype("float16"), z)
    assert half.dtype == "float16"
    assert float(half) == pytest.approx(float(want), rel=2e-3)


@every_case
@pytest.mark.parametrize("held", [np.nan, np.inf, 255.0])
def test_weight_zero_removes_a_pixel_whatever_it_holds(case, held, rng):
    y, z = draw(rng, (2, 4, 4, 1))
    w = np.ones((2, 4, 4))
    w[:, 0, 0] = 0
    loss = make(case, from_logits=True, dtype="float64")
    want = value(loss, y, z, w)
    y[:, 0, 0], z[:, 0, 0] = held, -held
    logits = tf.Variable(z)
    with tf.GradientTape() as tape:
        got = loss(y, logits, w)
    gradient = tape.gradient(got, logits).numpy()
    assert got.numpy() == pytest.approx(want, rel=1e-14)
    assert np.isfinite(gradient).all() and (gradient[:, 0, 0] == 0).all()


@every_case
def test_ignored_pixels_count_nowhere(case, rng):
    y, z = draw(rng, (2, 4, 4, 1))
    y[:, 2:] = 255
    loss = make(case, from_logits=True, ignore_class=255, dtype="float64")
    want = value(make(case, from_logits=True, dtype="float64"), y[:, :2], z[:, :2])
    assert value(loss, y, z) == pytest.approx(want, rel=1e-14)
    assert value(loss, y.astype("uint8"), z) == pytest.approx(want, rel=1e-14)
    weights = rng.random((2, 4, 4))
    half = value(make(case, from_logits=True, dtype="float64"), y[:, :2], z[:, :2], weights[:, :2])
    assert value(loss, y, z, weights) == pytest.approx(half, rel=1e-14)


@every_case
def test_all_pixels_weight_zero_is_zero(case, rng):
    y, z = draw(rng, (2, 4, 4, 1))
    for reduction in ("sum_over_batch_size", "mean_with_sample_weight"):
        assert (
            value(make(case, from_logits=True, reduction=reduction), y, z, np.zeros((2, 4, 4))) == 0
        )


@every_case
def test_reductions(case, rng):
    y, z = draw(rng, (3, 4, 4, 1))
    w = np.array([1.0, 2.0, 5.0])
    each = value(make(case, reduction=None, from_logits=True), y, z)
    assert each.shape == (3,)

    def reduced(reduction):
        return value(make(case, reduction=reduction, from_logits=True), y, z, w)

    assert reduced("sum") == pytest.approx((w * each).sum(), rel=1e-5)
    assert reduced("sum_over_batch_size") == pytest.approx((w * each).sum() / 3, rel=1e-5)
    assert reduced("mean_with_sample_weight") == pytest.approx((w * each).sum() / 8, rel=1e-5)


SHAPES = {
    # y_true, y_pred, what the message must name
    "missing channel": ((2, 4, 4), (2, 4, 4, 1), "y_true[..., None]"),
    "broadcast batch": ((1, 4, 4, 1), (2, 4, 4, 1), "(1, 4, 4, 1)"),
    "broadcast pixels": ((2, 4, 1, 1), (2, 4, 4, 1), "(2, 4, 1, 1)"),
    "other classes": ((2, 4, 4, 2), (2, 4, 4, 3), "(2, 4, 4, 3)"),
    "rank 3 prediction": ((2, 4, 4), (2, 4, 4), "y_pred.shape=(2, 4, 4)"),
    "rank 6 prediction": ((1,) * 6, (1,) * 6, "y_pred.shape=(1, 1, 1, 1, 1, 1)"),
}


@every_case
@pytest.mark.parametrize("shapes", SHAPES)
def test_wrong_shapes_are_refused_with_both_named(case, shapes):
    true, pred, named = SHAPES[shapes]
    with pytest.raises(ValueError) as error:
        make(case)(np.ones(true), np.ones(pred))
    assert named in str(error.value)
    assert str(pred) in str(error.value)


@every_case
@pytest.mark.parametrize("shape", [(), (1,), (2, 1), (2, 1, 1), (4, 4), (2, 4, 4, 2), (1, 4, 4)])
def test_wrong_weight_shapes_are_refused(case, shape):
    y = np.ones((2, 4, 4, 1))
    with pytest.raises(ValueError, match="one value per image"):
        make(case)(y, y, np.ones(shape))


@every_case
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integer_predictions_are_refused(case, dtype):
    y = np.ones((2, 4, 4, 1))
    with pytest.raises(ValueError, match="floating-point"):
        make(case)(y, y.astype(dtype))


BAD_SETTINGS = {
    "from_logits": "yes",
    "multilabel": 1,
    "per": "pixel",
    "ignore_class": 1.5,
    "reduction": "median",
}


@every_case
@pytest.mark.parametrize("setting", BAD_SETTINGS)
def test_bad_settings_are_refused_by_name(case, setting):
    with pytest.raises(ValueError, match=f"`?{setting}`?"):
        make(case, **{setting: BAD_SETTINGS[setting]})


@every_case
def test_unknown_option_is_refused(case):
    with pytest.raises(TypeError, match="smoothing"):
        make(case, smoothing=1)


@pytest.mark.parametrize(
    ("make_loss", "named"),
    [
        (lambda: sl.DiceLoss(smooth=0), "smooth"),
        (lambda: sl.DiceLoss(smooth=-1), "smooth"),
        (lambda: sl.DiceLoss(smooth=True), "smooth"),
        (lambda: sl.DiceLoss(squared=2), "squared"),
        (lambda: sl.DiceLoss(class_weights=[1, -1]), "class_weights"),
        (lambda: sl.DiceLoss(class_weights=[0, 0]), "class_weights"),
        (lambda: sl.DiceLoss(class_weights=2.0), "class_weights"),
        (lambda: sl.DiceLoss(include_background="no"), "include_background"),
        (lambda: sl.WeightedBinaryCrossEntropyLoss(0), "beta"),
        (lambda: sl.WeightedBinaryCrossEntropyLoss(float("nan")), "beta"),
        (lambda: sl.BalancedBinaryCrossEntropyLoss(1.5), "beta"),
    ],
)
def test_bad_values_say_what_came_and_what_is_allowed(make_loss, named):
    with pytest.raises(ValueError, match=rf"`{named}.*`? must .*Received"):
        make_loss()


@every_case
def test_config_round_trip_keeps_every_setting(case):
    options = {
        "from_logits": True,
        "multilabel": True,
        "per": "batch",
        "ignore_class": 7,
        "reduction": "sum",
        "name": "mine",
        "dtype": "float64",
    }
    loss = make(case, **options)
    config = loss.get_config()
    assert {key: config[key] for key in options} == options
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss) and again.get_config() == config


@every_case
def test_saved_and_loaded_inside_a_model(case, rng, tmp_path):
    y, _ = draw(rng, (4, 6, 6, 1))
    x = rng.random((4, 6, 6, 1))
    model = tiny_model()
    model.compile(loss=make(case, from_logits=True))
    model.train_on_batch(x, y)  # the optimizer has its variables only after a step
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is CASES[case].loss
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))


def tiny_model(classes=1):
    keras.utils.set_random_seed(3)
    layers = [keras.Input((None, None, 1)), keras.layers.Conv2D(classes, 3, padding="same")]
    return keras.Sequential(layers)


@every_case
@pytest.mark.parametrize("weights", [None, (4,), (4, 6, 6), (4, 6, 6, 1)])
def test_fit_gives_the_value_of_a_direct_call(case, weights, rng):
    y, _ = draw(rng, (4, 6, 6, 1))
    x = rng.random((4, 6, 6, 1))
    w = None if weights is None else rng.random(weights)
    loss = make(case, from_logits=True)
    model = tiny_model()
    model.compile(loss=loss, optimizer=keras.optimizers.SGD(0.0))
    want = float(loss(y, model(x), w))
    history = model.fit(x, y, sample_weight=w, batch_size=4, verbose=0)
    assert history.history["loss"][0] == pytest.approx(want, rel=1e-5)


@every_case
def test_eager_graph_and_xla_agree(case, rng):
    y, z = (a.astype("float32") for a in draw(rng, (3, 6, 6, 1)))
    w = rng.random((3, 6, 6)).astype("float32")
    loss = make(case, from_logits=True)
    signature = [tf.TensorSpec((None, None, None, 1)), tf.TensorSpec((None, None, None, 1)),
                 tf.TensorSpec((None, None, None))]  # fmt: skip
    graph = tf.function(lambda *args: loss(*args), input_signature=signature)
    xla = tf.function(lambda *args: loss(*args), jit_compile=True)
    want = float(loss(y, z, w))
    assert float(graph(y, z, w)) == pytest.approx(want, rel=1e-6)
    assert float(xla(y, z, w)) == pytest.approx(want, rel=1e-6)


@which(lambda case: case.permutable)
def test_permutations_of_pixels_change_nothing(case, rng):
    y, z = draw(rng, (2, 4, 5, 1))
    loss = make(case, from_logits=True, dtype="float64")
    order = rng.permutation(20)

    def shuffled(a):
        return a.reshape(2, 20, 1)[:, order].reshape(2, 4, 5, 1)

    assert value(loss, shuffled(y), shuffled(z)) == pytest.approx(value(loss, y, z), rel=1e-12)


@every_case
def test_flips_change_nothing(case, rng):
    y, z = draw(rng, (2, 6, 7, 1))
    loss = make(case, from_logits=True, dtype="float64")
    want = value(loss, y, z)
    for flip in (np.s_[:, ::-1], np.s_[:, :, ::-1]):
        assert value(loss, y[flip], z[flip]) == pytest.approx(want, rel=1e-10)


@which(lambda case: case.least is not None)
def test_perfect_prediction_is_the_minimum_and_the_wrong_one_is_not(case, rng):
    y, z = draw(rng, (2, 6, 6, 1))
    loss = make(case, dtype="float64")
    perfect, wrong = value(loss, y, y), value(loss, y, 1 - y)
    assert perfect == pytest.approx(CASES[case].least, abs=1e-6)
    assert wrong > value(loss, y, oracles.sigmoid(z)) > perfect


@every_case
def test_two_replicas_take_the_step_of_one(case, rng):
    """Keras divides the loss by the replicas only if the loss reduces in the base class."""
    y, _ = draw(rng, (4, 6, 6, 1))
    x = rng.random((4, 6, 6, 1)).astype("float32")
    y = np.concatenate([y[:2], y[:2]]).astype("float32")  # both replicas see the same images
    x = np.concatenate([x[:2], x[:2]])
    steps = []
    for strategy in (
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    ):
        with strategy.scope():
            model = tiny_model()
            model.compile(
                loss=make(case, from_logits=True),
                optimizer=keras.optimizers.SGD(1.0),
                jit_compile=False,
            )
        before = np.array(model.get_weights()[0])
        model.fit(tf.data.Dataset.from_tensors((x, y)), shuffle=False, verbose=0)
        steps.append(model.get_weights()[0] - before)
    assert np.abs(steps[0]).max() > 1e-5
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-4, atol=1e-7)

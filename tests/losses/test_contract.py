"""What every loss must do, whatever it computes: shapes, weights, extremes, saving, training."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import (
    CASES,
    SHARED,
    activate,
    classes_of,
    draw,
    every_case,
    every_case_and_kind,
    first_case,
    main_kind,
    make,
    shared_case,
    spatial_of,
    which,
    which_and_kind,
)

import segloss_ref as sl


def value(loss, *args):
    return np.asarray(loss(*args))


def image(case, side=6):
    """The shape of a small image that the loss takes."""
    return (side,) * CASES[case].loss.dimensions[0]


def sample_weight_of(weights, rng, shape):
    return {"image": rng.random(shape[:1]), "pixel": rng.random(shape[:-1]), None: None}[weights]


@every_case_and_kind
@pytest.mark.parametrize("weights", [None, "pixel"])
def test_equals_oracle(case, kind, weights, rng):
    """Weights of images multiply what this gives, see `test_reductions`."""
    for spatial in spatial_of(case):
        for soft in (False, True)[: 1 + CASES[case].soft]:
            for from_logits in (False, True):
                check_against_oracle(case, kind, weights, from_logits, (3, *spatial), soft, rng)


def check_against_oracle(case, kind, weights, from_logits, leading, soft, rng):
    y, z = draw(rng, case, leading, kind, soft)
    p = activate(kind, z)
    w = sample_weight_of(weights, rng, y.shape)
    loss = make(case, kind, from_logits=from_logits, dtype="float64", reduction=None)
    pixel = w if weights == "pixel" else np.ones(leading)
    want = np.array([CASES[case].value(kind, y[i], p[i], pixel[i]) for i in range(3)])
    got = value(loss, y, z if from_logits else p, w)
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


@which_and_kind(lambda case: case.permutable)
@pytest.mark.parametrize("weights", [None, "image", "pixel"])
def test_per_batch_is_one_large_image(case, kind, weights, rng):
    """Sums over the batch are the sums over its images set side by side."""
    y, z = draw(rng, case, (3, 4, 5), kind)
    w = sample_weight_of(weights, rng, y.shape)
    pixel = np.ones((3, 4, 5))
    if w is not None:
        pixel = pixel * w.reshape(3, *w.shape[1:] or (1, 1))
    one = [a.reshape(60, -1) for a in (y, activate(kind, z))]
    want = CASES[case].value(kind, *one, pixel.ravel())
    options = {"per": "batch", "from_logits": True, "reduction": None, "dtype": "float64"}
    got = value(make(case, kind, **options), y, z, w)
    np.testing.assert_allclose(got, np.full(3, want), rtol=1e-11)


@which_and_kind(lambda case: case.smooth_gradient)
def test_gradient_equals_central_differences(case, kind, rng):
    leading = (2, *(3, 4, 2)[: CASES[case].loss.dimensions[0]])
    y, z = draw(rng, case, leading, kind, soft=CASES[case].soft)
    w = rng.random(leading)
    loss = make(case, kind, from_logits=True, dtype="float64")
    logits = tf.Variable(z)
    with tf.GradientTape() as tape:
        result = loss(y, logits, w)
    got = tape.gradient(result, logits).numpy()
    want = central_differences(make(case, kind, **OF_IMAGES), y, z, w) / len(y)
    # Central differences are good to step² and to rounding over step, about 1e-10 here.
    np.testing.assert_allclose(got, want, atol=2e-9)
    assert np.abs(want).max() > 1e-4


OF_IMAGES = {"from_logits": True, "dtype": "float64", "reduction": None}


def central_differences(loss, y, z, w, step=1e-6):
    """The slope of the loss of each image by each of its logits, in one call for each image.

    Every logit has two copies of the image in a batch, in which it is moved up and down.
    """
    slopes = []
    for labels, logits, weights in zip(y, z, w):
        moves = step * np.eye(logits.size).reshape(-1, *logits.shape)
        moved = np.concatenate([logits + moves, logits - moves])
        labels, weights = (np.stack([a] * len(moved)) for a in (labels, weights))
        values = value(loss, labels, moved, weights)
        up, down = np.split(values, 2)
        slopes.append((up - down).reshape(logits.shape) / (2 * step))
    return np.stack(slopes)


def one_pixel(shape):
    y = np.zeros(shape)
    y[:, 0, 0] = 1
    return y


EXTREMES = {"empty truth": np.zeros, "full truth": np.ones, "one pixel": one_pixel}


def extreme(truth, kind, leading):
    """An extreme mask; where classes exclude each other, the last one has its pixels."""
    y = EXTREMES[truth](leading)
    if kind == "exclusive":
        return np.eye(3)[2 * y.astype(int)]
    return np.repeat(y[..., None], classes_of(kind), axis=-1)


LOGITS = (-1e4, -100.0, 0.0, 100.0, 1e4)


@every_case_and_kind
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_finite_at_the_extremes(case, kind, dtype):
    """One image for each extreme mask and logit, of one pixel and of several."""
    check_extremes(case, kind, dtype)


@shared_case
def test_finite_at_the_extremes_in_bfloat16(case):
    """It has the range of float32, and the base casts it once for all losses."""
    check_extremes(case, main_kind(case), "bfloat16")


def check_extremes(case, kind, dtype):
    extremes = list(itertools.product(EXTREMES, LOGITS))
    for side in (1, 8):
        y = np.concatenate([extreme(t, kind, (1, *image(case, side))) for t, _ in extremes])
        sides = np.where(np.arange(y.shape[-1]) < y.shape[-1] - 1, -1.0, 1.0) * np.ones(y.shape)
        z = np.array([z for _, z in extremes]).reshape(-1, *(1,) * (y.ndim - 1)) * sides
        p = activate(kind, np.clip(z, -700, 700))
        for x, from_logits in ((z, True), (p, False)):
            loss = make(case, kind, from_logits=from_logits, reduction=None)
            check_finite(loss, y, tf.cast(x, dtype), extremes)


def check_finite(loss, y, x, names):
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = loss(y, x)
    gradient = tape.gradient(values, x)
    assert values.dtype == "float32" and gradient.dtype == x.dtype
    slopes = tf.cast(gradient, "float32").numpy().reshape(len(names), -1)
    for name, value, slope in zip(names, values.numpy(), slopes):
        assert np.isfinite(value) and np.isfinite(slope).all(), f"{value}, {slope} at {name}"


@first_case
def test_half_precision_sums_do_not_overflow(case):
    """512² ones sum to 262144; float16 ends at 65504."""
    labels = np.zeros((1, 512, 512), int)
    labels[:, :300] = 1
    if main_kind(case) == "exclusive":
        y = np.eye(3, dtype="float32")[2 * labels]
    else:
        classes = classes_of(main_kind(case))
        y = np.repeat(labels[..., None], classes, axis=-1).astype("float32")
    z = np.where(y > 0, 3, -3).astype("float16")
    want = value(make(case, from_logits=True), y, z.astype("float32"))
    assert value(make(case, from_logits=True), y, z) == pytest.approx(want, rel=1e-6)
    half = make(case, from_logits=True, dtype="float16")(y.astype("float16"), z)
    assert half.dtype == "float16"
    assert float(half) == pytest.approx(float(want), rel=2e-3)


@every_case_and_kind
def test_weight_zero_removes_a_pixel_whatever_it_holds(case, kind, rng):
    """NaN is the hardest to get rid of."""
    check_removed(case, kind, np.nan, rng)


@shared_case
@pytest.mark.parametrize("held", [np.inf, 255.0])
def test_weight_zero_removes_infinity_and_numbers(case, held, rng):
    check_removed(case, main_kind(case), held, rng)


def check_removed(case, kind, held, rng):
    y, z = draw(rng, case, (2, *image(case, 4)), kind)
    w = np.ones(y.shape[:-1])
    w[:, 0, 0] = 0
    loss = make(case, kind, from_logits=True, dtype="float64")
    want = value(loss, y, z, w)
    y[:, 0, 0], z[:, 0, 0] = held, -held
    logits = tf.Variable(z)
    with tf.GradientTape() as tape:
        got = loss(y, logits, w)
    gradient = tape.gradient(got, logits).numpy()
    assert got.numpy() == pytest.approx(want, rel=1e-14)
    assert np.isfinite(gradient).all() and (gradient[:, 0, 0] == 0).all()


@which(lambda case: case.loss.takes != ("independent",))
def test_ignored_pixels_count_nowhere(case, rng):
    """They are not even neighbours: the picture might as well end there."""
    y, z = draw(rng, case, (2, *image(case, 4)))
    if main_kind(case) == "exclusive":
        y = y.argmax(axis=-1).astype(float)
        truths = [y.astype("int32"), y.astype("uint8")]
    else:
        truths = [y, y.astype("uint8")]
    weights = rng.random(z.shape[:-1])
    loss = make(case, from_logits=True, ignore_class=255, dtype="float64")
    whole = make(case, from_logits=True, dtype="float64")
    for y in truths:
        want = value(whole, y[:, :2], z[:, :2])
        weighted = value(whole, y[:, :2], z[:, :2], weights[:, :2])
        ignored = y.copy()
        ignored[:, 2:] = 255
        assert value(loss, ignored, z) == pytest.approx(want, rel=1e-14)
        assert value(loss, ignored, z, weights) == pytest.approx(weighted, rel=1e-14)


@every_case
def test_all_pixels_weight_zero_is_zero(case, rng):
    y, z = draw(rng, case, (2, *image(case, 4)))
    for reduction in ("sum_over_batch_size", "mean_with_sample_weight"):
        loss = make(case, from_logits=True, reduction=reduction)
        assert value(loss, y, z, np.zeros(y.shape[:-1])) == 0


@every_case
def test_reductions(case, rng):
    y, z = draw(rng, case, (3, *image(case, 4)))
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


@shared_case
@pytest.mark.parametrize("shapes", SHAPES)
def test_wrong_shapes_are_refused_with_both_named(case, shapes):
    true, pred, named = SHAPES[shapes]
    with pytest.raises(ValueError) as error:
        make(case)(np.ones(true), np.ones(pred))
    assert named in str(error.value)
    assert str(pred) in str(error.value)


@first_case
def test_what_a_loss_does_not_take_is_refused(case):
    loss = CASES[case].loss
    for kind in {"binary", "exclusive", "independent"} - set(loss.takes):
        y = np.ones((2, *image(case, 4), classes_of(kind)))
        with pytest.raises(
            ValueError, match=f"`{loss.__name__}` takes .* Received: .*{y.shape[0]}"
        ):
            make(case, kind)(y, y)
    for dimensions in {2, 3} - set(loss.dimensions):
        y = np.ones((2, *(4,) * dimensions, classes_of(main_kind(case))))
        with pytest.raises(ValueError, match="spatial dimensions"):
            make(case)(y, y)


@shared_case
@pytest.mark.parametrize("shape", [(), (1,), (2, 1), (2, 1, 1), (4, 4), (2, 4, 4, 2), (1, 4, 4)])
def test_wrong_weight_shapes_are_refused(case, shape):
    y = np.ones((2, *image(case, 4), classes_of(main_kind(case))))
    with pytest.raises(ValueError, match="one value per image"):
        make(case)(y, y, np.ones(shape))


@shared_case
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integer_predictions_are_refused(case, dtype):
    y = np.ones((2, *image(case, 4), classes_of(main_kind(case))))
    with pytest.raises(ValueError, match="floating-point"):
        make(case)(y, y.astype(dtype))


@which(lambda case: "exclusive" in case.loss.takes)
def test_labels_beyond_the_classes_are_refused(case):
    """At once where there are values to look at; a compiled graph needs `check_batch`."""
    z = np.zeros((2, *image(case, 4), 3))
    labels = np.full(z.shape[:-1], 3)
    for call in (make(case, "exclusive", from_logits=True), sl.check_batch):
        with pytest.raises(ValueError, match=r"must hold 0 to 2.*Received: values from 3 to 3"):
            call(labels, z)
    make(case, "exclusive", from_logits=True, ignore_class=3)(labels, z)


BAD_SETTINGS = {
    "from_logits": "yes",
    "multilabel": 1,
    "per": "pixel",
    "ignore_class": 1.5,
    "reduction": "median",
}


@first_case
@pytest.mark.parametrize("setting", BAD_SETTINGS)
def test_bad_settings_are_refused_by_name(case, setting):
    with pytest.raises(ValueError, match=f"`?{setting}`?"):
        make(case, **{setting: BAD_SETTINGS[setting]})


@first_case
def test_unknown_option_is_refused(case):
    with pytest.raises(TypeError, match="smoothing"):
        make(case, smoothing=1)


@first_case
@pytest.mark.parametrize("bad", ["1", float("nan"), float("inf"), -1.0, True])
def test_bad_numbers_say_what_came_and_what_is_allowed(case, bad):
    """Every setting that is a number in a loss's configuration is checked."""
    loss = make(case)
    numbers = [k for k, v in loss.get_config().items() if type(v) is float]
    for name in numbers:
        if bad == -1.0 and name in CASES[case].may_be_negative:
            continue
        with pytest.raises(ValueError, match=rf"`{name}.*`? must .*Received"):
            make(case, **{name: bad})


@which(lambda case: case.around is None)
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


def tiny_model(case):
    keras.utils.set_random_seed(3)
    dimensions = CASES[case].loss.dimensions[0]
    convolution = {2: keras.layers.Conv2D, 3: keras.layers.Conv3D}[dimensions]
    classes = classes_of(main_kind(case))
    return keras.Sequential(
        [keras.Input((*(None,) * dimensions, 1)), convolution(classes, 3, padding="same")]
    )


@shared_case
def test_saved_and_loaded_inside_a_model(case, rng, tmp_path):
    y, _ = draw(rng, case, (4, *image(case)))
    x = rng.random((*y.shape[:-1], 1))
    model = tiny_model(case)
    model.compile(loss=make(case, from_logits=True), jit_compile=False)
    model.train_on_batch(x, y)  # the optimizer has its variables only after a step
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is CASES[case].loss
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))


@shared_case
@pytest.mark.parametrize("weights", [None, "image", "pixel", "pixel with channel"])
def test_fit_gives_the_value_of_a_direct_call(case, weights, rng):
    y, _ = draw(rng, case, (4, *image(case)))
    x = rng.random((*y.shape[:-1], 1))
    shapes = {"image": (4,), "pixel": y.shape[:-1], "pixel with channel": (*y.shape[:-1], 1)}
    w = None if weights is None else rng.random(shapes[weights])
    loss = make(case, from_logits=True)
    model = tiny_model(case)
    model.compile(loss=loss, optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    want = float(loss(y, model(x), w))
    history = model.fit(x, y, sample_weight=w, batch_size=4, verbose=0)
    assert history.history["loss"][0] == pytest.approx(want, rel=1e-5)


def check_compiled(case, rng, **options):
    """A compiled graph has the value and the gradient of an eager call."""
    y, z = (a.astype("float32") for a in draw(rng, case, (3, *image(case))))
    w = rng.random(y.shape[:-1]).astype("float32")
    loss = make(case, from_logits=True)

    def value_and_gradient(y, z, w):
        with tf.GradientTape() as tape:
            tape.watch(z)
            result = loss(y, z, w)
        return result, tape.gradient(result, z)

    want, slope = value_and_gradient(*map(tf.constant, (y, z, w)))
    got, gradient = tf.function(value_and_gradient, **options)(y, z, w)
    assert float(got) == pytest.approx(float(want), rel=1e-5)
    np.testing.assert_allclose(gradient, slope, atol=1e-5 * np.abs(slope).max())


@first_case
def test_eager_and_graph_agree(case, rng):
    """In a graph that knows no size, only the number of classes."""
    unknown = (None,) * (1 + len(image(case)))
    mask = tf.TensorSpec((*unknown, classes_of(main_kind(case))))
    check_compiled(case, rng, input_signature=[mask, mask, tf.TensorSpec(unknown)])


# Beside what all share: loops (skeletons), what is sorted, and distances to a prediction.
@pytest.mark.parametrize("case", [*SHARED, "cl-dice", "skeleton-recall", "hausdorff", "dice-top-k"])
def test_eager_and_xla_agree(case, rng):
    check_compiled(case, rng, jit_compile=True)


@which(lambda case: case.permutable)
def test_permutations_of_pixels_change_nothing(case, rng):
    y, z = draw(rng, case, (2, 4, 5))
    loss = make(case, from_logits=True, dtype="float64")
    order = rng.permutation(20)

    def shuffled(a):
        return a.reshape(2, 20, -1)[:, order].reshape(a.shape)

    assert value(loss, shuffled(y), shuffled(z)) == pytest.approx(value(loss, y, z), rel=1e-12)


@which(lambda case: case.flippable)
def test_flips_change_nothing(case, rng):
    y, z = draw(rng, case, (2, *image(case)))
    loss = make(case, from_logits=True, dtype="float64")
    want = value(loss, y, z)
    for flip in (np.s_[:, ::-1], np.s_[:, :, ::-1]):
        assert value(loss, y[flip], z[flip]) == pytest.approx(want, rel=1e-10)


@which(lambda case: case.least is not None)
def test_perfect_prediction_is_the_minimum_and_the_wrong_one_is_not(case, rng):
    y, z = draw(rng, case, (2, *image(case)))
    loss = make(case, dtype="float64")
    wrong = np.roll(y, 1, axis=-1) if main_kind(case) == "exclusive" else 1 - y
    best, worst = value(loss, y, y), value(loss, y, wrong)
    assert best == pytest.approx(CASES[case].least, abs=1e-6)
    assert worst > value(loss, y, activate(main_kind(case), z)) > best


@shared_case
def test_two_replicas_take_the_step_of_one(case, rng):
    """Keras divides the loss by the replicas only if the loss reduces in the base class."""
    y, _ = draw(rng, case, (4, *image(case)))
    x = rng.random((*y.shape[:-1], 1)).astype("float32")
    y = np.concatenate([y[:2], y[:2]]).astype("float32")  # both replicas see the same images
    x = np.concatenate([x[:2], x[:2]])
    steps = []
    # Not by a collective, whose keys a process counts anew for each strategy: after a model with
    # one class, one with three would be reduced to the shapes of the first.
    reduce = tf.distribute.ReductionToOneDevice()
    for strategy in (
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduce),
    ):
        with strategy.scope():
            model = tiny_model(case)
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

"""Facts that no other test of the losses held: each kills changes that had survived."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import segloss_ref as sl
from segloss_ref.losses.compound import TwoSidedCrossEntropy

OPTIONS = {"from_logits": True, "dtype": "float64", "reduction": None}


def batch(rng, classes=1, images=2):
    z = rng.normal(size=(images, 6, 5, classes))
    return (rng.random(z.shape) > 0.6).astype(float), z


def test_call_holds_the_factors_of_a_sum_and_the_weights_of_a_map(rng):
    y, z = batch(rng)
    parts = [sl.DiceLoss(**OPTIONS), sl.BinaryCrossEntropyLoss(**OPTIONS)]
    loss = 0.25 * parts[0] + 3 * parts[1]
    want = 0.25 * np.asarray(parts[0](y, z)) + 3 * np.asarray(parts[1](y, z))
    np.testing.assert_allclose(loss.call(y, z), want, rtol=1e-12)
    cells = np.zeros((2, 6, 5), int)
    cells[:, 1:3, 1:4], cells[:, 4:, 1:4] = 1, 2
    loss = sl.ShapeAwareLoss(**OPTIONS)
    (_, _, weights), *_ = loss.terms(cells, z)
    assert (np.asarray(weights) > 1.5).all()  # else nothing would be missed
    np.testing.assert_allclose(loss.call(cells, z), loss(cells, z), rtol=1e-12)


def test_a_named_compound_in_a_sum_keeps_its_own_weights(rng):
    y, z = batch(rng)
    parts = [sl.DiceLoss(**OPTIONS), sl.BinaryCrossEntropyLoss(**OPTIONS)]
    inner = sl.DiceCrossEntropyLoss(0.25, 3.0, **OPTIONS)
    outer = 2 * inner + sl.DiceLoss(**OPTIONS)
    want = 1.5 * np.asarray(parts[0](y, z)) + 6 * np.asarray(parts[1](y, z))
    np.testing.assert_allclose(outer(y, z), want, rtol=1e-12)


@pytest.mark.parametrize("key", ["from_logits", "multilabel", "reduction", "dtype"])
def test_parts_that_disagree_are_refused(key):
    other = {"from_logits": True, "multilabel": True, "reduction": "sum", "dtype": "float64"}
    with pytest.raises(ValueError, match=f"must have the same `{key}`"):
        sl.CompoundLoss([sl.DiceLoss(), sl.DiceLoss(**{key: other[key]})])


def test_no_images_are_0_per_batch_too():
    loss = sl.DiceLoss(per="batch", from_logits=True)
    assert float(loss(np.zeros((0, 6, 5, 1)), np.zeros((0, 6, 5, 1)))) == 0


@pytest.mark.parametrize("images", [2, 5])
def test_weights_of_images_per_batch_are_those_of_their_pixels(images, rng):
    """Also of as many images as a picture is wide, where a weight could land on a column."""
    y, z = batch(rng, images=images)
    weight = rng.random(images)
    loss = sl.DiceLoss(per="batch", **OPTIONS)
    pixels = weight[:, None, None] * np.ones((images, 6, 5))
    np.testing.assert_allclose(loss(y, z, weight), loss(y, z, pixels), rtol=1e-12)


def test_lists_of_numbers_are_arrays(rng):
    y, z = batch(rng)
    loss = sl.DiceLoss(**OPTIONS)
    np.testing.assert_allclose(loss(y.tolist(), z), loss(y, z), rtol=1e-6)


@pytest.mark.parametrize(("data_format", "axis"), [("channels_last", 3), ("channels_first", 1)])
def test_only_the_number_of_classes_must_be_known(data_format, axis):
    """And it is looked for where the classes stand."""

    def in_graph(shape):
        loss = sl.DiceLoss(from_logits=True, data_format=data_format)
        spec = tf.TensorSpec(shape)
        return tf.function(loss, input_signature=[spec, spec]).get_concrete_function()

    shape = [None] * 4
    with pytest.raises(ValueError, match="`y_pred` must have the shape"):
        in_graph(shape)
    shape[axis] = 1
    assert in_graph(shape) is not None


def test_weights_of_independent_classes_are_factors_of_both_terms(rng):
    """With factors of the terms, which differ, and without."""
    y, z = batch(rng, classes=3)
    weights = (0.5, 2.0, 4.0)
    for make in (sl.FocalLoss, sl.BinaryCrossEntropyLoss, TwoSidedCrossEntropy):
        options = OPTIONS | {"multilabel": True}
        each = [np.asarray(make(**OPTIONS)(y[..., [c]], z[..., [c]])) for c in range(3)]
        want = sum(w * value for w, value in zip(weights, each)) / 3
        got = make(class_weights=weights, **options)(y, z)
        np.testing.assert_allclose(got, want, rtol=1e-12, err_msg=make.__name__)


def test_a_factor_of_two_is_a_factor(rng):
    y, z = batch(rng)
    terms = [np.asarray(sl.WeightedBinaryCrossEntropyLoss(b, **OPTIONS)(y, z)) for b in (1, 2, 3)]
    np.testing.assert_allclose(terms[1] - terms[0], terms[2] - terms[1], rtol=1e-9)
    assert (terms[1] > terms[0]).all()


@pytest.mark.parametrize("cls", [sl.BoundaryLoss, sl.DistancePenaltyCrossEntropyLoss])
def test_exactly_one_half_is_on_no_mask(cls):
    z = np.linspace(-1, 1, 36).reshape(1, 6, 6, 1)
    y = np.zeros((1, 6, 6, 1))
    y[:, :3, :3] = 1
    half = y.copy()
    half[:, 3] = 0.5

    # The maps of both truths are the same, so that the loss is affine in y between them.
    quarter = y.copy()
    quarter[:, 3] = 0.25
    at_none, at_quarter, at_half = (np.asarray(cls(**OPTIONS)(y, z)) for y in (y, quarter, half))
    np.testing.assert_allclose(at_quarter, (at_none + at_half) / 2, rtol=1e-12)


@pytest.mark.parametrize("cls", [sl.HausdorffDistanceLoss, sl.AlArifShapeLoss])
def test_a_probability_of_exactly_one_half_is_on_no_mask(cls, rng):
    y, z = batch(rng)
    z[:, 2] = 0
    below = z.copy()
    below[:, 2] = -1e-9
    np.testing.assert_allclose(cls(**OPTIONS)(y, z), cls(**OPTIONS)(y, below), rtol=1e-7)


def test_a_matrix_of_distances_is_refused_for_either_fault():
    for wrong in ([[0, 1], [0.5, 0]], [[0.5, 1], [1, 0]]):
        with pytest.raises(ValueError, match="symmetric, with zeros"):
            sl.GeneralizedWassersteinDiceLoss(wrong)
    assert sl.GeneralizedWassersteinDiceLoss([[0, 1], [1, 0]]).distances == ((0, 1), (1, 0))


def test_background_beside_a_blob_too_many_is_refused():
    labels = np.zeros((1, 4, 4), "int32")
    labels[0, 0, 0] = 3
    with pytest.raises(ValueError, match="numbered from 1 to `max_blobs`, 2"):
        sl.BlobLoss(sl.DiceLoss(), max_blobs=2)(labels, np.full((1, 4, 4, 1), 0.5))


def test_a_truth_without_all_its_axes_is_refused_as_by_the_loss_inside():
    loss = sl.DeepSupervisionLoss(sl.DiceLoss())
    with pytest.raises(ValueError, match=r"y_true.shape=\(2, 8\)"):
        loss(np.zeros((2, 8)), np.full((2, 4, 4, 1), 0.5))


def test_on_each_side_of_a_logit_of_0_it_is_what_keras_computes():
    z = np.array([-30.0, -1.5, 0.0, 1.5, 30.0]).reshape(1, 5, 1, 1)
    y = np.full(z.shape, 0.3)
    for value in (0.0, 0.3, 1.0):
        y[:] = value
        got = sl.BinaryCrossEntropyLoss(**OPTIONS)(y, z)
        want = np.mean(keras.ops.binary_crossentropy(y, z, from_logits=True))
        np.testing.assert_allclose(got, [want], rtol=1e-12)


def test_a_probability_out_of_range_is_refused():
    for value in (1.5, -0.5):
        p = np.full((1, 4, 4, 1), 0.5)
        p[0, 0, 0] = value
        with pytest.raises(ValueError, match="from_logits"):
            sl.DiceLoss()(np.zeros(p.shape), p)


@pytest.mark.parametrize("multilabel", [False, True])
def test_probabilities_of_several_classes_in_a_graph(multilabel, rng):
    """With a truth of booleans, which needs no map of what is allowed."""
    y = np.eye(3, dtype=bool)[rng.integers(0, 3, (2, 6, 5))]
    p = rng.dirichlet((1, 1, 1), (2, 6, 5))
    loss = sl.DiceLoss(multilabel=multilabel, dtype="float64")
    got = tf.function(loss)(tf.constant(y), tf.constant(p))
    assert float(got) == pytest.approx(float(loss(y, p)), rel=1e-12)


def test_a_distance_ends_where_the_weight_is_0(rng):
    """Pixels that are out are no background: the picture might as well end there."""
    y, z = np.ones((1, 6, 6, 1)), rng.normal(size=(1, 6, 6, 1))
    y[:, :, 0], weight = 0, np.ones((1, 6, 6))
    weight[:, 3:] = 0
    y[:, 3:] = 0
    loss = sl.BoundaryLoss(**OPTIONS, class_weights=None)
    got = np.asarray(loss(y, z, weight)) * 2  # which is a mean over all pixels
    np.testing.assert_allclose(got, loss(y[:, :3], z[:, :3]), rtol=1e-12)


@pytest.mark.parametrize(
    "wrong", [[[0, 1.5], [1.5, 0]], [[0, 0, 1], [0, 0, 1], [1, 1, 0]], [[0, 1, 0], [1, 0, 1]]]
)
def test_distances_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="distances"):
        sl.GeneralizedWassersteinDiceLoss(wrong)

"""The functions compute what the classes compute, one value an image."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

import segloss_ref as sl
from segloss_ref import functional
from segloss_ref.catalogue import catalogue, defaults_of

LOSSES = {defaults_of(entry.loss)["name"]: entry.loss for entry in catalogue()}
LOSSES.pop(None)  # a sum


def batch(loss, rng):
    """Truth and logits that the loss takes."""
    kind, leading = loss.takes[0], (3, *(16, 18, 16)[: loss.dimensions[0]])
    if loss.truth == "instances":
        y = np.repeat(np.arange(3), 6)[None, None].repeat(16, 1).repeat(3, 0)[..., :18]
        return y.astype("int32"), rng.normal(size=(*y.shape, 1)).astype("float32")
    classes = 1 if kind == "binary" else 3
    y = rng.integers(0, max(classes, 2), leading)
    y = y[..., None] if kind == "binary" else y
    return y.astype("int32"), rng.normal(size=(*leading, classes)).astype("float32")


def settings_for(loss):
    """That it is given logits, or is put around a loss that is."""
    if "from_logits" in defaults_of(loss):
        return {"from_logits": True}
    return {"loss": sl.DiceLoss(from_logits=True)}


def test_there_is_one_for_each_loss():
    assert functional.__all__ == list(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_the_loss_of_each_image(name):
    loss, rng = LOSSES[name], np.random.default_rng(0)
    y, z = batch(loss, rng)
    settings = settings_for(loss)
    weight = rng.random(y.shape[:3] if y.ndim > 3 and y.shape[-1] == 1 else y.shape)
    weight = None if loss.dimensions[0] == 2 and weight.ndim != 3 else weight
    for given in (None, rng.random(3), weight):
        got = getattr(functional, name)(y, z, given, **settings)
        assert tuple(got.shape) == (3,)
        made = loss(**settings)
        want = sum(f * v * w for f, v, w in made.terms(y, z, given))
        np.testing.assert_array_equal(got, want)
        if "reduction" in defaults_of(loss):
            want = loss(**settings, reduction=None)(y, z, given)
            np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_its_signature_and_documentation_tell_what_it_takes(name):
    function = getattr(functional, name)
    parameters = inspect.signature(function).parameters
    settings = [key for key in defaults_of(LOSSES[name]) if key not in ("name", "reduction")]
    assert list(parameters) == ["y_true", "y_pred", "sample_weight", *settings]
    assert function.__name__ == name and function.__module__ == "segloss_ref.functional"
    assert LOSSES[name].__name__ in function.__doc__


def test_an_unknown_setting_and_bad_values_are_refused():
    y = np.zeros((1, 2, 2, 1))
    with pytest.raises(TypeError, match="smoth"):
        functional.dice(y, y, smoth=1)
    with pytest.raises(ValueError, match="`y_true` must lie in"):
        functional.dice(y + 2, y)


def test_gradients_are_those_of_a_loop_of_ones_own():
    rng = np.random.default_rng(1)
    y, z = batch(sl.DiceLoss, rng)

    def loss(z):
        return ops.mean(functional.dice(y, z, from_logits=True))

    got = gradient(loss, z)
    step = 1e-2 * np.eye(z.size, dtype="float32")[7].reshape(z.shape)
    slope = (float(loss(z + step)) - float(loss(z - step))) / 2e-2
    assert got.reshape(-1)[7] == pytest.approx(slope, rel=1e-2)


def gradient(loss, z):
    """By the means of the backend."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        z = tf.Variable(z)
        with tf.GradientTape() as tape:
            value = loss(z)
        return tape.gradient(value, z).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.jit(jax.grad(loss))(z))
    import torch

    z = torch.tensor(z, requires_grad=True)
    loss(z).backward()
    return z.grad.numpy()

"""Images of any size, predicted in batches and tiles as if the whole were shown at once."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from segloss_ref.experiment import prediction
from segloss_ref.experiment.prediction import predict, predictions
from segloss_ref.models import standardizing, unet


def trained(model, seed=0):
    """Weights of the size that training gives, those of the normalisation too."""
    rng = np.random.default_rng(seed)
    weights = [w + 0.1 * rng.normal(size=w.shape).astype(w.dtype) for w in model.get_weights()]
    model.set_weights(weights)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta, mean, abs(variance)])
    return model


def images(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def whole(model, x):
    logits = model.predict_on_batch(x)
    logits = logits[0] if isinstance(logits, list | tuple) else logits
    if logits.shape[-1] == 1:
        return 1 / (1 + np.exp(-logits[..., 0]))
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("size", [(301, 200), (256, 264)])
def test_tiles_give_what_the_whole_image_gives(depth, classes, size, monkeypatch):
    model = trained(unet(2, classes, width=2, depth=depth))
    x = images(1, *size, 2)
    want = whole(model, x)
    monkeypatch.setattr(prediction, "PIXELS", 168**2)
    got = predict(model, x)
    assert got.shape == want.shape and got.dtype == "float32"
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_tiles_are_standardised_as_the_whole_image(monkeypatch):
    model = standardizing(trained(unet(1, 1, width=2, depth=2)), 1)
    x = np.linspace(0, 1, 200)[:, None, None] + 0.1 * images(1, 200, 200, 1)
    want = whole(model, x)
    monkeypatch.setattr(prediction, "PIXELS", 100**2)
    np.testing.assert_allclose(predict(model, x), want, atol=1e-5)


def test_less_overlap_would_show(monkeypatch):
    """The test above can fail: with half the overlap, tiles differ at their seams."""
    model = trained(unet(1, 1, width=2, depth=2))
    x = images(1, 200, 200, 1)
    monkeypatch.setattr(prediction, "PIXELS", 100**2)
    monkeypatch.setattr(prediction, "_multiple_of", lambda _: 1)
    assert abs(predict(model, x) - whole(model, x)).max() > 1e-4


def test_small_images_come_in_batches(monkeypatch):
    model = unet(1, 1, width=2, depth=1)
    shown = []
    one = model.predict_on_batch
    monkeypatch.setattr(model, "predict_on_batch", lambda x: shown.append(len(x)) or one(x))
    monkeypatch.setattr(prediction, "PIXELS", 3 * 16**2)
    x = images(7, 16, 16, 1)
    got = predict(model, x)
    assert shown == [3, 3, 1]
    np.testing.assert_allclose(got, whole(model, x), atol=1e-6)
    assert [p.shape for p in predictions(model, x)] == [(16, 16)] * 7


def test_of_several_outputs_the_first_counts():
    model = trained(unet(1, 1, width=2, depth=2, outputs=2))
    x = images(2, 8, 8, 1)
    np.testing.assert_allclose(predict(model, x), whole(model, x), atol=1e-6)


def test_no_images_are_an_error_that_says_so():
    with pytest.raises(ValueError, match="at least one image"):
        predict(unet(1, 1, width=2, depth=1), np.zeros((0, 8, 8, 1)))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux counts it")
def test_4096_squared_fits_into_a_gigabyte():
    # The peak of this process's own memory. (`ru_maxrss` begins with that of the process which
    # started it, and this one may have run thousands of tests.)
    code = (
        "import re, sys, numpy as np\n"
        "sys.modules['jax'] = None\n"  # Keras imports it where it is, for layers of its own
        "from segloss_ref.experiment import predict\n"
        "from segloss_ref.models import standardizing, unet\n"
        "x = np.zeros((1, 4096, 4096, 1), 'float32')\n"
        "assert predict(unet(), x).shape == (1, 4096, 4096)\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2**20  # in KiB

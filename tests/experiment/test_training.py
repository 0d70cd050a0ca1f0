"""Training: crops, the choice of a learning rate, and what does not fit is refused."""

import dataclasses

import numpy as np
import pytest
from small import SMALL

from segloss_ref.datasets import load
from segloss_ref.experiment import Experiment, predict, run, training
from segloss_ref.models import standardized


def test_a_checkpoint_without_its_history_does_not_count(tmp_path):
    (tmp_path / "step-00000004.keras").write_text("half")
    assert training._last_checkpoint(tmp_path) == (None, [])


def test_data_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`crop` must fit into the images"):
        run(Experiment(**{**SMALL, "crop": 64}), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_a_loss_would_refuse_is_refused_before_the_training(tmp_path):
    few = Experiment(loss="DiceLoss", options={"class_weights": [1, 2, 3]}, **SMALL)
    with pytest.raises(ValueError, match="3 weights for 1 classes"):
        run(few, tmp_path / "out")
    with pytest.raises(ValueError, match="`max_blobs` must be at least"):
        run(Experiment(loss="BlobLoss(max_blobs=1)", **SMALL), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def volumes(n=2):
    """Drawn images on top of each other: (n, 4, 32, 32, 1)."""
    flat = load("synthetic/tumours", "train", limit=4 * n, size=32)
    return dataclasses.replace(
        flat,
        images=flat.images.reshape(n, 4, 32, 32, 1),
        masks=flat.masks.reshape(n, 4, 32, 32),
        instances=None,
        names=tuple(map(str, range(n))),
    )


def test_volumes():
    settings = {**SMALL, "depth": 1, "dataset": "synthetic/tumours"}
    with pytest.raises(ValueError, match="ShapeAwareLoss takes images of 2 dimensions"):
        training.check_data(Experiment(**settings, loss="ShapeAwareLoss"), volumes())
    with pytest.raises(ValueError, match=r"must fit into the images, \(4, 32, 32\) pixels"):
        training.check_data(Experiment(**settings), volumes())
    with pytest.raises(ValueError, match="one for each of the 3 axes"):
        training.check_data(Experiment(**{**settings, "crop": (16, 16)}), volumes())
    fits = Experiment(**{**settings, "crop": (2, 16, 16)}, loss="DiceLoss")
    training.check_data(fits, volumes())
    model, rows = training.train(fits, volumes(), volumes(), 0.01, 2)
    assert len(rows) == 1 and np.isfinite(rows[0]["validation_dice"])
    assert predict(model, volumes().images).shape == (2, 4, 32, 32)


def test_the_rate_rises_and_falls_to_zero():
    rates = [float(training.schedule(0.01, 200)(step)) for step in range(200)]
    assert np.argmax(rates) == 10 and max(rates) == pytest.approx(0.01)
    np.testing.assert_allclose(np.diff(rates[:11]), 0.01 / 11, rtol=1e-4)
    assert (np.diff(rates[10:]) < 0).all() and 0 < rates[-1] < 1e-5
    assert rates[105] == pytest.approx(0.005)  # half way down a cosine
    assert float(training.schedule(0.01, 1)(0)) > 0


def test_a_model_takes_images_as_they_are():
    """Trained on standardised crops, it gives the same for raw and for standardised images."""
    data = load("synthetic/cells", "train", limit=4, size=48)
    model, _ = training.train(Experiment(**SMALL), data, data, 0.01, 2)
    raw = predict(model, data.images)
    np.testing.assert_allclose(predict(model, 0.2 + 3 * data.images), raw, atol=1e-3)
    np.testing.assert_allclose(predict(model, standardized(data.images)), raw, atol=1e-3)


OWN = """
import keras

def net(channels, classes, spatial_dims):
    image = keras.Input((*(None,) * spatial_dims, channels))
    return keras.Model(image, keras.layers.Conv2D(classes, 3, padding="same")(image))

def shrunk(channels, classes, spatial_dims):
    image = keras.Input((*(None,) * spatial_dims, channels))
    return keras.Model(image, keras.layers.Conv2D(classes, 3)(image))

def nothing(channels, classes, spatial_dims):
    pass
"""


def test_a_model_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {**SMALL, "crop": 31, "model": "my_nets:net"}
    record = run(Experiment(**settings), tmp_path / "out")
    assert record["parameters"] == 10 and len(record["model"]) == 64
    with pytest.raises(ValueError, match=r"\(1, 31, 31, 1\) for .* returned: \(1, 29, 29, 1\)"):
        run(Experiment(**{**settings, "model": "my_nets:shrunk"}), tmp_path / "shrunk")
    with pytest.raises(TypeError, match="must return a Keras model"):
        run(Experiment(**{**settings, "model": "my_nets:nothing"}), tmp_path / "nothing")


def test_instances_are_asked_for_where_there_are_none():
    data = dataclasses.replace(load("synthetic/cells", "train", limit=1), instances=None)
    settings = Experiment(loss="ShapeAwareLoss")
    with pytest.raises(ValueError, match="needs instances; 'synthetic/cells' has none"):
        training.check_data(settings, data)

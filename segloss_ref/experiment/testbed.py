"""A training of seconds on one picture, for the chapters."""

import keras
import numpy as np

from segloss_ref import metrics
from segloss_ref.experiment.prediction import predict


def fit_picture(
    loss: keras.losses.Loss,
    image: np.ndarray,
    truth: np.ndarray,
    *,
    steps: int = 400,
    every: int = 10,
    seed: int = 0,
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Trains two convolutions on one picture: enough to see what a loss asks for first.

    The chapters compare losses by it, since it takes seconds. It says nothing of other pictures.

    Args:
        loss: a loss that takes logits.
        image: `(h, w, channels)`.
        truth: `(h, w)`: the mask, or the instance map that the loss takes.
        steps: training steps, of Adam at a learning rate of 0.01.
        every: steps between two looks.
        seed: of the initial weights.

    Returns:
        The foreground probability `(h, w)` at the end, and a list of dicts, one for each look:
        `step`, `loss`, `recall`, `precision`.
    """
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((None, None, image.shape[-1])),
            keras.layers.Conv2D(8, 7, padding="same", activation="relu"),
            keras.layers.Conv2D(1, 7, padding="same"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), loss=loss, jit_compile=False)
    rows = []
    for step in range(steps):
        value = model.train_on_batch(image[None], truth[None, ..., None])
        if (step + 1) % every == 0:
            predicted = predict(model, image[None])[0] > 0.5
            rows.append(
                {
                    "step": step + 1,
                    "loss": float(value),
                    "recall": float(metrics.recall(truth > 0, predicted)),
                    "precision": float(metrics.precision(truth > 0, predicted)),
                }
            )
    return predict(model, image[None])[0], rows

"""A small figure for each loss: its value, and its gradient, as one pixel of a picture changes.

The picture is the same for all losses: two cells with a gap of one pixel between them, and a thin
branch. A prediction has them about right. One pixel after the other then takes every logit: one of
the branch, one of the gap. What a loss says of it depends on the other pixels, but for the losses
that look at each pixel alone.
"""

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import segloss_ref
from segloss_ref import plots

tf.get_logger().setLevel("ERROR")

SIDE = 24
LOGITS = np.linspace(-6, 6, 49)
SURE = 2.0  # the logits of the pixels that stay are this, and minus this
#: The pixels that change, `(row, column)`, by what they are in truth.
PIXELS = {"a pixel of the branch": (11, 21), "a pixel of the gap": (11, 11)}
#: Settings that change no number here, and save time: there are two cells.
SAVING = {"BlobLoss": {"max_blobs": 2}}


def cells() -> np.ndarray:
    """The instance map: two cells, of which the second one has a branch; 0 elsewhere."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    found = np.zeros((SIDE, SIDE), int)
    found[np.hypot(rows - 11, columns - 6) < 5] = 1
    found[np.hypot(rows - 11, columns - 16) < 5] = 2
    found[11, 20:23] = 2
    return found


def predicted() -> np.ndarray:
    """The logits before one of them changes: the cells, a pixel too far down and uncertain."""
    return np.where(np.roll(cells() > 0, 1, axis=0), SURE, -SURE)


class Curves(NamedTuple):
    """Of each pixel that changes, in the order of `PIXELS`."""

    values: np.ndarray
    gradients: np.ndarray


def curves(loss: type[segloss_ref.SegmentationLoss]) -> Curves:
    """The loss of the picture, and its derivative times the number of pixels, over `LOGITS`."""
    made = with_logits(loss)
    n = len(LOGITS)
    z = np.tile(predicted(), (len(PIXELS) * n, 1, 1)).astype("float32")
    at = [
        np.s_[i * n : (i + 1) * n, row, column] for i, (row, column) in enumerate(PIXELS.values())
    ]
    for place in at:
        z[place] = LOGITS
    truth = cells() if made.truth == "instances" else (cells() > 0).astype("int32")
    y = np.broadcast_to(truth, z.shape)
    with tf.GradientTape() as tape:
        logits = tf.convert_to_tensor(z)[..., None]
        tape.watch(logits)
        several = "binary" not in made.takes
        values = made(
            y if several or made.truth == "instances" else y[..., None],
            tf.concat([tf.zeros_like(logits), logits], -1) if several else logits,
        )
    slope = tape.gradient(values, logits)[..., 0].numpy() * truth.size
    of_pixels = np.reshape(keras.ops.convert_to_numpy(values), (len(PIXELS), n))
    return Curves(of_pixels, np.array([slope[place] for place in at]))


def with_logits(loss: type[segloss_ref.SegmentationLoss]) -> segloss_ref.SegmentationLoss:
    """The loss with its default settings, for logits, one value an image."""
    try:
        return loss(from_logits=True, reduction=None)
    except TypeError:  # those around other losses have the settings of these
        made = loss()
        inner = getattr(made, "losses", None) or [made.loss]
        inner = [type(part)(from_logits=True, reduction=None) for part in inner]
        settings = SAVING.get(loss.__name__, {})
        return loss(inner if hasattr(made, "losses") else inner[0], **settings)


def draw(loss: type[segloss_ref.SegmentationLoss], path: Path) -> None:
    """Writes the figure of a loss."""
    found = curves(loss)
    figure, axes = plt.subplots(1, 2, figsize=(plots.WIDTH, 2.3))
    for ax, lines, label in zip(axes, found, ("loss of the picture", "gradient × pixels")):
        for line, name in zip(lines, PIXELS):
            ax.plot(LOGITS, line, label=name)
        ax.set(xlabel="logit of the pixel", ylabel=label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def draw_scene(path: Path) -> None:
    """Writes the figure of the picture: truth, prediction, and the pixels that change."""
    figure, axes = plots.images(
        [picture[4:19] for picture in (cells() > 0, predicted())],
        ["truth: two cells, one with a branch", f"logits: {SURE:g} is white, -{SURE:g} black"],
        height=2.3,
    )
    for marker, colour, (row, column) in zip("os", ("C0", "C1"), PIXELS.values()):
        for ax in axes:
            ax.plot(column, row - 4, marker, color=colour, markersize=7, markeredgecolor="#777777")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def figures(folder: Path) -> Path:
    """Draws what is not there, into a folder for this state of the sources that it depends on."""
    package = Path(segloss_ref.__file__).parent
    sources = [Path(__file__), *sorted(package.glob("*.py")), *sorted(package.glob("losses/*.py"))]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = folder / state
    folder.mkdir(parents=True, exist_ok=True)
    for old in set(folder.parent.iterdir()) - {folder}:
        shutil.rmtree(old)
    with matplotlib_of_the_book():
        for entry in segloss_ref.catalogue():
            path = folder / f"{entry.name}.svg"
            if not path.exists():
                draw(entry.loss, path)
        if not (folder / "scene.svg").exists():
            draw_scene(folder / "scene.svg")
    return folder


def matplotlib_of_the_book():
    """The style of the book's figures, and a backend without windows, for a while."""
    context = plt.rc_context()
    plt.switch_backend("agg")
    plots.use_style()
    plt.rcParams["svg.hashsalt"] = "segloss_ref"
    return context

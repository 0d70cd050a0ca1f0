"""The figure styles that more than one chapter uses.

Figures have no background of their own and grey letters that read on white and on black, because
a page may be light or dark. Curves differ in dash and marker as well as in colour.
"""

import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from segloss_ref.extras import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

matplotlib = require("matplotlib", extra="plots")
plt = require("matplotlib.pyplot", extra="plots")

WIDTH = 7.0  # inches: the width of the text column
GREY = "#777777"  # contrast 4.5 on white, 4.0 on the dark page

# Okabe and Ito's colours that show on white and on black, each with a dash of its own.
_COLOURS = ("#0d7ec2", "#d55e00", "#0a9e73", "#c56799", "#b08a00")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v")


def use_style() -> None:
    """Sets the book's style for all figures of a notebook."""
    matplotlib.rcParams.update(
        {
            "figure.figsize": (WIDTH, 2.6),
            "figure.dpi": 160,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "axes.prop_cycle": matplotlib.cycler(color=_COLOURS, linestyle=_DASHES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.color": GREY,
            "lines.linewidth": 1.8,
            "font.size": 9,
            "axes.titlesize": 9,
            "legend.frameon": False,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            **dict.fromkeys(
                ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"),
                GREY,
            ),
        }
    )
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return  # outside a notebook
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    # All figures are exactly as wide as the column: cropping each would scale its letters.
    set_matplotlib_formats("png", bbox_inches=None)


def images(
    pictures: Sequence[ArrayLike | None],
    titles: Iterable[str],
    *,
    height: float = 2.0,
    columns: int | None = None,
    **imshow: Any,
) -> "tuple[Figure, list[Axes]]":
    """Pictures side by side, without axes; the figure and its axes are returned.

    Args:
        pictures: arrays `(h, w)`, `(h, w, 1)` or `(h, w, 3)`.
        titles: one for each.
        height: of a row, in inches.
        columns: pictures in a row; all of them by default.
        **imshow: for matplotlib's `imshow`, such as `vmin`, `vmax`, `cmap`.
    """
    columns = columns or len(pictures)
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height * rows), squeeze=False)
    for ax, picture, title in itertools.zip_longest(axes.flat, pictures, titles):
        ax.axis("off")
        if picture is not None:
            ax.imshow(np.squeeze(picture), **imshow)
            ax.set_title(title)
    return figure, list(axes.flat)


def middle(picture: ArrayLike, volume: bool) -> np.ndarray:
    """What can be shown of an image or a mask: of a volume the middle slice, else all of it.

    Args:
        picture: array `(h, w, ...)`, or `(d, h, w, ...)` where it is a volume.
        volume: whether it is one.
    """
    picture = np.asarray(picture)
    return picture[len(picture) // 2] if volume else picture


def outline(ax: "Axes", labels: np.ndarray, colour: str = _COLOURS[1]) -> None:
    """Draws the outline of each object of a mask or an instance map over a picture."""
    for label in np.unique(labels[labels > 0]):
        inside = np.pad(np.asarray(labels == label, float), 1)
        ax.contour(
            np.arange(-1, inside.shape[1] - 1),
            np.arange(-1, inside.shape[0] - 1),
            inside,
            levels=[0.5],
            colors=[colour],
            linewidths=0.9,
        )


def errors(ax: "Axes", truth: ArrayLike, predicted: ArrayLike) -> None:
    """Shows a prediction against the truth in four greys and colours.

    Right foreground is light, right background dark; what was missed is orange and hatched,
    what was made up is blue and dotted, so that the two differ without colour.
    """
    truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
    picture = np.where((truth & predicted)[..., None], 0.85, 0.25) * np.ones(3)
    extent = (-0.5, truth.shape[1] - 0.5, truth.shape[0] - 0.5, -0.5)
    for wrong, colour, hatch in (
        (truth & ~predicted, _COLOURS[1], "/" * 6),
        (predicted & ~truth, _COLOURS[0], "." * 6),
    ):
        picture[wrong] = matplotlib.colors.to_rgb(colour)
        if wrong.any():
            # A contour runs between the centres of pixels; on eight times as many it is exact.
            fine = np.kron(wrong, np.ones((8, 8)))
            levels: dict[str, Any] = dict(levels=[0.5, 1.5], colors="none", hatches=[hatch])
            ax.contourf(fine, extent=extent, origin="upper", zorder=2, **levels)
    ax.imshow(picture, extent=extent)
    ax.axis("off")


def value_and_gradient(
    curves: Mapping[str, np.ndarray],
    x: np.ndarray,
    *,
    xlabel: str = "logit z",
    ylabel: str = "loss",
    gradients: Mapping[str, np.ndarray] | None = None,
) -> "tuple[Figure, tuple[Axes, Axes]]":
    """Two panels: curves of a loss, and of its derivative, over the same axis.

    Args:
        curves: a dict from label to values at `x`.
        x: where they were taken.
        xlabel, ylabel: names of the axes.
        gradients: a dict like `curves`; central differences of the curves by default.
    """
    gradients = gradients or {name: np.gradient(v, x) for name, v in curves.items()}
    figure, (left, right) = plt.subplots(1, 2)
    for name in curves:
        left.plot(x, curves[name], label=name)
        right.plot(x, gradients[name], label=name)
    left.set(xlabel=xlabel, ylabel=ylabel)
    right.set(xlabel=xlabel, ylabel=f"derivative of the {ylabel}")
    left.legend()
    return figure, (left, right)


def learning_curves(
    history: "pd.DataFrame", ax: "Axes", *, x: str = "step", y: str = "validation_dice"
) -> None:
    """One curve for each run of a table with the columns `run`, `x` and `y`."""
    for (name, rows), marker in zip(history.groupby("run", sort=False), itertools.cycle(_MARKERS)):
        ax.plot(rows[x], rows[y], marker=marker, markersize=4, label=name)
    ax.set(xlabel=x, ylabel=y.replace("_", " "))


def predictions(
    image: ArrayLike, truth: ArrayLike, masks: Mapping[str, ArrayLike], *, height: float = 2.0
) -> "tuple[Figure, list[Axes]]":
    """An image with the outline of the truth, and beside it the errors of each mask.

    Args:
        image: `(h, w)`, `(h, w, 1)` or `(h, w, 3)`.
        truth: the mask `(h, w)`.
        masks: by the name of what made them, such as `Trial.masks` gives them. See `errors` for how
            they are drawn.
        height: of a row, in inches.
    """
    figure, axes = images(
        [image, *[None] * len(masks)],
        ["image", *masks],
        columns=min(1 + len(masks), 4),
        height=height,
    )
    outline(axes[0], (np.asarray(truth) > 0.5).astype(int))
    for ax, (name, mask) in zip(axes[1:], masks.items()):
        errors(ax, np.asarray(truth) > 0.5, mask)
        ax.set_title(name)
    return figure, axes


def curves_of_seeds(
    curves: "pd.DataFrame", ax: "Axes", *, y: str = "dice", label: str = "loss"
) -> None:
    """The mean over seeds as a line, and the range from the lowest to the highest as a band.

    Args:
        curves: a table with the columns `step` and `seed`, and those named; `Trial.curves`.
        ax: where to draw.
        y: the column to draw.
        label: the column that tells the lines apart.
    """
    for (name, rows), marker in zip(curves.groupby(label, sort=False), itertools.cycle(_MARKERS)):
        of_step = rows.groupby("step")[y]
        mean = of_step.mean()
        (line,) = ax.plot(mean.index, mean, marker=marker, markersize=4, label=name)
        band = dict(color=line.get_color(), alpha=0.2, linewidth=0)
        ax.fill_between(mean.index, of_step.min(), of_step.max(), **band)
    ax.set(xlabel="step", ylabel=y.replace("_", " "))

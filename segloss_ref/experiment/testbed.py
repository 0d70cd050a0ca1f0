"""Trainings of seconds, for the chapters: several images, several seeds, two budgets.

`trial` trains a small network with each of a few losses and scores it on images held out. The seeds
are networks side by side in one model, which costs less than one after another; none of them knows
of the others. A lesson is drawn from `Trial.difference`, which pairs the seeds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from scipy import stats

from segloss_ref.checks import check_choice, check_number, check_whole
from segloss_ref.datasets import SegmentationData
from segloss_ref.extras import require
from segloss_ref.losses import BinaryCrossEntropyLoss, CategoricalCrossEntropyLoss
from segloss_ref.models import standardized
from segloss_ref.verdicts import verdict

if TYPE_CHECKING:
    import pandas as pd

#: What stands beside every loss.
BASELINE = "cross-entropy"
CONSTANT = "best constant"

#: `tools/elsewhere.py` moves it, to try a chapter with other seeds.
FIRST_SEED = 0

PREPARATIONS = ("standardized", "inverted", "raw")

#: The scores of a trial, each over all pixels of the held-out images together.
SCORES = ("dice", "dice_cut", "recall", "precision", "auc", "area")


def prepared(images: np.ndarray, preparation: str = "standardized") -> np.ndarray:
    """Images as a network of a trial sees them.

    Args:
        images: `(n, h, w, channels)`.
        preparation: `"standardized"`: mean 0 and standard deviation 1, each image by itself and
            each channel; `"inverted"`: minus that, dark for bright; `"raw"`: as they are.

    Returns:
        float32, of the same shape. A channel that is flat becomes 0.

    Raises:
        ValueError: If `preparation` is none of the three.

    Example:
        >>> prepared(np.array([0.0, 2.0]).reshape(1, 1, 2, 1), "inverted").ravel()
        array([ 1., -1.], dtype=float32)
    """
    check_choice("preparation", preparation, PREPARATIONS)
    if preparation == "raw":
        return np.asarray(images, "float32")
    standard = standardized(np.asarray(images))
    return standard if preparation == "standardized" else -standard


class Difference(NamedTuple):
    """A score of one loss minus that of another: the mean over paired seeds and its interval."""

    mean: float
    low: float
    high: float
    verb: str

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f}): {self.verb}"


def difference(
    a: np.ndarray, b: np.ndarray, *, margin: float = 0.01, confidence: float = 0.95
) -> Difference:
    """Whether scores `a` are more than scores `b` of the same seeds.

    The interval is Student's for the mean of the paired differences. It decides the verb: within
    `-margin` to `margin` the two are `"equal within the margin"`; else above 0 it is `"more"`,
    below 0 `"less"`; and an interval that holds 0 and reaches beyond the margin is `"not decided"`.

    Args:
        a, b: one score for each seed, two seeds at least.
        margin: what is too little to matter.
        confidence: of the interval.

    Returns:
        A `Difference`.

    Raises:
        ValueError: If the two do not have the same seeds, or fewer than two.

    Example:
        >>> print(difference([0.8, 0.9, 0.85], [0.6, 0.7, 0.66]))
        +0.197 (+0.182 to +0.211): more
    """
    check_number("margin", margin, at_least=0)
    check_number("confidence", confidence, above=0, below=1)
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(
            "`a` and `b` must have one score for each seed, of two seeds at least. Received: "
            f"shapes {a.shape} and {b.shape}"
        )
    mean, error = (a - b).mean(), stats.sem(a - b)
    reach = stats.t.ppf((1 + confidence) / 2, len(a) - 1) * error
    low, high = mean - reach, mean + reach
    return Difference(float(mean), float(low), float(high), verdict(low, high, margin))


@dataclass(frozen=True)
class Trial:
    """What `trial` found.

    Args:
        scores: a data frame with the columns `loss, steps, seed` and one for each of `SCORES`: on
            the held-out images at the end of each of the two trainings.
        curves: the same at the looks of the longer training, with `step` for `steps`.
        probabilities: for each loss `(seeds, n, h, w)`, and with several classes one axis more: of
            the held-out images at the end of the longer training.
        images, truth: the held-out images as they came, and their masks.
        steps: of the shorter training; the longer one has twice as many.
    """

    scores: "pd.DataFrame"
    curves: "pd.DataFrame"
    probabilities: dict[str, np.ndarray]
    images: np.ndarray
    truth: np.ndarray
    steps: int

    def table(self, columns: Iterable[str] = ("dice", "dice_cut", "recall", "precision")) -> Any:
        """Mean ± standard deviation over the seeds, a row for each loss and number of steps.

        The last row is the best constant: everything marked, since nothing has a Dice of 0.
        """
        groups = self.scores.groupby(["loss", "steps"], sort=False)[list(columns)]
        table = groups.agg(_mean_and_spread)
        constant = _constant_scores(self.truth)
        table.loc[(CONSTANT, 0), :] = [f"{constant[name]:.2f}" for name in columns]
        return table

    def seeds(self, loss: str, score: str = "dice", *, steps: int | None = None) -> np.ndarray:
        """The score of each seed; after the longer training, if `steps` does not say otherwise."""
        check_choice("loss", loss, list(self.probabilities))
        check_choice("score", score, SCORES)
        steps = check_choice("steps", steps or 2 * self.steps, (self.steps, 2 * self.steps))
        chosen = (self.scores["loss"] == loss) & (self.scores["steps"] == steps)
        return self.scores.loc[chosen, score].to_numpy()

    def difference(
        self,
        a: str,
        b: str = BASELINE,
        score: str = "dice",
        *,
        margin: float = 0.01,
        steps: int | None = None,
    ) -> Difference:
        """The score of loss `a` minus that of loss `b`, seeds paired.

        The numbers are those of the longer training. The verb is that of both: where twice the
        steps change it, it is `"not decided"`. With `steps`, one training alone decides.
        """
        budgets = (self.steps, 2 * self.steps) if steps is None else (steps,)
        found = [
            difference(self.seeds(a, score, steps=n), self.seeds(b, score, steps=n), margin=margin)
            for n in budgets
        ]
        agreed = len({one.verb for one in found}) == 1
        return found[-1]._replace(verb=found[-1].verb if agreed else "not decided")

    def differences(self, score: str = "dice", *, b: str = BASELINE, **options: Any) -> Any:
        """`difference` of every other loss from `b`, as a data frame."""
        names = [name for name in self.probabilities if name != b]
        rows = [self.difference(name, b, score, **options) for name in names]
        pd = require("pandas", extra="plots")
        return pd.DataFrame(rows, index=pd.Index(names, name=f"{score}, minus {b}"))

    def masks(self, image: int = 0, seed: int = 0) -> dict[str, np.ndarray]:
        """What each loss has marked in a held-out image at one half; several classes: the map."""
        return {name: _marked(p[seed, image]) for name, p in self.probabilities.items()}


def trial(
    losses: Mapping[str, keras.losses.Loss],
    train: SegmentationData | tuple[np.ndarray, np.ndarray],
    held_out: SegmentationData | tuple[np.ndarray, np.ndarray],
    *,
    steps: int = 300,
    seeds: int = 5,
    batch: int = 4,
    crop: int | None = 64,
    preparation: str = "standardized",
    rate: float = 0.01,
    looks: Iterable[int] | None = None,
    labels: Mapping[str, np.ndarray] | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
) -> Trial:
    """Trains a small network with each loss, from several seeds, and scores it on other images.

    Three convolutions that see 15 pixels, the middle one at half the size; Adam with a cosine decay
    to 0. Everything is trained twice, for `steps` and for twice as many steps, each with a decay of
    its own. A seed has the same initial weights, images and crops for every loss. Cross-entropy is
    trained beside, as `"cross-entropy"`, if it is not among the losses.

    Args:
        losses: by name; they take logits.
        train, held_out: data of one kind, or pairs of images `(n, h, w, channels)` and masks
            `(n, h, w)`: 0 and 1, shares between, or classes. Held-out sides are even.
        steps: of the shorter training.
        seeds: how many networks, seeds 0, 1, ...
        batch: images in a step.
        crop: side of what is cut out of each image for a step, even. `None`: the whole image.
        preparation: as for `prepared`.
        rate: of learning, at the first step.
        looks: steps of the longer training at which it is scored. `None`: ten, evenly.
        labels: for the losses named, what they learn in place of the masks: instance maps, labels
            with noise, `(n, h, w)`.
        weights: for the losses named, pixel weights `(n, h, w)`.

    Returns:
        A `Trial`. Scores count all pixels of the held-out images together: Dice, recall and
        precision at one half (precision is NaN where nothing is marked); `dice_cut` at the cut
        that is best on the training images; `auc`, how often a foreground pixel has more
        probability than one of the background; `area`, that promised by the probabilities over
        the true one. With several classes, means over those from 1 on, without the last three.

    Raises:
        ValueError: If a setting is out of range, or shapes do not match.

    Example:
        >>> from segloss_ref.datasets import load
        >>> from segloss_ref.losses import DiceLoss
        >>> cells = [load("synthetic/cells", part, limit=2, size=32) for part in ("train", "test")]
        >>> found = trial({"Dice": DiceLoss(from_logits=True)}, *cells, steps=2, seeds=2, crop=None)
        >>> list(found.probabilities), found.probabilities["Dice"].shape
        (['Dice', 'cross-entropy'], (2, 2, 32, 32))
    """
    check_whole("steps", steps, at_least=1)
    check_whole("seeds", seeds, at_least=1)
    check_whole("batch", batch, at_least=1)
    check_number("rate", rate, above=0)
    (x, y), (held, truth) = _pair("train", train), _pair("held_out", held_out)
    x, shown = prepared(x, preparation), prepared(held, preparation)
    if crop is not None and (check_whole("crop", crop, at_least=2) % 2 or crop > min(x.shape[1:3])):
        raise ValueError(
            f"`crop` must be even, and at most the side of an image, {min(x.shape[1:3])}, or "
            f"None. Received: {crop}"
        )
    most = max(y.max(), truth.max())
    classes = 1 if most <= 1 else int(most) + 1
    y, truth = (masks.astype("float32" if classes == 1 else "int32") for masks in (y, truth))
    losses = dict(losses)
    if BASELINE not in losses:
        baseline = BinaryCrossEntropyLoss if classes == 1 else CategoricalCrossEntropyLoss
        losses[BASELINE] = baseline(from_logits=True)
    labels = _of_losses("labels", labels, losses, y)
    weights = _of_losses("weights", weights, losses, y)
    looks = {*np.linspace(0, 2 * steps, 11)[1:].astype(int)} if looks is None else {*looks}
    scores, curves, probabilities = [], [], {}
    for name, loss in losses.items():
        model = side_by_side(range(FIRST_SEED, FIRST_SEED + seeds), x.shape[-1], classes)
        model.compile(keras.optimizers.Adam(rate), loss=[loss] * seeds, jit_compile=False)
        initial = model.get_weights()
        for length in (steps, 2 * steps):
            _restart(model, initial)
            for step in range(length):
                model.optimizer.learning_rate = rate * (1 + np.cos(np.pi * step / length)) / 2
                _step(model, x, labels.get(name, y), weights.get(name), step, batch, crop)
                if length > steps and step + 1 in looks:
                    curves += _rows(_probabilities(model, shown), truth, loss=name, step=step + 1)
            found = _probabilities(model, shown)
            cuts = [None] * seeds if classes > 1 else _cuts(_probabilities(model, x), y)
            scores += _rows(found, truth, cuts, loss=name, steps=length)
        probabilities[name] = found
    pd = require("pandas", extra="plots")
    return Trial(pd.DataFrame(scores), pd.DataFrame(curves), probabilities, held, truth, int(steps))


# --- Training -----------------------------------------------------------------------------------


def side_by_side(seeds: Iterable[int], channels: int, classes: int) -> keras.Model:
    """One small network for each seed, with an input and an output of its own; logits."""
    inputs = [keras.Input((None, None, channels)) for _ in seeds]
    outputs = [_network(image, classes, seed) for image, seed in zip(inputs, seeds)]
    return keras.Model(inputs, outputs)


def _network(image, classes, seed):
    # Seeds of the layers by hand: those that Keras draws depend on what was made before.
    drawn = iter(np.random.SeedSequence(seed).generate_state(3))

    def options(**more):
        initial = keras.initializers.GlorotUniform(int(next(drawn)))
        return dict(padding="same", kernel_initializer=initial, **more)

    layers = keras.layers
    x = layers.Conv2D(16, 5, strides=2, **options(activation="relu"))(image)
    x = layers.Conv2D(16, 3, dilation_rate=2, **options(activation="relu"))(x)
    return layers.Conv2DTranspose(classes, 4, strides=2, **options())(x)


def _restart(model, weights):
    """As it was before the first step; what has been compiled is kept."""
    model.set_weights(weights)
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))


def _step(model, images, labels, weights, step, batch, crop):
    """One training step of all seeds, each on images and crops of its own."""
    x, y, w = [], [], []
    for seed in range(FIRST_SEED, FIRST_SEED + len(model.outputs)):
        cut = _cut(np.random.default_rng([seed, step]), images.shape, batch, crop)
        x.append(np.stack([images[at] for at in cut]))
        y.append(np.stack([labels[at] for at in cut]))
        w.append(None if weights is None else np.stack([weights[at] for at in cut]))
    if model.outputs[0].shape[-1] == 1:
        y = [part[..., None] for part in y]
    model.train_on_batch(x, y, sample_weight=None if weights is None else w)


def _cut(rng, shape, batch, crop):
    """Where the images of a step lie: number, rows and columns of each."""
    n, height, width, _ = shape
    rows, columns = (crop or height), (crop or width)
    chosen = rng.permutation(np.resize(np.arange(n), max(batch, n)))[:batch]
    tops = rng.integers(0, height - rows + 1, batch)
    lefts = rng.integers(0, width - columns + 1, batch)
    return [
        (i, slice(top, top + rows), slice(left, left + columns))
        for i, top, left in zip(chosen, tops, lefts)
    ]


def _probabilities(model, images):
    """Of all seeds, `(seeds, n, h, w)`; with several classes `(seeds, n, h, w, classes)`."""
    logits = model.predict_on_batch([images] * len(model.outputs))
    logits = logits if isinstance(logits, list) else [logits]
    if logits[0].shape[-1] > 1:
        return np.stack([keras.ops.convert_to_numpy(keras.ops.softmax(z)) for z in logits])
    return np.stack([keras.ops.convert_to_numpy(keras.ops.sigmoid(z))[..., 0] for z in logits])


# --- Scores -------------------------------------------------------------------------------------


def _marked(p):
    """The mask at one half, or the class of most probability."""
    return p > 0.5 if p.ndim == 2 else p.argmax(axis=-1)


def _rows(found, truth, cuts=None, **names):
    cuts = [None] * len(found) if cuts is None else cuts
    return [
        {**names, "seed": seed, **_scores(p, truth, cut)}
        for seed, (p, cut) in enumerate(zip(found, cuts))
    ]


def _scores(p, truth, cut):
    if p.ndim > truth.ndim:
        classes = range(1, p.shape[-1])
        each = [_overlap(truth == k, p.argmax(axis=-1) == k) for k in classes]
        return {name: float(np.nanmean([one[name] for one in each])) for name in each[0]}
    y = truth > 0.5
    inside, outside = p[y], p[~y]
    return {
        **_overlap(y, p > 0.5),
        "dice_cut": np.nan if cut is None else _overlap(y, p >= cut)["dice"],
        "auc": _auc(inside, outside),
        "area": float(p.sum() / max(truth.sum(), 1e-9)),
    }


def _overlap(y, marked):
    tp, found, wanted = (y & marked).sum(), marked.sum(), y.sum()
    return {
        "dice": float(2 * tp / (found + wanted)) if found + wanted else 1.0,
        "recall": float(tp / wanted) if wanted else np.nan,
        "precision": float(tp / found) if found else np.nan,
    }


def _mean_and_spread(values):
    if values.isna().all():
        return "none"  # such as the precision of what marks nothing
    if values.count() == 1:
        return f"{values.mean():.2f} (one seed)"
    return f"{values.mean():.2f} ± {values.std():.2f}"


def _auc(inside, outside):
    if not (inside.size and outside.size):
        return np.nan
    statistic = stats.mannwhitneyu(inside, outside).statistic
    return float(statistic / (inside.size * outside.size))


def _cuts(found, truth):
    """For each seed the probability from which on marking gives the best Dice."""
    return [_best_cut(p, truth) for p in found]


def _best_cut(p, truth):
    order = np.argsort(-p, axis=None, kind="stable")
    p, y = p.ravel()[order], truth.ravel()[order] > 0.5
    dice = 2 * np.cumsum(y) / (np.arange(1, y.size + 1) + y.sum())
    last = np.append(p[1:] != p[:-1], True)  # of pixels that are equal all are marked, or none
    return p[np.where(last, dice, -1).argmax()]


def _constant_scores(truth):
    """Of the best constant, which marks everything; several classes: the best one."""
    if truth.max() > 1:
        classes = range(1, int(truth.max()) + 1)
        each = [
            [_overlap(truth == k, np.full(truth.shape, k == chosen)) for k in classes]
            for chosen in classes
        ]
        best = max(each, key=lambda one: np.mean([score["dice"] for score in one]))
        mean = {name: float(np.nanmean([one[name] for one in best])) for name in best[0]}
        return {**dict.fromkeys(SCORES, np.nan), **mean}
    y = truth > 0.5
    every = _overlap(y, np.ones_like(y))
    return {**every, "dice_cut": every["dice"], "auc": 0.5, "area": 1.0}


# --- Data ---------------------------------------------------------------------------------------


def _pair(name, data):
    """Images and masks, checked."""
    if isinstance(data, SegmentationData):
        data = data.images, data.masks
    images, masks = (np.asarray(part) for part in data)
    if images.ndim != 4 or images.shape[:3] != masks.shape or not images.size:
        raise ValueError(
            f"`{name}` must be images (n, h, w, channels) and masks (n, h, w). Received: "
            f"{images.shape} and {masks.shape}"
        )
    if any(side % 2 for side in images.shape[1:3]):
        raise ValueError(f"The sides of `{name}` must be even. Received: {images.shape[1:3]}")
    if masks.min() < 0:
        raise ValueError(f"`{name}` must have no pixels left out, such as -1.")
    return images, masks


def _of_losses(name, arrays, losses, masks):
    """`labels` and `weights`: for losses that there are, as large as the masks."""
    arrays = {key: np.asarray(value) for key, value in (arrays or {}).items()}
    for key, value in arrays.items():
        if key not in losses:
            raise ValueError(
                f"`{name}` must name losses of the trial: {', '.join(losses)}. Received: {key!r}"
            )
        if value.shape != masks.shape:
            raise ValueError(
                f"`{name}` of {key!r} must be {masks.shape}, as the masks are. "
                f"Received: {value.shape}"
            )
    return arrays

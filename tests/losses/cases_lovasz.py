"""The Lovász losses and the Wasserstein Dice loss, once more from their formulas in NumPy."""

from functools import partial

import numpy as np
from case import Case

import segloss_ref as sl


def jaccard_loss_of_mistakes(wrong, truth, w):
    """`Δ(M) = 1 - w(Y - M) / w(Y ∪ M)`, M and Y as booleans; 0 of nothing."""
    union = w[truth | wrong].sum()
    return 1 - w[truth & ~wrong].sum() / union if union > 0 else 0.0


def lovasz_extension(errors, y, w):
    """Of Δ at `errors`, from the definition: a loop over the pixels, Δ evaluated anew each time."""
    errors, truth, w = errors.ravel(), y.ravel() == 1, w.ravel()
    wrong, value, before = np.zeros(errors.size, bool), 0.0, 0.0
    for i in np.argsort(-errors, kind="stable"):
        wrong[i] = True
        after = jaccard_loss_of_mistakes(wrong, truth, w)
        value += errors[i] * (after - before)
        before = after
    return value


def lovasz_hinge(y, p, w):
    sign = 2 * y - 1
    return lovasz_extension(np.maximum(1 - sign * np.log(p / (1 - p)), 0), y, w)


def lovasz_softmax(y, p, w):
    return lovasz_extension(np.where(y == 1, 1 - p, p), y, w)


def present_lovasz_softmax(y, p, w, class_weights=(1, 1, 1)):
    weights = np.array(class_weights, float)
    scored = [c for c in range(3) if weights[c] * w[y[..., c] == 1].sum() > 0]
    scored = scored or [c for c in range(3) if weights[c] > 0]
    each = [lovasz_softmax(y[..., c], p[..., c], w) for c in scored]
    return np.average(each, weights=weights[scored])


TREE = ((0.0, 1.0, 0.9), (1.0, 0.0, 0.4), (0.9, 0.4, 0.0))


def wasserstein_dice(y, p, w, distances=((0, 1, 1), (1, 0, 1), (1, 1, 0)), smooth=1.0):
    hits = errors = 0.0
    for at in np.ndindex(w.shape):
        row = distances[int(np.argmax(y[at]))]
        error = sum(row[k] * p[at][k] for k in range(3))
        errors += w[at] * error
        hits += w[at] * row[0] * (row[0] - error)
    return 1 - (2 * hits + smooth) / (2 * hits + errors + smooth)


CASES = {
    "lovasz-hinge": Case(sl.LovaszHingeLoss, lovasz_hinge, soft=False),
    "lovasz-softmax": Case(
        sl.LovaszSoftmaxLoss,
        lovasz_softmax,
        joint={"exclusive": present_lovasz_softmax},
        soft=False,
    ),
    "lovasz-softmax-all": Case(
        sl.LovaszSoftmaxLoss, lovasz_softmax, {"classes": "all"}, soft=False
    ),
    "gwdl": Case(
        sl.GeneralizedWassersteinDiceLoss, joint={"exclusive": wasserstein_dice}, soft=False
    ),
    "gwdl-tree": Case(
        sl.GeneralizedWassersteinDiceLoss,
        settings={"distances": TREE, "smooth": 1e-3},
        joint={"exclusive": partial(wasserstein_dice, distances=TREE, smooth=1e-3)},
        soft=False,
    ),
}

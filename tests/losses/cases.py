"""All losses under test: one row per loss and setting, from the family's own table."""

import cases_boundary
import cases_compound
import cases_distribution
import cases_lovasz
import cases_region
import cases_skeleton
import numpy as np
import oracles
import pytest

CASES = {
    **cases_distribution.CASES,
    **cases_region.CASES,
    **cases_lovasz.CASES,
    **cases_boundary.CASES,
    **cases_skeleton.CASES,
    **cases_compound.CASES,
}


def which(condition=lambda case: True):
    """Parametrizes a test over the cases that meet a condition."""
    return pytest.mark.parametrize("case", [n for n, case in CASES.items() if condition(case)])


def which_and_kind(condition=lambda case: True):
    """The same over pairs of a case and a kind of classes that its loss takes."""
    pairs = [(n, kind) for n, c in CASES.items() if condition(c) for kind in c.loss.takes]
    return pytest.mark.parametrize(("case", "kind"), pairs)


every_case = which()
every_case_and_kind = which_and_kind()

# What all losses share (the trainer of Keras, replicas, saving, shapes at the door) is tested with
# one loss for each way to get at a value: pixels, exclusive classes, regions, sorting, distances,
# neighbours, a sum.
SHARED = ("bce", "cce", "dice", "lovasz-hinge", "boundary", "structure-ssim", "dice-ce")
shared_case = pytest.mark.parametrize("case", SHARED)

# What depends on the class and not on its settings: with the first case of each class.
FIRST = {case.loss: name for name, case in reversed(CASES.items())}
first_case = pytest.mark.parametrize("case", [name for name in CASES if name in FIRST.values()])


def make(case, kind=None, **kwargs):
    """The loss of a case; for independent classes if `kind` says so."""
    if (kind or main_kind(case)) == "independent":
        kwargs = {"multilabel": True, **kwargs}
    settings = {**CASES[case].settings, **kwargs}
    if CASES[case].around:
        return CASES[case].loss(CASES[case].around(**settings))
    return CASES[case].loss(**settings)


def main_kind(case):
    """The first kind of classes that a loss takes: what tests of one kind run with."""
    return CASES[case].loss.takes[0]


def spatial_of(case):
    """Small images of each number of dimensions that the loss takes."""
    return [{2: (5, 7), 3: (3, 4, 5)}[n] for n in CASES[case].loss.dimensions]


def classes_of(kind):
    return 1 if kind == "binary" else 3


def draw(rng, case, leading, kind=None, soft=False):
    """Truth and logits for images of shape `leading`, `(n, *spatial)`."""
    kind = kind or main_kind(case)
    shape = (*leading, classes_of(kind))
    z = rng.normal(size=shape) * 2
    if CASES[case].centred:
        z += 1 / shape[-1] - z.mean(axis=-1, keepdims=True)
    if kind == "exclusive":
        y = oracles.softmax(rng.normal(size=shape) * 2)
        return (y if soft else np.eye(3)[y.argmax(axis=-1)]), z
    return (rng.random(shape) if soft else (rng.random(shape) > 0.6).astype(float)), z


def activate(kind, z):
    """Probabilities of logits."""
    return oracles.softmax(z) if kind == "exclusive" else oracles.sigmoid(z)

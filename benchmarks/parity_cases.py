"""The inputs on which losses are compared: the same numbers for every library.

All are small, float64 and made by one seed. Truth and logits are channels last, as Keras and
segloss_ref take them.
"""

from dataclasses import dataclass

import numpy as np

SEED = 20240511
CLASSES = 3
IGNORED = 255


@dataclass(frozen=True)
class Case:
    """One input: `y`, `z` (logits) are `(batch, *spatial, classes)`, `weight` `(batch, *spatial)`.

    `labels` is the class map of exclusive classes, `None` where labels are soft; `kind` is
    "binary", "exclusive" (one softmax) or "independent" (a sigmoid each).
    """

    kind: str
    y: object
    z: object
    labels: object = None
    weight: object = None


def _squares(rng, spatial):
    """Hard masks of two images: a large block in the first, a small one in the second."""
    y = np.zeros((2, *spatial, 1))
    for image, side in ((0, 4), (1, 2)):
        corner = rng.integers(0, 3, len(spatial))
        y[(image, *(slice(c, c + side) for c in corner))] = 1
    return y


def binary():
    """Cases by name, one class."""
    rng = np.random.default_rng(SEED)
    flat, volume = (7, 9), (5, 6, 7)
    y, z = _squares(rng, flat), 2 * rng.normal(size=(2, *flat, 1))
    half_empty = y * np.array([1, 0]).reshape(2, 1, 1, 1)
    empty, sure = np.zeros_like(y), np.full_like(z, -30.0)
    solid, solid_z = _squares(rng, volume), 2 * rng.normal(size=(2, *volume, 1))
    inputs = {
        "hard": (y, z),
        "soft": (rng.random(y.shape), z),
        "one of two empty": (half_empty, z),
        "empty": (empty, z),
        "empty, found": (empty, sure),
        "found": (y, 60.0 * y - 30.0),
        "volume": (solid, solid_z),
    }
    cases = {name: Case("binary", a, b) for name, (a, b) in inputs.items()}
    large = np.zeros((1, 60, 60, 60, 1))
    large[:, 5:55, 5:55, 5:55] = 1
    cases["large, missed"] = Case("binary", large, np.full_like(large, -30.0))
    weight = rng.integers(0, 3, y.shape[:-1]).astype(float)
    cases["weight map"] = Case("binary", y, z, weight=weight)
    mask = (weight > 0).astype(float)
    cases["mask"] = Case("binary", y, z, weight=mask)
    ignored = np.where(mask[..., None] > 0, y, IGNORED)
    cases["ignored"] = Case("binary", ignored, z)
    return cases


def several(kind):
    """Cases by name, three classes: exclusive or independent."""
    rng = np.random.default_rng(SEED)
    flat, volume = (7, 9), (5, 6, 7)

    def draw(spatial, shares):
        labels = rng.choice(len(shares), size=(2, *spatial), p=shares)
        return labels, 2 * rng.normal(size=(2, *spatial, CLASSES))

    labels, z = draw(flat, [0.6, 0.3, 0.1])
    absent, absent_z = draw(flat, [0.7, 0.3])
    solid, solid_z = draw(volume, [0.6, 0.3, 0.1])
    eye = np.eye(CLASSES)
    soft = np.exp(rng.normal(size=z.shape))
    soft /= soft.sum(axis=-1, keepdims=True)

    def case(map_, z, y=None, **more):
        y = eye[map_] if y is None else y
        return Case(kind, y, z, map_ if kind == "exclusive" else None, **more)

    weight = rng.integers(0, 3, labels.shape).astype(float)
    return {
        "hard": case(labels, z),
        "soft": case(None, z, soft),
        "a class absent": case(absent, absent_z),
        "volume": case(solid, solid_z),
        "weight map": case(labels, z, weight=weight),
        "mask": case(labels, z, weight=(weight > 0).astype(float)),
        "ignored": case(np.where(weight > 0, labels, IGNORED), z, eye[labels]),
    }


#: Cases that only a pair that asks for them gets: they need a setting, or weights, or time.
SPECIAL = ("weight map", "mask", "ignored", "large, missed")


def every_case():
    """Kind of classes -> name -> case."""
    return {
        "binary": binary(),
        "exclusive": several("exclusive"),
        "independent": several("independent"),
    }

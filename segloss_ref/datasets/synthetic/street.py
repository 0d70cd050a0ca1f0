"""Streets seen from a car: wide roads and walls, small people, thin poles."""

import itertools

import numpy as np

from segloss_ref.datasets.base import SegmentationData, Size
from segloss_ref.datasets.synthetic.base import checked_streams, noise, synthetic_card

CLASSES = ("sky", "building", "tree", "road", "pavement", "car", "person", "pole")
_SKY, _BUILDING, _TREE, _ROAD, _PAVEMENT, _CAR, _PERSON, _POLE = range(len(CLASSES))

STREETS_CARD = synthetic_card(
    title="Synthetic street scenes with frequent and rare classes",
    classes=", ".join(CLASSES) + "; each pixel belongs to one of them.",
    notes=(
        "Sky, buildings and road own most of the pixels; persons and poles have less than one in "
        "a hundred each. Things stand in perspective and the nearer hide the farther. Cars, "
        "persons and poles are numbered in `instances`. Colours overlap between the classes: "
        "each building, car and person has a colour of its own, under a light of the scene's own."
    ),
)


def streets(
    n: int, size: Size = (96, 144), *, seed: int = 0, split: str = "train"
) -> SegmentationData:
    """Street scenes in colour, drawn in perspective from the far to the near.

    Args:
        n: Number of images.
        size: Side, or `(height, width)`, in pixels: the scene is scaled to it.
        seed: A whole number >= 0.
        split: The stream to draw from: `"train"`, `"validation"` or `"test"`.

    Returns:
        A `SegmentationData` of three channels, eight classes, and the instances of cars, persons
        and poles, as far as they can be seen.

    Raises:
        ValueError: If an argument is not one of the above.

    Example:
        >>> streets(2).class_names[-2:]
        ('person', 'pole')
    """
    shape, generators = checked_streams(n, size, seed, split)
    images = np.empty((n, *shape, 3), np.float32)
    masks, instances = np.empty((2, n, *shape), np.int32)
    for i, rng in enumerate(generators):
        scene = _Scene(rng, shape)
        scene.draw()
        images[i], masks[i] = scene.photograph(), scene.classes
        instances[i] = _renumbered(scene.things)
    return SegmentationData(
        images=images,
        masks=masks,
        instances=instances,
        class_names=CLASSES,
        names=tuple(f"streets-{split}-{i}" for i in range(n)),
        card=STREETS_CARD,
    )


class _Scene:
    """A painter's canvas: what is painted later hides what was there.

    `x` and `y` run from 0 to 1 over the width and the height; depth 0 is the horizon and 1 the
    lower edge of the picture.
    """

    def __init__(self, rng, shape):
        self.rng, self.shape = rng, shape
        self.pixels = rng.spawn(1)[0]  # of its own, so that a scene does not depend on its size
        height, width = shape
        self.y, self.x = (np.indices(shape) + 0.5) / np.reshape([height, width], (2, 1, 1))
        self.aspect = width / height
        self.classes = np.zeros(shape, np.int32)
        self.things = np.zeros(shape, np.int32)
        self.colours = np.zeros((*shape, 3))
        self.horizon, self.centre = rng.uniform(0.38, 0.48), rng.uniform(0.4, 0.6)
        self.depth = (self.y - self.horizon) / (1 - self.horizon)
        self.half_road = rng.uniform(0.3, 0.4)  # at depth 1
        self.pavement = self.half_road + rng.uniform(0.14, 0.22)  # its outer edge

    def draw(self):
        self.paint(np.ones(self.shape, bool), _SKY, self.colour((0.6, 0.7, 0.85), 0.08))
        self.draw_ground()
        self.draw_walls()
        for depth in np.sort(self.rng.uniform(0.05, 0.75, self.rng.integers(6, 12))):
            self.draw_thing(depth)

    def colour(self, mean, spread):
        """About `mean`; brighter or darker by `spread`, tinted by half of it."""
        tint = self.rng.normal(0, spread / 2, 3)
        return np.clip(self.rng.normal(0, spread) + np.add(mean, tint), 0.05, 0.95)

    def paint(self, where, kind, colour, thing=0):
        self.classes[where], self.things[where] = kind, thing
        self.colours[where] = colour

    def edge(self, lateral, depth):
        """Where on the picture a line along the street is at this depth."""
        return self.centre + lateral * depth

    def draw_ground(self):
        below, side = self.depth > 0, np.abs(self.x - self.centre)
        grey = self.rng.uniform(0.25, 0.4)
        self.paint(below, _PAVEMENT, self.colour((0.5, 0.48, 0.46), 0.05))
        self.paint(below & (side < self.half_road * self.depth), _ROAD, self.colour(grey, 0.02))
        dashes = (np.log(np.maximum(self.depth, 1e-3)) * 4 % 1 < 0.5) & below
        self.colours[dashes & (side < 0.012 * self.depth)] = 0.8  # the line is road, too

    def draw_walls(self):
        """Houses and trees on both sides, from the far to the near."""
        for side in (-1, 1):
            ends = np.cumprod(np.append(0.06, self.rng.uniform(1.5, 2.2, 7)))
            for far, near in itertools.pairwise(ends):
                if self.rng.random() < 0.3:
                    self.draw_tree(side, near)
                else:
                    self.draw_house(side, far, near)

    def draw_house(self, side, far, near):
        # Along a wall, depth follows from x; the wall stands on the outer edge of the pavement.
        depth = (self.x - self.centre) * side / self.pavement
        tall = self.rng.uniform(0.5, 1.1)
        rise = (self.horizon - self.y) / np.maximum(depth, 1e-3)
        foot = self.depth < depth
        wall = (depth > far) & (depth <= near) & foot & (rise < tall)
        colour = self.colour((0.5, 0.42, 0.38), 0.12)
        self.paint(wall, _BUILDING, colour)
        along, up = np.log(np.maximum(depth, 1e-3)) * 9 % 1, rise * 9 % 1
        windows = wall & (along > 0.35) & (along < 0.75) & (up > 0.3) & (up < 0.75) & (rise > 0)
        self.colours[windows] = colour * self.rng.uniform(0.5, 0.75)

    def draw_tree(self, side, depth):
        x = self.edge(side * self.pavement * self.rng.uniform(1.0, 1.3), depth)
        top, radius = self.horizon - 0.35 * depth, self.rng.uniform(0.2, 0.32) * depth
        ragged = 1 + 0.12 * noise(self.pixels, self.shape, 1.2)
        crown = np.hypot((self.x - x) * self.aspect, self.y - top) < radius * ragged
        foot = self.horizon + depth * (1 - self.horizon)
        trunk = (np.abs(self.x - x) < 0.02 * depth) & (self.y > top) & (self.y < foot)
        green = self.colour((0.25, 0.36, 0.2), 0.05)
        self.paint(trunk, _TREE, green * 0.7)
        self.paint(crown, _TREE, green)

    def draw_thing(self, depth):
        kind = self.rng.choice([_CAR, _PERSON, _POLE], p=[0.4, 0.33, 0.27])
        side = self.rng.choice([-1, 1])
        draw = {_CAR: self.draw_car, _PERSON: self.draw_person, _POLE: self.draw_pole}[kind]
        draw(side, depth, self.horizon + depth * (1 - self.horizon), self.things.max() + 1)

    def draw_car(self, side, depth, foot, thing):
        x = self.edge(side * self.half_road * self.rng.uniform(0.3, 0.75), depth)
        half, tall = 0.15 * depth, 0.24 * depth
        dx, up = np.abs(self.x - x), foot - self.y
        body = (dx < half) & (up > 0) & (up < 0.62 * tall)
        cabin = (dx < half * (1.15 - 0.55 * up / tall)) & (up >= 0.62 * tall) & (up < tall)
        colour = self.colour((0.45, 0.4, 0.42), 0.22)
        self.paint(body | cabin, _CAR, colour, thing)
        self.colours[cabin & (dx < 0.8 * half)] = 0.2  # the window
        self.colours[body & (up < 0.15 * tall) & (dx > 0.6 * half)] = 0.1  # the wheels

    def draw_person(self, side, depth, foot, thing):
        lateral = self.half_road + (self.pavement - self.half_road) * self.rng.uniform(0.1, 0.9)
        x, tall = self.edge(side * lateral, depth), 0.3 * depth
        dx, up = np.abs(self.x - x) * self.aspect, (foot - self.y) / tall
        body = (up > 0) & (up < 0.84) & (dx < tall * np.where(up < 0.45, 0.09, 0.13))
        head = np.hypot(dx, (up - 0.91) * tall) < 0.085 * tall
        self.paint(body, _PERSON, self.colour((0.35, 0.33, 0.38), 0.18), thing)
        self.paint(head, _PERSON, self.colour((0.7, 0.55, 0.45), 0.08), thing)

    def draw_pole(self, side, depth, foot, thing):
        x, tall = self.edge(side * self.half_road * 1.05, depth), 0.75 * depth
        half = max(0.006 * depth, 0.5 / self.shape[1])  # a pixel at least
        shaft = (np.abs(self.x - x) <= half) & (self.y < foot) & (self.y > foot - tall)
        self.paint(shaft, _POLE, self.colour((0.35, 0.35, 0.36), 0.06), thing)

    def photograph(self):
        from scipy import ndimage

        sharp = self.colours * (1 + 0.1 * noise(self.pixels, self.shape, 1.2)[..., None])
        light = self.rng.uniform(0.75, 1.15) * self.rng.normal(1, 0.04, 3)
        blurred = ndimage.gaussian_filter(sharp * light, (0.6, 0.6, 0))
        grain = self.pixels.normal(0, 0.03, blurred.shape)
        return np.clip(blurred + grain, 0, 1).astype(np.float32)


def _renumbered(things):
    """1, 2, 3, ... for the things of which something is still to be seen."""
    return np.unique(things, return_inverse=True)[1].reshape(things.shape).astype(np.int32)

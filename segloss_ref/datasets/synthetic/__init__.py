"""Images made by seed: `cells`, `tumours`, `streets`, and `spectrograms` of two sounds.

They are drawn in `microscopy`, `tissue`, `street` and `sound`. Every image has a random generator
of its own, seeded by `(seed, split, index)`. So image 3 is the same picture whether four images are
made or a thousand, and no split shares an image with another.
"""

import inspect
from collections.abc import Callable

from segloss_ref.datasets.base import SegmentationData
from segloss_ref.datasets.synthetic.microscopy import cells
from segloss_ref.datasets.synthetic.sound import spectrograms
from segloss_ref.datasets.synthetic.street import streets
from segloss_ref.datasets.synthetic.tissue import tumours

COUNTS = {"train": 64, "validation": 16, "test": 32}  # images of a split from `load`
MAKERS = {
    "synthetic/cells": cells,
    "synthetic/tumours": tumours,
    "synthetic/streets": streets,
    "synthetic/spectrograms": spectrograms,
}


def loader(maker: Callable[..., SegmentationData]) -> Callable[..., SegmentationData]:
    """How `load` calls `maker`: a split has a fixed number of images, `limit` takes the first."""

    def load(split, size, limit, seed, **options):
        n = COUNTS[split] if limit is None else min(limit, COUNTS[split])
        size = {} if size is None else {"size": size}
        return maker(n, **size, seed=seed, split=split, **options)

    return load


def options_of(name: str) -> tuple[str, ...]:
    """What the maker of this data set takes beyond what all of them do; nothing if it is none."""
    if name not in MAKERS:
        return ()
    own = inspect.signature(MAKERS[name]).parameters
    return tuple(option for option in own if option not in ("n", "size", "seed", "split"))

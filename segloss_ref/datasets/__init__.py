"""Data sets to train and to measure on: `load(name, split)`.

Made by seed, at once: `synthetic/cells`, `synthetic/tumours`, `synthetic/streets`,
`synthetic/spectrograms`. Public and real: `nuclei`, `membranes`, `streets`, `mortar`, `vessels`,
`cracks`, and in three dimensions `hippocampus`; see `data/README.md` of the repository for what
they are. Your own images, or volumes: `load_folder(path, split)`.
"""

from typing import Any

from segloss_ref.checks import check_choice, check_seed, check_whole
from segloss_ref.datasets import public, synthetic
from segloss_ref.datasets.base import (
    SPLITS,
    Card,
    SegmentationData,
    Size,
    checked_split,
)
from segloss_ref.datasets.folder import load_folder

__all__ = ["NAMES", "SPLITS", "Card", "SegmentationData", "load", "load_folder"]

# Each loader is called as loader(split, size, limit, seed, **options), the arguments checked.
_LOADERS = {
    **{name: synthetic.loader(maker) for name, maker in synthetic.MAKERS.items()},
    **{name: public.loader(name) for name in public.NAMES},
}
#: The names of the data sets that `load` knows.
NAMES = tuple(_LOADERS)


def load(
    name: str,
    split: str,
    *,
    size: Size | None = None,
    limit: int | None = None,
    seed: int = 0,
    **options: Any,
) -> SegmentationData:
    """Returns one split of a data set.

    Which split an image is in depends on its name alone, and so does the order of the images:
    `limit` and `size` never move an image from one split to another.

    Args:
        name: One of `segloss_ref.datasets.NAMES`.
        split: `"train"`, `"validation"` or `"test"`.
        size: The side of the images in pixels, or `(height, width)`; of volumes, `(depth, height,
            width)`. `None`: as they are. Public images are resized to it, whatever their shape was:
            images smoothly, masks and instances by their nearest pixel, so that no value is mixed.
            An object smaller than the step between the pixels taken can be lost. Synthetic images
            are made at this size: larger ones hold more cells, not larger ones.
        limit: At most this many images: the first ones, so a smaller `limit` gives a part of a
            larger one. Public images come in the order of the hashes of their names, which is
            fixed but mixes scenes. Only these images are read. `None`: all of the split.
        seed: Another seed gives other synthetic images. Public data do not depend on it.
        **options: What some data sets take besides. Those of synthetic ones are with their makers,
            such as the `foreground` of `segloss_ref.datasets.synthetic.tumours`. `mortar` has
            `labels`, those of training and validation: `"accurate"` (default), `"noisy"` or
            `"pseudo"`; its test split always is accurate. `vessels` has `observer`, 1 (default), 2
            or `"both"`: whose outlines the masks are, in every split. With `"both"` each image
            comes twice, as `01L 1` and `01L 2`.

    Returns:
        A `SegmentationData`.

    Raises:
        ValueError: If an argument is not one of the above, or a public file is damaged.
        TypeError: For an option that the data set does not have.
        FileNotFoundError: If public data are nowhere to be found.

    Example:
        >>> data = load("synthetic/cells", "train", limit=8)
        >>> data.images.shape, data.masks.shape, data.class_names
        ((8, 96, 96, 1), (8, 96, 96), ('background', 'cell'))
    """
    check_choice("name", name, NAMES)
    checked_split(split)
    if limit is not None:
        check_whole("limit", limit, at_least=1)
    check_seed("seed", seed)
    allowed = synthetic.options_of(name) + public.options_of(name)
    if unknown := sorted({*options} - {*allowed}):
        raise TypeError(
            f"{name!r} has no option {', '.join(unknown)}. Allowed: {', '.join(allowed) or 'none'}"
        )
    return _LOADERS[name](split, size, limit, seed, **options)

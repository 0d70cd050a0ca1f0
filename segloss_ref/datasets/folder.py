"""A user's own images: a folder with `images/` and `masks/`, or `instances/`, or both.

Nothing is guessed from one file: what the values of the masks mean is decided on all masks of the
folder, so that it is the same for every split and every `limit`. What could be read in two ways is
refused. `files` finds what belongs together, `decoding` reads a file.
"""

from os import PathLike
from pathlib import Path

import numpy as np

from segloss_ref.checks import VOID, check_seed, check_whole
from segloss_ref.datasets.base import Card, SegmentationData, Size, checked_split, spatial_shape
from segloss_ref.datasets.decoding import COLOURS, IMAGES, INSTANCES, MASKS, affine_of, read
from segloss_ref.datasets.files import (
    classes_of,
    colours_of,
    fingerprint,
    listed,
    samples_of,
    signature,
    stamp,
    told,
)
from segloss_ref.datasets.resizing import labels_in, renumbered, resized, shrunk

__all__ = ["fingerprint", "load_folder", "stamp"]

_BINARY = ("background", "foreground")
_WHITE = 255
_UNKNOWN = -2  # a colour that is in no table
_MANY = 2**16  # files whose values are remembered
_PLACE = 0.01  # of a voxel: by so much may labels lie beside their image


def load_folder(
    path: str | PathLike[str],
    split: str,
    *,
    size: Size | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> SegmentationData:
    """Returns one split of a folder of your own.

    The folder holds `images/` and `masks/`: PNG or TIFF files that belong together by their names
    without the suffix, such as `images/a.tif` and `masks/a.png`; images may be JPEG, too. The name
    of a mask may end in what tools add: `a_mask`, `a_label`, `a_cp_masks`, `a_seg`, `a_gt`, with
    `_` or `-`. Hidden files and `Thumbs.db` are passed over; any other kind of file, and a folder
    in these folders, is an error, so that no image is left out unnoticed.

    **Images** are grey or RGB, all alike, of 8 or 16 bits. They are divided by 255 or 65535, the
    range of their type and not of their content: so a brightness means the same in every image.
    Images of a 12-bit camera in 16-bit files thus end at 0.0625 and are dark, unless the file says
    how many bits are significant (sBIT of a PNG, OME-XML of a TIFF). The orientation that a camera
    writes is followed, in masks as well. The numbers stay as they are where a file has a gamma or a
    colour profile: these say how a screen is to show them. Alpha, palettes, CMYK, animations, and
    what else has no single reading, are refused by name.

    **Masks** hold class numbers: 0, 1, 2, ... They may also be black and white, 0 and 255, in all
    files of the folder; 255 then is class 1. -1, which signed files can hold, always is a pixel
    out of the picture. The colours of a palette are passed over: its indices are the classes. A
    TIFF with 0 as white, which tifffile makes of a boolean array, is refused, as its readers differ
    in what is 1: save `mask.astype("uint8")`. With an optional table `colors.csv`, headed
    `red,green,blue,class`, masks are RGB files of just these colours; `class` is a name, a number,
    or `ignore`.

    **Instances** are in an optional folder `instances/`: 0 outside objects, and a number of its own
    for each object of an image, in up to 32 bits. If there is no `masks/`, masks are
    `instances > 0`.

    **Volumes** are NIfTI files, `.nii` or `.nii.gz`, for images and labels. Their axes are turned
    to depth (from foot to head), height (from back to front) and width (from left to right), and
    each is scaled by its lowest and its highest number, as the numbers of a scanner have no range.
    The card's notes have the sizes of the voxels.

    **Classes** are named by an optional `classes.txt`: line 1 is the name of class 0, line 2 of
    class 1, and so on. Class 0 is the background, whatever its name; a `!` before it, as in `!sky`,
    makes it a class like the others. The value 255, if it is no class, marks pixels to ignore, and
    `card.ignore_class` is 255 if any mask of the folder holds it. But with two classes of which
    the second is nowhere, 255 is the second class: masks are black and white. Without
    `classes.txt`, the classes are `background` and `foreground`.

    **Splits** come from an optional `split.csv` with the header `name,split` and a row for every
    image, by its name without the suffix. Without it, the hash of its name alone decides for each
    image: into `train` with a chance of 60 %, `validation` 20 %, `test` 20 %. So no image changes
    sides when others come or go. Only where this leaves a split empty, as it may in a small
    folder, images are split by the order of their hashes: the last fifth, but at least one, is for
    testing, as many before them for validation. Images of one patient, slide or film are then on
    all sides: write `split.csv` if there are such.

    Args:
        path: The folder.
        split: `"train"`, `"validation"` or `"test"`.
        size: The side of the images in pixels, or `(height, width)`; of volumes, `(depth, height,
            width)`. `None`: as they are, which takes images of one size. See `load` for how images
            and labels are resized; sides of more than 1024 pixels are made shorter by exact means
            over areas.
        limit: At most this many images: the first ones in the order of the hashes of their names.
            Of the others only the masks are read. `None`: all of the split.
        seed: No effect, as for the public data of `load`.

    Returns:
        A `SegmentationData`. Its `names` are those of the files without the suffix; objects are
        numbered 1, 2, 3, ... anew, in the order of their numbers.

    Raises:
        ValueError: If an argument is not one of the above, or a file: the message names it.
        FileNotFoundError: If there is no such folder, or no image or mask in it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as path:
        ...     for folder in ("images", "masks"):
        ...         Path(path, folder).mkdir()
        ...         for name in ("a", "b", "c", "g"):
        ...             white = Image.fromarray(np.full((32, 48), 255, np.uint8))
        ...             white.save(Path(path, folder, f"{name}.png"))
        ...     data = load_folder(path, "train")
        >>> data.images.shape, data.names, data.class_names
        ((2, 32, 48, 1), ('c', 'b'), ('background', 'foreground'))
    """
    checked_split(split)
    if limit is not None:
        check_whole("limit", limit, at_least=1)
    check_seed("seed", seed)
    folder = Path(path)
    samples = samples_of(folder)
    dims = 3 if samples[0].image.name.lower().endswith((".nii", ".nii.gz")) else 2
    shape = None if size is None else spatial_shape(size, dims)
    names, background = classes_of(folder, has_masks=samples[0].mask is not None)
    colours = colours_of(folder, names or _BINARY)

    chosen = [sample for sample in samples if sample.split == split][:limit]
    images, masks, instances, values, spacings = _read_all(chosen, shape, colours)
    for sample in samples:
        if sample.mask is not None and sample.mask not in values:
            values[sample.mask] = _values_of(sample.mask, colours)
    is_white_one, ignore_class = _meaning_of_white(values, names, folder)
    if is_white_one:
        masks = np.where(masks == VOID, VOID, masks == _WHITE)
    if instances is not None:
        instances = _numbered_inside(instances, np.isin(masks, (VOID, ignore_class or VOID)))
    return SegmentationData(
        images=images,
        masks=masks.astype(np.int32, copy=False),
        instances=instances,
        class_names=names or _BINARY,
        names=tuple(sample.name for sample in chosen),
        card=_card(folder, samples, names or _BINARY, ignore_class, spacings),
        background=background,
    )


# From samples to images (n, *spatial, channels) in [0, 1], masks, and instances


def _read_all(samples, shape, colours):
    """Images, masks, instances, the values of each mask by its file, and the sizes of voxels."""
    triples, values, spacings, first = [], {}, [], None
    for sample in samples:  # One at a time, so that no more than one is held at its full size.
        pixels, mask, instances, picture = _read_sample(sample, colours)
        first = first or (sample.image, pixels.shape)
        _check_alike(*first, sample.image, pixels.shape, resize=shape is not None)
        file = sample.mask or sample.instances
        values[file] = _remember(file, colours, labels_in(mask))
        pixels = pixels if shape is None else shrunk(pixels, shape)
        image = _scaled(pixels, picture.full, sample.image)
        triples.append(resized(image, mask, instances, shape))
        spacings.append(picture.spacing)
    images, masks, instances = zip(*triples)
    instances = None if instances[0] is None else np.stack(instances)
    return np.stack(images), np.stack(masks), instances, values, spacings


def _read_sample(sample, colours):
    pixels, picture = read(sample.image, IMAGES)
    dims = len(picture.shape)
    instances = None if sample.instances is None else _read_instances(sample.instances)
    if sample.mask is None:
        mask = np.where(instances < 0, VOID, instances > 0)
    else:
        mask = _read_mask(sample.mask, colours)
    for file, labels in ((sample.mask, mask), (sample.instances, instances)):
        if file is not None and labels.shape != pixels.shape[:dims]:
            raise ValueError(
                f"{file} and its image must have one size. Received: {_size(labels.shape)}, and "
                f"{sample.image} has {_size(pixels.shape[:dims])}"
            )
        if file is not None:
            _check_place(file, sample.image, picture)
    return pixels.reshape(*pixels.shape[:dims], -1), mask, instances, picture


def _check_place(file, image, picture):
    """Volumes that belong together lie in the same place, by what both files say."""
    if picture.affine is None or not file.name.lower().endswith((".nii", ".nii.gz")):
        return
    affine = affine_of(file)
    if not np.allclose(affine, picture.affine, atol=_PLACE * max(picture.spacing)):
        raise ValueError(
            f"{file} and {image} must lie in one place, with voxels of one size. Received the "
            f"affines {affine.tolist()} and {picture.affine.tolist()}. Resample the labels to the "
            "image."
        )


def _numbered_inside(instances, outside):
    """The objects of each image, numbered 1, 2, 3, ...; -1 where there is no picture."""
    instances = np.where(outside, VOID, instances.astype(np.int32))  # of 8 bits, -1 would be 255
    return np.stack([renumbered(image) for image in instances])


def _scaled(pixels, full, file):
    """Numbers as shares of white; in a volume, between its lowest and its highest number."""
    if full is not None:
        return pixels / np.float32(full)
    low, high = np.float64(pixels.min()), np.float64(pixels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{file} must hold finite numbers. Received: {low} to {high}")
    image = (pixels - low) / (high - low or 1.0)
    return np.clip(image, 0, 1).astype(np.float32)


def _read_mask(file, colours):
    if colours is None:
        return _whole_labels(read(file, MASKS)[0], file)
    pixels = read(file, COLOURS)[0].astype(np.int32)
    codes = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    table = np.full(2**24, _UNKNOWN, np.int32)
    for (red, green, blue), label in colours.items():
        table[(red << 16) | (green << 8) | blue] = label
    labels = table[codes]
    if (unknown := labels == _UNKNOWN).any():
        found, counts = np.unique(codes[unknown], return_counts=True)
        told_colours = [(c >> 16, (c >> 8) & 255, c & 255) for c in found[:5].tolist()]
        raise ValueError(
            f"{file} has {counts.sum()} pixels of {len(found)} colours that are not in "
            f"{file.parents[1] / 'colors.csv'}: {listed(told_colours)}. Give each a row there."
        )
    return labels


def _read_instances(file):
    instances = _whole_labels(read(file, INSTANCES)[0], file)
    if labels_in(instances) == [0, _WHITE]:
        raise ValueError(
            f"{file} holds only 0 and 255, as a black and white mask does; each object must have a "
            "number of its own. skimage.measure.label numbers those that lie apart. If there is "
            "one object, number it 1."
        )
    return instances


def _whole_labels(labels, file):
    """Labels as integers from -1 to the highest of int32; volumes may hold them as floats."""
    low, high = labels.min(), labels.max()
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise ValueError(f"{file} must hold whole numbers. Received: {low} to {high}")
    if low < VOID or high > np.iinfo(np.int32).max:
        raise ValueError(
            f"{file} must hold numbers from {VOID} to 2^31 - 1. Received: {low}, {high}"
        )
    return labels if labels.dtype in (np.uint8, np.uint16) else labels.astype(np.int32)


# What the masks that were read in this process hold. What masks mean is decided on all of them,
# for every split: this way none is read again for the next one.
_seen = {}


def _values_of(file, colours):
    found = _seen.get(_key(file, colours))
    if found is not None:
        return found
    return _remember(file, colours, labels_in(_read_mask(file, colours)))


def _remember(file, colours, values):
    if len(_seen) > _MANY:
        _seen.clear()
    _seen[_key(file, colours)] = values
    return values


def _key(file, colours):
    return file.absolute(), signature(file), colours and tuple(colours.items())


def _check_alike(file, shape, other, other_shape, *, resize):
    if len(shape) != len(other_shape):
        raise ValueError(f"{file} and {other} must both be volumes, or pictures. Move one away.")
    if shape[-1] != other_shape[-1]:
        kinds = {1: "grey", 3: "RGB"}
        raise ValueError(
            f"{file} is {kinds[shape[-1]]} and {other} is {kinds[other_shape[-1]]}. Convert "
            "either, so that all are alike."
        )
    if not resize and shape != other_shape:
        raise ValueError(
            f"{file} has {_size(shape[:-1])} and {other} {_size(other_shape[:-1])}. Images must "
            "have one size: give `size`, and they are resized to it."
        )


def _size(shape):
    sides = " x ".join(map(str, shape))
    if len(shape) == 3:
        return f"{sides} voxels (depth x height x width)"
    return f"{sides} pixels (height x width)"


# What masks and classes mean, decided on all masks at once


def _meaning_of_white(values, names, folder):
    """Whether 255 is class 1, and the value to ignore (255 or `None`).

    Args:
        values: The values of each mask, by its file.
        names: The lines of `classes.txt`, or `None`.
        folder: The data set, for messages.
    """
    count = len(names or _BINARY)
    whites = [f for f, found in values.items() if _WHITE in found] if count <= _WHITE else []
    ones = [f for f, found in values.items() if 1 in found]
    is_white_one = bool(whites) and not ones and count == 2

    for file, found in values.items():
        is_mixed = names is None and {1, _WHITE}.issubset(found)
        if is_mixed or not {VOID, *range(count), *([_WHITE] * bool(whites))}.issuperset(found):
            raise ValueError(_unexpected(file, found, names, folder))
    if names is None and whites and ones:
        raise ValueError(
            f"{whites[0]} is black and white, 0 and 255, but {ones[0]} holds the value 1. Without "
            f"{folder / 'classes.txt'} all masks must be of one kind. With it, 255 marks pixels to "
            "ignore."
        )
    return is_white_one, _WHITE if whites and not is_white_one else None


def _unexpected(file, found, names, folder):
    table = folder / "classes.txt"
    came = f"{file} holds the values {listed(found)}."
    if _looks_like_instances(file, found):
        return (
            f"{came} These look like instance maps, where each object has a number of its own: "
            f"move them to {folder / 'instances'}."
        )
    if names is None:
        return (
            f"{came} Without {table}, masks hold 0 and 1, or 0 and 255, in all files alike. For "
            "other classes write it: one name a line, line 1 for class 0. The value 255 then "
            "marks pixels to ignore."
        )
    return (
        f"{came} {table} names {len(names)} classes, so masks hold 0 to {len(names) - 1}, and 255 "
        "where a pixel is to be ignored. Correct the mask, or name the other classes."
    )


def _looks_like_instances(file, found):
    """Whether a file of labels has three objects or more, each of one piece."""
    objects = [value for value in found if value > 0]
    if len(objects) < 3 or (file.parents[1] / "colors.csv").is_file():
        return False
    from skimage import measure

    labels = _read_mask(file, None)
    return measure.label(labels, background=0).max() <= 1.1 * len(objects)


def _card(folder, samples, names, ignore_class, spacings):
    counts = told(sample.split for sample in samples)
    by = "split.csv" if (folder / "split.csv").is_file() else "the hashes of their names"
    voxels = sorted({tuple(round(x, 4) for x in spacing) for spacing in spacings if spacing})
    scaled = "They are scaled by the range of their type."
    if voxels:
        scaled = (
            "Each is scaled by its lowest and highest number. Voxels, as depth, height and width: "
            f"{listed(voxels)}."
        )
    return Card(
        title=f"{folder.resolve().name}, a folder of the user's own",
        classes="; ".join(f"{i}: {name}" for i, name in enumerate(names)),
        terms="Those of whoever made the images: they are not known here.",
        citation="Whoever made the images.",
        address=str(folder.resolve()),
        ignore_class=ignore_class,
        notes=f"Images are split by {by}: {counts}. {scaled}",
    )

"""A user's own images: a folder with `images/` and `masks/`, or `instances/`, or both.

Nothing is guessed from one file: what the values of the masks mean is decided on all masks of the
folder, so that it is the same for every split and every `limit`. What could be read in two ways is
refused.
"""

import csv
import hashlib
import io
import unicodedata
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segloss_ref.datasets.base import (
    SPLITS,
    Card,
    SegmentationData,
    checked_count,
    checked_split,
    height_and_width,
    position,
    renumbered,
    resized,
    split_by_share,
)

_PARTS = ("images", "masks", "instances")
_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
_BINARY = ("background", "foreground")
_WHITE = 255

# What a file may be, as `_open_png` and `_open_tiff` call it.
_IMAGES = ("8-bit grey", "16-bit grey", "8-bit RGB", "16-bit RGB")
_INSTANCES = ("8-bit grey", "16-bit grey", *(f"{bits}-bit palette" for bits in (1, 2, 4, 8)))
# A PNG of 2 or 4 bits of grey is not among them: such greys stand for shares of white, so that
# 1 of 15 is 17 of 255, and readers differ in which of the two they give.
_MASKS = ("1-bit grey", *_INSTANCES)


class Sample(NamedTuple):
    """The files of one image; `mask` or `instances` may be `None`, but not both."""

    name: str
    split: str
    image: Path
    mask: Path | None
    instances: Path | None


def load_folder(path, split, *, size=None, limit=None, seed=0):
    """Returns one split of a folder of your own.

    The folder holds `images/` and `masks/`: PNG or TIFF files that belong together by their names
    without the suffix, such as `images/a.tif` and `masks/a.png`. Hidden files and `Thumbs.db` are
    passed over; any other kind of file, and a folder in these folders, is an error, so that no
    image is left out unnoticed.

    **Images** are grey or RGB, all alike, of 8 or 16 bits. They are divided by 255 or 65535, the
    range of their type and not of their content: so a brightness means the same in every image.
    Images of a 12-bit camera in 16-bit files thus end at 0.0625 and are dark; multiply them by 16
    first. Alpha is refused, as there is no telling what a transparent pixel shows.

    **Masks** hold class numbers: 0, 1, 2, ... They may also be black and white, 0 and 255, in all
    files of the folder; 255 then is class 1. The colours of a palette are passed over: its indices
    are the classes. A TIFF with 0 as white, which tifffile makes of a boolean array, is refused, as
    its readers differ in what is 1: save `mask.astype("uint8")`.

    **Instances** are in an optional folder `instances/`: 0 outside objects, and a number of its own
    for each object of an image, in 8 or 16 bits. If there is no `masks/`, masks are
    `instances > 0`.

    **Classes** are named by an optional `classes.txt`: line 1 is the name of class 0, line 2 of
    class 1, and so on. The value 255, if it is no class, then marks pixels to ignore, and
    `card.ignore_class` is 255 if any mask of the folder holds it. But with two classes of which
    the second is nowhere, 255 is the second class: masks are black and white. Without
    `classes.txt`, the classes are `background` and `foreground`.

    **Splits** come from an optional `split.csv` with the header `name,split` and a row for every
    image, by its name without the suffix. Without it, the hash of its name alone decides for each
    image: into `train` with a chance of 60 %, `validation` 20 %, `test` 20 %. So no image changes
    sides when others come or go. But images of one patient, slide or film are then on all sides:
    write `split.csv` if there are such.

    Args:
        path: The folder.
        split: `"train"`, `"validation"` or `"test"`.
        size: The side of the images in pixels, or `(height, width)`. `None`: as they are, which
            takes images of one size. See `load` for how images and labels are resized.
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
        checked_count("limit", limit, least=1)
    checked_count("seed", seed, least=0)
    shape = None if size is None else height_and_width(size)
    folder = Path(path)
    samples = _samples(folder)
    names = _class_names(folder / "classes.txt", has_masks=samples[0].mask is not None)

    chosen = [sample for sample in samples if sample.split == split][:limit]
    (images, masks, instances), values = _read_all(chosen, shape)
    for sample in samples:
        if sample.mask is not None and sample.mask not in values:
            values[sample.mask] = _values(_read(sample.mask, _MASKS))
    is_white_one, ignore_class = _meaning_of_white(values, names, folder)
    return SegmentationData(
        images=np.stack(images),
        masks=(np.stack(masks) == _WHITE if is_white_one else np.stack(masks)).astype(np.int32),
        instances=None if instances[0] is None else np.stack(instances),
        class_names=names or _BINARY,
        names=tuple(sample.name for sample in chosen),
        card=_card(folder, samples, names or _BINARY, ignore_class),
    )


def fingerprint(path):
    """Returns a SHA-256 of all that `load_folder` reads, for the record of an experiment.

    It is that of the lines which `sha256sum` writes for these files, sorted by their paths in the
    folder: `images/`, `masks/`, `instances/`, `classes.txt` and `split.csv`. Other files do not
    count.

    Args:
        path: The folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: If there is a file that does not belong there, or two of one name.
        FileNotFoundError: If there is no such folder, or no image or mask in it.

    Example:
        >>> fingerprint("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: There is no folder /.../no/such/folder.
    """
    folder = Path(path)
    files = [file for part in _files(folder).values() for file in part.values()]
    files += [f for f in (folder / "classes.txt", folder / "split.csv") if f.is_file()]
    total = hashlib.sha256()
    for name, file in sorted((_name(f.relative_to(folder).as_posix()), f) for f in files):
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{digest}  {name}\n".encode())
    return total.hexdigest()


# From a folder to samples


def _samples(folder):
    """All samples, in the order of the hashes of their names."""
    images, masks, instances = _files(folder).values()
    for partners in filter(None, (masks, instances)):
        _check_partners(images, partners)
    split_of = _splits(folder / "split.csv", images)
    return [
        Sample(name, split_of[name], images[name], masks.get(name), instances.get(name))
        for name in sorted(images, key=position)
    ]


def _files(folder):
    """The files of each of `_PARTS`, by name."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder.absolute()}.")
    files = {part: _image_files(folder / part) for part in _PARTS}
    if not files["images"]:
        raise FileNotFoundError(
            f"There are no images in {folder / 'images'}: put PNG or TIFF files there."
        )
    if not (files["masks"] or files["instances"]):
        raise FileNotFoundError(
            f"There are no masks in {folder / 'masks'}, and none in {folder / 'instances'}: one of "
            "them must hold a PNG or TIFF file for each image, called as the image is."
        )
    return files


def _image_files(folder):
    files = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.name.startswith(".") or file.name.lower() in ("thumbs.db", "desktop.ini"):
            continue
        if file.suffix.lower() not in (".png", ".tif", ".tiff") or not file.is_file():
            raise ValueError(
                f"{file} is no .png, .tif or .tiff file. Convert it, or move it out of {folder}."
            )
        other = files.setdefault(_name(file.stem), file)
        if other is not file:
            raise ValueError(
                f"{other} and {file} have one name, {_name(file.stem)!r}: which belongs to the "
                "other files of that name? Rename or remove one."
            )
    return files


def _name(text):
    """A name in composed form: macOS may write é as e and an accent, where others write one."""
    return unicodedata.normalize("NFC", text)


def _check_partners(images, partners):
    for files, others in ((partners, images), (images, partners)):
        for name, file in files.items():
            if name not in others:
                there = next(iter(others.values())).parent
                raise ValueError(
                    f"{file} has no file of its name in {there}. Add {there / name}.png (or .tif), "
                    f"or remove {file.name}. The suffix is not part of the name."
                )


def _splits(table, images):
    """The split of each name."""
    if table.is_file():
        split_of, advice = _read_splits(table, images), f"Give it rows in {table}."
    else:
        split_of = {name: split_by_share(name, _SHARES) for name in images}
        advice = f"Write {table} with the header name,split and a row for every image."
    counts = _counts(split_of.values())
    if 0 in counts.values():
        empty = next(split for split, count in counts.items() if count == 0)
        raise ValueError(
            f"{table.parent} has no image for the split {empty!r}: of {len(images)} images there "
            f"are {_told(counts)}. {advice}"
        )
    return split_of


def _counts(splits):
    counts = Counter(splits)
    return {split: counts[split] for split in SPLITS}


def _told(counts):
    return ", ".join(f"{count} for {split}" for split, count in counts.items())


def _read_splits(table, images):
    rows = csv.DictReader(io.StringIO(_text(table)))
    if rows.fieldnames != ["name", "split"]:
        raise ValueError(
            f"{table} must begin with the line name,split. Received: {rows.fieldnames}"
        )
    split_of = {}
    for row in rows:
        name, split, where = _name(row["name"]), row["split"], f"{table}, line {rows.line_num}:"
        if name not in images:
            raise ValueError(
                f"{where} there is no image called {name!r}. Names are those of the files, "
                "without the suffix."
            )
        if split not in SPLITS:
            raise ValueError(
                f"{where} split must be one of {', '.join(SPLITS)}. Received: {split!r}"
            )
        if name in split_of:
            raise ValueError(f"{where} {name!r} has a row already. Remove one of the two.")
        split_of[name] = split
    if missing := images.keys() - split_of:
        name = min(missing)
        raise ValueError(f"{table} has no row for {images[name]}. Add {name},train or the like.")
    return split_of


def _class_names(file, *, has_masks):
    """The lines of `classes.txt`, or `None`."""
    if not file.is_file():
        return None
    names = tuple(line.strip() for line in _text(file).rstrip().splitlines())
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise ValueError(
            f"{file} must name two classes or more, one a line, each once and none empty: line 1 "
            f"is the name of class 0. Received: {_listed(names)}"
        )
    if len(names) > 2 and not has_masks:
        raise ValueError(
            f"{file} must name two classes where there is no {file.parent / 'masks'}: masks are "
            f"instances > 0. Received: {_listed(names)}"
        )
    return names


def _text(file):
    try:
        return file.read_text(encoding="utf-8-sig")  # Windows begins such files with a mark.
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8 ({error}). Save it as UTF-8 text.") from error


# From samples to an image (height, width, channels) in [0, 1], a mask, and instances


def _read_all(samples, shape):
    """The images, masks and instances of the samples, and the values of each mask by its file."""
    triples, values, first = [], {}, None
    for sample in samples:  # One at a time, so that no more than one is held at its full size.
        image, mask, instances = _read_sample(sample)
        first = first or (sample.image, image.shape)
        _check_alike(*first, sample.image, image.shape, resize=shape is not None)
        values[sample.mask or sample.instances] = _values(mask)
        triples.append(resized(image, mask, instances, shape))
    return zip(*triples), values


def _read_sample(sample):
    pixels = _read(sample.image, _IMAGES)
    image = pixels / np.float32(np.iinfo(pixels.dtype).max)
    instances = None if sample.instances is None else _read_instances(sample.instances)
    mask = instances > 0 if sample.mask is None else _read(sample.mask, _MASKS)
    for file, labels in ((sample.mask, mask), (sample.instances, instances)):
        if file is not None and labels.shape != image.shape[:2]:
            raise ValueError(
                f"{file} and its image must have one size. Received: {_size(labels.shape)}, and "
                f"{sample.image} has {_size(image.shape)}"
            )
    return image.reshape(*image.shape[:2], -1), mask, instances


def _read_instances(file):
    instances = _read(file, _INSTANCES)
    if _values(instances) == [0, _WHITE]:
        raise ValueError(
            f"{file} holds only 0 and 255, as a black and white mask does; each object must have a "
            "number of its own. skimage.measure.label numbers those that lie apart. If there is "
            "one object, number it 1."
        )
    return renumbered(instances)


def _check_alike(file, shape, other, other_shape, *, resize):
    if shape[2] != other_shape[2]:
        kinds = {1: "grey", 3: "RGB"}
        raise ValueError(
            f"{file} is {kinds[shape[2]]} and {other} is {kinds[other_shape[2]]}. Convert either, "
            "so that all are alike."
        )
    if not resize and shape != other_shape:
        raise ValueError(
            f"{file} has {_size(shape)} and {other} {_size(other_shape)}. Images must have one "
            "size: give `size`, and they are resized to it."
        )


def _size(shape):
    return f"{shape[0]} x {shape[1]} pixels (height x width)"


def _values(labels):
    return np.flatnonzero(np.bincount(labels.ravel())).tolist()


def _listed(values):
    return f"{list(values[:10])}{' and more' * (len(values) > 10)}"


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
        if is_mixed or not {*range(count), *([_WHITE] * bool(whites))}.issuperset(found):
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
    came = f"{file} holds the values {_listed(found)}."
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


def _card(folder, samples, names, ignore_class):
    counts = _counts(sample.split for sample in samples)
    by = "split.csv" if (folder / "split.csv").is_file() else "the hash of the name"
    return Card(
        title=f"{folder.resolve().name}, a folder of the user's own",
        classes="; ".join(f"{i}: {name}" for i, name in enumerate(names)),
        terms="Those of whoever made the images: they are not known here.",
        citation="Whoever made the images.",
        address=str(folder.resolve()),
        ignore_class=ignore_class,
        notes=f"Images are split by {by}: {_told(counts)}. They are scaled by the range of "
        "their type.",
    )


# From files to arrays


def _read(file, allowed):
    """The pixels of a file, `(height, width)` or `(height, width, 3)`, if its kind is allowed."""
    content = file.read_bytes()
    opener = _open_png if file.suffix.lower() == ".png" else _open_tiff
    with _naming(file):
        kind, decode = opener(content)
    if kind not in allowed:
        raise ValueError(
            f"{file} is of the kind: {kind}. Allowed in {file.parent}: {', '.join(allowed)}. "
            "Convert it."
        )
    with _naming(file):
        return decode()


@contextmanager
def _naming(file):
    try:
        yield
    except Exception as error:  # readers meet damage with errors of many kinds
        raise ValueError(
            f"{file} cannot be read ({error}). If it is damaged or cut short, put a sound one in "
            "its place; if not, save it as PNG or as TIFF without compression."
        ) from error


def _open_png(content):
    """The kind of a PNG, and the function that decodes it."""
    from PIL import Image

    image = Image.open(io.BytesIO(content), formats=("PNG",))
    bits, colour = content[24:26]  # The header has a fixed place. Pillow does not give the bits.
    colours = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
    kind = f"{bits}-bit {colours[colour]}"
    if kind == "16-bit RGB":
        return kind, lambda: _decode_rgb16(content)
    dtype = np.uint16 if bits == 16 else np.uint8  # Older Pillows give int32 for 16 bits.
    return kind, lambda: np.asarray(image).astype(dtype)


def _decode_rgb16(content):
    """A PNG of 16-bit colours, of which Pillow, and so imageio and scikit-image, keep 8 bits.

    Pillow is told to take the high byte of each number, and then the low one: the names are of
    the two byte orders in which it finds its 8 bits.
    """
    from PIL import Image

    def decode(order):
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.tile = [(*tile[:3], order) for tile in image.tile]
            return np.asarray(image).astype(np.uint16)

    return decode("RGB;16B") * 256 + decode("RGB;16L")


def _open_tiff(content):
    """The kind of a TIFF, and the function that decodes it."""
    import tifffile

    pages = tifffile.TiffFile(io.BytesIO(content)).pages
    page = pages[0]
    colours = {
        ("MINISBLACK", 1): "grey",
        ("MINISWHITE", 1): "grey with 0 as white",
        ("RGB", 3): "RGB",
        ("PALETTE", 1): "palette",
    }
    meaning = getattr(page.photometric, "name", page.photometric)
    colour = colours.get((meaning, page.samplesperpixel))
    colour = colour or f"{meaning}, {page.samplesperpixel} channels"
    number = {1: "", 2: "signed ", 3: "float "}.get(page.sampleformat, "unusual ")
    kind = f"{page.bitspersample}-bit {number}{colour}"
    if len(pages) > 1 or page.axes not in ("YX", "YXS", "SYX"):
        kind = f"stack of {len(pages)} pages"
    return kind, lambda: _decode_tiff(page, content)


def _decode_tiff(page, content):
    from PIL import Image

    try:
        pixels = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        # tifffile leaves LZW and others to a package that need not be there. Pillow knows them,
        # but keeps 8 bits of 16-bit colours.
        with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
            pixels = np.asarray(image)
        if (pixels.dtype, pixels.shape) != (page.dtype, page.shape):
            raise
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels

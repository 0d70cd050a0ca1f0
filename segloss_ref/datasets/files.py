"""A folder of the user's own as files: which belong together, and what its tables say."""

import csv
import hashlib
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from segloss_ref.checks import VOID, did_you_mean
from segloss_ref.datasets.base import SPLITS, position, split_by_share
from segloss_ref.datasets.decoding import SUFFIXES, is_known, stem

_PARTS = ("images", "masks", "instances")
_TABLES = ("classes.txt", "colors.csv", "split.csv")
_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
# What tools write after the name of an image when they write its labels.
_ENDINGS = tuple(
    mark + ending
    for mark in "_-"
    for ending in ("cp_masks", "masks", "mask", "labels", "label", "segmentation", "seg", "gt")
)
_BACKGROUND = ("background", "bg", "back ground")


class Sample(NamedTuple):
    """The files of one image; `mask` or `instances` may be `None`, but not both."""

    name: str
    split: str
    image: Path
    mask: Path | None
    instances: Path | None


def fingerprint(path: str | PathLike[str]) -> str:
    """Returns a SHA-256 of all that `load_folder` reads, for the record of an experiment.

    It is that of the lines which `sha256sum` writes for these files, sorted by their paths in the
    folder: `images/`, `masks/`, `instances/`, `classes.txt`, `colors.csv` and `split.csv`. Other
    files do not count.

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
    total = hashlib.sha256()
    for name, file in _all_files(Path(path)):
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{digest}  {name}\n".encode())
    return total.hexdigest()


def stamp(path: str | PathLike[str]) -> str:
    """Returns what changes when a file of the folder does: a quick stand-in for `fingerprint`.

    It reads no file, but the names, sizes and times of those that `fingerprint` reads. It is for
    one process, to notice that data have to be loaded anew; a copy of the folder has another one.

    Args:
        path: The folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError, FileNotFoundError: As `fingerprint`.

    Example:
        >>> stamp("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: There is no folder /.../no/such/folder.
    """
    files = [(name, *signature(file)) for name, file in _all_files(Path(path))]
    return hashlib.sha256(repr(files).encode()).hexdigest()


def signature(file: Path) -> tuple[int, int, int, int]:
    """What tells a file from another one that comes to have its name."""
    stat = file.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _all_files(folder):
    """All files that count, sorted by their names in the folder."""
    files = [file for part in _files(folder).values() for file in part.values()]
    files += [folder / table for table in _TABLES if (folder / table).is_file()]
    return sorted((_name(file.relative_to(folder).as_posix()), file) for file in files)


# From a folder to samples


def samples_of(folder: Path) -> list[Sample]:
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
    images = _image_files(folder / "images")
    files = {part: _image_files(folder / part, images) for part in _PARTS[1:]}
    files = {"images": images, **files}
    if not files["images"]:
        raise FileNotFoundError(
            f"There are no images in {folder / 'images'}: put PNG, TIFF, JPEG or NIfTI files there."
        )
    if not (files["masks"] or files["instances"]):
        raise FileNotFoundError(
            f"There are no masks in {folder / 'masks'}, and none in {folder / 'instances'}: one of "
            "them must hold a PNG, TIFF or NIfTI file for each image, called as the image is."
        )
    return files


def _image_files(folder, images=None):
    """Files by name. Where `images` are given, an ending such as `_mask` may follow the name."""
    files = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.name.startswith(".") or file.name.lower() in ("thumbs.db", "desktop.ini"):
            continue
        _check_name(file)
        if not is_known(file) or not file.is_file():
            raise ValueError(
                f"{file} is no file of {', '.join(SUFFIXES)}. Convert it, or move it out of "
                f"{folder}."
            )
        name = _partner(_name(stem(file)), images)
        other = files.setdefault(name, file)
        if other is not file:
            raise ValueError(
                f"{other} and {file} have one name, {name!r}: which belongs to the "
                "other files of that name? Rename or remove one."
            )
    return files


def _check_name(file):
    try:
        file.name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"A file in {file.parent} has a name that is not in UTF-8: {file.name!a}. Rename it."
        ) from error


def _partner(name, images):
    """The name of the image that a file of labels belongs to."""
    if images is None or name in images:
        return name
    shorter = [name[: -len(end)] for end in _ENDINGS if name.lower().endswith(end)]
    return next((short for short in shorter if short in images), name)


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
    if not table.is_file():
        return _hashed_splits(table, images)
    split_of = _read_splits(table, images)
    counts = told(split_of.values())
    if missing := [split for split in SPLITS if split not in split_of.values()]:
        raise ValueError(
            f"{table.parent} has no image for the split {missing[0]!r}: of {len(images)} images "
            f"there are {counts}. Give it rows in {table}."
        )
    return split_of


def _hashed_splits(table, images):
    """By the hash of each name alone; by the order of the hashes, where that leaves one empty."""
    if len(images) < len(SPLITS):
        raise ValueError(
            f"{table.parent} must have an image for each of {', '.join(SPLITS)}. "
            f"Received: {len(images)} in all. Add images."
        )
    split_of = {name: split_by_share(name, _SHARES) for name in images}
    if set(split_of.values()) == set(SPLITS):
        return split_of
    few = max(1, round(_SHARES["test"] * len(images)))
    splits = ["train"] * (len(images) - 2 * few) + ["validation"] * few + ["test"] * few
    return dict(zip(sorted(images, key=position), splits, strict=True))


def told(splits: Iterable[str]) -> str:
    """Counts of the splits as words, for messages."""
    counts = Counter(splits)
    return ", ".join(f"{counts[split]} for {split}" for split in SPLITS)


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


# Tables


def classes_of(folder: Path, *, has_masks: bool) -> tuple[tuple[str, ...] | None, int | None]:
    """The lines of `classes.txt`, or `None`; and the class that is background, or `None`."""
    file = folder / "classes.txt"
    if not file.is_file():
        return None, 0
    names = tuple(line.strip() for line in _text(file).rstrip().splitlines())
    is_thing = bool(names) and names[0].startswith("!")
    if is_thing:
        names = (names[0].removeprefix("!").strip(), *names[1:])
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise ValueError(
            f"{file} must name two classes or more, one a line, each once and none empty: line 1 "
            f"is the name of class 0. Received: {listed(names)}"
        )
    if len(names) > 2 and not has_masks:
        raise ValueError(
            f"{file} must name two classes where there is no {folder / 'masks'}: masks are "
            f"instances > 0. Received: {listed(names)}"
        )
    for i, name in enumerate(names[1:], start=1):
        if name.strip("_ ").lower() in _BACKGROUND:
            raise ValueError(
                f"{file}, line {i + 1}: the background must be class 0, in line 1. Received: "
                f"{name!r} as class {i}. Number the classes so, or give it another name."
            )
    return names, None if is_thing else 0


def colours_of(folder: Path, names: Sequence[str]) -> dict[tuple[int, int, int], int] | None:
    """The classes of colours in `colors.csv`: (red, green, blue) -> class; or `None`."""
    table = folder / "colors.csv"
    if not table.is_file():
        return None
    rows = csv.DictReader(io.StringIO(_text(table)))
    if rows.fieldnames != ["red", "green", "blue", "class"]:
        raise ValueError(
            f"{table} must begin with the line red,green,blue,class. Received: {rows.fieldnames}"
        )
    colours = {}
    for row in rows:
        where = f"{table}, line {rows.line_num}:"
        colour = tuple(_whole(row[key], 255) for key in ("red", "green", "blue"))
        if None in colour:
            raise ValueError(f"{where} a colour must be three numbers of 0 to 255. Received: {row}")
        if colour in colours:
            raise ValueError(f"{where} the colour {colour} has a row already. Remove one.")
        colours[colour] = _class_of(row["class"], names, where)
    if not colours:
        raise ValueError(f"{table} must have a row for each colour. Received: none")
    return colours


def _whole(text, highest):
    """A number of 0 to `highest` that is written in digits, or `None`."""
    text = (text or "").strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= 9
    return int(text) if is_number and int(text) <= highest else None


def _class_of(text, names, where):
    """A class by its name or its number; `ignore` is no class."""
    text = (text or "").strip()
    if text in names:
        return names.index(text)
    if text == "ignore":
        return VOID
    number = _whole(text, len(names) - 1)
    if number is None:
        raise ValueError(
            f"{where} class must be one of {', '.join(names)}, its number, or ignore. "
            f"Received: {text!r}{did_you_mean(text, names)}"
        )
    return number


def _text(file):
    try:
        return file.read_text(encoding="utf-8-sig")  # Windows begins such files with a mark.
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8 ({error}). Save it as UTF-8 text.") from error


def listed(values: Sequence[object]) -> str:
    """Names as words, for messages."""
    return f"{list(values[:10])}{' and more' * (len(values) > 10)}"

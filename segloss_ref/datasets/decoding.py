"""From files to arrays: what a file says of itself is honoured, or the file is refused by name.

The header of a file is read first. It gives the file's *kind*, such as `"8-bit RGB"`, which the
caller allows or not, and its size, which has a limit. Only then are pixels decoded.
"""

import io
import re
import struct
from collections.abc import Callable, Collection
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segloss_ref.extras import require

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".nii", ".nii.gz")

# A file of more pixels is refused before it is decoded: a few bytes can say that they are many.
MAX_PIXELS = 2**28

VOLUME = "NIfTI volume"
_PALETTES = tuple(f"{bits}-bit palette" for bits in (1, 2, 4, 8))
IMAGES = ("8-bit grey", "16-bit grey", "8-bit RGB", "16-bit RGB", "JPEG grey", "JPEG RGB", VOLUME)
INSTANCES = (
    "8-bit grey",
    "16-bit grey",
    "32-bit grey",
    "16-bit signed grey",
    "32-bit signed grey",
    *_PALETTES,
    VOLUME,
)
# A PNG of 2 or 4 bits of grey is not among them: such greys stand for shares of white, so that
# 1 of 15 is 17 of 255, and readers differ in which of the two they give.
MASKS = ("1-bit grey", *INSTANCES)
COLOURS = ("8-bit RGB",)


class Picture(NamedTuple):
    """A file whose header has been read.

    `full` is the number that stands for white, and `None` in a volume, which has no such number.
    `spacing` is the size of a voxel, `None` in pictures; `affine` is where a volume lies.
    """

    kind: str
    shape: tuple[int, ...]
    decode: Callable[[], np.ndarray]
    full: int | None = None
    spacing: tuple[float, ...] | None = None
    affine: np.ndarray | None = None


def stem(file: Path) -> str:
    """The name of a file without its suffix; `.nii.gz` is one suffix."""
    name = file.name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else file.stem


def is_known(file: Path) -> bool:
    """Whether files of this ending can be read."""
    return file.name.lower().endswith(SUFFIXES)


def read(file: Path, allowed: Collection[str]) -> tuple[np.ndarray, Picture]:
    """The pixels of a file, `(*spatial)` or `(*spatial, 3)`, and its `Picture`."""
    with _naming(file):
        picture = _opened(file)
    if picture.kind not in allowed:
        raise ValueError(
            f"{file} is of the kind: {picture.kind}. Allowed in {file.parent}: "
            f"{', '.join(allowed)}. {_advice(picture.kind)}"
        )
    pixels = int(np.prod(picture.shape, dtype=object))
    if pixels > MAX_PIXELS:
        raise ValueError(
            f"{file} says that it has {' x '.join(map(str, picture.shape))} pixels, more than the "
            f"{MAX_PIXELS:,} that are read. Cut it into tiles, or make it smaller."
        )
    with _naming(file):
        return picture.decode(), picture


def _advice(kind):
    if kind.startswith("JPEG"):
        return "JPEG does not keep labels: save them as PNG or TIFF, from their source."
    return "Convert it."


@contextmanager
def _naming(file):
    try:
        yield
    except ModuleNotFoundError:
        raise
    except Exception as error:  # readers meet damage with errors of many kinds
        raise ValueError(
            f"{file} cannot be read ({error}). If it is damaged or cut short, put a sound one in "
            "its place; if not, save it as PNG or as TIFF without compression."
        ) from error


def _opened(file):
    name = file.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _open_nifti(file)
    content = file.read_bytes()
    if name.endswith(".png"):
        return _open_png(content)
    return (_open_jpeg if name.endswith((".jpg", ".jpeg")) else _open_tiff)(content)


def _turned(pixels, orientation):
    """Pixels as they are to be seen; `orientation` is 1 to 8, as cameras write it (EXIF, TIFF)."""
    if orientation not in range(1, 9):
        raise ValueError(f"its orientation must be 1 to 8. Received: {orientation}")
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    # Of 1 to 4 what is mirrored left to right, and upside down; 5 to 8 are these, transposed.
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


# PNG

_PNG_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


def _open_png(content):
    # Pillow's class, and not `Image.open`: that has a limit of its own, of other words.
    image = require("PIL.PngImagePlugin", extra="data").PngImageFile(io.BytesIO(content))
    bits, colour = content[24:26]  # The header has a fixed place. Pillow does not give the bits.
    kind = f"{bits}-bit {_PNG_COLOURS[colour]}"
    chunks = _png_chunks(content)
    if b"acTL" in chunks:
        kind = "animated PNG"
    elif b"tRNS" in chunks and colour != 3:  # in a palette it is a part of the colours
        kind += " with a transparent colour"

    def decode():
        if kind == "16-bit RGB":
            pixels = _decode_rgb16(content)
        else:  # Older Pillows give int32 for 16 bits.
            pixels = np.asarray(image).astype(np.uint16 if bits == 16 else np.uint8, copy=False)
        if b"sBIT" in chunks and colour != 3:
            _check_significant(pixels, bits, chunks[b"sBIT"])
        return _turned(pixels, image.getexif().get(_ORIENTATION, 1))

    return Picture(kind, image.size[::-1], decode, 2**bits - 1)


def _png_chunks(content):
    """The chunks of a PNG before its pixels, by their names; and that of EXIF, wherever it is."""
    chunks, at = {}, 8
    while at + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        if name == b"IDAT":
            break
        chunks[name] = content[at + 8 : at + 8 + size]
        at += 12 + size
    return chunks


def _check_significant(pixels, bits, significant):
    """Refuses samples that are not scaled to the range of their type, as PNG demands it.

    12 bits in 16 must stand in the upper bits. The lower ones then are 0, or repeat the upper.
    """
    for channel, kept in zip(np.atleast_3d(pixels).transpose(2, 0, 1), significant):
        spare = bits - kept
        if not 0 < spare < bits:
            continue
        low = channel & (2**spare - 1)
        if low.any() and not np.array_equal(channel, _replicated(channel >> spare, kept, bits)):
            raise ValueError(
                f"it says that {kept} of {bits} bits are significant (sBIT), but its numbers are "
                "not scaled to the upper bits: scale them, or leave sBIT out"
            )


def _replicated(samples, kept, bits):
    """Samples of `kept` bits in `bits`, the lower ones filled with the upper ones again."""
    wide = samples.astype(np.uint32)
    total, filled = wide << (bits - kept), kept
    while filled < bits:
        shift = bits - kept - filled
        total |= wide << shift if shift >= 0 else wide >> -shift
        filled += kept
    return total


def _decode_rgb16(content):
    """A PNG of 16-bit colours, of which Pillow, and so imageio and scikit-image, keep 8 bits.

    Pillow is told to take the high byte of each number, and then the low one: the names are of
    the two byte orders in which it finds its 8 bits.
    """
    png = require("PIL.PngImagePlugin", extra="data").PngImageFile

    def decode(order):
        with png(io.BytesIO(content)) as image:
            image.tile = [(*tile[:3], order) for tile in image.tile]
            return np.asarray(image).astype(np.uint16)

    return decode("RGB;16B") * 256 + decode("RGB;16L")


# JPEG


def _open_jpeg(content):
    image = require("PIL.JpegImagePlugin", extra="data").JpegImageFile(io.BytesIO(content))
    kind = {"L": "JPEG grey", "RGB": "JPEG RGB"}.get(image.mode, f"JPEG {image.mode}")

    def decode():
        return _turned(np.asarray(image), image.getexif().get(_ORIENTATION, 1))

    return Picture(kind, image.size[::-1], decode, 255)


# TIFF

_ORIENTATION, _NODATA, _JPEG_COMPRESSIONS = 274, 42113, (6, 7, 34892)


def _open_tiff(content):
    tiff = require("tifffile", extra="data").TiffFile(io.BytesIO(content))
    page = tiff.pages[0]
    kind = f"{page.bitspersample}-bit {_tiff_number(page)}{_tiff_colour(page)}"
    if page.compression in _JPEG_COMPRESSIONS:
        kind += ", compressed as JPEG"
    if _NODATA in page.tags:
        kind += " with a value for missing data"
    several = len(tiff.pages) > 1 or tiff.series[0].size != page.size
    if several or page.axes not in ("YX", "YXS", "SYX"):
        kind = f"stack of {max(len(tiff.pages), tiff.series[0].size // page.size)} pages"
    full = _significant_range(page)

    def decode():
        pixels = _decode_tiff(page, content)
        if full < 2**page.bitspersample - 1 and pixels.size and pixels.max() > full:
            raise ValueError(f"it says that {full} is its highest number. Received: {pixels.max()}")
        return pixels

    return Picture(kind, (page.imagelength, page.imagewidth), decode, full)


def _tiff_number(page):
    return {1: "", 2: "signed ", 3: "float "}.get(page.sampleformat, "unusual ")


def _tiff_colour(page):
    colours = {
        ("MINISBLACK", 1): "grey",
        ("MINISWHITE", 1): "grey with 0 as white",
        ("RGB", 3): "RGB",
        ("PALETTE", 1): "palette",
    }
    meaning = getattr(page.photometric, "name", page.photometric)
    colour = colours.get((meaning, page.samplesperpixel))
    alpha = {1: " with premultiplied alpha", 2: " with alpha"}
    extra = "".join(alpha.get(int(sample), "") for sample in page.extrasamples)
    return colour or f"{meaning}, {page.samplesperpixel} channels{extra}"


def _significant_range(page):
    """The number of white: what the bits hold, or fewer, where OME-XML says so."""
    said = re.search(r'SignificantBits="(\d+)"', page.description or "")
    bits = page.bitspersample if said is None else min(int(said[1]), page.bitspersample)
    return 2**bits - 1


def _decode_tiff(page, content):
    orientation = page.tags.get(_ORIENTATION)
    orientation = 1 if orientation is None else int(orientation.value)
    try:
        pixels = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        # tifffile leaves LZW and others to a package that need not be there. Pillow knows them,
        # but keeps 8 bits of 16-bit colours.
        pixels = _decode_tiff_by_pillow(content)
        shape = _turned(np.empty(page.shape[:2]), orientation).shape + page.shape[2:]
        if (pixels.dtype, pixels.shape) != (page.dtype, shape):
            raise
        return pixels
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    return _turned(pixels.astype(np.uint8) if pixels.dtype == bool else pixels, orientation)


def _decode_tiff_by_pillow(content):
    """The pixels, which Pillow turns by itself."""
    with require("PIL.TiffImagePlugin", extra="data").TiffImageFile(io.BytesIO(content)) as image:
        return np.asarray(image)


# NIfTI


def _open_nifti(file):
    """A volume with the axes depth, height, width: from foot to head, back to front, left to right.

    Of files with other axes these are turned and mirrored.
    """
    return _picture_of(require("nibabel", extra="data").load(file))


def decode_volume(content: bytes) -> np.ndarray:
    """The voxels of a NIfTI file of three axes that is in memory, turned as those of a file are."""
    image = require("nibabel", extra="data").Nifti1Image.from_bytes(content)
    return _picture_of(image).decode()


def _picture_of(image):
    nibabel = require("nibabel", extra="data")
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    kind = VOLUME if len(shape) == 3 else f"NIfTI of {len(shape)} axes"
    if image.get_data_dtype().names or image.get_data_dtype().kind == "c":
        kind = f"NIfTI of {image.get_data_dtype()}"
    turn = nibabel.io_orientation(image.affine)
    affine = image.affine @ nibabel.orientations.inv_ornt_aff(turn, shape[:3])
    spacing = tuple(float(x) for x in nibabel.affines.voxel_sizes(affine)[::-1])

    def decode():
        pixels = np.asarray(image.dataobj).reshape(shape)
        return nibabel.apply_orientation(pixels, turn).transpose(2, 1, 0)

    return Picture(kind, shape, decode, None, spacing, affine)


def affine_of(file: Path) -> np.ndarray:
    """Where a volume lies, after its axes have been turned."""
    return _open_nifti(file).affine

"""What a file says of itself is honoured, or the file is refused by name."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from segloss_ref.datasets import decoding
from segloss_ref.datasets.decoding import IMAGES, INSTANCES, MASKS, read

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)
RGB = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
RGB16 = np.random.default_rng(0).integers(0, 2**16, (11, 7, 3), dtype=np.uint16)
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
PASSES += [(1, 0, 2, 1)]  # of Adam7: first row and column, steps of rows and columns


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunk(content, name, data):
    """A PNG with one chunk more, right behind its header."""
    return content[:33] + chunk(name, data) + content[33:]


def saved(file, pixels, *chunks, **options):
    Image.fromarray(pixels).save(file, **options)
    for name, data in chunks:
        file.write_bytes(with_chunk(file.read_bytes(), name, data))
    return file


def png_header(bits, colour, shape, *, interlaced=0):
    header = struct.pack(">IIBBBBB", *shape[::-1], bits, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)


def refused(file, *parts, allowed=IMAGES):
    with pytest.raises(ValueError) as caught:
        read(file, allowed)
    for part in (file, *parts):
        assert str(part) in str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "lzw.tif"])
def test_orientation(tmp_path, orientation, suffix):
    """As Pillow turns it; the four corners of the picture differ."""
    pixels = np.kron(np.uint8([[0, 80, 160], [240, 40, 120]]), np.ones((8, 8), np.uint8))
    file = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    if suffix == "tif":
        tifffile.imwrite(file, pixels, extratags=[(274, 3, 1, orientation, True)])
    elif suffix == "lzw.tif":
        Image.fromarray(pixels).save(file, compression="tiff_lzw", tiffinfo={274: orientation})
    else:
        Image.fromarray(pixels).save(file, exif=exif, quality=100)
    plain = Image.fromarray(pixels)
    plain.info["exif"] = exif.tobytes()
    plain.getexif()[274] = orientation
    right = np.asarray(ImageOps.exif_transpose(plain))
    found = read(file, IMAGES)[0]
    assert found.shape == right.shape
    np.testing.assert_allclose(found.astype(int), right, atol=2 if suffix == "jpg" else 0)


def test_an_orientation_that_is_none(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, GREY, extratags=[(274, 3, 1, 9, True)])
    refused(file, "its orientation must be 1 to 8. Received: 9")


def test_interlaced_16_bit_colours(tmp_path):
    rows = b""
    for y, x, down, right in PASSES:
        part = RGB16[y::down, x::right]
        if part.size:
            rows += b"".join(b"\0" + row.astype(">u2").tobytes() for row in part)
    content = png_header(16, 2, RGB16.shape[:2], interlaced=1)
    file = tmp_path / "a.png"
    file.write_bytes(content + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    np.testing.assert_array_equal(read(file, IMAGES)[0], RGB16)


@pytest.mark.parametrize("kept", [10, 12, 8])
def test_significant_bits(tmp_path, kept):
    samples = np.random.default_rng(1).integers(0, 2**kept, (4, 5)).astype(np.uint16)
    sbit = (b"sBIT", bytes([kept]))
    for scaled in (samples << (16 - kept), decoding._replicated(samples, kept, 16)):
        scaled = scaled.astype(np.uint16)
        file = saved(tmp_path / "a.png", scaled, sbit)
        np.testing.assert_array_equal(read(file, IMAGES)[0], scaled)
    refused(saved(tmp_path / "b.png", samples, sbit), f"{kept} of 16 bits", "sBIT")


def test_replicated_bits_reach_white():
    assert decoding._replicated(np.uint16([4095]), 12, 16) == 65535
    assert decoding._replicated(np.uint16([0xABC]), 12, 16) == 0xABCA
    assert decoding._replicated(np.uint16([0b101]), 3, 8) == 0b10110110


def test_significant_bits_of_ome(tmp_path):
    file = tmp_path / "a.tif"
    text = '<OME><Pixels SignificantBits="12"/></OME>'
    tifffile.imwrite(file, GREY.astype(np.uint16) * 200, description=text, metadata=None)
    assert read(file, IMAGES)[1].full == 4095
    tifffile.imwrite(file, GREY.astype(np.uint16) * 300, description=text, metadata=None)
    refused(file, "4095 is its highest number. Received: 5700")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("CMYK", "JPEG CMYK"), ("L", None), ("RGB", None)],
)
def test_jpeg(tmp_path, mode, kind):
    file = tmp_path / "a.jpg"
    smooth = Image.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8)).convert(mode)
    smooth.save(file, quality=100)
    if kind:
        refused(file, f"is of the kind: {kind}")
        return
    found = read(file, IMAGES)[0].astype(int)
    np.testing.assert_allclose(found, np.asarray(smooth), atol=2)
    for allowed in (MASKS, INSTANCES):
        refused(file, "JPEG does not keep labels", allowed=allowed)


@pytest.mark.parametrize(
    ("pixels", "options", "kind"),
    [
        (np.dstack([GREY] * 4), {"photometric": "separated"}, "SEPARATED, 4 channels"),
        (RGB, {"photometric": "cielab"}, "CIELAB, 3 channels"),
        (RGB, {"photometric": "ycbcr"}, "YCBCR, 3 channels"),
        (
            np.dstack([GREY] * 4),
            {"photometric": "rgb", "extrasamples": ["assocalpha"]},
            "RGB, 4 channels with premultiplied alpha",
        ),
        (GREY, {"extratags": [(42113, 2, 2, "0", True)]}, "with a value for missing data"),
        (np.stack([GREY] * 3), {"imagej": True, "metadata": {"axes": "ZYX"}}, "stack of 3 pages"),
    ],
)
def test_kinds_of_tiff_that_are_refused(tmp_path, pixels, options, kind):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, pixels, **options)
    refused(file, kind)


def test_a_tiff_of_12_bits(tmp_path):
    """Packed: tifffile cannot write it, so the tag is changed in a file of 16."""
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, GREY.astype(np.uint16))
    tag = struct.pack("<HHIHH", 258, 3, 1, 16, 0)
    assert file.read_bytes().count(tag) == 1
    file.write_bytes(file.read_bytes().replace(tag, struct.pack("<HHIHH", 258, 3, 1, 12, 0)))
    refused(file, "is of the kind: 12-bit grey")


@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        ([(b"tRNS", b"\0\7")], "8-bit grey with a transparent colour"),
        ([(b"acTL", struct.pack(">II", 2, 0))], "animated PNG"),
    ],
)
def test_kinds_of_png_that_are_refused(tmp_path, chunks, kind):
    refused(saved(tmp_path / "a.png", GREY, *chunks), f"is of the kind: {kind}")


def test_gamma_leaves_the_numbers(tmp_path):
    file = saved(tmp_path / "a.png", GREY, (b"gAMA", struct.pack(">I", 45455)))
    np.testing.assert_array_equal(read(file, IMAGES)[0], GREY)


@pytest.mark.parametrize("dtype", [np.uint32, np.int32, np.int16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_labels_of_many_bits(tmp_path, dtype, byteorder):
    labels = np.array([[0, 7, np.iinfo(np.int16 if dtype == np.int16 else np.int32).max]], dtype)
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, labels, byteorder=byteorder)
    for allowed in (MASKS, INSTANCES):
        np.testing.assert_array_equal(read(file, allowed)[0], labels)
    refused(file, "grey. Allowed in")


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "nii"])
def test_the_size_in_a_header_is_looked_at_first(tmp_path, monkeypatch, suffix):
    file = tmp_path / f"a.{suffix}"
    if suffix == "png":  # 10 GB of pixels in a hundred bytes
        body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        file.write_bytes(png_header(8, 0, (100_000, 100_000)) + body)
    else:
        monkeypatch.setattr(decoding, "MAX_PIXELS", 19)
        if suffix == "nii":
            nifti(file, GREY[..., None])
        elif suffix == "tif":
            tifffile.imwrite(file, GREY)
        else:
            Image.fromarray(GREY).save(file)
    refused(file, f"more than the {decoding.MAX_PIXELS:,} that are read")


def test_a_large_picture_is_read_without_a_warning(tmp_path):
    """Pillow has a limit of its own, at which it warns: below ours."""
    large = np.zeros((9_500, 9_500), np.uint8)
    Image.fromarray(large).save(tmp_path / "a.png", compress_level=1)
    assert read(tmp_path / "a.png", IMAGES)[0].shape == large.shape


def nifti(file, pixels, affine=None):
    nibabel = pytest.importorskip("nibabel", reason="volumes are read by nibabel")
    affine = np.diag([0.5, 1, 2, 1]) if affine is None else affine
    nibabel.Nifti1Image(pixels, affine).to_filename(file)
    return file


VOLUME = np.random.default_rng(2).integers(0, 200, (3, 4, 5)).astype(np.int16)  # x, y, z


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "NII.GZ"])
def test_a_volume(tmp_path, suffix):
    pixels, picture = read(nifti(tmp_path / f"a.{suffix}", VOLUME), IMAGES)
    np.testing.assert_array_equal(pixels, VOLUME.transpose(2, 1, 0))
    assert picture.spacing == (2, 1, 0.5)


def test_a_volume_with_other_axes_is_turned(tmp_path):
    """Its first axis runs from head to foot, the second to the left, the third to the front."""
    affine = np.array([[0, -1.0, 0, 3], [0, 0, 1.5, 0], [-2.0, 0, 0, 9], [0, 0, 0, 1]])
    pixels, picture = read(nifti(tmp_path / "a.nii", VOLUME, affine), IMAGES)
    np.testing.assert_array_equal(pixels, VOLUME[::-1, ::-1].transpose(0, 2, 1))
    assert picture.spacing == (2, 1.5, 1)
    assert (np.diag(picture.affine)[:3] > 0).all()


def test_a_series_of_volumes_is_refused(tmp_path):
    refused(nifti(tmp_path / "a.nii", np.stack([VOLUME] * 2, axis=-1)), "NIfTI of 4 axes")
    last = read(nifti(tmp_path / "b.nii", VOLUME[..., None]), IMAGES)[0]
    assert last.shape == (5, 4, 3)


def test_without_nibabel(tmp_path, monkeypatch):
    file = nifti(tmp_path / "a.nii", VOLUME)
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "segloss_ref\[data\]"'):
        read(file, IMAGES)

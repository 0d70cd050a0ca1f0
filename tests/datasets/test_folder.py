"""A folder of the user's own: what is read from it, and what is said of what is wrong in it."""

import hashlib
import pathlib
import struct
import unicodedata
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from segloss_ref.datasets import SPLITS, load_folder
from segloss_ref.datasets.base import position
from segloss_ref.datasets.folder import fingerprint, stamp

# By the hash of the name: b and c are for training, a is for validation, g for testing.
NAMES = "abcg"
SHAPE = (4, 5)
GREY = np.arange(20, dtype=np.uint8).reshape(SHAPE)
MASK = (GREY % 3 == 0).astype(np.uint8)
RGB16 = np.random.default_rng(0).integers(0, 2**16, (*SHAPE, 3), dtype=np.uint16)


@pytest.fixture
def mine(tmp_path):
    """A sound data set: four grey images of 8 bits, with masks of 0 and 1."""
    for name in NAMES:
        write(tmp_path / f"images/{name}.png", GREY)
        write(tmp_path / f"masks/{name}.png", MASK)
    return tmp_path


def write(file, pixels, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() == ".png":
        Image.fromarray(pixels).save(file, "PNG")
    else:
        tifffile.imwrite(file, pixels, **options)


def write_masks(folder, values, part="masks"):
    """A mask for each name, that holds the values of its name, or those of "all"."""
    for name in NAMES:
        pixels = np.zeros(SHAPE, np.uint16 if max(values.get(name, values["all"])) > 255 else "u1")
        pixels[0, : len(values.get(name, values["all"]))] = values.get(name, values["all"])
        write(folder / f"{part}/{name}.png", pixels)


def png_of_rgb16(pixels):
    """A PNG by its specification, which uses each of the five filters; Pillow writes none."""
    size = pixels.shape[1] * 6
    rows = np.zeros((len(pixels) + 1, 6 + size), np.int64)  # of bytes, with zeros above and left
    rows[1:, 6:] = np.frombuffer(pixels.astype(">u2").tobytes(), np.uint8).reshape(-1, size)
    content = b""
    for y, row in enumerate(rows[1:, 6:]):
        left, above, corner = rows[y + 1, :-6], rows[y, 6:], rows[y, :-6]
        guess = left + above - corner
        near = [abs(guess - left), abs(guess - above), abs(guess - corner)]
        paeth = np.choose(np.argmin(near, axis=0), [left, above, corner])
        predicted = [0, left, above, (left + above) // 2, paeth][y % 5]
        content += bytes([y % 5, *((row - predicted) % 256).tolist()])
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(content),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


# What is read


def test_a_folder(mine):
    data = load_folder(str(mine), "train")
    assert data.names == ("c", "b")  # in the order of their hashes, 2e.. and 3e..
    np.testing.assert_array_equal(data.images, [GREY[..., None] / np.float32(255)] * 2)
    np.testing.assert_array_equal(data.masks, [MASK] * 2)
    assert data.instances is None
    assert data.class_names == ("background", "foreground")
    assert data.card.ignore_class is None
    assert data.card.title.startswith(mine.name)
    assert data.card.address == str(mine)
    assert "2 for train, 1 for validation, 1 for test" in data.card.notes
    assert load_folder(mine, "train", limit=1).names == ("c",)
    assert [load_folder(mine, split).names for split in SPLITS[1:]] == [("a",), ("g",)]


def test_a_relative_path(mine, monkeypatch):
    monkeypatch.chdir(mine)
    assert load_folder(".", "train").card.title.startswith(mine.name)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (GREY, {}),
        (GREY.astype(np.uint16) * 3000, {}),
        (GREY.astype(np.uint16) * 3000, {"byteorder": ">"}),
        (np.stack([GREY] * 3, axis=-1), {"photometric": "rgb"}),
        (RGB16, {"photometric": "rgb"}),
        (RGB16, {"photometric": "rgb", "compression": "deflate", "predictor": True}),
        (np.moveaxis(RGB16, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
    ],
)
def test_tiff(mine, pixels, options):
    for name in NAMES:
        (mine / f"images/{name}.png").unlink()
        write(mine / f"images/{name}.tif", pixels, **options)
    pixels = np.moveaxis(pixels, 0, -1) if len(pixels) == 3 else pixels
    expected = (pixels / np.iinfo(pixels.dtype).max).reshape(*SHAPE, -1)
    np.testing.assert_allclose(load_folder(mine, "test").images, [expected], rtol=1e-6)


@pytest.mark.parametrize(
    "pixels", [GREY, GREY.astype(np.uint16) * 3000, np.stack([GREY] * 3, axis=-1)]
)
def test_lzw_is_read_by_pillow(mine, pixels):
    (mine / "images/g.png").unlink()
    Image.fromarray(pixels).save(mine / "images/g.tif", compression="tiff_lzw")
    expected = (pixels / np.iinfo(pixels.dtype).max).reshape(*SHAPE, -1)
    np.testing.assert_allclose(load_folder(mine, "test").images, [expected], rtol=1e-6)


def test_png_of_16_bits(mine):
    write(mine / "images/g.png", (GREY.astype(np.uint16) * 3000))
    image = load_folder(mine, "test").images[0, ..., 0]
    np.testing.assert_allclose(image, GREY * (3000 / 65535), rtol=1e-6)
    assert image.dtype == np.float32


def test_png_of_16_bit_colours(mine):
    """Pillow, imageio and scikit-image would keep 8 of the 16 bits."""
    pixels = np.random.default_rng(1).integers(0, 2**16, (11, 7, 3), dtype=np.uint16)
    (mine / "images/g.png").write_bytes(png_of_rgb16(pixels))
    write(mine / "masks/g.png", np.zeros((11, 7), np.uint8))
    np.testing.assert_array_equal(load_folder(mine, "test").images, [pixels / np.float32(65535)])


def test_masks_of_one_bit_and_of_palettes(mine):
    Image.fromarray(MASK == 1).save(mine / "masks/b.png")
    assert (mine / "masks/b.png").read_bytes()[24] == 1
    palette = Image.frombytes("P", SHAPE[::-1], MASK.tobytes())
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.save(mine / "masks/c.png", bits=2)
    (mine / "masks/g.png").unlink()
    write(mine / "masks/g.tif", MASK == 1, photometric="minisblack")
    np.testing.assert_array_equal(load_folder(mine, "train").masks, [MASK] * 2)
    np.testing.assert_array_equal(load_folder(mine, "test").masks, [MASK])


def test_black_and_white_is_decided_on_all_masks(mine):
    write_masks(mine, {"all": [0, 255], "c": [0]})
    data = load_folder(mine, "train")
    assert data.masks[1, 0, :2].tolist() == [0, 1]
    assert data.masks[0].max() == 0
    assert data.card.ignore_class is None


@pytest.mark.parametrize(
    ("classes", "values", "expected", "ignored"),
    [
        ("sky\nroad\ncar\n", {"all": [0, 1, 2]}, [0, 1, 2], None),
        ("sky\nroad\ncar\n", {"all": [0, 1, 2], "a": [255]}, [0, 1, 2], 255),
        ("sky\nroad\ncar\n", {"all": [0, 2, 255]}, [0, 2, 255], 255),
        ("sky\nroad", {"all": [0, 1, 255]}, [0, 1, 255], 255),
        ("sky\nroad", {"all": [0, 255], "a": [1]}, [0, 255], 255),
        ("sky\nroad", {"all": [0, 255]}, [0, 1], None),
        ("\ufeffsky\r\nÉtang de Berre\r\n\r\n", {"all": [0, 1]}, [0, 1], None),
        ("\n".join(map(str, range(255))), {"all": [0, 254, 255]}, [0, 254, 255], 255),
        ("\n".join(map(str, range(256))), {"all": [0, 254, 255]}, [0, 254, 255], None),
        ("\n".join(map(str, range(300))), {"all": [0, 255, 299]}, [0, 255, 299], None),
    ],
)
def test_classes(mine, classes, values, expected, ignored):
    (mine / "classes.txt").write_text(classes, encoding="utf-8", newline="")
    write_masks(mine, values)
    data = load_folder(mine, "train")
    assert data.masks[0, 0, : len(expected)].tolist() == expected
    assert data.card.ignore_class == ignored
    assert data.class_names == tuple(classes.strip("\ufeff\n\r").splitlines())


def test_instances_alone(mine):
    write_masks(mine, {"all": [0, 7, 40000, 7]}, part="instances")
    for file in (mine / "masks").iterdir():
        file.unlink()
    data = load_folder(mine, "test")
    assert data.instances[0, 0].tolist() == [0, 1, 2, 1, 0]
    np.testing.assert_array_equal(data.masks, data.instances > 0)
    assert data.class_names == ("background", "foreground")
    (mine / "classes.txt").write_text("nothing\ncell\n")
    assert load_folder(mine, "test").class_names == ("nothing", "cell")


def test_instances_and_masks(mine):
    write_masks(mine, {"all": [0, 3]}, part="instances")
    data = load_folder(mine, "test")
    np.testing.assert_array_equal(data.masks, [MASK])
    assert data.instances[0, 0].tolist() == [0, 1, 0, 0, 0]


def test_size(mine):
    """Images of any size become one; labels are taken from their nearest pixel."""
    write(mine / "images/c.png", np.zeros((8, 8), np.uint8))
    write(mine / "masks/c.png", np.eye(8, dtype=np.uint8))
    data = load_folder(mine, "train", size=(2, 4))
    assert data.images.shape == (2, 2, 4, 1)
    # Pixel centres of 2 rows lie on rows 2 and 6 of 8, those of 4 columns on 1, 3, 5, 7.
    np.testing.assert_array_equal(data.masks[0], np.eye(8)[np.ix_([2, 6], [1, 3, 5, 7])])
    np.testing.assert_array_equal(data.masks[1], MASK[np.ix_([1, 3], [0, 1, 3, 4])])


def test_another_image_moves_none(mine):
    before = {split: set(load_folder(mine, split).names) for split in SPLITS}
    for i in range(30):
        write(mine / f"images/new {i}.png", GREY)
        write(mine / f"masks/new {i}.png", MASK)
    after = {split: load_folder(mine, split).names for split in SPLITS}
    for split, (low, high) in zip(SPLITS, [(0, 0.6), (0.6, 0.8), (0.8, 1)]):
        places = [position(name) for name in after[split]]
        assert before[split] < set(after[split])
        assert places == sorted(places)
        assert all(low <= place < high for place in places)
    assert sum(map(len, after.values())) == 34


def test_split_csv_decides(mine):
    (mine / "split.csv").write_bytes(
        b"\xef\xbb\xbfname,split\r\na,train\r\nb,test\r\nc,validation\r\n\r\ng,train\r\n"
    )
    names = {split: load_folder(mine, split).names for split in SPLITS}
    assert names == {"train": ("a", "g"), "validation": ("c",), "test": ("b",)}
    assert "split.csv" in load_folder(mine, "test").card.notes


def test_odd_names(mine):
    accented = "Zellé 3.ome"  # the suffix is what follows the last point
    write(mine / "images" / f"{unicodedata.normalize('NFD', accented)}.PNG", GREY)
    write(mine / "masks" / f"{unicodedata.normalize('NFC', accented)}.TIFF", MASK)
    for file in (".DS_Store", "images/.DS_Store", "images/._a.png", "masks/Thumbs.db", "notes.md"):
        (mine / file).write_bytes(b"no image")
    names = {name for split in SPLITS for name in load_folder(mine, split).names}
    assert names == {*NAMES, unicodedata.normalize("NFC", accented)}


def test_each_file_is_read_once(mine, monkeypatch):
    write_masks(mine, {"all": [0, 3]}, part="instances")
    read, count = pathlib.Path.read_bytes, []

    def counted(file):
        count.append(file.relative_to(mine).as_posix())
        return read(file)

    monkeypatch.setattr(pathlib.Path, "read_bytes", counted)
    load_folder(mine, "train", limit=1)
    masks = [f"masks/{name}.png" for name in NAMES]
    assert sorted(count) == sorted(["images/c.png", "instances/c.png", *masks])


def test_fingerprint(mine):
    (mine / "classes.txt").write_text("a\nb\n")
    (mine / "split.csv").write_text("name,split\n")
    files = sorted(f.relative_to(mine).as_posix() for f in mine.rglob("*.*"))
    assert len(files) == 10
    lines = [f"{hashlib.sha256((mine / f).read_bytes()).hexdigest()}  {f}\n" for f in files]
    first = fingerprint(str(mine))
    assert first == hashlib.sha256("".join(lines).encode()).hexdigest()
    for file in (".DS_Store", "images/Thumbs.db", "notes.md"):
        (mine / file).write_bytes(b"does not count")
    assert fingerprint(mine) == first
    (mine / "masks/a.png").rename(mine / "masks/A.png")
    assert fingerprint(mine) != first
    (mine / "masks/A.png").rename(mine / "masks/a.png")
    assert fingerprint(mine) == first
    (mine / "classes.txt").write_text("a\nc\n")
    assert fingerprint(mine) != first


# What is said of errors


def refused(folder, *parts, split="train", error=ValueError, **options):
    """Loads, and looks for all parts in the message: files by the path, other things as text."""
    with pytest.raises(error) as caught:
        load_folder(folder, split, **options)
    for part in parts:
        assert str(part) in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, "`split` must be one of 'train', 'validation', 'test'. Received: 'val'"),
        ({"limit": 0}, "`limit` must be a whole number, at least 1. Received: 0"),
        ({"size": 0}, "`size` must be a whole number, at least 1. Received: 0"),
        (
            {"seed": -1},
            "`seed` must be a whole number, at least 0",
        ),
    ],
)
def test_wrong_arguments(mine, arguments, message):
    refused(mine, message, **arguments)


def test_no_such_folder(tmp_path):
    refused(tmp_path / "not", f"no folder {tmp_path / 'not'}", error=FileNotFoundError)
    with pytest.raises(FileNotFoundError, match="no folder"):
        fingerprint(tmp_path / "not")


def test_no_images(tmp_path):
    refused(tmp_path, f"no images in {tmp_path / 'images'}", error=FileNotFoundError)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/.DS_Store").touch()
    refused(tmp_path, f"no images in {tmp_path / 'images'}", error=FileNotFoundError)


def test_no_masks(tmp_path):
    write(tmp_path / "images/a.png", GREY)
    wanted = [f"no masks in {tmp_path / 'masks'}", tmp_path / "instances"]
    refused(tmp_path, *wanted, error=FileNotFoundError)


@pytest.mark.parametrize("file", ["images/c.png", "masks/c.png", "images/c.tif"])
@pytest.mark.parametrize("part", [0, 0.3, 0.7])
def test_damaged_files(mine, file, part):
    if file.endswith("tif"):
        (mine / "images/c.png").unlink()
        write(mine / file, GREY, compression="deflate", rowsperstrip=1)
    content = (mine / file).read_bytes()
    # A small PNG's pixels end before its last chunk: cut it within them.
    end = content.find(b"IEND") if file.endswith("png") else len(content)
    (mine / file).write_bytes(content[: int(part * end)])
    refused(mine, f"{mine / file} cannot be read", "put a sound one in its place")


def test_a_flipped_bit(mine):
    content = bytearray((mine / "images/c.png").read_bytes())
    content[content.find(b"IDAT") + 12] ^= 4
    (mine / "images/c.png").write_bytes(content)
    refused(mine, f"{mine / 'images/c.png'} cannot be read")


def test_a_suffix_that_is_not_so(mine):
    (mine / "images/c.png").unlink()
    Image.fromarray(GREY).save(mine / "images/c.tif", "PNG")
    refused(mine, f"{mine / 'images/c.tif'} cannot be read")


def test_lzw_of_16_bit_colours(mine):
    """Pillow would keep 8 of the bits, and nothing else that must be there knows LZW."""
    (mine / "images/g.png").unlink()
    write(mine / "images/g.tif", RGB16, photometric="rgb")
    content = (mine / "images/g.tif").read_bytes()
    # Tag 259, a short, one of it, with the value 1: not compressed. 5 is LZW.
    tag = struct.pack("<HHII", 259, 3, 1, 1)
    assert content.count(tag) == 1
    (mine / "images/g.tif").write_bytes(content.replace(tag, struct.pack("<HHII", 259, 3, 1, 5)))
    refused(mine, mine / "images/g.tif", "as TIFF without compression", split="test")


@pytest.mark.parametrize("part", ["masks", "instances"])
def test_files_without_partner(mine, part):
    if part == "instances":
        write_masks(mine, {"all": [0, 3]}, part="instances")
    file = mine / part / "b.png"
    file.rename(mine / part / "x.png")
    refused(mine, f"{mine / part / 'x.png'} has no file of its name in {mine / 'images'}.")
    (mine / part / "x.png").unlink()
    refused(mine, f"{mine / 'images/b.png'} has no file of its name in {mine / part}. Add {file}")


@pytest.mark.parametrize("part", ["images", "masks"])
def test_two_files_of_one_name(mine, part):
    write(mine / f"{part}/b.tif", GREY)
    refused(mine, f"{mine / part / 'b.png'} and {mine / part / 'b.tif'} have one name, 'b'")


@pytest.mark.parametrize("file", ["images/b.gif", "masks/b.npy", "images/more.png/", "masks/b"])
def test_other_files(mine, file):
    if file.endswith("/"):
        (mine / file).mkdir()
    else:
        (mine / file).touch()
    refused(
        mine,
        f"{mine / file} is no file of .png, .tif, .tiff, .jpg, .jpeg, .nii, .nii.gz. Convert it",
    )


@pytest.mark.parametrize("part", ["masks", "instances"])
def test_labels_of_another_size(mine, part):
    write_masks(mine, {"all": [0, 3]}, part="instances")
    write(mine / f"{part}/b.png", MASK.T)
    sizes = ["5 x 4 pixels (height x width)", "4 x 5 pixels"]
    refused(mine, mine / part / "b.png", mine / "images/b.png", *sizes, size=2)


def test_images_of_two_sizes(mine):
    write(mine / "images/b.png", GREY.T)
    write(mine / "masks/b.png", MASK.T)
    refused(mine, f"{mine / 'images/c.png'} has 4 x 5", mine / "images/b.png", "give `size`")


@pytest.mark.parametrize("size", [None, 2])
def test_grey_and_colour(mine, size):
    write(mine / "images/b.png", np.stack([GREY] * 3, axis=-1))
    wanted = f"{mine / 'images/c.png'} is grey and {mine / 'images/b.png'} is RGB"
    refused(mine, wanted, size=size)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"all": [0, 1], "a": [0, 1, 255]}, ["a.png holds the values [0, 1, 255]", "classes.txt"]),
        ({"all": [0, 1], "a": [0, 2]}, ["a.png holds the values [0, 2]", "classes.txt"]),
        ({"all": [0, 1], "a": [0, 128, 255]}, ["a.png holds the values [0, 128, 255]"]),
        ({"all": [0, 1], "a": [0, 65535]}, ["a.png holds the values [0, 65535]"]),
        (
            {"all": [0, 1], "a": [0, 255]},
            ["masks/a.png is black and white", "masks/c.png holds the value 1", "classes.txt"],
        ),
    ],
)
def test_values_without_classes(mine, values, parts):
    """The mask is one for validation: what masks mean is decided on all of them."""
    write_masks(mine, values)
    refused(mine, mine / "masks/a.png", *parts)


def test_many_values_are_not_all_listed(mine):
    write(mine / "masks/a.png", GREY)
    refused(mine, "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] and more")


@pytest.mark.parametrize("value", [3, 254, 256])
def test_values_beyond_the_classes(mine, value):
    (mine / "classes.txt").write_text("sky\nroad\ncar\n")
    write_masks(mine, {"all": [0, 1, 255], "a": [2, value]})
    wanted = (
        f"{mine / 'masks/a.png'} holds the values [0, 2, {value}]. {mine / 'classes.txt'} names 3"
    )
    refused(mine, wanted, "masks hold 0 to 2, and 255")


@pytest.mark.parametrize("classes", ["", "sky\n", "sky\n\nroad\n", "sky\nroad\nsky\n"])
def test_wrong_classes(mine, classes):
    (mine / "classes.txt").write_text(classes)
    refused(mine, f"{mine / 'classes.txt'} must name two classes or more")


def test_three_classes_of_instances(mine):
    write_masks(mine, {"all": [0, 3]}, part="instances")
    (mine / "masks").rename(mine / "no masks")
    (mine / "classes.txt").write_text("sky\nroad\ncar\n")
    refused(mine, f"{mine / 'classes.txt'} must name two classes where there is no")


def test_text_that_is_not_utf8(mine):
    (mine / "classes.txt").write_bytes("sky\nstra\xdfe\n".encode("latin-1"))
    refused(mine, f"{mine / 'classes.txt'} is not in UTF-8")


def test_a_mask_in_place_of_instances(mine):
    write_masks(mine, {"all": [0, 255]}, part="instances")
    refused(mine, f"{mine / 'instances/c.png'} holds only 0 and 255", "skimage.measure.label")


@pytest.mark.parametrize(
    ("file", "pixels", "options", "kind"),
    [
        ("images/c.tif", GREY.astype(np.float32), {}, "32-bit float grey"),
        ("images/c.tif", GREY.astype(np.int16), {}, "16-bit signed grey"),
        ("images/c.tif", GREY.astype(np.uint32), {}, "32-bit grey"),
        ("images/c.tif", GREY, {"photometric": "miniswhite"}, "8-bit grey with 0 as white"),
        ("images/c.tif", np.stack([GREY] * 3), {"photometric": "minisblack"}, "stack of 3 pages"),
        (
            "images/c.tif",
            np.stack([GREY] * 4, axis=-1),
            {"photometric": "rgb", "extrasamples": ["unassalpha"]},
            "8-bit RGB, 4 channels with alpha",
        ),
        ("images/c.png", np.stack([GREY] * 4, axis=-1), {}, "8-bit RGB with alpha"),
        ("images/c.png", np.stack([GREY] * 2, axis=-1), {}, "8-bit grey with alpha"),
        ("images/c.png", MASK == 1, {}, "1-bit grey"),
        ("masks/c.png", np.stack([GREY] * 3, axis=-1), {}, "8-bit RGB"),
        ("masks/c.tif", MASK.astype(np.float32), {}, "32-bit float grey"),
        ("masks/c.tif", MASK == 1, {}, "1-bit grey with 0 as white"),
        ("masks/c.tif", MASK.astype(np.int64), {}, "64-bit signed grey"),
        ("instances/c.png", MASK == 1, {}, "1-bit grey"),
    ],
)
def test_wrong_kinds(mine, file, pixels, options, kind):
    if file.startswith("instances"):
        write_masks(mine, {"all": [0, 3]}, part="instances")
    (mine / file).with_suffix(".png").unlink()
    write(mine / file, pixels, **options)
    folder = (mine / file).parent
    refused(mine, f"{mine / file} is of the kind: {kind}. Allowed in {folder}: ")


def test_an_image_of_a_palette(mine):
    Image.fromarray(GREY).convert("P").save(mine / "images/c.png")
    refused(mine, f"{mine / 'images/c.png'} is of the kind: 8-bit palette")


def test_an_empty_split(mine):
    (mine / "split.csv").write_text("name,split\na,train\nb,train\nc,train\ng,validation\n")
    counts = "3 for train, 1 for validation, 0 for test"
    refused(mine, f"{mine} has no image for the split 'test'", counts, mine / "split.csv")


def test_no_split_of_a_small_folder_is_empty(mine):
    """Hashes alone would give validation nothing; their order gives each split its share."""
    for part in ("images", "masks"):
        (mine / part / "a.png").unlink()
    splits = {split: load_folder(mine, split).names for split in SPLITS}
    assert splits == {"train": ("c",), "validation": ("b",), "test": ("g",)}
    for part in ("images", "masks"):
        (mine / part / "b.png").unlink()
    refused(mine, f"{mine} must have an image for each of train", "Received: 2 in all")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "must begin with the line name,split. Received: None"),
        ("a,train\n", "must begin with the line name,split. Received: ['a', 'train']"),
        ("name;split\n", "must begin with the line name,split. Received: ['name;split']"),
        ("name,split\na,train\na.png,test\n", "line 3: there is no image called 'a.png'"),
        ("name,split\na,val\n", "line 2: split must be one of train, validation, test."),
        ("name,split\na\n", "line 2: split must be one of train, validation, test."),
        ("name,split\na,train\na,test\n", "line 3: 'a' has a row already"),
        ("name,split\na,train\nb,test\ng,test\n", "has no row for"),
    ],
)
def test_wrong_split_csv(mine, table, message):
    (mine / "split.csv").write_text(table)
    refused(mine, mine / "split.csv", message)
    if "no row" in message:
        refused(mine, mine / "images/c.png")


# What the files of a folder mean


@pytest.mark.parametrize(
    "ending", ["_mask", "_masks", "_label", "_labels", "_cp_masks", "_seg", "-mask", "_gt", "_MASK"]
)
def test_endings_of_masks(mine, ending):
    (mine / "masks/b.png").rename(mine / f"masks/b{ending}.png")
    data = load_folder(mine, "train")
    assert data.names == ("c", "b")
    np.testing.assert_array_equal(data.masks, [MASK] * 2)


def test_a_mask_with_and_without_an_ending(mine):
    write(mine / "masks/b_mask.png", MASK)
    refused(mine, mine / "masks/b.png", mine / "masks/b_mask.png", "have one name, 'b'")


def test_an_image_whose_name_has_an_ending(mine):
    for part in ("images", "masks"):
        write(mine / f"{part}/b_mask.png", MASK)
    assert {"b", "b_mask"} <= {n for split in SPLITS for n in load_folder(mine, split).names}


def test_a_name_that_is_not_utf8(mine):
    try:
        pathlib.Path(mine, "images", "\udcff.png").touch()
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    refused(mine, f"A file in {mine / 'images'} has a name that is not in UTF-8: '\\udcff.png'")


@pytest.mark.parametrize(
    ("classes", "background"),
    [
        (None, 0),
        ("Background\nroad\ncar", 0),
        ("sky\nroad\ncar", 0),
        ("!sky\nroad\ncar", None),
        ("! sky\nroad\ncar", None),
    ],
)
def test_background(mine, classes, background):
    if classes:
        (mine / "classes.txt").write_text(classes)
    data = load_folder(mine, "train")
    assert data.background == background
    assert data.class_names[0] in ("background", "Background", "sky")


@pytest.mark.parametrize("name", ["background", "BG", "_background_"])
def test_a_background_that_is_not_class_0(mine, name):
    (mine / "classes.txt").write_text(f"sky\nroad\n{name}\n")
    refused(mine, f"{mine / 'classes.txt'}, line 3: the background must be class 0", f"{name!r}")


def test_label_images_among_the_masks(mine):
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, ::2] = [1, 2, 3]
    write(mine / "masks/a.png", labels)
    refused(mine, mine / "masks/a.png", f"move them to {mine / 'instances'}")
    scattered = np.where(GREY % 2, GREY % 4, 2)  # the same values, in many pieces: no objects
    write(mine / "masks/a.png", scattered.astype(np.uint8))
    with pytest.raises(ValueError, match="For other classes write it"):
        load_folder(mine, "train")


def write_colours(folder, table):
    (folder / "colors.csv").write_text("red,green,blue,class\n" + table)
    for name in NAMES:
        write(folder / f"masks/{name}.png", np.stack([MASK * 128, MASK * 0, MASK * 64], axis=-1))


@pytest.mark.parametrize(
    ("last", "expected"), [("foreground", 1), ("1", 1), ("background", 0), ("ignore", -1)]
)
def test_colours(mine, last, expected):
    write_colours(mine, f"0,0,0,background\n128,0,64,{last}\n")
    np.testing.assert_array_equal(load_folder(mine, "train").masks, [MASK * np.int32(expected)] * 2)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("0,0,0,0\n", f"a.png has {MASK.sum()} pixels of 1 colours that are not in"),
        ("0,0,256,0\n", "line 2: a colour must be three numbers of 0 to 255"),
        ("0,0,,0\n", "line 2: a colour must be three numbers of 0 to 255"),
        ("0,0,0,0\n0,0,0,1\n", "line 3: the colour (0, 0, 0) has a row already"),
        ("0,0,0,foregruond\n", "Received: 'foregruond'. Did you mean 'foreground'?"),
        ("0,0,0,2\n", "class must be one of background, foreground, its number, or ignore"),
        ("", "must have a row for each colour"),
    ],
)
def test_wrong_colours(mine, table, message):
    write_colours(mine, table)
    refused(mine, message, "colors.csv", split="validation")


def test_masks_beside_colours_are_rgb(mine):
    (mine / "colors.csv").write_text("red,green,blue,class\n0,0,0,0\n")
    refused(mine, "is of the kind: 8-bit grey", "Allowed", "8-bit RGB")


@pytest.mark.parametrize("part", ["masks", "instances"])
def test_pixels_out_of_the_picture(mine, part):
    for name in NAMES:
        (mine / f"{part}/{name}.png").unlink(missing_ok=True)
        labels = np.zeros(SHAPE, np.int32)
        labels[0, :3] = [-1, 2**31 - 1 if part == "instances" else 1, 0]
        write(mine / f"{part}/{name}.tif", labels)
    data = load_folder(mine, "train")
    assert getattr(data, part)[0, 0].tolist() == [-1, 1, 0, 0, 0]
    write(mine / f"{part}/c.tif", np.full(SHAPE, -2, np.int32))
    refused(mine, f"{mine / part / 'c.tif'} must hold numbers from -1 to 2^31 - 1. Received: -2")


def test_black_and_white_with_pixels_out_of_the_picture(mine):
    for name in NAMES:
        (mine / f"masks/{name}.png").unlink()
        write(mine / f"masks/{name}.tif", np.int16([[-1, 255, 0, 0, 0]] * 4))
    assert load_folder(mine, "test").masks[0, 0].tolist() == [-1, 1, 0, 0, 0]


def test_ignored_pixels_are_out_of_the_instances_too(mine):
    (mine / "classes.txt").write_text("nothing\ncell\n")
    write_masks(mine, {"all": [0, 1, 255, 1]})
    write_masks(mine, {"all": [0, 3, 4, 5]}, part="instances")
    data = load_folder(mine, "train")
    assert data.card.ignore_class == 255
    assert data.instances[0, 0].tolist() == [0, 1, -1, 2, 0]


def test_masks_follow_their_orientation(mine):
    """A turned image takes a mask that is turned, too, or that is drawn as it is seen."""
    for part, pixels in (("images", GREY), ("masks", MASK)):
        (mine / f"{part}/a.png").unlink()
        write(mine / f"{part}/a.tif", pixels, extratags=[(274, 3, 1, 6, True)])
    data = load_folder(mine, "validation")
    np.testing.assert_array_equal(data.masks, [np.rot90(MASK, -1)])
    write(mine / "masks/a.tif", np.ascontiguousarray(np.rot90(MASK, -1)))
    np.testing.assert_array_equal(load_folder(mine, "validation").masks, data.masks)
    write(mine / "masks/a.tif", MASK)
    refused(mine, "must have one size. Received: 4 x 5", "5 x 4", split="validation")


def test_a_file_that_changes_is_read_anew(mine):
    """What masks hold is remembered from one split to the next, but not beyond a change."""
    load_folder(mine, "train")
    before = stamp(mine)
    assert stamp(mine) == before
    write(mine / "masks/a.png", MASK * 2)
    assert stamp(mine) != before
    refused(mine, f"{mine / 'masks/a.png'} holds the values [0, 2]")


def test_masks_are_read_once_for_all_splits(mine, monkeypatch):
    read, count = pathlib.Path.read_bytes, []
    load_folder(mine, "train")
    monkeypatch.setattr(pathlib.Path, "read_bytes", lambda f: count.append(f.name) or read(f))
    load_folder(mine, "test")
    assert count == ["g.png"] * 2  # its image, its mask


@pytest.fixture
def volumes(tmp_path):
    """Four volumes of 3 x 4 x 5 voxels (x, y, z), with masks of 0 and 1."""
    for i, name in enumerate(NAMES):
        voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5) * (i + 1) - 20
        write_volume(tmp_path / f"images/{name}.nii.gz", voxels)
        write_volume(tmp_path / f"masks/{name}_label.nii", (voxels > 0).astype(np.float32))
    return tmp_path


def write_volume(file, voxels, spacing=(1, 1, 2)):
    nibabel = pytest.importorskip("nibabel", reason="volumes are read by nibabel")
    file.parent.mkdir(exist_ok=True)
    nibabel.Nifti1Image(voxels, np.diag([*spacing, 1])).to_filename(file)


def test_volumes(volumes):
    data = load_folder(volumes, "train")
    assert data.images.shape == (2, 5, 4, 3, 1)
    assert data.masks.shape == (2, 5, 4, 3)
    ramp = np.arange(60).reshape(3, 4, 5).transpose(2, 1, 0) / 59
    np.testing.assert_allclose(data.images[..., 0], [ramp] * 2, atol=1e-6)
    np.testing.assert_array_equal(data.masks[0], (ramp * 59 * 3 - 20).round() > 0)
    assert "Voxels, as depth, height and width: [(2.0, 1.0, 1.0)]" in data.card.notes
    assert load_folder(volumes, "test", size=(2, 2, 3)).masks.shape == (1, 2, 2, 3)
    assert load_folder(volumes, "test", size=2).images.shape == (1, 2, 2, 2, 1)
    refused(volumes, "`size` must be a side or (depth, height, width)", size=(2, 2))


def test_volumes_that_do_not_fit(volumes):
    mask = volumes / "masks/c_label.nii"
    write_volume(mask, np.zeros((3, 4, 5), np.uint8), spacing=(1, 1, 3))
    refused(volumes, mask, "must lie in one place")
    write_volume(mask, np.full((3, 4, 5), 0.5, np.float32))
    refused(volumes, f"{mask} must hold whole numbers")
    write_volume(mask, np.zeros((3, 4, 5), np.uint8))
    write_volume(volumes / "images/c.nii.gz", np.full((3, 4, 5), np.nan, np.float32))
    refused(volumes, f"{volumes / 'images/c.nii.gz'} must hold finite numbers")
    write_volume(volumes / "images/c.nii.gz", np.zeros((3, 4, 5, 2), np.float32))
    refused(volumes, "is of the kind: NIfTI of 4 axes")


def test_volumes_and_pictures(volumes):
    for part, ending in (("images", ".nii.gz"), ("masks", "_label.nii")):
        (volumes / part / f"b{ending}").unlink()
        write(volumes / part / "b.png", MASK)
    refused(volumes, volumes / "images/c.nii.gz", volumes / "images/b.png", "both be volumes")

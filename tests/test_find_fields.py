"""The fields of the nuclei images: that the tool finds what is known, and gives the list."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from segloss_ref.datasets import SPLITS, public

FILE = Path(__file__).parents[1] / "tools/find_fields.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("find_fields", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def real(tool):
    return tool.all_images()


def blobs(seed, side):
    """A picture that is smooth at a few pixels, as nuclei are, with noise."""
    from scipy import ndimage

    draw = np.random.default_rng(seed)
    picture = ndimage.gaussian_filter(draw.normal(size=(side, side)), 4)
    return 100 + 30 * picture / picture.std() + draw.normal(size=(side, side))


def test_tiles_of_fields_find_each_other(tool):
    """Two fields of 2 x 2 tiles, and a tile of a third one, in a mixed order."""
    tiles, truth = [], []
    for field in range(3):
        picture = blobs(field, 256)
        parts = [picture[:128, :128], picture[:128, 128:], picture[128:, :128], picture[128:, 128:]]
        parts = parts if field < 2 else parts[:1]
        tiles += parts
        truth += [field] * len(parts)
    order = np.random.default_rng(0).permutation(len(tiles))
    names = [f"{i:08d}" for i in range(len(tiles))]
    fields = tool.fields_of(names, np.stack(tiles)[order])
    found = [fields[name] for name in names]
    for i, one in enumerate(order):
        for j, other in enumerate(order):
            assert (found[i] == found[j]) == (truth[one] == truth[other])
    assert all(field == min(n for n in names if fields[n] == field) for field in found)


def test_a_step_in_brightness_is_no_neighbour(tool):
    picture = blobs(0, 128)
    left, right = picture[:, :64], picture[:, 64:]
    shared = np.stack([left[:64], right[:64]])
    assert tool.facing(shared)[0][0, 1] > 0.9
    assert tool.facing(np.stack([shared[0], shared[1] + 60]))[0][0, 1] < 0.5


@pytest.mark.requires_data("nuclei")
def test_the_list_is_what_the_tool_gives(tool, real):
    assert tool.TABLE.read_text(encoding="utf-8") == tool.table_of(tool.fields_of(*real))


@pytest.mark.requires_data("nuclei")
def test_the_numbers_on_the_card(tool, real):
    _, images = real
    facing = tool.facing(images)
    assert tool.count(facing) == 148
    assert tool.count(tool.strangers(images)) == 1
    for score in facing:  # no side has two neighbours
        assert max((score > tool.THRESHOLD).sum(axis=axis).max() for axis in (0, 1)) == 1


@pytest.mark.requires_data("nuclei")
def test_no_test_image_adjoins_a_training_image(tool, real):
    names, images = real
    split_of = {sample.name: sample.split for sample in public.samples_of("nuclei")}
    splits = np.array([SPLITS.index(split_of[name]) for name in names])
    apart = splits[:, None] != splits
    assert max(score[apart].max() for score in tool.facing(images)) < 0.93

"""What `load` promises of every data set, and what it says to wrong arguments."""

import doctest
import subprocess
import sys

import numpy as np
import pytest

import segloss_ref
import segloss_ref.datasets
from segloss_ref.datasets import NAMES, Card, SegmentationData, load, synthetic

CARD = Card("t", "c", "t", "c", "a", ignore_class=7)


def record(**changes):
    fields = {
        "images": np.zeros((2, 3, 4, 1), np.float32),
        "masks": np.zeros((2, 3, 4), np.int32),
        "instances": None,
        "class_names": ("background", "thing"),
        "names": ("a", "b"),
        "card": CARD,
    }
    return SegmentationData(**{**fields, **changes})


def test_names():
    assert NAMES == (
        "synthetic/cells",
        "synthetic/tumours",
        "synthetic/streets",
        "synthetic/spectrograms",
        "nuclei",
        "membranes",
        "streets",
        "mortar",
        "vessels",
        "cracks",
        "hippocampus",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "cells"},
            r"`name` must be .*Received: 'cells'\. Did you mean 'synthetic/cells'",
        ),
        (
            {"split": "val"},
            r"`split` must be one of 'train', .*'test'. Received: 'val'",
        ),
        ({"limit": 0}, r"`limit` must be a whole number, at least 1. Received: 0"),
        ({"limit": 2.0}, r"`limit` must be a whole number, at least 1. Received: 2.0"),
        ({"limit": True}, r"`limit` must be a whole number, at least 1. Received: True"),
        ({"size": 0}, r"`size` must be a whole number, at least 1. Received: 0"),
        ({"size": "96"}, r"`size` must be a whole number, at least 1. Received: '96'"),
        ({"size": (96, 96, 1)}, r"`size` must be a side or \(height, width\)"),
        ({"size": 8}, r"`size` must be 16 pixels or more a side. Received: 8"),
        ({"seed": -1}, r"`seed` must be a whole number, at least 0, .*Received: -1"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**{"name": "synthetic/cells", "split": "train", **arguments})


def test_options_reach_the_maker():
    thin, dense = (load("synthetic/tumours", "train", foreground=f).masks for f in (0.002, 0.1))
    assert 20 * thin.mean() < dense.mean()
    with pytest.raises(ValueError, match=r"`foreground` must be over 0 .* Received: 0"):
        load("synthetic/tumours", "train", foreground=0)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("synthetic/tumours", "foreground, empty_share"),
        ("synthetic/cells", "none"),
        ("nuclei", "none"),
        ("mortar", "labels"),
        ("vessels", "observer"),
    ],
)
def test_unknown_options_are_refused(name, allowed):
    with pytest.raises(TypeError, match=f"'{name}' has no option share. Allowed: {allowed}"):
        load(name, "train", share=0.1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mortar", {"labels": "rough"}, "`labels` must be one of 'accurate', 'noisy', 'pseudo'"),
        ("mortar", {"labels": None}, "`labels` must be one of 'accurate', .*Received: None"),
        ("vessels", {"observer": 3}, "`observer` must be 1, 2 or 'both'. Received: 3"),
        ("vessels", {"observer": "1"}, "`observer` must be .*Received: '1'"),
        ("vessels", {"observer": True}, "`observer` must be .*Received: True"),
    ],
)
def test_wrong_options_of_public_data(name, options, message, monkeypatch):
    """They are refused before any archive is looked for."""
    monkeypatch.setattr("segloss_ref.datasets.public.find", None)
    with pytest.raises(ValueError, match=message):
        load(name, "test", **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((2, 3, 4, 1))}, r"`images` must be float32.*float64 \(2, 3, 4, 1\)"),
        ({"images": np.zeros((2, 3, 4), np.float32)}, r"`images` must be float32"),
        ({"images": np.full((2, 3, 4, 1), 255, np.float32)}, r"lie in \[0, 1\]. .*255.0"),
        ({"images": np.full((2, 3, 4, 1), np.nan, np.float32)}, r"lie in \[0, 1\]. .*nan"),
        ({"masks": np.zeros((2, 3, 4), np.int64)}, r"`masks` must be int32 \(2, 3, 4\).*int64"),
        ({"masks": np.zeros((2, 4, 3), np.int32)}, r"`masks` must be int32 \(2, 3, 4\)"),
        ({"masks": np.full((2, 3, 4), 2, np.int32)}, r"`masks` must hold indices .* \[2\]"),
        ({"instances": np.zeros((2, 3, 4), bool)}, r"`instances` must be int32"),
        ({"instances": np.full((2, 3, 4), -2, np.int32)}, r"`instances` must hold .*: -2"),
        ({"background": 2}, r"`background` must be a whole number, .*at most 1. Received: 2"),
        ({"groups": ("g",)}, r"`groups` must give .* each of the 2 images.* Received: 1 groups"),
        ({"names": ("a",)}, r"`names` must name each of the 2 images. Received: 1 names"),
    ],
)
def test_wrong_records(changes, message):
    with pytest.raises(ValueError, match=message):
        record(**changes)


def test_record():
    assert len(record()) == 2
    assert record().groups is None
    assert record(groups=("g", "g")).groups == ("g", "g")
    assert len(record(masks=np.full((2, 3, 4), 7, np.int32))) == 2  # the ignored class
    void = np.full((2, 3, 4), -1, np.int32)
    assert len(record(masks=void, instances=void, background=0)) == 2
    several = Card("t", "c", "t", "c", "a", ignore_class=(7, 9))
    assert len(record(masks=np.full((2, 3, 4), 9, np.int32), card=several)) == 2
    volumes = {"images": np.zeros((2, 5, 3, 4, 1), np.float32)}
    assert len(record(**volumes, masks=np.zeros((2, 5, 3, 4), np.int32))) == 2


@pytest.mark.parametrize("label", [1.5, "void", True, (7, None)])
def test_wrong_ignored_labels(label):
    with pytest.raises(ValueError, match="`ignore_class` must be an integer label, several"):
        Card("t", "c", "t", "c", "a", ignore_class=label)


@pytest.mark.parametrize(
    ("name", "background"),
    [
        ("synthetic/cells", 0),
        ("synthetic/tumours", 0),
        ("synthetic/streets", None),
        pytest.param("nuclei", 0, marks=pytest.mark.requires_data("nuclei")),
        pytest.param("membranes", 0, marks=pytest.mark.requires_data("membranes")),
        pytest.param("streets", None, marks=pytest.mark.requires_data("streets")),
        pytest.param("mortar", 0, marks=pytest.mark.requires_data("mortar")),
        pytest.param("vessels", 0, marks=pytest.mark.requires_data("vessels")),
        pytest.param("cracks", 0, marks=pytest.mark.requires_data("cracks")),
        pytest.param("hippocampus", 0, marks=pytest.mark.requires_data("hippocampus")),
    ],
)
def test_background(name, background):
    assert load(name, "train", limit=1).background == background


def test_a_limit_that_no_data_set_reaches():
    assert len(load("synthetic/cells", "validation", limit=10**12)) == 16


def test_examples():
    makers = (synthetic.microscopy, synthetic.tissue, synthetic.street, synthetic.sound)
    for module in (segloss_ref.datasets, *makers):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


def test_import_loads_no_tool():
    """The tools of the public data sets are loaded when they are first used."""
    # An empty parent package, since the losses bring Keras, which brings its own tools.
    code = (
        "import sys, types\n"
        "parent = sys.modules['segloss_ref'] = types.ModuleType('segloss_ref')\n"
        f"parent.__path__ = {segloss_ref.__path__!r}\n"
        "import segloss_ref.datasets\n"
        "assert 'nuclei' in segloss_ref.datasets.NAMES\n"
        "print({m.split('.')[0] for m in sys.modules}\n"
        "      & {'pooch', 'requests', 'PIL', 'skimage', 'scipy', 'tqdm', 'matplotlib'})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"

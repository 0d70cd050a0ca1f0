"""The stored table of TopoMortar's runs is what its archive holds."""

import hashlib
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from segloss_ref.analysis import read_table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import topomortar

STORED = topomortar.RESULTS / "topomortar.csv.gz"


def test_the_stored_table_is_whole():
    table = read_table(STORED)
    assert len(table) == 8 * 7 * 10 * 50 * 4 and table["value"].notna().all()
    assert table["dataset"].nunique() == 7 and table["group"].nunique() == 20
    assert table["run"].unique().tolist() == list(topomortar.RUNS.values())
    about = json.loads(STORED.with_name("topomortar.json").read_text())
    assert about["sha256"] == hashlib.sha256(STORED.read_bytes()).hexdigest()


def test_an_image_is_on_one_wall():
    images = " ".join(topomortar.WALLS).split()
    assert len(images) == len(set(images))
    assert (topomortar.wall_of("072"), topomortar.wall_of("073")) == ("071", "073")


def test_without_an_archive(tmp_path, capsys):
    with pytest.raises(SystemExit):
        topomortar.main(["--archive", str(tmp_path / "none.zip"), "--out", str(tmp_path)])
    assert "none.zip: set SEGLOSS_DATA" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.requires_data("mortar")
def test_the_stored_table_is_what_the_archive_holds(tmp_path):
    topomortar.main(["--out", str(tmp_path)])
    pd.testing.assert_frame_equal(read_table(tmp_path / STORED.name), read_table(STORED))
    digests = [json.loads((d / "topomortar.json").read_text()) for d in (tmp_path, STORED.parent)]
    key = "sha256_of_their_sha256sum"
    assert digests[0][key] == digests[1][key]

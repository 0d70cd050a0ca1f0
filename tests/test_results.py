"""The published tables are described, for people and for other programs."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow"))
import datapackage
from datapackage import RESULTS


def test_descriptor_is_that_of_the_tables():
    wanted = datapackage.descriptor(RESULTS)
    found = json.loads((RESULTS / "datapackage.json").read_text())
    assert found == wanted, "run python workflow/datapackage.py"


def test_every_file_is_described():
    resources = json.loads((RESULTS / "datapackage.json").read_text())["resources"]
    paths = [r["path"] if isinstance(r["path"], list) else [r["path"]] for r in resources]
    named = {path for many in paths for path in many}
    there = {str(p.relative_to(RESULTS)) for p in RESULTS.rglob("*") if p.is_file()}
    assert {name for name in there if not name.endswith((".json", ".md"))} == named
    text = (RESULTS / "README.md").read_text()
    assert [r["name"] for r in resources if f"`{r['name']}" not in text] == []


def test_a_column_that_nobody_explained_is_refused(tmp_path):
    (tmp_path / "music.csv").write_text("dataset,mood\nsong,1\n")
    with pytest.raises(KeyError, match="mood"):
        datapackage.descriptor(tmp_path)

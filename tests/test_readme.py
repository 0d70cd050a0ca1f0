"""The README's commands and snippets work as they stand."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from check_wheel import README, ROOT, snippets


def test_the_snippets_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    python, names = snippets("python"), {}
    assert len(python) == 6
    for snippet in python:
        exec(compile(snippet, "README.md", "exec"), names)
    assert 0 < float(capsys.readouterr().out.split()[0]) <= 1
    assert sorted(p.name for p in (tmp_path / "runs" / "dice").iterdir())[-1] == "record.json"
    assert tuple(names["values"].shape) == (8,)
    assert names["augmented"].loss.name == "shape_aware"


def test_make_commands_exist():
    commands = re.findall(r"^make (\w+)", "\n".join(snippets("sh")), flags=re.MULTILINE)
    assert commands == ["book", "test", "compare", "sweep"]
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in [*commands, *re.findall(r"`make (\w+)`", README.read_text())]:
        assert f"make {command} " in listed


def papermill(out, *more):
    """The README's command, with more parameters behind it: the last of a name wins."""
    (line,) = (s for s in snippets("sh") if "first_comparison" in s)
    command = shlex.split(line)
    assert command[0] == ".venv/bin/papermill"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", *command[1:], *more]
    command[command.index("out.ipynb")] = str(out)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.requires_data("nuclei")
def test_the_experiment_reruns_with_its_parameters(tmp_path):
    table = tmp_path / "table.csv"
    out = tmp_path / "out.ipynb"
    done = papermill(out, "-p", "steps", "10", "-p", "limit", "3", "-p", "results", str(table))
    assert done.returncode == 0, done.stderr[-2000:]
    printed = str(nbformat.read(out, as_version=4).cells)
    assert "5 runs on nuclei" in printed
    lines = table.read_text().splitlines()
    assert lines[0] == "run,seed,dataset,metric,value"
    assert len(lines) == 1 + 5 * 7  # five runs, seven metrics
    record = json.loads(table.with_suffix(".json").read_text())[0]
    assert record["settings"]["dataset"] == "nuclei" and record["settings"]["steps"] == 10


def test_a_parameter_that_does_not_exist_is_an_error(tmp_path):
    done = papermill(tmp_path / "out.ipynb", "-p", "stepps", "10")
    assert done.returncode != 0
    assert "There is no parameter stepps. There are: crop, dataset" in done.stderr

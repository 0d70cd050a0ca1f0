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
    assert commands == ["book", "test", "compare", "sweep", "repeat"]
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in [*commands, *re.findall(r"`make (\w+)`", README.read_text())]:
        assert f"make {command} " in listed


def papermill(out, *more):
    """The README's command, with more parameters behind it: the last of a name wins."""
    (line,) = (s for s in snippets("sh") if "-p dataset nuclei" in s)
    command = shlex.split(line)
    assert command[0] == ".venv/bin/papermill"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", *command[1:], *more]
    command[command.index("out.ipynb")] = str(out)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.requires_data("nuclei")
def test_the_experiment_reruns_with_its_parameters(tmp_path):
    folder, out = tmp_path / "run", tmp_path / "out.ipynb"
    given = {"steps": 10, "evaluate_every": 5, "limit": 3, "learning_rate": 0.003, "out": folder}
    done = papermill(out, *(part for name in given for part in ("-p", name, str(given[name]))))
    assert done.returncode == 0, done.stderr[-2000:]
    printed = str(nbformat.read(out, as_version=4).cells)
    assert "DiceLoss on nuclei, seed 0" in printed
    assert len((folder / "metrics.csv").read_text().splitlines()) == 1 + 3
    settings = json.loads((folder / "record.json").read_text())["settings"]
    assert settings["dataset"] == "nuclei" and settings["steps"] == 10


def test_a_parameter_that_does_not_exist_is_an_error(tmp_path):
    done = papermill(tmp_path / "out.ipynb", "-p", "stepps", "10")
    assert done.returncode != 0
    assert "There is no parameter stepps, of this notebook or of DiceLoss. Settings" in done.stderr

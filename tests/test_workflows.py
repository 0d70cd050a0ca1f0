"""What runs on GitHub alone and cannot be tried here: its form, and that it calls what there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def checked(schema: str, *paths: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    return subprocess.run([*command, *paths], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"]),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_have_their_form(schema, paths):
    done = checked(schema, *paths)
    assert paths and done.returncode == 0, done.stdout


def test_a_wrong_form_is_noticed(tmp_path):
    text = WORKFLOWS[0].read_text()
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("runs-on", "run-on"))
    assert checked("github-workflows", wrong).returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_only_calls_targets_of_the_makefile(path):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        make, target = command.split()
        assert make == "make" and target in targets, command


def test_the_error_form_takes_the_page_that_a_button_names():
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "page.yml").read_text())
    assert "page" in [field.get("id") for field in form["body"]]

"""What runs on GitHub alone calls what there is; `make lint` looks at its form."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


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

"""The small sweep through a real Slurm, disturbed, gives the table of the local one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segloss_ref.sweep import read_sweep

ROOT = Path(__file__).resolve().parents[2]
# What this cluster needs beyond workflow/profiles/slurm: it has no accounting, and its jobs are
# short. On a real one this is the place of account and partition.
PROFILE = """
slurm-no-account: true
slurm-status-command: squeue
slurm-init-seconds-before-status-checks: 2
seconds-between-status-checks: 2
"""


@pytest.fixture
def start(tmp_path, slurm, monkeypatch):
    """Starts the sweep in a process group of its own."""
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text(PROFILE)
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(profile))
    started = []

    def start_it(where):
        log = tmp_path / f"{len(started)}-{where}.log"
        command = [sys.executable, ROOT / "workflow" / "run.py", os.environ["SEGLOSS_SLURM"]]
        command += ["--profile", where, "--results", tmp_path / where]
        with log.open("w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, cwd=ROOT, start_new_session=True
            )
        process.log = log
        started.append(process)
        return process

    yield start_it
    for process in started:
        kill(process)


def kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def finish(process):
    status = process.wait(timeout=900)
    assert status == 0, process.log.read_text()


def jobs(state):
    command = ["squeue", "--noheader", f"--states={state}", "--format=%i"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def wait_until(condition, process):
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.log.read_text()
        time.sleep(0.1)


def times(folder):
    """When each run was finished."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("runs/[!.]*/record.json")}


def test_killed_jobs_and_a_killed_sweep_change_nothing(start, tmp_path):
    name = Path(os.environ["SEGLOSS_SLURM"]).stem
    finish(start("local"))

    folder = tmp_path / "slurm" / name
    killed = start("slurm")
    wait_until(lambda: times(folder), killed)
    wait_until(lambda: jobs("RUNNING"), killed)
    kill(killed)
    before = times(folder)

    sweep = start("slurm")
    wait_until(lambda: "submitted with SLURM jobid" in sweep.log.read_text(), sweep)
    assert "left behind" in sweep.log.read_text(), "the jobs of the killed sweep were cancelled"
    wait_until(lambda: jobs("RUNNING"), sweep)
    job = jobs("RUNNING")[0]
    subprocess.run(["scancel", job], check=True)
    finish(sweep)
    assert job in jobs("CANCELLED")

    assert before.items() <= times(folder).items(), "what was there is not done again"
    tables = [(tmp_path / at / name / "table.csv").read_bytes() for at in ("local", "slurm")]
    assert tables[0] == tables[1]
    runs = read_sweep(os.environ["SEGLOSS_SLURM"])
    assert len(times(folder)) == len(runs)
    tunings = {run.tuning.id for run in runs if run.tuning}
    assert tunings, "the sweep has runs that are tuned"
    for name in tunings:
        ours, theirs = (tmp_path / at / folder.name / "tuning" / name for at in ("local", "slurm"))
        assert ours.with_suffix(".json").read_text() == theirs.with_suffix(".json").read_text()

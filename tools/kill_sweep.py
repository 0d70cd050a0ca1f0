"""Kills a sweep at random moments, starts it again, and compares its table with an undisturbed one.

    python tools/kill_sweep.py workflow/sweeps/smoke.yaml FOLDER [--kills 10] [--seed 0]

Each time the whole process group dies by SIGKILL, and every run folder that is there must be
complete. FOLDER must be new. With ten kills it takes about four times as long as the sweep.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = {"history.csv", "metrics.csv", "model.keras", "record.json"}


def main():
    parser = argparse.ArgumentParser(description="Kills a sweep at random moments.")
    parser.add_argument("sweep", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)

    began = time.monotonic()
    finish(start(given.sweep, given.folder / "calm"))
    whole = time.monotonic() - began
    print(f"undisturbed: {whole:.0f} s", flush=True)

    disturbed, rng = given.folder / "disturbed", random.Random(given.seed)
    for number in range(given.kills):
        process = start(given.sweep, disturbed)
        # Half the sweep's time at most: some hit the start, some the training, some the end.
        moment = rng.uniform(0, whole / 2)
        time.sleep(moment)
        alive = process.poll() is None
        kill(process)
        there = check_runs(disturbed / given.sweep.stem)
        how = "killed" if alive else "was finished already"
        print(f"{number + 1}: {how} after {moment:.1f} s, {there} runs are there", flush=True)
    finish(start(given.sweep, disturbed))
    tables = [table(given.folder / name / given.sweep.stem) for name in ("calm", "disturbed")]
    if tables[0] != tables[1]:
        sys.exit("The tables differ.")
    print(f"The tables are equal: {tables[0].count(chr(10))} lines.")


def start(sweep, results):
    """In a process group of its own, as a terminal would do."""
    return subprocess.Popen(
        [sys.executable, ROOT / "workflow" / "run.py", sweep, "--results", results],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def finish(process):
    if process.wait() != 0:
        sys.exit(f"The sweep failed: {process.args}")


def kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def check_runs(folder):
    """How many runs are there; none of them may be half of one, and neither may the table."""
    runs = [path for path in folder.glob("runs/[!.]*") if path.is_dir()]
    for run in runs:
        missing = FILES - {path.name for path in run.iterdir()}
        if missing:
            sys.exit(f"{run} is half a run: it lacks {missing}.")
        json.loads((run / "record.json").read_text())
    if (folder / "table.json").exists():
        json.loads((folder / "table.json").read_text())
    return len(runs)


def table(folder):
    return (folder / "table.csv").read_text()


if __name__ == "__main__":
    main()

"""Trains a published run again, and says whether the same numbers come out.

    python workflow/repeat.py workflow/sweeps/NAME.yaml [--profile local] [--run ID] [--store]

Unless a run is named, one is drawn, with the commit at hand as the seed: nobody chooses it. It
takes the published tuning. With `--store` what was found is added to `data/results/repeats.csv`.
Exit status 1 says that mean Dice moved by more than it varies between the published seeds.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import datapackage
import pandas as pd
import run as sweeps
from publish import PUBLISHED

from segloss_ref import analysis
from segloss_ref.sweep import gather, is_published, read_sweep
from segloss_ref.writing import write_whole

DIRTY = "Only from a clean clone is a result stored. Commit or undo first."


def main():
    parser = argparse.ArgumentParser(description="Trains a published run again.")
    parser.add_argument("sweep", type=Path, help="the YAML file")
    parser.add_argument("--profile", default="local", help="local, slurm, or a folder")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", help="the id of a published run; by default one is drawn")
    which.add_argument("--store", action="store_true", help="add the result to repeats.csv")
    parser.add_argument("--notebook", type=Path, default=sweeps.NOTEBOOK, help="what is executed")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="what is done already")
    given = parser.parse_args()
    published = given.published / given.sweep.stem
    try:
        if given.store and git("status", "--porcelain", "--untracked-files=no"):
            raise ValueError(DIRTY)  # before minutes are spent
        run = choose(read_sweep(given.sweep), published, given.run)
        print(f"{run.dataset}, {run.name}, seed {run.experiment.seed}: {run.id}", flush=True)
        profile = sweeps.find_profile(given.profile)
        Path("results").mkdir(exist_ok=True)  # here, where the nodes of a cluster see it
        with tempfile.TemporaryDirectory(dir="results") as folder:
            place = Path(folder).resolve()
            table, told = train(run, place, published, given.notebook.resolve(), profile)
        found = compare(run, published, table, told) | {"profile": profile.name}
        status = report(found)
        if given.store:
            store(found, given.published / "repeats.csv")
    except (OSError, TypeError, ValueError) as error:
        sys.exit(str(error))
    sys.exit(status)


def choose(runs, published, name):
    there = [run for run in runs if is_published(run, published)]
    if not there:
        raise ValueError(f"{published} has no run of this sweep.")
    if name is None:
        return random.Random(f"{git('rev-parse', 'HEAD')} {published.name}").choice(there)
    found = [run for run in there if run.id == name]
    if not found:
        raise ValueError(f"--run must be a published run, such as {there[0].id}. Received: {name}")
    return found[0]


def git(*arguments):
    command = ["git", *arguments]
    return subprocess.run(command, cwd=sweeps.HERE, capture_output=True, text=True).stdout.strip()


def train(run, folder, published, notebook, profile):
    """The table of the run, made as a sweep makes it, and what is recorded of it."""
    (folder / "runs").mkdir()
    with sweeps.only_one(folder) as lock:
        sweeps.take_tunings([run], folder, published)
        sweeps.train([run], folder, notebook, profile, lock)
    told = gather([run], folder / "runs", folder / "table.csv")
    if told["failed"]:
        raise ValueError(f"The run failed: {told['failed'][0]['error']}")
    return analysis.read_table(folder / "table.csv"), told["runs"][0]


def compare(run, published, table, told):
    before = analysis.read_table(published)
    before = before[(before.dataset == run.dataset) & (before.run == run.name)]
    score = "dice_at_cut" if "dice_at_cut" in set(before.metric) else "dice"
    means = before[before.metric == score].groupby("seed").value.mean()
    records = analysis.read_records(published / f"{run.id}.json")
    keys = ["dataset", "run", "seed", "image", "metric"]
    both = before[before.seed == run.experiment.seed].merge(
        table, on=keys, how="outer", suffixes=("", "_again"), validate="one_to_one", indicator="at"
    )
    same = (both.value == both.value_again) | (both.value.isna() & both.value_again.isna())
    same &= both["at"] == "both"  # a row that one of them lacks is no NaN of both
    return {
        "sweep": published.name,
        "dataset": run.dataset,
        "run": run.name,
        "seed": run.experiment.seed,
        "commit": records.commit[0],
        "repeated_at": told.get("commit"),
        "device": told.get("device"),
        "values": len(both),
        "differ": int((~same).sum()),
        "dice": means[run.experiment.seed],
        "dice_again": table[table.metric == score].value.mean(),
        "between_seeds": means.std(),
    }


def store(found, file):
    """Adds a row to the table, or makes it."""
    if not found["repeated_at"] or found["repeated_at"].endswith("-dirty"):
        raise ValueError(DIRTY)
    rows = pd.DataFrame([found])
    if file.exists():
        rows = pd.concat([pd.read_csv(file, dtype=str), rows])
    write_whole(file, rows.to_csv(index=False))
    if file.parent == PUBLISHED:
        datapackage.write(PUBLISHED)


def report(found):
    if not found["differ"]:
        print(f"all {found['values']} values are equal in every digit")
        return 0
    moved = found["dice_again"] - found["dice"]
    print(
        f"{found['differ']} of {found['values']} values differ; mean Dice moved by {moved:+.4f}, "
        f"between the published seeds it varies by {found['between_seeds']:.4f}"
    )
    return int(not abs(moved) <= found["between_seeds"])


if __name__ == "__main__":
    main()

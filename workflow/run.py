"""Runs a sweep, goes on with one that was killed, and gathers its table.

    python workflow/run.py workflow/sweeps/smoke.yaml [--dataset NAME] [--profile local]

The folder `results/smoke` then holds `table.csv`, `table.json` (where it came from), in `runs` a
folder, a notebook and a log of each run, and in `tuning` what the seeds of a loss share. Runs that
`workflow/publish.py` has put into `data/results/smoke` are in the table, and not run again. With
`--dataset` all this is only of the runs on one data set, so that a long sweep can be done set by
set. The profile is a folder with the options of
Snakemake, in `workflow/profiles` or elsewhere. Exit status 1 says that runs failed.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import yaml
from publish import PUBLISHED

from segloss_ref.sweep import gather, is_published, published_tuning, read_sweep
from segloss_ref.writing import write_whole

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE.parent / "notebooks" / "experiments" / "train.ipynb"


def main():
    parser = argparse.ArgumentParser(description="Runs a sweep and gathers its table.")
    parser.add_argument("sweep", type=Path, help="the YAML file")
    parser.add_argument("--dataset", help="only the runs on this data set of the sweep")
    parser.add_argument("--profile", default="local", help="local, slurm, or a folder")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where to put it")
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK, help="what each run executes")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="what is done already")
    given = parser.parse_args()
    sys.path.insert(0, os.getcwd())  # where a `model` of one's own is found
    try:
        runs = on_dataset(read_sweep(given.sweep), given.dataset)
        profile = find_profile(given.profile)
    except (OSError, TypeError, ValueError) as error:
        sys.exit(str(error))
    folder = given.results.resolve() / given.sweep.stem
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    published = given.published / given.sweep.stem
    left = [run for run in runs if not is_published(run, published)]
    with only_one(folder) as lock:
        take_tunings(left, folder, published)
        train(left, folder, given.notebook.resolve(), profile, lock)
        provenance = gather(runs, folder / "runs", folder / "table.csv", published=published)
    sys.exit(report(provenance, folder))


def on_dataset(runs, name):
    found = [run for run in runs if name in (None, run.dataset)]
    if not found:
        known = ", ".join(dict.fromkeys(run.dataset for run in runs))
        raise ValueError(f"--dataset must be one of the sweep: {known}. Received: {name}")
    return found


def find_profile(name):
    folders = [HERE / "profiles" / name, Path(name)]
    found = [folder.resolve() for folder in folders if (folder / "config.yaml").exists()]
    if not found:
        known = ", ".join(path.name for path in sorted((HERE / "profiles").iterdir()))
        raise ValueError(
            f"The profile must be one of {known}, or a folder with a config.yaml. Received: {name}"
        )
    return found[0]


@contextlib.contextmanager
def only_one(folder):
    """Holds the folder for this sweep. The lock ends with its processes, however they end."""
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            sys.exit(f"{folder} is in use by another sweep: {file.read()}. Wait for it or end it.")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield file


def take_tunings(runs, folder, published):
    """What published runs were tuned by is not tuned again."""
    (folder / "tuning").mkdir(exist_ok=True)
    for run in {run.tuning.id: run for run in runs if run.tuning}.values():
        file = folder / "tuning" / f"{run.tuning.id}.json"
        if not file.exists() and (found := published_tuning(run, published)):
            write_whole(file, json.dumps(found, indent=1) + "\n")


def train(runs, folder, notebook, profile, lock):
    """Lets Snakemake do the runs that are missing. What is there is whole, and stays."""
    on_slurm = yaml.safe_load((profile / "config.yaml").read_text()).get("executor") == "slurm"
    command = [sys.executable, "-m", "snakemake", "--snakefile", HERE / "Snakefile"]
    command += ["--directory", folder, "--workflow-profile", profile]
    if on_slurm:
        # By this name the jobs of this sweep are known, also when it is started again.
        prefix = f"segloss-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
        cancel_left_behind(prefix)
        command += ["--slurm-jobname-prefix", prefix]
        gpus = []  # Slurm gives them
    else:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
        gpus = local_gpus()
        command += ["--resources", f"mem_mb={memory}", f"gpu={len(gpus)}"]
    missing = [run for run in runs if not (folder / "runs" / run.id).exists()]
    if not missing:
        return
    write_plan(missing, folder, notebook, gpus)
    # Ctrl-C reaches Snakemake as well, which ends its jobs; then the rest is gathered.
    signal.signal(signal.SIGINT, lambda *_: None)
    subprocess.run(command, pass_fds=[lock.fileno()])


def write_plan(runs, folder, notebook, gpus):
    """What the jobs read: `plan.json`, and the parameters of each run for papermill."""
    tuning = {run.id: f"tuning/{run.tuning.id}.json" for run in runs if run.tuning}
    for run in runs:
        if run.tuning:
            settings = yaml.safe_dump(dataclasses.asdict(run.tuning.experiment), sort_keys=False)
            write_whole(folder / "tuning" / f"{run.tuning.id}.yaml", settings)
        parameters = run.parameters | {"out": str(folder / "runs" / run.id)}
        if run.tuning:
            parameters["tuning"] = str(folder / tuning[run.id])
        text = yaml.safe_dump(parameters, sort_keys=False)
        write_whole(folder / "runs" / f"{run.id}.yaml", text)
        (folder / "runs" / f".{run.id}.done").unlink(missing_ok=True)
    plan = {"notebook": str(notebook), "cwd": os.getcwd(), "gpus": gpus}
    plan |= {"runs": [run.id for run in runs], "tuning": tuning}
    write_whole(folder / "plan.json", json.dumps(plan, indent=1) + "\n")


def local_gpus():
    """The names of the GPUs that this process may use, for CUDA_VISIBLE_DEVICES."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    except OSError:
        return []
    return [str(i) for i in range(listed.stdout.count("GPU ") if not listed.returncode else 0)]


def cancel_left_behind(prefix):
    """Ends the jobs of a sweep that was killed; each run goes on from where it was."""
    while jobs := jobs_named(prefix):
        print(f"Cancelling {len(jobs)} jobs that were left behind.", flush=True)
        subprocess.run(["scancel", *jobs], check=True)
        time.sleep(2)


def jobs_named(prefix):
    listed = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%i %j"],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    pairs = (line.split(maxsplit=1) for line in listed.splitlines())
    return [job for job, name in pairs if name.startswith(prefix)]


def report(provenance, folder):
    """Says what is there and what is not; returns the exit status."""
    failed, runs = provenance["failed"], provenance["runs"]
    print(f"{len(runs)} of {len(runs) + len(failed)} runs are in {folder / 'table.csv'}")
    for run in runs:
        if not run["notebook"]:
            print(f"whole, but its notebook stopped behind the training: {run['id']}")
    for run in failed:
        print(f"failed: {run['dataset']}, {run['run']}, seed {run['seed']}: {run['error']}")
        if run["notebook"]:
            print(f"        {folder / 'runs' / run['notebook']}")
    return 1 if failed else 0


if __name__ == "__main__":
    main()

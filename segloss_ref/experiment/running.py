"""A run: trained, evaluated, and written to a folder, whole or not at all."""

import contextlib
import dataclasses
import fcntl
import hashlib
import inspect
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from segloss_ref.datasets.folder import fingerprint
from segloss_ref.experiment.data import splits_of
from segloss_ref.experiment.evaluation import dice_at_best_cut, levels_of, means, scores_of
from segloss_ref.experiment.rescoring import keep
from segloss_ref.experiment.settings import Experiment, own_model
from segloss_ref.experiment.training import check_data, train
from segloss_ref.experiment.tuning import chosen, tuned, tuning_seed
from segloss_ref.machine import devices, processor
from segloss_ref.writing import write_rows, write_whole


def run(
    experiment: Experiment,
    out: str | os.PathLike[str],
    *,
    tuning: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Trains, evaluates on the test split, and writes a folder, whole or not at all.

    The folder holds `record.json` (settings, versions, commit, seconds), `history.csv` (a row
    per look at the validation images), `metrics.csv` (a row per test image), `model.keras`, and
    `probabilities.npz` (those of the test images, in 8 bits), from which `rescore` computes every
    score again. Binary masks are scored at 1/2 and at the cut that is best on the validation
    images, `cut` in the record.
    Until it is complete, everything lies in a hidden folder beside it, `.NAME.partial`. A run that
    was killed or failed goes on from there, at its last look at the validation images, and ends
    as if nothing had happened. A bar shows the progress in a terminal, and nothing elsewhere.

    Args:
        experiment: an `Experiment`.
        out: the folder to make. It must not exist.
        tuning: a file of `tune`, for runs of several seeds that share one; it counts where
            `learning_rate` is `None`. By default the run is tuned by itself, with a seed that is
            not its own.

    Returns:
        The record, a dict.

    Raises:
        FileExistsError: if `out` exists: results are never overwritten.
        ValueError: if data, loss and `crop` do not fit together, or the tuning is of another
            experiment.
        RuntimeError: if no learning rate lets the loss find anything.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} exists already. Remove it, or name another folder.")
    started = time.perf_counter()
    data = splits_of(experiment)
    check_data(experiment, data[0])
    shared = None if tuning is None else json.loads(Path(tuning).read_text())
    if shared is not None and experiment.learning_rate is None:
        chosen(experiment, shared)  # which refuses what is of another experiment
    partial = out.parent / f".{out.name}.partial"
    out.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(out):
        try:
            _open_partial(partial, experiment)
            record = _run_into(experiment, data, partial, started, shared)
            os.replace(partial / "result", out)
        except OSError as error:
            if partial.is_dir() and any(partial.glob("step-*.keras")):
                error.add_note(
                    f"What is done lies in {partial}. Run the same again to go on from there."
                )
            raise
        shutil.rmtree(partial)
    return record


@contextlib.contextmanager
def _only_one(out):
    """Holds the name of a run for this process. The lock ends with it, however it ends."""
    file = out.parent / f".{out.name}.running"
    with file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise FileExistsError(
                f"{out} is being made by another process: {lock.read()}. Wait for it or end it, "
                "or name another folder."
            ) from error
        if out.exists():  # made while this process was loading its data
            raise FileExistsError(f"{out} exists already. Remove it, or name another folder.")
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}")
        lock.flush()
        yield
        file.unlink(missing_ok=True)


def _open_partial(partial, experiment):
    """Keeps what a run of these settings, data and versions has left there; removes any other."""
    identity = json.dumps(_identity(experiment), indent=2) + "\n"
    note = partial / "identity.json"
    if not (note.exists() and note.read_text() == identity):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_whole(note, identity)


def _identity(experiment):
    folder = experiment.data_dir
    backend = keras.backend.backend()
    return {
        "settings": dataclasses.asdict(experiment),
        "data": None if folder is None else fingerprint(folder),
        "model": None if experiment.model == "unet" else _source(experiment.model),
        "versions": {
            **{name: version(name) for name in ("segloss_ref", "keras", "numpy")},
            # Of the module: its package may be called otherwise, as `tensorflow-cpu` is.
            backend: sys.modules[backend].__version__,
        },
        "python": platform.python_version(),
        "backend": backend,
        "device": f"{', '.join(devices())} on {processor()}",
        "commit": _commit(),
    }


def _source(model):
    """The digest of the file that a model of one's own is written in."""
    file = inspect.getsourcefile(own_model(model))
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def tune(experiment: Experiment, out: str | os.PathLike[str]) -> dict[str, Any]:
    """Chooses a learning rate and the loss's main setting, for runs of several seeds.

    Killed and called again, it goes on with the trials that are left.

    Args:
        experiment: an `Experiment` without a `learning_rate`; its seed is that of the trials.
        out: the JSON file to make: what `tuned` returns, with versions, commit and device.

    Returns:
        What the file holds, a dict.

    Raises:
        FileExistsError: if `out` exists.
        ValueError: if there is nothing to tune, or data, loss and `crop` do not fit together.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} exists already. Remove it, or name another file.")
    if experiment.learning_rate is not None:
        raise ValueError(
            "`learning_rate` must be None for a tuning, which chooses it. "
            f"Received: {experiment.learning_rate}"
        )
    images, validation, _ = splits_of(experiment)
    check_data(experiment, images)
    partial = out.parent / f".{out.name}.partial"
    out.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(out):
        _open_partial(partial, experiment)
        found = tuned(experiment, images, validation, partial / "tuning.json")
        result = {**_identity(experiment), **found}
        write_whole(out, json.dumps(result, indent=1) + "\n")
        shutil.rmtree(partial)
    return result


def _run_into(experiment, data, partial, started, tuning):
    images, validation, test = data
    trained = experiment
    if experiment.learning_rate is None:
        if tuning is None:
            seed = tuning_seed([experiment.seed])
            trials = dataclasses.replace(experiment, seed=seed)
            tuning = tuned(trials, images, validation, partial / "tuning.json")
        trained = chosen(experiment, tuning)
    rate = trained.learning_rate
    model, history = train(trained, images, validation, rate, experiment.steps, partial)
    levels = np.stack(list(levels_of(model, test)))
    cut = dice_at_best_cut(model, validation)[1]
    rows = scores_of(levels, test, cut)
    record = {
        **_identity(experiment),
        "parameters": model.count_params(),
        "learning_rate": rate,
        "tuning": None if experiment.learning_rate else tuning,
        "steps": history[-1]["step"],
        "ended_by": "steps" if history[-1]["step"] == experiment.steps else "seconds",
        "seconds": round(time.perf_counter() - started, 1),
        "seconds_training": round(history[-1]["seconds"], 1),
        "cut": cut,
        "groups": test.groups and dict(zip(test.names, test.groups)),
        "test": means(rows),
    }
    result = partial / "result"
    shutil.rmtree(result, ignore_errors=True)
    result.mkdir()
    write_rows(result / "history.csv", history)
    write_rows(result / "metrics.csv", rows)
    keep(result, levels, test, cut)
    model.save(result / "model.keras")
    write_whole(result / "record.json", json.dumps(record, indent=2) + "\n")
    return record


def _commit():
    """The commit of the clone that the package is used from, `None` elsewhere.

    An installed package may lie in somebody else's repository, whose commit is not ours.
    """
    folder = Path(__file__).resolve().parents[2]

    def git(*arguments):
        command = ["git", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)

    try:
        top = Path(git("rev-parse", "--show-toplevel").stdout.strip())
        git("ls-files", "--error-unmatch", "segloss_ref/__init__.py")
        if top.resolve() != folder:
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40").stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

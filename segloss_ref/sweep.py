"""Sweeps: data sets x losses x seeds, from a small YAML file to one tidy table.

    datasets:
      - synthetic/cells
      - {dataset: nuclei, size: 256, limit: 64}
    losses:
      cross-entropy: {loss: BinaryCrossEntropyLoss}
      Dice, smooth 0.1: {loss: DiceLoss, options: {smooth: 0.1}}
      Dice + half cross-entropy: {loss: DiceLoss + 0.5 * BinaryCrossEntropyLoss}
    seeds: 3
    settings: {steps: 200, crop: 96}

`read_sweep` says what is wrong with such a file before anything runs; `workflow/` runs it.
"""

import csv
import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Callable, Collection, Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from segloss_ref.checks import check_keys
from segloss_ref.experiment import Experiment
from segloss_ref.extras import require
from segloss_ref.writing import write_whole

yaml = require("yaml", extra="sweep")

COLUMNS = ("dataset", "run", "seed", "image", "metric", "value")
KEYS = ("datasets", "losses", "seeds", "settings")
FIELDS = tuple(field.name for field in dataclasses.fields(Experiment))
MOST_RUNS = 100_000
# What a file may set for all runs, or for those of one data set.
SETTINGS = tuple(name for name in FIELDS if name not in ("dataset", "loss", "options", "seed"))


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep: the names that its table shows, and the settings.

    Args:
        dataset: the name of the data set in this sweep.
        name: the name of the loss in this sweep.
        experiment: the settings.
    """

    dataset: str
    name: str
    experiment: Experiment

    @property
    def id(self) -> str:
        """A safe file name. It ends in a digest of the settings: other settings, other run."""
        settings = json.dumps(dataclasses.asdict(self), sort_keys=True, default=str)
        digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
        words = f"{self.dataset}-{self.name}-seed{self.experiment.seed}"
        return f"{re.sub(r'[^A-Za-z0-9]+', '-', words).strip('-')[:80]}-{digest}"

    @property
    def parameters(self) -> dict[str, Any]:
        """What papermill is told: the settings, with the options of the loss among them."""
        settings = dataclasses.asdict(self.experiment)
        options = settings.pop("options")
        return settings | options


def read_sweep(path: str | PathLike[str]) -> list[Run]:
    """Reads a sweep and checks all of it.

    Args:
        path: of the YAML file.

    Returns:
        A list of `Run`, data set by data set, loss by loss, seed by seed.

    Raises:
        ValueError: names the file and the key, and says what came and what is allowed.
        TypeError: the same for a value of the wrong type.
    """
    path = Path(path)
    try:
        sweep = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    try:
        return _runs(sweep)
    except (TypeError, ValueError) as error:
        raise _kind(error)(f"{path}: {error}") from error


def _kind(error):
    return TypeError if isinstance(error, TypeError) else ValueError


class _Loader(yaml.SafeLoader):
    """YAML without two of its traps: 1e-3 is a number, and no key may come twice."""

    def construct_mapping(self, node, deep=False):
        # Otherwise the last of two equal keys wins in silence, and a loss is missing.
        seen = []
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark
                )
            seen.append(key.value)
        return super().construct_mapping(node, deep)


def _plain_integer(loader, node):
    """YAML reads 010 as 8, 1:30 as 90 and 1_000 as 1000: whole numbers are written plainly here."""
    if not re.fullmatch(r"[-+]?(0|[1-9][0-9]*)", node.value):
        raise yaml.MarkedYAMLError(
            problem=f"{node.value} is no plain whole number; for a text write '{node.value}'",
            problem_mark=node.start_mark,
        )
    return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:int", _plain_integer)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), "-+0123456789"
)


def _runs(sweep):
    check_keys("the file", sweep, KEYS, needed=("datasets", "losses"))
    settings = sweep.get("settings") or {}
    check_keys("`settings`", settings, SETTINGS)
    datasets = _datasets(sweep["datasets"])
    losses = _losses(sweep["losses"])
    seeds = _seeds(sweep.get("seeds", 1))
    if (number := len(datasets) * len(losses) * len(seeds)) > MOST_RUNS:
        raise ValueError(f"A sweep has at most {MOST_RUNS} runs. Received: {number}")
    return [
        Run(dataset, name, _experiment(dataset, name, {**settings, **own, **loss, "seed": seed}))
        for dataset, own in datasets.items()
        for name, loss in losses.items()
        for seed in seeds
    ]


def _datasets(given):
    """The settings of each data set by its name."""
    if not isinstance(given, list) or not given:
        raise TypeError(f"`datasets` must be a list of at least one. Received: {given!r}")
    found = {}
    for number, own in enumerate(given):
        where = f"`datasets[{number}]`"
        own = {"dataset": own} if isinstance(own, str) else own
        check_keys(where, own, ("name", "dataset", *SETTINGS))
        own = dict(own)
        if not {"dataset", "data_dir"} & {*own}:
            raise ValueError(f"{where} must have a `dataset` or `data_dir`. Received: {own!r}")
        name = str(own.pop("name", None) or own.get("dataset") or Path(str(own["data_dir"])).name)
        if name in found:
            raise ValueError(f"{where}: {name!r} is there twice. Give each its own `name`.")
        found[name] = own
    return found


def _losses(given):
    check_keys("`losses`", given)
    if not given:
        raise ValueError("`losses` must hold at least one. Received: {}")
    for name, loss in given.items():
        where = f"`losses: {name}`"
        check_keys(where, loss, ("loss", "options"), needed=("loss",))
        check_keys(f"{where}, `options`", loss.get("options", {}))
        clash = sorted({*loss.get("options", {})} & {*FIELDS, "out"})
        if clash:
            raise ValueError(
                f"{where}, `options`: {', '.join(clash)} would be taken for a setting of the run."
            )
    return given


def _seeds(given):
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return range(given)
    if not isinstance(given, list) or not given or any(type(seed) is not int for seed in given):
        raise TypeError(
            f"`seeds` must be a number of seeds or a list of integers. Received: {given!r}"
        )
    if len(set(given)) < len(given):
        raise ValueError(f"`seeds` must differ. Received: {given}")
    return given


def _experiment(dataset, name, settings):
    try:
        return Experiment(**settings)
    except (TypeError, ValueError) as error:
        raise _kind(error)(f"`datasets: {dataset}` with `losses: {name}`: {error}") from error


def gather(
    runs: Iterable[Run],
    folder: str | PathLike[str],
    table: str | PathLike[str],
    *,
    keep: Collection[str] | None = None,
    scores: Callable[[Run, keras.Model], Iterable[tuple[str, str, str, float]]] | None = None,
) -> dict[str, Any]:
    """Writes one tidy table of the runs that are finished, and beside it where it came from.

    A run is finished if its folder exists: it appears whole or not at all. The table does not
    depend on the order of the runs. The file with the suffix `.json` holds settings, versions,
    commit and seconds of each run (`notebook` is `None` where that did not come to its end), and
    the runs that failed, with what they said last.

    Args:
        runs: a list of `Run`.
        folder: holds the folder of each run, and beside it its notebook and log, named by its id.
        table: the CSV file to write.
        keep: the metrics of the runs that the table shall have; all of them by default.
        scores: a function of a run and its trained model that gives further rows, tuples of the
            name to show for the run, image, metric and value. They are rounded to four decimals;
            NaN is left empty.

    Returns:
        What the JSON file holds, a dict.

    Raises:
        ValueError: if there are `scores` to add and a run is missing: such a table is for
            publishing, and half of one must not replace a whole one.
    """
    folder, table = Path(folder), Path(table)
    runs = sorted(runs, key=lambda run: (run.dataset, run.name, run.experiment.seed))
    finished = [run for run in runs if (folder / run.id).is_dir()]
    missing = [run.id for run in runs if run not in finished]
    if scores is not None and missing:
        raise ValueError(
            f"{len(missing)} of {len(runs)} runs are not in {folder}, such as {missing[0]}. "
            f"Finish the sweep first; {table} stays as it is."
        )
    rows = [row for run in finished for row in _rows(run, folder) if keep is None or row[4] in keep]
    if scores is not None:
        rows += [row for run in finished for row in _rescored(run, folder, scores)]
    rows.sort()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    provenance = {
        # The two files are not replaced in one instant; the digest says that they belong together.
        "sha256": hashlib.sha256(text.getvalue().encode()).hexdigest(),
        "runs": [_finished(run, folder) for run in finished],
        "failed": [_failed(run, folder) for run in runs if run not in finished],
    }
    write_whole(table, text.getvalue())
    write_whole(table.with_suffix(".json"), json.dumps(provenance, indent=1) + "\n")
    return provenance


def _rows(run, folder):
    """Rows of the table. The values are copied as they are written, digit by digit."""
    with (folder / run.id / "metrics.csv").open(newline="") as file:
        for scores in csv.DictReader(file):
            image = scores.pop("image")
            for metric, value in scores.items():
                yield run.dataset, run.name, run.experiment.seed, image, metric, value


def _rescored(run, folder, scores):
    model = keras.models.load_model(folder / run.id / "model.keras")
    for name, image, metric, value in scores(run, model):
        text = "" if np.isnan(value) else f"{round(float(value), 4):.10g}"
        yield run.dataset, name, run.experiment.seed, image, metric, text


def _names(run):
    return {"id": run.id, "dataset": run.dataset, "run": run.name, "seed": run.experiment.seed}


def _finished(run, folder):
    notebook = folder / f"{run.id}.ipynb"
    record = json.loads((folder / run.id / "record.json").read_text())
    return _names(run) | {"notebook": notebook.name if _ran_through(notebook) else None} | record


def _ran_through(notebook):
    """Whether papermill came to the end of it."""
    try:
        cells = json.loads(notebook.read_text())["cells"]
    except (OSError, ValueError):  # also half a file, where it was killed as it wrote
        return False
    states = {cell["metadata"].get("papermill", {}).get("status", "completed") for cell in cells}
    return states == {"completed"}


def _failed(run, folder):
    notebook, log = folder / f"{run.id}.ipynb", folder / f"{run.id}.log"
    said = log.read_text(errors="replace") if log.exists() else ""
    errors = re.findall(r"^[\w.]*(?:Error|Exception|Interrupt)\b.*", said, flags=re.MULTILINE)
    return _names(run) | {
        "notebook": notebook.name if notebook.exists() else None,
        "error": errors[-1] if errors else "killed or never started: it has written no error",
    }

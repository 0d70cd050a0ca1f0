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
    tuning_steps: 100         # tune as if a run had so many steps; by default as many as it has

`read_sweep` says what is wrong with such a file before anything runs; `workflow/` runs it.
`publish` keeps each finished run as a small table of its own, and what is published is not run
again, here or elsewhere.
"""

import csv
import dataclasses
import gzip
import hashlib
import io
import json
import re
import subprocess
from collections.abc import Callable, Collection, Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from segloss_ref.checks import check_keys, check_whole
from segloss_ref.experiment import Experiment
from segloss_ref.experiment.tuning import tuning_seed
from segloss_ref.extras import require
from segloss_ref.writing import write_whole

yaml = require("yaml", extra="sweep")

COLUMNS = ("dataset", "run", "seed", "image", "metric", "value", "group")
KEYS = ("datasets", "losses", "seeds", "settings", "tuning_steps")
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
        tuning_seed: the seed of the tuning that all seeds share; `None` where the learning rate is
            given.
        tuning_steps: the steps of the run that is tuned in its place; `None` for its own.
    """

    dataset: str
    name: str
    experiment: Experiment
    tuning_seed: int | None = None
    tuning_steps: int | None = None

    @property
    def id(self) -> str:
        """A safe file name. It ends in a digest of the settings: other settings, other run."""
        given = dataclasses.asdict(self)
        if self.tuning_steps is None:
            del given["tuning_steps"]  # which runs that are published did not have
        settings = json.dumps(given, sort_keys=True, default=str)
        digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
        return f"{self._words}-seed{self.experiment.seed}"[:80] + f"-{digest}"

    @property
    def _words(self):
        return re.sub(r"[^A-Za-z0-9]+", "-", f"{self.dataset}-{self.name}").strip("-")

    @property
    def tuning(self) -> "Run | None":
        """The tuning that this run takes its rate from, as a run whose seed is that of the trials.

        `None` where the learning rate is given.
        """
        if self.tuning_seed is None:
            return None
        steps = {}
        if self.tuning_steps is not None:
            steps = {"steps": self.tuning_steps, "evaluate_every": None}
        experiment = dataclasses.replace(self.experiment, seed=self.tuning_seed, **steps)
        return dataclasses.replace(self, experiment=experiment, tuning_steps=None)

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
    shared = tuning_seed(seeds)
    found = [
        Run(dataset, name, _experiment(dataset, name, {**settings, **own, **loss, "seed": seed}))
        for dataset, own in datasets.items()
        for name, loss in losses.items()
        for seed in seeds
    ]
    told = {"tuning_seed": shared, "tuning_steps": _tuning_steps(sweep, found)}
    return [
        run if run.experiment.learning_rate else dataclasses.replace(run, **told) for run in found
    ]


def _tuning_steps(sweep, runs):
    steps = sweep.get("tuning_steps")
    if steps is not None:
        check_whole("tuning_steps", steps, at_least=1)
        if all(run.experiment.learning_rate for run in runs):
            raise ValueError(
                "`tuning_steps` is of runs that are tuned, and all have a `learning_rate`. "
                f"Received: {steps}"
            )
    return steps


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
        clash = sorted({*loss.get("options", {})} & {*FIELDS, "out", "tuning"})
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
    published: str | PathLike[str] | None = None,
) -> dict[str, Any]:
    """Writes one tidy table of the runs that are finished, and beside it where it came from.

    A run is finished if its folder exists: it appears whole or not at all. The table does not
    depend on the order of the runs. The file with the suffix `.json` holds settings, versions,
    commit, seconds and looks at the validation images of each run (`notebook` is `None` where that
    did not come to its end), and the runs that failed, with what they said last. The column `group`
    says which images were taken together, for `segloss_ref.analysis`.

    Args:
        runs: a list of `Run`.
        folder: holds the folder of each run, and beside it its notebook and log, named by its id.
        table: the CSV file to write; compressed if its name ends in `.csv.gz`.
        keep: the metrics of the runs that the table shall have; all of them by default.
        scores: a function of a run and its trained model that gives further rows, tuples of the
            name to show for the run, image, metric and value. They are rounded to four decimals;
            NaN is left empty.
        published: a folder of `publish`; the runs that are not in `folder` are taken from it.

    Returns:
        What the JSON file holds, a dict.

    Raises:
        ValueError: if there are `scores` to add and a run is missing: such a table is for
            publishing, and half of one must not replace a whole one. If a published run is damaged.
    """
    folder, table = Path(folder), Path(table)
    runs = sorted(runs, key=lambda run: (run.dataset, run.name, run.experiment.seed))
    finished = [run for run in runs if (folder / run.id).is_dir()]
    shards = [run for run in runs if run not in finished and is_published(run, published)]
    missing = [run.id for run in runs if run not in finished]
    if scores is not None and missing:
        raise ValueError(
            f"{len(missing)} of {len(runs)} runs are not in {folder}, such as {missing[0]}. "
            f"Finish the sweep first; {table} stays as it is."
        )
    rows = [row for run in finished for row in _rows(run, folder) if keep is None or row[4] in keep]
    for run in shards:
        rows += [row for row in _published(run, published)[0] if keep is None or row[4] in keep]
    if scores is not None:
        rows += [row for run in finished for row in _rescored(run, folder, scores)]
    rows.sort(key=lambda row: (*row[:2], int(row[2]), *row[3:]))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    provenance = {
        # The two files are not replaced in one instant; the digest says that they belong together.
        "sha256": hashlib.sha256(text.getvalue().encode()).hexdigest(),
        "runs": [
            _published(run, published)[1] if run in shards else _finished(run, folder)
            for run in runs
            if run in finished or run in shards
        ],
        "failed": [_failed(run, folder) for run in runs if run not in finished + shards],
    }
    write_whole(table, text.getvalue())
    name = table.name.removesuffix(".gz").removesuffix(".csv")
    write_whole(table.with_name(f"{name}.json"), json.dumps(provenance, indent=1) + "\n")
    return provenance


def publish(
    runs: Iterable[Run], folder: str | PathLike[str], published: str | PathLike[str]
) -> list[Run]:
    """Keeps each finished run in two small files, `ID.csv.gz` and `ID.json`, as `gather` has them.

    Runs that are published already stay as they are. Nothing is written unless all can be.

    Args:
        runs: a list of `Run`.
        folder: holds the folder of each run; those that are not there are left out.
        published: where to put the files, such as `data/results/NAME`: a folder in a clone of this
            repository.

    Returns:
        The runs that were published now.

    Raises:
        ValueError: if a file of the clone that is no result was changed and not committed, or a
            run was made from a commit that is not whole, or not in its history.
    """
    folder, published = Path(folder), Path(published)
    runs = [run for run in runs if (folder / run.id).is_dir() and not is_published(run, published)]
    if not runs:
        return []
    published.mkdir(parents=True, exist_ok=True)
    changed = _git(published, "status", "--porcelain", "--untracked-files=no", ":/").splitlines()
    if changed := [line for line in changed if not line[3:].startswith("data/results/")]:
        raise ValueError(
            f"Only from a clean clone are results published. Commit or undo first: {changed[0]}"
        )
    for run in runs:
        _check_commit(run, folder, published)
    for run in runs:
        # The table is written before its JSON file: a shard without one is not published.
        gather([run], folder, published / f"{run.id}.csv.gz")
    return runs


def is_published(run: Run, published: str | PathLike[str] | None) -> bool:
    """Whether a folder of `publish` has this run."""
    return published is not None and (Path(published) / f"{run.id}.json").exists()


def published_tuning(run: Run, published: str | PathLike[str]) -> dict[str, Any] | None:
    """The tuning of a run, where a published run has been tuned so, here or in another sweep.

    Args:
        run: one that is tuned.
        published: the folder of its sweep; the folders beside it are looked at, too.

    Returns:
        What `tune` would find, or `None`.
    """
    wanted = json.loads(json.dumps(dataclasses.asdict(run.tuning.experiment)))
    for file in sorted(Path(published).parent.glob(f"*/{f'{run._words}-seed'[:80]}*.json")):
        tuning = json.loads(file.read_text())["runs"][0].get("tuning")
        if tuning and tuning["settings"] == wanted:
            return tuning
    return None


def _check_commit(run, folder, published):
    commit = json.loads((folder / run.id / "record.json").read_text()).get("commit")
    if not commit or commit.endswith("-dirty"):
        raise ValueError(f"{run.id} was not made from a commit as it stands. Received: {commit}")
    try:
        _git(published, "merge-base", "--is-ancestor", commit, "HEAD")
    except subprocess.CalledProcessError as error:
        raise ValueError(
            f"{run.id} was made from a commit that is not in this history: {commit}"
        ) from error


def _git(folder, *arguments):
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def _published(run, folder):
    """The rows of a published run, and where they came from."""
    table = Path(folder) / f"{run.id}.csv.gz"
    told = json.loads((Path(folder) / f"{run.id}.json").read_text())
    try:
        data = gzip.decompress(table.read_bytes())
    except (OSError, EOFError) as error:
        raise ValueError(f"{table} is damaged: {error}") from error
    if hashlib.sha256(data).hexdigest() != told["sha256"]:
        raise ValueError(f"{table} is not the table that {run.id}.json tells of.")
    _, *rows = csv.reader(io.StringIO(data.decode()))
    return [tuple(row) for row in rows], told["runs"][0]


def _rows(run, folder):
    """Rows of the table. The values are copied as they are written, digit by digit."""
    group = _groups(run, folder)
    with (folder / run.id / "metrics.csv").open(newline="") as file:
        for scores in csv.DictReader(file):
            image = scores.pop("image")
            for metric, value in scores.items():
                yield run.dataset, run.name, run.experiment.seed, image, metric, value, group(image)


def _groups(run, folder):
    """What an image was taken together with; each one alone, where that is not known."""
    groups = json.loads((folder / run.id / "record.json").read_text()).get("groups") or {}
    return lambda image: groups.get(image, image)


def _rescored(run, folder, scores):
    model, group = keras.models.load_model(folder / run.id / "model.keras"), _groups(run, folder)
    for name, image, metric, value in scores(run, model):
        text = "" if np.isnan(value) else f"{round(float(value), 4):.10g}"
        yield run.dataset, name, run.experiment.seed, image, metric, text, group(image)


def _names(run):
    return {"id": run.id, "dataset": run.dataset, "run": run.name, "seed": run.experiment.seed}


def _finished(run, folder):
    notebook = folder / f"{run.id}.ipynb"
    record = json.loads((folder / run.id / "record.json").read_text())
    names = _names(run) | {"notebook": notebook.name if _ran_through(notebook) else None}
    return names | record | {"history": _history(folder / run.id / "history.csv")}


def _history(file):
    """What a run saw when it looked at the validation images; not the time, which varies."""
    with file.open(newline="") as rows:
        return [
            {"step": int(row.pop("step"))}
            # Several classes have no cut: an empty field.
            | {name: float(value) for name, value in row.items() if name != "seconds" and value}
            for row in csv.DictReader(rows)
        ]


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
    if run.tuning and not log.exists():  # it did not come to the training
        log = folder.parent / "tuning" / f"{run.tuning.id}.log"
    said = log.read_text(errors="replace") if log.exists() else ""
    errors = re.findall(r"^[\w.]*(?:Error|Exception|Interrupt)\b.*", said, flags=re.MULTILINE)
    return _names(run) | {
        "notebook": notebook.name if notebook.exists() else None,
        "error": errors[-1] if errors else "killed or never started: it has written no error",
    }

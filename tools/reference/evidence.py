"""What the published tables say of a loss: other libraries beside it, and runs with it."""

import csv
import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from segloss_ref import analysis

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "data" / "results"

#: The chapter that discusses the runs of a folder; of any other, it is the general one.
CHAPTERS = {"touching_nuclei": "chap-touching-cells"}
GENERAL = "chap-comparison"


def parity(loss: str) -> list[str]:
    """A folded list of the classes of other libraries that were compared with a loss."""
    rows = [row for row in _parity() if row["loss"] == loss]
    if not rows:
        return []
    found = [
        f".. admonition:: In other libraries: equal in {_equal(rows)} comparisons",
        "    :class: dropdown",
        "",
        "    Value and gradient of each, for the same masks and predictions; see",
        "    :ref:`the conventions of the libraries <chap-conventions>`.",
        "",
    ]
    key = ("library", "their_class", "their_settings", "settings")
    for (library, name, theirs, ours), cases in itertools.groupby(
        rows, key=lambda row: [row[k] for k in key]
    ):
        cases = list(cases)
        notes = dict.fromkeys(row["note"] for row in cases if row["note"])
        calls = f"``{name}({_without(theirs, 'from_logits=True')})`` is ``{loss}({ours})``"
        why = f": {_escaped('; '.join(notes))}" if notes else ""
        found += [f"    * {library}: {calls} in {_equal(cases)}{why}"]
    return [*found, ""]


def _equal(rows):
    same = sum(row["agrees"] == row["gradient_agrees"] == "True" for row in rows)
    return f"{same} of {len(rows)}"


@functools.cache
def _parity():
    with (RESULTS / "parity.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _without(settings, shared):
    """Settings without the one that all have, which says nothing here."""
    return ", ".join(part for part in settings.split(", ") if part and part != shared)


def _escaped(text):
    return re.sub(r"([\\*|`_])", r"\\\1", text)


def results(loss: str) -> list[str]:
    """A table of the runs with this loss in the published sweeps; nothing, if there is none."""
    table = []
    for folder, dataset, run, call, mean, seeds, images in _runs():
        if loss in re.findall(r"\w+", call):
            chapter = f":ref:`{dataset} <{CHAPTERS.get(folder, GENERAL)}>`"
            table.append([chapter, run, f"``{call}``", f"{mean:.3f}", f"{seeds}", f"{images}"])
    if not table:
        return []
    head = ["data set", "run", "loss", "Dice", "seeds", "images"]
    return _table(head, table, widths=[15, 20, 35, 10, 10, 10])


@functools.cache
def _runs():
    """Of every folder of a sweep: data set, run, loss as it was made, mean Dice, seeds, images.

    A run that two sweeps have in common is there once.
    """
    found = {}
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        records = analysis.read_records(folder)
        calls = {(run.dataset, run.run): _call(**run.settings) for run in records.itertuples()}
        means = analysis.summary(analysis.read_table(folder), "dice")
        for row in means.itertuples():
            call = calls[row.dataset, row.run]
            scores = call, row.mean, row.seeds, row.images
            found.setdefault((row.dataset, row.run, scores), folder.name)
    return [(folder, dataset, run, *scores) for (dataset, run, scores), folder in found.items()]


def _call(loss, options, **_):
    settings = ", ".join(f"{name}={value!r}" for name, value in sorted(options.items()))
    return f"{loss}({settings})" if settings else loss


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """A list-table of reStructuredText."""
    lines = [".. list-table::", "    :header-rows: 1"]
    lines += ["    :class: reference-table", f"    :widths: {' '.join(map(str, widths))}", ""]
    for row in [head, *rows]:
        lines += [f"    {'* -' if i == 0 else '  -'} {cell}".rstrip() for i, cell in enumerate(row)]
    return [*lines, ""]

"""The losses of segloss_ref beside those of Keras, PyTorch, MONAI and segmentation-models-pytorch.

    make parity        an environment of its own in .cache/parity, then this file there

Every row of `parity_pairs.PAIRS` names a loss here, one there, the settings that make them the same
or come nearest, and for each input on which they differ, how. Both are computed in float64 on the
same inputs, with the gradient of each by the logits. Written are `data/results/parity.csv`, one row
per pair and input, and its provenance beside it. The program fails, and stores nothing, if two
losses differ where nobody has said why, or agree where the table says that they differ.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")  # the others' losses stay on the CPU, too

import csv
import json
import platform
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import keras
import torch
from parity_cases import SEED, every_case
from parity_pairs import PAIRS

import segloss_ref

RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"
PACKAGES = (
    "segloss_ref",
    "keras",
    "torch",
    "torchvision",
    "monai",
    "segmentation-models-pytorch",
    "numpy",
)

#: Two values agree if they differ by less, relative to the larger of theirs and 1. Some of the
#: libraries compute in float32 inside, whatever they are given.
TOLERANCE = 1e-6
#: The same for gradients, relative to the largest of theirs or to `SMALLEST`.
GRADIENT_TOLERANCE = 1e-5
SMALLEST = 1e-3

COLUMNS = (
    "loss",
    "settings",
    "library",
    "their_class",
    "their_settings",
    "classes",
    "case",
    "ours",
    "theirs",
    "agrees",
    "gradient_agrees",
    "note",
)


def value_and_gradient(function, case):
    """The number that a loss gives for a case, and its gradient by the logits."""
    arrays = (case.y, case.z, case.labels, case.weight)
    y, z, labels, weight = (None if a is None else torch.tensor(a) for a in arrays)
    value = function(type(case)(case.kind, y, z.requires_grad_(True), labels, weight))
    if not value.requires_grad:  # a constant, as far as the logits are concerned
        return value.item(), torch.zeros_like(z)
    (gradient,) = torch.autograd.grad(value, z, allow_unused=True)
    return value.item(), torch.zeros_like(z) if gradient is None else gradient


def compare(pair, name, case):
    """One row of the table."""
    ours, our_slope = value_and_gradient(pair.ours, case)
    theirs, their_slope = value_and_gradient(pair.theirs, case)
    scale = max(their_slope.abs().max().item(), SMALLEST)
    off = (our_slope - their_slope).abs().max().item()
    return {
        **pair.described,
        "classes": case.kind,
        "case": name,
        "ours": f"{ours:.6f}",
        "theirs": f"{theirs:.6f}",
        "agrees": bool(abs(ours - theirs) <= TOLERANCE * max(abs(theirs), 1)),
        "gradient_agrees": bool(off <= GRADIENT_TOLERANCE * scale),
        "note": pair.note(name),
    }


def problem_of(row):
    """What a row shows that the table does not say, or `None`."""
    same = row["agrees"] and row["gradient_agrees"]
    if same and row["note"]:
        return "agree, though a note says how they differ"
    if not same and not row["note"]:
        what = "values" if not row["agrees"] else "gradients"
        return f"{what} differ, and no note says why"
    return None


def provenance(seconds):
    root = RESULTS.parent.parent
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.strip()
    return [
        {
            "run": "parity",
            "settings": {
                "seed": SEED,
                "dtype": "float64",
                "tolerance": TOLERANCE,
                "gradient_tolerance": GRADIENT_TOLERANCE,
            },
            "versions": {
                **{name: version(name) for name in PACKAGES[1:]},
                "segloss_ref": segloss_ref.__version__,
            },
            "python": platform.python_version(),
            "backend": keras.backend.backend(),
            "device": f"cpu on {platform.machine()}",
            "commit": commit or None,
            "seconds": round(seconds, 1),
        }
    ]


def main():
    started = time.perf_counter()
    warnings.simplefilter("ignore")  # MONAI warns of what is meant here, such as one channel
    cases, rows, failed = every_case(), [], False
    for pair in PAIRS:
        for name in pair.cases(cases):
            try:
                rows.append(compare(pair, name, cases[pair.kind][name]))
            except Exception as error:
                failed = True
                print(f"{pair.described}, {name}: {error!r}", file=sys.stderr)
                continue
            problem = problem_of(rows[-1])
            if problem:
                failed = True
                print(f"{problem}:\n  {rows[-1]}", file=sys.stderr)
    if failed:  # then what is stored stays
        return 1
    rows = [{key: row[key] for key in COLUMNS} for row in rows]
    with (RESULTS / "parity.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    text = json.dumps(provenance(time.perf_counter() - started), indent=1)
    (RESULTS / "parity.json").write_text(text + "\n")
    agree = sum(row["agrees"] and row["gradient_agrees"] for row in rows)
    print(
        f"{len(PAIRS)} pairs of losses, {len(rows)} rows: {agree} agree, {len(rows) - agree} do not"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs notebooks as another machine would, and says which of their cells do not hold there.

    python tools/elsewhere.py notebooks/region/dice.ipynb ...    these, or all that train
    python tools/elsewhere.py --list                             which are they?

A network in training magnifies the last digit of every sum, and that digit is the processor's. So
what a chapter asserts of a trained network, and what it prints for `make test` to compare, has to
hold in each of VARIANTS, with the package as it is now. A cell *fails* if it raises what it did not
announce, and *differs* if it prints something else than is stored and no tag
`nbval-ignore-output` allows that; pictures are not compared. Run it where the notebooks are fresh
(`make run`): what an older package printed differs, too.

Another seed reaches what `keras.utils.set_random_seed` reaches: initial weights, dropout, the order
of batches, draws from NumPy's global state. It does not reach generators that a cell or the
package makes by itself (synthetic data, the crops of an experiment). Moved weights are those that
layers make.
"""

import argparse
import copy
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"

ONEDNN_OFF = """
import os
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
"""

ONE_THREAD = """
import tensorflow
tensorflow.config.threading.set_intra_op_parallelism_threads(1)
tensorflow.config.threading.set_inter_op_parallelism_threads(1)
"""

# Through the initializer, since the weights of a layer can be made within a graph. In a function,
# since a chapter may have names like these of its own.
MOVED_WEIGHTS = """
def move_weights():
    import keras, numpy

    def moved(initializer):
        def initialize(shape, dtype=None, **options):
            noise = numpy.random.default_rng(0).uniform(-1e-6, 1e-6, shape)
            return initializer(shape, dtype, **options) * keras.ops.cast(1 + noise, dtype)
        return initialize

    made = keras.Layer.add_weight

    def add_weight(layer, shape=None, initializer=None, *args, **options):
        if options.get("trainable", True):
            initializer = moved(keras.initializers.get(initializer or "glorot_uniform"))
        return made(layer, shape, initializer, *args, **options)

    keras.Layer.add_weight = add_weight

move_weights()
"""

OTHER_SEED = """
def other_seeds():
    import keras

    from segloss_ref.experiment import testbed

    made = keras.utils.set_random_seed
    keras.utils.set_random_seed = lambda seed: made(seed + {shift})
    testbed.FIRST_SEED = {shift}

other_seeds()
"""

VARIANTS = {
    "oneDNN off": ONEDNN_OFF,
    "one thread": ONE_THREAD,
    "weights": MOVED_WEIGHTS,
    "seed 1": OTHER_SEED.format(shift=1000),
    "seed 2": OTHER_SEED.format(shift=2000),
    "seed 3": OTHER_SEED.format(shift=3000),
}

TRAINING = re.compile(r"\b(fit|trial|train_on_batch|apply_gradients)\(|\brun\(experiment")


def trains(notebook):
    """Whether a cell of the notebook trains a network, as far as its text tells."""
    return any(c.cell_type == "code" and TRAINING.search(c.source) for c in notebook.cells)


def faults(notebook, folder):
    """Runs a notebook once for each variant, each in a process of its own.

    Args:
        notebook: with the outputs that should hold.
        folder: where it runs.

    Returns:
        A dict, `{(number of the cell, variant): fault}`.
    """
    found = {}
    for variant, preparation in VARIANTS.items():
        ran = execute(notebook, preparation, folder)
        for number, (here, there) in enumerate(zip(notebook.cells, ran.cells, strict=True)):
            if fault := fault_of(here, there):
                found[number, variant] = fault
    return found


def execute(notebook, preparation, folder):
    """A copy of the notebook that ran after the code `preparation`."""
    copied = copy.deepcopy(notebook)
    copied.cells.insert(0, nbformat.v4.new_code_cell(preparation))
    NotebookClient(
        copied,
        timeout=900,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    del copied.cells[0]
    return copied


def fault_of(here, there):
    """What is wrong with a cell that ran elsewhere: one line, or nothing."""
    if here.cell_type != "code":
        return None
    tags = here.metadata.get("tags", [])
    for output in there.outputs:
        if output.output_type == "error" and "raises-exception" not in tags:
            return f"fails: {failing_line(output)}"
    if "nbval-ignore-output" not in tags and said(here) != said(there):
        return "differs"
    return None


def failing_line(error):
    """The line of the cell that raised, if the traceback names one, and the error."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
    lines = re.findall(r"^-+> *\d+ +(.*)", plain, re.MULTILINE)
    what = f"{error.ename}: {error.evalue}".splitlines()[0]
    return f"{lines[0].strip()} ({what})" if lines else what


def said(cell):
    """What `make test` compares of a cell: its texts, and no pictures."""
    streams = "".join(output.get("text", "") for output in cell.outputs)
    shown = [
        {kind: data for kind, data in output.data.items() if not kind.startswith("image/")}
        for output in cell.outputs
        if "data" in output
    ]
    return streams, shown


def report(name, notebook, found):
    """Prints a line for each cell at fault, a column for each variant; then the lines that fail."""
    numbers = sorted({number for number, _ in found})
    print(f"{name}: {len(numbers)} cells do not hold elsewhere" if found else f"{name}: holds")
    if found:
        print("  cell   " + "".join(f"{variant:12}" for variant in VARIANTS))
    for number in numbers:
        faults_here = [found.get((number, variant), "").split(":")[0] for variant in VARIANTS]
        print(f"  {number:4}   " + "".join(f"{fault:12}" for fault in faults_here).rstrip())
        print(f"         {notebook.cells[number].source.strip().splitlines()[0]}")
    for line in sorted({f"  {n}: {found[n, v]}" for n, v in found if ":" in found[n, v]}):
        print(line)
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="only list the notebooks that train")
    parser.add_argument("notebooks", nargs="*", type=Path, help="all that train by default")
    arguments = parser.parse_args()
    failed = False
    for path in arguments.notebooks or sorted(NOTEBOOKS.rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if not arguments.notebooks and not trains(notebook):
            continue
        if arguments.list:
            print(path)
            continue
        found = faults(notebook, path.parent)
        report(path, notebook, found)
        failed = failed or bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

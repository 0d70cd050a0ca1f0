"""Time of the losses, value and gradient, beside other libraries and beside a floor.

    python benchmarks/bench_losses.py                                   TensorFlow: graph and XLA
    .cache/parity/bin/python benchmarks/bench_losses.py --backend torch      PyTorch, eager
    .cache/jax/bin/python benchmarks/bench_losses.py --backend jax           jax.jit

On float32 logits, with masks or integer class maps. Ours, the peer and the floor take turns in one
process. A ratio is that of the medians, its spread the quartiles of the ratios of single rounds.
The floor is a product and a sum with its gradient: less cannot be done. The time of the first call,
in seconds, is what compiling takes. `--only dice --mode xla --case masks` measures less, `--all`
losses without a peer as well. `--store` puts the rows of the backend into `data/results/speed.csv`
and says beside it what they were measured with; `make bench` does all three, with nothing else
running.
"""

import argparse
import csv
import importlib
import json
import os
import platform
import statistics
import subprocess
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")

TABLE = Path(__file__).resolve().parent.parent / "data" / "results" / "speed.csv"
LIBRARIES = {
    "tensorflow": ("keras", "tensorflow", "numpy"),
    "torch": ("keras", "torch", "monai", "segmentation_models_pytorch", "numpy"),
    "jax": ("keras", "jax", "numpy"),
}
CASES = {"masks": (8, 512, 512, 1), "volumes": (2, 64, 64, 64, 4)}
MODES = {
    "tensorflow": ("graph", "xla"),
    "torch": ("eager", "eager, classes first"),  # or "compiled", which takes minutes
    "jax": ("jit",),
}
COLUMNS = "backend mode case loss peer ratio low high ours_ms peer_ms floors first_s".split()


def draw(shape):
    """Logits, and the truth: a mask of floats, or a class map of integers."""
    import numpy as np

    rng = np.random.default_rng(7)
    z = 2 * rng.normal(size=shape).astype("float32")
    if shape[-1] == 1:
        return (rng.random(shape) > 0.7).astype("float32"), z
    return rng.integers(0, shape[-1], shape[:-1]).astype("int32"), z


def floor(y, z):
    """A product and a sum."""
    from keras import ops

    truth = ops.cast(y if len(y.shape) == len(z.shape) else y[..., None], "float32")
    return ops.sum(z * truth)


# --- The others ---------------------------------------------------------------------------------


def keras_peers(classes):
    from keras import losses, ops

    def of_mask(loss, activated=True):
        return lambda y, z: loss(y, ops.sigmoid(z) if activated else z)

    def of_map(loss, activated=True):
        def call(y, z):
            one_hot = ops.one_hot(y, classes, dtype="float32")
            return loss(one_hot, ops.softmax(z) if activated else z)

        return call

    if classes == 1:
        cross_entropy = of_mask(losses.BinaryCrossentropy(from_logits=True), False)
        dice = of_mask(losses.Dice(axis=(1, 2, 3)))
        focal = losses.BinaryFocalCrossentropy(apply_class_balancing=True, from_logits=True)
        return {
            "BinaryCrossEntropyLoss": cross_entropy,
            "DiceLoss": dice,
            "DiceCrossEntropyLoss": lambda y, z: dice(y, z) + cross_entropy(y, z),
            "FocalLoss": of_mask(focal, False),
            "TverskyLoss": of_mask(losses.Tversky(axis=(1, 2, 3))),
        }
    cross_entropy = losses.SparseCategoricalCrossentropy(from_logits=True)
    dice = of_map(losses.Dice(axis=(1, 2, 3)))
    return {
        "CategoricalCrossEntropyLoss": cross_entropy,
        "DiceLoss": dice,
        "DiceCrossEntropyLoss": lambda y, z: dice(y, z) + cross_entropy(y, z),
        "FocalLoss": of_map(losses.CategoricalFocalCrossentropy(from_logits=True), False),
        "TverskyLoss": of_map(losses.Tversky(axis=(1, 2, 3))),
    }


def torch_peers(classes):
    """One of PyTorch, MONAI or SMP for each; prediction first, classes second."""
    import monai.losses as monai
    import segmentation_models_pytorch.losses as smp
    import torch.nn.functional as F

    def of(loss):
        return lambda y, z: loss(z, y if classes == 1 else y[:, None])

    if classes == 1:
        active = {"sigmoid": True}
        return {
            "BinaryCrossEntropyLoss": lambda y, z: F.binary_cross_entropy_with_logits(z, y),
            "DiceLoss": of(monai.DiceLoss(**active)),
            "DiceCrossEntropyLoss": of(monai.DiceCELoss(**active)),
            "FocalLoss": of(monai.FocalLoss(alpha=0.25)),
            "TverskyLoss": of(monai.TverskyLoss(**active)),
            "GeneralizedDiceLoss": of(monai.GeneralizedDiceLoss(**active)),
            "LovaszHingeLoss": lambda y, z: smp.LovaszLoss("binary")(z, y),
        }
    active = {"softmax": True, "to_onehot_y": True}
    return {
        "CategoricalCrossEntropyLoss": lambda y, z: F.cross_entropy(z, y.long()),
        "DiceLoss": of(monai.DiceLoss(**active)),
        "DiceCrossEntropyLoss": of(monai.DiceCELoss(**active)),
        "FocalLoss": of(monai.FocalLoss(use_softmax=True, to_onehot_y=True)),
        "TverskyLoss": of(monai.TverskyLoss(**active)),
        "GeneralizedDiceLoss": of(monai.GeneralizedDiceLoss(**active)),
    }


# --- One call, forward and backward -------------------------------------------------------------


def tensorflow_step(mode, loss, y, z):
    import tensorflow as tf

    @tf.function(jit_compile=mode == "xla")
    def step(y, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z)
        return value, tape.gradient(value, z)

    y, z = tf.constant(y), tf.constant(z)
    return lambda: step(y, z)[1][0, 0, 0].numpy()


def torch_step(mode, loss, y, z):
    import torch

    y, z = torch.tensor(y), torch.tensor(z, requires_grad=True)
    loss = torch.compile(loss) if mode == "compiled" else loss

    def step():
        z.grad = None
        loss(y, z).backward()

    return step


def jax_step(mode, loss, y, z):
    import jax

    step = jax.jit(jax.value_and_grad(loss, argnums=1))
    y, z = jax.numpy.array(y), jax.numpy.array(z)
    return lambda: jax.block_until_ready(step(y, z))


STEPS = {"tensorflow": tensorflow_step, "torch": torch_step, "jax": jax_step}


def runs(backend, mode, case, only, everything):
    """For each loss: its name, that of its peer, and the steps to time, by who takes them."""
    import keras
    import numpy as np

    import segloss_ref

    y, z = draw(CASES[case])
    classes = z.shape[-1]
    peers = torch_peers(classes) if backend == "torch" else keras_peers(classes)
    common, peers = set(peers), {} if backend == "jax" else peers  # JAX has only the floor
    first = (np.moveaxis(y, -1, 1) if y.ndim == z.ndim else y), np.moveaxis(z, -1, 1).copy()
    entries = [entry.loss for entry in segloss_ref.catalogue()]
    for cls in sorted(entries, key=lambda cls: cls.__name__):
        name = cls.__name__
        loss = cls()
        kind = "binary" if classes == 1 else "exclusive"
        fits = kind in loss.takes and z.ndim - 2 in loss.dimensions and loss.truth == "mask"
        if not fits or not (everything or name in common) or (only and only not in name.lower()):
            continue
        try:
            loss = cls(from_logits=True)
        except TypeError:  # a wrapper
            continue
        ours = (y, z)
        if mode == "eager, classes first":
            loss, ours = cls(from_logits=True, data_format="channels_first"), first
        step = partial(STEPS[backend], mode)
        steps = {"ours": step(loss, *ours), "floor": step(floor, y, z)}
        if name in peers:
            steps["peer"] = step(peers[name], *(first if backend == "torch" else (y, z)))
        peer = "Keras" if backend == "tensorflow" else "PyTorch, MONAI or SMP"
        yield name, peer if name in peers else "", steps
        keras.utils.clear_session()


# --- Measuring ----------------------------------------------------------------------------------


def timed(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measure(steps, rounds, seconds=20.0):
    """Times of each step by round, and that of its first call. Steps take turns."""
    first = {who: timed(step) for who, step in steps.items()}
    for step in steps.values():
        step()
    times = {who: [] for who in steps}
    end = time.perf_counter() + seconds
    for round in range(rounds):
        for who, step in steps.items():
            times[who].append(timed(step))
        if round > 2 and time.perf_counter() > end:
            break
    return times, first


def row_of(times, first):
    medians = {who: statistics.median(of) for who, of in times.items()}
    other = "peer" if "peer" in times else "floor"
    pairs = [a / b for a, b in zip(times["ours"], times[other], strict=True)]
    low, _, high = statistics.quantiles(pairs, n=4)
    return {
        "ratio": f"{medians['ours'] / medians[other]:.2f}",
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
        "ours_ms": f"{1e3 * medians['ours']:.2f}",
        "peer_ms": f"{1e3 * medians['peer']:.2f}" if "peer" in times else "",
        "floors": f"{medians['ours'] / medians['floor']:.1f}",
        "first_s": f"{first['ours']:.1f}",
    }


def store(backend, rows):
    """Replaces the rows of one backend in the table, and its entry in the file beside it."""
    others, made = [], {}
    if TABLE.exists():
        with TABLE.open(newline="") as file:
            others = [row for row in csv.DictReader(file) if row["backend"] != backend]
        made = {
            each["backend"]: each for each in json.loads(TABLE.with_suffix(".json").read_text())
        }
    git = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    made[backend] = {
        "run": "speed",
        "backend": backend,
        "settings": {"cases": CASES, "modes": MODES[backend]},
        "versions": {n: importlib.import_module(n).__version__ for n in LIBRARIES[backend]},
        "python": platform.python_version(),
        "device": f"{os.cpu_count()} cores of {processor()}",
        "commit": subprocess.run(
            git, capture_output=True, text=True, cwd=TABLE.parent
        ).stdout.strip(),
    }
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(others + rows, key=lambda row: list(MODES).index(row["backend"])))
    text = json.dumps([made[name] for name in MODES if name in made], indent=1)
    TABLE.with_suffix(".json").write_text(text + "\n")


def processor():
    """The name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=MODES, default="tensorflow")
    parser.add_argument("--mode", help="one of the modes of the backend")
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--only", default="", help="a part of the names of losses")
    parser.add_argument("--all", action="store_true", help="losses without a peer, too")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--store", action="store_true", help=f"store the rows in {TABLE.name}")
    args = parser.parse_args()
    os.environ["KERAS_BACKEND"] = args.backend
    rows = []
    print("\t".join(COLUMNS[1:]))
    for case in [args.case] if args.case else CASES:
        for mode in [args.mode] if args.mode else MODES[args.backend]:
            found = runs(args.backend, mode, case, args.only.lower(), args.all)
            for name, peer, steps in found:
                row = {"backend": args.backend, "mode": mode, "case": case}
                row |= {"loss": name, "peer": peer, **row_of(*measure(steps, args.rounds))}
                rows.append(row)
                print("\t".join(row[c] for c in COLUMNS[1:]), flush=True)
    if args.store:
        store(args.backend, rows)


if __name__ == "__main__":
    main()

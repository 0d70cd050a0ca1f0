"""Time of the losses, value and gradient, beside other libraries and beside a floor.

    python benchmarks/bench_losses.py                                   TensorFlow: graph and XLA
    .cache/parity/bin/python benchmarks/bench_losses.py --backend torch      PyTorch, eager
    .cache/jax/bin/python benchmarks/bench_losses.py --backend jax           jax.jit

On float32 logits, with masks or integer class maps. Ours, the peers and the floor take turns in one
process; the peer of the table is the fastest. A ratio is that of the medians, its spread the
quartiles of the ratios of single rounds. The floor is a product and a sum with its gradient: less
cannot be done. The time of the first call, in seconds, is what compiling takes. Memory is what the
process grows by in one step, at its highest (on Linux; TensorFlow keeps what it has, and tells
nothing).

`--only dice --mode xla --case masks` measures less, `--all` losses without a peer as well.
`--store` puts the rows of the backend into `data/results/speed.csv` and says beside it what they
were measured with; `make bench` does all three, with nothing else running.
"""

import argparse
import csv
import ctypes
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

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "data" / "results" / "speed.csv"
LIBRARIES = {
    "tensorflow": ("keras", "tensorflow", "numpy"),
    "torch": ("keras", "torch", "monai", "segmentation_models_pytorch", "kornia", "numpy"),
    "jax": ("keras", "jax", "optax", "numpy"),
}
CASES = {"masks": (8, 512, 512, 1), "volumes": (2, 64, 64, 64, 4)}
MODES = {
    "tensorflow": ("graph", "xla"),
    "torch": ("eager", "eager, classes first"),  # or "compiled", which takes minutes
    "jax": ("jit",),
}
COLUMNS = (
    "backend mode case loss peer ratio low high ours_ms peer_ms floors first_s ours_mb peer_mb"
).split()


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


def tensorflow_peers(classes):
    """The losses of Keras. Truth first, prediction second, as with all that follow here."""
    from keras import losses, ops

    def of_mask(loss, activated=True):
        return lambda y, z: loss(y, ops.sigmoid(z) if activated else z)

    def of_map(loss, activated=True):
        def call(y, z):
            one_hot = ops.one_hot(y, classes, dtype="float32")
            return loss(one_hot, ops.softmax(z) if activated else z)

        return call

    of = of_mask if classes == 1 else of_map
    dice = of(losses.Dice(axis=(1, 2, 3)))
    tversky = of(losses.Tversky(axis=(1, 2, 3)))
    if classes == 1:
        cross_entropy = of(losses.BinaryCrossentropy(from_logits=True), False)
        focal = losses.BinaryFocalCrossentropy(apply_class_balancing=True, from_logits=True)
    else:
        cross_entropy = losses.SparseCategoricalCrossentropy(from_logits=True)
        focal = losses.CategoricalFocalCrossentropy(from_logits=True)
    kind = "Binary" if classes == 1 else "Categorical"
    return {
        f"{kind}CrossEntropyLoss": {"Keras": cross_entropy},
        "DiceLoss": {"Keras": dice},
        "DiceCrossEntropyLoss": {"Keras": lambda y, z: dice(y, z) + cross_entropy(y, z)},
        "FocalLoss": {"Keras": of(focal, False)},
        "TverskyLoss": {"Keras": tversky},
    }


def torch_peers(classes):
    """Those of PyTorch, MONAI, SMP and kornia; the classes stand second."""
    import kornia.losses as kornia
    import monai.losses as monai
    import segmentation_models_pytorch.losses as smp
    import torch.nn.functional as F

    def of(loss, activated=False):
        def call(y, z):
            return loss(z.sigmoid() if activated else z, y if classes == 1 else y[:, None])

        return call

    def of_map(loss):
        return lambda y, z: loss(z, y.long())

    if classes == 1:
        active = {"sigmoid": True}
        own = {
            "BinaryCrossEntropyLoss": {"PyTorch": of(F.binary_cross_entropy_with_logits)},
            "LovaszHingeLoss": {
                "SMP": of(smp.LovaszLoss("binary")),
                "kornia": lambda y, z: kornia.lovasz_hinge_loss(z, y[:, 0]),
            },
            "SSIMLoss": {"kornia": of(kornia.SSIMLoss(11), activated=True)},
            "SoftClDiceLoss": {"MONAI": of(monai.SoftclDiceLoss(iter_=10), activated=True)},
        }
        focal = {
            "MONAI": of(monai.FocalLoss(alpha=0.25)),
            "SMP": of(smp.FocalLoss("binary", alpha=0.25)),
            "kornia": of(kornia.BinaryFocalLossWithLogits(0.25, reduction="mean")),
        }
        of_smp, mode = of, "binary"
    else:
        active = {"softmax": True, "to_onehot_y": True}
        own = {
            "CategoricalCrossEntropyLoss": {"PyTorch": of_map(F.cross_entropy)},
            "LovaszSoftmaxLoss": {"SMP": of_map(smp.LovaszLoss("multiclass"))},
        }
        focal = {"MONAI": of(monai.FocalLoss(use_softmax=True, to_onehot_y=True))}
        of_smp, mode = of_map, "multiclass"
    return own | {
        "DiceLoss": {
            "MONAI": of(monai.DiceLoss(**active)),
            "SMP": of_smp(smp.DiceLoss(mode)),
        },
        "DiceCrossEntropyLoss": {"MONAI": of(monai.DiceCELoss(**active))},
        "FocalLoss": focal,
        "TverskyLoss": {
            "MONAI": of(monai.TverskyLoss(**active)),
            "SMP": of_smp(smp.TverskyLoss(mode)),
        },
        "GeneralizedDiceLoss": {"MONAI": of(monai.GeneralizedDiceLoss(**active))},
    }


def jax_peers(classes):
    """Those of optax."""
    import jax
    import optax.losses as optax

    if classes == 1:
        found = {
            "BinaryCrossEntropyLoss": lambda y, z: optax.sigmoid_binary_cross_entropy(z, y),
            "DiceLoss": lambda y, z: optax.binary_dice_loss(z, y),
            "FocalLoss": lambda y, z: optax.sigmoid_focal_loss(z, y, alpha=0.25),
        }
    else:
        sparse = optax.softmax_cross_entropy_with_integer_labels

        def one_hot(y):
            return jax.nn.one_hot(y, classes)

        found = {
            "CategoricalCrossEntropyLoss": lambda y, z: sparse(z, y),
            "DiceLoss": lambda y, z: optax.dice_loss(z, one_hot(y)),
            "TverskyLoss": lambda y, z: optax.dice_loss(z, one_hot(y), alpha=0.3, beta=0.7),
        }
    means = {name: lambda y, z, f=f: f(y, z).mean() for name, f in found.items()}
    entropy, dice = (means[name] for name in list(means)[:2])
    means["DiceCrossEntropyLoss"] = lambda y, z: dice(y, z) + entropy(y, z)
    return {name: {"optax": of} for name, of in means.items()}


PEERS = {"tensorflow": tensorflow_peers, "torch": torch_peers, "jax": jax_peers}


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
    """For each loss: its name, and the steps to time, by who takes them."""
    import keras
    import numpy as np

    import segloss_ref

    y, z = draw(CASES[case])
    classes = z.shape[-1]
    peers = PEERS[backend](classes)
    first = (np.moveaxis(y, -1, 1) if y.ndim == z.ndim else y), np.moveaxis(z, -1, 1).copy()
    entries = [entry.loss for entry in segloss_ref.catalogue()]
    for cls in sorted(entries, key=lambda cls: cls.__name__):
        name = cls.__name__
        loss = cls()
        kind = "binary" if classes == 1 else "exclusive"
        fits = kind in loss.takes and z.ndim - 2 in loss.dimensions and loss.truth == "mask"
        if not fits or not (everything or name in peers) or (only and only not in name.lower()):
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
        for peer, of in peers.get(name, {}).items():
            steps[peer] = step(of, *(first if backend == "torch" else (y, z)))
        yield name, steps
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


def memory(step):
    """The megabytes that the process grows by in one step, at its highest; `None` if not known."""
    own = Path("/proc/self")
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed is given back
        (own / "clear_refs").write_text("5")  # the highest is now
        before = _status(own, "VmRSS")
        step()
        return (_status(own, "VmHWM") - before) / 1024
    except OSError:
        return None


def _status(process, key):
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def row_of(backend, steps, times, first):
    medians = {who: statistics.median(of) for who, of in times.items()}
    peers = sorted(set(times) - {"ours", "floor"}, key=medians.get)
    other = peers[0] if peers else "floor"
    pairs = [a / b for a, b in zip(times["ours"], times[other], strict=True)]
    low, _, high = statistics.quantiles(pairs, n=4)
    # TensorFlow keeps what it has freed, so that a step grows nothing.
    known = backend != "tensorflow"
    used = {who: memory(steps[who]) if known else None for who in ("ours", *peers[:1])}
    used = {who: "" if mb is None else f"{mb:.0f}" for who, mb in used.items()}
    return {
        "peer": other if peers else "",
        "ratio": f"{medians['ours'] / medians[other]:.2f}",
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
        "ours_ms": f"{1e3 * medians['ours']:.2f}",
        "peer_ms": f"{1e3 * medians[other]:.2f}" if peers else "",
        "floors": f"{medians['ours'] / medians['floor']:.1f}",
        "first_s": f"{first['ours']:.1f}",
        "ours_mb": used["ours"],
        "peer_mb": used[other] if peers else "",
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
    made[backend] = {
        "run": "speed",
        "backend": backend,
        "settings": {"cases": CASES, "modes": MODES[backend]},
        "versions": {n: importlib.import_module(n).__version__ for n in LIBRARIES[backend]},
        "python": platform.python_version(),
        "device": f"{os.cpu_count()} cores of {processor()}",
        "commit": commit(),
    }
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(others + rows, key=lambda row: list(MODES).index(row["backend"])))
    text = json.dumps([made[name] for name in MODES if name in made], indent=1)
    TABLE.with_suffix(".json").write_text(text + "\n")


def commit():
    """What was measured; the table itself may have changed since."""

    def git(*arguments):
        return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT).stdout

    changed = git("status", "--porcelain", "--", "segloss_ref", "benchmarks")
    return git("rev-parse", "HEAD").strip() + ("-dirty" if changed else "")


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
            for name, steps in found:
                row = {"backend": args.backend, "mode": mode, "case": case, "loss": name}
                row |= row_of(args.backend, steps, *measure(steps, args.rounds))
                rows.append(row)
                print("\t".join(row[c] for c in COLUMNS[1:]), flush=True)
    if args.store:
        store(args.backend, rows)


if __name__ == "__main__":
    main()

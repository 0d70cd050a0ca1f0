"""Time of a training step, for one process with all cores and for one process a core.

    python benchmarks/bench_training.py                                 TensorFlow: graph
    .cache/jax/bin/python benchmarks/bench_training.py --backend jax         jax.jit
    .cache/parity/bin/python benchmarks/bench_training.py --backend torch    PyTorch, eager

Trains the U-Net of the experiments on the crops of drawn cells with `fit`, as a run does, and
prints seconds a step: the median of rounds of `--steps` steps, with the first round, which
compiles, left out. "2 × 1" is two processes at once with one thread each: its seconds are those of
a step of either, so that half of them are comparable with "1 × 2". Runs an hour are those of 1000
steps, without looks and tuning. `crops` is the time to make a batch, which is part of a step.

`--cases 8x3x96x8` (width, depth, crop, batch; several) measures others, `--augmentation
deformation` another pipeline. Nothing else should be running.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

CASES = ("8x3x96x8", "8x3x96x16", "8x3x128x8", "16x3x96x8", "16x4x128x8")
COLUMNS = ("backend", "case", "processes x threads", "s/step", "s/crops", "runs/hour")


def main():
    parser = argparse.ArgumentParser(description="Measures seconds a step of training.")
    parser.add_argument("--backend", default="tensorflow", choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--cases", nargs="+", default=CASES, help="width x depth x crop x batch")
    parser.add_argument("--steps", type=int, default=10, help="steps in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--augmentation", default="turns")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)  # threads of this process
    given = parser.parse_args()
    if given.measure:
        print(*measure(given))
        return
    print(" | ".join(COLUMNS))
    cores = os.cpu_count()
    for case in given.cases:
        for processes, threads in ((1, cores), (cores, 1)):
            with ThreadPoolExecutor(processes) as pool:
                times = list(pool.map(start, *([x] * processes for x in (given, case, threads))))
            step, crops = (statistics.mean(column) for column in zip(*times))
            row = (given.backend, case, f"{processes} x {threads}", f"{step:.3f}", f"{crops:.4f}")
            print(" | ".join((*row, f"{3.6 * processes / step:.1f}")), flush=True)


def start(given, case, threads):
    """The seconds of a step and of its crops, by a process of so many threads."""
    command = [sys.executable, __file__, "--backend", given.backend, "--cases", case]
    command += ["--steps", str(given.steps), "--rounds", str(given.rounds)]
    command += ["--augmentation", given.augmentation, "--measure", str(threads)]
    done = subprocess.run(command, env=environment(given, threads), stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"The process that measured {case} has failed; see above.")
    step, crops = done.stdout.split()[-2:]
    return float(step), float(crops)


def environment(given, threads):
    return os.environ | {
        "KERAS_BACKEND": given.backend,
        "KERAS_TORCH_DEVICE": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": str(threads),
        # JAX asks the machine for its cores, not a variable for its threads.
        **({"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if threads == 1 else {}),
    }


def measure(given):
    """Trains in this process."""
    import keras

    from segloss_ref.datasets import load
    from segloss_ref.experiment import Experiment
    from segloss_ref.experiment.crops import Crops
    from segloss_ref.experiment.training import make_model, schedule

    if given.backend == "torch":
        import torch

        torch.set_num_threads(given.measure)
    width, depth, crop, batch = map(int, given.cases[0].split("x"))
    settings = {"width": width, "depth": depth, "crop": crop, "batch_size": batch}
    settings |= {"augmentation": given.augmentation, "steps": given.steps}
    experiment = Experiment(loss="DiceLoss", evaluate_every=given.steps, **settings)
    data, loss = load("synthetic/cells", "train", limit=16, size=192), experiment.make_loss()
    model = make_model(experiment, data)
    optimizer = keras.optimizers.Adam(schedule(0.003, 1000))
    model.compile(optimizer, loss, jit_compile=given.backend == "jax")
    crops, times = Crops(data, experiment, loss), []
    for _ in range(given.rounds + 1):
        started = time.perf_counter()
        model.fit(crops, verbose=0, shuffle=False)
        times.append((time.perf_counter() - started) / given.steps)
    started = time.perf_counter()
    for i in range(given.steps):
        crops[i]
    making = (time.perf_counter() - started) / given.steps
    return statistics.median(times[1:]), making


if __name__ == "__main__":
    main()

"""The tuning that the seeds of one loss and data set share, once nobody else is at work on it.

python workflow/tune.py ID THREADS         (in the folder of the sweep)
"""

import json
import os
import sys
from pathlib import Path

import yaml
from train import lock, lock_gpu, wait


def main(name, threads):
    plan = json.loads(Path("plan.json").read_text())
    out, settings = (Path(f"tuning/{name}.{kind}").resolve() for kind in ("json", "yaml"))
    wait(lambda: lock(out.with_name(f".{name}.lock")))
    if out.exists():
        return  # finished meanwhile by what was left behind
    if plan["gpus"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = wait(lambda: lock_gpu(plan["gpus"]))
    os.environ |= {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": "1"}
    os.chdir(plan["cwd"])  # where `data_dir` and a `model` of one's own are found
    sys.path.insert(0, plan["cwd"])
    from segloss_ref.experiment import Experiment, tune  # once the environment is set

    tune(Experiment(**yaml.safe_load(settings.read_text())), out)


if __name__ == "__main__":
    main(*sys.argv[1:])

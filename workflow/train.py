"""One run of a sweep: becomes papermill, once nobody else is at work on it and a GPU is free.

    python workflow/train.py ID THREADS        (in the folder of the sweep)

A sweep that was killed may leave a run behind that still trains: to wait for it is cheaper than
to train beside it, in the same folder. The locks end with papermill.
"""

import fcntl
import json
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path


def main(name, threads):
    plan = json.loads(Path("plan.json").read_text())
    wait(lambda: lock(Path(f"runs/.{name}.lock")))
    if Path("runs", name).exists():
        return  # finished meanwhile by what was left behind, or in an attempt that failed later
    if plan["gpus"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = wait(lambda: lock_gpu(plan["gpus"]))
    os.environ |= {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": "1"}
    command = [sys.executable, "-m", "papermill", plan["notebook"], f"runs/{name}.ipynb"]
    command += ["--parameters_file", f"runs/{name}.yaml", "--cwd", plan["cwd"]]
    command += ["--no-progress-bar", "--log-level", "ERROR"]
    print(shlex.join(command), flush=True)
    os.execv(sys.executable, command)


def wait(take):
    while not (taken := take()):
        time.sleep(0.5)
    return taken


def lock(path):
    """Whether the file could be locked. Papermill inherits it and keeps it open."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    os.set_inheritable(handle, True)
    return True


def lock_gpu(names):
    """The first GPU that no other run on this machine has, also none of another sweep."""
    folder = Path(tempfile.gettempdir())
    free = (name for name in names if lock(folder / f"segloss-{os.getuid()}-gpu-{name}.lock"))
    return next(free, None)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A Slurm cluster of one machine, without systemd: munged, slurmctld and slurmd on loopback.

It needs root and Debian's packages slurm-wlm and munge, and starts only where SEGLOSS_SLURM
names the sweep to run, as `make test-slurm` does.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

# Slurm's commands must find it here: Snakemake takes SLURM_CONF out of the jobs' environment.
CONF = Path("/etc/slurm/slurm.conf")
CGROUP_CONF = CONF.with_name("cgroup.conf")
MARK = "# written by a test of segloss_ref"
TEMPLATE = """{mark}
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A running cluster, stopped at the end; the value is the folder of its logs."""
    if "SEGLOSS_SLURM" not in os.environ:
        pytest.skip("starts a Slurm on this machine: `make test-slurm` does")
    if os.getuid() != 0:
        pytest.fail("Slurm's daemons need root. A container has it.")
    if CONF.exists() and not CONF.read_text().startswith(MARK):
        pytest.fail(f"There is a Slurm on this machine already, with {CONF}.")
    folder = tmp_path_factory.mktemp("slurm")
    daemons = []
    try:
        _start(folder, daemons)
        yield folder
    finally:
        subprocess.run(["scancel", "--full", "--user=root"], stderr=subprocess.DEVNULL)
        CONF.unlink(missing_ok=True)
        CGROUP_CONF.unlink(missing_ok=True)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=30)


def _start(folder, daemons):
    for name in ("state", "spool"):
        (folder / name).mkdir()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    host = socket.gethostname().split(".")[0]
    settings = {"mark": MARK, "host": host, "folder": folder, "memory": memory}
    CONF.write_text(TEMPLATE.format(cpus=os.cpu_count(), **settings))
    version = subprocess.run(["slurmd", "-V"], capture_output=True, text=True).stdout.split()[-1]
    if int(version.split(".")[0]) >= 24:
        # Debian 13's asks for control groups even where nothing uses them; Debian 12's does not,
        # and does not know the word.
        CGROUP_CONF.write_text(f"{MARK}\nCgroupPlugin=disabled\n")
    if subprocess.run(["munge", "--no-input"], capture_output=True).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        daemons.append(_daemon(folder, "runuser", "-u", "munge", "--", "munged", "--foreground"))
        _wait_for(["munge", "--no-input"], lambda output: True, folder)
    daemons.append(_daemon(folder, "slurmctld", "-D"))
    daemons.append(_daemon(folder, "slurmd", "-D"))
    _wait_for(["sinfo", "--noheader", "--format=%T"], lambda output: "idle" in output, folder)


def _daemon(folder, *command):
    with (folder / "daemons.log").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)


def _wait_for(command, ready, folder, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode == 0 and ready(result.stdout):
            return
        time.sleep(0.2)
    log = (folder / "daemons.log").read_text()
    pytest.fail(f"{command} is not ready after {seconds} s: {result.stderr}\n{log}")

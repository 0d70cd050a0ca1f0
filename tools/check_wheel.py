"""Builds the wheel and runs README's Python with nothing else than it and one backend.

Then `python -m segloss_ref`, which fails if a loss is wrong there.

    python tools/check_wheel.py [tensorflow] [jax] [torch]

Each backend gets an environment of its own, fresh, in a temporary folder: the wheel with what it
depends on, and the backend as users on a computer without a GPU install it.
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"

#: PyTorch has its version so that pip takes a build for the CPU where one is at hand.
BACKENDS = {"tensorflow": "tensorflow-cpu", "jax": "jax", "torch": "torch==2.13.0"}

#: Runs before and after README's snippets: what is there is the wheel's, and nothing of an extra.
BEFORE = """
import sys
import segloss_ref
assert segloss_ref.__file__.startswith(sys.prefix), segloss_ref.__file__
"""
AFTER = """
try:
    load("nuclei", "test")  # its card lies in the wheel; what reads it is an extra
except ModuleNotFoundError as error:
    assert 'pip install "segloss_ref[data]"' in str(error), error
else:
    raise AssertionError("more is installed than the wheel depends on")
"""


def snippets(language: str) -> list[str]:
    """README's code blocks in a language, in their order."""
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def run(*command: str | Path, **more):
    subprocess.run([str(part) for part in command], check=True, **more)


def build(folder: Path) -> Path:
    """Builds the wheel, in an environment for building of its own."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check(wheel: Path, backend: str, folder: Path):
    """Runs README's snippets, one after the other, and the self-check in a fresh environment."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, BACKENDS[backend])
    script = folder / "readme.py"
    script.write_text("\n".join([BEFORE, *snippets("python"), AFTER]), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name != "SEGLOSS_DATA"}
    kept["KERAS_BACKEND"] = backend
    run(python, "-I", script, cwd=folder, env=kept)
    run(python, "-I", "-m", "segloss_ref", cwd=folder, env=kept)


def main(backends: list[str]) -> int:
    if unknown := set(backends) - set(BACKENDS):
        sys.exit(f"The backends are {', '.join(BACKENDS)}. Received: {', '.join(unknown)}")
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        print(f"{wheel.name}, {wheel.stat().st_size / 2**20:.2f} MiB", flush=True)
        for backend in backends or BACKENDS:
            print(f"--- {backend}", flush=True)
            try:
                check(wheel, backend, Path(folder) / backend)
            except subprocess.CalledProcessError as error:
                failed.append(backend)
                print(error, file=sys.stderr)
    print(f"README's snippets fail on {', '.join(failed)}" if failed else "README's snippets run")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

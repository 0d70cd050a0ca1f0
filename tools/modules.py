"""Lists the modules of segloss_ref as layers, with what each imports from the package.

    python tools/modules.py

A module stands one layer above the highest one that it imports. Imports inside of functions count,
too; they are in parentheses. Exit status 1: the arrows run in a circle, or one of them points
sideways or upward, to a part of the package that the part it starts from must know nothing of.
"""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent.parent / "segloss_ref"

#: The parts of the package from the ground up. Those on one level know nothing of each other.
#: `losses.inputs` is the door of losses and of Keras metrics, and `losses.arithmetic` what both
#: compute with; these are parts of their own.
PARTS = (
    "checks extras losses.arithmetic verdicts writing",
    "catalogue distance losses.inputs models plots",
    "metrics weight_maps",
    "losses augmentation datasets masks analysis",
    "functional",
    "segloss_ref",
    "machine",
    "experiment",
    "sweep __main__",
)
RANKS = {name: rank for rank, names in enumerate(PARTS) for name in names.split()}


class Arrow(NamedTuple):
    """An import: `lazy` where a function does it."""

    start: str
    end: str
    lazy: bool


def name_of(path: Path, package: Path) -> str:
    """The dotted name of a module below the package; the package itself has its own name."""
    parts = path.relative_to(package).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts) or package.name


def arrows(package: Path = PACKAGE) -> list[Arrow]:
    """All imports of modules of the package by modules of the package."""
    files = {name_of(path, package): path for path in sorted(package.rglob("*.py"))}
    found = set()
    for name, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_once = set(_at_import(tree))
        for node in ast.walk(tree):
            for target in _targets(node, package.name, files):
                if target != name:
                    found.add(Arrow(name, target, node not in at_once))
    return sorted(found)


def _at_import(tree):
    """The nodes that run when the module is imported: all outside of functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _at_import(node)


def _targets(node, package, modules):
    """The modules of the package that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level:
        raise ValueError(
            f"Imports within the package must be absolute. Received: {ast.unparse(node)}"
        )
    elif isinstance(node, ast.ImportFrom):
        # `from a import b`: the module a.b if there is one, else a.
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return
    for name in names:
        if name.split(".")[0] == package:
            below = name.split(".")[1:]
            while below and ".".join(below) not in modules:
                below = below[:-1]
            yield ".".join(below) or package


def layers(found: list[Arrow], modules: list[str]) -> list[list[str]]:
    """The modules from the ground up, each one above all that it imports.

    Raises:
        graphlib.CycleError: if the arrows run in a circle; it names the modules.
    """
    below = {name: {a.end for a in found if a.start == name} for name in modules}
    height = {}
    for name in TopologicalSorter(below).static_order():
        height[name] = 1 + max((height[end] for end in below[name]), default=-1)
    return [sorted(n for n in height if height[n] == h) for h in range(max(height.values()) + 1)]


def upward(found: list[Arrow]) -> list[Arrow]:
    """The arrows between two parts of the package that do not point down."""
    pairs = [(arrow, part_of(arrow.start), part_of(arrow.end)) for arrow in found]
    return [a for a, start, end in pairs if start != end and RANKS[start] <= RANKS[end]]


def part_of(module: str) -> str:
    """The part of the package that a module belongs to."""
    first = module.split(".")[0]
    part = module if module in RANKS else first
    if part not in RANKS:
        raise ValueError(f"`PARTS` of {Path(__file__).name} must name each part. Missing: {part}")
    return part


def main() -> int:
    found = arrows()
    modules = [name_of(path, PACKAGE) for path in PACKAGE.rglob("*.py")]
    try:
        ordered = layers(found, modules)
    except CycleError as error:
        print("a circle: " + " -> ".join(reversed(error.args[1])), file=sys.stderr)
        return 1
    for height, names in reversed(list(enumerate(ordered))):
        for name in names:
            lazy = {a.end for a in found if a.start == name and a.lazy}
            ends = {a.end: None for a in found if a.start == name and not a.lazy}
            shown = [*ends, *(f"({end})" for end in sorted(lazy - set(ends)))]
            print(f"{height:2}  {name:24} {'-> ' if shown else ''}{', '.join(shown)}".rstrip())
    wrong = upward(found)
    for arrow in wrong:
        print(f"not downward: {arrow.start} -> {arrow.end}", file=sys.stderr)
    print(f"{len(modules)} modules, {len(found)} arrows, no circle, {len(wrong)} not downward")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

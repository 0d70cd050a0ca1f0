"""Changes the mathematics of the losses a little, and says which changes no test notices.

    python tools/mutants.py                     all modules of segloss_ref/losses; hours
    python tools/mutants.py region --each 3     one module, at most three changes a function

A mutant is one change in one function: a sign, an operation, a comparison, a number, an axis, a
minimum for a maximum, a square or a weight left out. The tests of up to `--losses` losses that call
the function run until one fails. Each mutant has a process of its own, forked from one that has
imported everything, whose function gets the code of the mutant; no file is changed.

The table, one row a mutant, is written to data/results/mutants.csv: which test noticed it first,
or `survived`. What survives is a test to write, or a change that changes nothing; `REASONS` says
which of them are of that kind, and why.
"""

import argparse
import ast
import copy
import csv
import importlib
import inspect
import json
import os
import random
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "losses"
TABLE = ROOT / "data" / "results" / "mutants.csv"
# Each module with the files of tests that run whole where the quick tests below notice nothing.
DOOR = ("test_door.py", "test_rim.py", "test_traps.py", "test_check_batch.py")
MODULES = {
    "arithmetic": DOOR,
    "base": DOOR,
    "inputs": DOOR,
    "distribution": ("test_distribution.py",),
    "region": (
        "test_region.py", "test_tversky.py", "test_generalized_dice.py", "test_lovasz.py",
        "test_matthews.py", "test_soft_overlap.py",
    ),
    "boundary": ("test_boundary.py", "test_distance_losses.py"),
    "topology": ("test_skeleton_losses.py",),
    "structure": ("test_structure.py",),
    "compound": ("test_compound.py",),
    "wrappers": ("test_wrappers.py",),
}  # fmt: skip
COLUMNS = ("module", "function", "line", "mutant", "noticed_by", "seconds")

# Tests of a loss that are quick, in the order in which they usually notice.
QUICK = (
    "test_equals_oracle", "test_gradient_equals_central_differences", "test_reductions",
    "test_weight_zero_removes_a_pixel_whatever_it_holds", "test_finite_at_the_extremes",
    "test_per_batch_is_one_large_image", "test_ignored_pixels_count_nowhere",
    "test_all_pixels_weight_zero_is_zero", "test_half_precision_sums_do_not_overflow",
)  # fmt: skip
#: Mutants that change no value, by function and mutant, and why.
REASONS: dict[tuple[str, str], str] = {}


# --- Mutants -------------------------------------------------------------------------------------

_OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
_COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}  # fmt: skip
_NAMES = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "any": "all"}
_LEFT_OUT = ("square", "abs", "sqrt", "log", "exp")


def variants(node):
    """What a node could be instead."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
        if isinstance(node.op, ast.Mult | ast.Add):  # a weight, or `smooth`, is forgotten
            yield node.left
            yield node.right
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        other = _COMPARISONS[type(node.ops[0])]()
        yield ast.Compare(node.left, [other, *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name in _NAMES:
            func = ast.Attribute(node.func.value, _NAMES[name], node.func.ctx)
            yield ast.Call(func, node.args, node.keywords)
        elif name in _LEFT_OUT and node.args:
            yield node.args[0]


class _Replace(ast.NodeTransformer):
    """Replaces the node at one place of a tree."""

    def __init__(self, place, replacement):
        self.place, self.replacement, self.seen = place, replacement, -1

    def generic_visit(self, node):
        self.seen += 1
        return self.replacement if self.seen == self.place else super().generic_visit(node)

    visit = generic_visit


def mutants_of(function):
    """All mutants of a function: pairs of a description and its new syntax tree."""
    source = textwrap.dedent(inspect.getsource(function))
    tree = ast.parse(source)
    body = tree.body[0].body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        del body[0]  # the docstring
    if not body:
        return []
    first = inspect.getsourcelines(function)[1]
    found, quiet = [], _quiet(tree)
    for place, node in enumerate(_in_order(tree)):
        if id(node) in quiet:
            continue
        for other in variants(node):
            changed = _Replace(place, other).visit(copy.deepcopy(tree))
            words = f"{ast.unparse(node)} -> {ast.unparse(other)}"
            found.append((first + node.lineno - 1, words, ast.fix_missing_locations(changed)))
    return found


def _in_order(node):
    """The nodes in the order in which `_Replace` sees them."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)


def _quiet(tree):
    """Nodes in errors, assertions, annotations, defaults and decorators: no mathematics."""
    found = set()
    for node in ast.walk(tree):
        parts = []
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
            parts = [node]
        elif isinstance(node, ast.FunctionDef):
            parts = [node.args, *node.decorator_list, *([node.returns] if node.returns else [])]
        found |= {id(inner) for part in parts for inner in ast.walk(part)}
    return found


def apply(function, tree):
    """Gives a function the code of a mutant. Default arguments and closure stay."""
    module = sys.modules[function.__module__]
    names = dict(vars(module))
    cells = function.__code__.co_freevars
    if cells:  # such as `__class__`, for `super()`
        arguments = [ast.arg(name) for name in cells]
        outer = ast.parse("def outer(): pass").body[0]
        outer.args.args, outer.body = arguments, [*tree.body, ast.Pass()]
        tree = ast.fix_missing_locations(ast.Module([outer], []))
    exec(compile(tree, inspect.getsourcefile(function), "exec"), names)
    made = names[function.__name__] if not cells else None
    code = made.__code__ if made else _inner_code(names["outer"].__code__, function.__name__)
    function.__code__ = code


def _inner_code(code, name):
    return next(c for c in code.co_consts if getattr(c, "co_name", None) == name)


# --- Functions and the losses that call them -----------------------------------------------------


def functions_of(module):
    """The functions of a module, and the methods of its classes, by their qualified names."""
    found = {}
    for member in vars(module).values():
        if getattr(member, "__module__", None) != module.__name__:
            continue
        inner = vars(member).values() if inspect.isclass(member) else [member]
        for each in inner:
            each = getattr(each, "func", None) or getattr(each, "fget", None) or each
            skipped = ("__init__", "get_config", "from_config", "__repr__", "__setattr__")
            if inspect.isfunction(each) and each.__name__ not in skipped:
                found[each.__qualname__] = each
    return found


def callers(cases):
    """The cases that run each function, `{name and line: [case, ...]}`, seen on small batches."""
    import numpy as np

    rng, found = np.random.default_rng(0), {}
    for name in cases.CASES:
        seen = set()
        for kind in cases.CASES[name].loss.takes:
            side = 16 if "structure" in name else 6
            shape = (2, *(side,) * cases.CASES[name].loss.dimensions[0])
            y, z = cases.draw(rng, name, shape, kind)
            loss = cases.make(name, kind, from_logits=True)
            sys.setprofile(lambda frame, event, _, seen=seen: seen.add(frame.f_code))
            try:
                loss(y, z, rng.random(shape))
                loss(y, z)
            finally:
                sys.setprofile(None)
        for code in seen:
            found.setdefault(_place(code), []).append(name)
    return found


def _place(code):
    return f"{code.co_qualname}:{code.co_firstlineno}"


def in_a_fork(function):
    """What a function returns in a process of its own, as a text."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with open(os.environ.get("MUTANTS_LOG", os.devnull), "a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        said = "error in the mutant"
        try:
            said = function()
        finally:
            with os.fdopen(write, "w") as pipe:
                pipe.write(said)
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def notice(function, tree, names, files):
    """The test that fails first with the mutant; `survived` if none does."""

    def tested():
        import pytest

        apply(function, tree)
        return _first_failure(pytest, names, files)

    return in_a_fork(tested)


class _First:
    """A plugin that runs the quick tests of some cases first, and keeps what fails first."""

    def __init__(self, names):
        self.names, self.failed = names, ""

    def pytest_collection_modifyitems(self, items):
        def place(item):
            case = getattr(item, "callspec", None) and item.callspec.params.get("case")
            quick = item.originalname in QUICK
            if case is None or item.path.name != "test_contract.py":
                return len(QUICK)
            return QUICK.index(item.originalname) if quick and case in self.names else None

        items[:] = sorted((item for item in items if place(item) is not None), key=place)

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.failed:
            self.failed = report.nodeid.rpartition("/")[2]


def _first_failure(pytest, names, files):
    first = _First(names)
    files = [str(TESTS / file) for file in ("test_contract.py", *files)]
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files], plugins=[first])
    return first.failed or ("survived" if status == 0 else f"pytest ended with {int(status)}")


# --- The table -----------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", default=list(MODULES), help="of segloss_ref.losses")
    parser.add_argument("--each", type=int, default=20, help="mutants of a function, at most")
    parser.add_argument("--losses", type=int, default=3, help="losses that are tested, at most")
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path[:0] = [str(TESTS), str(TESTS.parent)]
    os.chdir(ROOT)
    import cases

    # In a fork, since TensorFlow cannot be set up for the tests once it has computed.
    users = json.loads(in_a_fork(lambda: json.dumps(callers(cases))))
    rows = []
    for name in given.modules:
        module = importlib.import_module(f"segloss_ref.losses.{name}")
        for qualified, function in functions_of(module).items():
            found = mutants_of(function)
            if len(found) > given.each:
                found = random.Random(0).sample(found, given.each)
            called_by = users.get(_place(function.__code__), [])
            chosen = random.Random(0).sample(called_by, min(given.losses, len(called_by)))
            for line, words, tree in sorted(found, key=lambda each: each[:2]):
                start = time.perf_counter()
                by = notice(function, tree, chosen, MODULES[name])
                if by == "survived":
                    by = REASONS.get((qualified, words), by)
                took = round(time.perf_counter() - start, 1)
                rows.append((name, qualified, line, words, by, took))
                print(*rows[-1], sep=" | ", flush=True)
                write(given.out, rows)
    alive = [row for row in rows if row[4] == "survived"]
    print(f"{len(alive)} of {len(rows)} mutants survived")
    return 1 if alive else 0


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())

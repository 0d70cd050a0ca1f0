"""Changes the mathematics of the losses a little, and says which changes no test notices.

    python tools/mutants.py                     all modules of segloss_ref/losses, about an hour
    python tools/mutants.py region --each 3     one module, at most three changes a function

A mutant is one change in one function: a sign, an operation, a comparison, a number, an axis, a
branch, a minimum for a maximum, a square or a weight left out. No file is changed: a function gets
the code of the mutant, and its own back.

First all tests run once, and which functions each one calls is kept. Then those that call a
function run on each of its mutants, the quick ones first, up to `--cases` cases of each test, until
one fails: a slow test is named only where no quicker one notices. The mutants of one function share
a process, forked from one that has collected the tests, where TensorFlow has computed nothing yet:
it cannot be forked later. One that hangs is ended, and is noticed.

The table, one row a mutant, is written to data/results/mutants.csv: which test noticed it first,
or `survived`. Rows of other modules stay. What survives is a test to write, or a change that
changes nothing; `REASONS` says which of them are of that kind, and why.
"""

import argparse
import ast
import contextlib
import copy
import csv
import importlib
import inspect
import itertools
import json
import os
import random
import signal
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "losses"
TABLE = ROOT / "data" / "results" / "mutants.csv"
MODULES = (
    "arithmetic", "base", "inputs", "distribution", "region", "boundary", "topology", "structure",
    "compound", "wrappers",
)  # fmt: skip
COLUMNS = ("module", "function", "line", "mutant", "noticed_by", "seconds")

# Tests that compile, train or start processes: what they would notice, quicker tests must.
SLOW = (
    "test_eager_graph_and_xla_agree", "test_two_replicas_take_the_step_of_one",
    "test_saved_and_loaded_inside_a_model", "test_fit_gives_the_value_of_a_direct_call",
    "test_first_and_second_derivatives_are_finite",
    "test_a_model_is_loaded_by_a_process_that_never_made_its_loss",
)  # fmt: skip
FIRST = "test_equals_oracle"  # notices most
WORK = 10  # seconds that the tests of one mutant may take together
HUNG = 90  # seconds of work on one mutant, after which it hangs
_ALONE = "equal: arrays of two axes, of which the last is the second"
_FREE = "equal: pixels of weight 0 count nowhere, whatever finite number stands there"
_ORDER = "equal: an order has no slope anyway"
#: Mutants that change no value, by function and mutant, and why.
REASONS = {
    ("nan_of", "ops.stop_gradient(x) -> x"): "equal: the slope of 0 x is 0; it saves the backward",
    ("SegmentationLoss.terms_of", "1.0 -> 2.0"): "equal: the factor of no images",
    ("RegionLoss.region_values", "-1 -> 1"): _ALONE,
    ("RegionLoss.weights_of", "1.0 -> 2.0"): "equal: a mean divides by the sum of its weights",
    ("_current", "1 -> 2"): "JAX alone: `make backends`",
    ("_current", "value * 1 -> 1"): "JAX alone: `make backends`",
    ("_safe_log", "x < least -> x <= least"): "equal: both give `least` where x is `least`",
    (
        "_log_not_softmax",
        "ops.stop_gradient(ops.max(z, axis=-1, keepdims=True)) -> "
        "ops.max(z, axis=-1, keepdims=True)",
    ): "equal: a shift of all logits has no slope",
    ("_emptied", "0 -> 1"): _FREE,
    (
        "in_rows",
        "int(np.prod(shape[1:-1])) * (shape[0] if regions == 1 else 1) -> "
        "shape[0] if regions == 1 else 1",
    ): "equal: of no images, pixels are of any number",
    ("Prediction._softplus", "z >= 0 -> z > 0"): "equal: at 0 both sides are",
    ("TrueClassLoss.cost", "-log_p -> log_p"): "never called: it stands for cross-entropy",
    ("neighbour_shares", "y * counted -> y"): "equal: y is 0 already where nothing is counted",
    (
        "TopKCrossEntropyLoss.pixel_values",
        "ops.stop_gradient(batch.weight * losses) -> batch.weight * losses",
    ): _ORDER,
    ("lovasz_extension", "weight * ops.ones_like(y) -> weight"): (
        "equal: on TensorFlow what is taken is broadcast"
    ),
    ("lovasz_extension", "ops.stop_gradient(-errors) -> -errors"): _ORDER,
    ("GeneralizedDiceLoss.class_values", "1.0 -> 2.0"): "equal: a factor of both sides of a ratio",
    ("_mask", "batch.on_grid(batch.weight) > 0 -> batch.on_grid(batch.weight) >= 0"): (
        "equal: what has weight 0 is 0 already, and on no mask"
    ),
    (
        "BoundaryLoss.class_pixel_values",
        "distance * batch.prediction.p + nan_of(batch.y) -> "
        "distance * batch.prediction.p - nan_of(batch.y)",
    ): "equal: plus or minus 0 or NaN",
    (
        "BoundaryDoULoss.class_values",
        "ops.sum(ops.cast(batch.in_regions(m), batch.y.dtype), axis=1) -> "
        "ops.mean(ops.cast(batch.in_regions(m), batch.y.dtype), axis=1)",
    ): "equal: only the ratio of the two is used",
    ("as_mask", "2 -> 3"): "equal: any number above 1 is refused or NaN",
    ("BlobLoss._blob_means", "ops.sum(turns, axis=0) -> ops.mean(turns, axis=0)"): (
        "equal: only ratios of the sums are used"
    ),
}


# --- Mutants -------------------------------------------------------------------------------------

_OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
_COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}  # fmt: skip
_NAMES = {
    "maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "any": "all",
    "sum": "mean",
}  # fmt: skip
_LEFT_OUT = (
    "square", "abs", "sqrt", "log", "exp", "log1p", "expm1", "clip", "power", "softplus", "sigmoid",
    "stop_gradient",
)  # fmt: skip


def variants(node):
    """What a node could be instead."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
        if isinstance(node.op, ast.Mult | ast.Add):  # a weight, or `smooth`, is forgotten
            yield node.left
            yield node.right
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        yield node.left
    elif isinstance(node, ast.If | ast.IfExp):
        other = copy.copy(node)
        other.test = ast.UnaryOp(ast.Not(), node.test)
        yield other
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
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
        elif name == "where" and len(node.args) == 3:
            condition, yes, no = node.args
            yield ast.Call(node.func, [condition, no, yes], node.keywords)


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
    tree.body[0].decorator_list = []  # they have done their work
    first = inspect.getsourcelines(function)[1]
    found, quiet = [], _quiet(tree)
    for place, node in enumerate(_in_order(tree)):
        if id(node) in quiet:
            continue
        for other in variants(node):
            changed = _Replace(place, other).visit(copy.deepcopy(tree))
            words = f"{_words(node)} -> {_words(other)}"
            found.append((first + node.lineno - 1, words, ast.fix_missing_locations(changed)))
    return found


def _words(node):
    """The source of a node; of a branch its condition."""
    return f"if {ast.unparse(node.test)}" if isinstance(node, ast.If) else ast.unparse(node)


def _in_order(node):
    """The nodes in the order in which `_Replace` sees them."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)


def _quiet(tree):
    """Nodes in errors, assertions, annotations, and defaults: no mathematics.

    And branches that only PyTorch takes, with their conditions: `make backends` tests those.
    """
    found = set()
    for node in ast.walk(tree):
        parts = []
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
            parts = [node]
        elif isinstance(node, ast.FunctionDef):
            parts = [node.args, *([node.returns] if node.returns else [])]
            parts += _of_torch(node.body)
        elif isinstance(node, ast.If | ast.IfExp) and "backend()" in ast.unparse(node.test):
            parts = [node.test]
            if isinstance(node, ast.If):
                found.add(id(node))
        found |= {id(inner) for part in parts for inner in ast.walk(part)}
    return found


def _of_torch(body):
    """The statements of a function that only PyTorch reaches."""
    for number, node in enumerate(body):
        test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        if test.endswith("backend() == 'torch'"):
            return node.body
        if test.endswith("backend() != 'torch'") and isinstance(node.body[-1], ast.Return):
            return body[number + 1 :]
    return []


def apply(function, tree):
    """Gives a function the code of a mutant, and returns its own. Default arguments stay."""
    module = sys.modules[function.__module__]
    names = dict(vars(module))
    cells = function.__code__.co_freevars
    if cells:  # such as `__class__`, for `super()`
        arguments = [ast.arg(name) for name in cells]
        # A mutant may have lost the call that needs them; its code must still have the same cells.
        kept = [ast.parse(f"if 0: {name}").body[0] for name in cells]
        inner = tree.body[0]
        inner.body = [*kept, *inner.body]
        outer = ast.parse("def outer(): pass").body[0]
        outer.args.args, outer.body = arguments, [*tree.body, ast.Pass()]
        tree = ast.fix_missing_locations(ast.Module([outer], []))
    exec(compile(tree, inspect.getsourcefile(function), "exec"), names)
    made = names[function.__name__] if not cells else None
    code = made.__code__ if made else _inner_code(names["outer"].__code__, function.__name__)
    own, function.__code__ = function.__code__, code
    return own


def _inner_code(code, name):
    return next(c for c in code.co_consts if getattr(c, "co_name", None) == name)


# --- Functions, and the tests that call them ------------------------------------------------------


def functions_of(module):
    """The functions of a module, and the methods of its classes, by their qualified names."""
    found = {}
    for member in vars(module).values():
        if getattr(member, "__module__", None) != module.__name__:
            continue
        inner = vars(member).values() if inspect.isclass(member) else [member]
        for each in inner:
            each = getattr(each, "func", None) or getattr(each, "fget", None) or each
            skipped = ("__init__", "get_config", "from_config", "__repr__", "__setattr__", "_told")
            if not inspect.isfunction(each) or each.__code__.co_filename != module.__file__:
                continue  # such as what a named tuple has
            if each.__name__ not in skipped:
                found[each.__qualname__] = each
    return found


def in_a_fork(work, said):
    """Runs `work(say)` in a process of its own; each object that it says goes to `said`.

    Returns whether it came to its end.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _work(work, write)
    os.close(write)
    with os.fdopen(read) as pipe:
        for line in pipe:
            said(json.loads(line))
    return os.waitpid(child, 0)[1] == 0


def _work(work, write):
    """The part of the child, which never returns."""
    with open(os.environ.get("MUTANTS_LOG", os.devnull), "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    status = 1
    with contextlib.suppress(BaseException), os.fdopen(write, "w") as pipe:

        def say(what):
            pipe.write(json.dumps(what) + "\n")
            pipe.flush()

        work(say)
        status = 0
    os._exit(status)


def fails(item):
    """Whether a test fails. Pytest says so to `Session`, which keeps it."""
    Session.failed = False
    item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
    return Session.failed


def callers(items, functions):
    """Which tests call each function, `{function: [(seconds, number of the item), ...]}`."""
    names = {id(function.__code__): name for name, function in functions.items()}
    found = {name: [] for name in functions}

    def work(say):
        for number, item in enumerate(items):
            seen, start = set(), time.process_time()
            sys.setprofile(lambda frame, event, _, add=seen.add: add(id(frame.f_code)))
            failed = fails(item)
            sys.setprofile(None)
            if not failed:
                called = [name for key, name in names.items() if key in seen]
                say((number, time.process_time() - start, called))

    def said(line):
        number, seconds, called = line
        for name in called:
            found[name].append((seconds, number))

    if not in_a_fork(work, said):
        raise RuntimeError("the tests did not run to their end; set MUTANTS_LOG to a file")
    return found


def chosen(tests, items, cases):
    """The numbers of up to `cases` items of each test: `FIRST`, one of each, then more of each.

    Quick ones stand first. Those that would exceed `WORK` together are left out.
    """
    times, rounds = {}, []
    for seconds, number in random.Random(0).sample(tests, len(tests)):
        test = items[number].originalname
        times[test] = times.get(test, 0) + 1
        if times[test] <= cases:
            rounds.append((test != FIRST, times[test] > 1, seconds, number))
    rounds.sort()
    work = itertools.accumulate(seconds for *_, seconds, _ in rounds)
    return [number for (*_, number), sofar in zip(rounds, work) if sofar <= WORK]


# --- Mutants and tests ---------------------------------------------------------------------------


def notice(function, mutants, tests):
    """For each mutant the test that fails first, or `survived`, and the seconds it took."""
    found = []

    def work(say):
        order = [*tests]
        for _, _, tree in mutants[len(found) :]:
            signal.setitimer(signal.ITIMER_PROF, HUNG)  # which ends the process
            start = time.process_time()
            own = apply(function, tree)
            by = next((item for item in order if fails(item)), None)
            function.__code__ = own
            if by:  # what noticed one mutant of a function often notices the next
                order.insert(0, order.pop(order.index(by)))
            name = by.nodeid.rpartition("/")[2] if by else "survived"
            say((name, round(time.process_time() - start, 1)))
        if any(fails(item) for item in tests[:3]):
            say(("a mutant left something behind", 0))

    while len(found) < len(mutants):
        if not in_a_fork(work, found.append):
            found.append(("hangs", HUNG))
    if len(found) > len(mutants):
        raise RuntimeError(f"{function.__qualname__}: {found[-1][0]}")
    return found


class Session:
    """A plugin of pytest: makes and tests mutants where it would run its tests."""

    failed = False

    def __init__(self, given):
        self.given, self.rows = given, []

    def pytest_configure(self):
        """An example that fails suffices; hypothesis need not look for a smaller one."""
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", phases=phases, database=None, deadline=None)
        settings.load_profile("mutants")

    def pytest_runtest_makereport(self, item, call):
        """Keeps that a test failed; nobody reads how, and writing it is slow."""
        import pytest

        if call.excinfo and not call.excinfo.errisinstance(pytest.skip.Exception):
            Session.failed = True
            return pytest.TestReport(item.nodeid, item.location, {}, "failed", "", call.when)

    def pytest_runtestloop(self, session):
        from tensorflow.python.eager import context

        if context.context()._context_handle is not None:  # a fork of it would wait forever
            raise RuntimeError("a module of tests computes with TensorFlow where it is imported")
        items = [item for item in session.items if item.originalname not in SLOW]
        functions = {
            (name, qualified): function
            for name in self.given.modules
            for qualified, function in functions_of(
                importlib.import_module(f"segloss_ref.losses.{name}")
            ).items()
        }
        users = callers(items, {".".join(key): value for key, value in functions.items()})
        for (name, qualified), function in functions.items():
            tests = chosen(users[f"{name}.{qualified}"], items, self.given.cases)
            self.table(name, qualified, function, [items[number] for number in tests])
        return True

    def table(self, name, qualified, function, tests):
        mutants = mutants_of(function)
        if len(mutants) > self.given.each:
            mutants = random.Random(0).sample(mutants, self.given.each)
        mutants.sort(key=lambda each: each[:2])
        for (line, words, _), (by, took) in zip(mutants, notice(function, mutants, tests)):
            if by == "survived":
                by = REASONS.get((qualified, words), by)
            self.rows.append((name, qualified, line, words, by, took))
            print(*self.rows[-1], sep=" | ", flush=True)
        write(self.given.out, self.rows, self.given.modules)


# --- The table -----------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", default=MODULES, help="of segloss_ref.losses")
    parser.add_argument("--each", type=int, default=20, help="mutants of a function, at most")
    parser.add_argument("--cases", type=int, default=4, help="cases of a test, at most")
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.chdir(ROOT)
    import pytest

    session = Session(given)
    status = pytest.main(["-q", "-s", "-p", "no:cacheprovider", str(TESTS)], plugins=[session])
    alive = [row for row in session.rows if row[4] == "survived"]
    print(f"{len(alive)} of {len(session.rows)} mutants survived")
    return int(status) or (1 if alive else 0)


def write(path, rows, modules):
    """Writes the table; what it says of other modules stays."""
    rows = [*map(list, rows)]
    if path.exists():
        with path.open(newline="") as file:
            rows += [row for row in list(csv.reader(file))[1:] if row[0] not in modules]
    rows.sort(key=lambda row: MODULES.index(row[0]))  # stable: a module keeps its order
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())

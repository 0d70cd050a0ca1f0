"""What surrounds the modules: their arrows, what importing them costs, extras, the wheel."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import segloss_ref
from segloss_ref.extras import require

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import modules

ROOT = Path(__file__).resolve().parent.parent
#: What only a part of the package needs, and `import segloss_ref` must not wait for.
HEAVY = "matplotlib pandas yaml PIL skimage tifffile nibabel pooch platformdirs scipy.stats"


def test_imports_run_one_way():
    found = modules.arrows()
    names = {modules.name_of(path, modules.PACKAGE) for path in modules.PACKAGE.rglob("*.py")}
    assert {name for layer in modules.layers(found, names) for name in layer} == names
    assert modules.upward(found) == []
    assert modules.Arrow("losses.base", "checks", False) in found


def package(folder, **files):
    for name, text in files.items():
        path = folder / "segloss_ref" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "segloss_ref" / "__init__.py").write_text("")
    return modules.arrows(folder / "segloss_ref")


def test_a_circle_is_found_though_a_function_hides_it(tmp_path):
    found = package(
        tmp_path,
        losses__base="import segloss_ref.checks",
        losses__compound="from segloss_ref.losses import base",
        checks="def f():\n    from segloss_ref.losses.compound import x",
    )
    assert modules.Arrow("checks", "losses.compound", True) in found
    with pytest.raises(modules.CycleError) as error:
        modules.layers(found, ["checks", "losses.base", "losses.compound"])
    assert set(error.value.args[1]) == {"checks", "losses.base", "losses.compound"}


def test_arrows_upward_and_sideways_are_found(tmp_path):
    found = package(
        tmp_path,
        metrics__overlap="from segloss_ref.losses import base\nfrom segloss_ref import distance",
        metrics__keras="from segloss_ref.losses.inputs import x",
        losses__base="from segloss_ref.distance import x",
        losses__inputs="from segloss_ref.losses.base import x",
        distance="from segloss_ref import catalogue",
        catalogue="",
    )
    assert [(a.start, a.end) for a in modules.upward(found)] == [
        ("distance", "catalogue"),
        ("losses.inputs", "losses.base"),
        ("metrics.overlap", "losses.base"),
    ]


def test_a_part_without_a_place_is_named(tmp_path):
    found = package(tmp_path, checks="import segloss_ref.novel", novel="")
    with pytest.raises(ValueError, match="Missing: novel"):
        modules.upward(found)


def python(code, **settings):
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, **settings).stdout


def test_the_import_loads_writes_and_fetches_nothing_more_than_it_needs(tmp_path):
    watch = f"""
import sys
import keras
before, heavy, seen = set(sys.modules), {HEAVY.split()!r}, []
events = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.mkdir", "os.remove")
def hook(event, args):
    if event in events or event == "open" and set(str(args[1])) & set("wax+"):
        seen.append((event, *map(str, args)))
sys.dont_write_bytecode = True
sys.addaudithook(hook)
import segloss_ref
print(seen, sorted((set(sys.modules) - before) & set(heavy)))
"""
    assert python(watch, cwd=tmp_path).splitlines()[-1] == "[] []"


@pytest.mark.parametrize(
    ("module", "missing", "package", "extra"),
    [
        ("analysis", "pandas", "pandas", "plots"),
        ("plots", "matplotlib", "matplotlib", "plots"),
        ("sweep", "yaml", "pyyaml", "sweep"),
    ],
)
def test_a_part_without_its_packages_names_the_extra(monkeypatch, module, missing, package, extra):
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"segloss_ref.{module}", raising=False)
    with pytest.raises(ModuleNotFoundError) as error:
        importlib.import_module(f"segloss_ref.{module}")
    needs = f'`segloss_ref.{module}` needs {package}: pip install "segloss_ref[{extra}]"'
    assert str(error.value) == needs
    assert extra in settings()["project"]["optional-dependencies"]


def test_an_error_inside_of_a_package_that_is_there_stays_its_own(tmp_path, monkeypatch):
    (tmp_path / "torn_package.py").write_text("raise ImportError('a library of mine is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="a library of mine is missing"):
        require("torn_package", extra="plots")


def settings():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_wheel_holds_the_package_its_cards_and_digests_and_nothing_else(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    data = {
        f"segloss_ref/datasets/{path.relative_to(ROOT / 'data')}"
        for folder in ("cards", "digests")
        for path in (ROOT / "data" / folder).iterdir()
    }
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "segloss_ref").rglob("*.py")}
    assert inside == data | code | {"segloss_ref/py.typed"}


def test_one_version_everywhere():
    segloss_ref = importlib.import_module("segloss_ref")
    citation = (ROOT / "CITATION.cff").read_text()
    assert settings()["project"]["version"] == segloss_ref.__version__
    assert f"\nversion: {segloss_ref.__version__}\n" in citation


def public_functions():
    """By name: the functions of all modules, and the constructors and methods of their classes."""
    for found in pkgutil.walk_packages(segloss_ref.__path__, "segloss_ref."):
        module = importlib.import_module(found.name)
        classes = [member for member in vars(module).values() if inspect.isclass(member)]
        for owner in [module, *(c for c in classes if c.__module__ == found.name)]:
            for name, member in vars(owner).items():
                function = getattr(member, "__func__", getattr(member, "fget", member))
                path = f"{found.name}.{getattr(function, '__qualname__', name)}"
                is_public = not any(p.startswith("_") and p != "__init__" for p in path.split("."))
                if inspect.isfunction(function) and function.__module__ == found.name and is_public:
                    yield path, function


def test_public_functions_have_type_hints():
    bare = {}
    for path, function in public_functions():
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
        missing = [p.name for p in parameters if p.annotation is p.empty]
        missing += ["return"] * (signature.return_annotation is signature.empty)
        if missing:
            bare[path] = missing
    assert not bare

"""`python -m segloss_ref`: what it says of this machine and of a folder, and how it fails."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segloss_ref
from segloss_ref import machine
from segloss_ref.__main__ import main
from segloss_ref.datasets import public

sys.path.insert(0, str(Path(__file__).parent / "losses"))
import oracles
from cases import CASES

ROOT = Path(__file__).resolve().parent.parent


def from_the_formula(name):
    """The value of a loss for the fixed scene, from its oracle in float64."""
    labels, z = machine.scene()
    p = oracles.sigmoid(z)
    if name == "ShapeAwareLoss":
        separated = segloss_ref.separate_touching(labels)
        w, y = segloss_ref.unet_weight_map(separated), separated > 0
        return -(w * np.where(y, np.log(p), np.log(1 - p))).mean()
    plain = [c for c in CASES.values() if c.loss.__name__ == name and not c.settings]
    y = (labels[0] > 0).astype(float)
    return plain[0].value("binary", y[..., None], p[0, ..., None], np.ones_like(y))


@pytest.mark.parametrize("name", machine.REFERENCE)
def test_the_reference_is_the_formula_in_float64(name):
    assert machine.REFERENCE[name] == pytest.approx(from_the_formula(name), rel=1e-12)


def test_the_losses_are_right_here():
    found = machine.deviations()
    assert [each.loss for each in found] == list(machine.REFERENCE)
    # A hundredth of what is allowed: another machine has room.
    assert max(each.share for each in found) < machine.TOLERANCE / 10


def test_the_scene_is_exact_in_half_precision():
    labels, z = machine.scene()
    assert (z == z.astype("float16")).all() and (z != 0).all()
    assert set(np.unique(labels)) == {0, 1, 2} and (labels[0, 3:9, 6] == 0).all()


def test_this_machine(capsys, monkeypatch):
    monkeypatch.setattr(public, "find", lambda name: Path("here.zip") if name == "nuclei" else None)
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert f"segloss_ref {segloss_ref.__version__}" in out and "keras" in out and err == ""
    rows = {line[:16].strip(): line[16:].strip() for line in out.splitlines()}
    assert rows["compiled step"] == rows["mixed precision"] == "works" and "cpu" in rows["devices"]
    assert "nuclei         here.zip" in out and "mortar         not here" in out
    assert all(name in out for name in machine.REFERENCE) and "All are right" in out


def test_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    described = tmp_path / "cpuinfo"
    assert machine.processor(described) == "x86_64"  # no such file, as on macOS
    of_one = (
        "processor\t: {}\ncpu family\t: 6\nmodel\t\t: 167\nmodel name\t: Some: CPU\nflags\t\t:\n\n"
    )
    described.write_text(of_one.format(0) + of_one.format(1).replace("Some", "Other"))
    assert machine.processor(described) == "x86_64, Some: CPU, model 6-167"
    described.write_text("BogoMIPS\t: 50.00\n")  # as of ARM
    assert machine.processor(described) == "x86_64"


@pytest.fixture
def quick(monkeypatch):
    """No training steps: they take seconds, and are looked at once, above."""
    monkeypatch.setattr(machine, "_loss_of_a_step", lambda **_: 0.5)


@pytest.mark.parametrize("step", [machine.why_not_compiled, machine.why_not_mixed])
def test_a_step_that_learns_from_another_loss_does_not_work(monkeypatch, step):
    monkeypatch.setattr(machine, "_loss_of_a_step", lambda **how: 0.6 if how else 0.5)
    assert step() == "the loss is 0.6000, not 0.5000"


@pytest.mark.usefixtures("quick")
def test_a_wrong_number_is_said_and_is_a_failure(capsys, monkeypatch):
    monkeypatch.setitem(machine.REFERENCE, "FocalLoss", 0.2052)
    assert main([]) == 1
    out, err = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if "WRONG" in line]
    assert "FocalLoss" in line and "0.2052" in line and "All are right" not in out
    assert "1 of 14 losses are off by more than 1e-05: FocalLoss" in err


@pytest.mark.parametrize("value", [float("nan"), 0.3])
def test_a_loss_that_computes_something_else(monkeypatch, value):
    monkeypatch.setattr(segloss_ref.DiceLoss, "__call__", lambda *_: np.float32(value))
    (found,) = machine.deviations(["DiceLoss"])
    assert not found.is_right


def test_a_loss_that_cannot_be_computed_is_told(capsys, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such kernel\nand much more")

    monkeypatch.setattr(segloss_ref.DiceLoss, "__call__", broken)
    assert main([]) == 1
    out, _ = capsys.readouterr()
    assert "RuntimeError: no such kernel  WRONG" in out
    assert "mixed precision  RuntimeError: no such kernel" in out


@pytest.mark.usefixtures("quick")
def test_what_is_not_installed(capsys, monkeypatch):
    assert machine.missing_packages() == {}
    monkeypatch.setattr(machine, "_is_installed", lambda package: package != "pillow")
    assert machine.missing_packages()["data"] == ["pillow"]
    assert main([]) == 0
    assert 'lacks pillow: pip install "segloss_ref[data]"' in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_data_without_the_extra(capsys, monkeypatch):
    def find(name):
        raise ModuleNotFoundError('`x` needs platformdirs: pip install "segloss_ref[data]"')

    monkeypatch.setattr(public, "find", find)
    assert main([]) == 0
    assert capsys.readouterr().out.count("needs platformdirs") == 1


def write(folder, kind, images):
    (folder / kind).mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image.astype("uint8")).save(folder / kind / f"{i}.png")


@pytest.fixture
def cells():
    """Four images with two objects that touch."""
    found = np.zeros((4, 32, 32))
    found[:, 4:14, 4:14], found[:, 4:14, 14:24] = 1, 2
    return found


def test_a_folder_with_instances(tmp_path, cells, capsys):
    write(tmp_path, "images", 100 * cells)
    write(tmp_path, "instances", cells)
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "touching     1 of the objects" in out and "32 x 32 pixels" in out
    assert "shape-aware: 100% of the objects touch" in out
    assert "ShapeAwareLoss  (chapter boundary/shape_aware)" in out
    assert "choosing/guide" in out and "Number the objects" not in out


def test_a_folder_with_masks(tmp_path, cells, capsys):
    write(tmp_path, "images", 100 * cells)
    write(tmp_path, "masks", 255 * (cells > 0))
    assert main([str(tmp_path), "--size", "16"]) == 0
    out = capsys.readouterr().out
    assert "16 x 16 pixels" in out and "touching     unknown" in out
    assert "shape-aware" not in out and "Number the objects" in out
    assert "where to begin in any case" in out


def test_a_folder_with_several_classes(tmp_path, cells, capsys):
    write(tmp_path, "images", 100 * cells)
    write(tmp_path, "masks", cells)
    (tmp_path / "classes.txt").write_text("background\nnucleus\nwall\n")
    assert main([str(tmp_path)]) == 0
    assert "CategoricalCrossEntropyLoss" in capsys.readouterr().out


def test_each_proposal_names_chapters_that_are_there(tmp_path, cells, capsys):
    write(tmp_path, "images", 100 * cells)
    write(tmp_path, "instances", cells)
    main([str(tmp_path)])
    for line in capsys.readouterr().out.splitlines():
        if "(chapter " in line:
            for name in line.split("(chapter ")[1].rstrip(")").split(", "):
                assert (ROOT / "book" / f"{name}.md").exists()
    assert (ROOT / "book" / "choosing" / "guide.md").exists()


def test_no_folder_and_an_empty_one(tmp_path, capsys):
    for path in (tmp_path / "nowhere", tmp_path):
        assert main([str(path)]) == 2
        out, err = capsys.readouterr()
        assert str(path) in err and out == "" and "Traceback" not in err


def test_size_without_a_folder_and_help(capsys):
    with pytest.raises(SystemExit) as error:
        main(["--size", "16"])
    assert error.value.code == 2 and "--size goes with a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        main(["--help"])
    out, err = capsys.readouterr()
    assert error.value.code == 0 and "your own data" in out and err == ""


def test_as_a_command(tmp_path):
    """The exit status arrives, and nothing but the message."""
    command = [sys.executable, "-m", "segloss_ref", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "nowhere" in done.stderr and "Traceback" not in done.stderr

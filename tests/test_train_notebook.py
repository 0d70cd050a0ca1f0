"""The notebook of one run, as papermill runs it."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import nibabel
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "experiments" / "train.ipynb"
SMALL = {"steps": 4, "evaluate_every": 2, "crop": 32, "width": 4, "depth": 2, "batch_size": 2}


def papermill(page, **parameters):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(NOTEBOOK), str(page)]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
    return subprocess.run(command, cwd=page.parent, capture_output=True, text=True)


@pytest.fixture
def my_cells(tmp_path):
    """Ten noisy pictures with a bright square, 16-bit TIFF, and their masks, PNG."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "my_cells" / kind).mkdir(parents=True)
    for i in range(10):
        mask = np.zeros((40, 48), "uint8")
        y, x = rng.integers(4, 24, 2)
        mask[y : y + 12, x : x + 12] = 255
        image = (20000 * (mask > 0) + rng.integers(0, 9000, mask.shape)).astype("uint16")
        Image.fromarray(image).save(tmp_path / "my_cells" / "images" / f"cell {i}.tif")
        Image.fromarray(mask).save(tmp_path / "my_cells" / "masks" / f"cell {i}.png")
    return tmp_path / "my_cells"


def test_a_folder_of_ones_own_and_a_setting_of_the_loss(tmp_path, my_cells):
    settings = {**SMALL, "loss": "TverskyLoss", "alpha": 0.2, "seed": 3, "learning_rate": 0.01}
    done = papermill(tmp_path / "page.ipynb", data_dir=my_cells, out=tmp_path / "run", **settings)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["settings"]["options"] == {"alpha": 0.2}
    assert record["settings"]["dataset"] == "my_cells" and record["settings"]["seed"] == 3
    assert len(record["data"]) == 64  # a digest of the files
    printed = str(nbformat.read(tmp_path / "page.ipynb", as_version=4).cells)
    assert "TverskyLoss on my_cells, seed 3" in printed


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpa": 0.2}, "There is no parameter alpa, of this notebook or of TverskyLoss"),
        ({"alpha": -1}, "`alpha` must be"),
        ({"steps": 3}, "`steps` must be a multiple of `evaluate_every`"),
    ],
)
def test_what_is_wrong_is_said_before_any_training(tmp_path, parameters, message):
    settings = {**SMALL, "loss": "TverskyLoss", "out": tmp_path / "run", **parameters}
    done = papermill(tmp_path / "page.ipynb", **settings)
    assert done.returncode != 0 and message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["page.ipynb"]


def test_a_sum_of_losses(tmp_path):
    loss = "DiceLoss(from_logits=True) + 0.5 * BinaryCrossEntropyLoss(from_logits=True)"
    settings = {**SMALL, "learning_rate": 0.01, "limit": 4, "size": 48, "loss": loss}
    done = papermill(tmp_path / "page.ipynb", out=tmp_path / "run", **settings)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "run" / "record.json").read_text())["settings"]["loss"] == loss


def test_volumes(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(10):
        mask = np.zeros((16, 20, 18), "uint8")
        z, y, x = rng.integers(2, 8, 3)
        mask[z : z + 6, y : y + 8, x : x + 7] = 1
        for kind, values in (("masks", mask), ("images", mask + rng.normal(size=mask.shape))):
            (tmp_path / "lumps" / kind).mkdir(parents=True, exist_ok=True)
            volume = nibabel.Nifti1Image(values.astype("float32"), np.eye(4))
            nibabel.save(volume, tmp_path / "lumps" / kind / f"{i}.nii.gz")
    settings = {**SMALL, "crop": 16, "learning_rate": 0.01, "loss": "DiceLoss"}
    done = papermill(tmp_path / "page.ipynb", data_dir=tmp_path / "lumps", **settings)
    assert done.returncode == 0, done.stderr[-2000:]

"""Sweeps: read and checked as a whole, run to the end, gathered from what is complete."""

import fcntl
import gzip
import hashlib
import importlib.util
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

from segloss_ref import sweep
from segloss_ref.analysis import read_table
from segloss_ref.sweep import gather, publish, read_sweep

ROOT = Path(__file__).resolve().parents[1]
SWEEP = {
    "datasets": ["synthetic/cells", {"dataset": "synthetic/tumours", "crop": 64}],
    "losses": {
        "cross-entropy": {"loss": "BinaryCrossEntropyLoss"},
        "Dice, smooth 0.1": {"loss": "DiceLoss", "options": {"smooth": 0.1}},
    },
    "seeds": 2,
    "settings": {"steps": 20, "evaluate_every": 10, "crop": 32, "learning_rate": 0.003},
}


@pytest.fixture
def write(tmp_path):
    def write_it(**changes):
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(SWEEP | changes, sort_keys=False))
        return path

    return write_it


def test_every_combination_once_with_its_own_settings(write):
    runs = read_sweep(write())
    assert len(runs) == 2 * 2 * 2
    last = runs[-1]
    assert (last.dataset, last.name) == ("synthetic/tumours", "Dice, smooth 0.1")
    assert last.experiment.seed == 1 and last.experiment.steps == 20
    assert last.experiment.options == {"smooth": 0.1}
    assert [run.experiment.crop for run in runs] == [32] * 4 + [64] * 4
    assert last.parameters["smooth"] == 0.1 and "options" not in last.parameters


def test_sums_and_wrappers(write):
    sums = {"a": {"loss": "DiceLoss + 0.5 * BinaryCrossEntropyLoss"}, "b": {"loss": "BlobLoss"}}
    first, *_, last = read_sweep(write(losses=sums))
    assert first.experiment.make_loss().weights == (1.0, 0.5)
    assert last.experiment.make_loss().truth == "instances"
    assert first.parameters["loss"] == sums["a"]["loss"]


def test_ids_are_safe_names_and_change_with_the_settings(write):
    runs = read_sweep(write())
    again = read_sweep(write(seeds=[1, 0]))
    other = read_sweep(write(settings=SWEEP["settings"] | {"steps": 30}))
    ids = {run.id for run in runs}
    assert len(ids) == 8 and ids == {run.id for run in again}
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", name) for name in ids)
    assert not ids & {run.id for run in other}


def test_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "datasets: [synthetic/cells]\nlosses: {a: {loss: DiceLoss}}\n"
        "settings: {learning_rate: 1e-3}\n"
    )
    assert read_sweep(path)[0].experiment.learning_rate == 0.001


@pytest.mark.parametrize("path", sorted((ROOT / "workflow" / "sweeps").glob("*.yaml")))
def test_the_sweeps_of_this_repository_are_valid(path):
    assert read_sweep(path)


LOSS = {"loss": "DiceLoss"}


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"loses": {}}, ValueError, "no key loses. Allowed: datasets, losses, seeds, settings"),
        ({"datasets": []}, TypeError, "`datasets` must be a list of at least one. Received: []"),
        ({"datasets": "nuclei"}, TypeError, "`datasets` must be a list"),
        ({"datasets": [3]}, TypeError, "`datasets[0]` must be a mapping of names. Received: 3"),
        ({"datasets": [{"size": 64}]}, ValueError, "must have a `dataset` or `data_dir`"),
        ({"datasets": [{"dataset": "nuclei", "sice": 64}]}, ValueError, "no key sice. Allowed"),
        ({"datasets": ["nuclei", "nuclei"]}, ValueError, "`datasets[1]`: 'nuclei' is there twice"),
        ({"datasets": ["nucleus"]}, ValueError, "`datasets: nucleus` with `losses: cross-entropy`"),
        ({"losses": {}}, ValueError, "`losses` must hold at least one"),
        ({"losses": {3: LOSS}}, TypeError, "`losses` must be a mapping of names"),
        ({"losses": {"a": "DiceLoss"}}, TypeError, "`losses: a` must be a mapping of names"),
        ({"losses": {"a": {}}}, ValueError, "`losses: a` must have the key loss"),
        ({"losses": {"a": LOSS | {"smooth": 1.0}}}, ValueError, "no key smooth. Allowed: loss"),
        ({"losses": {"a": LOSS | {"options": [1]}}}, TypeError, "`options` must be a mapping"),
        ({"losses": {"a": LOSS | {"options": {"smoth": 1.0}}}}, TypeError, "smoth"),
        ({"losses": {"a": LOSS | {"options": {"seed": 1}}}}, ValueError, "seed would be taken"),
        ({"losses": {"a": {"loss": "NoLoss"}}}, ValueError, "Received: 'NoLoss'"),
        ({"losses": {"a": {"loss": {"sum": []}}}}, ValueError, "Write it as in Python"),
        ({"losses": {"a": {"loss": "DiceLoss +"}}}, ValueError, "Write it as in Python"),
        ({"losses": {"a": LOSS | {"options": {"reduction": None}}}}, ValueError, "`reduction`"),
        ({"settings": {"stepz": 3}}, ValueError, "Did you mean 'steps'"),
        ({"seeds": 0}, TypeError, "`seeds` must be a number of seeds or a list of integers"),
        ({"seeds": [1, 1]}, ValueError, "`seeds` must differ. Received: [1, 1]"),
        ({"seeds": [1, True]}, TypeError, "`seeds` must be"),
        ({"settings": {"step": 3}}, ValueError, "`settings` has no key step"),
        ({"settings": {"steps": "many"}}, TypeError, "`steps` must be of type int"),
        ({"settings": {"seed": 3}}, ValueError, "`settings` has no key seed"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(write, changes, kind, said):
    path = write(**changes)
    with pytest.raises(kind, match=re.escape(said)) as raised:
        read_sweep(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_key_that_comes_twice_is_an_error(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("datasets: [nuclei]\nlosses: {a: {loss: DiceLoss}, a: {loss: FocalLoss}}\n")
    with pytest.raises(ValueError, match="the key 'a' is there twice"):
        read_sweep(path)
    path.write_text("datasets: [nuclei")
    with pytest.raises(ValueError, match="is no YAML"):
        read_sweep(path)


def finish(run, folder, value, commit="abc"):
    """What a run leaves when it is complete."""
    place = folder / run.id
    place.mkdir(parents=True)
    (place / "metrics.csv").write_text(f"image,dice,cells\nb,{value},3\na,0.1,2\n")
    (place / "record.json").write_text(json.dumps({"seconds": 2.5, "commit": commit}))
    (place / "history.csv").write_text(
        "step,seconds,loss,validation_cut\n10,1.5,0.7,\n20,2.25,0.5,\n"  # several classes: no cut
    )


def test_a_table_is_the_same_in_every_order_and_keeps_every_digit(write, tmp_path):
    runs = read_sweep(write())
    values = {run.id: random.Random(i).random() for i, run in enumerate(runs)}
    for run in runs:
        finish(run, tmp_path / "runs", values[run.id])
    texts = []
    for order in (runs, runs[::-1]):
        provenance = gather(order, tmp_path / "runs", tmp_path / "table.csv")
        texts.append((tmp_path / "table.csv").read_bytes())
    assert texts[0] == texts[1]
    rows = texts[0].decode().splitlines()
    assert rows[0] == "dataset,run,seed,image,metric,value,group" and len(rows) == 1 + 8 * 4
    run = runs[2]
    assert f'{run.dataset},"{run.name}",0,b,dice,{values[run.id]!r},b' in rows
    assert json.loads((tmp_path / "table.json").read_text()) == provenance
    assert {run["seconds"] for run in provenance["runs"]} == {2.5}
    history = [{"step": 10, "loss": 0.7}, {"step": 20, "loss": 0.5}]
    assert all(run["history"] == history for run in provenance["runs"])
    assert provenance["failed"] == []


def test_a_table_of_chosen_metrics_and_further_scores(write, tmp_path):
    run = read_sweep(write(seeds=1))[0]
    finish(run, tmp_path / "runs", 0.123456)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.save(tmp_path / "runs" / run.id / "model.keras")

    def scores(given, model):
        assert given is run
        yield f"{given.name}, again", "b", "weight", model.get_weights()[0].item() / 3
        yield given.name, "b", "absent", float("nan")

    table = tmp_path / "table.csv"
    provenance = gather([run], tmp_path / "runs", table, keep=["dice"], scores=scores)
    rows = read_table(table)[["run", "image", "metric", "value"]].values.tolist()
    assert np.isnan(rows.pop(1)[-1])
    assert rows == [
        [run.name, "a", "dice", 0.1],
        [run.name, "b", "dice", 0.123456],
        [f"{run.name}, again", "b", "weight", 0.3333],
    ]
    assert provenance["sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()

    whole = table.read_bytes()
    with pytest.raises(ValueError, match=r"1 of 2 runs are not in .*table.csv stays as it is"):
        both = [run, read_sweep(write(seeds=2))[1]]
        gather(both, tmp_path / "runs", table, keep=["dice"], scores=scores)
    assert table.read_bytes() == whole


def test_a_table_says_what_was_taken_together(write, tmp_path):
    run = read_sweep(write(seeds=1))[0]
    finish(run, tmp_path / "runs", 0.5)
    file = tmp_path / "runs" / run.id / "record.json"
    record = json.loads(file.read_text()) | {"groups": {"a": "field 1", "b": "field 1"}}
    file.write_text(json.dumps(record))
    gather([run], tmp_path / "runs", tmp_path / "table.csv")
    assert set(read_table(tmp_path / "table.csv")["group"]) == {"field 1"}


def test_half_a_run_is_not_read_and_a_missing_one_is_named(write, tmp_path):
    runs = read_sweep(write(seeds=1))
    folder = tmp_path / "runs"
    finish(runs[0], folder, 0.5)
    finish(runs[1], folder, 0.7)
    (folder / runs[1].id).rename(folder / f".{runs[1].id}.partial")
    (folder / f"{runs[1].id}.ipynb").write_text("{")
    (folder / f"{runs[1].id}.log").write_text("...\nValueError: no\nValueError: too wide\n\n")
    provenance = gather(runs, folder, tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_text()
    assert "0.5" in text and "0.7" not in text
    assert len(provenance["runs"]) == 1
    failed = {run["id"]: run for run in provenance["failed"]}
    assert set(failed) == {run.id for run in runs[1:]}
    assert failed[runs[1].id]["error"] == "ValueError: too wide"
    assert failed[runs[1].id]["notebook"] == f"{runs[1].id}.ipynb"
    assert failed[runs[2].id]["notebook"] is None
    assert not list(tmp_path.glob(".table*")), "nothing is left beside the table"


@pytest.fixture
def clone(tmp_path):
    """A repository with one commit, and its name."""
    for command in (
        "init --quiet",
        "config user.name me",
        "config user.email me@there",
        "commit --quiet --allow-empty --message first",
    ):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    head = ["git", "rev-parse", "HEAD"]
    return subprocess.run(
        head, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_published_runs_are_gathered_as_they_were(write, tmp_path, clone):
    runs, folder = read_sweep(write()), tmp_path / "runs"
    published = tmp_path / "data" / "results" / "sweep"
    assert publish(runs, folder, published) == [] and not published.exists()
    for i, one in enumerate(runs[:3]):
        finish(one, folder, random.Random(i).random(), clone)
    assert publish(runs, folder, published) == runs[:3]
    assert len(list(published.iterdir())) == 6
    first = {path.name: path.read_bytes() for path in published.iterdir()}

    # What is there stays; what is not is taken from the runs.
    finish(runs[3], folder, 0.25, clone)
    before = gather(runs, folder, tmp_path / "before.csv")
    (folder / runs[0].id).rename(folder / "elsewhere")
    after = gather(runs, folder, tmp_path / "after.csv", published=published)
    assert (tmp_path / "before.csv").read_bytes() == (tmp_path / "after.csv").read_bytes()
    assert before == after and len(after["failed"]) == 4
    assert publish(runs, folder, published) == [runs[3]]
    assert {name: (published / name).read_bytes() for name in first} == first
    only = gather(runs[:1], folder, tmp_path / "one.csv.gz", keep=["dice"], published=published)
    assert read_table(tmp_path / "after.csv").metric.nunique() == 2
    assert len(gzip.decompress((tmp_path / "one.csv.gz").read_bytes()).splitlines()) == 3
    assert json.loads((tmp_path / "one.json").read_text()) == only

    table = published / f"{runs[0].id}.csv.gz"
    table.write_bytes(table.read_bytes()[:20])
    with pytest.raises(ValueError, match="is damaged"):
        gather(runs, folder, tmp_path / "after.csv", published=published)
    table.write_bytes(first[f"{runs[1].id}.csv.gz"])
    with pytest.raises(ValueError, match="is not the table that"):
        gather(runs, folder, tmp_path / "after.csv", published=published)
    assert (tmp_path / "before.csv").read_bytes() == (tmp_path / "after.csv").read_bytes()


def test_what_cannot_be_made_again_is_not_published(write, tmp_path, clone):
    runs, folder = read_sweep(write()), tmp_path / "runs"
    published = tmp_path / "data" / "results" / "sweep"
    finish(runs[0], folder, 0.5, clone)
    for commit, said in (
        (f"{clone}-dirty", "not made from a commit as it stands"),
        (None, "not made from a commit as it stands"),
        ("1" * 40, "not in this history"),
    ):
        finish(runs[1], folder, 0.5, commit)
        with pytest.raises(ValueError, match=said):
            publish(runs, folder, published)
        assert not list(published.iterdir())
        shutil.rmtree(folder / runs[1].id)
    (tmp_path / "code.py").touch()
    subprocess.run(["git", "add", "code.py"], cwd=tmp_path, check=True)
    with pytest.raises(ValueError, match=r"Commit or undo first: A  code\.py"):
        publish(runs, folder, published)
    assert not list(published.iterdir())


def test_runs_of_one_loss_share_a_tuning(write):
    own = {key: SWEEP["settings"][key] for key in ("steps", "crop")}
    runs = read_sweep(write(settings=own, seeds=[3, 1003, 7]))
    assert {run.tuning_seed for run in runs} == {1004}
    tunings = {run.tuning.id for run in runs}
    assert len(runs) == 12 and len(tunings) == 4 and not tunings & {run.id for run in runs}
    given = read_sweep(write())
    assert all(run.tuning is None for run in given)
    one = runs[0].tuning.experiment
    assert (
        one.seed == 1004 and one.dataset == runs[0].dataset and one.loss == runs[0].experiment.loss
    )


def test_tuning_as_if_there_were_fewer_steps(write):
    own = {"steps": 80, "crop": 16}
    few, many = (
        read_sweep(write(settings={**own, "steps": steps}, tuning_steps=told))
        for steps, told in ((80, None), (160, 80))
    )
    assert [run.experiment.steps for run in many] == [160] * len(many)
    assert [run.tuning for run in many] == [run.tuning for run in few]
    with pytest.raises(ValueError, match=r"all have a `learning_rate`\. Received: 9"):
        read_sweep(write(tuning_steps=9))
    with pytest.raises(ValueError, match="`tuning_steps` must be"):
        read_sweep(write(settings=own, tuning_steps=0))


# A notebook that takes the parameters of train.ipynb and trains nothing.
PARAMETERS = (
    "dataset = dataset_options = data_dir = loss = seed = size = limit = crop = batch_size = None\n"
    "steps = smooth = evaluate_every = learning_rate = seconds = width = depth = None\n"
    "model = augmentation = foreground_crops = None\nout = tuning = ''"
)
CODE = r"""
from pathlib import Path
here = Path(out).parents[3]
with (here / "attempts").open("a") as file:
    file.write(f"{loss}\n")
if loss == "DiceLoss" and (here / "broken").exists():
    raise RuntimeError("the loss fails inside")
place = Path(out).with_name(".part")
place.mkdir(exist_ok=True)
(place / "metrics.csv").write_text(f"image,dice\na,{len(loss) / 7}\n")
told = Path(tuning).read_text() if tuning else "null"
(place / "record.json").write_text('{"seconds": 1.0, "tuning": ' + told + "}")
(place / "history.csv").write_text("step,seconds,loss\\n10,1.5,0.7\\n")
place.rename(out)
if (here / "broken").exists():
    raise RuntimeError("a figure behind the training fails")
"""


@pytest.fixture
def notebook(tmp_path):
    cells = [nbformat.v4.new_code_cell(text) for text in (PARAMETERS, CODE)]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "standin.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def run(sweep, notebook, *options):
    command = [sys.executable, ROOT / "workflow" / "run.py", sweep, "--notebook", notebook]
    command += options
    return subprocess.run(
        [*command, "--results", sweep.parent / "results"], capture_output=True, text=True
    )


def test_a_failed_run_is_retried_reported_and_alone_done_again(write, notebook, tmp_path):
    sweep = write(datasets=["synthetic/cells"], seeds=1)
    (tmp_path / "broken").touch()
    folder = tmp_path / "results" / "sweep"

    first = run(sweep, notebook)
    assert first.returncode == 1, first.stderr
    assert f"1 of 2 runs are in {folder / 'table.csv'}" in first.stdout
    assert "Dice, smooth 0.1, seed 0: RuntimeError: the loss fails inside" in first.stdout
    (page,) = folder.glob("runs/*Dice*.ipynb")
    assert str(page) in first.stdout
    assert "the loss fails inside" in page.read_text()
    (whole,) = folder.glob("runs/*cross*.ipynb")
    assert "a figure behind the training fails" in whole.read_text()
    assert (folder / "table.csv").read_text().count("\n") == 2
    attempts = sorted((tmp_path / "attempts").read_text().split())
    assert attempts == ["BinaryCrossEntropyLoss", "DiceLoss", "DiceLoss"]
    assert "whole, but its notebook stopped behind the training: synthetic-cells" in first.stdout

    (tmp_path / "broken").unlink()
    second = run(sweep, notebook)
    assert second.returncode == 0, second.stderr
    assert sorted((tmp_path / "attempts").read_text().split()) == [*attempts, "DiceLoss"]
    assert (folder / "table.csv").read_text().count("\n") == 3

    with (folder / ".lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("process 1 on elsewhere")
        file.truncate()
        file.flush()
        third = run(sweep, notebook)
    assert third.returncode == 1
    assert "is in use by another sweep: process 1 on elsewhere" in third.stderr


def test_published_runs_are_not_run_again_nor_other_data_sets(write, notebook, tmp_path, clone):
    sweep = write(datasets=["synthetic/cells", "synthetic/tumours"], seeds=1)
    runs = read_sweep(sweep)
    finish(runs[0], tmp_path / "elsewhere", 0.5, clone)
    publish(runs, tmp_path / "elsewhere", tmp_path / "published" / "sweep")
    only = ["--published", tmp_path / "published", "--dataset"]
    done = run(sweep, notebook, *only, "cells")
    assert "--dataset must be one of the sweep: synthetic/cells, synthetic/tumours" in done.stderr
    done = run(sweep, notebook, *only, "synthetic/cells")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "attempts").read_text().split() == ["DiceLoss"]
    table = read_table(tmp_path / "results" / "sweep" / "table.csv")
    assert set(table.run) == {"cross-entropy", "Dice, smooth 0.1"}


def test_a_published_run_is_repeated(write, notebook, tmp_path, clone, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "workflow")
    repeat = importlib.import_module("repeat")
    sweep = write(datasets=["synthetic/cells"])
    folder, published = tmp_path / "results" / "sweep" / "runs", tmp_path / "published" / "sweep"
    runs = read_sweep(sweep)
    with pytest.raises(ValueError, match="has no run of this sweep"):
        repeat.choose(runs, published, None)
    run(sweep, notebook)
    for one in runs:
        record = folder / one.id / "record.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"commit": clone}))
    (folder / runs[1].id / "metrics.csv").write_text("image,dice\na,2.9\n")  # seed 1 of seeds 0, 1
    publish(runs, folder, published)
    assert repeat.choose(runs, published, None) == repeat.choose(runs, published, None) in runs
    with pytest.raises(ValueError, match=r"must be a published run, such as .* Received: b"):
        repeat.choose(runs, published, "b")

    command = [sys.executable, ROOT / "workflow" / "repeat.py", sweep, "--notebook", notebook]
    command += ["--published", published.parent]
    here = {"cwd": tmp_path, "capture_output": True, "text": True}
    equal = subprocess.run([*command, "--run", runs[0].id], **here)
    assert equal.returncode == 0, equal.stderr
    assert "all 1 values are equal in every digit" in equal.stdout
    dirty = subprocess.run([*command, "--store"], **here)
    assert "Only from a clean clone is a result stored" in dirty.stderr, "it records no commit"
    assert not (published.parent / "repeats.csv").exists()

    table = read_table(published / f"{runs[1].id}.csv.gz")
    told = {"commit": clone, "device": "cpu"}
    for value, status in ((2.9, 0), (2.8, 0), (2.2, 1)):  # the seeds have 22 / 7 and 2.9
        found = repeat.compare(runs[1], published, table.assign(value=value), told)
        assert found["differ"] == (value != 2.9)
        assert repeat.report(found) == status
        repeat.store(found, published.parent / "repeats.csv")
    nothing = table.assign(value=np.nan).iloc[:0]
    assert repeat.compare(runs[1], published, nothing, told)["differ"] == 1, "a row that is missing"
    stored = pd.read_csv(published.parent / "repeats.csv")
    assert stored.dice_again.tolist() == [2.9, 2.8, 2.2] and set(stored.commit) == {clone}


def test_a_sweep_tunes_once_for_all_seeds(write, notebook, tmp_path):
    small = {"steps": 1, "crop": 8, "size": 16, "limit": 2, "width": 2, "depth": 1, "batch_size": 1}
    losses = {"Dice": {"loss": "DiceLoss"}}
    sweep = write(datasets=["synthetic/cells"], losses=losses, settings=small, seeds=2)
    done = run(sweep, notebook)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "results" / "sweep"
    (tuning,) = folder.glob("tuning/*.json")
    records = [json.loads(path.read_text()) for path in folder.glob("runs/*/record.json")]
    assert len(records) == 2
    found = json.loads(tuning.read_text())
    assert [record["tuning"] for record in records] == [found] * 2

    # Elsewhere, for another seed and more steps, in a sweep of another name.
    name = tuning.stem.replace("seed1000", "seed0")
    published = tmp_path / "published" / "older"
    published.mkdir(parents=True)
    (published / f"{name}.json").write_text(json.dumps({"runs": [{"tuning": found}]}))
    shutil.rmtree(folder)
    more = {**small, "steps": 2}
    sweep = write(
        datasets=["synthetic/cells"], losses=losses, settings=more, seeds=[0, 5], tuning_steps=1
    )
    done = run(sweep, notebook, "--published", tmp_path / "published")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(tuning.read_text()) == found
    assert not list(folder.glob("tuning/*.log"))
    records = [json.loads(path.read_text()) for path in folder.glob("runs/*/record.json")]
    assert [record["tuning"] for record in records] == [found] * 2


def test_every_gpu_has_one_run(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("train", ROOT / "workflow" / "train.py")
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert [train.lock_gpu(["0", "3"]) for _ in range(3)] == ["0", "3", None]


@pytest.mark.parametrize("number", ["010", "1_000", "1:30"])
def test_whole_numbers_are_written_plainly(tmp_path, number):
    """YAML would read 8, 1000 and 90."""
    path = tmp_path / "sweep.yaml"
    path.write_text(
        f"datasets: [synthetic/cells]\nlosses: {{a: {{loss: DiceLoss}}}}\nseeds: {number}\n"
    )
    with pytest.raises(ValueError, match=f"{number} is no plain whole number"):
        read_sweep(path)


def test_a_sweep_too_large_is_refused_at_once(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "datasets: [synthetic/cells]\nlosses: {a: {loss: DiceLoss}}\nseeds: 1000000000000\n"
    )
    with pytest.raises(ValueError, match=r"at most 100000 runs\. Received: 1000000000000"):
        read_sweep(path)


def test_the_example_of_the_documentation_is_a_sweep(tmp_path):
    example = sweep.__doc__.split("\n\n")[1]
    path = tmp_path / "sweep.yaml"
    path.write_text("\n".join(line[4:] for line in example.splitlines()))
    assert len(read_sweep(path)) == 2 * 3 * 3

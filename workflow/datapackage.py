"""Writes `data/results/datapackage.json`: which tables there are, and what their columns mean.

    python workflow/datapackage.py

It follows the Data Package standard (https://datapackage.org), so that other programs can load the
tables. `publish.py` calls it; after another table has changed, call it yourself.
"""

import csv
import gzip
import io
import json
from pathlib import Path

from segloss_ref.writing import write_whole

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
TITLES = {
    "backends": "What the losses give with TensorFlow, for other backends to be compared with",
    "music": "Separation of a voice from music by masks on spectrograms",
    "empty_images": "Eight losses x five seeds on drawn tumours, half of the images without one",
    "foreground_crops": "Three losses of the comparison on cracks, with crops that fall anywhere",
    "foreground_weight": "Six weights of the foreground x five seeds, on tumours and mortar",
    "imbalance": "Seven losses x five seeds on drawn tumours of three shares, and two remedies",
    "imbalance_steps": "Seven losses x three seeds at the smallest share, with twice the steps",
    "imbalance_weight": "Dice with little cross-entropy at the smallest share, five seeds",
    "label_noise": "Five losses x three seeds on mortar, trained on two kinds of wrong labels",
    "label_noise_readings": "Dice of the same predictions at other thresholds",
    "mutants": "Small changes of the losses' mathematics, and which test notices each",
    "parity": "The losses of this package beside those of other libraries",
    "comparison_classes": "Losses x seeds, data sets with several classes",
    "comparison_masks": "Losses x seeds, data sets with one class",
    "comparison_masks_example": "One test image as the networks of the first seeds see it",
    "convergence_classes": "Three losses of the comparison with twice the steps, several classes",
    "convergence_masks": "Three losses of the comparison with twice the steps, one class",
    "observers": "Three losses x three seeds on vessels, trained on one of two observers or both",
    "observers_readings": "Scores of the same predictions by the masks of either observer",
    "observers_both_readings": "The same after training on the masks of both",
    "repeats": "Published runs that were trained again, drawn by chance",
    "speed": "Time and memory of value and gradient, beside other libraries",
    "topomortar": "Scores published by the authors of TopoMortar, image by image",
    "touching_nuclei": "Weight maps on touching nuclei, four losses x three seeds",
    "touching_nuclei_example": "One test image as the networks of the first seeds see it",
    "touching_nuclei_readings": "Ways to make objects of the same predictions",
}
COLUMNS = {
    # of a sweep: one row for each run, seed, test image and score
    "dataset": ("string", "Name of the data set"),
    "run": ("string", "Name of the loss with its settings"),
    "seed": ("integer", "Seed of the initial weights and of the crops"),
    "image": ("string", "Name of the test image"),
    "metric": ("string", "Name of the score; at_cut: at the threshold chosen on validation images"),
    "value": ("number", "The score, or the value of the loss; empty where there is none"),
    "group": ("string", "Images that were taken together: field, subject, photograph"),
    # of a comparison with other libraries
    "loss": ("string", "Class of this package"),
    "settings": ("string", "Its settings"),
    "library": ("string", "The other library"),
    "their_class": ("string", "Class or function of the other library"),
    "their_settings": ("string", "Its settings"),
    "classes": ("string", "What the classes are: binary, several, several labels, or their number"),
    "case": ("string", "The input"),
    "ours": ("number", "Value of this package"),
    "theirs": ("number", "Value of the other library"),
    "agrees": ("string", "Whether the values are equal within the tolerance"),
    "gradient_agrees": ("string", "Whether the gradients are equal within the tolerance"),
    "note": ("string", "Why they are not, or what was done for it"),
    # of repeats
    "sweep": ("string", "Table that has the run"),
    "commit": ("string", "Commit that the published run was made from"),
    "repeated_at": ("string", "Commit that it was trained again from"),
    "device": ("string", "What it was trained again on"),
    "values": ("integer", "Scores of the run: test images x metrics"),
    "differ": ("integer", "Scores that are not the same in every digit"),
    "dice": ("number", "Mean Dice of the published run, at its threshold where it has one"),
    "dice_again": ("number", "The same of the second training"),
    "between_seeds": ("number", "Standard deviation of mean Dice between the published seeds"),
    "profile": ("string", "Where it was trained again: local, or through a Slurm cluster"),
    # of backends
    "dimensions": ("integer", "Spatial dimensions of the input"),
    "slope": ("number", "Derivative of the loss along a fixed direction"),
    # of speed
    "backend": ("string", "Backend of Keras"),
    "mode": ("string", "Graph, eager or compiled by XLA"),
    "peer": ("string", "The other library"),
    "ratio": ("number", "Time of this package over that of the peer, median"),
    "low": ("number", "Lower end of the middle half of the ratios"),
    "high": ("number", "Upper end of the middle half of the ratios"),
    "ours_ms": ("number", "Milliseconds of this package"),
    "peer_ms": ("number", "Milliseconds of the peer"),
    "floors": ("number", "Time of this package over that of one pass over the memory"),
    "first_s": ("number", "Seconds of the first call"),
    "ours_mb": ("number", "Megabytes of this package at most"),
    "peer_mb": ("number", "Megabytes of the peer at most"),
    # of mutants
    "module": ("string", "Module in segloss_ref/losses"),
    "function": ("string", "The function that was changed"),
    "line": ("integer", "Line of the module"),
    "mutant": ("string", "What was changed into what"),
    "noticed_by": ("string", "The first test that failed, or `survived`"),
    "seconds": ("number", "Until it was noticed"),
}


def descriptor(folder=RESULTS):
    """The data package of a folder of results: a resource for each table and each sweep."""
    tables = [path for path in sorted(folder.iterdir()) if path.name.endswith((".csv", ".csv.gz"))]
    sweeps = sorted({path.parent for path in folder.glob("*/*.csv.gz")})
    examples = sorted(folder.glob("*.npz"))
    resources = [_table(path.name.split(".")[0], [path], folder) for path in tables]
    resources += [_table(path.name, sorted(path.glob("*.csv.gz")), folder) for path in sweeps]
    resources += [
        {"name": path.stem, "title": TITLES[path.stem], "path": path.name, "format": "npz"}
        for path in examples
    ]
    return {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": "segmentation-losses-results",
        "title": "Published results of Segmentation Losses",
        "licenses": [{"name": "CC-BY-4.0", "path": "https://creativecommons.org/licenses/by/4.0/"}],
        "resources": sorted(resources, key=lambda resource: resource["name"]),
    }


def _table(name, paths, folder):
    names = [str(path.relative_to(folder)) for path in paths]
    packed = {"compression": "gz"} if names[0].endswith(".gz") else {}
    return {
        "name": name,
        "title": TITLES[name],
        "type": "table",
        "path": names if len(names) > 1 else names[0],
        "format": "csv",
        **packed,
        "encoding": "utf-8",
        "schema": {"fields": [_field(column) for column in _columns(paths[0])]},
    }


def _columns(path):
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return next(csv.reader(io.StringIO(text)))


def _field(column):
    kind, words = COLUMNS[column]
    return {"name": column, "type": kind, "description": words}


def write(folder=RESULTS):
    text = json.dumps(descriptor(folder), indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / "datapackage.json", text)


if __name__ == "__main__":
    write()

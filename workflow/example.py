"""Keeps one test image of a sweep as its networks see it: `data/results/NAME_example.npz`.

    python workflow/example.py workflow/sweeps/NAME.yaml cracks [--results results] [--image IMAGE]

The image is not chosen by eye: unless it is named, its Dice coefficient, the mean over all runs, is
the median of the test images. The file holds its name, and of the first seed of each loss the
probabilities in 8 bits, the threshold, and the names of the runs, which must be published.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from publish import PUBLISHED

from segloss_ref import analysis
from segloss_ref.sweep import is_published, read_sweep


def median_image(table, dataset):
    """The test image whose mean Dice over all runs is the median."""
    rows = table[(table.dataset == dataset) & (table.metric == "dice_at_cut")]
    means = rows.groupby("image").value.mean().sort_values()
    return means.index[len(means) // 2]


def example(runs, folder, image):
    kept = {run.name: np.load(folder / run.id / "probabilities.npz") for run in runs}
    i = next(iter(kept.values()))["names"].tolist().index(image)
    return {
        "image": np.array(image),
        "losses": np.array(list(kept)),
        "levels": np.stack([each["levels"][i] for each in kept.values()]),
        "cuts": np.array([float(each["cut"]) for each in kept.values()]),
        "runs": np.array([run.id for run in runs]),
    }


def main():
    parser = argparse.ArgumentParser(description="Keeps one test image of a published sweep.")
    parser.add_argument("sweep", type=Path, help="the YAML file")
    parser.add_argument("dataset", help="of one class")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are")
    parser.add_argument("--image", help="its name; by default that of median Dice")
    given = parser.parse_args()
    published = PUBLISHED / given.sweep.stem
    runs = [run for run in read_sweep(given.sweep) if run.dataset == given.dataset]
    missing = [run.id for run in runs if not is_published(run, published)]
    if missing or not runs:
        sys.exit(f"Publish the runs on {given.dataset} first. Not published: {missing or 'all'}")
    first = [run for run in runs if run.experiment.seed == min(r.experiment.seed for r in runs)]
    image = given.image or median_image(analysis.read_table(published), given.dataset)
    file = published.with_name(f"{given.sweep.stem}_example.npz")
    np.savez_compressed(file, **example(first, given.results / given.sweep.stem / "runs", image))
    print(f"{file}: {image}, {file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

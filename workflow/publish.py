"""Publishes the finished runs of a sweep: two small files each, in `data/results/NAME`.

    python workflow/publish.py workflow/sweeps/NAME.yaml [--results results] [--published FOLDER]

From a clean clone only, and only runs of its history. What is published is not run again.
"""

import argparse
import sys
from pathlib import Path

import datapackage

from segloss_ref.sweep import publish, read_sweep

PUBLISHED = Path(__file__).resolve().parents[1] / "data" / "results"


def main():
    parser = argparse.ArgumentParser(description="Publishes the finished runs of a sweep.")
    parser.add_argument("sweep", type=Path, help="the YAML file")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="where to put them")
    given = parser.parse_args()
    name = given.sweep.stem
    try:
        runs = read_sweep(given.sweep)
        done = publish(runs, given.results / name / "runs", given.published / name)
        if given.published == PUBLISHED:
            datapackage.write(PUBLISHED)
    except (OSError, TypeError, ValueError) as error:
        sys.exit(str(error))
    print(f"{len(done)} of {len(runs)} runs are published now, in {given.published / name}")


if __name__ == "__main__":
    main()

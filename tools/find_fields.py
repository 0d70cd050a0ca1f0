"""Which nuclei images were cut from one field: found where their edges continue each other.

    .venv/bin/python tools/find_fields.py            # compares with data/cards/nuclei_fields.csv
    .venv/bin/python tools/find_fields.py --store    # writes it

The images of `nuclei` are tiles of larger fields of view, so two of them may be neighbours. The
last row of one then goes over into the first row of the other. Both rows are continued by half a
pixel, to the line on which the tiles meet, and must agree there twice: in what varies quickly
(correlation after a broad mean has been taken away), and in brightness (concordance, which a
difference in level or contrast lowers). The score of a pair is the smaller of the two.

How high do strangers score? Two left edges never meet, nor two right ones: such pairs are like
those that may meet in all else, and exactly as many. `THRESHOLD` is set by them.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage, sparse

from segloss_ref.datasets import public
from segloss_ref.writing import write_whole

TABLE = Path(__file__).parents[1] / "data/cards/nuclei_fields.csv"

# Of 96,360 pairs that cannot be neighbours one scores more. Of as many that may be neighbours 148
# do, and all that is known of tiles holds: none has two neighbours on one side, no field has more
# than the four tiles of 2 x 2.
THRESHOLD = 0.94
_NOISE = 2.0  # pixels: below it, a row is mostly noise
_BROAD = 8.0  # pixels: about a nucleus; what is broader is uneven light, alike in strangers, too


def main() -> int:
    """Writes the table, or says whether it is right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help=f"write {TABLE.name}")
    store = parser.parse_args().store
    names, images = all_images()
    fields = fields_of(names, images)
    sizes = np.bincount(np.unique(list(fields.values()), return_counts=True)[1])
    print(
        f"{count(facing(images)):.0f} pairs meet; as many strangers: {count(strangers(images)):.0f}"
    )
    print(f"{sizes.sum()} fields; of 1, 2, ... tiles: {sizes[1:].tolist()}")
    text = table_of(fields)
    if store:
        write_whole(TABLE, text)
    elif TABLE.read_text(encoding="utf-8") != text:
        print(f"{TABLE} has other fields: --store writes it anew.")
        return 1
    return 0


def all_images() -> tuple[list[str], np.ndarray]:
    """The names of all nuclei images, sorted, and their grey values as they are in the files."""
    digests = public.digests_of("nuclei")
    files = sorted(file for file in digests if "/images/" in file)
    path = public.find("nuclei")
    if path is None:
        raise FileNotFoundError("There is no archive of 'nuclei' here: set SEGLOSS_DATA.")
    with public.Archive(path, digests) as archive:
        images = np.stack([archive.pixels(file)[..., 0] for file in files])
    return [file.split("/")[1] for file in files], images.astype(float)


def fields_of(names: list[str], images: np.ndarray) -> dict[str, str]:
    """The field of each image. A field is called as the first of its images, shortened."""
    meet = np.logical_or.reduce([score > THRESHOLD for score in facing(images)])
    _, field = sparse.csgraph.connected_components(meet, directed=False)
    first = {i: name[:8] for i, name in reversed(list(zip(field, names, strict=True)))}
    return {name: first[i] for name, i in zip(names, field, strict=True)}


def facing(images: np.ndarray) -> list[np.ndarray]:
    """Scores `(n, n)`: of a right edge with a left one, and of a lower edge with an upper one."""
    left, right, upper, lower = edges_of(images)
    return [scores(right, left), scores(lower, upper)]


def strangers(images: np.ndarray) -> list[np.ndarray]:
    """Scores of pairs that cannot meet, as many as `facing` has: each of two edges of one kind."""
    return [np.triu(scores(edges, edges)) for edges in edges_of(images)]


def count(all_scores: list[np.ndarray]) -> int:
    """How many scores are over the threshold."""
    return sum(int((score > THRESHOLD).sum()) for score in all_scores)


def edges_of(images: np.ndarray) -> list[np.ndarray]:
    """The grey values at the left, right, upper and lower rim of each image, `(n, side)`."""
    turned = images.swapaxes(1, 2)
    edges = []
    for rows in (turned, turned[:, ::-1], images, images[:, ::-1]):
        rim = 1.5 * rows[:, 0] - 0.5 * rows[:, 1]  # half a pixel beyond the middle of row 0
        edges.append(ndimage.gaussian_filter1d(rim, _NOISE, axis=1))
    return edges


def scores(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How well each edge of `a` goes over into each of `b`, `(n, n)`; an image never into itself.

    Correlation is of what is left of the edges without their broad mean. Concordance is that of
    Lin (1989): twice the covariance over the sum of variances and squared difference of means.
    """
    fine = [_standardised(x - ndimage.gaussian_filter1d(x, _BROAD, axis=1)) for x in (a, b)]
    correlation = fine[0] @ fine[1].T
    means = [x.mean(axis=1) for x in (a, b)]
    spreads = [x.var(axis=1) for x in (a, b)]
    covariance = a @ b.T / a.shape[1] - np.outer(*means)
    apart = np.subtract.outer(*means) ** 2
    concordance = 2 * covariance / (np.add.outer(*spreads) + apart)
    score = np.minimum(correlation, concordance)
    np.fill_diagonal(score, -1)
    return score


def _standardised(x):
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def table_of(fields: dict[str, str]) -> str:
    """The fields as a CSV, by the names of the images."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([("name", "group"), *sorted(fields.items())])
    return stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())

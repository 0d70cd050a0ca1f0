"""Makes `data/results/topomortar.csv.gz` from the scores that TopoMortar's authors published.

    python tools/topomortar.py [--archive TopoMortar-COMMIT.zip] [--out data/results]

The archive is that of the data set `mortar`, and is looked for where `load` looks for it. Kept are
the 560 runs on the 50 test images that resemble the training images, and four of their seven
scores; the JSON beside the table says from where, and under which terms.
"""

import argparse
import hashlib
import io
import json
import zipfile
from pathlib import Path

import pandas as pd

from segloss_ref.datasets.public import find
from segloss_ref.writing import write_whole

COMMIT = "f709b3c72f4f24f68239281292f854918707f95f"
NAME = f"TopoMortar-{COMMIT}"
RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"

#: Of each score, its column in the authors' files and the decimals that are kept.
SCORES = {
    "Betti-0 error": ("Betti0Error_mortar", 0),
    "Betti-1 error": ("Betti1Error_mortar", 0),
    "Dice": ("Dice_mortar", 4),
    "HD95": ("HD95_mortar", 3),  # in pixels
}
RUNS = {
    "CEDiceLoss": "cross-entropy + Dice",
    "RegionWiseLoss": "region-wise",
    "TopoLoss": "TopoLoss",
    "MSETopoWinLoss": "TOPO",
    "clDiceLoss": "clDice",
    "WarpingLoss": "warping",
    "CESkeletonRecallLoss": "skeleton recall",
    "cbDiceLoss": "cbDice",
}
#: Test images that seem to show one wall. The authors do not say; this was judged by eye from the
#: colours of bricks and joints, before any score was looked at by wall. Others stand alone.
WALLS = (
    "071 072 081 087 090 091 097 098 102 104 109 114",
    "074 084 093 100 105 115 119",
    "075 085 086 094",
    "080 096 108 113",
    "095 107 112 117",
    "077 106 116",
    "079 088",
    "083 092",
)


def read(archive):
    """The table, tidy and sorted, and one SHA-256 of the files that it was read from."""
    with zipfile.ZipFile(archive) as files:
        groups = pd.read_csv(files.open(f"{NAME}/dataset/dataset_types.txt"), dtype=str)
        kept = set(groups.loc[groups["group"] == "indistr", "ID"])
        start = f"{NAME}/results/"
        names = [n for n in files.namelist() if n.startswith(start) and n.endswith(".csv")]
        total, parts = hashlib.sha256(), []
        for name in sorted(names):
            text = files.read(name)
            total.update(f"{hashlib.sha256(text).hexdigest()}  {name[len(NAME) + 1 :]}\n".encode())
            *setting, loss, seed = name.removeprefix(start).removesuffix(".csv").split("/")
            scores = _tidy(pd.read_csv(io.BytesIO(text), dtype={"ID": str}), kept)
            parts.append(scores.assign(dataset="/".join(setting), run=RUNS[loss], seed=int(seed)))
    columns = ["dataset", "run", "seed", "image", "group", "metric", "value"]
    table = pd.concat(parts)[columns]
    order = {run: place for place, run in enumerate(RUNS.values())}
    table = table.sort_values(columns[:-1], key=lambda c: c.map(order) if c.name == "run" else c)
    return table.reset_index(drop=True), total.hexdigest()


def _tidy(scores, kept):
    scores = scores[scores["ID"].isin(kept)].set_index("ID")
    wide = pd.DataFrame({s: scores[column].round(d) for s, (column, d) in SCORES.items()})
    long = wide.rename_axis("image").melt(ignore_index=False, var_name="metric").reset_index()
    return long.assign(group=long["image"].map(wall_of))


def wall_of(image):
    """The name of its wall: that of the wall's first image."""
    return next((wall.split()[0] for wall in WALLS if image in wall.split()), image)


def main(argv=None):
    """Writes the table and its JSON, both whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, default=find("mortar"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(argv)
    if given.archive is None or not given.archive.is_file():
        parser.error(f"no archive {given.archive or 'of mortar'}: set SEGLOSS_DATA or --archive")
    table, digest = read(given.archive)
    runs = len(table[["dataset", "run", "seed"]].drop_duplicates())
    path = given.out / "topomortar.csv.gz"
    scratch = path.with_name(f".{path.name}")
    # Without a time in it, the file is the same whenever it is made.
    gzip = {"method": "gzip", "compresslevel": 9, "mtime": 0}
    table.to_csv(scratch, index=False, compression=gzip, float_format="%g")
    scratch.replace(path)
    about = {
        "made_by": "tools/topomortar.py",
        "source": f"https://github.com/jmlipman/TopoMortar/archive/{COMMIT}.zip",
        "files": f"results/*/*/*/<loss>/<seed>.csv, {runs} files",
        "sha256_of_their_sha256sum": digest,
        "terms": "MIT; Copyright (c) 2025 J. Miguel Valverde",
        "citation": "Valverde, Koga, Otsuka, Dahl 2025, arXiv:2503.03365",
        "group": "walls, judged by eye: see WALLS in tools/topomortar.py",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    write_whole(given.out / "topomortar.json", json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()

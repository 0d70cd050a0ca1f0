"""Checks the built loss lab in Chromium: what it computes, and what it does when it is used.

    python lab/check.py _build/lab

Values and gradients of all losses, for masks and logits drawn at random and some extremes, at the
ends of all sliders and between, are compared with those of `segloss_ref` on TensorFlow in double
precision. Then a lab is painted on, set, let descend, and opened again from its address.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import numpy as np
import tensorflow as tf
from cases import MAX_CELLS, SIDE, Case, cases
from look import errors_in, opened, served
from scipy import ndimage
from skimage.measure import label

HERE = Path(__file__).resolve().parent
#: How far a value may be from the right one, as a share of it, and a gradient, as a share of its
#: largest entry. Below `_SMALLEST` both count as this.
TOLERANCE = 1e-4
_SMALLEST = 1e-9

_PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="lab.css">
<body><div class="segloss-lab"></div><script src="_static/lab.js"></script>
"""


def images(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks and logits, `(SIDE, SIDE)`; the first has few pieces, as has the last but one."""

    def smooth(width):
        field = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), width)
        return field / field.std()

    noise = rng.normal(size=(SIDE, SIDE))
    blobs = smooth(5) > 0.5
    pixel = np.zeros((SIDE, SIDE), bool)
    pixel[40, 21] = True
    return [
        (blobs, 2 * noise + 2 * smooth(4)),
        (rng.random((SIDE, SIDE)) < 0.3, 3 * noise),
        (pixel, 4 * smooth(3) - 3),
        (np.zeros_like(blobs), 2 * noise - 1),
        (np.ones_like(blobs), 2 * noise - 1),
        # Around ±20. Where all were equal, a minimum or an order would have no one gradient.
        (blobs, np.where(smooth(3) > 0, 20.0, -20.0) + noise / 10),
        (smooth(2) > 0.8, 20 * noise),
    ]


def runs(case: Case, pictures: list, rng: np.random.Generator) -> list[tuple[int, dict]]:
    """Which picture and which settings: all pictures with the defaults; each slider at its ends
    and somewhere between."""
    fits = [
        i
        for i, (mask, _) in enumerate(pictures)
        if case.key != "blob" or label(mask, connectivity=2).max() <= MAX_CELLS
    ]
    found = [(i, case.defaults) for i in fits]
    for slider in case.sliders:
        for value in (slider.low, slider.high, float(rng.uniform(slider.low, slider.high))):
            found.append((fits[len(found) % 2], {**case.defaults, slider.name: value}))
    return found


def right(case: Case, picture: tuple[np.ndarray, np.ndarray], settings: dict) -> np.ndarray:
    """Value and gradient by the package itself, one after the other."""
    mask, logits = picture
    truth = label(mask, connectivity=2) if case.truth == "instances" else mask
    z = tf.constant(logits, "float64")
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = case.value(case.loss(**settings), truth.astype("float64"), z)
    gradient = tape.gradient(value, z)
    return np.concatenate([[value], np.ravel(tf.convert_to_tensor(gradient))])


def deviations(computed: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Of the value, and of the gradient; infinite where one is no number."""

    def share(a, b):
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return np.inf
        return np.abs(a - b).max() / max(np.abs(b).max(), _SMALLEST)

    return share(computed[:1], expected[:1]), share(computed[1:], expected[1:])


def computed(bundle: Path, pictures: list, chosen: list) -> tuple[np.ndarray, np.ndarray, list]:
    """What the browser makes of pictures and runs: values and gradients, cells, and times."""
    told = {
        "images": [{"mask": m.ravel().astype(int).tolist(), "logits": z.ravel().tolist()}
                   for m, z in pictures],
        "runs": [[case.key, i, [settings[s.name] for s in case.sliders]]
                 for case, i, settings in chosen],
    }  # fmt: skip
    pages = {**_files(bundle), "check.html": f"{_PAGE}{_script('check_values.js')}".encode()}
    pages["inputs"] = json.dumps(told).encode()
    with served(pages) as (address, posted):
        done = opened(f"{address}/check.html")
    if "times" not in posted:
        sys.exit(f"The browser has not come to the end.\n{done.stderr[-3000:]}")
    values, cells = (np.frombuffer(posted[name]) for name in ("results", "cells"))
    return values.reshape(len(chosen), -1), cells, json.loads(posted["times"])


def used(bundle: Path, count: int) -> list[str]:
    """What goes wrong when somebody uses the lab."""
    use = f'<!doctype html><img src="until/found"><script>const lossCount = {count};</script>'
    use += _script("check_use.js")
    pages = {**_files(bundle), "lab.html": _PAGE.encode(), "use.html": use.encode()}
    with served(pages) as (address, posted):
        done = opened(f"{address}/use.html")
    if "found" not in posted:
        return [f"The browser has not come to the end.\n{done.stderr[-3000:]}"]
    return json.loads(posted["found"]) + [": ".join(error) for error in errors_in(done)]


def _script(name):
    return f"<script>{(HERE / name).read_text()}</script>"


def _files(bundle):
    return {
        "_static/lab.js": (bundle / "lab.js").read_bytes(),
        "lab.css": (bundle / "lab.css").read_bytes(),
    }


def main(bundle: Path) -> int:
    rng = np.random.default_rng(0)
    losses, pictures = cases(), images(rng)
    chosen = [(case, *run) for case in losses for run in runs(case, pictures, rng)]
    results, cells, times = computed(bundle, pictures, chosen)
    problems, largest = [], 0.0
    known = np.concatenate([label(mask, connectivity=2).ravel() for mask, _ in pictures])
    if not np.array_equal(cells, known):
        problems.append("The pieces of a mask are not those of skimage.measure.label")
    for (case, i, settings), result in zip(chosen, results):
        pair = deviations(result, right(case, pictures[i], settings))
        largest = max(largest, *pair)
        if not max(pair) <= TOLERANCE:
            problems.append(
                f"{case.key} on picture {i} with {settings}: the value is off by {pair[0]:.1e}, "
                f"the gradient by {pair[1]:.1e}; at most {TOLERANCE:.0e} is allowed"
            )
    problems += used(bundle, len(losses))
    sliders = sum(len(case.sliders) for case in losses)
    size = (bundle / "lab.js").stat().st_size
    print(
        "\n".join(problems)
        or f"The lab: {len(losses)} losses and {sliders} sliders in {len(chosen)} runs; largest "
        f"deviation {largest:.1e}; {size / 1000:.0f} kB; all values and two gradients in "
        f"{np.median(times):.0f} ms; painted on, set, let descend, opened from its address"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))

"""Checks the built loss lab in Chromium: what it computes, and what it does when it is used.

    python lab/check.py _build/lab

Values and gradients of all losses, for masks and logits drawn at random and some extremes, at the
ends of all sliders and between, are compared with those of `segloss_ref` on TensorFlow in double
precision, and single operations with JAX, as far as losses may one day need them. Then a lab is
painted on, set, let descend, and opened again from its address.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow as tf
from javascript import RUNTIME, program
from lab_losses import MAX_CELLS, SIDE, Case, cases
from look import errors_in, opened, served
from scipy import ndimage
from skimage.measure import label

HERE = Path(__file__).resolve().parent
#: How far a value may be from the right one, as a share of it, and a gradient, as a share of its
#: largest entry. Below `_SMALLEST` both count as this.
TOLERANCE = 1e-4
_SMALLEST = 1e-9


def _turns(z, turn, times=4):
    return jax.lax.scan(turn, z, jnp.arange(times))


#: Operations on a truth, logits and a number, of which value and gradient are compared.
OPERATIONS = {
    "functions": lambda y, z, s: (
        jnp.exp(-s * z) + jnp.tanh(z) * jnp.sinh(z) / jnp.cosh(z) + jnp.log1p(z * z) * jnp.sign(z)
        + jnp.expm1(y * z) + jax.lax.rsqrt(1 + z * z) + jax.nn.sigmoid(z) ** s + (2 + y * z) ** -3
    ),
    "comparisons": lambda y, z, s: jnp.where(
        ((z > s) & (z <= 2)) | ~(y >= z) ^ (z == 0), z * s, jnp.clip(z, -1, 0.5) ** 3
    ) + jnp.where(jnp.isfinite(1 / (y - y)), 0, jnp.floor(s * 3) % 2 * z),
    "views": lambda y, z, s: z[::-1, 1:5].T * y[:, 0] + s * z[2:6, None, 0] * y[1, 2],
    "sums along an axis": lambda y, z, s: z.sum(0) * (z * y).max(1, keepdims=True) - z.min() * s,
    "padding": lambda y, z, s: jax.lax.pad(z, s, ((1, 2, 1), (0, 3, 0))) ** 2,
    "parts of two kinds": lambda y, z, s: (
        jnp.concatenate([jnp.sqrt(y), z, jnp.full((2, 6), s)], axis=0)[5:12] ** 2
    ),
    "stacks": lambda y, z, s: jnp.stack([z, y, z * y], axis=1)[:, ::2] * jnp.arange(6.0),
    "an order": lambda y, z, s: jnp.sort(z.ravel()) * jnp.arange(48.0) * s,
    "places": lambda y, z, s: z.ravel()[jnp.argsort(jnp.sin(9 * y.ravel()))] * jnp.arange(48.0),
    "sums so far": lambda y, z, s: jnp.cumsum(z.ravel()) ** 2 * s,
    "windows that move": lambda y, z, s: _turns(
        z, lambda x, i: (x * s, jax.lax.dynamic_slice(y, (i, i), (3, 2)) * x[2:5, :2])
    )[1],
    "a loop forward and back": lambda y, z, s: _turns(
        (z, s), lambda c, i: ((jnp.sin(c[0]) * c[1] + y[i], c[1] + c[0][0, 0]), c[0][1] * i)
    )[1],
    "a loop with an end": lambda y, z, s: z * jax.lax.while_loop(
        lambda c: (c[0] < 9).any(), lambda c: (c[0] * 2 + c[1], c[1] + 1), (y + 0.1, 1.0)
    )[0],
}  # fmt: skip

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


def operations() -> tuple[list[str], tuple, list[np.ndarray]]:
    """The programs of `OPERATIONS`, what they are called with, and what JAX makes of it."""
    rng = np.random.default_rng(1)
    y, z, s = rng.random((8, 6)), rng.normal(size=(8, 6)), 0.7

    def traced(operation):
        def value(y, z, s):
            return jnp.sum(operation(y, z, s))

        return jax.make_jaxpr(jax.value_and_grad(value, argnums=1))(y, z, s)

    with jax.enable_x64(True):
        jaxprs = [traced(operation) for operation in OPERATIONS.values()]
        right = [jax.extend.core.jaxpr_as_fun(jaxpr)(y, z, s) for jaxpr in jaxprs]
    results = [np.concatenate([np.ravel(part) for part in pair]) for pair in right]
    return [program(jaxpr, 1) for jaxpr in jaxprs], (y, z, s), results


def computed(bundle: Path, pictures: list, chosen: list, single: tuple) -> dict[str, np.ndarray]:
    """What the browser makes of pictures and runs, and of single operations: values and gradients,
    cells, and times."""
    programs, (y, z, s), _ = single
    told = {
        "runtime": RUNTIME,
        "programs": programs,
        "truth": y.ravel().tolist(),
        "logits": z.ravel().tolist(),
        "number": s,
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
    return {name: np.frombuffer(body) for name, body in posted.items()}


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
    places = {"lab.css": "lab.css", "lab.js": "_static/lab.js", "lab.mjs": "_static/lab.mjs"}
    return {place: (bundle / name).read_bytes() for name, place in places.items()}


def main(bundle: Path) -> int:
    rng = np.random.default_rng(0)
    losses, pictures = cases(), images(rng)
    chosen = [(case, *run) for case in losses for run in runs(case, pictures, rng)]
    single = operations()
    got = computed(bundle, pictures, chosen, single)
    problems, largest = [], 0.0
    known = np.concatenate([label(mask, connectivity=2).ravel() for mask, _ in pictures])
    if not np.array_equal(got["cells"], known):
        problems.append("The pieces of a mask are not those of skimage.measure.label")
    pairs = zip(OPERATIONS, got["operations"].reshape(len(OPERATIONS), -1), single[-1])
    for name, result, expected in pairs:
        if not max(pair := deviations(result, expected)) <= TOLERANCE:
            problems.append(f"{name}: value and gradient are off by {pair}")
    results = got["results"].reshape(len(chosen), -1)
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
    size = (bundle / "lab.js").stat().st_size / 1000
    print(
        "\n".join(problems)
        or f"The lab: {len(losses)} losses and {sliders} sliders in {len(chosen)} runs, and "
        f"{len(OPERATIONS)} operations; largest deviation {largest:.1e}; {size:.0f} kB; all values "
        f"and two gradients in {np.median(got['times']):.0f} ms, at best {got['times'].min():.0f}; "
        "painted on, set, let descend, opened from its address"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))

"""Builds the loss lab: one script for pages, the same as a module for notebooks, and their style.

    python lab/build.py OUT

`OUT/lab.js` is a classic script, which a page from the disk may load too; `OUT/lab.mjs` is what
`anywidget` takes as `_esm`. Both hold the programs of all losses, traced and translated here; the
same sources give the same bytes.
"""

import json
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"  # in this process; all else runs on TensorFlow
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import javascript
from lab_losses import cases
from tracing import traced

HERE = Path(__file__).resolve().parent
# Which page a lab stands on, and where the book begins, the script knows from its own address.
_PAGE = """
const ROOT = new URL("../", document.currentScript.src);
globalThis.lossLab = { LOSSES, Loss, sceneOf, labs: [] };
function start() {
  lossLab.labs = [...document.querySelectorAll(".segloss-lab")].map((place) => {
    const { loss = null } = place.dataset;
    return mount(place, { loss, root: ROOT, keepsAddress: !loss });
  });
}
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
addEventListener("hashchange", () => {
  if (!/[#&](case|t)=/.test(location.hash)) return;
  for (const lab of lossLab.labs) lab.stop();
  start();
  document.querySelector(".segloss-lab").scrollIntoView();
});
"""
_NOTEBOOK = """
export default { render({ model, el }) { mount(el, { loss: model.get("loss") ?? null }); } };
"""


def programs() -> str:
    """`LOSSES`, with a program each."""
    entries = []
    for case in cases():
        sliders = [
            {
                "name": s.name,
                "symbol": s.symbol,
                "low": s.low,
                "high": s.high,
                "factors": s.factors,
                "value": case.defaults[s.name],
            }
            for s in case.sliders
        ]
        told = {
            "key": case.key,
            "title": case.title,
            "family": case.family,
            "chapter": case.chapter,
            "truth": case.truth,
            "sliders": sliders,
        }
        make = javascript.program(traced(case), len(sliders))
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        entries.append(f"{text[:-1]},make:{make}}}")
    return "const LOSSES=[\n" + ",\n".join(entries) + "];\n"


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    body = f'"use strict";\n{javascript.RUNTIME}\n{programs()}\n{(HERE / "lab.js").read_text()}'
    (out / "lab.js").write_text(f"(() => {{\n{body}{_PAGE}}})();\n")
    (out / "lab.mjs").write_text(f"{body}{_NOTEBOOK}")
    (out / "lab.css").write_text((HERE / "lab.css").read_text())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))

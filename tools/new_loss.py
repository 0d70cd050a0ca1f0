"""Makes the skeleton of a new loss: class, oracle, chapter, entry of the contents.

    python tools/new_loss.py SquaredHinge region
    make new-loss NAME=SquaredHinge FAMILY=region

What it writes runs, with a formula that holds the place of yours, and says TODO wherever you have
something to say. Tests refuse each TODO, and say what is missing in other files.
"""

import argparse
import re
import sys
from pathlib import Path
from string import Template

from contents import ROOT

#: The base of a family's losses, the formula that holds the place of the new one, and its code.
FAMILIES = {
    "distribution": {
        "base": "TrueClassLoss",
        "formula": "1 - p_t",
        "latex": "1 - p_t",
        "mean": "mean over pixels, p_t the probability of the true class",
        "settings": "**kwargs: the arguments of every loss, see `SegmentationLoss`.",
        "method": """    def cost(self, log_p: Tensor, log_not_p: Tensor) -> Tensor:
        return -ops.expm1(log_p)""",
        "example": "p = np.full((1, 2, 2, 1), 0.75)",
        "oracle": "",
        "case": "of_true_class(sl.$cls, {}, lambda p: 1 - p)",
        "copied": """    p = ops.sigmoid(y_pred)
    y = ops.cast(y_true, p.dtype)
    return ops.mean(y * (1 - p) + (1 - y) * p, axis=(1, 2, 3))""",
    },
    "region": {
        "base": "SmoothedLoss",
        "formula": "Σ |y - p| / (Σ y + Σ p + s)",
        "latex": r"\frac{\sum |y - p|}{\sum y + \sum p + s}",
        "mean": "sums over the pixels of a region; mean over classes",
        "settings": """smooth: s > 0, in pixels. Two empty masks then agree perfectly (loss 0).
        **kwargs: see `RegionLoss` and `SegmentationLoss`.""",
        "method": """    def class_values(self, batch: Batch) -> Tensor:
        y, p = batch.y, batch.prediction.p
        wrong = total(ops.abs(y - p), batch.mass)
        return wrong / (total(y + p, batch.mass) + self.smooth)""",
        "example": "p = np.full((1, 2, 2, 1), 0.5)",
        "oracle": """def $snake(y, p, w, smooth=1.0):
    return np.sum(w * np.abs(y - p)) / (np.sum(w * (y + p)) + smooth)


""",
        "case": "Case(sl.$cls, $snake)",
        "copied": """    p = ops.sigmoid(y_pred)
    y = ops.cast(y_true, p.dtype)
    wrong = ops.sum(ops.abs(y - p), axis=(1, 2, 3))
    return wrong / (ops.sum(y + p, axis=(1, 2, 3)) + smooth)""",
    },
}

CLASS = Template('''

@catalogued(
    family="$family",
    chapter="$family/$snake",
    citation="TODO",
    formula=r"$latex",
)
class $cls($base):
    """TODO: one line.

    Formula: `$formula`, $mean.

    Args:
        $settings

    Shapes: as for every loss.
    Returns: one value per image, TODO: between which bounds.
    Raises:
        ValueError: TODO.
    Example:
        >>> y = np.ones((1, 2, 2, 1))
        >>> $example
        >>> round(float($cls()(y, p)), 4)  # TODO: by hand
        $worked

    Source: TODO, with the number of the equation.
    """

    def __init__(
$signature
    ) -> None:
        super().__init__(${passed}name=name, **kwargs)

$method
''')

CHAPTER = Template("""---
jupytext:
  formats: book//md:myst,notebooks//ipynb
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

(chap-$dashed)=
# $title loss

```{index} !$title loss, TODO
```

TODO: the question that this loss answers, in two or three sentences.

```{admonition} Use it
:class: tip
{{ install }}

~~~python
from segloss_ref import $cls

loss = $cls(from_logits=True)
~~~

Or copy it; Keras 3, any backend; `y_true` of 0 and 1, `y_pred` of logits, both
`(batch, height, width, 1)`:

~~~python
from keras import ops

def ${snake}_loss(y_true, y_pred$smooth):
$copied
~~~

**Take it** when TODO. **Not** when TODO.
```

## Formula

TODO: each symbol in words, and how it differs from the paper.

$$$$
L = $latex
$$$$ (eq-$dashed)

## Gradient

TODO: by hand, then in words; a figure of value and gradient.

## Numerical stability

TODO: the one trap that is this loss's own.

## Implementation

```{code-cell} ipython3
import numpy as np

from segloss_ref import $cls

rng = np.random.default_rng(0)
y, p = rng.integers(0, 2, (2, 8, 8, 1)), rng.random((2, 8, 8, 1))
print(f"{float($cls()(y, p)):.4f}")
```

TODO: from the formula, in three to five short cells; a folded cell shows that it equals the
package.

## Evidence

TODO: `segloss_ref.experiment.trial`, beside cross-entropy and the best constant.

## When not to use it

TODO.

## Exercises

**1. Derive.** TODO

```{admonition} Solution
:class: dropdown
TODO
```

## Summary

* TODO
""")


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def skeleton(name: str, family: str) -> dict[Path, str]:
    """The new text of each file that the loss touches."""
    base, words = FAMILIES[family], snake(name).replace("_", " ")
    smoothed = family == "region"
    head = ["self", "smooth: float = 1.0"] if smoothed else ["self"]
    head += ["*", f'name: str | None = "{snake(name)}"', "**kwargs: Any"]
    values = base | {
        "family": family,
        "cls": f"{name}Loss",
        "snake": snake(name),
        "dashed": snake(name).replace("_", "-"),
        "title": words.capitalize(),
        "smooth": ", smooth=1.0" if smoothed else "",
        "passed": "smooth, " if smoothed else "",
        "signature": "\n".join(f"        {each}," for each in head),
        "worked": "0.2857" if smoothed else "0.25",
    }
    module = ROOT / "segloss_ref" / "losses" / f"{family}.py"
    cases = ROOT / "tests" / "losses" / f"cases_{family}.py"
    contents = ROOT / "_toc.yml"
    chapter = ROOT / "book" / family / f"{snake(name)}.md"
    if re.search(rf"^class {name}Loss\b", module.read_text(), re.M) or chapter.exists():
        sys.exit(
            f"The name must be new. Received: {name}, and there is a {name}Loss or a "
            f"{chapter.relative_to(ROOT)}"
        )
    tests = cases.read_text()
    start = tests.index("\nCASES = {\n") + 1
    oracle, case = (Template(base[part]).substitute(values) for part in ("oracle", "case"))
    tests = tests[:start] + oracle + tests[start:]
    end = tests.index("\n}\n", start) + 1
    return {
        module: module.read_text() + CLASS.substitute(values),
        cases: f'{tests[:end]}    "{values["dashed"]}": {case},\n{tests[end:]}',
        contents: with_chapter(contents.read_text(), family, snake(name)),
        chapter: CHAPTER.substitute(values),
    }


def with_chapter(contents: str, family: str, name: str) -> str:
    """The contents with a chapter after the last of its family."""
    line = re.compile(rf"^      - file: notebooks/{family}/\w+\n", re.M)
    parts = re.split(r"(?=^  - caption: )", contents, flags=re.M)
    # Of the parts that hold chapters of the family, its own holds most.
    own = max(range(len(parts)), key=lambda i: len(line.findall(parts[i])))
    last = list(line.finditer(parts[own]))[-1].end()
    new = f"      - file: notebooks/{family}/{name}\n"
    parts[own] = parts[own][:last] + new + parts[own][last:]
    return "".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the skeleton of a new loss.")
    parser.add_argument("name", help="in capitals and small letters, without Loss: SquaredHinge")
    parser.add_argument("family", choices=sorted(FAMILIES))
    given = parser.parse_args()
    name = given.name.removesuffix("Loss")
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]+", name):
        sys.exit(f"The name must be one of a class, such as SquaredHinge. Received: {given.name!r}")
    for path, text in skeleton(name, given.family).items():
        path.write_text(text)
        print(path.relative_to(ROOT))
    print(
        "\nWrite what says TODO, its source in book/references.bib, then",
        f".venv/bin/pytest tests/losses -k {snake(name).replace('_', '-')}",
        ".venv/bin/python benchmarks/backends.py --store",
        "make run && make test",
        sep="\n  ",
    )


if __name__ == "__main__":
    main()

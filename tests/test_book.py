"""The pages of the book: as long as they may be, and their boxes "Use it" are right."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from keras import ops

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from length import CELL, LINES, ROOT, WORDS, length, pages

import segloss_ref

PAGES = {str(page.relative_to(ROOT / "book").with_suffix("")): page for page in pages()}
BOX = re.compile(r"^(`{3,})\{admonition\} Use it\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"^~~~python\n(.*?)^~~~$", re.DOTALL | re.MULTILINE)


def test_length_counts_what_is_read():
    text = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
---

(label)=
# Two words

```{admonition} A box
:class: tip
Three [more words](#target) with $x + y$, and {cite:p}`nobody2020`.

~~~python
import nothing
~~~
```

```{code-cell} ipython3
a = 1

b = 2
```

```{code-cell} ipython3
:tags: [hide-input]

c = 3
```
"""
    got = length(text)
    # Two words; Three more words with [x], and: the formula is a word, the name of a box is none.
    assert got.words == 2 + 6
    assert (got.cells, got.lines, got.median, got.longest) == (2, 2, 2, 2)


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_too_long(name):
    found = length(PAGES[name].read_text())
    assert found.words <= WORDS and found.lines <= LINES and found.longest <= CELL, found


def boxes():
    found = {name: BOX.findall(page.read_text()) for name, page in PAGES.items()}
    return [(name, body) for name, many in found.items() for _, body in many]


@pytest.mark.parametrize("name, body", boxes(), ids=lambda x: x if "\n" not in x else "")
def test_what_a_box_defines_is_the_loss(name, body):
    """Its function, to be copied, and its `loss` from the package give one number."""
    names = {}
    for code in CODE.findall(body):
        exec(compile(code, name, "exec"), names)
    functions = {k: v for k, v in names.items() if getattr(v, "__code__", None) is not None}
    functions = [f for f in functions.values() if f.__code__.co_filename == name]
    loss, function = names["loss"], functions[-1]
    for y, z in batches(loss):
        want, got = (ops.convert_to_numpy(f(y, z)) for f in (loss, function))
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got.mean(), want, rtol=1e-4, atol=1e-5)


def test_every_chapter_on_a_loss_has_a_box():
    chapters = {entry.chapter for entry in segloss_ref.catalogue()}
    found = [name for name, _ in boxes()]
    for name in chapters:
        # As many as a reader sees: one that the pattern did not take would not be run.
        assert found.count(name) == PAGES[name].read_text().count("{admonition} Use it") > 0, name


def batches(loss):
    """Random masks, empty ones, and predictions that are sure."""
    rng = np.random.default_rng(0)
    classes = 1 if "binary" in loss.takes else 3
    for share, scale in ((0.3, 1), (0.3, 100), (0, 1), (1, 100)):
        z = (scale * rng.normal(size=(2, 12, 12, classes))).astype("float32")
        if loss.truth == "instances":
            yield (rng.random((2, 12, 12)) < share) * rng.integers(1, 4, (2, 12, 12)), z
        elif classes > 1:
            yield rng.integers(0, classes, (2, 12, 12)) * (share > 0), z
        else:
            yield (rng.random((2, 12, 12, 1)) < share).astype("float32"), z


def test_no_page_is_a_skeleton():
    assert [name for name, page in PAGES.items() if "TODO" in page.read_text()] == []


@pytest.mark.parametrize("name", PAGES)
def test_no_formula_is_taken_for_a_list(name):
    """A line that begins with + or - is an item of a list, also within a formula."""
    # A box has fences like code, and is read.
    code = r"^(?:```(?:\{(?:code-cell|math)\}|\w)|~~~).*?^(?:```|~~~)"
    text = re.sub(code, "", PAGES[name].read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)
    formulas = text.split("$")[1::2]  # between dollars, where these come in pairs
    assert [one for one in formulas if re.search(r"\n(?:[-+*>#]|\d+\.)\s", one)] == []

"""The tools notice a text and a notebook that differ, and outputs that no reader should see."""

import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import notebooks

TEXT = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Title

```{code-cell} ipython3
:tags: [parameters]

a = 1
```
"""


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A chapter in step: its text, and a notebook made from it."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "TEXT", tmp_path / "book")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    text = tmp_path / "book" / "part" / "one.md"
    notebook = tmp_path / "notebooks" / "part" / "one.ipynb"
    for path in (text, notebook):
        path.parent.mkdir(parents=True)
    text.write_text(TEXT)
    (tmp_path / "book" / "page.md").write_text("# Prose, and no notebook")
    nbformat.write(notebooks.jupytext.read(text), notebook)
    return text, notebook


def test_in_step(chapter):
    assert notebooks.check() == 0


@pytest.mark.parametrize(("old", "new"), [("a = 1", "a = 2"), ("Title", "Titel"), ("param", "p")])
def test_a_changed_text_is_noticed(chapter, old, new, capsys):
    text, _ = chapter
    text.write_text(TEXT.replace(old, new))
    assert notebooks.check() == 1
    assert "one.ipynb differ: `make run` mends it" in capsys.readouterr().err


def test_a_missing_side_is_noticed(chapter, capsys):
    _, notebook = chapter
    notebook.rename(notebook.with_name("two.ipynb"))
    assert notebooks.check() == 1
    errors = capsys.readouterr().err
    assert "one.md has no notebook" in errors and "two.ipynb has no text" in errors


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"output_type": "error", "ename": "E", "evalue": "", "traceback": []}, "an error is"),
        ({"output_type": "stream", "name": "stderr", "text": "careful"}, "'careful'"),
    ],
)
def test_errors_and_warnings_in_outputs_are_noticed(chapter, output, message, capsys):
    _, path = chapter
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs = [nbformat.from_dict(output)]
    nbformat.write(notebook, path)
    assert notebooks.check() == 1
    assert message in capsys.readouterr().err

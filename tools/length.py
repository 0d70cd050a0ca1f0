"""How long the chapters are: words of prose, and lines of code in view.

    python tools/length.py                     every page of the contents
    python tools/length.py book/region/dice.md ...
    python tools/length.py --since COMMIT      beside what they were then

Words are those of paragraphs, lists, captions, boxes and solutions; a formula counts as one word,
code as none. In view is the input of a cell without a tag that hides or removes it.
"""

import argparse
import re
import statistics
import subprocess
from pathlib import Path
from typing import NamedTuple

import jupytext
from contents import ROOT, names

#: The most that a chapter has.
WORDS, LINES, CELL = 2000, 120, 15

HIDDEN = {"hide-input", "hide-cell"}

_FORMULA = re.compile(r"\$\$.*?\$\$|(`{3,})\{math\}.*?^\1$|\$[^$]+\$", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"^(~{3,}|`{3,})(?:python|sh|text|yaml)$.*?^\1$", re.DOTALL | re.MULTILINE)
_OPTION = re.compile(r"^\s*(?::[\w-]+:.*|[`~:]{3,}.*|\([\w-]+\)=)$", re.MULTILINE)
_TARGET = re.compile(r"\]\([^)]*\)|\{[\w:]+\}`[^`]*`")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")


class Length(NamedTuple):
    """Of one page."""

    words: int
    cells: int
    lines: int
    median: float
    longest: int


def length(text: str) -> Length:
    """Of the text side of a chapter, or of a page of prose."""
    cells = jupytext.reads(text, fmt="md:myst").cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = _FORMULA.sub(" x ", _FENCE.sub("", prose))
    prose = _TARGET.sub("]", _OPTION.sub("", prose))
    seen = [_lines(cell.source) for cell in cells if cell.cell_type == "code" and _in_view(cell)]
    code = sum(cell.cell_type == "code" for cell in cells)
    middle = statistics.median(seen or [0])
    return Length(len(_WORD.findall(prose)), code, sum(seen), middle, max(seen, default=0))


def _in_view(cell):
    tags = cell.metadata.get("tags", [])
    return not any(tag.startswith("remove-") or tag in HIDDEN for tag in tags)


def _lines(source):
    return sum(bool(line.strip()) for line in source.splitlines())


def pages() -> list[Path]:
    """The text sides of all pages in the order of the contents."""
    return [ROOT / f"{name.replace('notebooks/', 'book/', 1)}.md" for name in names()]


def _before(page, commit):
    name = f"{commit}:{page.relative_to(ROOT)}"
    found = subprocess.run(["git", "show", name], cwd=ROOT, capture_output=True, text=True)
    return length(found.stdout) if found.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description="How long the chapters are.")
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--since", help="a commit to compare with")
    given = parser.parse_args()
    print("| page | words | cells | lines in view | median cell | longest |")
    print("|---|--:|--:|--:|--:|--:|")
    found = []
    for page in [path.resolve() for path in given.pages] or pages():
        now = length(page.read_text())
        then = _before(page, given.since) if given.since else None
        found.append(now.words)
        columns = [f"{n:g}" for n in now]
        if then:
            columns = [f"{old:g} → {new:g}" for old, new in zip(then, now)]
        print(f"| {page.relative_to(ROOT / 'book').with_suffix('')} | {' | '.join(columns)} |")
    print(f"\n{sum(found):,} words in {len(found)} pages, median {statistics.median(found):g}")


if __name__ == "__main__":
    main()

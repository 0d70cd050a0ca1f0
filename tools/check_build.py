"""Fails unless every page of the contents was built, with its text and its figures.

A builder can end without an error and an empty site (Jupyter Book 2 did so with books for 1.x).
"""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"


def pages():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [contents["root"]]
    files += [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return files


def problems_of(page):
    path = HTML / f"{page}.html"
    if not path.exists():
        return [f"{page}: not built"]
    html = path.read_text()
    found = []
    if len(re.sub(r"<[^>]+>", " ", html).split()) < 150:
        found.append(f"{page}: next to no text")
    for image in re.findall(r'<img[^>]*src="([^":]+)"', html):
        if not (path.parent / image).exists():
            found.append(f"{page}: no file for the image {image}")
    for tag in re.findall(r"<img[^>]*_images/[^>]*>", html):
        alternative = re.search(r'alt="([^"]*)"', tag)
        if not alternative or len(alternative[1]) < 15 or alternative[1].endswith(".png"):
            found.append(f"{page}: an image without a text for those who do not see it: {tag}")
    if (ROOT / f"{page}.ipynb").exists() and "cell_input" not in html:
        found.append(f"{page}: no code cells")
    return found


if __name__ == "__main__":
    problems = [problem for page in pages() for problem in problems_of(page)]
    print("\n".join(problems) or f"{len(pages())} pages built, with text and figures")
    sys.exit(1 if problems else 0)

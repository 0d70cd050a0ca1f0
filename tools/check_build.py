"""Fails unless every page of the contents was built, with its text and figures, and is light.

A builder can end without an error and an empty site (Jupyter Book 2 did so with books for 1.x).
"""

import re
import sys

from contents import ROOT, names

HTML = ROOT / "_build" / "html"
#: The most that a page weighs with its own images, in bytes.
WEIGHT = 1_000_000


def problems_of(page):
    path = HTML / f"{page}.html"
    if not path.exists():
        return [f"{page}: not built"]
    html = path.read_text()
    found = []
    if len(re.sub(r"<[^>]+>", " ", html).split()) < 150:
        found.append(f"{page}: next to no text")
    images = set(re.findall(r'<img[^>]*src="([^":]+)"', html))
    for image in images:
        if not (path.parent / image).exists():
            found.append(f"{page}: no file for the image {image}")
    files = [path, *(path.parent / image for image in images)]
    weight = sum(file.stat().st_size for file in files if file.exists())
    if weight > WEIGHT:
        found.append(f"{page}: {weight:,} bytes with its images, of {WEIGHT:,} allowed")
    for tag in re.findall(r"<img[^>]*_images/[^>]*>", html):
        alternative = re.search(r'alt="([^"]*)"', tag)
        if not alternative or len(alternative[1]) < 15 or alternative[1].endswith(".png"):
            found.append(f"{page}: an image without a text for those who do not see it: {tag}")
    if (ROOT / f"{page}.ipynb").exists() and "cell_input" not in html:
        found.append(f"{page}: no code cells")
    return found


if __name__ == "__main__":
    problems = [problem for page in names() for problem in problems_of(page)]
    print("\n".join(problems) or f"{len(names())} pages built, with text and figures")
    sys.exit(1 if problems else 0)

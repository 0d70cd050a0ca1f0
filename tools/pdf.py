"""Makes the whole book one PDF, from the built pages, with Chromium.

    python tools/pdf.py [--pages book/index notebooks/region/dice ...]

The text of each page stands in one document in the order of the contents, under its part; a link to
a page or a place in it leads there. Folded code is left out, what it shows stays; other folds are
open. Chromium sets the formulas, counts the pages and makes the outline from the headings.
"""

import argparse
import posixpath
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path
from urllib.parse import urldefrag

import yaml
from bs4 import BeautifulSoup, Tag
from contents import ROOT, names
from look import HTML, browser, served

OUT = ROOT / "_build" / "segmentation-losses.pdf"
#: What a paper has no use for.
LEFT_OUT = "a.headerlink, script, .reading-time, .above-input :is(summary, .cell_input)"
SECONDS = 900


def place(page: str, anchor: str = "") -> str:
    """The name of a place in the one document, in which two pages may have the same names."""
    return f"{page.replace('/', '.')}--{anchor}"


def text_of(page: str, pages: set[str]) -> Tag:
    """The text of a built page; links and images lead from the root, headings are a level lower."""
    soup = BeautifulSoup((HTML / f"{page}.html").read_text(), "html.parser")
    article = soup.select_one("article.bd-article")
    for tag in article.select(LEFT_OUT):
        tag.decompose()
    for tag in article.select("[id]"):
        tag["id"] = place(page, tag["id"])
    for link in article.select("a[href]"):
        retarget(link, page, pages)
    for image in article.select("img[src]:not([src^='data:'])"):
        image["src"] = from_root(page, image["src"])
    for fold in article.select("details"):
        if "above-input" in fold["class"]:
            fold.unwrap()
        else:
            fold["open"] = ""
    for heading in article.find_all(re.compile("^h[1-5]$")):
        heading.name = f"h{int(heading.name[1]) + 1}"
    article["id"] = place(page)
    return article


def from_root(page: str, address: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), address))


def retarget(link: Tag, page: str, pages: set[str]) -> None:
    address, anchor = urldefrag(link["href"])
    if re.match(r"[a-z]+:", address):
        return
    target = from_root(page, address).removesuffix(".html") if address else page
    if target in pages:
        link["href"] = f"#{place(target, anchor)}"
    else:  # the index, the search, a file to download
        del link["href"]


def document(wanted: list[str]) -> str:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    first = BeautifulSoup((HTML / f"{wanted[0]}.html").read_text(), "html.parser")
    styles = [from_root(wanted[0], tag["href"]) for tag in first.select("link[rel=stylesheet]")]
    mathjax = [str(tag) for tag in first.select("script") if "window.MathJax =" in tag.text]
    body = [title(), str(text_of(wanted[0], set(wanted)))] if contents["root"] in wanted else []
    for part in contents["parts"]:
        chapters = [each["file"] for each in part["chapters"] if each["file"] in wanted]
        if chapters:
            body += [f"<h1 class='part'>{part['caption']}</h1>"]
            body += [str(text_of(chapter, set(wanted))) for chapter in chapters]
    return "\n".join(
        [
            '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">',
            "<title>Segmentation Losses</title>",
            *(f'<link rel="stylesheet" href="{style}">' for style in styles),
            '<link rel="stylesheet" href="_static/pdf.css">',
            *mathjax,
            '<script defer src="_static/mathjax/tex-chtml.js"></script></head>',
            '<body><div class="bd-content">',
            *body,
            "</div></body></html>",
        ]
    )


def title() -> str:
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return f"""<header class="title"><img src="_static/logo.svg" alt="">
        <p class="name">{config["title"]}</p><p>derived, implemented, compared</p>
        <p>{config["author"]}</p><p>Version {version}, {date.today():%d %B %Y}</p>
        {config["html"]["extra_footer"]}</header>"""


def print_to(out: Path, page: str) -> None:
    out.parent.mkdir(exist_ok=True)
    whole = {"book.html": page.encode()}
    with tempfile.TemporaryDirectory() as profile, served(whole) as (address, _):
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu"]
        command += [f"--user-data-dir={profile}", f"--virtual-time-budget={1000 * SECONDS}"]
        command += ["--no-pdf-header-footer", "--generate-pdf-document-outline"]
        command += [f"--print-to-pdf={out}", f"{address}/book.html"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if not out.exists():
        sys.exit(f"The browser has printed nothing.\n{done.stderr[-3000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the book one PDF.")
    parser.add_argument("--pages", nargs="*", default=names(), help="names as in _toc.yml")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    given.out.unlink(missing_ok=True)
    print_to(given.out, document(given.pages))
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

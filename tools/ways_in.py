"""An extension of Sphinx: the ways into a page, and what they follow from.

`repository: url` in `_config.yml` is the one setting: from it come the buttons that run and edit a
page, the first cell of a downloaded notebook, which installs the package, the address of the site,
its sitemap, and the pictures that stand for links to it. While it is empty, none of these is made.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from length import ROOT, length
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon

#: A minute's words: fewer than of a novel, as a formula counts as one.
WORDS_A_MINUTE = 150
#: The branch of the site, where Colab finds the notebooks with the cell that installs.
SITE_BRANCH = "gh-pages"
INSTALL = """\
# Where the package is missing, as on Colab, this installs it; elsewhere it does nothing.
try:
    import segloss_ref
except ImportError:
    %pip install --quiet "segloss_ref[tensorflow,data,plots] @ git+{url}@{branch}"
"""


def site_of(url: str) -> str:
    """The address of the pages of a repository on GitHub.

    >>> site_of("https://github.com/someone/losses")
    'https://someone.github.io/losses/'
    """
    found = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git|/)?", url)
    if not found:
        raise ValueError(
            "repository: url in _config.yml must be https://github.com/OWNER/NAME, or empty. "
            f"Received: {url}"
        )
    owner, name = found.groups()
    home = f"https://{owner.lower()}.github.io/"
    return home if name.lower() == f"{owner}.github.io".lower() else f"{home}{name}/"


def repository(app: Any) -> tuple[str, str]:
    options = app.config.html_theme_options
    url = (options.get("repository_url") or "").removesuffix("/").removesuffix(".git")
    return url, options.get("repository_branch") or "main"


def configure(app: Any, config: Any) -> None:
    url, _ = repository(app)
    if url:
        config.html_baseurl = config.ogp_site_url = site_of(url)
        config.ogp_image = "_static/card.png"


def text_of(page: str) -> Path:
    """The file that people write: of a chapter, the text and not the notebook."""
    return ROOT / f"{re.sub('^notebooks/', 'book/', page)}.md"


def add(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    url, branch = repository(app)
    context["site"] = site_of(url) if url else ""  # for 404.html
    if tree is None or not text_of(page).exists():
        return
    if page.count("/") == 2:  # a chapter, in the folder of its part
        minutes = max(1, round(length(text_of(page).read_text()).words / WORDS_A_MINUTE))
        line = f'</h1>\n<p class="reading-time">{minutes} min read</p>'
        context["body"] = context["body"].replace("</h1>", line, 1)
    if url:
        is_notebook = page.startswith("notebooks/")
        context["header_buttons"][:0] = [
            *([running(url, branch, page)] if is_notebook else []),
            sources(url, branch, page),
        ]


def running(url: str, branch: str, page: str) -> dict[str, Any]:
    name = url.removeprefix("https://github.com/")
    colab = (
        f"https://colab.research.google.com/github/{name}/blob/{SITE_BRANCH}/_sources/{page}.ipynb"
    )
    binder = f"https://mybinder.org/v2/gh/{name}/{branch}?urlpath=lab/tree/{page}.ipynb"
    links = [link("Colab", colab, "fas fa-play"), link("Binder", binder, "fas fa-play")]
    return group("Run this page", "fas fa-rocket", links)


def sources(url: str, branch: str, page: str) -> dict[str, Any]:
    edit = f"{url}/edit/{branch}/{text_of(page).relative_to(ROOT)}"
    issue = f"{url}/issues/new?template=page.yml&page={quote(page, safe='')}"
    links = [
        link("Repository", url, "fab fa-github"),
        link("Edit this page", edit, "fas fa-pencil"),
        link("Report an error", issue, "fas fa-circle-exclamation"),
    ]
    return group("Where this page comes from", "fab fa-github", links)


def group(tooltip: str, icon: str, buttons: list[dict[str, str]]) -> dict[str, Any]:
    return {"type": "group", "tooltip": tooltip, "icon": icon, "buttons": buttons}


def link(text: str, url: str, icon: str) -> dict[str, str]:
    return {"type": "link", "text": text, "url": url, "icon": icon}


def finish(app: Any, error: Exception | None) -> None:
    url, branch = repository(app)
    if error or not url or app.builder.format != "html":
        return
    out = Path(app.outdir)
    draw_card(out / "_static" / "card.png")
    for path in (out / "_sources").rglob("*.ipynb"):
        install(path, url, branch)
    pages = (f"{site_of(url)}{app.builder.get_target_uri(page)}" for page in app.env.found_docs)
    lines = "\n".join(f"<url><loc>{page}</loc></url>" for page in sorted(pages))
    head = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    (out / "sitemap.xml").write_text(f"{head}\n{lines}\n</urlset>\n")


def draw_card(path: Path) -> None:
    """The picture that stands for a link to the book elsewhere: logo and title."""
    figure = Figure((12, 6.3), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-12, 180), ylim=(82, -18.8))
    axes.axis("off")
    for middle, colour, side in (((22, 25), "#0d7ec2", -100), ((42, 39), "#d55e00", 200)):
        half = Polygon([(14, 56), (50, 8), (side, -20), (side, 100)], transform=axes.transData)
        axes.add_patch(Circle(middle, 18, color=colour)).set_clip_path(half)
    axes.plot((14, 50), (56, 8), color="white", linewidth=20)
    axes.text(70, 28, "Segmentation Losses", fontsize=36, weight="bold", va="center")
    axes.text(70, 41, "derived, implemented, compared", fontsize=23, va="center")
    figure.savefig(path)


def install(path: Path, url: str, branch: str) -> None:
    """The notebook begins with a cell that installs the package."""
    notebook = nbformat.read(path, as_version=4)
    cell = nbformat.v4.new_code_cell(INSTALL.format(url=url, branch=branch), id="install")
    notebook.cells.insert(0, cell)
    nbformat.write(notebook, path)


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", configure, priority=100)
    app.connect("html-page-context", add, priority=900)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

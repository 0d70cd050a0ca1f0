"""An extension of Sphinx: pages with a loss lab load its script and style; no other page does."""

from typing import Any


def load(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    if 'class="segloss-lab"' in context.get("body", ""):
        app.add_js_file("lab.js", loading_method="defer")
        app.add_css_file("lab.css")


def setup(app: Any) -> dict[str, bool]:
    # Before `lean`, which gives the page a list of its own.
    app.connect("html-page-context", load, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

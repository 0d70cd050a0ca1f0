"""An extension of Sphinx: a script that was added twice is on the page once.

Scripts without a file that an extension adds while Sphinx is at work, as sphinx-thebe does, are put
on a page twice, and browsers report the second definition of a constant as an error.
"""

from typing import Any


def once(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    scripts = context.get("script_files", ())
    # The two differ: the name of no file is None in one, and empty in the other.
    found = {(script.filename or "", script.attributes.get("body")): script for script in scripts}
    context["script_files"] = list(found.values())


def setup(app: Any) -> dict[str, bool]:
    app.connect("html-page-context", once)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

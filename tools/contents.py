"""The pages of the book, as its contents name them."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def names() -> list[str]:
    """The names of all pages without a suffix, in order, such as `notebooks/region/dice`."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = (chapter for part in contents["parts"] for chapter in part["chapters"])
    return [contents["root"], *(chapter["file"] for chapter in chapters)]

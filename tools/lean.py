"""An extension of Sphinx: what MyST-NB and the themes write is mended where it keeps out or weighs.

On a page: names that differ from what stands there, empty heads of tables, lists without members
(all of them findings of axe, which `look.py` runs), and Thebe, which this book does not use. In the
site: icons, kinds of MathJax and maps of sources that no page asks for.
"""

import base64
import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

from contents import ROOT
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont


def as_list(found: re.Match[str]) -> str:
    """The arguments of a signature, which are a list of descriptions without terms, as a list."""
    text = found[0].replace("<dl>", '<ul class="arguments">').replace("</dl>", "</ul>")
    return text.replace("<dd>", "<li>").replace("</dd>", "</li>")


MENDED = (
    # The name of a fold is what stands on it.
    (r'<summary aria-label="[^"]*">', "<summary>"),
    (r' role="doc-biblioentry"', ' role="listitem"'),
    (r'<dl>\s*<dd><em class="sig-param">.*?</dl>', as_list),
    (r"<th([^>]*)>\s*(?:<p></p>)?\s*</th>", r"<td\1></td>"),
    (r'<script type="text/x-thebe-config">.*?</script>\s*<script>kernelName.*?</script>', ""),
)
#: What of MathJax a page may load: the program, its fonts, rare commands, and speech in English.
MATHJAX = (
    "tex-chtml.js",
    "output/chtml/fonts",
    "input/tex/extensions",
    "a11y",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
    "sre/mathmaps/nemeth.json",
)
FONTS = "vendor/fontawesome/webfonts"
PRIVATE = frozenset(map(chr, range(0xE000, 0xF900)))


def find_templates(app: Any, config: Any) -> None:
    """A page that is built alone, from another folder, has the templates, too."""
    config.templates_path = [str(ROOT / path) for path in config.templates_path]


def mend(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    for kind in ("script_files", "css_files"):
        kept = [file for file in context.get(kind, ()) if not of_thebe(file)]
        context[kind] = kept
    for wrong, right in MENDED:
        context["body"] = re.sub(wrong, right, context.get("body", ""), flags=re.DOTALL)


def of_thebe(file: Any) -> bool:
    return "thebe" in f"{getattr(file, 'filename', file)}{file.attributes.get('body')}".lower()


def lighten(app: Any, error: Exception | None) -> None:
    static = Path(app.outdir) / "_static"
    if error or app.builder.format != "html" or not static.exists():
        return
    pages = "".join(page.read_text() for page in Path(app.outdir).rglob("*.html"))
    keep_icons(static, set(re.findall(r"\bfa-[a-z-]+", pages)))
    keep_only(static / "mathjax", MATHJAX)
    keep_focus(static / "scripts" / "sphinx-book-theme.js")
    for unused in [*static.rglob("*.map"), static / "scripts" / "fontawesome.js"]:
        unused.unlink(missing_ok=True)


def keep_icons(static: Path, names: set[str]) -> None:
    """The style sheet keeps the icons of these names, and has their fonts within itself.

    Rules have icons without a name, too: those of boxes, say.
    """
    sheet, icons = static / "styles" / "pydata-sphinx-theme.css", set()

    def rule(found: re.Match[str]) -> str:
        if not names & set(re.findall(r"\.(fa-[a-z0-9-]+):before", found[0])):
            return ""
        icons.add(int(found[1], 16))
        return found[0]

    def face(found: re.Match[str]) -> str:
        font = TTFont(static / FONTS / f"{found[2]}.ttf")
        used = icons & font.getBestCmap().keys()
        return f'{found[1]}src:url("data:font/woff;base64,{subset(font, used)}")}}' if used else ""

    css = sheet.read_text()
    css = re.sub(r'(?:\.fa-[a-z0-9-]+:before,?)+\{content:"\\([0-9a-f]+)"\}', rule, css)
    # Boxes have theirs in style sheets, as codes or as the signs themselves.
    sheets = css + "".join(path.read_text() for path in static.rglob("*.css") if path != sheet)
    icons |= {int(code, 16) for code in re.findall(r'"\\([ef][0-9a-f]{3})"', sheets)}
    icons |= {ord(sign) for sign in sheets if sign in PRIVATE}
    css = re.sub(rf"(@font-face\{{[^}}]*)src:[^}}]*{FONTS}/([^.]+)[^}}]*\}}", face, css)
    sheet.write_text(css)
    shutil.rmtree(static / "vendor")


def subset(font: TTFont, characters: set[int]) -> str:
    file = BytesIO()
    subsetter = Subsetter(Options(notdef_outline=True))
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    font.flavor = "woff"
    font.save(file)
    return base64.b64encode(file.getvalue()).decode()


def keep_focus(script: Path) -> None:
    """A button that was pressed stays where the keyboard is; the theme would send it to the top."""
    script.write_text(re.sub(r"\b\w+\.blur\(\)", "0", script.read_text()))


def keep_only(folder: Path, names: tuple[str, ...]) -> None:
    kept = [folder / name for name in names]
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        if not any(file.is_relative_to(path) for path in kept):
            file.unlink()


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", find_templates)
    app.connect("html-page-context", mend, priority=900)
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

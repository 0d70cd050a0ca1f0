"""The extensions that mend, lighten and open the pages, and the one document for the PDF."""

import json
import re
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import nbformat
import pytest
from fontTools.ttLib import TTFont

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import lean
import pdf
import ways_in

URL = "https://github.com/someone/losses"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ('<summary aria-label="Toggle hidden content">', "<summary>"),
        ("<tr><th></th><th>a</th>", "<tr><td></td><th>a</th>"),
        ('<th class="head"><p></p></th>', '<td class="head"></td>'),
        ('<div id="a" role="doc-biblioentry">', '<div id="a" role="listitem">'),
        ('<script type="text/x-thebe-config">{}</script>\n<script>kernelName = 1</script>x', "x"),
    ],
)
def test_a_page_is_mended(wrong, right):
    context = {"body": f"<p>before</p>{wrong}"}
    lean.mend(None, "page", "page.html", context, None)
    assert context["body"] == f"<p>before</p>{right}"


def test_thebe_stays_out():
    files = [
        SimpleNamespace(filename=name, attributes={"body": body})
        for name, body in (("a.js", None), ("sphinx-thebe.js", None), (None, "const thebe = 1"))
    ]
    context = {"script_files": files}
    lean.mend(None, "page", "page.html", context, None)
    assert [file.filename for file in context["script_files"]] == ["a.js"]


def test_the_font_keeps_the_icons_in_use(tmp_path):
    source = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    fonts = tmp_path / lean.FONTS
    fonts.mkdir(parents=True)
    (fonts / "fa-solid-900.ttf").write_bytes(source.read_bytes())
    sheet = tmp_path / "styles" / "pydata-sphinx-theme.css"
    sheet.parent.mkdir()
    sheet.write_text(
        '.fa-a:before,.fa-other-a:before{content:"\\41"}.fa-b:before{content:"\\42"}p{margin:0}'
        '.note:before{content:"\\ef00"}p{--tip:"\uef01"}'
        "@font-face{font-weight:900;src:url(../vendor/fontawesome/webfonts/fa-solid-900.woff2)}"
    )
    lean.keep_icons(tmp_path, {"fa-other-a"})
    css = sheet.read_text()
    assert ".fa-other-a:before" in css and ".fa-b:" not in css and "p{margin:0}" in css
    assert "url(../vendor" not in css and not fonts.exists()
    data = re.search(r"base64,([^\"]+)", css)[1]
    font = TTFont(BytesIO(b64decode(data)))
    assert set(font.getBestCmap()) == {0x41, 0xEF00, 0xEF01}


def test_a_pressed_button_keeps_the_focus(tmp_path):
    script = tmp_path / "theme.js"
    script.write_text('t&&t.addEventListener("click",(()=>{t.blur()}),!0)')
    lean.keep_focus(script)
    assert script.read_text() == 't&&t.addEventListener("click",(()=>{0}),!0)'


@pytest.mark.parametrize(
    ("url", "site"),
    [
        (URL, "https://someone.github.io/losses/"),
        (f"{URL}.git", "https://someone.github.io/losses/"),
        ("https://github.com/Some/some.github.io", "https://some.github.io/"),
    ],
)
def test_the_site_follows_from_the_repository(url, site):
    assert ways_in.site_of(url) == site


def test_another_host_is_refused():
    with pytest.raises(ValueError, match=r"must be https://github.com/OWNER/NAME.*Received: git@a"):
        ways_in.site_of("git@a:b/c")


def app(url):
    options = {"repository_url": url, "repository_branch": "main"}
    return SimpleNamespace(config=SimpleNamespace(html_theme_options=options))


@pytest.mark.parametrize(
    ("page", "url", "links"),
    [
        ("notebooks/region/dice", "", []),
        (
            "book/glossary",
            URL,
            ["/someone/losses", "/edit/main/book/glossary.md", "&page=book%2Fglossary"],
        ),
        (
            "notebooks/region/dice",
            URL,
            [
                "blob/gh-pages/_sources/notebooks/region/dice.ipynb",
                "/main?urlpath=lab/tree/notebooks/region/dice.ipynb",
                "/someone/losses",
                "/edit/main/book/region/dice.md",
                "&page=notebooks%2Fregion%2Fdice",
            ],
        ),
    ],
)
def test_buttons_lead_to_the_page(page, url, links):
    context = {"body": "<h1>Title</h1><p>text</p>", "header_buttons": []}
    ways_in.add(app(url), page, "page.html", context, object())
    found = [button["url"] for group in context["header_buttons"] for button in group["buttons"]]
    assert len(found) == len(links)
    assert all(address.endswith(end) for address, end in zip(found, links))
    assert context["site"] == (url and "https://someone.github.io/losses/")
    assert bool(re.search(r"</h1>\n.*\d+ min read", context["body"])) is page.startswith("note")


def test_a_notebook_begins_with_a_cell_that_installs(tmp_path):
    path = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T")]), path)
    ways_in.install(path, URL, "main")
    first, second = json.loads(path.read_text())["cells"]
    assert f"git+{URL}@main" in "".join(first["source"]) and first["cell_type"] == "code"
    assert second["source"] == ["# T"]
    nbformat.validate(nbformat.read(path, as_version=4))


PAGE = """<article class="bd-article"><section id="top">
<h1>T<a class="headerlink" href="#top">#</a></h1>
<a href="#top">here</a> <a href="../b/two.html#top">there</a> <a href="https://a.b/c">away</a>
<a href="../../genindex.html">index</a> <img src="../../_images/i.png"/>
<details class="above-input"><summary>Show</summary><div class="cell_input">code</div>
<p>output</p></details>
<details class="sd-dropdown"><summary>More</summary></details>
</section></article>"""


def test_links_of_the_pdf_stay_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "HTML", tmp_path)
    (tmp_path / "book" / "a").mkdir(parents=True)
    (tmp_path / "book" / "a" / "one.html").write_text(PAGE)
    text = pdf.text_of("book/a/one", {"book/a/one", "book/b/two"})
    assert [link.get("href") for link in text.select("a")] == [
        "#book.a.one--top",
        "#book.b.two--top",
        "https://a.b/c",
        None,
    ]
    assert text.section["id"] == "book.a.one--top" and text.h2.text == "T" and not text.h1
    assert text.img["src"] == "_images/i.png"
    assert "output" in text.text and "Show" not in text.text and "code" not in text.text
    (fold,) = text.select("details")
    assert fold.text == "More" and fold.has_attr("open")

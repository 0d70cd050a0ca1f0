"""Docstrings of the house as reStructuredText.

A docstring is written to be read in a terminal: sections that begin with their name, backticks
around code and formulas, formulas in plain signs. Here sections become fields, names of things
become links to them, and formulas are set in LaTeX.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

#: The sections, in the order of the house. `Args` and `Raises` list terms with a text for each.
SECTIONS = ("Args", "Shapes", "Returns", "Raises", "Example", "Source")
_TITLES = {"Args": "Arguments"}
_SECTION = re.compile(rf"({'|'.join(SECTIONS)}):(?: +(.*))?$")
_TERM = re.compile(r"((?:\*{0,2}\w+|`[^`]+`)(?:, \*{0,2}\w+)*): +(.*)$")
_CODE = re.compile(r"`([^`]+)`")
_SPECIAL = re.compile(r"([\\*|`_])")
_SOURCES = {
    re.compile(r"\barXiv:(\d{4}\.\d{4,5})"): "https://arxiv.org/abs/",
    re.compile(r"\bdoi:(10\.\d+/[^\s,;)]*[^\s,;.)])"): "https://doi.org/",
}

_GREEK = "alpha beta gamma delta epsilon phi lambda mu pi sigma tau theta chi"
_LETTERS = dict(zip("αβγδεφλμπστθχ", _GREEK.split())) | {"Δ": "Delta", "Ω": "Omega"}
_NAMES_OF_SIGNS = "sum prod nabla cdot cup cap mp in le ge infty"
_SIGNS = _LETTERS | dict(zip("ΣΠ∇·∪∩∓∈≤≥∞", _NAMES_OF_SIGNS.split()))
_FUNCTIONS = {"log", "exp", "min", "max", "cosh", "tanh"}
_IS_FORMULA = re.compile(r"[Α-ωϕ∇∂·∪∩∓∈≤≥√²³½∞Σ̄]| [-+/] |\^")
_IS_CODE = re.compile(
    r"[\"']\w|->|\.\.\.|==|\*\w|\w\.\w|\w\w\["
    r"|\w=[\w(\[]"  # a setting
    r"|^\w\w+$|[A-Z][a-z]\w+\(|\w\(\w{2,}[,)]"  # a name, a call
)
_ROOT = re.compile(r"√(?=\()")
# An index is a word, or a place in an order, π(i); a power may have an index of its own.
_SCRIPTS = {"_": re.compile(r"π\(\w\)|[^\W_]+"), "^": re.compile(r"[^\W_]+(?:_[^\W_]+)?")}
_INDEXED = re.compile(
    r"(?<![\w`.])((?:[A-Za-zα-ω]_[A-Za-z]{1,3}|[α-ω]_[^\W_]+)(?:\^\w)?)(?![\w(^])"
)
_BRACED = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
_FRACTION = re.compile(rf"\\frac{_BRACED}{_BRACED}")
_STARRED = re.compile(r"(?<![\w*])(\*{1,2})(?=\w)([^*]*\w[,.]?)\1(?![\w*])")


def as_rst(
    text: str,
    link: Callable[[str], str | None],
    after_summary: Iterable[str] = (),
    shown: str | None = None,
) -> list[str]:
    """The lines of a docstring in reStructuredText.

    Args:
        text: The docstring, as `inspect.getdoc` gives it.
        link: From a name such as "DiceLoss" or "keras.Variable" to the full name of what it names
            here, or `None` where it is just code.
        after_summary: Lines that stand after the first paragraph.
        shown: A formula in LaTeX that stands there already: the paragraph "Formula" then begins
            with what it says of it.
    """
    summary, *rest = _blocks(text.splitlines())
    found = [*_block(summary, link), "", *after_summary, ""]
    for name, lines in rest:
        if shown and lines[0].startswith("Formula: "):
            lines = _without(shown, lines)
        found += [*_block((name, lines), link), ""] if lines else []
    return found


def _without(shown, lines):
    """The paragraph on a formula without the formula, if it is the one that is shown."""
    text = " ".join(line.strip() for line in lines).removeprefix("Formula: ")
    found = re.match(r"`([^`]+)`[,.]? *", text)
    if not found or _bare(latex(found[1])) != _bare(shown):
        return lines
    rest = text[found.end() :]
    return [rest[0].upper() + rest[1:]] if rest else []


def _bare(tex):
    """LaTeX without what does not change its meaning, and with a slash for each fraction."""
    while found := _FRACTION.search(tex):
        over, under = (f"({part})" if _is_sum(part) else part for part in found.groups())
        tex = f"{tex[: found.start()]}{over}/{under}{tex[found.end() :]}"
    tex = re.sub(r"\\(?:left|right|,)|\s", "", tex.replace("mathrm", "text"))
    return re.sub(r"\{(\\?\w+)\}", r"\1", tex)


def _is_sum(tex):
    """Whether a plus or minus stands outside of all parentheses."""
    return re.search(r" [-+] ", re.sub(r"\([^()]*\)|\|[^|]*\|", "", tex)) is not None


def _blocks(lines):
    """Paragraphs and sections, each as `(section or "", lines)`."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        name, body = found[-1]
        section = _SECTION.match(line)
        if section:
            found.append((section[1], [section[2] or ""]))
        elif line[:1].strip() and body and not body[-1].strip():
            found.append(("", [line]))  # sections and code go on as long as they are indented
        elif line.strip() or name or _is_code(body):
            body.append(line)
        else:
            found.append(("", []))
    blocks = [(name, body) for name, body in found if any(line.strip() for line in body)]
    return [
        (name, body if not name and _is_code(body) else _trimmed(body)) for name, body in blocks
    ]


def _is_code(lines):
    """Whether they are indented all: a blank line does not end that."""
    return bool(lines) and all(line.startswith("    ") for line in lines if line)


def _trimmed(lines):
    body = [lines[0], *inspect.cleandoc("\n".join(["", *lines[1:]])).splitlines()]
    while body and not body[-1].strip():
        body.pop()
    while body and not body[0].strip():
        body.pop(0)
    return body


def _block(block, link):
    name, lines = block
    if not name:
        return _paragraph(lines, link)
    if name == "Example":
        body = lines
    elif name in ("Args", "Raises"):
        body = _terms(lines, link)
    else:
        body = [_inline(" ".join(lines), link)]
    return [f":{_TITLES.get(name, name)}:", *(f"    {line}" for line in body)]


def _paragraph(lines, link):
    alone = _CODE.fullmatch(" ".join(line.strip() for line in lines).strip())
    if alone and _IS_FORMULA.search(alone[1]):
        return [".. math::", "", f"    {latex(alone[1])}"]
    if _is_code(lines):
        return [".. code-block:: python", "", *lines]
    if lines[0].startswith("* "):
        items = re.split(r"^\* ", "\n".join(lines), flags=re.MULTILINE)[1:]
        return [f"* {_inline(' '.join(item.split()), link)}" for item in items]
    text = " ".join(line.strip() for line in lines)
    if text.startswith("Formula: "):
        text = text.removeprefix("Formula: ")
        return [_inline(text[0].upper() + text[1:], link, formula=True)]
    return [_inline(text, link)]


def _terms(lines, link):
    """A definition list; text before the first term stays a paragraph."""
    found: list[list[str]] = []
    for line in lines:
        term = None if line.startswith(" ") else _TERM.match(line)
        if term:
            found.append([term[1], term[2]])
        elif found:
            found[-1][1] += f" {line.strip()}"
        else:
            found.append(["", line])
    rst = []
    for term, text in found:
        text = _inline(text.strip(), link)
        if term:
            rst += [_term(term, link), f"    {text}"]
        else:
            rst += [text, ""]
    return rst


def _term(term, link):
    return ", ".join(
        code_as_rst(name, link) if link(name) else f"``{name}``"
        for name in (part.strip("`") for part in term.split(", "))
    )


def _inline(text, link, formula=False):
    """Text with code, formulas, links to sources; all else that means something to reST escaped."""
    parts = _CODE.split(text)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = code_as_rst(part, link, formula)
        else:
            parts[i] = _prose(part, after=parts[i - 1] if i else "")
    return "".join(parts)


def _prose(text, after):
    """What stands between pieces of code."""
    pieces = _INDEXED.split(text)
    pieces[::2] = [_escaped(piece) for piece in pieces[::2]]
    pieces[1::2] = [f":math:`{latex(piece)}`" for piece in pieces[1::2]]
    text = _with_sources("".join(pieces))
    # Markup ends at a word's end: between `label` and an s that follows stands an escaped space.
    return rf"\ {text}" if after and text[:1].isalnum() else text


def _escaped(text):
    """Plain text, in which only *emphasis* and **more of it** mean something."""
    plain, *starred = _STARRED.split(text)
    found = _SPECIAL.sub(r"\\\1", plain)
    for stars, words, after in zip(starred[::3], starred[1::3], starred[2::3]):
        inside, after = (_SPECIAL.sub(r"\\\1", part) for part in (words, after))
        found += f"{stars}{inside}{stars}{after}"
    return found


def code_as_rst(text: str, link: Callable[[str], str | None], formula: bool = False) -> str:
    """What stands in backticks: a link to what it names, a formula, or code.

    Args:
        text: Without the backticks.
        link: See `as_rst`.
        formula: Whether it is from a paragraph "Formula", where what could be either is no code.
    """
    target = link(text)
    if target:
        return f":py:obj:`{text} <{target}>`"
    is_code = _IS_CODE.search(text)
    if not is_code and (formula or _IS_FORMULA.search(text)):
        return f":math:`{latex(text)}`"
    return f"``{text}``"


def _with_sources(text):
    for pattern, site in _SOURCES.items():
        text = pattern.sub(
            lambda found, site=site: f"`{found[0]} <{site}{found[1].replace(chr(92), '')}>`__", text
        )
    return text


def latex(formula: str) -> str:
    """A formula in plain signs, such as `(1 - p_t)^γ`, in LaTeX.

    A slash stays a slash: what it divides is for the reader to see, and no rule would be safe.
    """
    text = re.sub(r"(\w)\u0304", r"\\bar{\1}", formula.replace("{", r"\{").replace("}", r"\}"))
    text = text.replace("}*", "}^*").replace("½", "{1/2}").replace("²", "^2").replace("³", "^3")
    text = text.replace(">=", r" \ge ").replace("<=", r" \le ").replace("!=", r" \ne ")
    text = text.replace("..", r" \ldots ").replace("%", r"\%")
    text = _roots(text)
    text = _scripts(text)
    text = re.sub(r"(?<![\\A-Za-z{])([A-Za-z])(\d)(?!\d)", r"\1_\2", text)  # w0, d1, C2
    text = re.sub(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?: [A-Za-z]{2,})*", _word, text)
    for sign, name in _SIGNS.items():
        text = text.replace(sign, f"\\{name} ")
    return re.sub(r" +", " ", text).strip()


def _word(found):
    words = found[0].split(" ")
    if found[0] in ("and", "or"):
        return rf"\text{{ {found[0]} }}"
    if found[0] == "ij":  # two letters
        return found[0]
    if any(word in _FUNCTIONS for word in words):
        return " ".join(rf"\{w}" if w in _FUNCTIONS else rf"\text{{{w}}}" for w in words)
    return rf"\text{{{found[0]}}}"


def _closing(text, start):
    """Where the parenthesis that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    raise ValueError(f"A parenthesis must close. Received: {text}")


def _roots(text):
    while found := _ROOT.search(text):
        end = _closing(text, found.end())
        inner = text[found.end() + 1 : end]
        text = f"{text[: found.start()]}\\sqrt{{{inner}}}{text[end + 1 :]}"
    return text


def _scripts(text):
    """`x_ab` and `x^(a b)`: the whole word, or what the parentheses hold, is the index or power."""
    found, i = "", 0
    while i < len(text):
        sign = text[i]
        word = _SCRIPTS[sign].match(text, i + 1) if sign in _SCRIPTS else None
        if sign in _SCRIPTS and text[i + 1 : i + 2] == "(":
            end = _closing(text, i + 1)
            found, i = f"{found}{sign}{{{_scripts(text[i + 2 : end])}}}", end + 1
        elif word:
            found, i = f"{found}{sign}{{{_scripts(word[0])}}}", word.end()
        else:
            found, i = found + sign, i + 1
    return found


def _packages_of(module):
    """A module and the packages around it: a.b.c, a.b, a."""
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def linker(module_name: str, public: dict[str, Any], outside: Iterable[str]):
    """The `link` of `as_rst` for docstrings of a module.

    A name is looked up where a reader of the docstring would: in its module, then in the packages
    around it.
    What another library's name begins with stands in `outside`: such a name is a link as it is,
    and a warning of Sphinx if nothing is known about it.
    """
    import segloss_ref

    names = {id(member): name for name, member in public.items() if callable(member)}
    constants = {name for name, member in public.items() if not callable(member)}
    around = [name for name in _packages_of(module_name) if name in sys.modules]
    spaces = [*(vars(sys.modules[name]) for name in around), {"segloss_ref": segloss_ref}]

    def link(text):
        name = text.removesuffix("()")
        if not re.fullmatch(r"[A-Za-z]\w*(\.\w+)*", name):
            return None
        first, *rest = name.split(".")
        if first in outside and rest:
            return name
        for space in spaces:
            member = space.get(first)
            for part in rest:
                member = getattr(member, part, None)
            if callable(member) and id(member) in names:
                return names[id(member)]
        full = name if first == "segloss_ref" else f"{module_name}.{name}"
        return full if full in constants else None

    return link

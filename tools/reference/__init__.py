"""An extension of Sphinx: the reference of the package, from its docstrings and its catalogue.

Directives list what there is, so that a new loss or function is there without a word:

    .. losses:: region          all losses of a family; "bases": what these have in common
    .. functions::              the losses as functions
    .. members:: segloss_ref.metrics

A public name that is on no page is a warning, and so is one of another library that `links.yml`
does not know. `docstrings` makes reStructuredText of the docstrings, `signatures` takes those from
the source, `scenes` draws, `evidence` reads the published tables, `names` says what is public.
"""

import functools
import inspect
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import segloss_ref
from reference import evidence, scenes
from reference.docstrings import as_rst, linker
from reference.names import bases, bases_of, missing, names_of, public
from reference.signatures import written
from segloss_ref.catalogue import defaults_of

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent.parent
LINKS = yaml.safe_load((Path(__file__).parent / "links.yml").read_text(encoding="utf-8"))
#: What the names of other libraries begin with, as docstrings write them.
OUTSIDE = {"keras", "np", "numpy", "os", "pd", "pandas", "scipy", "skimage", "tf", "torch"}
LOSSES = {entry.name: entry for entry in segloss_ref.catalogue()}


@functools.cache
def full_names() -> dict[str, Any]:
    """What `names.public` finds, looked up once."""
    return public()


def _parsed(directive, lines):
    """What a directive within `eval-rst` puts in its place: lines of reStructuredText."""
    found = nodes.container()
    text = StringList(lines, source=directive.get_source_info()[0])
    directive.state.nested_parse(text, directive.content_offset, found)
    return found.children


class Listing(SphinxDirective):
    """A directive that is replaced by reStructuredText, within `eval-rst`."""

    required_arguments = 1

    def lines(self, argument: str) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return _parsed(self, self.lines(self.arguments[0]))


class Losses(Listing):
    """`.. losses:: region`: the losses of a family, or the bases of all."""

    def lines(self, argument: str) -> list[str]:
        if argument == "bases":
            names = {id(member): name for name, member in full_names().items()}
            return [line for base in bases() for line in _of_class(names[id(base)], members=True)]
        found = [entry for entry in LOSSES.values() if entry.family == argument]
        if not found:
            raise self.error(f"`losses` needs a family. Received: {argument}")
        return [line for entry in found for line in _of_loss(entry)]


class Members(Listing):
    """`.. members:: segloss_ref.metrics`: what a module is for, and all its public names."""

    option_spec: ClassVar = {"without-text": directives.flag}

    def lines(self, argument: str) -> list[str]:
        module = __import__(argument, fromlist=["_"])
        names = {id(member): name for name, member in full_names().items() if callable(member)}
        found = []
        if "without-text" not in self.options:
            found += as_rst(inspect.getdoc(module), linker(argument, full_names(), OUTSIDE))
        members = [getattr(module, name) for name in names_of(module)]
        for base in bases_of([member for member in members if inspect.isclass(member)]):
            found += _of_class(names[id(base)], members=True)
        for name, member in zip(names_of(module), members):
            full = names.get(id(member), f"{argument}.{name}")
            if inspect.isclass(member):
                found += _of_class(full, members=True)
            elif callable(member):
                found += [f".. autofunction:: {full}", ""]
            else:
                value = ["    :no-value:"] if len(repr(member)) > 200 else []
                found += [f".. autodata:: {full}", *value, ""]
        return found


class Functions(SphinxDirective):
    """`.. functions::`: the losses as functions, a line for each."""

    def run(self) -> list[nodes.Node]:
        link, lines = linker("segloss_ref.functional", full_names(), OUTSIDE), []
        for entry in LOSSES.values():
            if name := _function_of(entry):
                summary = as_rst(inspect.getdoc(entry.loss).splitlines()[0], link)[0]
                lines += [
                    f".. py:function:: {name}(y_true, y_pred, sample_weight=None, **settings)",
                    "    :module: segloss_ref.functional",
                    "    :single-line-parameter-list:",
                    "",
                    f"    {summary} Its settings: :py:obj:`~segloss_ref.{entry.name}`.",
                    "",
                ]
        return _parsed(self, lines)


class Scene(SphinxDirective):
    """`.. scene:: caption`: the figure of the scene that all losses are drawn for."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        caption = " ".join(self.content)
        lines = [f".. figure:: {_image(self.env.app, 'scene')}", f"    :alt: {caption}", ""]
        return _parsed(self, [*lines, f"    {caption}"])


@functools.cache
def figures() -> Path:
    """The folder of the figures, which are drawn for the first page that shows one."""
    return scenes.figures(ROOT / ".cache" / "reference")


def _image(app, name):
    return "/" + os.path.relpath(figures() / f"{name}.svg", app.srcdir)


def _of_class(name, members=False):
    options = ["    :members:", "    :member-order: bysource"] if members else []
    return [f".. autoclass:: {name}", *options, ""]


def _of_loss(entry):
    function = _function_of(entry)
    also = f" As a function: :py:obj:`segloss_ref.functional.{function}`." if function else ""
    body = [f"Its chapter: :doc:`/notebooks/{entry.chapter}`.{also}", ""]
    body += evidence.parity(entry.name) or ["No other library that was compared has it.", ""]
    trained = evidence.results(entry.name)
    if trained:
        body += [
            "Runs with it, and their mean Dice coefficient at the threshold 1/2:",
            "",
            *trained,
        ]
    return [*_of_class(f"segloss_ref.{entry.name}"), *(f"    {line}" for line in body), ""]


def _function_of(entry):
    name = defaults_of(entry.loss)["name"]
    return name if name in segloss_ref.functional.__all__ else None


def docstring(app, what, name, thing, options, lines) -> None:
    """Makes reStructuredText of a docstring of the house; losses get their formula and figure."""
    text = _comment(name, thing) if what == "data" else inspect.cleandoc("\n".join(lines))
    if what == "data":
        lines.clear()  # what Sphinx has is that of the type
    if not text or not name.startswith("segloss_ref"):
        return
    module = str(getattr(thing, "__module__", ""))
    module = module if module.startswith("segloss_ref") else _module_of(name)
    entry = LOSSES.get(getattr(thing, "__name__", "")) if what == "class" else None
    link = linker(module, full_names(), OUTSIDE)
    if entry:
        lines[:] = as_rst(text, link, _formula_and_figure(app, entry), shown=entry.formula)
    else:
        lines[:] = as_rst(text, link)


def _comment(name, constant):
    """The comment `#:` over a constant, in the module that defines it."""
    last = name.rpartition(".")[2]
    for module in [module for module in sys.modules if module.startswith("segloss_ref")]:
        if vars(sys.modules[module]).get(last) is constant:
            comments = ModuleAnalyzer.for_module(module).find_attr_docs()
            if comment := comments.get(("", last)):
                return " ".join(comment).strip()
    return ""


def _module_of(name):
    """The module of a documented name: the longest beginning of it that is one."""
    while name not in sys.modules:
        name = name.rpartition(".")[0]
    return name


def _formula_and_figure(app, entry):
    return [
        ".. math::",
        "",
        f"    {entry.formula}",
        "",
        f".. figure:: {_image(app, entry.name)}",
        f"    :alt: Two panels for {entry.name}, over the logit of one pixel: left the loss of the "
        "picture, right its derivative; a line for a pixel of the branch, and one for a pixel of "
        "the gap.",
        "",
    ]


def signature(app, what, name, thing, options, arguments, result):
    """Signatures as they are written in the source."""
    if what in ("class", "function", "method"):
        return written(thing) or ("", None)
    return arguments, result


def skip(app, what, name, thing, skipped, options):
    """Leaves out the fields of named tuples, which the class describes, and Keras's own methods."""
    return True if type(thing).__name__ == "_tuplegetter" or name == "get_config" else None


def link_outside(app, env, node, content):
    """A link to another library's documentation, or to a name here that stands alone."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    if target in LINKS:
        url = LINKS[target]
        if url is None:
            return content
        if not url.startswith("https:"):
            docname = app.env.domains["std"].anonlabels[url][0]
            url = f"{app.builder.get_relative_uri(node['refdoc'], docname)}#{url}"
        return nodes.reference("", "", content, refuri=url, internal=url.startswith("https:"))
    alone = [name for name in full_names() if name.endswith(f".{target}")]
    if len(alone) == 1:
        domain = app.env.domains["py"]
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", alone[0], node, content)
    return None


def link_from_chapter(app, tree) -> None:
    """A chapter's box "Use it" ends with links to the losses of the chapter in the reference."""
    chapter = app.env.docname.removeprefix("notebooks/")
    losses = [name for name, entry in LOSSES.items() if entry.chapter == chapter]
    boxes = [
        box
        for box in tree.findall(nodes.admonition)
        if box.children and box.children[0].astext() == "Use it"
    ]
    if not losses or not boxes:
        return
    line = nodes.paragraph("", "In the reference: ")
    for i, name in enumerate(losses):
        link = addnodes.pending_xref(
            "", refdomain="py", reftype="obj", reftarget=f"segloss_ref.{name}",
            refdoc=app.env.docname, refexplicit=True, refwarn=True,
        )  # fmt: skip
        link += nodes.literal("", name, classes=["xref", "py", "py-obj"])
        line += [nodes.Text(", ")] * (i > 0) + [link]
    line += nodes.Text(".")
    boxes[0] += line


def check(app, env) -> None:
    """A warning for each public name that is on no page, where the book has the reference."""
    if not any(page.startswith("book/reference/") for page in env.found_docs):
        return
    for name in missing(set(env.domains["py"].objects)):
        logger.warning(
            "%s is public, and on no page of book/reference; `.. members::` lists a module", name
        )


def setup(app: Any) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("losses", Losses)
    app.add_directive("members", Members)
    app.add_directive("functions", Functions)
    app.add_directive("scene", Scene)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip)
    app.connect("doctree-read", link_from_chapter)
    app.connect("missing-reference", link_outside)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

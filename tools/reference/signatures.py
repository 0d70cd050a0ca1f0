"""Signatures as they are written: `labels: ArrayLike`, not the union that the alias stands for."""

import ast
import inspect
import re
import textwrap
from typing import Any


def written(thing: Any) -> tuple[str, str | None] | None:
    """The parameters and the result of a function or class from its source, `None` if it has none.

    Of classes it is that of their constructor, or, where that is made from them, their fields.
    """
    if inspect.isclass(thing):
        if hasattr(thing, "_fields"):  # a named tuple
            return _fields(thing), None
        makers = (vars(base)["__init__"] for base in thing.__mro__ if "__init__" in vars(base))
        maker = next(makers)
        if not str(maker.__module__).startswith("segloss_ref"):
            return None  # Keras's own, which the docstring tells about
        if maker.__code__.co_filename == "<string>":  # a dataclass
            return _fields(thing), None
        arguments, _ = _of(maker)
        return arguments, None
    return _of(inspect.unwrap(thing)) if inspect.isfunction(inspect.unwrap(thing)) else None


def _of(function):
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    arguments = node.args
    first = [*arguments.posonlyargs, *arguments.args][:1]
    if first and first[0].arg in ("self", "cls"):
        arguments.args.pop(0)
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = _unquoted(argument.annotation)
    return f"({ast.unparse(arguments)})", node.returns and ast.unparse(_unquoted(node.returns))


def _unquoted(annotation):
    """An annotation that is a string, for the sake of what is imported, as what it says."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def _fields(cls):
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    fields = [node for node in body if isinstance(node, ast.AnnAssign) and node.simple]
    return f"({', '.join(_field(node) for node in fields)})"


def _field(node):
    default = "" if node.value is None else f" = {ast.unparse(node.value)}"
    default = re.sub(r"dataclasses\.field\(default_factory=(\w+)\)", r"\1()", default)
    annotation = _unquoted(node.annotation)
    return f"{ast.unparse(node.target)}: {ast.unparse(annotation)}{default}"

"""Losses by their names, as text: for settings of runs, sweeps and notebooks."""

import ast
import numbers
import operator
from collections.abc import Mapping
from typing import Any

from segloss_ref.catalogue import loss_class, settings_of
from segloss_ref.checks import did_you_mean
from segloss_ref.losses.base import CompoundLoss, SegmentationLoss

_OPERATIONS = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv}


def loss_of(
    expression: str, options: Mapping[str, Any] | None = None, **settings: Any
) -> SegmentationLoss:
    """The loss that a text describes, in the Python that would make it.

    Only names of the catalogue, settings, `+`, `*` and `/` are read; nothing is executed. What
    `repr` shows of a loss makes it again.

    Args:
        expression: such as `"DiceLoss"`, `"DiceLoss(smooth=0.1) + 0.5 * FocalLoss"` or
            `"BlobLoss(DiceLoss, max_blobs=20)"`. Parentheses without settings may be left out.
        options: settings of a loss that is named alone, `"DiceLoss"`; elsewhere they stand in the
            expression.
        **settings: settings of every loss in it that is not made of others, such as
            `from_logits=True`. The expression may repeat them, but not differ.

    Returns:
        The loss.

    Raises:
        ValueError: for a text that is no such expression, a loss that does not exist, and a value
            that its loss refuses.
        TypeError: for a setting that its loss does not have.

    Example:
        >>> loss_of("DiceLoss(smooth=0.1) + 0.5 * BinaryCrossEntropyLoss", from_logits=True).weights
        (1.0, 0.5)
    """
    where = f"`loss` must be a loss of segloss_ref, or a sum of them. Received: {expression!r}. "
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (AttributeError, SyntaxError) as error:
        raise ValueError(
            f"{where}Write it as in Python: 'DiceLoss(smooth=0.1) + 0.5 * FocalLoss'"
        ) from error
    if options and not isinstance(tree, ast.Name):
        raise ValueError(
            "`options` are for a loss that is named alone; here they stand in the expression: "
            f"'DiceLoss(smooth=0.1) + FocalLoss'. Received: {dict(options)} for {expression!r}"
        )
    try:
        if options:
            return _made(tree.id, (), dict(options), settings)
        loss = _value(tree, settings)
        if not isinstance(loss, SegmentationLoss):
            raise ValueError("It is a number or a list, not a loss")
    except (TypeError, ValueError, ZeroDivisionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}{error}") from error
    return loss


def _value(node, settings):
    """What a part of an expression stands for: a loss, a number, a text, or a list of such."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _made(node.id, (), {}, settings)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each, settings) for each in node.elts]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        arguments = [_value(each, settings) for each in node.args]
        given = {each.arg: _value(each.value, settings) for each in node.keywords}
        return _made(node.func.id, arguments, given, settings)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_operand(node.operand, settings)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        sides = (_operand(side, settings) for side in (node.left, node.right))
        return _OPERATIONS[type(node.op)](*sides)
    raise ValueError(f"There is more in it than losses, settings, +, * and /: {ast.unparse(node)}")


def _operand(node, settings):
    value = _value(node, settings)
    if not isinstance(value, SegmentationLoss | numbers.Real):
        raise ValueError(f"Only losses are added, and only by numbers multiplied: {value!r}")
    return value


def _made(name, arguments, given, settings):
    """A loss of the catalogue; the settings go to it, or to the loss that it is put around."""
    cls = loss_class(name)
    known = settings_of(cls)
    if unknown := [key for key in given if key not in known]:
        raise TypeError(
            f"{name} has no setting {', '.join(map(str, unknown))}. "
            f"There are: {', '.join(known)}{did_you_mean(unknown[0], known)}"
        )
    if "from_logits" not in known:  # it is made of losses, which have the settings
        if not arguments and not {"loss", "losses"} & {*given}:
            default = cls()
            if isinstance(default, CompoundLoss):
                raise ValueError(f"Write the parts of {name} as a sum: 'DiceLoss + FocalLoss'")
            given = {"loss": type(default.loss)(**settings), **given}
        return cls(*arguments, **given)
    if clash := {
        key: given[key] for key in settings if given.get(key, settings[key]) != settings[key]
    }:
        (key, value), *_ = clash.items()
        raise ValueError(f"`{key}` must be {settings[key]!r} here. Received: {value!r}")
    return cls(*arguments, **{**given, **settings})

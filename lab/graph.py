"""From a jaxpr to a graph of few kinds of nodes, simplified while it is built.

An axis of length 1 does not count, and neither does the shape of an array that holds one number at
all places: that is a scalar, which every operation takes beside arrays. What remains are

* element by element: `add`, `exp`, `select`, ... of scalars and of arrays of one size; `iota`
  counts along an axis, `take` looks numbers up;
* `view`: slices, transposes, broadcasts, which compose and cost an index;
* `reduce`, `scatter` and `put`, which a loop over their argument stores as it goes; what parts are
  put into is a `place` (padding and concatenation);
* `order` (a stable sort), `cumsum`, and the loops `while` and `scan` with graphs of their own.

Equal nodes are one node, and what is constant is computed here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jax.extend.core import Literal


@dataclass(eq=False)
class Node:
    """One value: an operation, what it takes, and the lengths of its axes, ones left out."""

    op: str
    args: tuple["Node", ...] = ()
    dims: tuple[int, ...] = ()
    params: Any = ()
    graphs: tuple["Graph", ...] = ()
    name: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.dims)

    def __repr__(self) -> str:
        return f"{self.op}{list(self.dims)}"


@dataclass
class Graph:
    """The nodes of a program, or of the body of a loop, in an order in which they can be made."""

    nodes: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    links: dict[Node, Node] = field(default_factory=dict)
    _known: dict[Any, Node] = field(default_factory=dict)

    def make(self, op: str, *args: Node, dims: tuple[int, ...] = (), params: Any = ()) -> Node:
        """The node of this operation, a new one if there is none."""
        key = (op, *(id(a) for a in args), dims, params)
        if key not in self._known:
            self._known[key] = self.add(Node(op, args, dims, params))
        return self._known[key]

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def const(self, value: Any) -> Node:
        return self.make("const", params=_Number(float(value)))

    def outer(self, node: Node) -> Node:
        """What the graph around this one calls `node`."""
        if node.op == "const":
            return self.const(node.params)
        inner = self.make("outer", dims=node.dims, params=id(node))
        self.links[inner] = node
        return inner

    def each(self, op: str, *args: Node, params: Any = ()) -> Node:
        """An operation element by element, or what is known of its result."""
        if (known := self._simplified(op, args, params)) is not None:
            return known
        # Of sizes that agree; an index needs axes, and finds its own.
        dims = next((a.dims for a in args if a.dims), ())
        return self.make(op, *args, dims=dims, params=params)

    def _simplified(self, op, args, params):
        values = [a.params if a.op == "const" else None for a in args]
        if op == "select" and values[0] is not None:
            return args[2] if values[0] else args[1]
        if op == "select" and args[1] is args[2]:
            return args[1]
        if args and None not in values and op in FOLDED:
            with np.errstate(all="ignore"):
                return self.const(FOLDED[op](*map(np.float64, values), *params))
        if op == "ne" and values[1] == 0 and args[0].op in _BOOLEAN:
            return args[0]
        if len(args) == 2 and op in _NEUTRAL:
            left, right = _NEUTRAL[op]
            if right is not None and values[1] == right:
                return args[0]
            if left is not None and values[0] == left:
                return args[1]
        return None

    def solid(self, node: Node) -> Node:
        """The same numbers one after the other, where a view has them elsewhere."""
        return self.make("copy", node, dims=node.dims) if node.op in ("view", "iota") else node

    def view(
        self, x: Node, lengths: Sequence[int], starts: Sequence[Any], maps: Sequence[tuple]
    ) -> Node:
        """A view of `x`, whose axes have these lengths: where it starts along each of them, and
        for each axis of the view its length, the axis of `x` (or `None`) and its step there."""
        if not x.dims:
            return x
        own = [i for i, n in enumerate(lengths) if n != 1]
        if x.op == "iota" or (x.op == "view" and x.dims != tuple(lengths[i] for i in own)):
            x = self.solid(x)
        base, offset, known, moves = x, 0, contiguous([lengths[i] for i in own]), []
        if x.op == "view":
            base, (offset, known, factors) = x.args[0], x.params
            moves = list(zip(x.args[1:], factors))
        strides = dict(zip(own, known))
        for axis, start in enumerate(starts):
            stride = strides.get(axis, 0)
            if isinstance(start, Node) and start.op != "const":
                moves += [(start, stride)] if stride else []
            else:
                offset += stride * int(start.params if isinstance(start, Node) else start)
        kept = [(n, strides.get(a, 0) * step) for n, a, step in maps if n != 1]
        dims, steps = tuple(n for n, _ in kept), tuple(s for _, s in kept)
        if not moves and offset == 0 and math.prod(dims) == base.size and steps == contiguous(dims):
            return base
        factors = tuple(f for _, f in moves)
        return self.make(
            "view", base, *(s for s, _ in moves), dims=dims, params=(offset, steps, factors)
        )


class _Number(float):
    """A number that is itself, NaN too, and that tells -0 from 0."""

    def __eq__(self, other):
        return isinstance(other, int | float) and repr(float(self)) == repr(float(other))

    def __hash__(self):
        return hash(repr(float(self)))


def contiguous(dims: Sequence[int]) -> tuple[int, ...]:
    """By how much an index moves along each axis of an array of these lengths."""
    return tuple(math.prod(dims[i + 1 :]) for i in range(len(dims)))


#: What is computed here where the arguments are known: numbers, booleans as 0 and 1.
FOLDED: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "neg": np.negative,
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "square": np.square,
    "floor": np.floor,
    "trunc": np.trunc,
    "pow": np.power,
    "integer_pow": lambda x, y: x**y,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": lambda a, b: a * b,
    "or": np.maximum,
    "not": lambda a: 1 - a,
    "copy": lambda a: a,
    "rem": np.fmod,
}
_BOOLEAN = ("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not")
# Which number on the left and on the right changes nothing. (-0 + 0 is 0: seen by 1 / x alone.)
_NEUTRAL = {
    "add": (0, 0),
    "sub": (None, 0),
    "mul": (1, 1),
    "div": (None, 1),
    "and": (1, 1),
    "or": (0, 0),
}

#: JAX's name of an operation element by element, where this module has another one.
_EACH = {"add_any": "add", "stop_gradient": "copy", "copy_p": "copy", "select_n": "select"}
_SAME = """add sub mul max min neg abs exp log log1p expm1 sqrt rsqrt square pow logistic sin cos
    tanh sinh cosh sign floor ceil is_finite eq ne lt le gt ge copy""".split()
_EACH |= {name: name for name in _SAME}
#: More such operations, which are looked at first.
_ALSO_EACH = ("integer_pow", "div", "rem", "and", "or", "xor", "not", "clamp")
#: Operations that are called with a jaxpr, and what they call it.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}
_REDUCED = {
    "reduce_sum": "add",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_or": "max",
    "reduce_and": "min",
}


def lengths_of(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes that count."""
    return tuple(n for n in shape if n != 1)


def translated(graph: Graph, jaxpr: Any, consts: Sequence[Any], args: Sequence[Node]) -> list[Node]:
    """The outputs of a jaxpr as nodes of a graph.

    Raises:
        NotImplementedError: for an operation that is not known here.
    """
    env: dict[Any, Node] = {}

    def read(atom):
        return _constant(graph, atom.val) if isinstance(atom, Literal) else env[atom]

    for var, value in zip(jaxpr.constvars, consts, strict=True):
        env[var] = _constant(graph, value)
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        name, ins = eqn.primitive.name, [None] * len(eqn.invars)
        if all(0 in var.aval.shape for var in eqn.outvars):
            continue  # of what is empty only the shape was asked for
        ins = [read(atom) for atom in eqn.invars]
        if name in _EACH or name in _ALSO_EACH:
            ins = _of_one_shape(graph, eqn, ins)
        if name in _CALLS:
            inner = eqn.params[_CALLS[name]]
            outs = translated(
                graph, getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), ins
            )
        elif name in _EACH:
            params = (eqn.params["y"],) if name == "integer_pow" else ()
            outs = [graph.each(_EACH[name], *ins, params=params)]
        elif name in _HANDLERS:
            outs = _HANDLERS[name](graph, eqn, ins)
        elif name in _REDUCED:
            outs = [_reduced(graph, _REDUCED[name], eqn.invars[0].aval.shape, ins[0], eqn.params)]
        else:
            raise NotImplementedError(
                f"No JavaScript is known for JAX's `{name}`. `lab/graph.py` has the operations."
            )
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _constant(graph, value):
    values = np.asarray(value)
    if values.size == 0 or len(np.unique(values)) > 1:
        raise NotImplementedError(f"Constant arrays have no JavaScript yet: shape {values.shape}")
    return graph.const(values.flat[0])


def _of_one_shape(graph, eqn, ins):
    """Arguments element by element; JAX leaves an axis of length 1 to be repeated."""
    shape, found = eqn.outvars[0].aval.shape, []
    for atom, x in zip(eqn.invars, ins):
        own = atom.aval.shape
        if x.dims and own != shape:
            maps = [(n, a if own[a] == n else None, 1) for a, n in enumerate(shape)]
            x = graph.view(x, own, [0] * len(own), maps)
        found.append(x)
    return found


_HANDLERS: dict[str, Callable[..., list[Node]]] = {}


def _handles(*names):
    def register(function):
        _HANDLERS.update({name: function for name in names})
        return function

    return register


@_handles("integer_pow")
def _integer_pow(graph, eqn, ins):
    if eqn.params["y"] == 2:
        return [graph.each("square", *ins)]
    return [graph.each("integer_pow", *ins, params=(eqn.params["y"],))]


@_handles("div", "rem")
def _quotient(graph, eqn, ins):
    whole = eqn.outvars[0].aval.dtype.kind in "iu"
    result = graph.each(eqn.primitive.name, *ins)
    return [graph.each("trunc", result) if whole and eqn.primitive.name == "div" else result]


@_handles("and", "or", "xor", "not")
def _logical(graph, eqn, ins):
    if eqn.outvars[0].aval.dtype != bool:
        raise NotImplementedError(f"Bits of numbers have no JavaScript yet: {eqn}")
    return [graph.each(eqn.primitive.name, *ins)]


@_handles("convert_element_type")
def _converted(graph, eqn, ins):
    before, after = eqn.invars[0].aval.dtype.kind, eqn.params["new_dtype"].kind
    if before in "fV" and after in "iu":
        return [graph.each("trunc", *ins)]
    if after == "b" and before != "b":
        return [graph.each("ne", *ins, graph.const(0))]
    return ins


@_handles("clamp")
def _clamped(graph, eqn, ins):
    low, x, high = ins
    return [graph.each("min", graph.each("max", x, low), high)]


@_handles("reshape", "squeeze", "expand_dims")
def _reshaped(graph, eqn, ins):
    return ins[:1]


@_handles("broadcast_in_dim")
def _broadcast(graph, eqn, ins):
    shape, own = eqn.outvars[0].aval.shape, eqn.invars[0].aval.shape
    places = {int(axis): i for i, axis in enumerate(eqn.params["broadcast_dimensions"])}
    maps = [(n, places.get(axis), 1) for axis, n in enumerate(shape)]
    return [graph.view(ins[0], own, [0] * len(own), maps)]


@_handles("transpose")
def _transposed(graph, eqn, ins):
    own, axes = eqn.invars[0].aval.shape, eqn.params["permutation"]
    return [graph.view(ins[0], own, [0] * len(own), [(own[a], a, 1) for a in axes])]


@_handles("rev")
def _reversed(graph, eqn, ins):
    own, axes = eqn.invars[0].aval.shape, eqn.params["dimensions"]
    starts = [n - 1 if a in axes else 0 for a, n in enumerate(own)]
    maps = [(n, a, -1 if a in axes else 1) for a, n in enumerate(own)]
    return [graph.view(ins[0], own, starts, maps)]


def _slice(graph, x, own, starts, lengths, strides=None):
    strides = strides or [1] * len(own)
    return graph.view(x, own, starts, [(n, a, s) for a, (n, s) in enumerate(zip(lengths, strides))])


@_handles("slice")
def _sliced(graph, eqn, ins):
    own, shape = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    return [_slice(graph, ins[0], own, eqn.params["start_indices"], shape, eqn.params["strides"])]


@_handles("dynamic_slice")
def _slice_somewhere(graph, eqn, ins):
    x, *starts = ins
    own, lengths = eqn.invars[0].aval.shape, eqn.params["slice_sizes"]
    last = [graph.const(n - m) for n, m in zip(own, lengths)]
    starts = [
        graph.each("min", graph.each("max", s, graph.const(0)), end) if end.params else 0
        for s, end in zip(starts, last)
    ]
    return [_slice(graph, x, own, starts, lengths)]


@_handles("split", "unstack")
def _parts(graph, eqn, ins):
    own, axis = list(eqn.invars[0].aval.shape), eqn.params["axis"]
    found, start = [], 0
    for length in eqn.params.get("sizes", [1] * own[axis]):
        starts = [start if a == axis else 0 for a in range(len(own))]
        lengths = [length if a == axis else n for a, n in enumerate(own)]
        found.append(_slice(graph, ins[0], own, starts, lengths))
        start += length
    return found


@_handles("concatenate", "stack")
def _joined(graph, eqn, ins):
    shape = eqn.outvars[0].aval.shape
    axis = eqn.params.get("dimension", eqn.params.get("axis"))
    strides, parts, start = contiguous(shape), [], 0
    for var in eqn.invars:
        lengths = list(var.aval.shape)
        if eqn.primitive.name == "stack":
            lengths.insert(axis, 1)
        kept = [a for a, n in enumerate(lengths) if n != 1]
        dims = tuple(lengths[a] for a in kept)
        parts.append((dims, start * strides[axis], tuple(strides[a] for a in kept)))
        start += lengths[axis]
    return [_placed(graph, shape, parts, ins, None)]


@_handles("pad")
def _padded(graph, eqn, ins):
    x, fill = ins
    own, shape = list(eqn.invars[0].aval.shape), eqn.outvars[0].aval.shape
    config = [tuple(map(int, each)) for each in eqn.params["padding_config"]]
    if x is fill:
        return [x]
    cut = [(max(-low, 0), max(-high, 0)) for low, high, _ in config]
    if any(map(any, cut)):
        if any(inner for *_, inner in config):
            raise NotImplementedError(f"Padding that cuts and spreads has no JavaScript yet: {eqn}")
        lengths = [n - a - b for n, (a, b) in zip(own, cut)]
        x, own = _slice(graph, x, own, [a for a, _ in cut], lengths), lengths
        if 0 in own:
            return [fill]
    if list(shape) == own:
        return [x]
    strides = contiguous(shape)
    kept = [a for a, n in enumerate(own) if n != 1]
    start = sum(max(low, 0) * stride for (low, *_), stride in zip(config, strides))
    steps = tuple(strides[a] * (config[a][2] + 1) for a in kept)
    part = (tuple(own[a] for a in kept), start, steps)
    return [_placed(graph, shape, [part], [x], fill)]


def _placed(graph, shape, parts, values, fill):
    """An array of parts: `(lengths, where it starts, steps along its axes)` of each value."""
    key = ("place", lengths_of(shape), tuple(parts), *(id(x) for x in (*values, fill)))
    if key not in graph._known:
        puts = [graph.add(Node("put", (x,), params=part)) for x, part in zip(values, parts)]
        place = Node("place", tuple(puts), dims=lengths_of(shape), params=fill)
        graph._known[key] = graph.add(place)
    return graph._known[key]


def _reduced(graph, op, shape, x, params):
    axes = params["axes"]
    count = math.prod(shape[a] for a in axes)
    if not x.dims:
        return graph.each("mul", x, graph.const(count)) if op == "add" else x
    if count == 1:
        return x
    kept = [n if a not in axes else 1 for a, n in enumerate(shape)]
    strides = contiguous(kept)
    own = [a for a, n in enumerate(shape) if n != 1]
    steps = tuple(0 if a in axes else strides[a] for a in own)
    return graph.make(
        "reduce", x, dims=lengths_of(kept), params=(op, tuple(shape[a] for a in own), steps)
    )


@_handles("iota")
def _counted(graph, eqn, ins):
    shape, axis = eqn.params["shape"], eqn.params["dimension"]
    if shape[axis] == 1:
        return [graph.const(0)]
    steps = tuple(int(a == axis) for a, n in enumerate(shape) if n != 1)
    return [graph.make("iota", dims=lengths_of(shape), params=(0, steps, ()))]


def _one_axis(what, *avals):
    if any(len(lengths_of(aval.shape)) > 1 for aval in avals):
        raise NotImplementedError(f"{what} along one of several axes has no JavaScript yet")


@_handles("cumsum")
def _cumulated(graph, eqn, ins):
    _one_axis("A cumulative sum", eqn.invars[0].aval)
    x = graph.solid(ins[0])
    return [graph.make("cumsum", x, dims=x.dims, params=eqn.params["reverse"])]


@_handles("sort")
def _sorted(graph, eqn, ins):
    _one_axis("Sorting", *(var.aval for var in eqn.invars))
    if eqn.params["num_keys"] != 1:
        raise NotImplementedError(f"Sorting by several keys has no JavaScript yet: {eqn}")
    keys = graph.solid(ins[0])
    order = graph.make("order", keys, dims=keys.dims)
    return [
        order if x.op == "iota" else graph.make("take", graph.solid(x), order, dims=order.dims)
        for x in ins
    ]


@_handles("gather")
def _gathered(graph, eqn, ins):
    _one_axis("Gathering", *(var.aval for var in (*eqn.invars, *eqn.outvars)))
    x, places = ins
    return [graph.make("take", graph.solid(x), places, dims=places.dims) if x.dims else x]


@_handles("scatter-add")
def _scattered(graph, eqn, ins):
    _one_axis("Scattering", *(var.aval for var in eqn.invars))
    start, places, updates = ins
    if start.dims:
        raise NotImplementedError(f"Scattering into an array has no JavaScript yet: {eqn}")
    dims = lengths_of(eqn.outvars[0].aval.shape)
    return [graph.make("scatter", start, places, updates, dims=dims)]


# --- Loops ---------------------------------------------------------------------------------------


def _body(graph, closed, outer, params):
    """The graph of a body of a loop: what it takes from around it comes first."""
    inside = Graph()
    ins = [inside.outer(graph.solid(x)) for x in outer] + [inside.add(p) for p in params(inside)]
    inside.outputs = [
        _not_a_name(inside, x) for x in translated(inside, closed.jaxpr, closed.consts, ins)
    ]
    return inside


def _not_a_name(graph, x):
    """An array that a loop can keep while it takes its next turn."""
    return graph.make("copy", x, dims=x.dims) if x.op in ("view", "iota") else x


def _carried(variables, prefix):
    return [
        Node("param", dims=lengths_of(v.aval.shape), name=f"{prefix}{i}")
        for i, v in enumerate(variables)
    ]


def _picked(graph, loop, variables):
    graph.add(loop)
    return [
        graph.make("pick", loop, dims=lengths_of(v.aval.shape), params=i)
        for i, v in enumerate(variables)
    ]


@_handles("while")
def _while(graph, eqn, ins):
    first, second = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    for_test, for_body, start = ins[:first], ins[first : first + second], ins[first + second :]
    start = [graph.solid(x) for x in start]
    carried = _carried(eqn.outvars, "")
    test = _body(graph, eqn.params["cond_jaxpr"], for_test, lambda _: carried)
    body = _body(graph, eqn.params["body_jaxpr"], for_body, lambda _: carried)
    outer = [*test.links.values(), *body.links.values()]
    loop = Node("while", (*start, *outer), params=tuple(carried), graphs=(test, body))
    return _picked(graph, loop, eqn.outvars)


@_handles("scan")
def _scan(graph, eqn, ins):
    consts, carry = eqn.params["num_consts"], eqn.params["num_carry"]
    start = [graph.solid(x) for x in ins[consts : consts + carry]]
    each = [graph.solid(x) for x in ins[consts + carry :]]
    carried = _carried(eqn.outvars[:carry], "")
    turn = Node("param")

    inside = Graph()
    outer = [inside.outer(graph.solid(x)) for x in ins[:consts]]
    inside.add(turn)
    for node in carried:
        inside.add(node)
    slices = []
    for x, var in zip(each, eqn.invars[consts + carry :]):
        own = var.aval.shape
        starts = [turn] + [0] * (len(own) - 1)
        slices.append(_slice(inside, inside.outer(x), own, starts, (1, *own[1:])))
    closed = eqn.params["jaxpr"]
    outs = translated(inside, closed.jaxpr, closed.consts, [*outer, *carried, *slices])
    inside.outputs = [_not_a_name(inside, x) for x in outs]
    loop = Node(
        "scan",
        (*start, *inside.links.values()),
        params=(turn, tuple(carried), eqn.params["length"], eqn.params["reverse"]),
        graphs=(inside,),
    )
    return _picked(graph, loop, eqn.outvars)

"""From a graph to JavaScript: few loops over Float64Array, each with many operations in it.

Nodes are put into stages. What a stage needs at other places of an array than its own, an earlier
stage has stored; all arrays of one size that a stage computes share a loop, with the sums taken in
it, and what nobody needs outside of the loop never becomes an array.

A program has three parts, so that each is done only when it has to be: what depends on the truth
and the settings, the value, the gradient.
"""

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from graph import Graph, Node, translated

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "rem": "%"}
_COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_LOGICAL = {"and": "&", "or": "|", "xor": "^"}
_FUNCTIONS = """max min abs exp log log1p expm1 sqrt pow sin cos tanh sinh cosh sign floor ceil
    trunc""".split()
#: What stores into an array while a loop runs over what it is made of.
_STORING = ("reduce", "put", "scatter")
#: What is no work: inputs, and names of what is there.
_GIVEN = ("const", "param", "outer", "input", "pick", "place", "view", "iota")
_WHOLE = ("while", "scan", "order", "cumsum")

#: How many characters of JavaScript make a function.
_PIECE = 6000
#: Stands before a number that is local to its function, if that is not cut into pieces.
_LOCAL = "§"

#: Short names that mean something already.
_TAKEN = {*"P y z s do if in of as for let new var try get set".split(), *_FUNCTIONS}

#: The functions that programs call, and the arrays they share: `P(n, k)` is the k-th of n numbers,
#: good until the next program runs.
RUNTIME = """
const {FUNCTIONS} = Math;
const pool = new Map();
function P(n, k) {
  if (!pool.has(n)) pool.set(n, []);
  const all = pool.get(n);
  while (all.length <= k) all.push(new Float64Array(n));
  return all[k];
}
function order(keys, out) {
  const places = new Uint32Array(keys.length);
  for (let i = 0; i < places.length; i++) places[i] = i;
  places.sort((a, b) => keys[a] - keys[b] || a - b);
  out.set(places);
}
function cumsum(x, out, backwards) {
  const n = x.length;
  let sum = 0;
  for (let k = 0; k < n; k++) {
    const i = backwards ? n - 1 - k : k;
    out[i] = sum += x[i];
  }
}
""".strip().replace("FUNCTIONS", ", ".join(_FUNCTIONS))


def program(jaxpr: Any, settings: int) -> str:
    """The JavaScript of a traced loss: an expression that makes `{truth, value, gradient}`.

    Args:
        jaxpr: closed; from truth, logits and so many settings to value and gradient.
        settings: their number.
    """
    graph = Graph()
    truth = graph.add(Node("input", dims=jaxpr.in_avals[0].shape, name="y"))
    logits = graph.add(Node("input", dims=jaxpr.in_avals[1].shape, name="z"))
    numbers = [graph.add(Node("input", name=f"s[{i}]")) for i in range(settings)]
    value, gradient = translated(graph, jaxpr.jaxpr, jaxpr.consts, [truth, logits, *numbers])
    gradient = graph.make("copy", gradient, dims=logits.dims)
    return _Program(graph, logits, value, gradient).text()


def _reachable(graph: Graph, outputs: Iterable[Node]) -> list[Node]:
    """The nodes that outputs are made of, in order."""
    seen, todo = set(), list(outputs)
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += node.args
    return [node for node in graph.nodes if node in seen]


def _is_array(node):
    return bool(node.dims)


def _flows(node: Node) -> tuple[Node, ...]:
    """Of what a node takes, that which it takes place by place, in one loop with itself."""
    if node.op == "take":
        return node.args[1:]
    if node.op in (*_WHOLE, *_GIVEN):
        return ()
    return node.args


def _in_loop(node):
    """Whether a loop over places computes it."""
    if node.op in (*_GIVEN, *_WHOLE):
        return False
    return _is_array(node) or node.op in _STORING


def _domain(node: Node) -> int:
    """How many places the loop has."""
    if node.op == "reduce":
        return math.prod(node.params[1])
    if node.op == "put":
        return math.prod(node.params[0])
    if node.op == "scatter":
        return max(arg.size for arg in node.args)
    return node.size


class _Program:
    """The three parts of a program, and the names that they share."""

    def __init__(self, graph: Graph, logits: Node, value: Node, gradient: Node) -> None:
        self.value, self.gradient = value, gradient
        self.names: dict[Node, str] = {}
        self.slots: Counter = Counter()
        self.arrays: list[str] = []
        self.numbers: list[str] = []
        self._fresh = (name for name in map(_letters, itertools.count()) if name not in _TAKEN)
        moving = {logits}
        for node in graph.nodes:
            if any(arg in moving for arg in node.args):
                moving.add(node)
        in_value = set(_reachable(graph, [value]))
        everything = _reachable(graph, [value, gradient])
        self.part_of: dict[Node, str] = {}
        for node in everything:
            late = "value" if node in in_value else "gradient"
            self.part_of[node] = late if node in moving else "truth"
            # What a loop makes, and what is put into one array, is made in one part.
            if node.op == "pick":
                self.part_of[node] = self.part_of[node.args[0]]
            if node.op == "place":
                self.part_of |= dict.fromkeys(node.args, self.part_of[node])
        self.parts = {
            part: [n for n in everything if self.part_of[n] == part]
            for part in ("truth", "value", "gradient")
        }

    def text(self) -> str:
        kept = {self.value, self.gradient}  # what another part than its own needs
        for node, part in self.part_of.items():
            kept |= {a for arg in node.args for a in _sources(arg) if self.part_of[a] != part}
        kept = {n for n in kept if n.op not in ("const", "input", "iota")}
        bodies, helpers = {}, []
        for part, nodes in self.parts.items():
            lasting = part == "truth"
            for node in nodes:
                if node in kept and node.op != "pick":
                    self._name_kept(node, lasting)
            block = _Block(self, nodes, kept & set(nodes), outermost=True, lasting=lasting)
            bodies[part] = self._in_pieces(block.lines(), part, helpers)
        value = self.number(self.value)
        numbers = f"let {','.join(self.numbers)};" if self.numbers else ""
        arrays = f"const {','.join(self.arrays)};" if self.arrays else ""
        return (
            f"()=>{{{numbers}{arrays}{''.join(helpers)}return{{"
            f"truth(y,s){{{bodies['truth']}}},"
            f"value(y,z,s){{{bodies['value']}return {value}}},"
            f"gradient(y,z,s){{{bodies['gradient']}return {self.names[self.gradient]}}}}}}}"
        )

    def _in_pieces(self, lines, part, helpers):
        """The statements of a part; those of a long one in several functions.

        Browsers compile no function well that is very long.
        """
        pieces = [""]
        for line in lines:
            if pieces[-1] and len(pieces[-1]) + len(line) > _PIECE:
                pieces.append("")
            pieces[-1] += line
        if len(pieces) == 1:
            return pieces[0].replace(_LOCAL, "const ")
        calls = ""
        for piece in pieces:
            self.numbers += re.findall(rf"{_LOCAL}(\w+)", piece)
            name = self.fresh()
            helpers.append(f"const {name}=(y,z,s)=>{{{piece.replace(_LOCAL, '')}}};")
            calls += f"{name}(y,{'0' if part == 'truth' else 'z'},s);"
        return calls

    def _name_kept(self, node, lasting):
        if _is_array(node):
            self.store(node, lasting)
        else:
            self.names[node] = self.fresh()
            self.numbers.append(self.names[node])

    def fresh(self) -> str:
        return next(self._fresh)

    def array(self, size: int, lasting: bool = False, fill: float = 0.0) -> str:
        """The name of an array: one of the shared ones, or one that lasts."""
        name = self.fresh()
        if lasting:
            filled = f".fill({_literal(fill)})" if fill else ""
            self.arrays.append(f"{name}=new Float64Array({size}){filled}")
        else:
            self.arrays.append(f"{name}=P({size},{self.slots[size]})")
            self.slots[size] += 1
        return name

    def store(self, node: Node, lasting: bool = False) -> str:
        """The name of the array that holds a node."""
        if node not in self.names:
            # What surrounds the parts of a padded array is written once.
            filled = node.op == "place" and node.params is not None and node.params.op == "const"
            fill = node.params.params if filled else 0.0
            self.names[node] = self.array(node.size, lasting or filled, fill)
        return self.names[node]

    def number(self, node: Node) -> str:
        """A scalar: its name, or the number itself."""
        if node.op == "const":
            return _literal(node.params)
        return self.names.get(node) or node.name

    def moves(self, view: Node) -> str:
        """What numbers known only when the program runs add to the index of a view."""
        pairs = zip(view.args[1:], view.params[2])
        return "".join(f"+{factor}*{self.number(move)}" for move, factor in pairs)


def _sources(node: Node) -> list[Node]:
    """What has to be kept so that a node can be read later: of a view, what it looks at."""
    looks = node.op == "view" and _is_array(node)
    return [s for arg in node.args for s in _sources(arg)] if looks else [node]


def _literal(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "(-Infinity)"
    text = str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
    return f"({text})" if value < 0 else text


def _letters(i: int) -> str:
    """A, B, ..., a, b, ..., then two letters."""
    name = ""
    while True:
        i, place = divmod(i, 52)
        name = chr((65 if place < 26 else 71) + place) + name
        if i == 0:
            return name
        i -= 1


class _Block:
    """Statements that compute nodes: of a part of a program, or of the body of a loop.

    Args:
        owner: knows all names.
        nodes: those to be computed, in order.
        kept: those that are needed afterwards.
        outermost: of a part of a program, of which another part may need what is computed.
        lasting: what is kept must outlive the runs of other programs.
    """

    def __init__(
        self,
        owner: _Program,
        nodes: Sequence[Node],
        kept: Iterable[Node],
        outermost: bool = False,
        lasting: bool = False,
    ) -> None:
        self.owner, self.nodes, self.kept = owner, nodes, set(kept)
        self.outermost, self.lasting = outermost, lasting
        self.own = set(nodes)
        self._put_into_stages()
        self._choose_what_is_stored()

    def _put_into_stages(self):
        self.stage, self.ready = defaultdict(int), defaultdict(int)
        for node in self.nodes:
            flows = set(_flows(node))
            stage = 0
            for arg in node.args:
                same_loop = arg in flows and _in_loop(arg) and arg.op not in _STORING
                here = same_loop and _in_loop(node) and arg in self.own
                stage = max(stage, self.stage[arg] if here else self.ready[arg])
            self.stage[node] = stage
            self.ready[node] = stage + (_in_loop(node) or node.op in _WHOLE)

    def _choose_what_is_stored(self):
        """Arrays that are computed here and needed outside of their loop; names for them."""
        needed = set(self.kept)
        for node in self.nodes:
            flows = set(_flows(node))
            for arg in node.args:
                together = arg in flows and _in_loop(node) and self.stage[node] == self.stage[arg]
                if arg.op == "view" or not together:
                    needed.update(_sources(arg))
        for node in self.nodes:
            whole = node.op in (*_STORING, *_WHOLE, "place")
            if _is_array(node) and (whole or (_in_loop(node) and node in needed)):
                self.owner.store(node)
            if node.op == "place":
                self.owner.names |= {put: self.owner.names[node] for put in node.args}

    def lines(self) -> list[str]:
        """The statements, a loop with all that is in it as one."""
        found = []
        stages = defaultdict(list)
        for node in self.nodes:
            stages[self.stage[node]].append(node)
            if node.op == "place" and node.params is not None and node.params.op != "const":
                found.append(f"{self.owner.names[node]}.fill({self.owner.number(node.params)});")
        for stage in sorted(stages):
            nodes = stages[stage]
            for node in nodes:
                is_work = node.op == "view" or node.op not in (*_GIVEN, *_WHOLE, *_STORING)
                if not _is_array(node) and is_work:
                    found.append(self._scalar(node))
            for node in nodes:
                if node.op in _WHOLE:
                    found.append("".join(getattr(self, f"_{node.op}")(node)))
            for group in _groups([n for n in nodes if _in_loop(n)], self):
                found.append("".join(group.lines()))
        return found

    # What is no loop over places.

    def _scalar(self, node):
        if node.op == "view":
            text = f"{self._array(node.args[0])}[{node.params[0]}{self.owner.moves(node)}]"
        else:
            text = expression(node, [self.owner.number(arg) for arg in node.args])
        return self.assign(node, text)

    def assign(self, node: Node, text: str) -> str:
        if node in self.owner.names:  # it is kept, and declared where all parts see it
            return f"{self.owner.names[node]}={text};"
        self.owner.names[node] = self.owner.fresh()
        return f"{_LOCAL if self.outermost else 'const '}{self.owner.names[node]}={text};"

    def _array(self, node):
        return self.owner.names.get(node) or node.name

    def _order(self, node):
        return [f"order({self._array(node.args[0])},{self.owner.names[node]});"]

    def _cumsum(self, node):
        backwards = str(bool(node.params)).lower()
        return [f"cumsum({self._array(node.args[0])},{self.owner.names[node]},{backwards});"]

    def _while(self, node):
        carried, (test, body) = node.params, node.graphs
        lines = self._begin(carried, node.args)
        lines += ["for(;;){", *self._inner(test)]
        lines += [f"if(!{self.owner.number(test.outputs[0])})break;", *self._inner(body)]
        lines += [*self._next(carried, body.outputs), "}"]
        self._name_picks(node, carried)
        return lines

    def _scan(self, node):
        (turn, carried, length, backwards), (body,) = node.params, node.graphs
        lines = self._begin(carried, node.args)
        t = self.owner.names[turn] = self.owner.fresh()
        count = f"{t}={length - 1};{t}>=0;{t}--" if backwards else f"{t}=0;{t}<{length};{t}++"
        lines += [f"for(let {count}){{", *self._inner(body)]
        picks = {n.params: n for n in self.nodes if n.op == "pick" and n.args[0] is node}
        for place, out in enumerate(body.outputs[len(carried) :], len(carried)):
            if (pick := picks.get(place)) is None:
                continue
            stack, each = self._stack(pick), pick.size // length
            if _is_array(out):
                lines.append(f"{stack}.set({self._array(out)},{t}*{each});")
            elif each == 1:
                lines.append(f"{stack}[{t}]={self.owner.number(out)};")
            else:
                number = self.owner.number(out)
                lines.append(f"{stack}.fill({number},{t}*{each},{t}*{each}+{each});")
        lines += [*self._next(carried, body.outputs), "}"]
        self._name_picks(node, carried)
        return lines

    def _stack(self, pick):
        return self.owner.store(pick, self.lasting and pick in self.kept)

    def _begin(self, carried, start):
        lines = []
        for param, first in zip(carried, start):
            if _is_array(param):
                # The result outlives the loop, and lasts if the part's results do.
                self.owner.names[param] = self.owner.array(param.size, self.lasting)
                lines.append(self._copy(self.owner.names[param], first))
            else:
                self.owner.names[param] = self.owner.fresh()
                name = self.owner.names[param]
                if self.outermost:  # another part may need it
                    self.owner.numbers.append(name)
                declared = "" if self.outermost else "let "
                lines.append(f"{declared}{name}={self.owner.number(first)};")
        return lines

    def _copy(self, array, node):
        if _is_array(node):
            return f"{array}.set({self._array(node)});"
        return f"{array}.fill({self.owner.number(node)});"

    def _inner(self, graph):
        for inner, outer in graph.links.items():
            self.owner.names[inner] = self._array(outer)
        nodes = _reachable(graph, graph.outputs)
        return _Block(self.owner, nodes, {o for o in graph.outputs if o.op != "const"}).lines()

    def _next(self, carried, outputs):
        """What the loop carries takes its new values, all at once."""
        swapped = set(outputs[: len(carried)]) & set(carried)
        lines, late = [], []
        for param, out in zip(carried, outputs):
            if out is param:
                continue
            name = self.owner.names[param]
            if _is_array(param):
                if out in swapped:
                    raise NotImplementedError("A loop that exchanges arrays has no JavaScript yet")
                late.append(self._copy(name, out))
            elif out in swapped:
                kept = self.owner.fresh()
                lines.append(f"const {kept}={self.owner.number(out)};")
                late.append(f"{name}={kept};")
            else:
                late.append(f"{name}={self.owner.number(out)};")
        return lines + late

    def _name_picks(self, loop, carried):
        for node in self.nodes:
            if node.op == "pick" and node.args[0] is loop and node.params < len(carried):
                self.owner.names[node] = self.owner.names[carried[node.params]]


# --- Loops over places ---------------------------------------------------------------------------


def _groups(nodes: list[Node], block: _Block) -> list["_Group"]:
    """The loops of a stage: nodes that flow into each other, and others that fit."""
    sets: list[tuple[list[Node], tuple[int, ...]]] = []
    for node in nodes:
        own, dims = [node], _axes_of(node)
        flows = set(_flows(node))
        for other in list(sets):
            linked = not flows.isdisjoint(other[0])
            joint = _refined(dims, other[1])
            if linked and joint is None:
                raise NotImplementedError(f"Two ways to count the places of one loop: {nodes}")
            if joint is not None:
                sets.remove(other)
                own, dims = other[0] + own, joint
        sets.append((own, dims))
    rank = {node: i for i, node in enumerate(nodes)}
    return [_Group(block, sorted(own, key=rank.get), dims) for own, dims in sets]


def _axes_of(node):
    """The axes that a loop must count along: those of views, of parts, of sums along an axis."""
    dims = (_domain(node),)
    if node.op == "reduce" and node.dims:
        dims = _refined(dims, _merged(*node.params[1:])[0])
    if node.op == "put":
        dims = _refined(dims, _merged(node.params[0], node.params[2])[0])
    for arg in _flows(node):
        if arg.op in ("view", "iota") and arg.dims:
            axes = _merged(arg.dims, arg.params[1])[0]
            if (joint := _refined(dims, axes)) is None:
                raise NotImplementedError(
                    f"Two ways to count the places of {node}: {dims}, and {axes} of {arg}"
                )
            dims = joint
    return dims


def _refined(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """Axes of which both are made, if there are."""
    if math.prod(a) != math.prod(b):
        return None
    cuts = sorted({*_suffixes(a), *_suffixes(b)}, reverse=True)
    if any(large % small for large, small in itertools.pairwise(cuts)):
        return None
    return tuple(large // small for large, small in itertools.pairwise(cuts)) or a


def _merged(dims: Sequence[int], steps: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Fewer axes with the same places: two along which an index goes on evenly are one."""
    found = []
    for length, step in zip(dims, steps):
        if found and found[-1][1] == step * length:
            found[-1] = (found[-1][0] * length, step)
        else:
            found.append((length, step))
    return tuple(n for n, _ in found), tuple(step for _, step in found)


def _suffixes(dims):
    return [math.prod(dims[i:]) for i in range(len(dims) + 1)]


class _Group:
    """One loop, with all that is computed in it."""

    def __init__(self, block: _Block, nodes: list[Node], dims: tuple[int, ...]) -> None:
        self.block, self.owner, self.nodes, self.dims = block, block.owner, nodes, dims
        self.own = set(nodes)
        self.named: dict[Node, str] = {}
        self.body: list[str] = []
        self.uses = Counter(arg for n in nodes for arg in _flows(n) * _mentions(n))
        self.counters = [self.owner.fresh() for _ in dims]
        self.flat = self.owner.fresh()
        self.counted = False  # whether an index needs more than the flat counter

    def lines(self) -> list[str]:
        before, after = [], []
        for node in self.nodes:
            if node.op in _STORING:
                start, end = getattr(self, f"_{node.op}")(node)
                before += start
                after += end
            else:
                text = self._text(node)
                stored = self.owner.names.get(node)
                if stored:
                    if self.uses[node]:
                        text = self._name(node, text)
                    self.body.append(f"{stored}[{self.flat}]={text};")
                elif self.uses[node] > 1:
                    self._name(node, text)
                else:
                    self.named[node] = text
        if not self.body:
            return before + after
        heads = "".join(self._heads())
        return [*before, heads, *self.body, "}" * (len(self.dims) if self.counted else 1), *after]

    def _heads(self):
        i = self.flat
        if not self.counted:
            return [f"for(let {i}=0;{i}<{math.prod(self.dims)};{i}++){{"]
        heads = [f"for(let {c}=0;{c}<{n};{c}++){{" for c, n in zip(self.counters, self.dims)]
        c, n = self.counters[-1], self.dims[-1]
        heads[-1] = f"for(let {c}=0;{c}<{n};{c}++,{i}++){{"
        return [f"let {i}=0;", *heads]

    def _name(self, node, text):
        name = self.owner.fresh()
        self.body.append(f"const {name}={text};")
        self.named[node] = name
        return name

    def _text(self, node):
        if node.op == "take":
            return f"{self.block._array(node.args[0])}[{self.read(node.args[1])}]"
        return expression(node, [self.read(arg) for arg in node.args])

    def read(self, node: Node) -> str:
        """A node at the place where the loop is."""
        if not _is_array(node):
            return self.owner.number(node)
        if node in self.named:
            return self.named[node]
        if node in self.own:
            raise AssertionError(f"{node} is read before it is there")
        if node.op == "iota":
            text = self._index(node.dims, *node.params[:2])
        elif node.op == "view":
            index = self._index(node.dims, *node.params[:2], self.owner.moves(node))
            text = f"{self.block._array(node.args[0])}[{index}]"
        else:
            text = f"{self.block._array(node)}[{self.flat}]"
        return self._name(node, text) if self.uses[node] > 1 else text

    def _index(self, dims, offset, steps, moves=""):
        """Where an axis-wise index leads, from this loop's place."""
        dims, steps = _merged(dims, steps)
        if not dims:
            return f"{offset}{moves}"
        terms = Counter()
        cuts = _suffixes(self.dims)[1:]
        ends = _suffixes(dims)
        for counter, cut in zip(self.counters, cuts):
            axis = next(a for a in range(len(dims)) if ends[a + 1] <= cut < ends[a])
            terms[counter] = steps[axis] * (cut // ends[axis + 1])
        if all(terms[c] == cut for c, cut in zip(self.counters, cuts)):
            terms = {self.flat: 1}
        elif len(self.dims) == 1:
            terms = {self.flat: terms[self.counters[0]]}
        else:
            self.counted = True
        text = "".join(
            f"+{counter}" if step == 1 else f"+{step}*{counter}".replace("+-", "-")
            for counter, step in terms.items()
            if step
        )
        if offset or not (text or moves):
            return f"{offset}{text}{moves}"
        return (text + moves).lstrip("+")

    # What stores.

    def _reduce(self, node):
        (x,), (op, dims, steps) = node.args, node.params
        value = self.read(x)
        start = {"add": "0", "max": "-Infinity", "min": "Infinity"}[op]
        if not node.dims:
            # A number of its own in the loop is faster than one that outlives it.
            sum_ = self.owner.fresh()
            self.body.append(_accumulated(op, sum_, value))
            return [f"let {sum_}={start};"], [self.block.assign(node, sum_)]
        array = self.owner.names[node]
        self.body.append(_accumulated(op, f"{array}[{self._index(dims, 0, steps)}]", value))
        return [f"{array}.fill({start});"], []

    def _put(self, node):
        dims, offset, steps = node.params
        index = self._index(dims, offset, steps)
        self.body.append(f"{self.owner.names[node]}[{index}]={self.read(node.args[0])};")
        return [], []

    def _scatter(self, node):
        start, places, updates = node.args
        array = self.owner.names[node]
        self.body.append(f"{array}[{self.read(places)}]+={self.read(updates)};")
        return [f"{array}.fill({self.owner.number(start)});"], []


def _accumulated(op, target, value):
    return f"{target}+={value};" if op == "add" else f"{target}={op}({target},{value});"


def _mentions(node):
    """How often the text of a node has that of its arguments, once or more."""
    return 2 if node.op in ("square", "integer_pow") else 1


def expression(node: Node, args: Sequence[str]) -> str:
    """An operation on numbers in JavaScript, in brackets where it needs them."""
    op = node.op
    if op in _INFIX:
        return f"({args[0]}{_INFIX[op]}{args[1]})"
    if op in _COMPARED:
        return f"({args[0]}{_COMPARED[op]}{args[1]}?1:0)"
    if op in _LOGICAL:
        return f"({args[0]}{_LOGICAL[op]}{args[1]})"
    if op in _FUNCTIONS:
        return f"{op}({','.join(args)})"
    if op == "select":
        test = args[0][1:-5] if args[0].endswith("?1:0)") and args[0].count("?") == 1 else args[0]
        return f"({test}?{args[2]}:{args[1]})"
    if op == "integer_pow":
        return _whole_power(args[0], node.params[0])
    forms = {
        "neg": "(-{0})",
        "not": "(1-{0})",
        "square": "({0}*{0})",
        "copy": "{0}",
        "logistic": "(1/(1+exp(-{0})))",
        "rsqrt": "(1/sqrt({0}))",
        "is_finite": "(isFinite({0})?1:0)",
    }
    if op not in forms:
        raise NotImplementedError(f"No JavaScript is known for `{op}`.")
    return forms[op].format(*args)


def _whole_power(x, n):
    power = "*".join([x] * abs(n)) or "1"
    return f"({power})" if n >= 0 else f"(1/({power}))"

"""Keeps the two sides of a chapter in step: `book/**.md` is the source, `notebooks/**.ipynb` ran.

    python tools/notebooks.py run [--all] [region/dice ...]   execute what changed, store outputs
    python tools/notebooks.py check                           fail if a text and notebook differ

A notebook has changed if its text, the code of the package, the lock file or a published table that
its text names has: a digest of them is kept in its metadata, because file times mean nothing in a
fresh clone. Comments and docstrings of the package compute nothing, and do not count. If the code
of a chapter that trains a network has changed, `run` executes it several times more, as other
machines would (elsewhere.py), and stores it only if it holds there; `--here` leaves that out, for
changes that leave the training alone, such as a new name.
"""

import argparse
import hashlib
import io
import itertools
import sys
import tokenize
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import elsewhere
import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
TEXT, NOTEBOOKS = ROOT / "book", ROOT / "notebooks"


def chapters():
    """The texts that are notebooks: those with a kernel in their head."""
    return [path for path in sorted(TEXT.rglob("*.md")) if "\nkernelspec:" in path.read_text()]


def notebook_of(text):
    return NOTEBOOKS / text.relative_to(TEXT).with_suffix(".ipynb")


def digest(text):
    """What the outputs of a chapter depend on, as one hexadecimal number."""
    package = sorted((ROOT / "segloss_ref").rglob("*.py"))
    parts = [(path, code_alone(path.read_text(encoding="utf-8"))) for path in package]
    parts += [
        (path, path.read_text(encoding="utf-8")) for path in (ROOT / "requirements.txt", text)
    ]
    whole = hashlib.sha256()
    for path, content in parts:
        whole.update(f"{path.relative_to(ROOT)}{content}".encode())
    for path in results_in(text):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def results_in(text):
    """The files of published results whose table a chapter names, as a string of its code."""
    folder, words = ROOT / "data" / "results", text.read_text(encoding="utf-8")
    tables = {path for path in folder.glob("*") if f'"{path.name.split(".")[0]}' in words}
    files = {file for table in tables for file in [table, *table.rglob("*")] if file.is_file()}
    return sorted(files)


def code_alone(source):
    """Python without comments, docstrings and empty lines.

    What is cut out is found by its place: to write the code anew, from its tokens or its tree,
    gives another text on another version of Python.
    """
    tokens, lines = [*tokenize.generate_tokens(io.StringIO(source).readline)], source.splitlines()
    cuts, first = [], True  # the first token of a statement
    for token, after in itertools.pairwise(tokens):
        alone = first and token.type == tokenize.STRING
        alone = alone and after.type in (tokenize.NEWLINE, tokenize.COMMENT)
        if alone or token.type == tokenize.COMMENT:
            cuts.append((*token.start, *token.end))
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            first = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    for row, column, last, end in reversed(cuts):
        lines[row - 1 : last] = [lines[row - 1][:column] + lines[last - 1][end:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def read_stored(text):
    path = notebook_of(text)
    return nbformat.read(path, as_version=4) if path.exists() else None


def essence(notebook):
    """What both sides share: the kind, the source and the tags of each cell."""
    return [
        (cell.cell_type, cell.source, {k: cell.metadata[k] for k in sorted(cell.metadata)})
        for cell in notebook.cells
    ]


def code_of(notebook):
    """The code cells of a notebook, with their tags; nothing of one that is not there."""
    return [cell for cell in essence(notebook) if cell[0] == "code"] if notebook else []


def check():
    problems = []
    for text in chapters():
        stored = read_stored(text)
        name = text.relative_to(ROOT)
        if stored is None:
            problems.append(f"{name} has no notebook")
        elif essence(jupytext.read(text)) != essence(stored):
            problems.append(f"{name} and {notebook_of(text).relative_to(ROOT)} differ")
        else:
            problems += [f"{name}: {kind}" for kind in set(faults(stored))]
    known = {notebook_of(text) for text in chapters()}
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        if path not in known and ".ipynb_checkpoints" not in path.parts:
            problems.append(f"{path.relative_to(ROOT)} has no text in book/")
    for problem in problems:
        print(f"{problem}: `make run` mends it", file=sys.stderr)
    return 1 if problems else 0


def faults(notebook):
    """Outputs that no reader should see."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                yield f"an error is stored, {output.ename}"
            if output.get("name") == "stderr":
                yield f"a warning is stored, {output.text[:60]!r}"


def run(everything, names, here=False):
    known = {str(text.relative_to(TEXT).with_suffix("")): text for text in chapters()}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"There is no chapter {', '.join(unknown)}; there are: {', '.join(known)}")
    waiting = []
    for text in [known[name] for name in names or known]:
        stored = read_stored(text)
        if everything or stored is None or stored.metadata.get("digest") != digest(text):
            waiting.append(text)
    print(f"{len(waiting)} of {len(known)} notebooks to execute")
    # Two at a time: most of a kernel's start is one thread loading TensorFlow.
    with ThreadPoolExecutor(2) as pool:
        return max(pool.map(lambda text: execute(text, here), waiting), default=0)


def execute(text, here=False):
    """Executes one chapter; on an error the stored notebook stays as it was.

    So it does if new code that trains a network does not hold elsewhere, unless `here` is enough.
    """
    name = text.relative_to(TEXT).with_suffix("")
    notebook = jupytext.read(text)
    target = notebook_of(text)
    target.parent.mkdir(parents=True, exist_ok=True)
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(target.parent)}},
    )
    print(f"  {name}: running", flush=True)
    try:
        client.execute()
    except Exception as error:
        print(f"  {name}: failed\n{error}", file=sys.stderr, flush=True)
        return 1
    if not here and elsewhere.trains(notebook) and code_of(notebook) != code_of(read_stored(text)):
        print(f"  {name}: running as elsewhere, {len(elsewhere.VARIANTS)} times", flush=True)
        if found := elsewhere.faults(notebook, target.parent):
            elsewhere.report(name, notebook, found)
            return 1
    notebook.metadata["digest"] = digest(text)
    notebook.metadata.pop("language_info", None)  # the patch release of Python, nothing more
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # random otherwise, a change in every line of every diff
    new = target.with_suffix(".ipynb.new")
    nbformat.write(notebook, new)
    new.replace(target)
    print(f"  {name}: done", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="fail if a text and its notebook differ")
    runner = commands.add_parser("run", help="execute what changed and store the outputs")
    runner.add_argument("--all", action="store_true", help="execute what did not change, too")
    runner.add_argument("--here", action="store_true", help="do not run training as elsewhere")
    runner.add_argument("names", nargs="*", help="chapters such as region/dice; all by default")
    arguments = parser.parse_args()
    if arguments.command == "check":
        sys.exit(check())
    sys.exit(run(arguments.all, arguments.names, arguments.here))

"""Files that are there whole or not at all."""

import csv
import gzip
import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Writes a file under another name and renames it: nobody ever reads half of it.

    One whose name ends in `.gz` is compressed, and the same for the same text.
    """
    path = Path(path)
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        data = text.encode("utf-8")
        with open(handle, "wb") as file:
            file.write(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
        os.chmod(scratch, 0o644)  # mkstemp gives it to its owner alone
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a CSV file, a line for each dict of a list; all have the keys of the first."""
    with Path(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_json(file: Path) -> Any:
    """What a JSON file holds, `None` where there is none; a damaged one is told and removed."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        warnings.warn(f"{file} is damaged ({error}) and not used.", stacklevel=2)
        file.unlink()
        return None

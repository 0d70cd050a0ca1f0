"""Public data sets: found or downloaded, verified, and read straight out of their archives.

An archive is the zip that GitHub serves for a repository at one commit, or any part of it with the
same paths. What a data set consists of is fixed by `data/digests/<name>.sha256`, so it is the same
on every machine and from every archive: listed files are read and verified, others are not looked
at. `data/cards/<name>.toml` says the rest.
"""

import csv
import gzip
import hashlib
import inspect
import io
import os
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np

from segloss_ref.datasets.base import (
    Card,
    SegmentationData,
    spatial_shape,
)
from segloss_ref.datasets.base import position as _position
from segloss_ref.datasets.decoding import decode_volume
from segloss_ref.datasets.readers import READERS, Sample
from segloss_ref.datasets.resizing import resized
from segloss_ref.extras import require

# Cards and digests are kept in the repository, beside the package; a wheel carries copies in it.
CLONE = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent

# A listed file has less than 1 MB; an archive that says more is not what it should be.
MAX_BYTES = 2**26
_CHUNK = 2**20
_TOO_MANY = f"more than the {MAX_BYTES:,} that are allowed"

NAMES = tuple(READERS)


def loader(name: str) -> Callable[..., SegmentationData]:
    """How `load` calls the data set `name`. Public data do not depend on the seed."""
    return lambda split, size, limit, seed, **options: _load(name, split, size, limit, **options)


def options_of(name: str) -> tuple[str, ...]:
    """What this data set may be asked for besides a split; nothing if it is no public one."""
    if name not in READERS:
        return ()
    find_samples, _ = READERS[name]
    return tuple(inspect.signature(find_samples).parameters)[2:]  # after files and settings


def find(name: str) -> Path | None:
    """Returns the path of the archive of `name` on this machine, or `None`. Downloads nothing."""
    file = _archive_name(settings_of(name)["address"])
    return next((folder / file for folder in _folders() if (folder / file).is_file()), None)


def _load(name, split, size, limit, **options):
    settings, digests = settings_of(name), digests_of(name)
    shape = None if size is None else spatial_shape(size, dims=settings.get("dimensions", 2))
    samples = [sample for sample in samples_of(name, **options) if sample.split == split]
    samples = sorted(samples, key=lambda s: _position(s.name))[:limit]
    _, read = READERS[name]

    path = find(name) or _download(name, settings["address"], digests)
    with Archive(path, digests) as archive:
        # An image at a time, so that no more than one is held at its full size.
        triples = [resized(*read(archive, sample, settings), shape) for sample in samples]
    images, masks, instances = zip(*triples)
    return SegmentationData(
        images=np.stack(images),
        masks=np.stack(masks).astype(np.int32),
        instances=None if instances[0] is None else np.stack(instances),
        class_names=tuple(settings["class_names"]),
        names=tuple(sample.name for sample in samples),
        card=Card(**settings["card"], address=settings["address"]),
        background=settings.get("background"),
        groups=None if samples[0].group is None else tuple(sample.group for sample in samples),
    )


# Cards and digests: in the package, where it was installed, else in the repository


def settings_of(name: str) -> dict[str, Any]:
    """The card of a data set, as it is in the file."""
    return tomllib.loads(_read(f"cards/{name}.toml"))


def samples_of(name: str, **options: Any) -> list[Sample]:
    """All images of a data set, of every split."""
    settings = settings_of(name)
    if table := settings.get("groups"):
        rows = csv.DictReader(io.StringIO(_read(f"cards/{table}")))
        settings["group_of"] = {row["name"]: row["group"] for row in rows}
    return list(READERS[name][0](digests_of(name), settings, **options))


def digests_of(name: str) -> dict[str, str]:
    """The files of a data set: path in the archive -> SHA-256, as `sha256sum` writes it."""
    lines = _read(f"digests/{name}.sha256").splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


def _read(file):
    places = [PACKAGE / file, CLONE / "data" / file]
    for place in places:
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise FileNotFoundError(
        f"{file} is neither in {places[0].parent} nor in {places[1].parent}: the installation is "
        "not whole. Install the package anew."
    )


# Archives: where they are, and what is in them


def _archive_name(address):
    """`https://<host>/<owner>/<repository>/archive/<commit>.zip` -> `<repository>-<commit>.zip`"""
    *_, repository, _archive, commit = PurePosixPath(address).parts
    return f"{repository}-{commit}"


def _folders():
    """Where archives are looked for, in this order."""
    folders = [_cache()]
    if given := os.environ.get("SEGLOSS_DATA"):
        # A relative path counts from the working folder. Notebooks run in folders of their own:
        # for them it counts from the clone.
        folders = [Path(given).absolute(), CLONE / given, *folders]
    return folders


def _cache():
    # Where pooch would look, too; but pooch loads the progress bars, which warn in a notebook.
    given = os.environ.get("SEGLOSS_CACHE")
    return Path(given or require("platformdirs", extra="data").user_cache_dir("segloss_ref"))


def _download(name, address, digests):
    """Downloads an archive into the cache, where it appears verified or not at all."""
    pooch = require("pooch", extra="data")
    target = _cache() / _archive_name(address)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            part = Path(folder) / target.name
            # pooch draws the bar with tqdm on the error stream.
            bar = sys.stderr.isatty()
            pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16)(address, str(part), None)
            with Archive(part, digests) as archive:
                archive.verify()
            os.replace(part, target)
    except OSError as error:  # requests' errors are OSErrors, too
        given = os.environ.get("SEGLOSS_DATA", "not set")
        places = "\n".join(f"  {folder / target.name}" for folder in _folders())
        raise FileNotFoundError(
            f"The data set {name!r} is not on this machine and could not be downloaded.\n"
            f"Looked for:\n{places}\n"
            f"Then tried: {address}\n  {type(error).__name__}: {error}\n"
            f"Without a network, get {target.name} from that address on another machine, put it "
            f"into a folder under this name, and set SEGLOSS_DATA (now: {given}) to the folder."
        ) from error
    except DamagedArchiveError as error:
        where = f"The download of {name!r} from {address}"
        advice = "Nothing of it was kept: try again."
        raise DamagedArchiveError(where, error.what, advice) from error
    return target


class DamagedArchiveError(ValueError):
    """An archive that is no zip, lacks a file, or holds one with other bytes than it should."""

    def __init__(self, where: str, what: str, advice: str) -> None:
        super().__init__(where, what, advice)
        self.what = what

    def __str__(self) -> str:
        return "{} is damaged: {}. {}".format(*self.args)


class Archive:
    """A zip whose files are compared with their digests as they are read.

    Args:
        path: The zip. It has one top folder, called as the zip is.
        digests: SHA-256 by path below the top folder.

    Raises:
        DamagedArchiveError: Here or on reading; it names file and archive.
    """

    def __init__(self, path: Path, digests: Mapping[str, str]) -> None:
        self.path, self.digests = path, digests
        try:
            self._zip = zipfile.ZipFile(path)
        except PermissionError:
            raise
        except Exception as error:  # zipfile meets damage with errors of many kinds
            raise self._damaged("it is no whole zip file", error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def read(self, file: str) -> bytes:
        """The bytes of a file, after their digest has been found right."""
        try:
            member = self._zip.getinfo(f"{self.path.stem}/{file}")
        except KeyError as error:
            raise self._damaged(f"{file} is missing") from error
        if member.file_size > MAX_BYTES:
            raise self._damaged(f"{file} would take {member.file_size:,} bytes, {_TOO_MANY}")
        try:
            content = self._unpacked(member)
        except Exception as error:
            raise self._damaged(f"{file} cannot be unpacked", error) from error
        if hashlib.sha256(content).hexdigest() != self.digests[file]:
            raise self._damaged(f"{file} has another SHA-256 than data/digests says")
        return content

    def _unpacked(self, member):
        """The bytes of a member, and never more than `MAX_BYTES`, whatever its header says."""
        content = bytearray()
        with self._zip.open(member) as stream:
            while chunk := stream.read(_CHUNK):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise ValueError(_TOO_MANY)
        return bytes(content)

    def verify(self) -> None:
        """Reads every file of the digest list."""
        for file in self.digests:
            self.read(file)

    def pixels(self, file: str) -> np.ndarray:
        """A PNG or JPEG as an array."""
        image = require("PIL.Image", extra="data").open(
            io.BytesIO(self.read(file)), formats=("PNG", "JPEG")
        )
        return np.asarray(image)

    def volume(self, file: str) -> np.ndarray:
        """A NIfTI volume, `.nii.gz`, as an array: depth, height and width as in `decoding`."""
        return decode_volume(gzip.decompress(self.read(file)))

    def is_white(self, file: str) -> np.ndarray:
        """A black-and-white PNG of 8 bits or 1 as a boolean array; any grey is an error."""
        pixels = self.pixels(file)
        if pixels.dtype == bool:
            return pixels
        white = pixels == 255
        if not (white | (pixels == 0)).all():
            raise self._unexpected(file, pixels, "0 and 255")
        return white

    def class_map(self, file: str, highest: int) -> np.ndarray:
        """Class indices, 0 to `highest`, of a PNG or a volume as an array."""
        labels = self.volume(file) if file.endswith(".nii.gz") else self.pixels(file)
        if not np.isin(labels, range(highest + 1)).all():
            raise self._unexpected(file, labels, f"0 to {highest}")
        return labels

    def _unexpected(self, file, pixels, allowed):
        return ValueError(
            f"{file} in {self.path} must hold only the values {allowed}. "
            f"Received: {np.unique(pixels).tolist()}"
        )

    def _damaged(self, what, error=None):
        return DamagedArchiveError(
            f"The archive {self.path}",
            f"{what} ({error})" if error else what,
            "Delete it or put a sound one in its place.",
        )

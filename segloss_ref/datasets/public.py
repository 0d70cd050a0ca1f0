"""Public data sets: found or downloaded, verified, and read straight out of their archives.

An archive is the zip that GitHub serves for a repository at one commit, or any part of it with the
same paths. What a data set consists of is fixed by `data/digests/<name>.sha256`, so it is the same
on every machine and from every archive: listed files are read and verified, others are not looked
at. `data/cards/<name>.toml` says the rest.
"""

import hashlib
import io
import os
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self

import numpy as np

from segloss_ref.datasets.base import (
    Card,
    SegmentationData,
    spatial_shape,
    split_by_share,
)
from segloss_ref.datasets.base import position as _position
from segloss_ref.datasets.resizing import resized
from segloss_ref.extras import require

# Cards and digests are kept in the repository, beside the package; a wheel carries copies in it.
CLONE = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent

# A listed file has less than 1 MB; an archive that says more is not what it should be.
MAX_BYTES = 2**26
_CHUNK = 2**20
_TOO_MANY = f"more than the {MAX_BYTES:,} that are allowed"


class Sample(NamedTuple):
    """The files of one image, by their paths in the archive; several masks are several objects."""

    name: str
    split: str
    image: str
    masks: list[str]


def loader(name: str) -> Callable[..., SegmentationData]:
    """How `load` calls the data set `name`. Public data do not depend on the seed."""
    return lambda split, size, limit, seed: _load(name, split, size, limit)


def find(name: str) -> Path | None:
    """Returns the path of the archive of `name` on this machine, or `None`. Downloads nothing."""
    file = _archive_name(_settings(name)["address"])
    return next((folder / file for folder in _folders() if (folder / file).is_file()), None)


def _load(name, split, size, limit):
    shape = None if size is None else spatial_shape(size)
    settings, digests = _settings(name), _digests(name)
    samples_of, read = _READERS[name]
    samples = [s for s in samples_of(digests, settings) if s.split == split]
    samples = sorted(samples, key=lambda s: _position(s.name))[:limit]

    path = find(name) or _download(name, settings["address"], digests)
    with Archive(path, digests) as archive:
        # An image at a time, so that no more than one is held at its full size.
        triples = [resized(*read(archive, sample), shape) for sample in samples]
    images, masks, instances = zip(*triples)
    return SegmentationData(
        images=np.stack(images),
        masks=np.stack(masks).astype(np.int32),
        instances=None if instances[0] is None else np.stack(instances),
        class_names=tuple(settings["class_names"]),
        names=tuple(sample.name for sample in samples),
        card=Card(**settings["card"], address=settings["address"]),
        background=settings.get("background"),
    )


# Cards and digests: in the package, where it was installed, else in the repository


def _settings(name):
    return tomllib.loads(_read(f"cards/{name}.toml"))


def _digests(name):
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
        """A PNG as an array."""
        image = require("PIL.Image", extra="data").open(
            io.BytesIO(self.read(file)), formats=("PNG",)
        )
        return np.asarray(image)

    def is_white(self, file: str) -> np.ndarray:
        """A black-and-white PNG as a boolean array; any grey is an error."""
        pixels = self.pixels(file)
        white = pixels == 255
        if not (white | (pixels == 0)).all():
            raise self._unexpected(file, pixels, "0 and 255")
        return white

    def class_map(self, file: str, highest: int) -> np.ndarray:
        """A PNG of class indices, 0 to `highest`, as an array."""
        pixels = self.pixels(file)
        if pixels.max() > highest:
            raise self._unexpected(file, pixels, f"0 to {highest}")
        return pixels

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


# From files to samples. A sample's split and place in the order depend on its name alone.


def _nuclei_samples(files, settings):
    masks = {}
    for file in sorted(files):
        if "/masks/" in file:
            masks.setdefault(file.split("/")[1], []).append(file)
    for name, files_of_name in masks.items():
        image = f"stage1_train/{name}/images/{name}.png"
        yield Sample(name, split_by_share(name, settings["shares"]), image, files_of_name)


def _membrane_samples(files, settings):
    for split, blocks in settings["sections"].items():
        for first, last in blocks:
            for i in range(first, last + 1):
                folder = "data/membrane/train"
                yield Sample(str(i), split, f"{folder}/image/{i}.png", [f"{folder}/label/{i}.png"])


def _street_samples(files, settings):
    folders = {"train": "train", "val": "validation", "test": "test"}
    for file in files:
        _, folder, png = file.split("/")
        if folder in folders:
            name = png.removesuffix(".png")
            yield Sample(name, folders[folder], file, [f"CamVid/{folder}annot/{png}"])


# From samples to an image (height, width, channels) in [0, 1], a class map, and instances


def _read_nuclei(archive, sample):
    grey = archive.pixels(sample.image)[..., 0].astype(np.float32)  # red = green = blue
    low, high = grey.min(), grey.max()
    instances = np.zeros(grey.shape, np.int32)
    for label, file in enumerate(sample.masks, start=1):
        instances[archive.is_white(file)] = label
    return ((grey - low) / max(high - low, 1))[..., None], instances > 0, instances


def _read_membranes(archive, sample):
    from scipy import ndimage

    grey = archive.pixels(sample.image).astype(np.float32) / 255
    cell = archive.is_white(*sample.masks)
    instances, _ = ndimage.label(cell, output=np.int32)  # by the 4 neighbours
    return grey[..., None], ~cell, instances


def _read_streets(archive, sample):
    colour = archive.pixels(sample.image).astype(np.float32) / 255
    return colour, archive.class_map(*sample.masks, highest=11), None


_READERS = {
    "nuclei": (_nuclei_samples, _read_nuclei),
    "membranes": (_membrane_samples, _read_membranes),
    "streets": (_street_samples, _read_streets),
}
NAMES = tuple(_READERS)

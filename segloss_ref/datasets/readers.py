"""What the files of each public data set are: which belong together, and how an image is read.

A sample's split and its place in the order depend on its name alone, or on its group.
"""

from typing import NamedTuple

import numpy as np

from segloss_ref.checks import VOID, check_choice
from segloss_ref.datasets.base import split_by_share


class Sample(NamedTuple):
    """The files of one image, by their paths in the archive; several masks are several objects.

    `group` is what it was taken from together with others; `None`: the image is its own.
    """

    name: str
    split: str
    image: str
    masks: list[str]
    group: str | None = None


# From files to samples. Arguments after the first two are options of `load`.


def _nuclei_samples(files, settings):
    masks = {}
    for file in sorted(files):
        if "/masks/" in file:
            masks.setdefault(file.split("/")[1], []).append(file)
    for name, files_of_name in masks.items():
        field = settings["group_of"][name]
        split = split_by_share(field, settings["shares"])
        image = f"stage1_train/{name}/images/{name}.png"
        yield Sample(name, split, image, files_of_name, field)


def _membrane_samples(files, settings):
    folder, block = "data/membrane/train", settings["block"]
    for split, runs in settings["sections"].items():
        for first, last in runs:
            for i in range(first, last + 1):
                start = i - (i - first) % block
                group = f"{start}-{min(start + block - 1, last)}"
                image, mask = (f"{folder}/{part}/{i}.png" for part in ("image", "label"))
                yield Sample(str(i), split, image, [mask], group)


def _street_samples(files, settings):
    folders = {"train": "train", "val": "validation", "test": "test"}
    for file in files:
        _, folder, png = file.split("/")
        if folder in folders:
            name = png.removesuffix(".png")
            drive = name.split("_")[0]
            yield Sample(name, folders[folder], file, [f"CamVid/{folder}annot/{png}"], drive)


def _mortar_samples(files, settings, labels="accurate"):
    check_choice("labels", labels, ("accurate", "noisy", "pseudo"))
    folders = {"train": "train", "val": "validation", "test": "test"}
    for file in files:
        if "/images/" in file:
            _, folder, _, png = file.split("/")
            kind = "accurate" if folder == "test" else labels
            mask = f"dataset/{folder}/{kind}/{png}"
            yield Sample(png.removesuffix(".png"), folders[folder], file, [mask])


def _vessel_samples(files, settings, observer=1):
    if isinstance(observer, bool) or observer not in (1, 2, "both"):
        raise ValueError(f"`observer` must be 1, 2 or 'both'. Received: {observer!r}")
    endings = {1: "1stHO", 2: "2ndHO"}
    for split, children in settings["children"].items():
        for child in children:
            for eye in "LR":
                name = f"{child:02d}{eye}"
                stem = f"CHASEDB1/Image_{name}"
                for k in (1, 2) if observer == "both" else (observer,):
                    shown = f"{name} {k}" if observer == "both" else name
                    mask = f"{stem}_{endings[k]}.png"
                    yield Sample(shown, split, f"{stem}.jpg", [mask], f"{child:02d}")


def _hippocampus_samples(files, settings):
    for file in files:
        if "/labels/" in file:
            name = file.split("_")[-1].removesuffix(".nii.gz")
            # Numbers 2k - 1 and 2k are two volumes of one subject: the card says how this shows.
            subject = f"{(int(name) + 1) // 2:03d}"
            split = split_by_share(subject, settings["shares"])
            yield Sample(name, split, file.replace("/labels/", "/images/"), [file], subject)


def _crack_samples(files, settings):
    for file in files:
        if "_images/" in file:
            name = file.split("/")[-1].removesuffix(".png")
            photograph = name.rpartition("_")[0]
            is_large = photograph in settings["large"]
            split = "train" if is_large else split_by_share(photograph, settings["shares"])
            mask = file.replace("_images/", "_masks/")
            yield Sample(name, split, file, [mask], photograph)


# From samples to an image (*spatial, channels) in [0, 1], a class map, and instances


def _read_nuclei(archive, sample, settings):
    grey = archive.pixels(sample.image)[..., 0].astype(np.float32)  # red = green = blue
    low, high = grey.min(), grey.max()
    instances = np.zeros(grey.shape, np.int32)
    for label, file in enumerate(sample.masks, start=1):
        instances[archive.is_white(file)] = label
    return ((grey - low) / max(high - low, 1))[..., None], instances > 0, instances


def _read_membranes(archive, sample, settings):
    from scipy import ndimage

    grey = archive.pixels(sample.image).astype(np.float32) / 255
    cell = archive.is_white(*sample.masks)
    instances, _ = ndimage.label(cell, output=np.int32)  # by the 4 neighbours
    return grey[..., None], ~cell, instances


def _read_streets(archive, sample, settings):
    colour = archive.pixels(sample.image).astype(np.float32) / 255
    return colour, archive.class_map(*sample.masks, highest=11), None


def _read_black_and_white(archive, sample, settings):
    """A colour image with a mask of one thing."""
    colour = archive.pixels(sample.image).astype(np.float32) / 255
    return colour, archive.is_white(*sample.masks), None


def _read_hippocampus(archive, sample, settings):
    voxels = archive.volume(sample.image).astype(np.float32)
    # A scanner's numbers have no range, and the brightest voxels here are few and far above the
    # others: what lies beyond the percentiles becomes black or white.
    low, high = np.percentile(voxels, settings["percentiles"])
    image = ((voxels - low) / max(high - low, 1e-6)).clip(0, 1).astype(np.float32)
    mask = archive.class_map(*sample.masks, highest=2).astype(np.int32)
    shape = settings["shape"]
    return _centred(image, shape, 0)[..., None], _centred(mask, shape, VOID), None


def _centred(array, shape, fill):
    """The middle of an array, and `fill` around it where the shape asks for more than there is."""
    middle = np.full(shape, fill, array.dtype)
    here, there = [], []
    for new, old in zip(shape, array.shape, strict=True):
        shift = new // 2 - old // 2  # centre comes on centre
        start, stop = max(shift, 0), min(old + shift, new)
        here.append(slice(start, stop))
        there.append(slice(start - shift, stop - shift))
    middle[tuple(here)] = array[tuple(there)]
    return middle


READERS = {
    "nuclei": (_nuclei_samples, _read_nuclei),
    "membranes": (_membrane_samples, _read_membranes),
    "streets": (_street_samples, _read_streets),
    "mortar": (_mortar_samples, _read_black_and_white),
    "vessels": (_vessel_samples, _read_black_and_white),
    "cracks": (_crack_samples, _read_black_and_white),
    "hippocampus": (_hippocampus_samples, _read_hippocampus),
}

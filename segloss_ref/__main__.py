"""What runs here, and what a folder of masks calls for.

python -m segloss_ref             this machine: versions, devices, data, and whether it is right
python -m segloss_ref my_cells    the masks of a folder, and the losses to compare on them
"""

import argparse
import ast
import os
import platform
import sys
from pathlib import Path

import numpy as np

from segloss_ref import catalogue, describe, machine, proposals
from segloss_ref.datasets import load_folder, public

#: A chapter is named as its page in the book: `region/dice` is book/region/dice.md.
GUIDE = "choosing/guide"


def main(arguments: list[str] | None = None) -> int:
    """Prints what was asked for; the exit status is 1 where a loss is wrong, 2 for a bad folder."""
    parser = argparse.ArgumentParser(
        prog="python -m segloss_ref",
        description="Without a folder: what runs on this machine, and whether its losses are right "
        "(exit status 1 if not). With a folder: what its masks are like, and which losses to try.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        help="your own data: images/ and masks/, see segloss_ref.datasets.load_folder",
    )
    parser.add_argument(
        "--size",
        type=int,
        help="side in pixels that images and masks are resized to, where they differ in size",
    )
    given = parser.parse_args(arguments)
    if given.folder is None and given.size is not None:
        parser.error("--size goes with a folder")
    if given.folder is None:
        return about_this_machine()
    try:
        about_a_folder(given.folder, given.size)
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def about_this_machine() -> int:
    """Versions, devices, extras, data, and the losses beside their formulas."""
    print(", ".join(f"{name} {version}" for name, version in machine.versions().items()))
    _row("on", f"{platform.system()} {machine.processor()}")
    _row("devices", ", ".join(machine.devices()))
    _row("compiled step", machine.why_not_compiled() or "works")
    _row("mixed precision", machine.why_not_mixed() or "works")
    for extra, packages in machine.missing_packages().items():
        lack = f'lacks {", ".join(packages)}: pip install "segloss_ref[{extra}]"'
        _row(f"extra {extra}", lack)
    _print_data()
    return _print_losses(machine.deviations(), machine.TOLERANCE)


def _row(name, text):
    print(f"{name:16} {text}")


def _print_data():
    print("\nPublic data, in SEGLOSS_DATA", end="")
    print(f" ({os.environ.get('SEGLOSS_DATA', 'not set')}) or in the cache:")
    for name in public.NAMES:
        try:
            found = public.find(name)
        except ModuleNotFoundError as error:  # the cache's place is known to an extra
            print(f"  {error}")
            return
        print(f"  {name:14} {found or 'not here; the first load downloads it'}")


def _print_losses(found, tolerance):
    print("\nLosses of one fixed mask and prediction, and their formulas in float64:")
    width = max(len(each.loss) for each in found)
    for each in found:
        text = each.error or f"{each.value:11.7f} {each.reference:11.7f}  {each.share:7.0e}"
        print(f"  {each.loss:{width}} {text}{'' if each.is_right else '  WRONG'}")
    wrong = [each for each in found if not each.is_right]
    if not wrong:
        worst = max(found, key=lambda each: each.share)
        print(f"All are right: the largest deviation is {worst.share:.0e}, of {worst.loss}.")
        return 0
    names = ", ".join(each.loss for each in wrong)
    print(
        f"{len(wrong)} of {len(found)} losses are off by more than {tolerance:g}: {names}. Numbers "
        "of this machine cannot be trusted. Try another version of the backend, or the CPU alone "
        "(CUDA_VISIBLE_DEVICES=-1); if it stays, report it with all that stands above.",
        file=sys.stderr,
    )
    return 1


def about_a_folder(folder: str, size: int | None = None) -> None:
    """What the masks of a folder are like, and the losses to compare on them."""
    # Here, since it needs an operating system with locks on files: Windows has others.
    from segloss_ref import experiment

    data = load_folder(folder, "train", size=size)
    binary, numbered = experiment.is_binary(data), data.instances is not None
    if numbered:
        masks = experiment.instances_of(data)
    else:  # of several classes, all but the background
        truth = experiment.truth_of(data)
        masks = np.where(truth < 0, -1, truth != (0 if binary else data.background)).astype(int)
    found = describe(masks, spatial_dims=masks.ndim - 1)
    sides = " x ".join(map(str, data.images.shape[1:-1]))
    print(f"{Path(folder)}: the masks to train on, of {sides} pixels")
    print(found)
    if not numbered:
        print("Number the objects (instances/), if they are counted: then it is known which touch.")

    print(f'\nLosses to compare, from the chapter "Choosing a loss for your masks", {GUIDE}:')
    chapters = {entry.name: entry.chapter for entry in catalogue()}
    for each in proposals(found, 1 if binary else len(data.class_names)):
        if each.name == "shape-aware" and not numbered:
            continue
        about = [chapters[name] for name in chapters if name in _names(each.loss)]
        print(f"  {each.name}: {each.why}")
        print(f"      {each.loss}  (chapter {', '.join(about)})")
    print(f"\nIn a clone of the repository, `make compare DATA={folder}` trains them.")


def _names(expression):
    """The names in a loss as it is written, such as "DiceLoss + 0.5 * FocalLoss(gamma=1)"."""
    return {node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)}


if __name__ == "__main__":
    sys.exit(main())

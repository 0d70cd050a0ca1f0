"""A comparison in a given time: several losses, each tuned, each from several seeds."""

import ast
import dataclasses
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from segloss_ref.checks import check_number, check_whole
from segloss_ref.datasets import SegmentationData
from segloss_ref.experiment.crops import Crops
from segloss_ref.experiment.data import splits_of
from segloss_ref.experiment.evaluation import validation_scores
from segloss_ref.experiment.running import run, tune
from segloss_ref.experiment.settings import Experiment
from segloss_ref.experiment.training import check_data, compiled
from segloss_ref.experiment.tuning import LEARNING_RATES, MOST_TRIALS, trial_steps, tuning_seed

#: What a comparison has at least: with less nothing is learnt that could be compared.
FEWEST_STEPS = 40
FEWEST_SEEDS = 2  # from one run nothing can be said of a loss
# A part of the time is kept for what cannot be foreseen, such as tests of images with many objects.
_KEPT = 0.1
_LOOKS = 8


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a comparison does, and how long that takes.

    Args:
        losses: The text of each loss by the name to show, see `Experiment`.
        experiment: The settings that all runs share; its loss and seed are replaced.
        seeds: Of each loss.
        trials: Steps of a trial of the tuning.
        minutes: That it will take, from the time of a step of each loss here.
        within: Minutes that it must not take longer than; `None`: as long as it takes.
    """

    losses: Mapping[str, str]
    experiment: Experiment
    seeds: int
    trials: int
    minutes: float
    within: float | None = None

    def __str__(self) -> str:
        return (
            f"{len(self.losses)} losses, each with up to {MOST_TRIALS} trials of {self.trials} "
            f"steps and {self.seeds} runs of {self.experiment.steps} steps: about "
            f"{self.minutes:.0f} minutes"
        )


def named_losses(given: str | list[str], proposed: Mapping[str, str]) -> dict[str, str]:
    """Losses that were asked for, or else those proposed.

    Args:
        given: Losses as `Experiment` reads them, in a list or with commas between them.
        proposed: Losses by their names, if none is given.

    Returns:
        A dict from names to losses. A loss that was given is its own name.

    Raises:
        ValueError: If the text is none that Python could read, or a loss is there twice.

    Example:
        >>> list(named_losses("DiceLoss, FocalLoss(gamma=1) + DiceLoss", {}))
        ['DiceLoss', 'FocalLoss(gamma=1) + DiceLoss']
    """
    if isinstance(given, str):
        try:
            given = [ast.unparse(e) for e in ast.parse(f"[{given}]", mode="eval").body.elts]
        except SyntaxError as error:
            raise ValueError(
                "`losses` must be losses with commas between them: 'DiceLoss, FocalLoss(gamma=1)'. "
                f"Received: {given!r}"
            ) from error
    if len(set(given)) < len(given):
        raise ValueError(f"`losses` must differ. Received: {given}")
    return {loss: loss for loss in given} or dict(proposed)


def planned(
    losses: Mapping[str, str],
    experiment: Experiment,
    *,
    minutes: float,
    seeds: int = 3,
    steps: int | None = None,
) -> Plan:
    """How many steps each run can have, so that all are done in the time.

    A step of each loss is timed on this machine, which takes some seconds for each of them.

    Args:
        losses: By name, see `Experiment`.
        experiment: Data, crops and network. Its steps are replaced.
        minutes: For the whole comparison, tuning and scores included.
        seeds: Of each loss, at least 2: from one run nothing can be said of a loss.
        steps: Of each run, a multiple of 8, however long that takes. `None`: what the time allows.

    Returns:
        A `Plan`.

    Raises:
        ValueError: If the time is too short; the message says how much would do. If loss and data
            do not fit together.
    """
    check_number("minutes", minutes, above=0)
    check_whole("seeds", seeds, at_least=FEWEST_SEEDS)
    if len(losses) < 2:
        raise ValueError(f"At least two losses are compared. Received: {list(losses)}")
    images, validation, _ = splits_of(experiment)
    timings = [_timed(_of(experiment, loss), images, validation) for loss in losses.values()]

    def seconds(steps):
        each = MOST_TRIALS * trial_steps(_with(experiment, steps)) + seeds * steps
        looks = MOST_TRIALS + seeds * (_LOOKS + 4)  # the test takes as long as some looks
        found = ((MOST_TRIALS + seeds) * t.start + each * t.step + looks * t.look for t in timings)
        return sum(found) / (1 - _KEPT)

    within = minutes if steps is None else None
    if steps is None:
        steps = _most_steps(seconds, minutes, f"{len(losses)} losses and {seeds} seeds")
    shared = _with(experiment, steps)
    return Plan(dict(losses), shared, seeds, trial_steps(shared), seconds(steps) / 60, within)


def _most_steps(seconds, minutes, what):
    """The most steps that fit into the time, of which `seconds` says what so many take."""
    steps = FEWEST_STEPS
    if (least := seconds(steps)) > 60 * minutes:
        raise ValueError(
            f"`minutes` must be at least {math.ceil(least / 60)}: {what} then have {steps} steps "
            f"each, which is little. Received: {minutes:g}. Give more minutes, fewer losses, "
            "smaller images or a smaller network"
        )
    while seconds(steps + _LOOKS) <= 60 * minutes:
        steps += _LOOKS
    return steps


def carried_out(
    plan: Plan, folder: str | PathLike[str], say: Callable[[str], Any] = print
) -> dict[str, list[Path]]:
    """Trains what is planned: the tuning of each loss, then all losses seed by seed.

    Where the machine turns out slower than the plan, as when others use it too, the seeds for which
    no time is left are left out, of all losses alike; two are always run. Killed and called again
    with the same plan, it goes on from where it was.

    Args:
        plan: See `planned`.
        folder: For the runs.
        say: Is told what is done.

    Returns:
        The folders of the runs of each loss, see `run`.
    """
    places = {
        name: Path(folder) / f"{i}-{re.sub('[^A-Za-z0-9]+', '-', name)[:40].strip('-')}"
        for i, name in enumerate(plan.losses)
    }
    started = time.perf_counter()
    for name, loss in plan.losses.items():
        _tuned(plan, loss, places[name] / "tuning.json")
        rate = json.loads((places[name] / "tuning.json").read_text())["chosen"]["learning_rate"]
        say(f"{name}: learning rate {rate:g}")
    done, took = 0, 0.0
    while done < plan.seeds and not (done >= FEWEST_SEEDS and _is_late(plan, started, took)):
        begun = time.perf_counter()
        for name, loss in plan.losses.items():
            out = places[name] / f"seed-{done}"
            if not out.exists():
                experiment = dataclasses.replace(_of(plan.experiment, loss), seed=done)
                run(experiment, out, tuning=places[name] / "tuning.json")
        done, took = done + 1, time.perf_counter() - begun
    spent = (time.perf_counter() - started) / 60
    say(f"{done} of {plan.seeds} seeds of each loss in {spent:.0f} minutes")
    return {
        name: [place / f"seed-{seed}" for seed in range(done)] for name, place in places.items()
    }


def _tuned(plan, loss, file):
    if not file.exists():
        seed = tuning_seed(range(plan.seeds))
        tune(dataclasses.replace(_of(plan.experiment, loss), seed=seed), file)


def _is_late(plan, started, next_one):
    """Whether one more seed, which takes so many seconds, would end too late."""
    spent = time.perf_counter() - started
    return plan.within is not None and spent + next_one > 60 * plan.within


def _of(experiment, loss):
    return dataclasses.replace(experiment, loss=loss, options={}, learning_rate=None)


def _with(experiment, steps):
    return dataclasses.replace(experiment, steps=steps, evaluate_every=steps // _LOOKS)


@dataclasses.dataclass(frozen=True)
class _Timing:
    """Seconds: of the first step, of another one, and of a look at the validation images."""

    start: float
    step: float
    look: float


def _timed(experiment: Experiment, images: SegmentationData, validation: SegmentationData):
    check_data(experiment, images)
    keras.utils.set_random_seed(0)
    model = compiled(experiment, images, LEARNING_RATES[0], FEWEST_STEPS)
    crops = Crops(images, experiment, experiment.make_loss(), outputs=experiment.outputs)

    def seconds(work, *arguments):
        start = time.perf_counter()
        work(*arguments)
        return time.perf_counter() - start

    steps = [seconds(lambda i: model.train_on_batch(*crops[i]), i) for i in range(4)]
    first_look, look = (seconds(validation_scores, model, validation) for _ in range(2))
    return _Timing(steps[0] + first_look, float(np.median(steps[1:])), look)

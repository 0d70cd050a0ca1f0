"""Tuning: a learning rate and the loss's main setting, by as many trials for every loss."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segloss_ref.datasets import SegmentationData
from segloss_ref.experiment.settings import Experiment
from segloss_ref.experiment.training import train
from segloss_ref.writing import read_json, write_whole

#: What a learning rate is chosen from, the same for every loss.
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03)
#: The rates next to the grid, which are tried where the best one is at its edge.
WIDER = (0.0003, 0.1)
#: Trials of a tuning: the rates, one more where the best is at an edge, and three of a setting.
MOST_TRIALS = len(LEARNING_RATES) + 1 + 3
# From one rate of the grid to the next.
_STEP = 10**0.5

#: The main setting of a loss, and what is tried besides its default. A loss that is not here, an
#: expression, and a loss whose main setting was given have three more rates instead.
MAIN_SETTINGS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "WeightedBinaryCrossEntropyLoss": ("beta", (2.0, 5.0, 20.0)),
    "BalancedBinaryCrossEntropyLoss": ("beta", (0.6, 0.8, 0.95)),
    "FocalLoss": ("gamma", (0.5, 1.0, 4.0)),
    "TopKCrossEntropyLoss": ("k", (0.03, 0.3, 0.7)),
    "PolyLoss": ("epsilon", (-0.5, 2.0, 6.0)),
    "GeneralizedCrossEntropyLoss": ("q", (0.3, 0.5, 0.9)),
    "NeighborAwareCalibrationLoss": ("neighbor_weight", (0.03, 0.3, 1.0)),
    "DiceLoss": ("smooth", (0.01, 10.0, 100.0)),
    "JaccardLoss": ("smooth", (0.01, 10.0, 100.0)),
    "DiceSemimetricLoss": ("smooth", (0.01, 10.0, 100.0)),
    "JaccardMetricLoss": ("smooth", (0.01, 10.0, 100.0)),
    "LogCoshDiceLoss": ("smooth", (0.01, 10.0, 100.0)),
    "MatthewsLoss": ("smooth", (0.01, 10.0, 100.0)),
    "TverskyLoss": ("beta", (0.3, 0.5, 0.9)),
    "FocalTverskyLoss": ("gamma", (0.5, 1.0, 1.33)),
    "GeneralizedDiceLoss": ("penalty", (0.25, 0.5, 0.75)),
    "SensitivitySpecificityLoss": ("r", (0.01, 0.2, 0.5)),
    "NoiseRobustDiceLoss": ("gamma", (1.0, 1.25, 2.0)),
    "ShapeAwareLoss": ("w0", (0.0, 3.0, 30.0)),
    "HausdorffDistanceLoss": ("alpha", (0.5, 1.0, 3.0)),
    "BoundaryDoULoss": ("max_alpha", (0.4, 0.6, 0.95)),
    "ClDiceLoss": ("iterations", (3, 5, 20)),
    "SkeletonRecallLoss": ("radius", (1, 3, 4)),
    "ActiveContourLoss": ("region_weight", (0.3, 3.0, 10.0)),
    "StructuralSimilarityLoss": ("beta", (0.03, 0.3, 0.6)),
    "SSIMLoss": ("sigma", (0.75, 1.0, 3.0)),
    "MultiScaleSSIMLoss": ("sigma", (0.75, 1.0, 3.0)),
    "DiceCrossEntropyLoss": ("cross_entropy_weight", (0.1, 0.3, 3.0)),
    "DiceFocalLoss": ("focal_weight", (0.3, 3.0, 10.0)),
    "DiceTopKLoss": ("cross_entropy_weight", (0.1, 0.3, 3.0)),
    "ComboLoss": ("cross_entropy_weight", (0.25, 0.75, 0.9)),
    "ExponentialLogarithmicLoss": ("cross_entropy_weight", (0.1, 0.5, 0.8)),
    "ModifiedFocalLoss": ("gamma", (0.1, 0.3, 0.7)),
    "ModifiedFocalTverskyLoss": ("gamma", (0.1, 0.3, 0.7)),
    "UnifiedFocalLoss": ("gamma", (0.1, 0.3, 0.7)),
    "BlobLoss": ("blob_weight", (0.5, 2.0, 4.0)),
}


def tuning_seed(seeds: Iterable[int]) -> int:
    """The seed that runs of these seeds are tuned with: a thousand above the smallest.

    Example:
        >>> tuning_seed([0, 1, 2]), tuning_seed([0, 1000])
        (1000, 1001)
    """
    seeds = set(seeds)
    seed = (min(seeds) + 1000) % 2**32
    while seed in seeds:
        seed = (seed + 1) % 2**32
    return seed


def main_setting(experiment: Experiment) -> tuple[str | None, tuple[float, ...]]:
    """The setting to try, and its values; `None` where there is none, or it was given."""
    name, values = MAIN_SETTINGS.get(experiment.loss, (None, ()))
    return (None, ()) if name in experiment.options else (name, values)


def trial_steps(experiment: Experiment) -> int:
    """The steps of a trial: a third of those of the run, but at least 50, if it has so many."""
    return max(experiment.steps // 3, min(experiment.steps, 50))


def tuned(
    experiment: Experiment, images: SegmentationData, validation: SegmentationData, kept: Path
) -> dict[str, Any]:
    """Chooses the learning rate and the loss's main setting by the validation images.

    Each trial is a training of `trial_steps`, with its whole schedule, from the same initial
    weights and on the same crops. First the rates of `LEARNING_RATES`, and the next one where the
    best of them is at the edge; then three values of the main setting at the best rate, or three
    rates around it. The best is that of the highest mean Dice at its best cut.

    Args:
        experiment: its `seed` is that of the trials.
        images: to train on.
        validation: to choose by.
        kept: a file for the trials that are done; they are not done again.

    Returns:
        A dict: `settings`, `steps` of a trial, `setting` (the name of the main one, or `None`),
        `trials` (for each `learning_rate`, `options`, `dice` and `cut`), `widened` and `chosen`
        (`learning_rate` and `options`; `None` if no trial found anything).
    """
    trials = _Trials(experiment, images, validation, kept)
    best = trials.best_of([trials.score(rate) for rate in LEARNING_RATES])
    edges = dict(zip((LEARNING_RATES[0], LEARNING_RATES[-1]), WIDER))
    wider = edges.get(best["learning_rate"]) if best else None
    if wider is not None:
        best = trials.best_of([best, trials.score(wider)])
    name, values = main_setting(experiment)
    if best:
        rate = best["learning_rate"]
        if name is None:
            best = trials.best_of([best, *_rates_around(trials, rate)])
        else:
            best = trials.best_of([best, *(trials.score(rate, **{name: v}) for v in values)])
    return {
        "settings": dataclasses.asdict(experiment),
        "steps": trials.steps,
        "setting": name,
        "widened": wider is not None,
        "trials": trials.done,
        "chosen": best and {key: best[key] for key in ("learning_rate", "options")},
    }


def _rates_around(trials, rate):
    """Half a step of the grid below and above, and a quarter on the side that is better."""
    below, above = (trials.score(_rounded(rate * _STEP**side)) for side in (-0.5, 0.5))
    side = -0.25 if trials.best_of([below, above]) is below else 0.25
    return below, above, trials.score(_rounded(rate * _STEP**side))


def _rounded(rate):
    return float(f"{rate:.2g}")


class _Trials:
    def __init__(self, experiment, images, validation, kept):
        self.experiment, self.images, self.validation = experiment, images, validation
        self.kept, self.steps = kept, trial_steps(experiment)
        self.done = read_json(kept) or []

    def score(self, rate, **options):
        """The trial at a rate, with these options besides those of the run."""
        options = {**self.experiment.options, **options}
        for trial in self.done:
            if (trial["learning_rate"], trial["options"]) == (rate, options):
                return trial
        trial = {"learning_rate": rate, "options": options}
        trial["dice"], trial["cut"] = self._train(rate, options)
        self.done.append(trial)
        write_whole(self.kept, json.dumps(self.done))
        return trial

    def _train(self, rate, options):
        seconds = self.experiment.seconds
        experiment = dataclasses.replace(
            self.experiment,
            options=options,
            steps=self.steps,
            evaluate_every=self.steps,
            seconds=None if seconds is None else seconds / 3,
        )
        _, rows = train(experiment, self.images, self.validation, rate, self.steps)
        return rows[-1]["validation_dice_at_best_cut"], rows[-1]["validation_cut"]

    @staticmethod
    def best_of(trials):
        """The first of those with the highest Dice; `None` if none has found anything.

        A trial that diverged has no Dice.
        """
        best = max(trials, key=lambda trial: np.nan_to_num(trial["dice"], nan=-1.0))
        return best if best["dice"] > 0 else None


def chosen(experiment: Experiment, tuning: Mapping[str, Any]) -> Experiment:
    """The experiment with the rate and the options that a tuning has chosen.

    The tuning may be that of a longer or shorter run, which shows what more steps alone change.

    Raises:
        ValueError: if the tuning is that of other settings.
        RuntimeError: if it has found no rate.
    """
    ours, theirs = dataclasses.asdict(experiment), dict(tuning["settings"])
    free = {"seed", "steps", "evaluate_every"}
    if other := sorted(key for key in ours if key not in free and ours[key] != theirs.get(key)):
        raise ValueError(
            "The tuning is that of another experiment. Tune this one, or leave `tuning` out. "
            f"Different: {', '.join(f'{k}={theirs.get(k)!r}, not {ours[k]!r}' for k in other)}"
        )
    if tuning["chosen"] is None:
        rates = ", ".join(f"{trial['learning_rate']:g}" for trial in tuning["trials"])
        raise RuntimeError(
            f"No rate: {experiment.loss} found nothing on {experiment.dataset!r} at {rates} in "
            f"{tuning['steps']} steps (Dice of the validation images 0 or NaN). Take more `steps`, "
            "or give a `learning_rate`."
        )
    return dataclasses.replace(experiment, **tuning["chosen"])

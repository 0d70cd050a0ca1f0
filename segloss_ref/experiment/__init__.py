"""Experiments: settings in, a training run, a record out.

`settings` says what a run is and refuses what cannot be one; `data` is what it learns, `crops` the
pieces that it is shown; `training` trains, `tuning` chooses what to train with, `prediction`
predicts images of any size, `probabilities` rounds them to 8 bits, `evaluation` scores; `running`
makes a folder of it, whole or not at all, `rescoring` scores anew what lies there, and `comparison`
compares losses in a given time. `testbed` is a run of seconds for chapters; `notebook` checks what
papermill hands to a notebook.
"""

from segloss_ref.experiment.comparison import Plan, carried_out, named_losses, planned
from segloss_ref.experiment.data import (
    foreground,
    has_class,
    instances_of,
    is_binary,
    splits_of,
    truth_of,
)
from segloss_ref.experiment.evaluation import all_pixels, evaluate, right_and_found
from segloss_ref.experiment.notebook import loss_options, refuse_unknown_parameters
from segloss_ref.experiment.prediction import predict
from segloss_ref.experiment.rescoring import kept_masks, rescore
from segloss_ref.experiment.running import run, tune
from segloss_ref.experiment.settings import Experiment
from segloss_ref.experiment.testbed import (
    Difference,
    Trial,
    difference,
    prepared,
    trial,
)
from segloss_ref.experiment.tuning import LEARNING_RATES, MAIN_SETTINGS

__all__ = [
    "LEARNING_RATES",
    "MAIN_SETTINGS",
    "Difference",
    "Experiment",
    "Plan",
    "Trial",
    "all_pixels",
    "carried_out",
    "difference",
    "evaluate",
    "foreground",
    "has_class",
    "instances_of",
    "is_binary",
    "kept_masks",
    "loss_options",
    "named_losses",
    "planned",
    "predict",
    "prepared",
    "refuse_unknown_parameters",
    "rescore",
    "right_and_found",
    "run",
    "splits_of",
    "trial",
    "truth_of",
    "tune",
]

"""What papermill hands to a notebook."""

import pytest

from segloss_ref.experiment import (
    loss_options,
    refuse_unknown_parameters,
)


def test_options_are_those_of_the_loss():
    assert loss_options("TverskyLoss", {"alpha": 0.2, "smooth": 2}) == {"alpha": 0.2, "smooth": 2}
    assert loss_options("DiceLoss", {"per": "batch"}) == {"per": "batch"}
    with pytest.raises(TypeError, match=r"no parameter gamma, of this notebook or of TverskyLoss"):
        loss_options("TverskyLoss", {"gamma": 1})
    with pytest.raises(ValueError, match="There is no loss 'TheLoss'"):
        loss_options("TheLoss", {"gamma": 1})
    with pytest.raises(TypeError, match="Did you mean 'smooth'"):
        loss_options("DiceLoss", {"smoth": 1})


def test_a_sum_has_its_settings_in_it():
    assert loss_options("DiceLoss(smooth=0.1) + 0.5 * FocalLoss", {}) == {}
    with pytest.raises(ValueError, match="here they stand in the expression"):
        loss_options("DiceLoss + FocalLoss", {"smooth": 0.1})


def test_unknown_parameters_are_refused():
    declared = {"dataset", "steps"}
    refuse_unknown_parameters(declared, {"dataset", "steps", "declared", "_i3"})
    with pytest.raises(TypeError, match=r"no parameter step\. There are: dataset, steps"):
        refuse_unknown_parameters(declared, {"dataset", "steps", "declared", "step"})

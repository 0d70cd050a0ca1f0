"""Trainings of seconds."""

import numpy as np
import pytest

from segloss_ref import metrics
from segloss_ref.datasets import load
from segloss_ref.experiment import difference, prepared, testbed, trial
from segloss_ref.losses import CategoricalCrossEntropyLoss, DiceLoss, ShapeAwareLoss

DICE = DiceLoss(from_logits=True)


def cells(**options):
    return [
        load("synthetic/cells", part, limit=3, size=48, **options) for part in ("train", "test")
    ]


def test_standardized_input_does_not_see_brightness_and_contrast():
    images = np.random.default_rng(0).random((2, 6, 6, 3))
    np.testing.assert_allclose(prepared(3 * images + 7), prepared(images), atol=1e-4)
    np.testing.assert_allclose(prepared(images, "inverted"), -prepared(images))
    np.testing.assert_allclose(prepared(images, "raw"), images, rtol=1e-6)
    assert (prepared(np.full((1, 4, 4, 1), 0.3)) == 0).all()


def test_a_network_in_company_is_the_network_alone():
    """Adam is for each parameter by itself, and the losses are summed."""
    data = cells()
    how = dict(steps=6, crop=32, batch=2)
    company = trial({"Dice": DICE}, *data, seeds=3, **how).probabilities
    alone = trial({"Dice": DICE}, *data, seeds=1, **how).probabilities
    for name in company:
        np.testing.assert_allclose(company[name][:1], alone[name], atol=1e-5)
        assert abs(company[name][0] - company[name][1]).max() > 1e-3


def test_a_training_is_the_same_twice():
    data = cells()
    one, two = (trial({"Dice": DICE}, *data, steps=3, seeds=2, crop=32) for _ in range(2))
    np.testing.assert_array_equal(one.probabilities["Dice"], two.probabilities["Dice"])
    assert one.scores.equals(two.scores)


def test_cells_are_learnt_and_scores_are_those_of_the_masks():
    found = trial({"Dice": DICE}, *cells(), steps=60, seeds=2, crop=None, looks=[1, 120])
    assert (found.seeds("Dice") > 0.7).all()
    for seed in range(2):
        marked = np.stack([found.masks(i, seed)["Dice"] for i in range(3)])
        # All images side by side are one image.
        flat = found.truth.reshape(-1, 48) > 0, marked.reshape(-1, 48)
        rows = found.scores.query("loss == 'Dice' and steps == 120").iloc[seed]
        for name in ("dice", "recall", "precision"):
            assert rows[name] == pytest.approx(getattr(metrics, name)(*flat))
    assert sorted(set(found.curves["step"])) == [1, 120]
    last = found.curves.query("loss == 'Dice' and step == 120")["dice"]
    np.testing.assert_array_equal(last, found.seeds("Dice"))
    assert list(found.table().index) == [
        ("Dice", 60),
        ("Dice", 120),
        ("cross-entropy", 60),
        ("cross-entropy", 120),
        ("best constant", 0),
    ]


def test_instance_maps_and_weights_go_to_the_loss_that_is_named():
    train, test = cells()
    loss = ShapeAwareLoss(from_logits=True)
    nothing = np.zeros(train.masks.shape, "float32")
    found = trial(
        {"shape-aware": loss, "Dice": DICE},
        train,
        test,
        steps=2,
        seeds=2,
        crop=32,
        labels={"shape-aware": train.instances},
        weights={"shape-aware": nothing},
    )
    start = trial({"Dice": DICE}, train, test, steps=1, seeds=2, crop=32, rate=1e-9)
    # With weights of 0 nothing is learnt: what is said is what the start says.
    same = found.probabilities["shape-aware"], start.probabilities["Dice"]
    np.testing.assert_allclose(*same, atol=1e-5)


def test_several_classes():
    train, test = (load("synthetic/streets", part, limit=2) for part in ("train", "test"))
    some = [(d.images[:, :32, :32], d.masks[:, :32, :32].clip(0, 2)) for d in (train, test)]
    some = [(images, masks % 3) for images, masks in some]
    some[1][1][0, 0, :3] = [0, 1, 2]  # each class occurs
    loss = CategoricalCrossEntropyLoss(from_logits=True)
    found = trial({"again": loss}, *some, steps=2, seeds=2, crop=None)
    assert found.probabilities["again"].shape == (2, 2, 32, 32, 3)
    np.testing.assert_allclose(found.probabilities["again"].sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.seeds("again"), found.seeds("cross-entropy"))
    assert found.table(["dice"]).loc[("best constant", 0), "dice"] != "0.00"


def test_the_best_cut_by_hand():
    p, y = np.array([[0.9, 0.4, 0.4, 0.1]]), np.array([[1, 1, 0, 0]])
    # 0.9 on: 2/3; 0.4 on: 2 · 2 / (3 + 2) = 0.8, the two equal ones together; all: 4/6.
    assert testbed._best_cut(p, y) == 0.4
    scores = testbed._scores(p, y, 0.4)
    assert scores["dice_cut"] == 0.8 and scores["dice"] == pytest.approx(2 / 3)
    assert scores["auc"] == pytest.approx(3.5 / 4)  # of four pairs one is a tie
    assert scores["area"] == pytest.approx(1.8 / 2)


@pytest.mark.parametrize(
    ("differences", "verb"),
    [
        ([0.10, 0.12, 0.11], "more"),
        ([-0.10, -0.12, -0.11], "less"),
        ([0.001, -0.001, 0.002], "equal within the margin"),
        ([0.1, -0.1, 0.02], "not decided"),
    ],
)
def test_verbs(differences, verb):
    scores = np.array([0.5, 0.7, 0.6])
    assert difference(scores + differences, scores).verb == verb


def test_a_verb_that_twice_the_steps_change_is_not_decided():
    found = trial({"Dice": DICE}, *cells(), steps=2, seeds=3, crop=None)
    longer = found.scores["steps"] == 4
    dice = found.scores["loss"] == "Dice"
    found.scores["dice"] = np.where(dice == longer, 0.9, 0.1) + 0.01 * found.scores["seed"]
    assert found.difference("Dice", steps=2).verb == "less"
    assert found.difference("Dice", steps=4).verb == "more"
    assert found.difference("Dice").verb == "not decided"
    assert list(found.differences()["verb"]) == ["not decided"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(crop=31), "`crop` must be even"),
        (dict(crop=64), "at most the side of an image, 48"),
        (dict(preparation="white"), "`preparation` must be one of"),
        (dict(steps=0), "`steps` must be a whole number"),
        (dict(labels={"Tversky": np.zeros(3)}, crop=None), "`labels` must name losses"),
        (dict(weights={"Dice": np.zeros(3)}, crop=None), "as the masks are"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        trial({"Dice": DICE}, *cells(), **options)


def test_odd_images_are_refused():
    train, test = cells()
    with pytest.raises(ValueError, match="must be even"):
        trial({"Dice": DICE}, train, (test.images[:, 1:], test.masks[:, 1:]))

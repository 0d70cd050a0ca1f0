import doctest
import json
import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from segloss_ref import analysis
from segloss_ref.verdicts import verdict

matplotlib.use("Agg")

NAMES = ["dataset", "run", "seed", "image", "metric", "value"]


def table(scores, metric="dice"):
    """From a dict {(dataset, run): values (seeds, images)}."""
    rows = [
        (dataset, run, seed, f"i{image}", metric, value)
        for (dataset, run), values in scores.items()
        for (seed, image), value in np.ndenumerate(np.asarray(values, float))
    ]
    return pd.DataFrame(rows, columns=NAMES)


def one_each(values, runs):
    """One seed and one image for each data set (row) and run (column)."""
    return table(
        {(f"d{i}", run): [[v]] for (i, j), v in np.ndenumerate(values) for run in [runs[j]]}
    )


def test_docstring_examples():
    failed, tried = doctest.testmod(analysis)
    assert failed == 0 and tried >= 12


def test_the_package_does_without_this_module():
    # Read from the files: a new process would load TensorFlow for this alone.
    package = Path(analysis.__file__).parent
    imports = re.compile(
        r"""^(from|import) .*\b(analysis|pandas)\b|require\("pandas""", re.MULTILINE
    )
    users = {path.name for path in package.rglob("*.py") if imports.search(path.read_text())}
    assert users == {"analysis.py", "testbed.py"}  # which asks for it where it makes a table


# --- The table ----------------------------------------------------------------------------------

CSV = "dataset,run,seed,image,metric,value\n"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "sweep.csv"
        path.write_text(text)
        return path

    return write


def test_read_table(written):
    text = "note,dataset,run,seed,image,metric,value\nx,d,NA,1,007,dice,0.5\n,d,NA,1,008,dice,\n"
    got = analysis.read_table(written(text + ",d,NA,2,007,dice,nan\n"))
    assert list(got.columns) == NAMES
    assert got["seed"].tolist() == [1, 1, 2] and got["value"].dtype == float
    assert got.iloc[0].tolist() == ["d", "NA", 1, "007", "dice", 0.5]
    assert got["value"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "sweep.csv: the file is empty"),
        ("dataset,run,seed,image,value\n", "no column 'metric'; it has 'dataset', 'run', 'seed'"),
        (CSV + "d,a,0,i,dice,1\nd,a,0.5,i,dice,1\n", "line 3: expected a seed.*got '0.5'"),
        (CSV + "d,a,0,i,dice,high\n", "line 2: expected a value.*got 'high'"),
        (CSV + "d,,0,i,dice,1\n", "line 2: expected a run, got ''"),
        (CSV + "d,a,0,i,dice,1\nd,a,0,i,dice,0\n", "sweep.csv: 1 rows score an image again.*'i'"),
    ],
)
def test_read_table_says_what_is_wrong(written, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        analysis.read_table(written(text))


def test_round_trip(written):
    made = table({("d", "a"): [[0.1, np.nan], [1 / 3, 0.2]]})
    pd.testing.assert_frame_equal(analysis.read_table(written(made.to_csv(index=False))), made)


@pytest.mark.parametrize("call", [analysis.summary, analysis.ranks])
def test_tables_that_cannot_be_read(call):
    good = table({("d", "a"): [[1, 2]], ("d", "b"): [[1, 2]]})
    with pytest.raises(ValueError, match="no metric 'iou': the table has 'dice'"):
        call(good, "iou")
    with pytest.raises(ValueError, match="no column 'value'"):
        call(good.drop(columns="value"), "dice")
    with pytest.raises(ValueError, match="4 rows score an image again"):
        call(pd.concat([good, good]), "dice")
    with pytest.raises(ValueError, match="lacks one of its names"):
        call(good.assign(image=["i0", None, "i0", "i1"]), "dice")
    with pytest.raises(ValueError, match="2 values of 'dice' are infinite"):
        call(good.replace(2, np.inf), "dice")
    with pytest.raises(ValueError, match="run 'a', seed 0 lacks 'i1'"):
        call(good.drop(index=1), "dice")


# --- Summary ------------------------------------------------------------------------------------


def test_summary_by_hand():
    made = table({("d", "a"): [[1, 2, 3], [3, 4, 8]], ("e", "a"): [[5, 5], [5, 5]]})
    d, e = analysis.summary(made, "dice").to_dict("records")
    assert (d["dataset"], d["run"], d["seeds"], d["images"], d["left_out"]) == ("d", "a", 2, 3, 0)
    assert d["mean"] == pytest.approx(3.5)  # seeds have 2 and 5
    assert d["spread"] == pytest.approx(np.sqrt(2 * 1.5**2))
    assert d["low"] < 2 and d["high"] > 5
    assert (e["mean"], e["spread"], e["low"], e["high"]) == (5, 0, 5, 5)


def test_summary_keeps_the_order_of_the_table_and_counts_seeds_of_each_run():
    made = table({("z", "b"): [[1, 2]], ("z", "a"): [[1, 2]] * 3, ("y", "b"): [[1, 2]]})
    got = analysis.summary(made, "dice")
    assert got[["dataset", "run", "seeds"]].to_numpy().tolist() == [
        ["z", "b", 1],
        ["z", "a", 3],
        ["y", "b", 1],
    ]


def test_read_table_of_published_runs(tmp_path):
    for seed in (0, 1):
        rows = table({("d", "a"): [[0.5, 0.6]]}).assign(seed=seed)
        rows.to_csv(tmp_path / f"a-{seed}.csv.gz", index=False)
    got = analysis.read_table(tmp_path)
    assert len(got) == 4 and sorted(set(got["seed"])) == [0, 1]
    rows.to_csv(tmp_path / "again.csv.gz", index=False)
    with pytest.raises(ValueError, match="2 rows score an image again"):
        analysis.read_table(tmp_path)
    other = tmp_path / "other.csv"
    rows.assign(dataset="e").to_csv(other, index=False)
    (tmp_path / "again.csv.gz").unlink()
    assert analysis.read_table(tmp_path, other).groupby("dataset").size().to_dict() == {
        "d": 4,
        "e": 2,
    }
    with pytest.raises(ValueError, match=r"other.*2 rows score an image again"):
        analysis.read_table(tmp_path, other, other)
    for read in (analysis.read_table, analysis.read_records):
        with pytest.raises(ValueError, match=f"{read.__name__} needs a path"):
            read()
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="the folder has no table"):
        analysis.read_table(tmp_path)


def test_scores_of_masks_have_one_name_with_and_without_a_cut():
    binary = table({("d", "a"): [[0.5, 0.6]]})
    binary = pd.concat([binary, binary.assign(metric="dice_at_cut", value=0.7)])
    classes = table({("e", "a"): [[0.1, 0.2]]})
    got = analysis.at_cut(pd.concat([binary, classes], ignore_index=True))
    one = got[got.metric == "dice_at_cut"]
    assert one.value.tolist() == [0.7, 0.7, 0.1, 0.2]
    assert got[got.metric == "dice"].value.tolist() == [0.5, 0.6, 0.1, 0.2] and len(got) == 8


def test_read_records_of_published_runs(tmp_path):
    for seed in (1, 0):
        told = {"dataset": "d", "run": "a", "seed": seed, "settings": {"loss": "DiceLoss"}}
        (tmp_path / f"a-{seed}.json").write_text(json.dumps({"runs": [told], "failed": []}))
    got = analysis.read_records(tmp_path)
    assert got.seed.tolist() == [0, 1] and got.settings[0] == {"loss": "DiceLoss"}
    one = tmp_path / "a-1.json"
    assert analysis.read_records(one).seed.tolist() == [1]
    assert analysis.read_records(tmp_path, one).seed.tolist() == [0, 1, 1]
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"other\.json: the file tells of no runs"):
        analysis.read_records(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="the folder has no record"):
        analysis.read_records(tmp_path / "empty")


def test_one_seed_has_no_spread_but_an_interval_over_images():
    scores = np.random.default_rng(0).normal(size=(1, 50))
    (row,) = analysis.summary(table({("d", "a"): scores}), "dice").to_dict("records")
    assert np.isnan(row["spread"]) and row["seeds"] == 1
    half = stats.t.ppf(0.975, 49) * scores.std(ddof=1) / np.sqrt(50)
    assert row["low"] == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert row["high"] == pytest.approx(scores.mean() + half, abs=0.1 * half)


def test_one_image_and_one_seed_have_no_interval():
    (row,) = analysis.summary(table({("d", "a"): [[0.7]]}), "dice").to_dict("records")
    assert row["mean"] == 0.7 and np.isnan([row["low"], row["high"], row["spread"]]).all()


def test_an_image_without_a_value_somewhere_is_left_out_everywhere():
    nan = np.nan
    made = table({("d", "a"): [[1, 2, 3], [1, nan, 3]], ("d", "b"): [[0, 9, 4], [0, 9, 4]]})
    a, b = analysis.summary(made, "dice").to_dict("records")
    assert (a["mean"], a["images"], a["left_out"]) == (2, 2, 1)
    assert (b["mean"], b["images"], b["left_out"]) == (2, 2, 1)
    (pair,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
    assert (pair["difference"], pair["images"], pair["left_out"]) == (0, 2, 1)
    assert analysis.ranks(made, "dice").average.tolist() == [1.5, 1.5]


def test_a_run_without_any_value_is_named():
    made = table({("d", "a"): [[1, 2]], ("d", "b"): [[np.nan, np.nan]]})
    with pytest.raises(ValueError, match=r"d: no image has a value.*run 'b', seed 0"):
        analysis.summary(made, "dice")


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_must_be_a_share(confidence):
    with pytest.raises(ValueError, match=r"`confidence` must be .* less than 1. Received"):
        analysis.summary(table({("d", "a"): [[1, 2]]}), "dice", confidence=confidence)


def test_higher_confidence_is_wider_and_repeats():
    made = table({("d", "a"): np.random.default_rng(1).normal(size=(5, 30))})
    narrow, wide = (analysis.summary(made, "dice", confidence=c) for c in (0.8, 0.99))
    assert wide["low"][0] < narrow["low"][0] < narrow["high"][0] < wide["high"][0]
    pd.testing.assert_frame_equal(wide, analysis.summary(made, "dice", confidence=0.99))


def coverage(seeds, images=40, over_images_alone=False):
    """How often the interval of 400 tables holds their true mean, 0.

    In the scores, seeds, images and chance all have their share.
    """
    random, hits = np.random.default_rng(seeds), 0
    for _ in range(400):
        of_seeds, of_images = random.normal(0, 0.03, (seeds, 1)), random.normal(0, 0.1, images)
        scores = of_seeds + of_images + random.normal(0, 0.05, (seeds, images))
        if over_images_alone:
            scores = scores.mean(axis=0, keepdims=True)
        low, high = analysis._interval(scores, 0.95)
        hits += low <= 0 <= high
    return hits / 400


def grouped(differences, groups):
    """Runs a and b that differ by this much, with the group of each image."""
    made = table({("d", "a"): differences, ("d", "b"): np.zeros_like(differences)})
    names = {f"i{image}": str(group) for image, group in enumerate(groups)}
    return made.assign(group=made["image"].map(names))


def test_groups_of_one_image_change_nothing():
    made = table({("d", "a"): np.random.default_rng(2).random((3, 8))})
    alone = made.assign(group=made["image"])
    pd.testing.assert_frame_equal(
        analysis.summary(alone, "dice"), analysis.summary(made, "dice"), rtol=1e-12
    )


def test_images_of_a_group_are_not_new():
    """Ten copies of each image add nothing, and groups say so."""
    scores = np.random.default_rng(3).random((4, 6))
    copies, groups = np.repeat(scores, 10, axis=1), np.repeat(range(6), 10)
    few = analysis.compare(grouped(scores, range(6)), "a", "b", "dice").iloc[0]
    many = analysis.compare(grouped(copies, groups), "a", "b", "dice").iloc[0]
    blind = analysis.compare(grouped(copies, range(60)), "a", "b", "dice").iloc[0]
    same = ["difference", "low", "high", "p_value", "p_seeds", "p_groups"]
    assert many[same].tolist() == pytest.approx(few[same].tolist())
    assert blind["high"] - blind["low"] < 0.8 * (many["high"] - many["low"])
    assert (many["images"], many["groups"], blind["groups"]) == (60, 6, 60)


def test_the_mean_is_over_images_whatever_the_groups():
    made = grouped([[0, 0, 0, 4], [2, 2, 2, 6]], "pppq")
    (row,) = analysis.summary(made[made["run"] == "a"], "dice").to_dict("records")
    assert (row["mean"], row["groups"]) == (2, 2)


def test_one_group_leaves_the_seeds():
    made = grouped([[1, 2], [2, 3], [3, 4]], "pp")
    (row,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert 2.5 - row["low"] == pytest.approx(half, rel=0.2)
    assert row["verdict"] == "not decided" and row["low"] < 2.5 < row["high"]


def test_an_image_has_one_group(written):
    made = grouped([[1, 2], [3, 4]], "pq")
    pd.testing.assert_frame_equal(analysis.read_table(written(made.to_csv(index=False))), made)
    torn = made.assign(group=list("pqppqqpq"))
    with pytest.raises(ValueError, match="one group, 'd', 'i0' has several"):
        analysis.summary(torn, "dice")
    with pytest.raises(ValueError, match=r"sweep\.csv: an image has one group"):
        analysis.read_table(written(torn.to_csv(index=False)))
    with pytest.raises(ValueError, match="lacks its group"):
        analysis.summary(made.assign(group=None), "dice")
    with pytest.raises(ValueError, match="line 2: expected a group, got ''"):
        analysis.read_table(written(made.assign(group="").to_csv(index=False)))


@pytest.fixture
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(analysis, "_RESAMPLES", 1000)  # for many tables


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_holds_the_truth_as_often_as_it_says(seeds):
    assert 0.93 <= coverage(seeds) <= 0.99


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_of_groups_holds_the_truth(seeds):
    """Twenty fields of one to five tiles; 400 tables, so that 95 % is known to about 2 %."""
    random, groups = np.random.default_rng(seeds), np.repeat(range(20), [1, 2, 3, 4, 5] * 4)
    blocked = blind = 0
    for _ in range(400):
        fields = random.normal(0, 0.1, 20)[groups]
        scores = random.normal(0, 0.005, (seeds, 1)) + fields
        scores = scores + random.normal(0, 0.03, (seeds, len(groups)))
        low, high = analysis._interval(scores, 0.95, groups)
        blocked += low <= 0 <= high
        low, high = analysis._interval(scores, 0.95)
        blind += low <= 0 <= high
    assert 0.92 <= blocked / 400 <= 0.99
    assert blind / 400 < 0.85  # what it would be with tiles for fields


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("seeds", [3, 5])
def test_an_interval_over_images_alone_would_not(seeds):
    """Why seeds are resampled."""
    assert coverage(seeds, over_images_alone=True) < 0.9


@pytest.mark.usefixtures("fewer_resamples")
def test_three_seeds_need_the_stretch(monkeypatch):
    """Why `c_n` has quantiles of t: without, the interval holds the truth too seldom."""
    monkeypatch.setattr(analysis.stats.t, "ppf", lambda q, n: stats.norm.ppf(q))
    assert coverage(3) < 0.92


def verdicts(true, seeds=5, tables=300):
    """Of tables whose runs differ by `true`, with seeds, fields and chance as on real sets."""
    random, groups = np.random.default_rng(7), np.repeat(range(20), 2)
    for _ in range(tables):
        d = true + random.normal(0, 0.005, (seeds, 1)) + random.normal(0, 0.01, 20)[groups]
        d = d + random.normal(0, 0.02, (seeds, 40))
        low, high = analysis._interval(d, 0.95, groups)
        yield (
            verdict(low, high, 0.01),
            verdict(low, high, 0),
            analysis._p_values(d, groups)["p_value"],
        )


@pytest.fixture
def no_signs(monkeypatch):
    monkeypatch.setattr(analysis, "_signs", lambda shares: None)  # slow, and not looked at


@pytest.mark.usefixtures("fewer_resamples", "no_signs")
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_verdicts_where_nothing_differs(seeds):
    """5 % of 300 tables are 15, and by chance up to 26 (three deviations)."""
    found = list(verdicts(0, seeds))
    wrong = [v in ("more", "less") for v, _, _ in found]
    without_margin = [v in ("more", "less") for _, v, _ in found]
    assert sum(wrong) <= 15 and sum(without_margin) <= 26
    assert sum(p <= 0.05 for _, _, p in found) <= 26
    equal = sum(v == "equal within the margin" for v, _, _ in found)
    assert {3: 0, 5: 60, 10: 200}[seeds] <= equal <= {3: 60, 5: 200, 10: 300}[seeds]


@pytest.mark.usefixtures("fewer_resamples", "no_signs")
def test_verdicts_where_the_difference_is_the_margin():
    """It is not called equal more often than one of its sides allows, 2.5 %: of 300 at most 16."""
    assert sum(v == "equal within the margin" for v, _, _ in verdicts(0.01)) <= 16


@pytest.mark.usefixtures("fewer_resamples", "no_signs")
def test_five_seeds_see_two_hundredths():
    found = list(verdicts(0.02))
    assert sum(v == "more" for v, _, _ in found) > 0.95 * len(found)
    assert sum(v == "less" for v, _, _ in verdicts(-0.02)) > 0.95 * len(found)


# --- Comparison ---------------------------------------------------------------------------------


def test_compare_by_hand():
    # Means over seeds differ by 1, 2, 0 and -3, so the signed ranks are 2, 3, 1 / 2 and -4.
    a, b = [[2, 4, 3, 1], [4, 6, 3, 1]], [[1, 2, 3, 4], [3, 4, 3, 4]]
    made = table({("d", "a"): a, ("d", "b"): b})
    (row,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
    assert row["difference"] == 0
    assert row["better"] == (1 + 1 + 0.5) / 4
    assert (row["seeds"], row["images"], row["left_out"]) == (2, 4, 0)
    (less,) = analysis.compare(made, "a", "b", "dice", higher_is_better=False).to_dict("records")
    assert less["better"] == 1.5 / 4 and less["p_value"] == row["p_value"]


def test_p_value_by_hand():
    # All of 5 images speak for a: of 2^5 choices of signs, two are as extreme.
    a = np.array([[1.1, 2.2, 3.3, 4.4, 5.5]])
    made = table({("d", "a"): a, ("d", "b"): a - [0.1, 0.2, 0.3, 0.4, 0.5]})
    (row,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
    assert row["p_groups"] == pytest.approx(2 / 32) and np.isnan(row["p_seeds"])
    assert row["p_value"] == pytest.approx(stats.ttest_1samp([0.1, 0.2, 0.3, 0.4, 0.5], 0).pvalue)
    assert row["better"] == 1
    # Seeds that differ by 1 and 3: of four choices of signs, two are as extreme.
    made = table({("d", "a"): [[1], [3]], ("d", "b"): [[0], [0]]})
    (row,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
    assert row["p_seeds"] == 2 / 4 and np.isnan(row["p_groups"])
    assert row["p_value"] == pytest.approx(stats.ttest_1samp([1, 3], 0).pvalue)


def test_variance_of_both_by_hand():
    # Seeds have -1, 0, 4, and the two groups, of two images and of one, 0 and 3: mean 1.
    d = np.array([[-2, -2, 1], [-1, -1, 2], [3, 3, 6]], float)
    (row,) = analysis.compare(grouped(d, "ppq"), "a", "b", "dice").to_dict("records")
    of_seeds = (2**2 + 1 + 3**2) / (3 * 2)
    of_groups = 2 * ((2 / 3) ** 2 * 1 + (1 / 3) ** 2 * 2**2)
    both = of_seeds + of_groups
    freedom = both**2 / (of_seeds**2 / 2 + of_groups**2 / 1)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(1 / np.sqrt(both), freedom))
    # Signs of the groups' sums 0 and 3: all four choices are as extreme.
    assert (row["p_groups"], row["groups"], row["images"]) == (1, 2, 3)


def test_signs_of_many_are_drawn_and_repeat():
    d = np.random.default_rng(0).normal(0.2, 1, (2, 20))
    first, again = (
        analysis.compare(grouped(d, range(20)), "a", "b", "dice").iloc[0] for _ in range(2)
    )
    assert first["p_groups"] == again["p_groups"]
    want = stats.ttest_1samp(d.mean(axis=0), 0).pvalue  # close to it where values are normal
    assert first["p_groups"] == pytest.approx(want, rel=0.3)


def test_the_comparison_is_paired():
    """Images differ by 1, seeds too, and the runs by 0.01: unpaired, that would not show."""
    random = np.random.default_rng(0)
    scores = random.normal(size=(3, 1)) + random.normal(size=50)
    b = scores + random.normal(0, 0.01, scores.shape)
    made = table({("d", "a"): scores + 0.01, ("d", "b"): b})
    (row,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
    assert 0 < row["low"] < row["difference"] < row["high"] < 0.02
    assert row["p_groups"] < 1e-3
    means = analysis.summary(made, "dice")
    assert means["low"].max() < means["mean"].min() < means["high"].min()


def test_a_comparison_turns_around():
    made = table({("d", r): x for r, x in zip("ab", np.random.default_rng(0).random((2, 4, 20)))})
    (ab,), (ba,) = (analysis.compare(made, *r, "dice").to_dict("records") for r in ("ab", "ba"))
    assert ab["difference"] == -ba["difference"] and ab["p_value"] == ba["p_value"]
    assert ab["better"] == pytest.approx(1 - ba["better"])
    assert [ab["low"], ab["high"]] == pytest.approx([-ba["high"], -ba["low"]], rel=0.05)


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.001, 0.02, "more"),
        (0.02, 0.03, "more"),
        (-0.02, -0.001, "less"),
        (-0.01, 0.01, "equal within the margin"),
        (0.001, 0.009, "equal within the margin"),  # not 0, and no matter
        (-0.011, 0.001, "not decided"),
        (0, 0.011, "not decided"),
        (np.nan, np.nan, "not decided"),
    ],
)
def test_verdict_by_hand(low, high, expected):
    assert verdict(low, high, 0.01) == expected
    assert expected in analysis.VERBS


def test_few_seeds_that_scatter_decide_nothing():
    d = np.array([[0.05], [0.02], [-0.01]]) + np.zeros(40)
    (row,) = analysis.compare(grouped(d, range(40)), "a", "b", "dice").to_dict("records")
    assert row["difference"] == pytest.approx(0.02)
    assert row["verdict"] == "not decided" and not row["beyond"]


def test_one_seed_or_one_group_decides_nothing():
    seed = grouped(np.full((1, 5), 0.1), range(5))
    group = grouped(np.full((5, 5), 0.1), "ppppp")
    for made in (seed, group):
        (row,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
        assert row["low"] == pytest.approx(0.1)
        assert row["verdict"] == "not decided" and not row["beyond"]


def test_beyond_the_margin():
    d = np.array([[0.02], [0.021], [0.019]]) + np.zeros(9)
    for sign, expected in ((1, "more"), (-1, "less")):
        made = grouped(sign * d, range(9))
        (row,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
        assert row["verdict"] == expected and row["beyond"]
        (row,) = analysis.compare(made, "a", "b", "dice", margin=0.02).to_dict("records")
        assert row["verdict"] == expected and not row["beyond"]
    with pytest.raises(ValueError, match=r"`margin` must be .* at least 0. Received: -1"):
        analysis.compare(made, "a", "b", "dice", margin=-1)


def test_the_same_scores_do_not_differ():
    # Up to rounding: 0.1 + 0.2 is not 0.3.
    made = table({("d", "a"): [[0.1 + 0.2, 0.5]], ("d", "b"): [[0.3, 0.5]]})
    (row,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)
    assert (row["p_value"], row["better"]) == (1, 0.5)


def test_seeds_decide_whether_losses_differ():
    """Where the seeds of a scatter, these networks differ on images and yet not the losses."""
    random = np.random.default_rng(0)
    a = np.array([[0.3], [0.0], [-0.1]]) + random.normal(0, 0.02, (3, 100))
    made = table({("d", "a"): a, ("d", "b"): random.normal(0, 0.02, (3, 100))})
    (row,) = analysis.compare(made, "a", "b", "dice").to_dict("records")
    assert row["p_groups"] < 1e-3 and row["low"] < 0 < row["high"]
    assert row["p_value"] > 0.5 and row["p_seeds"] > 0.5 and row["verdict"] == "not decided"


def test_compare_takes_the_data_sets_that_have_both():
    both = {("d", "a"): [[1, 2]], ("d", "b"): [[1, 3]], ("e", "c"): [[1, 2]]}
    assert analysis.compare(table(both), "a", "b", "dice")["dataset"].tolist() == ["d"]
    for one, other in ("ab", "ba"):
        with pytest.raises(ValueError, match=f"e: has run '{one}' but lacks run '{other}'"):
            analysis.compare(table(both | {("e", one): [[1, 2]]}), "a", "b", "dice")


def test_compare_refuses_what_is_not_paired():
    made = table({("d", "a"): [[1, 2, 3]], ("d", "b"): [[1, 2]]})
    with pytest.raises(ValueError, match=r"d: not scored on the same images: run 'b'.*'i2'"):
        analysis.compare(made, "a", "b", "dice")
    made = table({("d", "a"): [[1, 2]], ("d", "b"): [[1, 2], [1, 2]]})
    with pytest.raises(ValueError, match="d: run 'a' lacks seed '1' of run 'b'"):
        analysis.compare(made, "a", "b", "dice")
    with pytest.raises(ValueError, match="no run 'c' with 'dice': the table has 'a', 'b'"):
        analysis.compare(made, "a", "c", "dice")
    with pytest.raises(ValueError, match="got 'a' twice"):
        analysis.compare(made, "a", "a", "dice")


def test_many_missing_images_are_not_all_named():
    made = table({("d", r): np.zeros((3, 9)) for r in "ab"})
    made = made[(made["run"] == "a") | (made["image"] < "i2")]
    made = pd.concat([made, table({("d", "c"): np.zeros((1, 1))})])
    with pytest.raises(ValueError) as error:
        analysis.summary(made, "dice")
    text = "run 'b', seed 0 lacks 'i2', 'i3', 'i4', 'i5' and 3 more; "
    assert text in str(error.value) and str(error.value).endswith("; and 1 more")


# --- Several comparisons ------------------------------------------------------------------------


def test_holm():
    # In order: 6 * 0.002, 5 * 0.011, 4 * 0.012 and not less than 0.055, 3 * 0.03, 2 * 0.04, 0.2.
    p = [0.011, 0.002, 0.04, 0.03, 0.2, 0.012]
    want = [0.055, 0.012, 0.09, 0.09, 0.2, 0.055]  # statsmodels 0.15.0, multipletests
    assert analysis.holm(p) == pytest.approx(want)
    assert analysis.holm([0.6, 0.7]).tolist() == [1, 1]
    assert np.isnan(analysis.holm([np.nan, 0.02])).tolist() == [True, False]
    assert analysis.holm([np.nan, 0.02])[1] == 0.02  # one test, nothing to correct
    assert analysis.holm([]).size == 0
    with pytest.raises(ValueError, match=r"from 0 to 1. Received: \[1.5\]"):
        analysis.holm([0.5, 1.5])


def three_runs():
    random = np.random.default_rng(1)
    runs = {("d", r): random.normal(m, 0.1, (4, 9)) for r, m in zip("abc", (0, 0.1, 0.3))}
    return table(runs | {("e", r): random.normal(0, 0.1, (4, 5)) for r in "cb"})


def test_compare_all_pairs():
    made = three_runs()
    got = analysis.compare_all(made, "dice")
    assert got[["dataset", "a", "b"]].to_numpy().tolist() == [
        ["d", "a", "b"],
        ["d", "a", "c"],
        ["d", "b", "c"],
        ["e", "c", "b"],
    ]
    of_d = made[made["dataset"] == "d"]
    for (_, row), pair in zip(got.iterrows(), ["ab", "ac", "bc"]):
        (one,) = analysis.compare(of_d, *pair, "dice").to_dict("records")
        assert row[list(one)].to_dict() == one
    assert got["p_holm"][:3].tolist() == analysis.holm(got["p_value"][:3]).tolist()
    assert got["p_holm"][3] == got["p_value"][3]  # each data set is a family of its own


def test_compare_all_with_a_reference():
    made = three_runs()
    got = analysis.compare_all(made, "dice", "b", margin=1)
    assert got[["dataset", "a", "b"]].agg("".join, axis=1).tolist() == ["dab", "dcb", "ecb"]
    assert set(got["verdict"]) == {"equal within the margin"}
    with pytest.raises(ValueError, match="e: no run 'a': it has 'c', 'b'"):
        analysis.compare_all(made, "dice", "a")
    with pytest.raises(ValueError, match="d: two runs or more are compared, got 'a'"):
        analysis.compare_all(made[made["run"] == "a"], "dice")
    with pytest.raises(ValueError, match="no metric 'iou'"):
        analysis.compare_all(made, "iou")


# --- Ranks --------------------------------------------------------------------------------------

# Demšar 2006, table 6: areas under the ROC curve. Of the two 0.975 his ranks show the first to be
# the larger before rounding; 0.9751 stands for it.
DEMSAR = np.array(
    """
    0.763 0.768 0.771 0.798   0.599 0.591 0.590 0.569   0.954 0.971 0.968 0.967
    0.628 0.661 0.654 0.657   0.882 0.888 0.886 0.898   0.936 0.931 0.916 0.931
    0.661 0.668 0.609 0.685   0.583 0.583 0.563 0.625   0.775 0.838 0.866 0.875
    1.000 1.000 1.000 1.000   0.940 0.962 0.965 0.962   0.619 0.666 0.614 0.669
    0.972 0.981 0.9751 0.975  0.957 0.978 0.946 0.970
    """.split(),
    float,
).reshape(14, 4)
TREES = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]


def test_ranks_of_the_published_example():
    got = analysis.ranks(one_each(DEMSAR, TREES), "dice")
    assert got.average.index.tolist() == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert got.average.round(3).tolist() == [1.964, 2.000, 2.893, 3.143]
    assert got.by_dataset.loc["d5"].tolist() == [1, 2.5, 4, 2.5]
    assert got.critical_difference == pytest.approx(1.25, abs=0.005)
    at_ten = analysis.ranks(one_each(DEMSAR, TREES), "dice", alpha=0.1)
    assert at_ten.critical_difference == pytest.approx(1.12, abs=0.005)
    # He does not count ties: his sum of squares is that of ranks without any, 14 * 5.
    squares = ((got.by_dataset - 2.5) ** 2).to_numpy().sum()
    assert got.chi2 * squares / 70 == pytest.approx(9.28, abs=0.005)


def test_ranks_equal_other_libraries():
    """autorank 1.3.0 (nonparametric) and scikit-posthocs 0.17.1 (posthoc_nemenyi_friedman)."""
    values = np.random.default_rng(3).integers(0, 9, (12, 5)) / 10
    got = analysis.ranks(one_each(values, "abcde"), "dice")
    ranked = {"a": 31, "b": 35.5, "c": 32.5, "d": 40.5, "e": 40.5}  # sums over twelve
    assert got.average.to_dict() == pytest.approx({run: r / 12 for run, r in ranked.items()})
    assert got.critical_difference == pytest.approx(1.76076, abs=5e-5)
    assert got.p_value == pytest.approx(0.587777982460699)
    # The level at which a pair just differs is the p-value of Nemenyi's test.
    for pair, p in (("ad", 0.735929), ("ab", 0.977911), ("cd", 0.840223)):
        at = analysis.ranks(one_each(values, "abcde"), "dice", alpha=p).critical_difference
        assert at == pytest.approx(abs(np.subtract(*got.average[list(pair)])), abs=1e-4)


@pytest.mark.parametrize("runs", [3, 4, 9])
def test_friedman_equals_scipy(runs):
    values = np.random.default_rng(runs).integers(0, 5, (12, runs)).astype(float)
    got = analysis.ranks(one_each(values, [f"r{i}" for i in range(runs)]), "dice")
    want = stats.friedmanchisquare(*values.T)
    assert (got.chi2, got.p_value) == pytest.approx((want.statistic, want.pvalue))


@pytest.mark.parametrize(
    "alpha, published",
    [
        (0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
        (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
    ],
)
def test_critical_values_of_nemenyi(alpha, published):
    """Demšar 2006, table 5(a), for 2 to 10 runs."""
    for k, q in enumerate(published, 2):
        got = analysis._critical_difference(6, k, alpha) / np.sqrt(k * (k + 1) / 36)
        assert got == pytest.approx(q, abs=0.0015)


def test_ranks_by_hand():
    made = table({("d", "a"): [[1, 3]], ("d", "b"): [[2, 2]], ("d", "c"): [[4, 4], [0, 0]]})
    made = pd.concat([made, table({("e", r): [[x]] for r, x in zip("abc", (1, 2, 3))})])
    got = analysis.ranks(made, "dice")
    assert got.by_dataset.to_numpy().tolist() == [[2, 2, 2], [3, 2, 1]]
    assert got.average.to_dict() == {"c": 1.5, "b": 2, "a": 2.5}
    # χ² = (3 - 1) 2² (0.5² + 0.5²) / 2
    assert got.chi2 == pytest.approx(2) and got.p_value == pytest.approx(np.exp(-1))
    errors = analysis.ranks(made, "dice", higher_is_better=False)
    assert errors.average.to_dict() == {"a": 1.5, "b": 2, "c": 2.5}


def test_runs_that_tie_everywhere():
    got = analysis.ranks(one_each(np.array([[0.3, 0.1 + 0.2]] * 3), "ab"), "dice")
    assert got.average.tolist() == [1.5, 1.5] and (got.chi2, got.p_value) == (0, 1)


def test_one_data_set_has_ranks_and_no_test():
    got = analysis.ranks(one_each(np.array([[1, 3, 2]]), "abc"), "dice")
    assert got.average.to_dict() == {"b": 1, "c": 2, "a": 3}
    assert np.isnan(got[2:]).all()


def test_ranks_refuses():
    made = table({("d", "a"): [[1]], ("d", "b"): [[1]], ("e", "a"): [[1]]})
    with pytest.raises(ValueError, match="e: lacks run 'b'"):
        analysis.ranks(made, "dice")
    with pytest.raises(ValueError, match="two runs or more, got 'a'"):
        analysis.ranks(made[made["run"] == "a"], "dice")
    with pytest.raises(ValueError, match=r"`alpha` must be .* less than 1. Received: 5"):
        analysis.ranks(made, "dice", alpha=5)


# --- Diagram ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "average, critical, groups",
    [
        ([1, 2, 3], 1, []),  # at least CD apart is different
        ([1, 2, 3], 1.1, [(0, 1), (1, 2)]),
        ([1, 1, 3, 3], 0.5, [(0, 1), (2, 3)]),
        ([1, 1.5, 2, 4], 1.2, [(0, 2)]),  # 1.5 and 2 are joined already
        ([1, 2, 3], np.nan, []),
    ],
)
def test_groups_by_hand(average, critical, groups):
    assert analysis._groups(np.array(average, float), critical) == groups


def drawn(values, runs, **settings):
    ax = analysis.critical_difference_diagram(
        analysis.ranks(one_each(values, runs), "dice", **settings)
    )
    ax.figure.canvas.draw()
    return ax, [text.get_text().strip() for text in ax.texts]


def test_diagram():
    ax, texts = drawn(DEMSAR, TREES, alpha=0.1)
    assert {"C4.5+m+cf (1.96)", "C4.5 (3.14)", "1", "4"} <= set(texts)
    assert "CD 1.12 (Friedman: p = 0.017)" in texts
    assert ax.get_xlim() == (4, 1)  # the best at the right
    # The two groups of figure 1(a): all but C4.5, and C4.5 with C4.5+cf.
    bars = [sorted(line.get_xdata()) for line in ax.lines if line.get_linewidth() == 4]
    assert np.allclose(bars, [[1.964, 2.893], [2.893, 3.143]], atol=0.04)
    inside = ax.figure.bbox
    for text in ax.texts:
        box = text.get_window_extent()
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and box.y1 <= inside.y1
    plt.close(ax.figure)


def test_diagram_of_one_data_set():
    ax, texts = drawn(np.array([[1, 3, 2]]), "abc")
    assert "one data set: no test" in texts
    assert not [line for line in ax.lines if line.get_linewidth() == 4]
    plt.close(ax.figure)


def test_diagram_in_given_axes():
    figure, ax = plt.subplots()
    got = analysis.critical_difference_diagram(analysis.ranks(one_each(DEMSAR, TREES), "dice"), ax)
    assert got is ax and figure.axes == [ax]
    plt.close(figure)

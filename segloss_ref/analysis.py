"""Reads the table that a sweep makes: means with intervals, paired comparisons, ranks.

The replicates of a training are its seeds, and those of the data are groups of images.

The table has one row per data set, run, training seed, test image and metric, in the columns
`dataset, run, seed, image, metric, value`. A run is the name of a loss with its settings. Within a
data set all seeds of all runs are scored on the same images.

A column `group` may say which images belong together, being tiles of one field, sections of one
block, eyes of one subject or patches of one photograph. Groups are then resampled whole, because
a new image of a known subject tells less than one of a new subject. Without the column each image
is a group of its own. **What is estimated is always the mean over images**, so that a group counts
by the number of its images. Where groups are in another place, `table["group"] =
table["image"].map(groups)` brings them in.

Some metrics have no value, NaN, on some images: a class that does not occur has no Dice. One rule
holds everywhere: **an image that lacks a value in any seed of any run that is looked at is left out
of all of them**, so that runs are judged on the same images; the results count how many. A metric
must therefore lack its value because of the image. One that gives 0 to a false alarm and NaN to
the run that rightly finds nothing hides the false alarms.

This module needs pandas and the pictures need matplotlib: `pip install "segloss_ref[plots]"`.
"""

import json
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from segloss_ref.checks import check_number
from segloss_ref.extras import require
from segloss_ref.verdicts import verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = require("pandas", extra="plots")

__all__ = [
    "SIGNS",
    "VERBS",
    "Ranks",
    "as_text",
    "at_cut",
    "compare",
    "compare_all",
    "critical_difference_diagram",
    "holm",
    "ranks",
    "read_records",
    "read_table",
    "summary",
]

#: The verdicts of `compare`, and the verb that a text has for each: "a VERB b".
VERBS = {
    "more": "is above",
    "less": "is below",
    "equal within the margin": "matches",
    "not decided": "is not told apart from",
}

#: The same as a sign, for the cells of a table.
SIGNS = {"more": ">", "less": "<", "equal within the margin": "=", "not decided": "?"}

_NAMES = ["dataset", "run", "seed", "image", "metric"]  # together they name one value
_RESAMPLES = 5000
_PERMUTATIONS = 9999  # all of them, where there are no more: up to 13 seeds or groups
_DIGITS = 12  # means that differ by rounding alone, 0.1 + 0.2 and 0.3, are tied


# --- The table ----------------------------------------------------------------------------------


def read_table(*paths: str | PathLike[str] | TextIO) -> pd.DataFrame:
    """Reads the tables of sweeps from CSV files and checks them.

    Args:
        paths: Of a file. It has the columns `dataset, run, seed, image, metric, value`, and may
            have `group`; others are not read. An empty value is NaN. Or of a folder of
            `segloss_ref.sweep.publish`, whose files `*.csv.gz` are read one after the other. Of
            several paths one table is made, which has no image twice either.

    Returns:
        A pandas DataFrame with these columns: `seed` of integers, `value` of float64, the others of
        strings as they stand in the file.

    Raises:
        ValueError: If the file is empty, lacks a column or a name, holds a seed that is no integer
            or a value that is no number, scores an image twice, or has it in two groups. The
            message names file and line. If a folder has no table, or there is no path.

    Example:
        >>> import io
        >>> read_table(io.StringIO("dataset,run,seed,image,metric,value\\nnuclei,BCE,0,a,dice,0.8"))
          dataset  run  seed image metric  value
        0  nuclei  BCE     0     a   dice    0.8
    """
    tables = [_read_file(file) for path in paths for file in _files(path, "*.csv.gz", "table")]
    if not tables:
        raise ValueError("read_table needs a path, of a file or a folder. Received: none")
    table = pd.concat(tables, ignore_index=True)
    if len(tables) > 1:
        where = _few(paths)
        _check_once(table, where)
        _check_groups(table, where)
    return table


def _files(path, pattern, kind):
    """The path as it is, or the files of a folder."""
    if not (isinstance(path, str | PathLike) and Path(path).is_dir()):
        return [path]
    files = sorted(Path(path).glob(pattern))
    if not files:
        raise ValueError(f"{path}: the folder has no {kind}, no file {pattern}")
    return files


def _read_file(path):
    try:
        # As strings, so that a run may be named "NA" and an image "007".
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: the file is empty; a table begins with its columns") from None
    _check_columns(table, path)
    grouped = [name for name in ["group"] if name in table.columns]
    table = table[[*_NAMES, "value", *grouped]]
    for name in [*_NAMES, *grouped]:
        _refuse(table[name] == "", table[name], path, f"a {name}")
    _refuse(~table["seed"].str.fullmatch(r"[+-]?\d+"), table["seed"], path, "a seed, an integer")
    value = pd.to_numeric(table["value"], errors="coerce")
    absent = table["value"].str.strip().str.lower().isin(["", "nan"])
    _refuse(value.isna() & ~absent, table["value"], path, "a value, a number or nothing")
    table = table.assign(seed=table["seed"].astype(int), value=value.astype(float))
    _check_once(table, path)
    _check_groups(table, path)
    return table


def read_records(*paths: str | PathLike[str]) -> pd.DataFrame:
    """Reads what is recorded of the runs of a table: settings, tuning, seconds and the like.

    Args:
        paths: Of a JSON file that `segloss_ref.sweep.gather` has written beside a table, or of a
            folder of `segloss_ref.sweep.publish`, which has one for each run.

    Returns:
        A DataFrame with one row per run: `dataset`, `run` and `seed`, by which it belongs to the
        rows of `read_table`, and a column for each thing recorded, with a dict or a list where it
        has parts (`settings`, `tuning`, `history`). NaN where a run has no record of it.

    Raises:
        ValueError: If a folder has no such file, a file is of another kind, or there is no path.

    Example:
        >>> records = read_records("data/results/comparison_masks")
        >>> cracks = records[(records.dataset == "cracks") & (records.run == "Dice")]
        >>> cracks.learning_rate.tolist()
        [0.01, 0.01, 0.01]
    """
    files = [Path(file) for path in paths for file in _files(path, "*.json", "record")]
    if not files:
        raise ValueError("read_records needs a path, of a file or a folder. Received: none")
    return pd.DataFrame([run for file in files for run in _runs_of(file)])


def at_cut(table: pd.DataFrame) -> pd.DataFrame:
    """One name for the score of a mask, whether it was cut at a threshold or not.

    Binary maps are scored at one half and, as `dice_at_cut` and the like, at the threshold that
    was best on the validation images. With several classes there is no threshold: each pixel gets
    its most probable class.

    Args:
        table: The table, as the module describes it.

    Returns:
        The table, with the scores of data sets that have no threshold a second time, as
        `dice_at_cut` and the like.

    Example:
        >>> names = ["dataset", "run", "seed", "image", "metric", "value"]
        >>> rows = [("nuclei", "Dice", 0, "a", "dice", 0.7), ("nuclei", "Dice", 0, "a",
        ...         "dice_at_cut", 0.8), ("streets", "Dice", 0, "b", "dice", 0.6)]
        >>> found = at_cut(pd.DataFrame(rows, columns=names))
        >>> found[found.metric == "dice_at_cut"].value.tolist()
        [0.8, 0.6]
    """
    has_cut = table["dataset"].isin(table["dataset"][table["metric"].str.endswith("_at_cut")])
    rows = table[~has_cut]
    again = rows.assign(metric=rows["metric"] + "_at_cut")
    return pd.concat([table, again], ignore_index=True)


def _runs_of(file):
    told = json.loads(file.read_text(encoding="utf-8"))
    if not (isinstance(told, dict) and isinstance(told.get("runs"), list)):
        raise ValueError(f"{file}: the file tells of no runs; it must lie beside a sweep's table")
    return told["runs"]


def _check_columns(table, source):
    missing = [name for name in [*_NAMES, "value"] if name not in table.columns]
    if missing:
        raise ValueError(f"{source}: no column {_few(missing)}; it has {_few(table.columns, 9)}")


def _check_once(table, source):
    if table[_NAMES].isna().any(axis=None):
        raise ValueError(f"{source}: a row lacks one of its names, {_few(_NAMES, 5)}")
    twice = table.duplicated(_NAMES)
    if twice.any():
        row = table.loc[twice, _NAMES].iloc[0].to_dict()
        raise ValueError(f"{source}: {twice.sum()} rows score an image again, the first {row}")


def _check_groups(table, source):
    if "group" not in table.columns:
        return
    if table["group"].isna().any():
        row = table.loc[table["group"].isna(), _NAMES].iloc[0].to_dict()
        raise ValueError(f"{source}: a row lacks its group, the first {row}")
    many = table.groupby(["dataset", "image"])["group"].nunique()
    if (many > 1).any():
        dataset, image = many.idxmax()
        raise ValueError(f"{source}: an image has one group, {dataset!r}, {image!r} has several")


def _refuse(wrong, column, path, wanted):
    if wrong.any():
        line = int(wrong.to_numpy().argmax())
        raise ValueError(f"{path}, line {line + 2}: expected {wanted}, got {column.iloc[line]!r}")


def _few(names, most=4):
    names = [str(name) for name in names]
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest


class _Scores(NamedTuple):
    """The scores of a data set: for each run a DataFrame (seeds, images)."""

    dataset: str
    runs: "dict[str, pd.DataFrame]"
    groups: np.ndarray  # of each image, the number of its group
    left_out: int  # images without a value


def _scores(table, metric, runs=None):
    """Yields the scores of each data set."""
    _check_columns(table, "the table")
    rows = table[table["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no metric {metric!r}: the table has {_few(table['metric'].unique(), 9)}")
    unknown = set(runs or ()) - set(rows["run"])
    if unknown:
        has = _few(rows["run"].unique(), 9)
        raise ValueError(f"no run {_few(sorted(unknown))} with {metric!r}: the table has {has}")
    rows = rows[rows["run"].isin(runs)] if runs else rows
    _check_once(rows, "the table")
    _check_groups(rows, "the table")
    infinite = np.isinf(rows["value"].astype(float))
    if infinite.any():
        raise ValueError(
            f"{infinite.sum()} values of {metric!r} are infinite, and have no mean: give them a "
            "finite worst value, or NaN to leave their images out"
        )
    for dataset, part in rows.groupby("dataset", sort=False):
        yield _arranged(dataset, part)


def _arranged(dataset, rows):
    def wide(values):
        return rows.assign(cell=values).pivot(index=["run", "seed"], columns="image", values="cell")

    # Before the values, since a row that is not there and a value that is NaN look alike in them.
    _check_same_images(dataset, wide(True).isna())
    values = wide(rows["value"].astype(float))
    valued = values.notna().all()
    if not valued.any():
        run, seed = values.isna().sum(axis=1).idxmax()
        raise ValueError(
            f"{dataset}: no image has a value in every run and seed; the fewest have run {run!r}, "
            f"seed {seed}: take it out of the table"
        )
    values = values.loc[:, valued]
    group = values.columns.to_series()
    if "group" in rows.columns:
        group = rows.drop_duplicates("image").set_index("image")["group"][values.columns]
    runs = {run: values.loc[run] for run in rows["run"].unique()}
    return _Scores(dataset, runs, group.factorize()[0], int((~valued).sum()))


def _check_same_images(dataset, missing):
    gaps = missing[missing.any(axis=1)]
    if len(gaps):
        lack = [
            f"run {run!r}, seed {seed} lacks {_few(row.index[row])}"
            for (run, seed), row in gaps.iloc[:3].iterrows()
        ]
        rest = f"; and {len(gaps) - 3} more" if len(gaps) > 3 else ""
        raise ValueError(f"{dataset}: not scored on the same images: {'; '.join(lack)}{rest}")


# --- Means and their intervals ------------------------------------------------------------------


def summary(table: pd.DataFrame, metric: str, *, confidence: float = 0.95) -> pd.DataFrame:
    """Mean of each run on each data set, its spread over seeds, and a bootstrap interval.

    With the mean `x̄` over seeds and images, the mean `s̄*` of resampled seeds and the mean `m̄*` over
    the images of resampled groups, the interval holds the middle quantiles of

    `x̄ + c_S (s̄* - x̄) + c_G (m̄* - x̄)`

    Seeds and groups are resampled independently, since each seed is scored on the same images. A
    group comes with all its images: `m̄* = Σ n_g m_g / Σ n_g` over the groups drawn, with their
    numbers of images `n_g` and means `m_g`. So the interval speaks of a new training and new
    groups, where one over images alone speaks of the networks at hand.
    `c_n = √(n / (n - 1)) t_(n-1) / z`, a ratio of quantiles, makes up for few seeds or groups:
    without it, three seeds would give an interval that holds the truth 9 times in 10 or less. Two
    seeds have one difference to judge by, and give a very wide one; an interval may go beyond the
    range of the metric. The scatter of single values counts twice in it: it is wider than need be
    where neither seeds nor groups differ in their means. It is too narrow where one group of many
    has most of the images.

    Args:
        table: The table, as the module describes it.
        metric: Name of a metric.
        confidence: Of the interval, between 0 and 1.

    Returns:
        A DataFrame with one row per data set and run: `dataset`, `run`, `mean`, `spread` (standard
        deviation over seeds, with n - 1, of the mean over images), `low` and `high` (the interval),
        `seeds`, `images`, `groups`, `left_out` (images without a value). One seed has no spread,
        NaN, and its interval is over groups alone; with one group it is over seeds alone; one seed
        and one group have no interval.

    Raises:
        ValueError: If the table lacks the metric, holds infinite values of it, or has a run or seed
            that lacks images, or an image in two groups; if `confidence` is not between 0 and 1.

    Example:
        >>> names = ["dataset", "run", "seed", "image", "metric", "value"]
        >>> rows = [("d", "BCE", 0, 0, "dice", 0.6), ("d", "BCE", 0, 1, "dice", 0.8),
        ...         ("d", "BCE", 1, 0, "dice", 0.7), ("d", "BCE", 1, 1, "dice", 0.9)]
        >>> means = summary(pd.DataFrame(rows, columns=names), "dice")
        >>> means[["dataset", "run", "mean", "spread", "seeds", "images"]].round(3)
          dataset  run  mean  spread  seeds  images
        0       d  BCE  0.75   0.071      2       2

    Source: Owen 2007, doi:10.1214/07-AOAS122, which resamples rows and columns of a crossed table,
    and counts the scatter three times; Hesterberg 2015, doi:10.1080/00031305.2015.1089789, the
    expanded percentile interval, for `c_n`.
    """
    check_number("confidence", confidence, above=0, below=1)
    found = []
    for part in _scores(table, metric):
        for run, scores in part.runs.items():
            means = scores.mean(axis=1)
            low, high = _interval(scores.to_numpy(), confidence, part.groups)
            row = {"dataset": part.dataset, "run": run}
            row |= {"mean": means.mean(), "spread": means.std(), "low": low, "high": high}
            found.append(row | _counts(scores, part))
    return pd.DataFrame(found)


def compare(
    table: pd.DataFrame,
    a: str,
    b: str,
    metric: str,
    *,
    margin: float = 0.01,
    higher_is_better: bool = True,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compares two runs on the same images and seeds of each data set.

    With the difference `d = a - b` of each seed and image, the interval is that of `summary` for
    `d`: each resample takes the same seeds and groups for both runs. The verdict is read from it:

    * "equal within the margin" if the interval lies in `[-margin, margin]`, also where it leaves
      out 0: such a difference is there and does not matter;
    * else "more" if `low > 0`, and "less" if `high < 0`: a has more of the metric, which for an
      error is worse; `beyond` says whether the whole interval lies outside of the margin;
    * else "not decided": so little is known that neither can be said.

    With one seed or one group the verdict is "not decided", since half of what it speaks of was
    seen once. `VERBS` has the verb for each.

    There are three p-values, and none is corrected for several comparisons (`compare_all` is).

    * `p_value` asks what the interval asks: do *the losses* differ, on new seeds and new groups?
      It is that of `t = d̄ / √(v_S + v_G)`, with the variances of `d̄` over seeds and over groups,
      `v_S = Σ_s (d_s - d̄)² / (S (S - 1))` and `v_G = G / (G - 1) Σ_g (n_g / n)² (d_g - d̄)²`, and
      Satterthwaite's degrees of freedom `(v_S + v_G)² / (v_S² / (S - 1) + v_G² / (G - 1))`.
    * `p_seeds` asks whether they differ *on these images*, for new seeds: where the two do not
      differ, the mean of a seed could as well have the other sign. All choices of signs are tried,
      or 9999 random ones where there are more. Five seeds cannot give less than 1/16.
    * `p_groups` asks whether *these networks* differ, on new groups, with the signs of the groups'
      sums. It is small where one of the losses was lucky with its seeds, and says nothing of that.

    No choice of signs is exact for seeds and groups at once. In simulations of losses that do not
    differ, where seeds and groups scatter alike, `p_groups` was below 0.05 in up to 20 % of tables,
    the larger of both in up to 10 %, and `p_value` in 5 %.

    Args:
        table: The table, as the module describes it.
        a, b: Names of two runs.
        metric: Name of a metric.
        margin: Differences up to this one do not matter, in units of the metric. The default suits
            Dice; 0 has no equality.
        higher_is_better: Whether more of the metric is better, for `better` alone.
        confidence: Of the interval, between 0 and 1.

    Returns:
        A DataFrame with one row per data set that has the two runs: `dataset`, `difference` of the
        means, a minus b, `low` and `high` (its interval), `verdict`, `beyond`, `p_value`,
        `p_seeds` and `p_groups` (NaN for one seed or one group), `better` (share of images on which
        a is better; equal images count half), `seeds`, `images`, `groups`, `left_out`.

    Raises:
        ValueError: As in `summary`; also if a run is not in the table, or a data set has one of the
            two without the other, or has them with other images or seeds: the message names them;
            or if the margin is negative.

    Example:
        >>> names = ["dataset", "run", "seed", "image", "metric", "value"]
        >>> rows = [("d", "BCE", 0, 0, "dice", 0.6), ("d", "BCE", 0, 1, "dice", 0.8),
        ...         ("d", "Dice", 0, 0, "dice", 0.7), ("d", "Dice", 0, 1, "dice", 0.8)]
        >>> found = compare(pd.DataFrame(rows, columns=names), "Dice", "BCE", "dice")
        >>> found[["dataset", "difference", "verdict", "better", "images"]].round(3)
          dataset  difference      verdict  better  images
        0       d        0.05  not decided    0.75       2

    Source: Satterthwaite 1946, doi:10.2307/3002019, equation 17, for the degrees of freedom; Fisher
    1935, The Design of Experiments, section 21, for the choice of signs; Schuirmann 1987,
    doi:10.1007/BF01068419, for equivalence, which he judges at the confidence 1 - 2 α: the verdict
    "equal within the margin" at 0.95 has α = 0.025. The interval: see `summary`.
    """
    if a == b:
        raise ValueError(f"two runs are compared, got {a!r} twice")
    check_number("margin", margin, at_least=0)
    check_number("confidence", confidence, above=0, below=1)
    found = []
    for part in _scores(table, metric, (a, b)):
        _check_pair(part.dataset, part.runs, a, b)
        difference = (part.runs[a] - part.runs[b]).round(_DIGITS)
        low, high = _interval(difference.to_numpy(), confidence, part.groups)
        of_images = difference.mean().round(_DIGITS)
        gain = np.sign(of_images if higher_is_better else -of_images)
        row = {"dataset": part.dataset, "difference": of_images.mean(), "low": low, "high": high}
        counts = _counts(difference, part)
        replicated = min(counts["seeds"], counts["groups"]) > 1
        row["verdict"] = verdict(low, high, margin) if replicated else "not decided"
        row["beyond"] = bool(replicated and (low > margin or high < -margin))
        row |= _p_values(difference.to_numpy(), part.groups)
        found.append(row | {"better": ((gain + 1) / 2).mean()} | counts)
    return pd.DataFrame(found)


def compare_all(
    table: pd.DataFrame,
    metric: str,
    reference: str | None = None,
    *,
    margin: float = 0.01,
    higher_is_better: bool = True,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compares each pair of runs, or each run with a reference, and corrects for their number.

    Holm's correction is over the comparisons of one data set: under any dependence between them,
    the probability that one or more of the losses that do not differ gets `p_holm <= α` is at most
    `α`. Intervals and verdicts are those of `compare`, each at the given confidence: uncorrected.

    Args:
        table: The table, as the module describes it.
        metric: Name of a metric.
        reference: Name of a run; by default each pair is compared, in the order of the table.
        margin, higher_is_better, confidence: As in `compare`.

    Returns:
        The DataFrame of `compare` for all comparisons, with the columns `a` and `b` after `dataset`
        and `p_holm`, the corrected `p_value`, after `p_value`. With a reference, it is `b`.

    Raises:
        ValueError: As in `compare`; also if there are fewer than two runs.

    Example:
        >>> names = ["dataset", "run", "seed", "image", "metric", "value"]
        >>> rows = [("d", run, seed, image, "dice", value + 0.1 * seed + 0.01 * image * seed)
        ...         for run, value in [("BCE", 0.5), ("Dice", 0.5), ("Focal", 0.7)]
        ...         for seed in range(3) for image in range(4)]
        >>> found = compare_all(pd.DataFrame(rows, columns=names), "dice", "BCE")
        >>> found[["a", "b", "difference", "verdict", "p_holm"]].round(3)
               a    b  difference                  verdict  p_holm
        0   Dice  BCE         0.0  equal within the margin     1.0
        1  Focal  BCE         0.2                     more     0.0

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    parts = [
        _pairs(rows, metric, reference, margin, higher_is_better, confidence)
        for _, rows in table.groupby("dataset", sort=False)
        if (rows["metric"] == metric).any()
    ]
    if not parts:  # as `compare` says it
        next(_scores(table, metric))
    return pd.concat(parts, ignore_index=True)


def as_text(found: pd.DataFrame, *, interval: bool = True) -> pd.Series:
    """Each comparison as the cell of a table: the difference, its interval, the verdict's sign.

    Args:
        found: What `compare` or `compare_all` gives, with any index.
        interval: Whether the interval is in it.

    Returns:
        A Series with the index of `found`. The signs are those of `SIGNS`.

    Example:
        >>> rows = {"difference": [0.018], "low": [-0.002], "high": [0.041]}
        >>> found = pd.DataFrame(rows | {"verdict": ["not decided"]})
        >>> as_text(found)[0], as_text(found, interval=False)[0]
        ('+0.018 (-0.002, +0.041) ?', '+0.018 ?')
    """
    written = {name: found[name].map("{:+.3f}".format) for name in ("difference", "low", "high")}
    between = " (" + written["low"] + ", " + written["high"] + ") " if interval else " "
    return written["difference"] + between + found["verdict"].map(SIGNS)


def _pairs(rows, metric, reference, margin, higher_is_better, confidence):
    dataset, runs = rows["dataset"].iloc[0], rows.loc[rows["metric"] == metric, "run"].unique()
    if reference is not None and reference not in runs:
        raise ValueError(f"{dataset}: no run {reference!r}: it has {_few(runs, 9)}")
    if len(runs) < 2:
        raise ValueError(f"{dataset}: two runs or more are compared, got {_few(runs)}")
    pairs = list(combinations(runs, 2))
    if reference is not None:
        pairs = [(run, reference) for run in runs if run != reference]
    settings = dict(margin=margin, higher_is_better=higher_is_better, confidence=confidence)
    found = pd.concat(
        [compare(rows, a, b, metric, **settings) for a, b in pairs], ignore_index=True
    )
    found.insert(1, "a", [a for a, _ in pairs])
    found.insert(2, "b", [b for _, b in pairs])
    found.insert(found.columns.get_loc("p_value") + 1, "p_holm", holm(found["p_value"]))
    return found


def holm(p_values: ArrayLike) -> np.ndarray:
    """P-values corrected for their number by Holm's method.

    Of `m` p-values, the `i`-th smallest becomes `max_(j <= i) min(1, (m - j + 1) p_(j))`.

    Args:
        p_values: Numbers from 0 to 1, or NaN where there was no test: it stays, and is not counted.

    Returns:
        An array in the same order.

    Raises:
        ValueError: If a number is not from 0 to 1.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(3).tolist()  # 3 · 0.01; 2 · 0.03; not less: 0.06
        [0.03, 0.06, 0.06]

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    p = np.asarray(p_values, float)
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"p-values must be from 0 to 1. Received: {p[(p < 0) | (p > 1)].tolist()}")
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    corrected = p.copy()
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def _check_pair(dataset, runs, a, b):
    pairs = (a, b), (b, a)
    for one, other in pairs:
        if other not in runs:
            raise ValueError(f"{dataset}: has run {one!r} but lacks run {other!r}")
    for one, other in pairs:
        extra = runs[one].index.difference(runs[other].index)
        if len(extra):
            raise ValueError(f"{dataset}: run {other!r} lacks seed {_few(extra)} of run {one!r}")


def _counts(scores, part):
    groups = int(part.groups.max()) + 1
    images = {"images": scores.shape[1], "groups": groups, "left_out": part.left_out}
    return {"seeds": len(scores)} | images


def _p_values(differences, groups):
    """Of differences (seeds, images): as `compare` says it."""
    mean, sizes = differences.mean(), np.bincount(groups)
    of_seeds = differences.mean(axis=1) / len(differences)  # both add up to the mean
    of_groups = np.bincount(groups, differences.mean(axis=0)) / len(groups)
    weights = sizes / len(groups)
    parts = [_variance(of_seeds - mean / len(of_seeds)), _variance(of_groups - mean * weights)]
    return {
        "p_value": _satterthwaite(mean, [part for part in parts if part[1] > 0]),
        "p_seeds": _signs(of_seeds),
        "p_groups": _signs(of_groups),
    }


def _variance(shares):
    """Variance of the sum of deviations, and its degrees of freedom."""
    n = len(shares)
    return (n / (n - 1) * np.sum(shares**2) if n > 1 else 0.0), n - 1


def _satterthwaite(mean, parts):
    variance = sum(v for v, _ in parts)
    if not parts:
        return np.nan
    if variance <= 10.0 ** (-2 * _DIGITS):  # of rounding alone
        return 1.0 if abs(mean) <= 10.0**-_DIGITS else 0.0
    freedom = variance**2 / sum(v**2 / n for v, n in parts)
    return float(2 * stats.t.sf(abs(mean) / np.sqrt(variance), freedom))


def _signs(shares):
    """P-value of a sum when each of its parts could have the other sign."""
    if len(shares) == 1:
        return np.nan
    random = np.random.default_rng(0)
    found = stats.permutation_test(
        [shares.round(_DIGITS + 3)],
        np.sum,
        permutation_type="samples",
        n_resamples=_PERMUTATIONS,
        vectorized=True,
        random_state=random,
    )
    return float(found.pvalue)


def _interval(scores, confidence, groups=None):
    """Bootstrap interval for the mean of scores (seeds, images); `summary` says how."""
    groups = np.arange(scores.shape[1]) if groups is None else groups
    sizes = np.bincount(groups)
    if len(scores) == len(sizes) == 1:
        return np.nan, np.nan
    # One generator state for all: runs on the same images meet the same resamples.
    random = np.random.default_rng(0)
    tail = (1 - confidence) / 2
    of_seeds, of_groups = scores.mean(axis=1), np.bincount(groups, scores.mean(axis=0))
    shifts = _shifts(of_seeds, np.ones(len(scores)), tail, random)
    shifts = shifts + _shifts(of_groups, sizes, tail, random)
    return tuple(scores.mean() + np.quantile(shifts, [tail, 1 - tail]))


def _shifts(sums, sizes, tail, random):
    """By how much the mean moves when those of whom `sums` are given are resampled."""
    n = len(sums)
    if n == 1:
        return np.zeros(_RESAMPLES)
    drawn = random.integers(n, size=(_RESAMPLES, n))
    resampled = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    stretch = np.sqrt(n / (n - 1)) * stats.t.ppf(tail, n - 1) / stats.norm.ppf(tail)
    return stretch * (resampled - sums.sum() / sizes.sum())


# --- Ranks over data sets -----------------------------------------------------------------------


class Ranks(NamedTuple):
    """Ranks of runs on data sets, 1 for the best, and the tests of Friedman and Nemenyi."""

    by_dataset: pd.DataFrame  # a row per data set, a column per run
    average: pd.Series  # over data sets, the best run first
    chi2: float
    p_value: float
    critical_difference: float


def ranks(
    table: pd.DataFrame, metric: str, higher_is_better: bool = True, *, alpha: float = 0.05
) -> Ranks:
    """Ranks the runs on each data set and tests whether their average ranks differ.

    With `N` data sets, `k` runs, ranks `r_ij` and their averages `R_j`, Friedman's statistic is

    `χ² = (k - 1) N² Σ_j (R_j - (k + 1)/2)² / Σ_ij (r_ij - (k + 1)/2)²`

    which without ties is `12 N / (k (k + 1)) [Σ R_j² - k (k + 1)² / 4]`. Two runs differ where
    their average ranks are at least Nemenyi's critical difference `q_α √(k (k + 1) / (6 N))` apart.

    The data set is the unit: a run's value there is its mean over seeds and images, and runs of
    the same value share the mean of their ranks. With fewer than about ten data sets the p-value,
    from the χ² distribution, is larger than need be.

    Args:
        table: The table, as the module describes it, with every run on every data set.
        metric: Name of a metric.
        higher_is_better: Whether more of the metric is better.
        alpha: Level of the critical difference.

    Returns:
        `Ranks`. With one data set there are ranks but no test: `chi2`, `p_value` and
        `critical_difference` are NaN.

    Raises:
        ValueError: As in `summary`; also if there are fewer than two runs, or a data set lacks one.

    Example:
        >>> names = ["dataset", "run", "seed", "image", "metric", "value"]
        >>> rows = [("d", "BCE", 0, 0, "dice", 0.6), ("d", "Dice", 0, 0, "dice", 0.7),
        ...         ("e", "BCE", 0, 0, "dice", 0.8), ("e", "Dice", 0, 0, "dice", 0.8)]
        >>> ranks(pd.DataFrame(rows, columns=names), "dice").average.to_dict()
        {'Dice': 1.25, 'BCE': 1.75}

    Source: Demšar 2006, JMLR 7, 1-30, section 3.2.2 and table 5(a); Friedman 1937,
    doi:10.1080/01621459.1937.10503522. Demšar's χ² does not count ties, this one does.
    """
    check_number("alpha", alpha, above=0, below=1)
    means = pd.DataFrame(
        {
            part.dataset: {run: scores.to_numpy().mean() for run, scores in part.runs.items()}
            for part in _scores(table, metric)
        }
    ).T
    _check_every_run(means)
    ranked = means.round(_DIGITS).rank(axis=1, ascending=not higher_is_better)
    average = ranked.mean().sort_values(kind="stable")
    difference = _critical_difference(len(ranked), len(average), alpha)
    return Ranks(ranked, average, *_friedman(ranked), difference)


def _check_every_run(means):
    if means.shape[1] < 2:
        raise ValueError(f"ranks need two runs or more, got {_few(means.columns)}")
    for dataset, row in means.iterrows():
        if row.isna().any():
            raise ValueError(f"{dataset}: lacks run {_few(row.index[row.isna()])}")


def _friedman(ranked: pd.DataFrame) -> tuple[float, float]:
    n, k = ranked.shape
    if n == 1:
        return np.nan, np.nan
    deviations = ranked.to_numpy() - (k + 1) / 2
    scatter = (deviations**2).sum()  # 0 if all runs tie everywhere
    chi2 = (k - 1) * (deviations.sum(axis=0) ** 2).sum() / scatter if scatter else 0.0
    return float(chi2), float(stats.chi2.sf(chi2, k - 1))


def _critical_difference(n, k, alpha):
    if n == 1:
        return np.nan
    q = stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(k * (k + 1) / (6 * n)))


def critical_difference_diagram(ranks: Ranks, ax: "Axes | None" = None) -> "Axes":
    """Draws average ranks on an axis, and joins by a bar the runs that do not differ.

    The best rank is at the right. Two runs differ by Nemenyi's test where no bar joins them.

    Args:
        ranks: What `ranks` returns.
        ax: Axes of matplotlib to draw into; by default those of a new figure, as high as needed.

    Returns:
        The axes.

    Source: Demšar 2006, JMLR 7, section 3.2.4 and figure 1(a).
    """
    from segloss_ref.plots import GREY, WIDTH, plt

    average, k = ranks.average, len(ranks.average)
    groups = _groups(average.to_numpy(), ranks.critical_difference)
    first = -0.8 - 0.55 * len(groups)  # height of the topmost name; the axis is at 0
    low, high = first - (k + 1) // 2 + 0.5, 2.4
    if ax is None:
        size = (WIDTH, 0.2 * (high - low))
        _, ax = plt.subplots(figsize=size, layout="constrained")
    best = np.nanmin([1, k - ranks.critical_difference])  # the ruler may be longer than the axis
    ax.set(xlim=(k, best), ylim=(low, high))
    ax.axis("off")
    line: dict[str, Any] = dict(color=GREY, linewidth=1, linestyle="-", clip_on=False)
    _draw_axis(ax, k, line)
    _draw_ruler(ax, k, ranks, line)
    _draw_names(ax, average, first, best, line)
    for row, (start, end) in enumerate(groups):
        # A little beyond both, so that the bar of two equal ranks is seen.
        span = [average.iloc[start] - 0.008 * k, average.iloc[end] + 0.008 * k]
        ax.plot(span, [-0.6 - 0.55 * row] * 2, **line | dict(color="C0", linewidth=4))
    return ax


def _groups(average, critical):
    """First and last index of each largest group whose sorted ranks lie within `critical`."""
    groups, reached = [], 0
    for start, rank in enumerate(average):
        end = int(np.sum(average - rank < critical)) - 1
        if end > max(start, reached):
            groups.append((start, end))
            reached = end
    return groups


def _draw_axis(ax, k, line):
    ax.plot([1, k], [0, 0], **line)
    for rank in range(1, k + 1):
        ax.plot([rank, rank], [0, 0.25], **line)
        ax.text(rank, 0.4, str(rank), ha="center", va="bottom")


def _draw_ruler(ax, k, ranks, line):
    critical = ranks.critical_difference
    if np.isnan(critical):
        ax.text(k, 1.7, "one data set: no test", ha="left", va="center")
        return
    ax.plot([k, k - critical], [1.7, 1.7], **line)
    for end in (k, k - critical):
        ax.plot([end, end], [1.5, 1.9], **line)
    label = f"CD {critical:.2f} (Friedman: p = {ranks.p_value:.2g})"
    ax.text(k, 2.0, label, ha="left", va="bottom")


def _draw_names(ax, average, first, best, line):
    k = len(average)
    right = (k + 1) // 2  # the better half, and the run in the middle
    for place, (name, rank) in enumerate(average.items()):
        row, end = (place, best) if place < right else (k - 1 - place, k)
        height = first - row
        ax.plot([rank, rank, end], [0, height, height], **line)
        text = f"{name} ({rank:.2f})"
        if place < right:
            ax.text(end, height, f" {text}", ha="left", va="center")
        else:
            ax.text(end, height, f"{text} ", ha="right", va="center")

"""Reads the table that a sweep makes: means with intervals, paired comparisons, ranks.

The table has one row per data set, run, training seed, test image and metric, in the columns
`dataset, run, seed, image, metric, value`. A run is the name of a loss with its settings. Within a
data set all seeds of all runs are scored on the same images.

Some metrics have no value, NaN, on some images: a class that does not occur has no Dice. One rule
holds everywhere: **an image that lacks a value in any seed of any run that is looked at is left out
of all of them**, so that runs are judged on the same images; the results count how many. A metric
must therefore lack its value because of the image. One that gives 0 to a false alarm and NaN to
the run that rightly finds nothing hides the false alarms.

This module needs pandas and the pictures need matplotlib: `pip install "segloss_ref[plots]"`.
"""

from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np
from scipy import stats

from segloss_ref.extras import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = require("pandas", extra="plots")

__all__ = ["Ranks", "compare", "critical_difference_diagram", "ranks", "read_table", "summary"]

_NAMES = ["dataset", "run", "seed", "image", "metric"]  # together they name one value
_RESAMPLES = 5000
_DIGITS = 12  # means that differ by rounding alone, 0.1 + 0.2 and 0.3, are tied


# --- The table ----------------------------------------------------------------------------------


def read_table(path: str | PathLike[str] | TextIO) -> pd.DataFrame:
    """Reads a sweep's table from a CSV file and checks it.

    Args:
        path: Of the file. It has the columns `dataset, run, seed, image, metric, value`; others are
            not read. An empty value is NaN.

    Returns:
        A pandas DataFrame with these six columns: `seed` of integers, `value` of float64, the
        others of strings as they stand in the file.

    Raises:
        ValueError: If the file is empty, lacks a column or a name, holds a seed that is no integer
            or a value that is no number, or scores an image twice. The message names file and line.

    Example:
        >>> import io
        >>> read_table(io.StringIO("dataset,run,seed,image,metric,value\\nnuclei,BCE,0,a,dice,0.8"))
          dataset  run  seed image metric  value
        0  nuclei  BCE     0     a   dice    0.8
    """
    try:
        # As strings, so that a run may be named "NA" and an image "007".
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: the file is empty; a table begins with its columns") from None
    _check_columns(table, path)
    table = table[[*_NAMES, "value"]]
    for name in _NAMES:
        _refuse(table[name] == "", table[name], path, f"a {name}")
    _refuse(~table["seed"].str.fullmatch(r"[+-]?\d+"), table["seed"], path, "a seed, an integer")
    value = pd.to_numeric(table["value"], errors="coerce")
    absent = table["value"].str.strip().str.lower().isin(["", "nan"])
    _refuse(value.isna() & ~absent, table["value"], path, "a value, a number or nothing")
    table = table.assign(seed=table["seed"].astype(int), value=value.astype(float))
    _check_once(table, path)
    return table


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


def _refuse(wrong, column, path, wanted):
    if wrong.any():
        line = int(wrong.to_numpy().argmax())
        raise ValueError(f"{path}, line {line + 2}: expected {wanted}, got {column.iloc[line]!r}")


def _few(names, most=4):
    names = [str(name) for name in names]
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest


def _scores(table, metric, runs=None):
    """Yields each data set with a DataFrame (seeds, images) per run, and the images left out."""
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
    infinite = np.isinf(rows["value"].astype(float))
    if infinite.any():
        raise ValueError(
            f"{infinite.sum()} values of {metric!r} are infinite, and have no mean: give them a "
            "finite worst value, or NaN to leave their images out"
        )
    for dataset, part in rows.groupby("dataset", sort=False):
        yield dataset, *_arranged(dataset, part)


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
    return {run: values.loc[run] for run in rows["run"].unique()}, int((~valued).sum())


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

    With the mean `x̄`, the means of the seeds `s` and of the images `m`, an asterisk for a resample
    and a bar for its mean, the interval holds the middle quantiles of

    `x̄ + c_S (s̄* - x̄) + c_I (m̄* - x̄)`

    Seeds and images are resampled independently, since each seed is scored on the same images. So
    the interval speaks of a new training and new images, where one over images alone speaks of the
    networks at hand. `c_n = √(n / (n - 1)) t_(n-1) / z`, a ratio of quantiles, makes up for few
    seeds: without it, three seeds would give an interval that holds the truth 9 times in 10 or
    less. Two seeds have one difference to judge by, and give a very wide one; an interval may go
    beyond the range of the metric. The scatter of single values counts twice in it: it is wider
    than need be where neither seeds nor images differ in their means.

    Args:
        table: The table, as the module describes it.
        metric: Name of a metric.
        confidence: Of the interval, between 0 and 1.

    Returns:
        A DataFrame with one row per data set and run: `dataset`, `run`, `mean`, `spread` (standard
        deviation over seeds, with n - 1, of the mean over images), `low` and `high` (the interval),
        `seeds`, `images`, `left_out` (images without a value). One seed has no spread, NaN, and its
        interval is over images alone; one seed and one image have no interval.

    Raises:
        ValueError: If the table lacks the metric, holds infinite values of it, or has a run or seed
            that lacks images; if `confidence` is not between 0 and 1.

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
    found = []
    for dataset, runs, left_out in _scores(table, metric):
        for run, scores in runs.items():
            means = scores.mean(axis=1)
            low, high = _interval(scores.to_numpy(), confidence)
            row = {"dataset": dataset, "run": run, "mean": means.mean(), "spread": means.std()}
            found.append(row | {"low": low, "high": high} | _counts(scores, left_out))
    return pd.DataFrame(found)


def compare(
    table: pd.DataFrame,
    a: str,
    b: str,
    metric: str,
    *,
    higher_is_better: bool = True,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compares two runs on the same images and seeds of each data set.

    With the difference `d = a - b` of each seed and image, the interval is that of `summary` for
    `d`: each resample takes the same seeds and images for both runs.

    The p-value, of Wilcoxon's signed-rank test, is over images, with the mean over seeds for each:
    it asks whether *these networks* differ on other images. The interval, which counts the seeds
    too, asks whether *the losses* do, and may hold 0 where the p-value is small. There is no
    correction for several data sets or several pairs of runs.

    Args:
        table: The table, as the module describes it.
        a, b: Names of two runs.
        metric: Name of a metric.
        higher_is_better: Whether more of the metric is better.
        confidence: Of the interval, between 0 and 1.

    Returns:
        A DataFrame with one row per data set that has the two runs: `dataset`, `difference` of the
        means, a minus b, `low` and `high` (its interval), `p_value`, `better` (share of images on
        which a is better; equal images count half), `seeds`, `images`, `left_out`.

    Raises:
        ValueError: As in `summary`; also if a run is not in the table, or a data set has one of the
            two without the other, or has them with other images or seeds: the message names them.

    Example:
        >>> names = ["dataset", "run", "seed", "image", "metric", "value"]
        >>> rows = [("d", "BCE", 0, 0, "dice", 0.6), ("d", "BCE", 0, 1, "dice", 0.8),
        ...         ("d", "Dice", 0, 0, "dice", 0.7), ("d", "Dice", 0, 1, "dice", 0.8)]
        >>> found = compare(pd.DataFrame(rows, columns=names), "Dice", "BCE", "dice")
        >>> found[["dataset", "difference", "better", "images"]].round(3)
          dataset  difference  better  images
        0       d        0.05    0.75       2

    Source: Wilcoxon 1945, doi:10.2307/3001968, with the ranks of equal images split as in Demšar
    2006, JMLR 7, section 3.1.3. The interval: see `summary`.
    """
    if a == b:
        raise ValueError(f"two runs are compared, got {a!r} twice")
    found = []
    for dataset, runs, left_out in _scores(table, metric, (a, b)):
        _check_pair(dataset, runs, a, b)
        difference = (runs[a] - runs[b]).round(_DIGITS)
        low, high = _interval(difference.to_numpy(), confidence)
        of_images = difference.mean().round(_DIGITS)
        gain = np.sign(of_images if higher_is_better else -of_images)
        row = {"dataset": dataset, "difference": of_images.mean(), "low": low, "high": high}
        row |= {"p_value": _signed_rank(of_images), "better": ((gain + 1) / 2).mean()}
        found.append(row | _counts(difference, left_out))
    return pd.DataFrame(found)


def _check_pair(dataset, runs, a, b):
    for one, other in ((a, b), (b, a)):
        if other not in runs:
            raise ValueError(f"{dataset}: has run {one!r} but lacks run {other!r}")
        extra = runs[one].index.difference(runs[other].index)
        if len(extra):
            raise ValueError(f"{dataset}: run {other!r} lacks seed {_few(extra)} of run {one!r}")


def _counts(scores, left_out):
    return {"seeds": len(scores), "images": scores.shape[1], "left_out": left_out}


def _signed_rank(differences):
    if not differences.any():
        return 1.0  # where SciPy divides 0 by 0
    return float(stats.wilcoxon(differences, zero_method="zsplit").pvalue)


def _interval(scores, confidence):
    """Bootstrap interval for the mean of scores (seeds, images); `summary` says how."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}")
    if scores.size == 1:
        return np.nan, np.nan
    # One generator state for all: runs on the same images meet the same resamples.
    random = np.random.default_rng(0)
    tail = (1 - confidence) / 2
    shifts = sum(_shifts(scores.mean(axis=axis), tail, random) for axis in (1, 0))
    return tuple(scores.mean() + np.quantile(shifts, [tail, 1 - tail]))


def _shifts(means, tail, random):
    """By how much the mean of `means` moves when they are resampled."""
    n = len(means)
    if n == 1:
        return np.zeros(_RESAMPLES)
    resampled = means[random.integers(n, size=(_RESAMPLES, n))].mean(axis=1)
    stretch = np.sqrt(n / (n - 1)) * stats.t.ppf(tail, n - 1) / stats.norm.ppf(tail)
    return stretch * (resampled - means.mean())


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
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha!r}")
    means = pd.DataFrame(
        {
            dataset: {run: scores.to_numpy().mean() for run, scores in runs.items()}
            for dataset, runs, _ in _scores(table, metric)
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

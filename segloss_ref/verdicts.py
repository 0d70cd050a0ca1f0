"""The verdict on a difference, read from its interval: one rule for tables and for the testbed."""


def verdict(low: float, high: float, margin: float) -> str:
    """What an interval of a difference says, with a margin below which none matters.

    Args:
        low, high: Ends of the interval.
        margin: At least 0.

    Returns:
        `"equal within the margin"` if the interval lies in `[-margin, margin]`, also where it
        leaves out 0; else `"more"` if it lies above 0, `"less"` below 0, and `"not decided"`.

    Example:
        >>> [verdict(*ends, 0.01) for ends in ((0.001, 0.009), (0.001, 0.02), (-0.02, 0.02))]
        ['equal within the margin', 'more', 'not decided']
    """
    if -margin <= low and high <= margin:
        return "equal within the margin"
    if low > 0:
        return "more"
    return "less" if high < 0 else "not decided"

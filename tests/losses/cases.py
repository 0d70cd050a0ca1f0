"""All losses under test: one row per loss and setting, from the family's own table."""

import cases_distribution
import cases_region
import pytest

CASES = {
    **cases_distribution.CASES,
    **cases_region.CASES,
}


def which(condition=lambda case: True):
    """Parametrizes a test over the cases that meet a condition."""
    return pytest.mark.parametrize("case", [n for n, case in CASES.items() if condition(case)])


every_case = which()


def make(case, **kwargs):
    return CASES[case].loss(**CASES[case].settings, **kwargs)


def oracle(case):
    return CASES[case].oracle

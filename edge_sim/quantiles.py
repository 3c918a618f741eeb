"""Medians and quantiles of a few numbers.

Those of numpy 2 import numpy.ma at their first call: 10 ms of every start, and 1.3 MB for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def median(values: Sequence[float] | NDArray[Any]) -> float:
    """Return the median of one number or more; NaN if one of them is."""
    return float(quantiles(values, (0.5,))[0])


def quantiles(
    values: Sequence[float] | NDArray[Any], shares: Sequence[float] | NDArray[Any]
) -> NDArray[np.float64]:
    """Return the quantiles at `shares`, 0 to 1, linear between the two nearest numbers.

    Equal to `numpy.quantile`; NaN if one of the numbers is.

    Raises:
        ValueError: There are no numbers.
    """
    ordered = np.sort(np.asarray(values, np.float64).ravel())  # NaN comes last
    if not len(ordered):
        raise ValueError("no numbers, no quantiles")
    places = np.asarray(shares, np.float64) * (len(ordered) - 1)
    found = np.interp(places, np.arange(len(ordered)), ordered)
    return np.full_like(found, np.nan) if np.isnan(ordered[-1]) else found

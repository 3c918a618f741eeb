"""Quantiles against numpy's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.vectors import median, quantiles

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(values=NUMBERS, shares=st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_quantiles_are_those_of_numpy(values: list[float], shares: list[float]) -> None:
    wanted = np.quantile(values, shares)
    np.testing.assert_allclose(quantiles(values, shares), wanted, rtol=1e-9, atol=1e-6)
    assert median(values) == pytest.approx(float(np.median(values)), abs=1e-6)


def test_what_is_no_number_makes_no_quantile() -> None:
    assert np.isnan(median([1.0, float("nan"), 2.0]))
    with pytest.raises(ValueError, match="no numbers"):
        median([])


def test_the_path_of_a_frame_does_not_load_masked_arrays() -> None:
    program = (
        "import sys, numpy\n"
        "if 'numpy.ma' in sys.modules: raise SystemExit(0)  # numpy 1 always loads them\n"
        "from edge_sim.analysis.demo import DemoPlan, enrolled\n"
        "from edge_sim.runtime.config import Config, WatchConfig\n"
        "from edge_sim.vision.embedders import open_embedder\n"
        "from edge_sim.decision.pipeline import Watch\n"
        "from edge_sim.vision.probe import Region\n"
        "from edge_sim.runtime.stages import stages_of\n"
        "gallery = enrolled(DemoPlan('parking'), Region(), open_embedder('thumbnail'))\n"
        "Watch('w', gallery, stages_of(Config(), WatchConfig()))\n"
        "raise SystemExit('numpy.ma' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

from __future__ import annotations

from typing import Any

import pytest

from edge_sim.errors import ConfigError
from edge_sim.io.sources.options import SourceOptions


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"rotate": 45}, "rotate"),
        ({"width": 0}, "width"),
        ({"fps": float("nan")}, "fps"),
        ({"read_timeout_s": -1.0}, "read_timeout_s"),
        ({"open_timeout_s": float("inf")}, "open_timeout_s"),
        ({"reconnect_s": ()}, "reconnect_s"),
        ({"reconnect_s": (1.0, -1.0)}, "reconnect_s"),
        ({"warm_up_frames": -1}, "warm_up_frames"),
        ({"start_unix_s": float("nan")}, "start_unix_s"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        SourceOptions(**wrong)

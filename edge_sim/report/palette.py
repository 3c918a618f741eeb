"""Named colours, each for light and for dark surfaces.

States take Okabe and Ito's colours (2008), chosen to stay apart under the common colour-vision
deficiencies, in an order that puts the most different first; their yellow is left out because it
cannot be read on white. On dark surfaces the same hues are lighter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge_sim.domain import UNKNOWN

_STATES = (
    # light, dark, text on light, text on dark
    ("#0072b2", "#4fa8e0", "#ffffff", "#101418"),
    ("#d55e00", "#f08c4a", "#101418", "#101418"),
    ("#009e73", "#35c49b", "#101418", "#101418"),
    ("#cc79a7", "#e3a0c6", "#101418", "#101418"),
    ("#e69f00", "#f2bd4b", "#101418", "#101418"),
    ("#56b4e9", "#9fd6f5", "#101418", "#101418"),
    ("#7a5c3e", "#b8977a", "#ffffff", "#101418"),
    ("#5b5bb0", "#9d9de6", "#ffffff", "#101418"),
)

_FIXED: Mapping[str, tuple[str, str]] = {
    "page": ("#ffffff", "#14181d"),
    "panel": ("#f5f7f9", "#1c2229"),
    "ink": ("#17202a", "#e6eaee"),
    "muted": ("#5a6672", "#9aa5b1"),
    "grid": ("#dde3e8", "#2c353f"),
    "axis": ("#9aa5b1", "#4d5966"),
    "unknown": ("#6b7580", "#8b96a1"),
    "on_unknown": ("#ffffff", "#101418"),
    "unknown_back": ("#e6eaee", "#2a323b"),
    "wrong": ("#b00020", "#ff6b81"),
    "luma": ("#7b8691", "#9aa5b1"),
    "day": ("#f6dc8a", "#7d682a"),
    "dusk": ("#c9a7c7", "#6f5170"),
    "ir": ("#b9c2cb", "#59636e"),
    "dark": ("#4a5560", "#333c46"),
    "on_day": ("#17202a", "#e6eaee"),
    "on_dusk": ("#17202a", "#e6eaee"),
    "on_ir": ("#17202a", "#e6eaee"),
    "on_dark": ("#ffffff", "#e6eaee"),
}

INKS: Mapping[str, tuple[str, str]] = {
    **_FIXED,
    **{f"state{i}": (light, dark) for i, (light, dark, _, _) in enumerate(_STATES)},
    **{f"on_state{i}": (light, dark) for i, (_, _, light, dark) in enumerate(_STATES)},
}
"""Name -> (hex colour on light, hex colour on dark)."""


def inks_of(states: Iterable[str]) -> dict[str, str]:
    """Return the ink of every state, in the order given; the palette repeats after eight.

    `unknown` is always grey.
    """
    names = [state for state in states if state != UNKNOWN]
    inks = {state: f"state{i % len(_STATES)}" for i, state in enumerate(names)}
    return {**inks, UNKNOWN: "unknown"}


def bgr_of(ink: str) -> tuple[int, int, int]:
    """Return the colour on light surfaces as (blue, green, red), 0 to 255."""
    code = INKS[ink][0]
    red, green, blue = (int(code[i : i + 2], 16) for i in (1, 3, 5))
    return blue, green, red

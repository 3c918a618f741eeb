"""Light regime of a picture: `day`, `dusk`, `ir` or `dark`."""

from __future__ import annotations

from edge_sim.core.types import Quality

DAY, DUSK, IR, DARK = "day", "dusk", "ir", "dark"
CONDITIONS = (DAY, DUSK, IR, DARK)

_DARK_LUMA = 14.0
_GREY_CHROMA = 3.0  # JPEG and sensor noise leave a grey picture at 0 to 3
_WHITE_LUMA = 220.0  # a white region has no room for colour: its lack is no sign of infrared
_DUSK_LUMA = 62.0
_HYSTERESIS = 0.12  # a level must be passed by this part before the condition changes


def condition_of(quality: Quality, current: str | None = None) -> str:
    """Return the light regime of a picture: `day`, `dusk`, `ir` or `dark`.

    A picture without light is dark, one without colour is infrared (or a black and white camera)
    unless it is nearly white, one with colour and little light is dusk, the rest is day.

    Args:
        quality: Quality of the region.
        current: Condition so far; its borders are widened by an eighth, so that a reading near a
            border does not flicker. None without a past.
    """
    if quality.luma < _border(_DARK_LUMA, current == DARK):
        return DARK
    is_grey = quality.chroma < _border(_GREY_CHROMA, current == IR)
    if is_grey and quality.luma < _border(_WHITE_LUMA, current == IR):
        return IR
    return DUSK if quality.luma < _border(_DUSK_LUMA, current == DUSK) else DAY


_WORDS = {
    DAY: "by day",
    DUSK: "at dusk or in dim light",
    IR: "at night in infrared light",
    DARK: "in the dark",
}


def light_words(condition: str) -> str:
    """Return a light regime in words, to follow a picture: `by day`."""
    return _WORDS.get(condition, f"in the light {condition!r}")


def _border(level: float, inside: bool) -> float:
    return level * (1.0 + _HYSTERESIS if inside else 1.0)


class ConditionTracker:
    """Condition of successive frames, without flicker at the borders."""

    def __init__(self) -> None:
        self.condition: str | None = None
        """Condition of the last frame; None before the first."""

    def follow(self, quality: Quality) -> str:
        """Return the condition of one frame; called once per frame, in time order."""
        self.condition = condition_of(quality, self.condition)
        return self.condition

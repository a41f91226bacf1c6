"""What clients rate, by the names and the bands under which it travels in `follow-up-recorded.bands`."""

from __future__ import annotations

from typing import Literal, get_args

Rated = Literal["recommendation", "setting", "communication", "emotion", "result-feedback"]
"""A15: whether they would recommend us. A20: the setting. A21: the communication with the counsellor. A23: how they
manage their emotions. A26: what they were told of results and advice."""

Rating = Literal["good", "fair", "poor"]

RATED: tuple[Rated, ...] = get_args(Rated)
RATINGS: tuple[Rating, ...] = get_args(Rating)

EFFECT = "effect"
"""The band of our own three items on the effect (F17)."""

OWN_BANDS = frozenset((*RATED, EFFECT))
"""What is no standard scale, so that filling it in is not what A25 asks for."""


def rating(points: int) -> Rating:
    """One of five steps as a band: 4 and 5 are good, 3 is fair."""
    return "good" if points >= 4 else "fair" if points == 3 else "poor"

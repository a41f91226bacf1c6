"""The parts of a drill's time."""

from __future__ import annotations

from datetime import UTC, datetime

from aftercare.drill import Measured, measure

FLAGGED = datetime(2026, 3, 2, 2, 0, 0, 400, UTC)


def moment(what: str, at: str, channel: str | None = None) -> dict[str, str | None]:
    return {"what": what, "at": f"2026-03-02T10:00:{at}+08:00", "channel": channel}


def test_the_first_page_counts() -> None:
    timeline = [
        moment("flagged", "00.002"),
        moment("page-failed", "00.010", "webhook"),
        moment("paged", "00.050", "wecom"),
        moment("paged", "09.000", "webhook"),
    ]
    measured = measure(timeline, FLAGGED, 0.06)
    assert measured.opened is not None
    assert measured.paged is not None
    assert round(measured.opened, 4) == 0.0016
    assert round(measured.paged, 4) == 0.0496
    assert measured.channel == "wecom"


def test_a_page_that_nobody_accepted_has_no_time() -> None:
    timeline = [moment("flagged", "00.000"), moment("page-failed", "00.010", "wecom")]
    assert measure(timeline, FLAGGED, 0.5) == Measured(0.5, 0.0, None, None)

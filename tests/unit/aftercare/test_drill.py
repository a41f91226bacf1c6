"""The parts of a drill's time."""

from __future__ import annotations

from datetime import UTC, datetime

from aftercare.drill import Measured, Wait, measure

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


def test_the_first_acknowledgement_counts_and_says_who() -> None:
    timeline = [
        moment("flagged", "00.000"),
        moment("paged", "00.050", "wecom"),
        moment("acknowledged", "21.400") | {"by": "staff-7"},
    ]
    measured = measure(timeline, FLAGGED, 0.06)
    assert measured.acknowledged is not None
    assert (round(measured.acknowledged, 4), measured.by) == (21.3996, "staff-7")


def test_a_drill_waits_for_page_database_and_person_each_for_its_time() -> None:
    out = Measured(0.1, 0.0, 0.2, "wecom")
    written = Measured(0.1, 0.0, 0.2, "wecom", written=0.3)
    taken_up = Measured(0.1, 0.0, 0.2, "wecom", 40.0, "staff-7", 0.3)
    unheard = Measured(0.1, 0.0, None, None)
    short, long = Wait(30), Wait(30, acknowledged=900)
    assert [short.over(out, 1), short.over(written, 1), short.over(out, 31)] == [False, True, True]
    assert [long.over(written, 31), long.over(taken_up, 41), long.over(written, 901)] == [False, True, True]
    assert [long.over(unheard, 1), long.over(unheard, 31)] == [False, True], (
        "nobody answers what did not go out"
    )

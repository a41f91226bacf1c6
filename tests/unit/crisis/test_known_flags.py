"""What is remembered of flags is enough to know each again, and bounded."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta

from services.crisis.known_flags import REMEMBERED, Known, KnownFlags
from shared.contracts.topics import TOPICS
from tests.unit.crisis.stories import FLAGGED

DAY = timedelta(days=1)


def test_every_one_of_100_000_is_known_while_the_bus_may_bring_it_again_and_none_for_ever() -> None:
    flags, step = KnownFlags(), timedelta(seconds=30)
    tracemalloc.start()
    for number in range(100_000):
        if number == 10_000:
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        flags.remember(f"/company {number}", f"{number:064}", f"{number:032}", FLAGGED + number * step)
    assert 10 * size < 100 * 2**20, "all of them take less than 100 MiB"
    last = FLAGGED + 99_999 * step

    flags.forget(last)
    kept_since = last - timedelta(days=TOPICS["crisis-flagged"].retention_days)
    assert all(flags.get(f"/company {n}") for n in range(100_000) if FLAGGED + n * step >= kept_since)
    flags.forget(last + REMEMBERED + DAY)
    assert len(flags) == 0


def test_a_flag_that_came_to_another_incident_is_still_as_old_as_it_is() -> None:
    flags = KnownFlags()
    flags.remember("/company 1", "digest", "one", FLAGGED)
    flags.remember("/company 1", "digest", "other", FLAGGED + 20 * DAY)
    assert flags.get("/company 1") == Known("digest", "other", FLAGGED)
    flags.forget(FLAGGED + REMEMBERED + DAY)
    assert flags.get("/company 1") is None


def test_what_came_before_the_database_was_read_outlives_the_reading() -> None:
    flags = KnownFlags()
    flags.remember("/company 2", "new", "two", FLAGGED + DAY)
    flags.load([("/company 1", Known("old", "one", FLAGGED)), ("/company 2", Known("old", "x", FLAGGED))])
    assert flags.get("/company 1") == Known("old", "one", FLAGGED)
    assert flags.get("/company 2") == Known("new", "two", FLAGGED + DAY)

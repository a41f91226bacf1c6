"""Input that comes twice, in any order, and with records among it that nobody can take."""

from __future__ import annotations

from collections.abc import Iterator

from shared.clock import SystemClock
from shared.contracts.envelope import Event
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing
from tests.builders import case_closed, session_completed
from tests.failure.conftest import Begin, Told
from tests.failure.proof import prove
from tests.failure.run import Run
from tests.failure.stories import DAY


async def test_input_is_repeated_reordered_and_spoilt(begin: Begin, told: Told) -> None:
    """A third of it comes twice, all of it in any order, and among it what is refused: each is a letter of both."""
    async with begin() as run:
        records = [Outgoing.of(event) for event in told.events]
        records += run.choice.sample(records, len(records) // 3)
        poison = list(poisonous(run)) * 3
        records += poison
        run.choice.shuffle(records)
        reused = list(said_otherwise(told.events))
        await run.play(told.events, records=[*records, *reused])
        letters = len(poison) + len(reused)
        await prove(run, told.ends, {"intake": letters, "scheduler": letters})


def poisonous(run: Run) -> Iterator[Outgoing]:
    good = Outgoing.of(session_completed(case_id="case-poison", client_id="client-poison"))
    headers = dict(good.headers)

    def spoilt(value: bytes = good.value, topic: str = good.topic, **changed: bytes | None) -> Outgoing:
        kept = {**headers, **{f"ce_{name}": raw for name, raw in changed.items()}}
        key = f"poison-{run.choice.randrange(100)}".encode()
        return Outgoing(
            topic, key, value, tuple((name, raw) for name, raw in kept.items() if raw is not None)
        )

    yield spoilt(b"{this is not JSON")
    yield spoilt(b"")
    yield spoilt(b"[" * 1_000)
    yield spoilt(good.value.replace(b'"individual"', b'"somebody by name"'))
    yield spoilt(good.value.replace(b"{", b'{"name":"somebody",', 1))
    yield spoilt(b" " * 70_000)
    yield spoilt(type=b"aftercare.session-completed.v9")
    yield spoilt(type=b"aftercare.of-no-topic.v1")
    yield spoilt(topic="case-closed")
    yield spoilt(id=None)
    yield spoilt(id=b"\xff\xfe")
    yield spoilt(subject=b"case-of-another")
    yield spoilt(time=b"yesterday")
    yield spoilt(time=write_time(SystemClock().now() + 5 * DAY).encode())


def said_otherwise(told: list[Event]) -> Iterator[Outgoing]:
    """Events under the id of one that came before, which say something else."""
    closings = [event for event in told if event.topic == "case-closed"]
    for event in closings[:5]:
        body = event.data.model_dump(include={"case_id", "client_id", "closed_at", "outcome"})
        yield Outgoing.of(
            case_closed(**body, sessions_completed=99, id=event.id, source=event.source, time=event.time)
        )

"""Stream processors over the same topics and hops: each event is validated and mapped to an output record, no more.

They keep no document, hold no timer and write to no database, so they show what the bus alone allows. They run in
`.bench/venv` (`requirements.txt` beside this file) and import nothing of Aftercare. The first hop publishes one
`case-classified` for each company event, the second one `follow-up-planned` for each of those.

    python -m benchmarks.streams quix-exactly-once 1 BOOTSTRAP PREFIX
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

COMMIT_SECONDS = 0.2
"""How often offsets are committed: as often as the others, which commit each batch. Their own default is seconds."""


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    case_id: str
    client_id: str


class SessionCompleted(Body):
    session_no: int
    mode: str
    started_at: datetime
    ended_at: datetime
    marks: tuple[str, ...]

    def classified(self) -> Classified:
        return Classified(
            case_id=self.case_id, client_id=self.client_id, cause="session-completed", at=self.ended_at
        )


class Eligibility(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    age: int
    employment: str
    acute_crisis: bool
    severe_illness: bool
    agreements_signed: bool


class CaseOpened(Body):
    counsellor_id: str
    service: str
    agreed_sessions: int
    opened_at: datetime
    eligibility: Eligibility

    def classified(self) -> Classified:
        return Classified(
            case_id=self.case_id, client_id=self.client_id, cause="case-opened", at=self.opened_at
        )


class CaseClosed(Body):
    closed_at: datetime
    sessions_completed: int
    outcome: str

    def classified(self) -> Classified:
        return Classified(
            case_id=self.case_id, client_id=self.client_id, cause="case-closed", at=self.closed_at
        )


class Classified(Body):
    cause: str
    at: datetime


class Planned(Body):
    scheduled_for: datetime


def _classify(kind: type[CaseOpened | SessionCompleted | CaseClosed]) -> Callable[[bytes], bytes]:
    return lambda value: kind.model_validate_json(value).classified().model_dump_json().encode()


def _plan(value: bytes) -> bytes:
    case = Classified.model_validate_json(value)
    scheduled_for = case.at + timedelta(days=30)
    planned = Planned(case_id=case.case_id, client_id=case.client_id, scheduled_for=scheduled_for)
    return planned.model_dump_json().encode()


Mapping = Callable[[bytes], bytes]

HOPS: dict[int, tuple[dict[str, Mapping], str]] = {
    1: (
        {
            "case-opened": _classify(CaseOpened),
            "session-completed": _classify(SessionCompleted),
            "case-closed": _classify(CaseClosed),
        },
        "case-classified",
    ),
    2: ({"case-classified": _plan}, "follow-up-planned"),
}
"""What each hop reads, with what it makes of it, and what it publishes."""


def quix(guarantee: str, hop: int, bootstrap: str, prefix: str) -> None:
    from quixstreams import Application  # type: ignore[import-not-found]

    app = Application(
        broker_address=bootstrap,
        consumer_group=f"{prefix}aftercare-stream-{hop}",
        auto_offset_reset="earliest",
        processing_guarantee=guarantee,
        commit_interval=COMMIT_SECONDS,
        consumer_poll_timeout=0.1,
        auto_create_topics=False,
        use_changelog_topics=False,
        loglevel="WARNING",
    )
    reads, publishes = HOPS[hop]
    plain = {"key_serializer": "bytes", "value_serializer": "bytes"}
    raw = {"key_deserializer": "bytes", "value_deserializer": "bytes"}
    out = app.topic(prefix + publishes, **plain)
    for name, mapping in reads.items():
        app.dataframe(app.topic(prefix + name, **raw)).apply(mapping).to_topic(out)
    app.run()


def faust(guarantee: str, hop: int, bootstrap: str, prefix: str) -> None:
    import faust as library  # type: ignore[import-not-found]

    app = library.App(
        f"{prefix}aftercare-stream-{hop}",
        broker="kafka://" + bootstrap,
        processing_guarantee=guarantee.replace("-", "_"),
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=COMMIT_SECONDS,
        producer_acks=-1,
        topic_allow_declare=False,
        topic_disable_leader=True,
        store="memory://",
        web_enabled=False,
        stream_wait_empty=False,
    )
    reads, publishes = HOPS[hop]
    plain = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    out = app.topic(prefix + publishes, **plain)

    def agent(mapping: Mapping) -> Callable[[object], object]:
        async def handle(stream: object) -> None:
            async for event in stream.events():  # type: ignore[attr-defined]
                # Not waited for: before it commits offsets, Faust flushes what was sent.
                await out.send(key=event.key, value=mapping(event.value), headers=event.headers)

        return handle

    for name, mapping in reads.items():
        app.agent(app.topic(prefix + name, **plain), name=name)(agent(mapping))
    library.Worker(app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    library_name, _, wanted = sys.argv[1].partition("-")
    {"quix": quix, "faust": faust}[library_name](wanted, int(sys.argv[2]), sys.argv[3], sys.argv[4])

"""What is drawn of a month: how much, of what, and the same each time (F71, F72)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.survey.domain import clients, samples
from services.survey.domain.clients import Client
from services.survey.domain.records import BY_QUESTIONNAIRE, RecordSheet, length_remarks
from services.survey.domain.samples import Check, Recorded
from shared.contracts import sampling
from shared.contracts.sampling import Said, SampleKind
from tests.builders import at, consent_changed
from tests.unit.policy.regime import POLICIES, POLICY

NOW = at("2026-04-10 10:00")
CALLED = at("2026-03-10 09:00")


def sheet(key: str, **given_: Any) -> Recorded:
    usual = {"client_id": "client-1", "by": "staff-1", "conducted_at": CALLED, "recorded_at": CALLED}
    return Recorded(id=key, **(usual | given_))


def said(*words: tuple[str, bool | None]) -> Client:
    client = Client(id="client-1")
    for number, (time, allowed) in enumerate(words):
        purposes = {"recording": allowed} if allowed is not None else {"follow-up": True}
        told = consent_changed(changed_at=time, purposes=purposes, id=f"word-{number}")
        client = clients.consent(client, told, told.data)  # type: ignore[arg-type]
    return client


@pytest.mark.clause("F71", "F72")
def test_the_shares_are_those_of_the_regime() -> None:
    assert {kind: POLICY.sample(row).share for kind, row in samples.SHARES.items()} == {
        "record": 0.3,
        "recording": 0.1,
    }
    assert samples.rules(POLICIES) == {"records-sampled": "record", "recordings-sampled": "recording"}


@pytest.mark.clause("F71", "F72")
@pytest.mark.parametrize(
    ("kind", "share", "of", "drawn"),
    [
        ("record", 0.3, 0, 0),
        ("record", 0.3, 1, 1),
        ("record", 0.3, 3, 1),
        ("record", 0.3, 10, 3),
        ("record", 0.3, 11, 4),
        ("recording", 0.1, 9, 1),
        ("recording", 0.1, 70, 7),  # 0.1 * 70 is 7.000000000000001 to a computer
    ],
)
def test_the_share_is_rounded_up(kind: SampleKind, share: float, of: int, drawn: int) -> None:
    sample, items = samples.draw("2026-03", kind, [sheet(f"f{n}") for n in range(of)], share, NOW)
    assert (sample.of, sample.drawn, len(items), sample.waits_for) == (of, drawn, drawn, drawn)


@pytest.mark.clause("F71")
@given(st.permutations([f"f{n}" for n in range(12)]))
def test_drawing_again_draws_the_same_in_any_order(keys: list[str]) -> None:
    _, items = samples.draw("2026-03", "record", [sheet(key) for key in keys], 0.3, NOW)
    _, again = samples.draw("2026-03", "record", [sheet(key) for key in sorted(keys)], 0.3, NOW)
    assert items == again


def test_another_month_or_kind_draws_others() -> None:
    sheets = [sheet(f"f{n}") for n in range(100)]
    draws: list[tuple[str, SampleKind]] = [
        ("2026-03", "record"), ("2026-04", "record"), ("2026-03", "recording"),
    ]  # fmt: skip
    chosen = [
        {item.follow_up_id for item in samples.draw(month, kind, sheets, 0.3, NOW)[1]}
        for month, kind in draws
    ]
    assert all(one != other for one, other in itertools.combinations(chosen, 2))


@pytest.mark.clause("F71")
def test_a_questionnaire_is_no_record_sheet_that_somebody_wrote() -> None:
    found = samples.candidates([sheet("f1"), sheet("f2", by=BY_QUESTIONNAIRE)], "record", {})
    assert [one.id for one in found] == ["f1"]


@pytest.mark.clause("F72")
@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ([], False),
        ([("2026-03-01 09:00", True)], True),
        ([("2026-03-10 09:01", True)], False),
        ([("2026-03-01 09:00", True), ("2026-03-09 09:00", False)], False),
        ([("2026-03-01 09:00", True), ("2026-03-20 09:00", False)], True),  # at the time of the call
        ([("2026-03-01 09:00", True), ("2026-03-09 09:00", None)], True),  # about something else
    ],
)
def test_only_what_was_recorded_with_consent_is_drawn(
    words: list[tuple[str, bool | None]], allowed: bool
) -> None:
    for order in itertools.permutations(words):
        known = {"client-1": said(*order)}
        found = samples.candidates([sheet("f1", recorded=True), sheet("f2")], "recording", known)
        assert [one.id for one in found] == (["f1"] if allowed else [])


@pytest.mark.clause("F73", "A22", "A27", "A28")
def test_what_a_check_finds_goes_out_as_codes_that_can_be_read_again() -> None:
    _, [item] = samples.draw("2026-03", "record", [sheet("follow-up-1")], 0.3, NOW)
    check = Check(complete=True, standard=False, accurate=True, crisis_judged=False)
    events = [samples.drawn(item, NOW), *samples.found(item, check, "staff-9", NOW)]
    bodies = [event.data.model_dump() for event in events]
    assert [sampling.said(body["milestone"], body["subject"]) for body in bodies] == [
        Said("2026-03", "record"),
        Said("2026-03", "record", "complete", True),
        Said("2026-03", "record", "standard", False),
        Said("2026-03", "record", "accurate", True),
        Said("2026-03", "record", "crisis-judged", False),
    ]
    assert "follow-up-1" not in str([body["subject"] for body in bodies])
    assert sampling.said("records-checked", "2026-03") is None
    assert sampling.said("sampled-record-drawn", "2026-13:" + "0" * 32) is None


@pytest.mark.clause("F22", "F25")
@pytest.mark.parametrize(
    ("form", "minutes", "remark"),
    [
        ("phone", 9, "F22: the call was shorter than 10 minutes"),
        ("phone", 10, None),
        ("phone", 15, None),
        ("phone", 16, "F22: the call was longer than 15 minutes"),
        ("video", 3, None),
        ("video", 20, None),
        ("video", 21, "F25: the call was longer than 20 minutes"),
        ("phone", None, "F22: how long the call took was not told"),
        ("questionnaire", None, None),
    ],
)
def test_the_length_of_a_call_is_pointed_out(form: Any, minutes: int | None, remark: str | None) -> None:
    told = RecordSheet(form=form, conducted_at=CALLED, outcome="completed", minutes=minutes)
    assert length_remarks(told, POLICY) == ((remark,) if remark else ())
    refused = RecordSheet(form=form, conducted_at=CALLED, outcome="refused", minutes=minutes)
    assert length_remarks(refused, POLICY) == ()


def test_the_sheet_of_an_older_console_is_still_the_same_sheet() -> None:
    """What it sent before is recognised as a repetition, though there are more fields now."""
    told = RecordSheet(form="phone", conducted_at=CALLED, outcome="completed")
    assert b"minutes" not in told.model_dump_json(exclude_none=True).encode()
    assert b'"recorded"' not in told.model_dump_json(exclude_none=True).encode()

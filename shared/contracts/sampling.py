"""The names by which survey says on `milestone-reached` what was drawn to be checked, and what the check found.

`sampled-record-drawn`, `sampled-recording-complete-yes` ... The subject is the item of the sample: the month whose
records were drawn, and a hash (`2026-03:0a1b...`), so that nothing in it leads to a client.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal, get_args

SampleKind = Literal["record", "recording"]
Finding = Literal["complete", "standard", "accurate", "warning-signs", "crisis-judged"]
"""F73: complete, up to the communication standard. A22: accurate. A27: the warning signs were recognised. A28: whether
there was a crisis was judged rightly."""

KINDS: tuple[SampleKind, ...] = get_args(SampleKind)
FINDINGS: tuple[Finding, ...] = get_args(Finding)

_DRAWN = "drawn"
_SUBJECT = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2]):[0-9a-f]{32}")


@dataclass(frozen=True)
class Said:
    """What one milestone says of one item. `finding` is None where it says that the item was drawn."""

    month: str
    kind: SampleKind
    finding: Finding | None = None
    good: bool = False


def lot(month: str, kind: SampleKind, follow_up_id: str) -> str:
    """What decides whether a follow-up is drawn: the lowest are. The same each time, and not to be foreseen by hand."""
    return hashlib.sha256(f"{month} {kind} {follow_up_id}".encode()).hexdigest()


def item_id(month: str, kind: SampleKind, follow_up_id: str) -> str:
    """The id of an item of a sample, and the subject of what is said about it."""
    return f"{month}:{lot(month, kind, follow_up_id)[:32]}"


def drawn(kind: SampleKind) -> str:
    return f"sampled-{kind}-{_DRAWN}"


def found(kind: SampleKind, finding: Finding, good: bool) -> str:
    return f"sampled-{kind}-{finding}-{'yes' if good else 'no'}"


def said(milestone: str, subject: str) -> Said | None:
    """What a milestone says of a sample; None for one that is about something else."""
    if not _SUBJECT.fullmatch(subject):
        return None
    month = subject.partition(":")[0]
    for kind in KINDS:
        if milestone == drawn(kind):
            return Said(month, kind)
        for finding in FINDINGS:
            for good in (True, False):
                if milestone == found(kind, finding, good):
                    return Said(month, kind, finding, good)
    return None

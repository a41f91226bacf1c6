"""What an incident need not keep: rounds long past, the many flags of a sender that runs wild, an erased client."""

from __future__ import annotations

from services.crisis.domain.chain import is_attempt
from services.crisis.domain.fold import blank, evolve
from services.crisis.domain.incident import ERASED, Incident, Moment

NOBODY = {"client_id": ERASED, "case_id": None, "follow_up_id": None, "digest": ""}
"""What remains of whom a flag was about. Its digest is a hash of all it said: the client could be tried out on it."""

MANY_FLAGS = 100
"""An incident with more flags than this (a sender that runs wild) keeps of those that changed nothing the newest."""
NEWEST_FLAGS = 20


def pruned(incident: Incident) -> Incident:
    """Without the pages of rounds long past, and without flags that changed nothing where there are very many: the
    whole timeline lies in its own collection."""
    numbers = [m.round for m in incident.timeline if is_attempt(m, incident.run)]
    newest = max(numbers, default=0)
    dropped = _quiet_flags(incident)
    kept = tuple(m for m in incident.timeline if m.id not in dropped and _is_kept(m, incident.run, newest))
    return incident if len(kept) == len(incident.timeline) else incident.model_copy(update={"timeline": kept})


def scrubbed(incident: Incident) -> Incident:
    """Without any reference to its client, who asked to be erased. Only for what is over."""
    lines = tuple(
        line.model_copy(update={"flag": line.flag.model_copy(update=NOBODY)}) if line.flag else line
        for line in incident.timeline
    )
    return incident.model_copy(update={"client_id": ERASED, "timeline": lines, "erase": False})


def _quiet_flags(incident: Incident) -> set[str]:
    """The lines of flags that changed nothing, the newest apart; none where there are not many flags."""
    flagged = [moment.id for moment in incident.timeline if moment.kind == "flagged"]
    if len(flagged) <= MANY_FLAGS:
        return set()
    quiet: set[str] = set()
    before = blank(incident)
    for moment in incident.timeline:
        after = evolve(before, moment)
        if moment.kind == "flagged" and after is before:
            quiet.add(moment.id)
        before = after
    with_case = [m.id for m in incident.timeline if m.flag and m.flag.case_id]
    return quiet.difference(flagged[-NEWEST_FLAGS:], with_case[-1:])


def _is_kept(moment: Moment, run: int, newest: int) -> bool:
    if moment.kind not in ("paged", "page-failed", "repeated", "escalated", "unanswered") or moment.run == 0:
        return True
    return moment.round < 2 or (moment.run == run and moment.round >= newest - 1)

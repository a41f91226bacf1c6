"""What is reported about staff: counsellors (A3, W9), the expert group (W6), and who is rewarded (F76)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from services.reporting.domain.figures import Rate, RatedStaff, Reward, SeatFigures, StaffFigures
from services.reporting.domain.read_models import FollowUp, StaffMember, StaffWord, YearRatings
from shared.policy.model import Policy, Seat

COUNSELLOR = "counsellor"
"""The role under which `staff-updated` tells of counsellors."""


def staff_figures(staff: Iterable[StaffMember], until: datetime, policy: Policy) -> StaffFigures | None:
    """As last told before `until`. Who is not available conducts nothing and is not counted. None: nobody is known."""
    words = [word for member in staff if (word := member.as_of(until)) and word.available]
    if not words:
        return None
    accepted = {certificate.name for certificate in policy.staffing.certificates}
    counsellors = [word for word in words if COUNSELLOR in word.roles]
    scene = set(policy.staffing.scene_experience)
    experienced = sum(not scene.isdisjoint(word.roles) for word in counsellors)
    return StaffFigures(
        qualified=_share(sum(word.certificate in accepted for word in counsellors), len(counsellors)),
        experienced=_share(experienced, len(counsellors) if experienced else 0),
        expert_group=tuple(_seat(seat, words) for seat in policy.staffing.expert_group),
    )


def _seat(seat: Seat, words: Iterable[StaffWord]) -> SeatFigures:
    filled = sum(
        set(seat.roles) <= set(word.roles) and word.experience_months >= seat.experience_months
        for word in words
    )
    return SeatFigures(
        name=seat.name, clause=seat.clause, needed=seat.count, filled=filled, met=filled >= seat.count
    )


def ranking(
    year: str, follow_ups: Iterable[FollowUp], known: YearRatings | None, policy: Policy
) -> list[RatedStaff]:
    """F76: staff by the mean satisfaction with the calls that they conducted in a year, the best first.

    A call belongs to the year of its scheduled day, as everywhere. With the same mean, more ratings say more. Who
    was rated less often than the policy wants is left out.
    """
    scores: defaultdict[str, list[int]] = defaultdict(list)
    for one in follow_ups:
        record = one.record
        if record is None or record.satisfaction is None or record.form == "questionnaire" or not record.by:
            continue
        if one.month and one.month.startswith(f"{year}-") and not (known and known.counted(one)):
            scores[record.by].append(record.satisfaction)
    total = {by: (sum(given), len(given)) for by, given in scores.items()}
    for by, (points, count) in (known.staff if known else {}).items():
        before = total.get(by, (0, 0))
        total[by] = (before[0] + points, before[1] + count)
    ranked = [
        RatedStaff(staff_id=by, mean=points / count, ratings=count)
        for by, (points, count) in total.items()
        if count >= max(policy.staffing.rewarded_from_ratings, 1)
    ]
    return sorted(ranked, key=lambda one: (-one.mean, -one.ratings, one.staff_id))


def reward(year: str, ranked: Sequence[RatedStaff], policy: Policy) -> Reward:
    """F76: the best fifth, rounded down. Who ties with the last of them is listed too: there a person decides."""
    count = int(policy.target("rewarded-staff").value * len(ranked) + 1e-9)
    last = ranked[count - 1] if count else None
    listed = [
        one
        for place, one in enumerate(ranked)
        if last and (place < count or (one.mean, one.ratings) == (last.mean, last.ratings))
    ]
    return Reward(
        year=year,
        ranked=len(ranked),
        from_ratings=policy.staffing.rewarded_from_ratings,
        staff=tuple(listed),
    )


def _share(reached: int, of: int) -> Rate:
    return Rate(reached=reached, of=of, value=reached / of if of else None)

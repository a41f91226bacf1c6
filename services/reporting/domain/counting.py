"""The figures of a month, counted from the read models. Pure: what has happened, and the instant it is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean, median
from typing import Literal, get_args

from services.reporting.domain.budget import Budget, YearServed, budget_figures, per_client, served
from services.reporting.domain.figures import (
    BudgetFigures,
    CaseFigures,
    ClassFigures,
    DutyFigures,
    EscalationFigures,
    Figures,
    Group,
    IncidentFigures,
    Indicator,
    Rate,
    Reward,
    SampleFigures,
    Satisfaction,
    Timing,
    TrendMonth,
)
from services.reporting.domain.months import month_before, months_up_to
from services.reporting.domain.people import ranking, reward, staff_figures
from services.reporting.domain.read_models import (
    Case,
    Duty,
    Escalation,
    FollowUp,
    Incident,
    IntakeData,
    Sampled,
    StaffMember,
    YearRatings,
)
from shared.contracts.events import Service
from shared.contracts.ratings import RATED, Rated
from shared.contracts.sampling import FINDINGS, KINDS, Finding, SampleKind
from shared.mongo.documents import View
from shared.policy.counting import month_span
from shared.policy.model import AppliesTo, FollowUpRule, Policy, Target

TREND_MONTHS = 6
ASSESSMENT = frozenset({"first-assessment", "in-depth-interview", "risk-assessment"})
"""The steps of a crisis assessment (A29), as crisis tells them."""

GROUPS: tuple[Group, ...] = get_args(Group)

TARGET_OF: Mapping[Group, str] = {
    "closed": "coverage-closed",
    "in-counselling": "coverage-in-counselling",
    "key-attention": "coverage-key-attention",
}
"""The target of a group's coverage; dropped clients and those after a crisis have none in the regime."""

CLAUSE_OF: Mapping[Group, str] = {"dropped": "F42", "crisis-aftercare": "A32"}

_GROUP_OF: Mapping[AppliesTo, Group] = {
    "closed": "closed",
    "closed-with-attention": "key-attention",
    "open": "in-counselling",
    "dropped": "dropped",
    "incident-resolved": "crisis-aftercare",
}

FEEDBACK_DUTIES = ("match-2wd", "complaint-3wd", "handle-5wd")
"""The duties by which what a follow-up brought up is handled (A10)."""

TARGET_OF_FINDING: Mapping[Finding, str] = {
    "accurate": "session-records-accurate",
    "warning-signs": "warning-signs-recognised",
    "crisis-judged": "crisis-judgement-accurate",
}
"""The target of what a check of a sample finds (A22, A27, A28)."""

TARGET_OF_RATED: Mapping[Rated, str] = {
    "recommendation": "recommendation-satisfaction",
    "setting": "setting-rated-good",
    "communication": "communication-effective",
    "emotion": "emotion-management",
    "result-feedback": "result-feedback-satisfaction",
}
"""The target of what clients rate (A15, A20, A21, A23, A26)."""

SATISFIED = 4
"""The lowest score that counts as satisfied where a share of the satisfied is asked for (A2, A32)."""

Standing = Literal[
    "completed",
    "refused",
    "unreachable",
    "stopped-for-crisis",
    "missed",
    "open",
    "superseded",
    "cancelled",
]


@dataclass(frozen=True)
class Facts:
    """The read models that a month's figures are counted from; others may be among them."""

    follow_ups: Sequence[FollowUp] = ()
    duties: Sequence[Duty] = ()
    escalations: Sequence[Escalation] = ()
    incidents: Sequence[Incident] = ()
    cases: Sequence[Case] = ()
    intake_data: Sequence[IntakeData] = ()
    sampled: Sequence[Sampled] = ()
    staff: Sequence[StaffMember] = ()
    earlier: Sequence[YearRatings] = ()
    """In December: the ratings of the year's months that are not among `follow_ups`."""
    budgets: Sequence[Budget] = ()
    served: Sequence[YearServed] = ()

    @classmethod
    def of(cls, view: View) -> Facts:
        """Everything that a view holds."""
        return cls(
            follow_ups=view.all(FollowUp),
            duties=view.all(Duty),
            escalations=view.all(Escalation),
            incidents=view.all(Incident),
            cases=view.all(Case),
            intake_data=view.all(IntakeData),
            sampled=view.all(Sampled),
            staff=view.all(StaffMember),
            earlier=view.all(YearRatings),
            budgets=view.all(Budget),
            served=view.all(YearServed),
        )


def figures(month: str, facts: Facts, policy: Policy, as_of: datetime) -> Figures:
    """Everything that is reported about `month`, as it stands at `as_of`."""
    follow_ups = [one for one in facts.follow_ups if one.month == month]
    duties = [one for one in facts.duties if one.month == month]
    trend = tuple(_trend(one, facts, policy, as_of) for one in months_up_to(month, TREND_MONTHS))
    classes = tuple(_of_class(group, follow_ups, policy, as_of) for group in GROUPS)
    satisfaction = _satisfaction(_scores(follow_ups), policy.target("follow-up-satisfaction"))
    ended = _ended(month, facts.cases)
    measured: dict[str, tuple[float | None, int]] = {
        target: (of_class.held.value, of_class.held.of)
        for of_class in classes
        if (target := TARGET_OF.get(of_class.group))
    }
    measured["follow-up-satisfaction"] = (satisfaction.mean, satisfaction.answers)
    intake = _intake_complete(month, facts)
    measured["intake-complete"] = (intake.value, intake.of)
    measured["satisfaction-gain"] = _gain(trend, satisfaction)
    samples = _samples(month_before(month), facts.sampled, policy)
    for name, found in _found(samples).items():
        measured[name] = (found.value, found.of)
    people = staff_figures(facts.staff, month_span(month, policy.switches.zone)[1], policy)
    if people:
        measured["counsellors-qualified"] = (people.qualified.value, people.qualified.of)
        if people.experienced:
            measured["counsellors-with-scene-experience"] = (people.experienced.value, people.experienced.of)
    rewarded = _reward(month, facts, policy)
    if rewarded and rewarded.ranked:
        measured["rewarded-staff"] = (len(rewarded.staff) / rewarded.ranked, rewarded.ranked)
    for name, one in _shares(follow_ups, duties, facts.cases, classes, ended, policy).items():
        measured[name] = (one.value, one.of)
    incidents = _incidents([one for one in facts.incidents if one.month == month], policy, as_of)
    for name, counted in (("crisis-assessed", incidents.assessed), ("agencies-respond", incidents.answered)):
        if counted:
            measured[name] = (counted.value, counted.of)
    spent = _budget(month[:4], facts, policy)
    if spent:
        measured["budget-per-client"] = (per_client(spent), spent.served)
    return Figures(
        month=month,
        as_of=as_of,
        policy_version=policy.version,
        classes=classes,
        satisfaction=satisfaction,
        flags=_sorted(Counter(flag for one in follow_ups if one.record for flag in set(one.record.flags))),
        dropped_reasons=_dropped_reasons(follow_ups, policy),
        record_in_time=_record_in_time(follow_ups, policy),
        duties=_duties(duties),
        escalations=_escalations([one for one in facts.escalations if one.month == month]),
        incidents=incidents,
        cases=CaseFigures(
            opened=sum(case.opened == month for case in facts.cases),
            closed=ended["closed"],
            dropped=ended["dropped"],
            followed_up=len({one.case_id or one.id for one in follow_ups if _is_completed(one)}),
        ),
        indicators=tuple(_indicator(target, measured.get(target.name)) for target in policy.targets),
        samples=samples,
        staff=people,
        reward=rewarded,
        budget=spent,
        trend=trend,
    )


def flat(month: Figures) -> dict[str, float | None]:
    """The figures that `report-published` carries: coded names, one number each."""
    said: dict[str, float | None] = {
        "satisfaction": month.satisfaction.mean,
        "satisfaction-answers": month.satisfaction.answers,
        "record-in-time": month.record_in_time.value,
        "incidents": month.incidents.opened,
        "head-told-in-time": month.incidents.head_told_in_time.value,
        "intervention-in-time": month.incidents.intervention_in_time.value,
        "duties-opened": sum(duty.opened for duty in month.duties),
        "duties-fulfilled": sum(duty.fulfilled for duty in month.duties),
        "duties-late": sum(duty.late for duty in month.duties),
    }
    for one in month.classes:
        said |= {
            f"{one.group}-coverage": one.rate.value,
            f"{one.group}-coverage-less-refusals": one.rate_less_refusals.value,
        }
        for name in ("due", "open", "completed", "refused", "unreachable", "stopped_for_crisis", "missed",
                     "superseded", "cancelled"):  # fmt: skip
            said[f"{one.group}-{name.replace('_', '-')}"] = getattr(one, name)
    for sample in month.samples:
        said |= {f"{sample.kind}s-drawn": sample.drawn, f"{sample.kind}s-checked": sample.checked}
    return said | {f"flag-{flag}": count for flag, count in month.flags.items()}


# --- follow-ups -----------------------------------------------------------------------------------------------


def standing(follow_up: FollowUp, as_of: datetime) -> Standing:
    """How a follow-up stands. What was recorded stays conducted, whatever was said about its plan afterwards."""
    if follow_up.record:
        return follow_up.record.outcome
    assert follow_up.plan is not None  # what has a month has a plan
    match follow_up.plan.change:
        case "superseded" | "cancelled" as ended:
            return ended
        case _:
            return "missed" if follow_up.plan.complete_by < as_of else "open"


def group_of(follow_up: FollowUp, policy: Policy) -> Group:
    """The class under which a follow-up is reported; key attention comes before in counselling (collision 3)."""
    assert follow_up.plan is not None
    plan = follow_up.plan
    rules = [rule for rule in policy.follow_ups if rule.name == plan.rule]
    group = (
        _GROUP_OF[rules[0].applies_to] if rules else _of_unknown_rule(plan.clause, policy, plan.case_class)
    )
    return "key-attention" if group == "in-counselling" and plan.case_class == "key-attention" else group


def _of_unknown_rule(clause: str, policy: Policy, case_class: str) -> Group:
    """A rule of an earlier policy: its clause tells, else the class of the case."""
    for row in policy.of_clause(clause):
        if isinstance(row, FollowUpRule):
            return _GROUP_OF[row.applies_to]
    return next((group for group in GROUPS if group == case_class), "in-counselling")


def _of_class(group: Group, follow_ups: Iterable[FollowUp], policy: Policy, as_of: datetime) -> ClassFigures:
    own = [one for one in follow_ups if group_of(one, policy) == group]
    count = Counter(standing(one, as_of) for one in own)
    due = sum(count[name] for name in ("completed", "refused", "unreachable", "stopped-for-crisis", "missed"))
    target = policy.target(TARGET_OF[group]) if group in TARGET_OF else None
    rates = {
        "due": share(count["completed"], due),
        "due-less-refusals": share(count["completed"], due - count["refused"]),
    }
    held_by = policy.switches.coverage_of  # collision 2
    return ClassFigures(
        group=group,
        clause=target.clause if target else CLAUSE_OF[group],
        target=target.value if target else None,
        planned=due + count["open"],
        open=count["open"],
        due=due,
        completed=count["completed"],
        completed_late=sum(_is_completed(one) and _is_late(one) for one in own),
        refused=count["refused"],
        unreachable=count["unreachable"],
        stopped_for_crisis=count["stopped-for-crisis"],
        missed=count["missed"],
        superseded=count["superseded"],
        cancelled=count["cancelled"],
        rate=rates["due"],
        rate_less_refusals=rates["due-less-refusals"],
        held_by=held_by,
        met=is_met(target, rates[held_by].value) if target else None,
    )


def _is_completed(follow_up: FollowUp) -> bool:
    return follow_up.record is not None and follow_up.record.outcome == "completed"


def _is_late(follow_up: FollowUp) -> bool:
    return bool(
        follow_up.record and follow_up.plan and follow_up.record.conducted_at > follow_up.plan.complete_by
    )


def _scores(follow_ups: Iterable[FollowUp]) -> list[int]:
    return [
        one.record.satisfaction for one in follow_ups if one.record and one.record.satisfaction is not None
    ]


def _satisfaction(scores: Sequence[int], target: Target) -> Satisfaction:
    mean = fmean(scores) if scores else None
    return Satisfaction(
        clause=target.clause,
        target=target.value,
        mean=mean,
        answers=len(scores),
        scores={str(score): scores.count(score) for score in range(1, 6)},
        met=is_met(target, mean),
    )


def _dropped_reasons(follow_ups: Iterable[FollowUp], policy: Policy) -> dict[str, int]:
    """F43: learned where the follow-up was completed; one without a reason is counted as such."""
    reasons: Counter[str] = Counter()
    for one in follow_ups:
        if one.record and one.record.dropped_reason:
            reasons[one.record.dropped_reason] += 1
        elif _is_completed(one) and group_of(one, policy) == "dropped":
            reasons["not-recorded"] += 1
    return _sorted(reasons)


def _record_in_time(follow_ups: Iterable[FollowUp], policy: Policy) -> Rate:
    limit = timedelta(hours=policy.duty("record-24h").limit.hours or 0)
    taken = [one.record.recorded_at - one.record.conducted_at for one in follow_ups if one.record]
    return share(sum(time <= limit for time in taken), len(taken))


# --- duties and escalations -----------------------------------------------------------------------------------


def _in_time(duty: Duty) -> bool | None:
    """Fulfilled in time, or late; None while neither is known.

    What is late the scheduler says: a limit may leave some grace (F52), and history is brought in without lateness.
    But word of a deed may come after that: what was done in time is in time.
    """
    done = duty.facts.get("fulfilled")
    if "late" in duty.facts:
        return done is not None and done.at <= duty.last.due_at
    return True if done else None


def _is_cancelled(duty: Duty) -> bool:
    return duty.last.order > 0 and "cancelled" in duty.facts and _in_time(duty) is None


def _duties(duties: Iterable[Duty]) -> tuple[DutyFigures, ...]:
    by_rule: dict[tuple[str, str], list[Duty]] = {}
    for duty in duties:
        by_rule.setdefault((duty.last.rule, duty.last.clause), []).append(duty)
    return tuple(
        _of_rule(rule, clause, of_rule) for (rule, clause), of_rule in sorted(by_rule.items(), key=_by_clause)
    )


def _of_rule(rule: str, clause: str, duties: Sequence[Duty]) -> DutyFigures:
    stand = [duty for duty in duties if not _is_cancelled(duty)]
    in_time, late = (sum(_in_time(duty) is wanted for duty in stand) for wanted in (True, False))
    return DutyFigures(
        rule=rule,
        clause=clause,
        opened=len(stand),
        fulfilled=sum("fulfilled" in duty.facts for duty in stand),
        late=late,
        open=len(stand) - in_time - late,
        cancelled=len(duties) - len(stand),
        in_time=share(in_time, in_time + late),
    )


def _by_clause(entry: tuple[tuple[str, str], object]) -> tuple[str, int, str]:
    rule, clause = entry[0]
    number = clause[1:]
    return (clause[:1], int(number) if number.isdigit() else 0, rule)


def _escalations(escalations: Iterable[Escalation]) -> tuple[EscalationFigures, ...]:
    count = Counter((one.rule, one.clause, one.urgency) for one in escalations)
    rules = {(rule, clause): None for rule, clause, _ in count}
    return tuple(
        EscalationFigures(
            rule=rule,
            clause=clause,
            notified=count[rule, clause, "notify"],
            paged=count[rule, clause, "page"],
        )
        for (rule, clause), _ in sorted(rules.items(), key=_by_clause)
    )


# --- incidents ------------------------------------------------------------------------------------------------


def _incidents(incidents: Sequence[Incident], policy: Policy, as_of: datetime) -> IncidentFigures:
    chain = policy.crisis
    head_steps = [step.name for step in chain.escalation if step.role == chain.head_role]

    def head_told(incident: Incident) -> datetime | None:
        return min((incident.first_paged[step] for step in head_steps if step in incident.first_paged),
                   default=None)  # fmt: skip

    def taken_up(incident: Incident) -> datetime | None:
        # Whoever resolves an incident has intervened, also where nobody said so before.
        times = [incident.first[name] for name in ("intervening", "resolved") if name in incident.first]
        return min(times, default=None)

    referred = [step for one in incidents for step in one.done if step.startswith("referred-")]
    answered = [step for one in incidents for step in one.done if step.startswith("responded-")]
    return IncidentFigures(
        opened=len(incidents),
        resolved=sum(one.is_resolved for one in incidents),
        first_page=_timing([_until(one, one.first.get("paged")) for one in incidents]),
        acknowledged=_timing([_until(one, one.first.get("acknowledged")) for one in incidents]),
        intervening=_timing([_until(one, one.first.get("intervening")) for one in incidents]),
        head_told_in_time=_within(
            [(one.opened_at, head_told(one)) for one in incidents], chain.head_within, as_of
        ),
        intervention_in_time=_within(
            [(one.opened_at, taken_up(one)) for one in incidents], chain.intervention_within, as_of
        ),
        assessed=share(sum(ASSESSMENT.issubset(one.done) for one in incidents), len(incidents)),
        answered=share(len(answered), len(referred)),
    )


def _until(incident: Incident, at: datetime | None) -> float | None:
    return None if at is None else max((at - incident.opened_at).total_seconds(), 0.0)


def _timing(seconds: Iterable[float | None]) -> Timing:
    known = [one for one in seconds if one is not None]
    return Timing(
        incidents=len(known), median=median(known) if known else None, longest=max(known, default=None)
    )


def _within(times: Iterable[tuple[datetime, datetime | None]], limit: timedelta, as_of: datetime) -> Rate:
    """Of those that happened or whose limit has passed, those that happened within the limit."""
    decided = [
        done is not None and done - start <= limit for start, done in times if done or start + limit < as_of
    ]
    return share(sum(decided), len(decided))


# --- samples --------------------------------------------------------------------------------------------------


def _samples(of_month: str, sampled: Iterable[Sampled], policy: Policy) -> tuple[SampleFigures, ...]:
    own = [one for one in sampled if one.month == of_month]
    return tuple(_of_kind(kind, of_month, [one for one in own if one.kind == kind], policy) for kind in KINDS)


def _of_kind(kind: SampleKind, of_month: str, sampled: Sequence[Sampled], policy: Policy) -> SampleFigures:
    row = policy.sample(f"{kind}s-drawn")
    found = {name: [one.findings[name] for one in sampled if name in one.findings] for name in FINDINGS}
    return SampleFigures(
        kind=kind,
        clause=row.clause,
        of_month=of_month,
        share=row.share,
        drawn=len(sampled),
        checked=sum(bool(one.findings) for one in sampled),
        findings={name: share(sum(good), len(good)) for name, good in found.items()},
    )


def _found(samples: Iterable[SampleFigures]) -> dict[str, Rate]:
    """A22, A27, A28: measured by what was drawn, records and recordings together."""
    return {
        target: together([one.findings[name] for one in samples])
        for name, target in TARGET_OF_FINDING.items()
    }


# --- cases and indicators -------------------------------------------------------------------------------------


def _ended(month: str, cases: Iterable[Case]) -> Counter[str]:
    """Cases that ended in the month and have not been taken up again: a client who came back did not stop."""
    return Counter(
        case.status
        for case in cases
        if (case.status == "closed" and case.closed == month)
        or (case.status == "dropped" and case.dropped == month)
    )


def _shares(
    follow_ups: Sequence[FollowUp],
    duties: Iterable[Duty],
    cases: Iterable[Case],
    classes: Iterable[ClassFigures],
    ended: Counter[str],
    policy: Policy,
) -> dict[str, Rate]:
    """What the after-sales plan asks for and follow-ups can tell.

    The plan does not say what each share is counted of, so these are our readings: satisfied (A2, A32) is a score of
    4 or 5; reached (A7) is whoever was spoken to, of the follow-ups due; evaluated (A8) is a completed follow-up
    with a score; rated good (A15, A20, A21, A23, A26) is `good` of whoever rated it; feedback handled (A10) is a duty
    of F62, F63 or F65 fulfilled, of those fulfilled or late; retained (A17) is a case closed, of those that ended;
    scales used (A25) is asked of clients who agreed to scales; a problem type (A5) is a service, and covered by a case
    that was opened, ended or followed up in the month.
    """
    completed = [one for one in follow_ups if _is_completed(one)]
    reached = sum(one.completed + one.refused + one.stopped_for_crisis for one in classes)
    agreed = {case.id for case in cases if case.scales}
    scalable = [one.record.scaled for one in completed if one.record and one.case_id in agreed]
    scores = _scores(follow_ups)
    aftercare = _scores(one for one in follow_ups if group_of(one, policy) == "crisis-aftercare")
    decided = [
        "fulfilled" in duty.facts
        for duty in duties
        if duty.last.rule in FEEDBACK_DUTIES and _in_time(duty) is not None
    ]
    return _rated(completed) | {
        "problem-types-covered": _covered(cases),
        "client-satisfaction": share(sum(score >= SATISFIED for score in scores), len(scores)),
        "reach": share(reached, sum(one.due for one in classes)),
        "evaluation-coverage": share(len(_scores(completed)), len(completed)),
        "feedback-handled": share(sum(decided), len(decided)),
        "retention": share(ended["closed"], ended.total()),
        "scales-used": share(sum(scalable), len(scalable)),
        "aftercare-satisfaction": share(sum(score >= SATISFIED for score in aftercare), len(aftercare)),
    }


def _intake_complete(month: str, facts: Facts) -> Rate:
    """A18: of the cases opened in the month those whose intake data is complete, whenever it came to be."""
    opened = {case.id for case in facts.cases if case.opened == month}
    return share(len(opened & {one.id for one in facts.intake_data}), len(opened))


def _covered(cases: Iterable[Case]) -> Rate:
    services = {case.service for case in cases if case.service}
    return share(len(services), len(get_args(Service)) if services else 0)


def _budget(year: str, facts: Facts, policy: Policy) -> BudgetFigures | None:
    budget = next((one for one in facts.budgets if one.id == year), None)
    known = next((one for one in facts.served if one.id == year), None)
    return budget_figures(year, budget, served(year, known, facts.cases), policy)


def _reward(month: str, facts: Facts, policy: Policy) -> Reward | None:
    year, _, number = month.partition("-")
    if number != "12":
        return None
    known = next((one for one in facts.earlier if one.id == year), None)
    return reward(year, ranking(year, facts.follow_ups, known, policy), policy)


def _rated(completed: Iterable[FollowUp]) -> dict[str, Rate]:
    ratings = [one.record.ratings for one in completed if one.record]
    given = {name: [one[name] for one in ratings if name in one] for name in RATED}
    return {TARGET_OF_RATED[name]: share(bands.count("good"), len(bands)) for name, bands in given.items()}


def _gain(trend: Sequence[TrendMonth], now: Satisfaction) -> tuple[float | None, int]:
    """A12: satisfaction against the month before."""
    before = trend[-2].satisfaction if len(trend) > 1 else None
    return (now.mean / before - 1 if now.mean is not None and before else None, now.answers)


def _indicator(target: Target, measured: tuple[float | None, int] | None) -> Indicator:
    value, counted = measured or (None, 0)
    return Indicator(
        name=target.name,
        clause=target.clause,
        value=value,
        counted=counted,
        target=target.value,
        unit=target.unit,
        sense=target.sense,
        met=is_met(target, value),
    )


def _trend(month: str, facts: Facts, policy: Policy, as_of: datetime) -> TrendMonth:
    follow_ups = [one for one in facts.follow_ups if one.month == month]
    scores = _scores(follow_ups)
    return TrendMonth(
        month=month,
        rates={group: _of_class(group, follow_ups, policy, as_of).held.value for group in GROUPS},
        satisfaction=fmean(scores) if scores else None,
    )


def share(reached: int, of: int) -> Rate:
    """A share of what was counted; None of nothing."""
    return Rate(reached=reached, of=of, value=reached / of if of else None)


def together(rates: Iterable[Rate]) -> Rate:
    """Several shares as one, each by what it was counted of."""
    counted = list(rates)
    return share(sum(one.reached for one in counted), sum(one.of for one in counted))


def is_met(target: Target, value: float | None) -> bool | None:
    """Whether a value keeps to its target; None without a value."""
    if value is None:
        return None
    return value >= target.value if target.sense == "at-least" else value <= target.value


def _sorted(count: Counter[str]) -> dict[str, int]:
    """The most frequent first, then by name."""
    return dict(sorted(count.items(), key=lambda entry: (-entry[1], entry[0])))

"""The monthly report as a page (F64): one file that needs nothing from outside.

Chinese first, English second; each figure with its clause, its target and a verdict; a table for every chart.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from services.reporting import charts
from services.reporting.domain.counting import GROUPS, together
from services.reporting.domain.figures import Figures
from shared.contracts.sampling import FINDINGS
from shared.policy.model import Policy
from shared.web.texts import TextMissing, text

Verdict = Literal["met", "missed", "none", "untargeted"]

OUTCOMES = (
    "completed",
    "refused",
    "unreachable",
    "stopped-for-crisis",
    "missed",
    "open",
)

_MARKS = {"met": "✓", "missed": "✗", "none": "–", "untargeted": "·"}


def render(figures: Figures, published_at: datetime | None, policy: Policy) -> str:
    """The page."""
    zone = policy.switches.zone
    page: str = _TEMPLATE.render(
        f=figures,
        published_at=published_at and f"{published_at.astimezone(zone):%Y-%m-%d %H:%M}",
        as_of=f"{figures.as_of.astimezone(zone):%Y-%m-%d %H:%M}",
        zone=zone.key,
        outcomes=OUTCOMES,
        outcome_names=[f"column.{name}" for name in OUTCOMES],
        class_names=[f"class.{group}" for group in GROUPS],
        findings=FINDINGS,
        duties_in_time=together([duty.in_time for duty in figures.duties]),
        draw=_Drawings(figures),
    )
    return page


class _Drawings:
    """The charts, drawn where the page asks for them."""

    def __init__(self, figures: Figures) -> None:
        self._f = figures

    def outcomes(self) -> Markup:
        classes = self._f.classes
        series = [
            (_zh(f"column.{name}"), [getattr(one, name.replace("-", "_")) for one in classes])
            for name in OUTCOMES
        ]
        return _drawn(
            charts.stacked([_zh(f"class.{one.group}") for one in classes], series, _zh("chart.outcomes"))
        )

    def coverage(self) -> Markup:
        classes = self._f.classes
        series = [
            (_zh("column.rate"), [_percent_of(one.rate.value) for one in classes]),
            (
                _zh("column.rate-less-refusals"),
                [_percent_of(one.rate_less_refusals.value) for one in classes],
            ),
            (_zh("column.target"), [_percent_of(one.target) for one in classes]),
        ]
        labels = [_zh(f"class.{one.group}") for one in classes]
        return _drawn(charts.bars(labels, series, _zh("chart.coverage"), top=100))

    def trend(self) -> Markup:
        series = [
            (_zh(f"class.{group}"), [_percent_of(one.rates[group]) for one in self._f.trend])
            for group in GROUPS
        ]
        labels = [one.month for one in self._f.trend]
        return _drawn(charts.lines(labels, series, _zh("chart.trend"), span=(0, 100)))

    def satisfaction(self) -> Markup:
        scores = self._f.satisfaction.scores
        return _drawn(
            charts.single(
                list(scores), _zh("column.answers"), list(scores.values()), _zh("chart.satisfaction")
            )
        )

    def satisfaction_trend(self) -> Markup:
        months = self._f.trend
        series: list[tuple[str, charts.Values]] = [
            (_zh("column.satisfaction"), [one.satisfaction for one in months]),
            (_zh("column.target"), [self._f.satisfaction.target] * len(months)),
        ]
        labels = [one.month for one in months]
        return _drawn(charts.lines(labels, series, _zh("chart.satisfaction-trend"), span=(1, 5)))

    def duties(self) -> Markup:
        rows = self._f.duties
        series = [
            (_zh("column.fulfilled-in-time"), [one.in_time.reached for one in rows]),
            (_zh("column.late"), [one.late for one in rows]),
            (_zh("column.open"), [one.open for one in rows]),
        ]
        labels = [f"{_name('duty', one.rule)} {one.clause}" for one in rows]
        return _drawn(charts.stacked(labels, series, _zh("chart.duties"), width=1160))

    def reasons(self) -> Markup:
        reasons = self._f.dropped_reasons
        labels = [_name("reason", reason) for reason in reasons]
        return _drawn(
            charts.single(labels, _zh("column.count"), list(reasons.values()), _zh("chart.reasons"))
        )


def _drawn(svg: str) -> Markup:
    # Safe because it was serialised from a tree of elements that this program alone made.
    return Markup(svg)


def _zh(key: str, **params: object) -> str:
    return text(f"reporting.{key}", "zh", **params)


def _both(key: str, **params: object) -> Markup:
    """A text in Chinese, and in English behind it."""
    zh, en = (escape(text(f"reporting.{key}", language, **params)) for language in ("zh", "en"))
    return Markup('<span class="zh">{}</span> <span class="en" lang="en">{}</span>').format(zh, en)


def _name(kind: str, code: str) -> str:
    """The Chinese name of a code; the code itself where the catalogue does not know it."""
    try:
        return _zh(f"{kind}.{code}")
    except TextMissing:
        return code


def _named(kind: str, code: str) -> Markup:
    """The name of a code in both languages; the code itself where the catalogue does not know it."""
    try:
        return _both(f"{kind}.{code}")
    except TextMissing:
        return Markup("<code>{}</code>").format(code)


def _percent_of(value: float | None) -> float | None:
    return None if value is None else float(_cut(value * 100, 1))


def _amount(value: float | None, unit: str = "share") -> str:
    """A figure as it is read. Cut, not rounded: 89.96 % must not read as the 90 % that it is not."""
    if value is None:
        return "—"
    if unit == "share":
        return f"{_cut(value * 100, 1)}\u202f%"
    return _cut(value, 2) if unit == "points" else f"{_cut(value, 2)} 元"


def _money(fen: int) -> str:
    """Fen as yuan, by whole numbers alone."""
    yuan, rest = divmod(fen, 100)
    return f"{yuan:,}.{rest:02} 元"


def _cut(value: float, decimals: int) -> str:
    scale = 10**decimals
    return f"{int(value * scale + (1e-9 if value >= 0 else -1e-9)) / scale:.{decimals}f}".removesuffix(
        "." + "0" * decimals
    )


def _duration(seconds: float | None) -> Markup | str:
    if seconds is None:
        return "—"
    if seconds < 120:
        return _both("unit.seconds", n=f"{seconds:.0f}")
    if seconds < 7200:
        return _both("unit.minutes", n=f"{seconds / 60:.1f}")
    return _both("unit.hours", n=f"{seconds / 3600:.1f}")


def _verdict(met: bool | None, target: float | None = 0.0, value: object = 0.0) -> Verdict:
    if value is None or (met is None and target is not None):
        return "none"
    if target is None:
        return "untargeted"
    return "met" if met else "missed"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("pages")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"t": _both, "zh": _zh, "named": _named, "verdict": _verdict, "marks": _MARKS}
    environment.filters |= {"amount": _amount, "money": _money, "duration": _duration}
    return environment


_TEMPLATE: Any = _environment().get_template("report.html.j2")

"""Alerts ask for metrics that are exported, by labels that they have, and each leads to the runbook that answers it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from services.crisis.auditor import PROBLEMS
from shared.observability import metrics

ROOT = Path(__file__).parents[2]
COMPONENTS = ROOT / "deploy/k8s/components"
RULE = yaml.safe_load((COMPONENTS / "alerts/alerts.yaml").read_text())
ALERTS: list[dict[str, Any]] = [rule for group in RULE["spec"]["groups"] for rule in group["rules"]]

VALUES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("aftercare_flags_total", "result"): ("read", "unreadable"),
    ("aftercare_pages_total", "result"): ("accepted", "rejected"),
    ("aftercare_heartbeats_total", "result"): ("taken", "refused", "withheld"),
    ("aftercare_crises_over_http_total", "result"): ("taken", "refused", "failed"),
}
"""What the labels that alerts choose by can be."""

_SELECTOR = re.compile(r"(aftercare_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')
_BY = re.compile(r"by \(([^)]*)\)")


def exported() -> dict[str, tuple[str, ...]]:
    """Every series that a service can export, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            labels = tuple(metric._labelnames)
            if family.type == "histogram":
                found |= {f"{family.name}_bucket": (*labels, "le")}
                found |= {f"{family.name}_{part}": labels for part in ("count", "sum")}
            else:
                found[family.name + ("_total" if family.type == "counter" else "")] = labels
    return found


EXPORTED = exported()


def named(alert: dict[str, Any]) -> str:
    return str(alert["alert"])


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_an_alert_says_how_bad_it_is_after_how_long_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert re.fullmatch(r"\d+[mh]", alert["for"])
    runbook = ROOT / alert["annotations"]["runbook_url"]
    assert runbook.parent == ROOT / "docs/runbooks"
    assert f"`{alert['alert']}`" in runbook.read_text(encoding="utf-8"), "it names the alerts that lead to it"
    assert alert["annotations"]["summary"]


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_an_alert_asks_for_series_that_are_exported_by_labels_that_they_have(alert: dict[str, Any]) -> None:
    asked = _SELECTOR.findall(alert["expr"])
    assert asked
    for series, matchers in asked:
        assert series in EXPORTED, series
        for label, _, value in _MATCHER.findall(matchers):
            assert label in EXPORTED[series], f"{series} has no label {label}"
            if label == "le":
                assert value in bounds(series)
            else:
                assert value in VALUES[series, label]
        for labels in _BY.findall(alert["expr"]):
            assert set(labels.split(", ")) <= set(EXPORTED[series]), f"{series} has no {labels}"
    told = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
    assert told <= {label for labels in _BY.findall(alert["expr"]) for label in labels.split(", ")}


def bounds(series: str) -> set[str]:
    """The upper bounds of a histogram's buckets, as they are exported."""
    name = series.removesuffix("_bucket")
    (family,) = [found for found in REGISTRY.collect() if found.name == name]
    return {sample.labels["le"] for sample in family.samples if sample.name == series}


@pytest.mark.parametrize("series", sorted({series for series, _ in VALUES} - {"aftercare_pages_total"}))
def test_a_series_that_an_alert_waits_for_is_there_before_anything_happened(series: str) -> None:
    """Prometheus sees no increase from nothing to one."""
    (family,) = [found for found in REGISTRY.collect() if f"{found.name}_total" == series]
    there = {sample.labels["result"] for sample in family.samples if sample.name == series}
    assert there == set(VALUES[series, "result"])


def test_every_alert_has_a_name_of_its_own() -> None:
    assert len({named(alert) for alert in ALERTS}) == len(ALERTS)


def test_the_runbook_tells_of_every_problem_that_the_auditor_finds() -> None:
    text = (ROOT / "docs/runbooks/incident-stuck.md").read_text(encoding="utf-8")
    assert [problem for problem in PROBLEMS if f"`{problem}" not in text] == []


def test_buckets_suit_what_is_measured() -> None:
    """From 5 ms to a minute, and from seconds to hours; the aims (60 ms, 200 ms; ten and thirty minutes) are bounds."""
    page, acknowledged = (
        metrics.FLAG_TO_PAGE_SECONDS._upper_bounds,
        metrics.FLAG_TO_ACKNOWLEDGED_SECONDS._upper_bounds,
    )
    assert (page[0], page[-2]) == (0.005, 60)
    assert {0.06, 0.2} <= set(page)
    assert {600, 1800} <= set(acknowledged)
    assert acknowledged[-2] >= 4 * 3600


# --- the drill


def test_the_weekly_drill_calls_what_it_may_call() -> None:
    job, *policies = yaml.safe_load_all((COMPONENTS / "drill/drill.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["args"][:3] == ["drill", "--url", "http://crisis:8004"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    selectors = [policy["spec"]["podSelector"]["matchLabels"] for policy in policies]
    assert pod["metadata"]["labels"] in selectors
    late = next(alert for alert in ALERTS if alert["alert"] == "DrillLate")
    assert "8 * 86400" in late["expr"], "a day later than the weekly drill"

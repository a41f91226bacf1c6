"""PagerDuty's, GoAlert's and Alertmanager's ways in: what they open, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from tests.fakes.provider import Asked, Provider, Said


@dataclass
class FakePagerDuty(Provider):
    """Events API v2: keeps the state of each `dedup_key`."""

    states: dict[str, str] = field(default_factory=dict)

    def limit(self) -> Said:
        return 429, {
            "status": "throttle exceeded",
            "message": "Requests for this service are arriving too quickly",
        }

    def refuse(self) -> Said:
        return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": []}

    def judge(self, asked: Asked) -> Said:
        said = asked.document()
        action, key = said.get("event_action"), said.get("dedup_key", "")
        if len(said.get("routing_key", "")) != 32 or action not in ("trigger", "acknowledge", "resolve"):
            return self.refuse()
        if action == "trigger":
            payload = said.get("payload", {})
            wanted = ("summary", "source", "severity")
            severities = ("critical", "error", "warning", "info")
            if not all(payload.get(name) for name in wanted) or payload["severity"] not in severities:
                return self.refuse()
            if len(payload["summary"]) > 1024 or len(key) > 255:
                return self.refuse()
            self.states.setdefault(key, "triggered")
            self.taken.append(payload["summary"])
        elif key in self.states:
            self.states[key] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        return 202, {"status": "success", "message": "Event processed", "dedup_key": key}


@dataclass
class FakeGoAlert(Provider):
    """The generic API: keeps the open alerts by `dedup`."""

    token: str = "key"
    open: set[str] = field(default_factory=set)

    def limit(self) -> Said:
        return 429, None

    def refuse(self) -> Said:
        return 401, None

    def judge(self, asked: Asked) -> Said:
        if asked.path != "/api/v2/generic/incoming" or asked.query.get("token") != self.token:
            return self.refuse()
        said = asked.document()
        if not said.get("summary") and said.get("action") != "close":
            return 400, None
        if said.get("action") == "close":
            self.open.discard(said["dedup"])
        else:
            self.open.add(said["dedup"])
            self.taken.append(said["summary"])
        return 204, None


@dataclass
class FakeAlertmanager(Provider):
    """API v2: keeps until when each alert fires, by its `incident`."""

    ends: dict[str, datetime] = field(default_factory=dict)

    def limit(self) -> Said:
        return 429, None

    def refuse(self) -> Said:
        return 400, {"code": 602, "message": "labels in body is required"}

    def judge(self, asked: Asked) -> Said:
        if asked.path != "/api/v2/alerts":
            return 404, None
        for alert in asked.document():
            if not alert.get("labels", {}).get("alertname"):
                return self.refuse()
            key = alert["labels"]["incident"]
            self.ends[key] = datetime.fromisoformat(alert["endsAt"])
            if "annotations" in alert:
                self.taken.append(alert["annotations"]["summary"])
        return 200, None

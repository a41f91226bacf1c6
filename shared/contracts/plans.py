"""What is said of a month's plan (F45): milestones whose subject is the month."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

DECISIONS: Mapping[str, Literal["approved", "returned"]] = {
    "plan-approved": "approved",
    "plan-returned": "returned",
}
"""The milestones by which the manager decides on a plan, and what it then is."""
SIGNED = "plan-amendments-signed"
"""The manager has signed every amendment that had arisen until `reached_at`."""
MILESTONES = frozenset({*DECISIONS, SIGNED})

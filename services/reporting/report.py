"""The monthly report as a page (F64): one file that needs nothing from outside."""

from __future__ import annotations

from datetime import datetime

from services.reporting.domain.figures import Figures
from shared.policy.model import Policy


def render(figures: Figures, published_at: datetime | None, policy: Policy) -> str:
    """The page."""
    return f"<!doctype html><title>{figures.month}</title>"

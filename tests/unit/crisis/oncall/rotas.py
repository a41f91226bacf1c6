"""Rotas for tests: written as people write them, in a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from services.crisis.oncall.overrides import Override
from services.crisis.oncall.rota import Rota, RotaFile, read_rota
from services.crisis.oncall.rotation import Rotation, Span
from services.crisis.oncall.shifts import Shift
from shared.policy.workdays import WorkCalendar
from tests.builders import at

ROLE = "on-call"
WORKDAYS = WorkCalendar()


def rotation(*people: str, **given: Any) -> Rotation:
    """A layer of these people from Monday, 2026-01-05 on, at 09:00 and for a week each unless said otherwise."""
    return Rotation.model_validate({"name": "layer", "people": people, "begins": date(2026, 1, 5), **given})


def rota(*layers: Rotation, workdays: WorkCalendar = WORKDAYS, **given: Any) -> Rota:
    """A rota with these layers in one role."""
    named = [layer.model_copy(update={"name": f"{layer.name}-{place}"}) for place, layer in enumerate(layers)]
    schedules = [{"role": ROLE, "layers": named}] if layers else []
    return Rota(RotaFile.model_validate({"schedules": schedules, **given}), {}, workdays)


def written(folder: Path, layers: list[Mapping[str, Any]], **given: Any) -> Path:
    """The file of a rota with these layers in one role."""
    path = folder / "rota.yaml"
    path.write_text(yaml.safe_dump({"schedules": [{"role": ROLE, "layers": layers}], **given}))
    return path


def read(folder: Path, layers: list[Mapping[str, Any]], **given: Any) -> Rota:
    return read_rota(written(folder, layers, **given), WORKDAYS)


def span(start: str, days: float = 7) -> Span:
    begins = at(start)
    return Span(begins, begins + timedelta(days=days))


def held_by(found: list[Shift], instant: datetime) -> str | None:
    return next((shift.person for shift in found if shift.start <= instant < shift.end), None)


def override(person: str, start: str, end: str, number: int = 1, **given: Any) -> Override:
    fields = {
        "id": f"{person} {number}",
        "role": ROLE,
        "person": person,
        "start": at(start),
        "end": at(end),
        "number": number,
        "made_by": "staff-9",
        "made_at": at("2026-01-01 09:00"),
    }
    return Override.model_validate({**fields, **given})

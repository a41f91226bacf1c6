"""On Apache Kafka every simulation has a broker and a database of its own, as it has on the embedded engines."""

from __future__ import annotations

import pytest

from aftercare import simulate
from tests.engines.clusters import real_engines


@pytest.fixture(autouse=True)
def _engines_asked_for(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.config.getoption("--kafka"):
        monkeypatch.setattr(simulate, "embedded_engines", lambda: real_engines(1))

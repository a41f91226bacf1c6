"""The services as processes of their own on given engines, as they run in production."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aftercare.engines import Engines
from aftercare.stack import development_secrets
from tests.engines.process import Process


def production_settings(engines: Engines, namespace: str = "", **own: Any) -> dict[str, Any]:
    """Consumer groups, idempotent producers, the declared partitions: nothing made easy."""
    return {
        "kafka_bootstrap_servers": engines.kafka,
        "kafka_idempotence": engines.idempotence,
        "kafka_replication": engines.replication,
        "mongo_url": engines.mongo,
        "namespace": namespace,
        "log_level": "WARNING",
        **development_secrets("tests"),
        **own,
    }


def service(
    name: str,
    settings: dict[str, Any],
    folder: Path,
    port: int,
    replica: int = 0,
    own: Mapping[str, str] | None = None,
    command: Sequence[str] = ("aftercare.cli", "run"),
) -> Process:
    """`aftercare run NAME` with these settings alone, and variables of its `own`; not started yet.

    `command`: another module that runs it, with what stands between that and the name.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AFTERCARE_")}
    environment |= {f"AFTERCARE_{key.upper()}": str(value) for key, value in settings.items()}
    environment |= {"AFTERCARE_HTTP_PORT": str(port), **(own or {})}
    called = f"{name}-{replica}" if replica else name
    return Process(called, [sys.executable, "-m", *command, name], folder / f"{called}.log", environment)

"""What processes cost, read from /proc: CPU seconds, peak memory, and what the machine has left. Linux only."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.engines.process import Process, memory_mib

ENGINES = {"java": "Kafka", "mongod": "MongoDB"}
"""The engines by the names of their programs."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Sample:
    """Times that count up, in seconds. Those of the machine are of all its cores together."""

    at: float
    services: float
    engines: dict[str, float]
    idle: float
    machine: float

    @classmethod
    def take(cls, services: Sequence[Process]) -> Sample:
        engines = dict.fromkeys(ENGINES.values(), 0.0)
        for pid, program in _children():
            if program in ENGINES:
                engines[ENGINES[program]] += _cpu_seconds(pid)
        idle, machine = _machine()
        return cls(time.monotonic(), sum(_cpu_seconds(one.pid) for one in services), engines, idle, machine)


@dataclass(frozen=True)
class Usage:
    """What some events cost between two samples."""

    rate: float
    """Events a second."""
    services: float
    """CPU seconds of the services for 1,000 events; `kafka` and `mongodb` those of the engines."""
    kafka: float
    mongodb: float
    idle: float
    """Which part of all cores had nothing to do."""
    elsewhere: float
    """Which part of all cores worked for neither services nor engines: the benchmark itself, and others."""
    peak: dict[str, float]
    """Peak resident memory of each service process, MiB."""

    @classmethod
    def between(cls, first: Sample, last: Sample, events: float, services: Sequence[Process]) -> Usage:
        thousands = events / 1_000
        engines = {name: last.engines[name] - first.engines[name] for name in ENGINES.values()}
        ours = last.services - first.services
        machine, idle = last.machine - first.machine, last.idle - first.idle
        return cls(
            rate=events / (last.at - first.at),
            services=ours / thousands,
            kafka=engines["Kafka"] / thousands,
            mongodb=engines["MongoDB"] / thousands,
            idle=idle / machine,
            elsewhere=max(machine - idle - ours - sum(engines.values()), 0.0) / machine,
            peak={one.name: memory_mib(one.pid, "VmHWM") for one in services},
        )


def _fields(pid: str) -> tuple[str, list[str]]:
    """The program of a process, and the fields of its `stat` after that, from the state on."""
    head, _, rest = (_PROC / pid / "stat").read_text().rpartition(")")
    return head.partition("(")[2], rest.split()


def _cpu_seconds(pid: int) -> float:
    fields = _fields(str(pid))[1]
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _children() -> list[tuple[int, str]]:
    """The children of this process: pid and program."""
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                program, fields = _fields(entry.name)
            except OSError:
                continue  # it has ended
            if int(fields[1]) == os.getpid():
                found.append((int(entry.name), program))
    return found


def _machine() -> tuple[float, float]:
    """Seconds of all cores together: idle (or waiting for a disk), and in all."""
    fields = [int(field) for field in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (fields[3] + fields[4]) / _TICKS, sum(fields) / _TICKS

"""Loaded by a process whose clock is stepped: libfaketime refuses what `time.sleep` asks for after a step."""

import select
import time


def _sleep(seconds: float) -> None:
    select.select((), (), (), seconds)


time.sleep = _sleep

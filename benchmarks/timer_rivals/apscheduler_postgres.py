"""APScheduler 3 with its job store in PostgreSQL: one process with ten threads (its default).

It takes a job out of its store before it runs it, so a job that a crash interrupts is lost. It hears of no job that
another process stores, so it is woken every second to look.
"""

from __future__ import annotations

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from given import timers, told
from psycopg_pool import ConnectionPool
from publishing import Publishing

_publishing = Publishing(told())
_fired = ConnectionPool(told().postgres, min_size=10, open=False)


def fire(timer: str, at: str) -> None:
    with _fired.connection() as connection:  # one transaction: the mark stands once the record is published
        if connection.execute("INSERT INTO fired VALUES (%s) ON CONFLICT DO NOTHING", (timer,)).rowcount:
            _publishing.publish(timer, at)


def _configure(scheduler: BaseScheduler, options: str = "") -> None:
    """`options`: of its store's connections to PostgreSQL."""
    url = told().postgres.replace("postgresql://", "postgresql+psycopg://")
    kept = SQLAlchemyJobStore(url, engine_options={"connect_args": {"options": options}})
    scheduler.configure(
        jobstores={"default": kept, "memory": MemoryJobStore()},
        executors={"default": ThreadPoolExecutor(10)},
        job_defaults={"misfire_grace_time": None},  # else what is a second late is not run at all
        timezone="UTC",
    )


def store() -> None:
    scheduler = BackgroundScheduler()
    _configure(scheduler, "-c synchronous_commit=off")  # here alone: so many waits for the disk take minutes
    scheduler.start(paused=True)
    for timer, at in timers():
        scheduler.add_job(fire, "date", run_date=at, args=(timer, at.isoformat()), id=timer)


def work() -> None:
    _fired.open()
    with _fired.connection() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS fired (timer text PRIMARY KEY)")
    scheduler = BlockingScheduler()
    _configure(scheduler)
    scheduler.add_job(scheduler.wakeup, "interval", seconds=1, jobstore="memory")
    scheduler.start()

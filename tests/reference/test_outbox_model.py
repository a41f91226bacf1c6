"""Journal and relay against a model: whatever fails and wherever the process ends, what was committed goes out.

The real `Journal` runs on a database and a broker of a few lines each, in a loop whose time jumps. Each of their
calls is a place where the process may end, before or after the call took effect, or where an answer is lost.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from aiokafka.errors import RequestTimedOutError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure, PyMongoError

from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.journal import Entry, Journal, Outcome

_AT_ONCE = timedelta()
KEYS = [b"a", b"b"]
INPUTS = st.lists(st.lists(st.sampled_from(KEYS), max_size=3), min_size=1, max_size=4)
MISHAPS = st.sampled_from(
    ["conflict", "lost answer", "unmarked", "refused", "half published", "answer of the bus lost"]
)


class Died(BaseException):
    """The process has ended: nothing after this happens in it."""


class World:
    """What outlives a process: the database, the broker, and what is about to go wrong."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[Any, dict[str, Any]]] = defaultdict(dict)
        self.committed: list[Outgoing] = []
        self.bus: list[Outgoing] = []
        self.dies_in: int | None = None
        """After so many calls the process ends."""
        self.dead = False
        self.mishaps: list[str] = []
        """What happens to the next commits and publications."""
        self.lost_an_answer = False

    async def call(self) -> None:
        """A place where the process may end."""
        await asyncio.sleep(0)
        if self.dies_in is not None:
            self.dies_in -= 1
            self.dead = self.dead or self.dies_in < 0
        if self.dead:
            raise Died

    def mishap(self, *kinds: str) -> str | None:
        for kind in self.mishaps:
            if kind in kinds:
                self.mishaps.remove(kind)
                return kind
        return None


class Session:
    def __init__(self, world: World) -> None:
        self._world = world
        self.writes: list[tuple[str, dict[str, Any]]] = []

    @asynccontextmanager
    async def start_transaction(self) -> AsyncIterator[None]:
        self.writes = []
        yield
        await self._world.call()
        kind = self._world.mishap("conflict", "lost answer")
        if kind == "conflict":
            raise OperationFailure("conflict", 112, {"errorLabels": ["TransientTransactionError"]})
        for collection, document in self.writes:
            self._world.stored[collection][document["_id"]] = document
            for one in document.get("records", ()):
                headers = tuple(one["headers"].items())
                self._world.committed.append(Outgoing(one["topic"], one["key"], one["value"], headers))
        if kind == "lost answer":
            self._world.lost_an_answer = True
            raise AutoReconnect("the answer to the commit was lost")
        await self._world.call()

    async def end_session(self) -> None:
        await self._world.call()


class Cursor:
    def __init__(self, world: World, found: list[dict[str, Any]]) -> None:
        self._world = world
        self._found = found

    def sort(self, order: Sequence[tuple[str, int]]) -> Cursor:
        self._found.sort(key=lambda document: [document[name] for name, _ in order])
        return self

    def limit(self, count: int) -> Cursor:
        del self._found[count:]
        return self

    async def to_list(self, _: None) -> list[dict[str, Any]]:
        await self._world.call()
        return self._found


class Collection:
    """As much of a collection as the journal uses."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._documents = world.stored[name]

    def find(self, query: dict[str, Any], *_: Any, session: Session | None = None) -> Cursor:
        return Cursor(self._world, [one for one in self._documents.values() if _matches(one, query)])

    async def insert_many(
        self, documents: Sequence[dict[str, Any]], *, session: Session, ordered: bool = True
    ) -> None:
        await self._world.call()
        if any(document["_id"] in self._documents for document in documents):
            raise BulkWriteError({"writeErrors": [{"code": 11000}]})
        session.writes += [(self._name, document) for document in documents]

    async def update_many(self, query: dict[str, Any], update: dict[str, Any], *, hint: str) -> None:
        await self._world.call()
        if self._world.mishap("unmarked"):
            raise AutoReconnect("the database is away")
        for document in self._documents.values():
            if _matches(document, query):
                document.update(update["$set"])
        await self._world.call()


def _matches(document: dict[str, Any], query: dict[str, Any]) -> bool:
    for name, wanted in query.items():
        if name == "$or":
            fits = any(_matches(document, one) for one in wanted)
        elif not isinstance(wanted, dict):
            fits = document[name] == wanted
        elif "$in" in wanted:
            fits = document[name] in wanted["$in"]
        else:
            ((operator, bound),) = wanted.items()
            fits = {"$lte": document[name] <= bound, "$gt": document[name] > bound}[operator]
        if not fits:
            return False
    return True


class Database:
    def __init__(self, world: World) -> None:
        self._world = world
        self.client = self

    def get_collection(self, name: str) -> Collection:
        return Collection(self._world, name)

    async def start_session(self) -> Session:
        await self._world.call()
        return Session(self._world)


class Publisher:
    """Takes records one by one; what fails may have taken some of them."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def publish(self, records: Sequence[Outgoing]) -> None:
        kind = self._world.mishap("refused", "half published", "answer of the bus lost")
        if kind == "refused":
            raise RequestTimedOutError
        for record in records[: len(records) // 2] if kind == "half published" else records:
            await self._world.call()
            self._world.bus.append(record)
        if kind:
            raise RequestTimedOutError
        await self._world.call()


class JumpingLoop(asyncio.SelectorEventLoop):
    """Waits for nothing: where it would sleep, its time jumps."""

    def __init__(self) -> None:
        super().__init__(_NoWait(self))
        self.jumped = 0.0

    def time(self) -> float:
        return time.monotonic() + self.jumped


class _NoWait(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        self._loop.jumped += timeout or 0
        return super().select(0)


class Outbox(RuleBasedStateMachine):
    """A service that reads one input in order and commits its offset only behind what is settled."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.loop = JumpingLoop()
        self.offset = 0
        self.inputs: list[list[Outgoing]] = []
        self.start()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.mishaps.clear()
        self.end()
        self.start()
        self.handle(len(self.inputs))
        self.run(self.journal.close())
        self.loop.close()
        assert self.offset == len(self.inputs)
        assert self.unpublished() == []
        assert self.undispatched() == 0
        handled = [record for entry in self.inputs for record in entry]
        assert sorted(map(_name, self.world.committed)) == sorted(map(_name, handled))

    # --- what happens ---------------------------------------------------------------------------------------

    @rule(keys=INPUTS, count=st.integers(1, 5), mishaps=st.lists(MISHAPS, max_size=2))
    def hear(self, keys: list[list[bytes]], count: int, mishaps: list[str]) -> None:
        """Inputs arrive, each of which publishes something about these keys, and a batch is handled."""
        for of_one in keys:
            number = len(self.inputs)
            self.inputs.append(
                [Outgoing("topic", key, f"{number}.{n}".encode(), ()) for n, key in enumerate(of_one)]
            )
        self.world.mishaps = mishaps
        self.handle(count)

    def handle(self, count: int) -> None:
        """A batch is settled and its offset committed, unless something fails: then it comes again."""
        end = min(self.offset + count, len(self.inputs))
        with suppress(PyMongoError):
            self.run(self.journal.transact(self.work(self.offset, end)))
            self.offset = end

    @rule()
    def relay(self) -> None:
        """What is left behind; taken at once here, since this loop knows no wall clock."""
        with suppress(PyMongoError):
            self.run(self.journal.relay(_AT_ONCE))

    @rule(calls=st.integers(0, 12), count=st.integers(1, 4))
    def die(self, calls: int, count: int) -> None:
        """The process ends after so many calls in the middle of a batch, and is started again."""
        self.world.dies_in = calls
        with suppress(Died):
            self.handle(count)
        self.end()
        self.start()

    @rule(calls=st.integers(0, 8), again=st.integers(0, 8))
    def die_while_starting(self, calls: int, again: int) -> None:
        """The process ends, and ends again while it relays what the first one left."""
        self.world.dies_in = calls
        with suppress(Died):
            self.handle(2)
        self.end()
        self.world.dies_in = again
        with suppress(Died):
            self.start()
        self.end()
        self.start()

    @rule()
    def wait(self) -> None:
        """Long enough for marks to be written."""
        self.run(asyncio.sleep(1))

    # --- what holds -----------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_published_that_was_not_committed(self) -> None:
        if hasattr(self, "world"):
            assert {_name(record) for record in self.world.bus} <= {
                _name(one) for one in self.world.committed
            }

    @invariant()
    def nothing_is_committed_twice(self) -> None:
        if hasattr(self, "world"):
            names = [_name(record) for record in self.world.committed]
            assert len(set(names)) == len(names)

    @invariant()
    def what_is_marked_was_published(self) -> None:
        if hasattr(self, "world"):
            published = {_name(record) for record in self.world.bus}
            for parcel in self.world.stored["outbox"].values():
                if parcel["dispatched"]:
                    assert {(one["key"], one["value"]) for one in parcel["records"]} <= published

    @invariant()
    def each_key_keeps_its_order(self) -> None:
        # A commit whose answer was lost is published by the relay alone, behind what came after it: its readers
        # hold to times and revisions.
        if hasattr(self, "world") and not self.world.lost_an_answer:
            for key in KEYS:
                first = list(dict.fromkeys(one.value for one in self.world.bus if one.key == key))
                order = [one.value for one in self.world.committed if one.key == key]
                assert first == order[: len(first)], "something overtook what was committed before it"

    # --- how it is done -------------------------------------------------------------------------------------

    def work(self, start: int, end: int) -> Any:
        async def decide(session: Any) -> Outcome:
            ids = [f"in {number}" for number in range(start, end)]
            seen = await self.journal.seen(session, ids)
            fresh = [number for number in range(start, end) if f"in {number}" not in seen]
            return Outcome(entries=[Entry(f"in {number}", self.inputs[number]) for number in fresh])

        return decide

    def start(self) -> None:
        self.world.dead = False
        database: Any = Database(self.world)
        publisher: Any = Publisher(self.world)
        self.journal = Journal("model", database, publisher, Progress())
        self.run(self.relay_all())

    async def relay_all(self) -> None:
        while await self.journal.relay(_AT_ONCE):
            pass

    def end(self) -> None:
        """Whatever the process was about to do, it does not."""
        self.world.dead, self.world.dies_in = True, None
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def unpublished(self) -> list[tuple[bytes, bytes]]:
        published = {_name(record) for record in self.world.bus}
        return [_name(record) for record in self.world.committed if _name(record) not in published]

    def undispatched(self) -> int:
        return sum(not parcel["dispatched"] for parcel in self.world.stored["outbox"].values())


def _name(record: Outgoing) -> tuple[bytes, bytes]:
    return record.key, record.value


Outbox.TestCase.settings = settings(
    max_examples=200, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOutbox = Outbox.TestCase

"""Brokers and database members that are killed, restarted, full or out of reach."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from shared.contracts.topics import TOPICS
from tests.engines.proxy import Proxy
from tests.failure.conftest import Begin, Disk, Networked, Told
from tests.failure.proof import prove
from tests.failure.run import Act, Run


async def leader(run: Run) -> int:
    """The broker that leads most of the run's partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=run.cluster.kafka.bootstrap)
    await admin.start()
    try:
        described = await admin.describe_topics([run.topic(name) for name in TOPICS])
    finally:
        await admin.close()
    leaders = [partition["leader"] for topic in described for partition in topic["partitions"]]
    return max(range(run.cluster.kafka.count), key=leaders.count)


def losing_a_broker(run: Run, seconds: float) -> Act:
    async def act() -> str:
        kafka = run.cluster.kafka
        n = await leader(run)
        run.say(f"SIGKILL of broker {n}, the leader of most, for {seconds:.0f} s")
        kafka.brokers[n].kill()
        await asyncio.sleep(seconds)
        kafka.brokers[n].start()
        await asyncio.to_thread(kafka.wait_for, n)
        return f"broker {n} is back"

    return act


def losing_the_primary(run: Run, seconds: float) -> Act:
    async def act() -> str:
        mongo = run.cluster.mongo
        n = await asyncio.to_thread(mongo.primary)
        run.say(f"SIGKILL of member {n}, the primary, for {seconds:.0f} s")
        mongo.members[n].kill()
        await asyncio.sleep(seconds)
        mongo.members[n].start()
        await asyncio.to_thread(mongo.primary)
        return f"member {n} is back"

    return act


def filling(run: Run, disk: Path, seconds: float) -> Act:
    """The disk of broker 2 is full until somebody makes room and starts it again."""

    async def act() -> str:
        run.say(f"the disk of broker 2 is full for {seconds:.0f} s")
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:  # until no room is left
                await asyncio.to_thread(file.write, bytes(1 << 24))
        await asyncio.sleep(seconds)
        ended = not run.cluster.kafka.brokers[2].running
        filler.unlink()
        run.cluster.kafka.brokers[2].kill()
        run.cluster.kafka.brokers[2].start()
        await asyncio.to_thread(run.cluster.kafka.wait_for, 2)
        return f"room again; broker 2 {'had ended' if ended else 'still ran'} and is started again"

    return act


async def test_brokers_and_members_are_killed(begin: Begin, told: Told) -> None:
    async with begin() as run:
        broker, primary, again, another = run.moments(4)
        pause = run.choice.uniform
        faults = [
            (broker, losing_a_broker(run, pause(1, 8))),
            (primary, losing_the_primary(run, pause(1, 8))),
            (again, losing_a_broker(run, pause(8, 15))),
            (another, losing_the_primary(run, pause(1, 8))),
        ]
        await run.play(told.events, faults)
        await prove(run, told.ends)


async def test_the_disk_of_a_broker_is_full(begin: Begin, told: Told, disk: Disk) -> None:
    if disk.folder is None:
        pytest.skip(f"a small disk needs root, to mount a tmpfs: {disk.why_not}")
    async with begin() as run:
        await run.play(told.events, [(moment, filling(run, disk.folder, 10)) for moment in run.moments(2)])
        await prove(run, told.ends)


def disturbing(run: Run, proxies: Iterable[Proxy], how: str, whom: str, seconds: float) -> Act:
    those = list(proxies)

    async def act() -> str:
        run.say(f"{how} for {seconds:.0f} s: {whom}")
        for proxy in those:
            await getattr(proxy, how)()
        await asyncio.sleep(seconds)
        for proxy in those:
            await proxy.open()
        return "the network is whole again"

    return act


async def test_the_network_is_disturbed(begin: Begin, told: Told, networked: Networked) -> None:
    """Between the services and all brokers, all members, one broker, the primary: reset, slow, half open."""
    kafka, mongo = networked.kafka, networked.mongo
    async with begin(on=networked.cluster) as run:

        def primary(how: str) -> Act:
            async def act() -> str | None:
                n = await asyncio.to_thread(networked.cluster.mongo.primary)
                return await disturbing(run, mongo[n : n + 1], how, "the primary", 5)()

            return act

        faults = [
            disturbing(run, kafka, "cut", "all brokers", 5),
            primary("cut"),
            disturbing(run, mongo, "slow", "all members", 5),
            disturbing(run, kafka, "slow", "all brokers", 5),
            disturbing(run, kafka[:1], "silence", "broker 0", 20),
            primary("silence"),
            disturbing(run, kafka, "silence", "all brokers", 5),
            disturbing(run, mongo, "cut", "all members", 5),
        ]
        run.choice.shuffle(faults)
        await run.play(told.events, list(zip(run.moments(len(faults)), faults, strict=True)))
        await prove(run, told.ends)


def restarting_services(run: Run) -> Act:
    """SIGTERM to each service, one after the other, as an upgrade does it."""

    async def act() -> str:
        for called in list(run.keeper.replicas):
            await run.keeper.up(called)
            await run.keeper.restart(called)
        return "all services were restarted"

    return act


def restarting_engines(run: Run) -> Act:
    """SIGTERM to each broker and member, the next one once the last is complete again."""

    async def act() -> None:
        kafka, mongo = run.cluster.kafka, run.cluster.mongo
        for n, broker in enumerate(kafka.brokers):
            await asyncio.to_thread(broker.stop)
            broker.start()
            await asyncio.to_thread(kafka.wait_for, n)
            await run.in_sync()
            run.say(f"broker {n} was restarted")
        for n, member in enumerate(mongo.members):
            await asyncio.to_thread(member.stop)
            member.start()
            await asyncio.to_thread(mongo.primary)
            run.say(f"member {n} was restarted")

    return act


async def test_everything_is_restarted_in_turn(begin: Begin, told: Told) -> None:
    async with begin() as run:
        first, engines, again, last = run.moments(4)
        faults = [(moment, restarting_services(run)) for moment in (first, again, last)]
        await run.play(told.events, [*faults, (engines, restarting_engines(run))])
        await prove(run, told.ends)

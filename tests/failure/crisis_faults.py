"""What happens to crisis in its hour: each fault a coroutine. Between two of them all is whole again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aftercare.fake_wecom import Mood
from tests.failure.crisis_hour import Hour

Fault = Callable[[Hour], Awaitable[None]]

CLAIMED_WITHIN_SECONDS = 0.2
"""Of ours: by then a page that is being sent has its claim, and whoever sends it again knows of it."""
STEP = 600
"""Seconds by which the clocks jump."""


async def without_database(hour: Hour) -> None:
    """MongoDB refuses: at the flag, during chains, and comes back."""
    hour.say("MongoDB is gone")
    await hour.mongo.cut()
    await hour.flag("crisis")
    await hour.passes(hour.choice.uniform(60, 150))
    await hour.mongo.open()
    hour.say("MongoDB is back")


async def with_a_deaf_database(hour: Hour) -> None:
    """MongoDB keeps its connections and answers nothing."""
    hour.say("MongoDB is silent")
    await hour.mongo.silence()
    await hour.flag("crisis")
    await hour.passes(60)
    await hour.mongo.cut()  # as the kernel does with what stays unanswered
    await hour.mongo.open()
    hour.say("MongoDB answers")


async def without_bus(hour: Hour) -> None:
    """Kafka refuses: intake tells crisis over HTTP."""
    hour.say("Kafka is gone")
    await hour.kafka.cut()
    await hour.flag("intake")
    await hour.flag("crisis")
    await hour.passes(hour.choice.uniform(60, 150))
    await hour.kafka.open()
    hour.say("Kafka is back")


async def with_a_deaf_bus(hour: Hour) -> None:
    """Kafka keeps its connections and answers nothing: intake and crisis go by HTTP."""
    hour.say("Kafka is silent")
    await hour.kafka.silence()
    await hour.flag("intake")
    await hour.flag("crisis")
    await hour.passes(60)
    await hour.kafka.cut()
    await hour.kafka.open()
    hour.say("Kafka answers")


async def with_half_a_flag(hour: Hour) -> None:
    """Nobody can read it: it pages all the same. Those that follow join its incident, and are dead letters as well."""
    hour.say("half a flag on the bus")
    await hour.flag_unreadably()


async def killed_before_a_send(hour: Hour) -> None:
    """Both replicas are gone when the flag comes to the bus."""
    async with hour.outage("SIGKILL of both replicas, then a flag"):
        await hour.kill(*hour.replicas)
        await hour.flag("bus")
        await hour.start(*hour.replicas)


async def killed_during_a_send(hour: Hour) -> None:
    """The provider has taken the page, and nobody is left to hear of it."""
    async with hour.providers:
        hour.moods("accepts-silently")
        before = len(hour.first.pages)
        await hour.flag("bus")
        await hour.first.wait_for(before + 1, seconds=60)
        await asyncio.sleep(CLAIMED_WITHIN_SECONDS)
        async with hour.outage("SIGKILL of both replicas in the middle of a send"):
            await hour.kill(*hour.replicas)
            hour.moods("well")
            await hour.start(*hour.replicas)


async def killed_after_a_send(hour: Hour) -> None:
    """The page is out, and perhaps nobody has written it down."""
    raised = await hour.flag("crisis")
    await hour.first_page(raised.client)
    async with hour.outage("SIGKILL of both replicas right after a send"):
        await hour.kill(*hour.replicas)
        await hour.start(*hour.replicas)


async def one_is_killed(hour: Hour) -> None:
    """One replica is killed with what it holds; the other one goes on."""
    called = hour.choice.choice(hour.replicas)
    hour.say(f"SIGKILL of {called}")
    await hour.kill(called)
    await hour.passes(hour.choice.uniform(10, 60))
    await hour.start(called)
    hour.say(f"{called} is back")


async def one_is_held(hour: Hour) -> None:
    """One replica stands still for longer than its claims hold, and goes on."""
    called, other = hour.choice.sample(hour.replicas, 2)
    hour.front.target = hour.ports[other]
    async with hour.outage(f"SIGSTOP of {called}"):  # what it alone knows of waits for it
        hour.services[called].hold()
        await hour.passes(90)
        hour.services[called].go_on()


async def one_is_restarted(hour: Hour) -> None:
    """SIGTERM, as an upgrade does it."""
    called, other = hour.choice.sample(hour.replicas, 2)
    hour.front.target = hour.ports[other]
    hour.say(f"SIGTERM of {called}")
    await asyncio.to_thread(hour.services[called].stop)
    await hour.start(called)
    hour.say(f"{called} is back")


async def the_clock_steps_back(hour: Hour) -> None:
    """All services are ten minutes behind for a while, and right again."""
    hour.say(f"the clocks step back by {STEP} s")
    hour.jump.write_text(str(-STEP))
    await hour.flag("bus")
    await hour.passes(150)
    hour.jump.write_text("0")
    hour.say("the clocks are right again")


async def the_clock_steps_ahead(hour: Hour) -> None:
    """For good: who started again would read lines of the future."""
    hour.say(f"the clocks step ahead by {STEP} s")
    hour.jump.write_text(str(STEP))
    await hour.flag("bus")
    await hour.passes(60)


FAULTS: tuple[Fault, ...] = (
    without_database,
    with_a_deaf_database,
    without_bus,
    with_a_deaf_bus,
    with_half_a_flag,
    killed_before_a_send,
    killed_during_a_send,
    killed_after_a_send,
    one_is_killed,
    one_is_killed,
    one_is_held,
    one_is_restarted,
    the_clock_steps_back,
)
LAST: Fault = the_clock_steps_ahead

MOODS: tuple[Mood, ...] = ("broken", "silent", "busy", "limited", "accepts-silently", "nonsense")


async def bot_fails(hour: Hour) -> None:
    """The first bot fails in one of its ways; the second takes the pages."""
    mood = hour.choice.choice(MOODS)
    hour.say(f"the first bot is {mood}")
    hour.moods(mood)
    await hour.passes(hour.choice.uniform(40, 120))


async def wire_fails(hour: Hour) -> None:
    """Between us and the first bot: reset, or half open."""
    how = hour.choice.choice(["cut", "silence"])
    hour.say(f"the wire to the first bot: {how}")
    await getattr(hour.wire, how)()
    await hour.passes(hour.choice.uniform(40, 120))
    await hour.wire.cut()
    await hour.wire.open()


async def both_bots_fail(hour: Hour) -> None:
    """All providers of a channel: the last resort takes the pages."""
    hour.say("both bots are busy")
    hour.moods("busy", "limited")
    await hour.passes(hour.choice.uniform(40, 120))


async def all_fail(hour: Hour) -> None:
    """Nobody takes anything."""
    async with hour.outage("no provider takes a page"):
        hour.moods("busy", "broken", 503)
        await hour.passes(hour.choice.uniform(30, 70))
        hour.moods("well")


PROVIDERS: tuple[Fault, ...] = (bot_fails, bot_fails, bot_fails, wire_fails, both_bots_fail, all_fail)


async def disturb_providers(hour: Hour, until: float) -> None:
    """One fault of the providers after the other; all are well in the end."""
    while hour.now() < until:
        await hour.passes(hour.choice.uniform(20, 90))
        async with hour.providers:
            await hour.choice.choice(PROVIDERS)(hour)
            hour.moods("well")

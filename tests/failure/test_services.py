"""Services that are killed, held, doubled, restarted: nothing is lost and nothing is done twice."""

from __future__ import annotations

from services.scheduler.domain.agenda import FollowUp
from tests.failure.conftest import Begin, Told
from tests.failure.proof import prove
from tests.failure.run import Act, Run
from tests.failure.stories import as_demanded, demanded_of


def killing(run: Run, called: str) -> Act:
    """SIGKILL of a replica; the keeper starts it again."""

    async def act() -> str:
        await run.keeper.up(called)
        run.keeper.replicas[called].kill()
        return f"SIGKILL of {called}"

    return act


def moments(run: Run, count: int, first: float = 0.05, last: float = 0.95) -> list[float]:
    """Seeded fractions of the input, one in each part of the run."""
    width = (last - first) / count
    return [first + width * (n + run.choice.random()) for n in range(count)]


async def test_undisturbed(begin: Begin, told: Told) -> None:
    """The measure of the others: a real run ends as the pure fold, and as the contract's own reference demands."""
    async with begin() as run:
        await run.play(told.events)
        await prove(run, told.ends)
        agenda = run.databases["scheduler"].get_collection("agenda")
        items = [FollowUp.model_validate(one) async for one in agenda.find({"kind": "follow-up"})]
        assert {as_demanded(one) for one in items if one.pending} == demanded_of(told.stories)


async def test_services_are_killed(begin: Begin, told: Told) -> None:
    async with begin() as run:
        await run.play(
            told.events,
            [(moment, killing(run, name)) for name in run.services for moment in moments(run, 4)],
        )
        await prove(run, told.ends)

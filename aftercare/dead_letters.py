"""`aftercare dead-letters`: the records that services could not take. List them, look into one, replay them.

A letter's payload lies sealed in its service's database: opening it needs the master key and is recorded there in
`access_log`, as every read of what may concern a client is (F6).
"""

from __future__ import annotations

import asyncio
import getpass
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from pymongo.errors import PyMongoError
from rich.table import Column, Table

from aftercare.configuration import DATA, DataFolder, stack_settings
from aftercare.mistakes import Mistake
from aftercare.terminal import out
from shared.clock import to_millisecond
from shared.contracts.topics import SERVICES
from shared.contracts.types import COMPANY_ZONE
from shared.messaging.bus import Outgoing, Publisher
from shared.messaging.progress import Progress
from shared.mongo.access_log import AccessLog
from shared.mongo.client import Database, connect, database
from shared.mongo.encryption import Sealed, Vault, master_key
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Records that could not be taken: list, show, replay.")

SHOWN = 12
"""So much of an id is shown; a command takes any beginning that names one letter alone."""


@dataclass(frozen=True)
class Letter:
    """A dead letter of a service. `stored` is its document, payload sealed."""

    service: str
    stored: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.stored["_id"])

    @property
    def origin(self) -> str:
        origin = self.stored["origin"]
        return f"{origin['topic']}[{origin['partition']}]@{origin['offset']}"


@app.command("list")
def list_letters(
    all_states: Annotated[bool, typer.Option("--all", help="Those replayed before as well.")] = False,
    data: DataFolder = DATA,
) -> None:
    """Show the letters of all services, oldest first. Payloads stay sealed."""
    letters = asyncio.run(_list(stack_settings(data), {} if all_states else {"state": "open"}))
    table = Table(Column("id", no_wrap=True), "service", "origin", "reason", "field", "at", "state")
    for letter in letters:
        stored = letter.stored
        at = stored["at"].astimezone(COMPANY_ZONE)
        table.add_row(
            letter.id[:SHOWN],
            letter.service,
            letter.origin,
            stored["reason"],
            stored["field"] or "-",
            f"{at:%Y-%m-%d %H:%M:%S}",
            stored["state"],
        )
    if letters:
        out.print(table)
    out.print(f"{len(letters)} dead letters")


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(help="The id of a letter, or its beginning.")],
    data: DataFolder = DATA,
) -> None:
    """Open a letter's payload. It may hold a name: the access is recorded."""
    asyncio.run(_show(stack_settings(data), letter_id))


@app.command()
def replay(
    letter_ids: Annotated[
        list[str] | None, typer.Argument(help="Ids of letters, or their beginnings.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every letter that was not replayed yet.")
    ] = False,
    data: DataFolder = DATA,
) -> None:
    """Put the original record on its topic again, once what refused it is mended.

    Every reader of the topic gets it again; those that handled it before recognise it and do nothing. A record that is
    still refused comes back as a new letter.
    """
    if everything == bool(letter_ids):
        raise Mistake("name the letters to replay, or all of them with --all")
    count = asyncio.run(_replay(stack_settings(data), letter_ids or (), everything))
    out.print(f"{count} records published again")


# --- reading --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def service_databases(settings: Settings) -> AsyncIterator[dict[str, Database]]:
    """Each service's database. Raises Mistake where MongoDB is away."""
    client = connect(settings)
    try:
        yield {service: database(client, settings.database(service)) for service in SERVICES}
    except PyMongoError as error:
        raise Mistake(
            f"MongoDB does not answer as it should ({type(error).__name__}): "
            "start `aftercare up`, or check AFTERCARE_MONGO_URL"
        ) from None
    finally:
        client.close()


async def find(databases: Mapping[str, Database], where: Mapping[str, Any]) -> list[Letter]:
    """The letters of all services that fit, oldest first."""
    found = [
        Letter(service, stored)
        for service, db in databases.items()
        async for stored in db.get_collection("dead_letters").find(where)
    ]
    return sorted(found, key=lambda letter: (letter.stored["at"], letter.id))


async def named(databases: Mapping[str, Database], letter_id: str) -> Letter:
    """The one letter whose id begins so. Raises Mistake."""
    if not letter_id.isalnum():
        raise Mistake(f"{letter_id!r} is no id of a letter: `aftercare dead-letters list` shows them")
    found = await find(databases, {"_id": {"$regex": f"^{letter_id}"}})
    if len(found) != 1:
        what = (
            f"{len(found)} dead letters have ids that begin"
            if found
            else "no dead letter has an id that begins"
        )
        raise Mistake(f"{what} with {letter_id}: `aftercare dead-letters list --all` shows them")
    return found[0]


async def _list(settings: Settings, where: Mapping[str, Any]) -> list[Letter]:
    async with service_databases(settings) as databases:
        return await find(databases, where)


@dataclass(frozen=True)
class Payload:
    """The record as it came."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


async def opened(settings: Settings, db: Database, letter: Letter, what: str) -> Payload:
    """The payload of a letter; the access is recorded first. Raises Mistake where it cannot be opened."""
    key = settings.master_key.get_secret_value() if settings.master_key else None
    try:
        vault = Vault(db, master_key(key))
    except ValueError as error:
        raise Mistake(f"the payload cannot be opened: {error}") from None
    at = to_millisecond(datetime.now(UTC))
    await AccessLog(db).record(getpass.getuser(), "engineer", what, at, letter_id=letter.id)
    try:
        payload = json.loads(await vault.open(letter.stored["payload"]))
    except Sealed as error:
        raise Mistake(
            f"the payload cannot be opened: {error}. Set AFTERCARE_MASTER_KEY to the services' own"
        ) from None
    finally:
        await vault.close()
    return Payload(
        bytes.fromhex(payload["key"]),
        bytes.fromhex(payload["value"]),
        tuple((name, bytes.fromhex(value)) for name, value in payload["headers"]),
    )


async def _show(settings: Settings, letter_id: str) -> None:
    async with service_databases(settings) as databases:
        letter = await named(databases, letter_id)
        payload = await opened(settings, databases[letter.service], letter, "dead-letter")
    stored = letter.stored
    facts = {
        "id": letter.id,
        "service": letter.service,
        "origin": letter.origin,
        "reason": stored["reason"],
        "field": stored["field"] or "-",
        "message": stored["message"],
        "state": stored["state"],
        "key": _readable(payload.key),
        **{f"header {name}": _readable(value) for name, value in payload.headers},
    }
    for name, value in facts.items():
        out.print(f"{name}: {value}", markup=False, soft_wrap=True)
    out.print(_readable(payload.value), markup=False, soft_wrap=True)


def _readable(raw: bytes) -> str:
    text = raw.decode(errors="backslashreplace")
    # Control characters could play with the terminal of whoever looks.
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text)


# --- replaying ------------------------------------------------------------------------------------------------


async def _replay(settings: Settings, letter_ids: Sequence[str], everything: bool) -> int:
    publisher = Publisher(settings, Progress())
    try:
        async with service_databases(settings) as databases:
            letters = (
                await find(databases, {"state": "open"})
                if everything
                else [await named(databases, letter_id) for letter_id in letter_ids]
            )
            if not everything:
                for letter in letters:
                    _demand_topic(letter)
            if skipped := [letter for letter in letters if not _topic(letter)]:
                out.print(f"{len(skipped)} came by HTTP: their senders were told and must send them again")
            letters = [letter for letter in letters if _topic(letter)]
            for letter in letters:
                await _replay_one(settings, databases[letter.service], publisher, letter)
            return len(letters)
    except (KafkaError, OSError) as error:
        raise Mistake(
            f"the bus at {settings.kafka_bootstrap_servers} took no more ({type(error).__name__}): "
            "check it and replay again, which is harmless"
        ) from None
    finally:
        await publisher.stop()


async def _replay_one(settings: Settings, db: Database, publisher: Publisher, letter: Letter) -> None:
    payload = await opened(settings, db, letter, "dead-letter replayed")
    topic = str(letter.stored["origin"]["topic"]).removeprefix(settings.topic(""))
    await publisher.publish([Outgoing(topic, payload.key, payload.value, payload.headers)])
    await db.get_collection("dead_letters").update_one(
        {"_id": letter.id},
        {"$set": {"state": "replayed", "replayed_at": to_millisecond(datetime.now(UTC))}},
    )


def _topic(letter: Letter) -> bool:
    """Whether it came by the bus: an HTTP request is not repeated, its sender was told."""
    return not str(letter.stored["origin"]["topic"]).startswith("http:")


def _demand_topic(letter: Letter) -> None:
    if not _topic(letter):
        raise Mistake(
            f"{letter.id[:SHOWN]} came by HTTP and its sender was told: it must be sent again, mended, by the sender"
        )

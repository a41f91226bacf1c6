"""The MongoDB client: majority reads and writes, times with a zone."""

from __future__ import annotations

from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorClientSession, AsyncIOMotorDatabase
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from shared.settings import Settings

Database = AsyncIOMotorDatabase[dict[str, Any]]
Session = AsyncIOMotorClientSession


def connect(settings: Settings) -> AsyncIOMotorClient[dict[str, Any]]:
    """A client whose writes a majority has acknowledged. It connects at the first use, not here."""
    return AsyncIOMotorClient(
        settings.mongo_url.get_secret_value(),
        tz_aware=True,
        appname="aftercare",
        serverSelectionTimeoutMS=5_000,
        connectTimeoutMS=5_000,
        socketTimeoutMS=60_000,
        retryWrites=True,
        retryReads=True,
    )


def database(client: AsyncIOMotorClient[dict[str, Any]], name: str) -> Database:
    """A service's own database."""
    return client.get_database(
        name,
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("majority"),
        write_concern=WriteConcern("majority", wtimeout=30_000),
    )

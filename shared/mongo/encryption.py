"""What is written by or about a client, sealed field by field with MongoDB's client-side encryption.

Each client has one data key in each service. Destroying it makes everything sealed under it unreadable: that is how
`client-erased` is carried out. The data keys lie in the database, sealed by the master key, which never does. A
backup from before an erasure holds the key too: it has to expire like everything else about the client.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from bson.binary import Binary, UuidRepresentation
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClientEncryption
from pymongo.errors import DuplicateKeyError, EncryptionError

from shared.mongo.client import Database

ALGORITHM = "AEAD_AES_256_CBC_HMAC_SHA_512-Random"
ENCRYPTED = 6
"""The BSON subtype of a sealed value."""


class Sealed(Exception):
    """The text cannot be read: its data key was destroyed (the client was erased) or the master key is another."""


def master_key(text: str | None) -> bytes:
    """The master key out of its setting. Raises ValueError that says how to make one."""
    try:
        key = base64.b64decode(text or "", validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 96:
        raise ValueError(
            "AFTERCARE_MASTER_KEY must be the base64 of 96 random bytes: `openssl rand -base64 96 | tr -d '\\n'`"
        )
    return key


class Vault:
    """Seals and opens texts of one service."""

    def __init__(self, db: Database, key: bytes) -> None:
        self.db = db
        self._keys = db.get_collection("data_keys")
        self._master = key
        self._known: dict[str, Binary] = {}
        self._encryption = self._handle()

    def _handle(self) -> AsyncIOMotorClientEncryption[dict[str, Any]]:
        return AsyncIOMotorClientEncryption(
            {"local": {"key": self._master}},
            f"{self.db.name}.data_keys",
            self.db.client,
            CodecOptions(uuid_representation=UuidRepresentation.STANDARD),
        )

    async def ensure_indexes(self) -> None:
        """One data key for each owner; harmless when the index exists."""
        await self._keys.create_index(
            "keyAltNames", unique=True, partialFilterExpression={"keyAltNames": {"$exists": True}}
        )

    async def seal(self, owner: str, text: str) -> Binary:
        """Encrypt under the owner's data key, which is made at the first use."""
        key_id = self._known.get(owner) or await self._key(owner)
        return Binary(await self._encryption.encrypt(text, ALGORITHM, key_id), 6)

    async def open(self, sealed: Binary) -> str:
        """Decrypt. Raises `Sealed` when the data key is gone."""
        try:
            value: Any = await self._encryption.decrypt(Binary(sealed, ENCRYPTED))
        except EncryptionError:
            raise Sealed("the data key of this text was destroyed, or the master key is another") from None
        return str(value)

    async def destroy(self, owner: str) -> None:
        """Destroy the owner's data key, for good."""
        self._known.pop(owner, None)
        await self._keys.delete_many({"keyAltNames": owner})
        # libmongocrypt keeps keys for a minute: a fresh handle forgets at once.
        used, self._encryption = self._encryption, self._handle()
        await used.close()

    async def _key(self, owner: str) -> Binary:
        found = await self._keys.find_one({"keyAltNames": owner}, {"_id": 1})
        if found is None:
            try:
                await self._encryption.create_data_key("local", key_alt_names=[owner])
            except EncryptionError as error:  # the driver wraps what the database says
                if not isinstance(error.cause, DuplicateKeyError):  # another request made it just now
                    raise
            found = await self._keys.find_one({"keyAltNames": owner}, {"_id": 1})
        assert found is not None
        key = found["_id"]
        self._known[owner] = key if isinstance(key, Binary) else Binary.from_uuid(key)
        return self._known[owner]

    async def close(self) -> None:
        await self._encryption.close()

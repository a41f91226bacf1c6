"""Stored things as frozen values, and the view of them that one decision sees and changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.envelope import Event


class Document(BaseModel):
    """A frozen value that lives in one collection under one id."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, hide_input_in_errors=True)
    collection: ClassVar[str]

    id: str = Field(alias="_id")

    def to_mongo(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True)


D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Changes:
    """What a decision comes to: documents to put in place or to remove, and events to publish."""

    puts: Sequence[Document] = ()
    events: Sequence[Event] = ()
    removals: Sequence[Document] = ()
    counted: Sequence[Callable[[], None]] = ()
    """Metrics to be moved once the changes stand."""

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            (*self.puts, *other.puts),
            (*self.events, *other.events),
            (*self.removals, *other.removals),
            (*self.counted, *other.counted),
        )


@dataclass
class View:
    """The documents that a batch concerns. Decisions read it; the loop applies their changes to it."""

    _documents: dict[tuple[type[Document], str], Document] = field(default_factory=dict)
    _changed: dict[tuple[str, str], Document | None] = field(default_factory=dict)
    _stored: set[tuple[str, str]] = field(default_factory=set)
    _indexes: dict[tuple[type[Document], str], dict[object, set[str]]] = field(default_factory=dict)

    def load(self, documents: Iterable[Document]) -> None:
        """Add documents as they were read."""
        for document in documents:
            self._put(document)
            self._stored.add((document.collection, document.id))

    def get(self, kind: type[D], key: str) -> D | None:
        found = self._documents.get((kind, key))
        return found if isinstance(found, kind) else None

    def all(self, kind: type[D]) -> list[D]:
        """Every document of a kind that was read or put, in the order of their ids."""
        found = [document for document in self._documents.values() if isinstance(document, kind)]
        return sorted(found, key=lambda document: document.id)

    def having(self, kind: type[D], name: str, value: object) -> list[D]:
        """As `all`, but only those whose field `name` has this value: found by an index, however many there are."""
        index = self._indexes.get((kind, name))
        if index is None:
            index = self._indexes[kind, name] = {}
            for document in self._documents.values():
                if type(document) is kind:
                    index.setdefault(getattr(document, name), set()).add(document.id)
        return [self._documents[kind, key] for key in sorted(index.get(value, ()))]  # type: ignore[misc]

    def apply(self, changes: Changes) -> None:
        for document in changes.puts:
            self._put(document)
            self._changed[document.collection, document.id] = document
        for document in changes.removals:
            self._remove(document)
            self._changed[document.collection, document.id] = None

    def _put(self, document: Document) -> None:
        self._remove(document)
        self._documents[type(document), document.id] = document
        for (kind, name), index in self._indexes.items():
            if type(document) is kind:
                index.setdefault(getattr(document, name), set()).add(document.id)

    def _remove(self, document: Document) -> None:
        old = self._documents.pop((type(document), document.id), None)
        if old is not None:
            for (kind, name), index in self._indexes.items():
                if type(old) is kind:
                    index[getattr(old, name)].discard(old.id)

    def changed(self) -> dict[str, dict[str, Document | None]]:
        """Collection to id to the new state; None where the document must go."""
        by_collection: dict[str, dict[str, Document | None]] = {}
        for (collection, key), document in self._changed.items():
            by_collection.setdefault(collection, {})[key] = document
        return by_collection

    def clients_of_added(self) -> set[str]:
        """The clients about whom a document was put that was not stored before."""
        added = (document for key, document in self._changed.items() if key not in self._stored)
        found = (getattr(document, "client_id", None) for document in added)
        return {client for client in found if client}

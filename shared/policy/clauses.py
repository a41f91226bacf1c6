"""The clauses of the company's documents in our own words (`clauses.yaml`): what each says, and what carries it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.contracts.types import Strict
from shared.policy.reading import read

CLAUSES = Path(__file__).with_name("clauses.yaml")

ClauseId = Annotated[str, Field(pattern=r"^[FAW][1-9][0-9]?$")]
Mark = Literal["plan", "duty", "date", "gate", "form", "remind", "rate", "page", "text"]
"""How software can carry a clause; `text` is out of its reach."""


class Clause(Strict):
    """One clause. The rows of the policy that carry it are found by its id and not repeated here."""

    id: ClauseId
    mark: Mark
    says: str
    """What it asks for: a paraphrase, never the document's own text."""
    code: tuple[Annotated[str, Field(pattern=r"^[a-z]+: [a-z_.]+$")], ...] = ()
    """Modules that carry it, `survey: domain.records`; `shared` and `aftercare` stand in the place of a service too."""
    open: str | None = None
    """Why nothing carries it yet, or not whole."""


class Clauses(Strict):
    """All of them."""

    clauses: tuple[Clause, ...]

    @model_validator(mode="after")
    def _are_told_once(self) -> Self:
        seen: set[str] = set()
        for clause in self.clauses:
            if clause.id in seen:
                raise ValueError(f"{clause.id} is told twice: keep one of the two")
            if clause.mark == "text" and (clause.code or clause.open):
                raise ValueError(f"{clause.id} is out of software's reach: take away what carries it")
            seen.add(clause.id)
        return self


def load_clauses(path: Path = CLAUSES) -> Mapping[str, Clause]:
    """Every clause by its id, in the order of the documents. Raises PolicyError."""
    return {clause.id: clause for clause in read(path, Clauses).clauses}


@cache
def known_clauses() -> Mapping[str, Clause]:
    """The shipped ones, read once."""
    return load_clauses()

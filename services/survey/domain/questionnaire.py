"""The questionnaire: what is asked of which class (F17, F18, F19, F26, F43), and what the answers come to.

The questions are data (`questionnaire.yaml`), their words are in the catalogue of texts under
`survey.question.<id>` and `survey.answer.<id>.<option>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from bson.binary import Binary
from pydantic import ConfigDict, Field, model_validator

from shared.contracts.ratings import EFFECT, RATED, rating
from shared.contracts.types import Code, Strict
from shared.mongo.documents import Document
from shared.policy.reading import read

FORMS = Path(__file__).parents[1] / "questionnaire.yaml"

LONGEST_COMMENT = 1_000

Answer = str | tuple[str, ...]
Answers = Mapping[str, Answer]


class InvalidAnswer(ValueError):
    """The answer is none of those that may be given. Carries no value."""


class Question(Strict):
    """One question. `seconds` is what reading and answering takes (F21)."""

    id: Code
    clause: Annotated[str, Field(pattern=r"^[FAW][0-9]+$")]
    kind: Literal["choice", "scale", "many", "text"]
    options: tuple[Code, ...] = ()
    seconds: Annotated[int, Field(ge=5, le=180)]
    optional: bool = False

    @model_validator(mode="after")
    def _has_options(self) -> Self:
        if (self.kind == "text") != (not self.options):
            raise ValueError("a text has no options, everything else has some")
        return self

    def read(self, given: list[str]) -> Answer:
        """The answer out of a submitted form. Raises InvalidAnswer."""
        if self.kind == "text":
            text = (given[0] if given else "").strip()
            if len(text) > LONGEST_COMMENT:
                raise InvalidAnswer("too-long")
            return text
        chosen = tuple(option for option in self.options if option in given)
        if set(given) - set(self.options) or not chosen:
            raise InvalidAnswer("choose")
        if self.kind == "many":
            return chosen
        if len(chosen) != 1:
            raise InvalidAnswer("choose")
        return chosen[0]


class Forms(Strict):
    """Every question, and for each template which ones are asked in which order."""

    questions: tuple[Question, ...]
    templates: Mapping[Code, tuple[Code, ...]]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        known = {question.id for question in self.questions}
        for template, asked in self.templates.items():
            if unknown := set(asked) - known:
                raise ValueError(f"the template {template} asks {min(unknown)}, which is no question")
            if RISK not in asked:
                raise ValueError(f"the template {template} leaves out the risk item (F58)")
        if FALLBACK not in self.templates:
            raise ValueError(f"the template {FALLBACK} is needed for classes without their own")
        return self

    def asked(self, template: str | None, case_class: str) -> tuple[Question, ...]:
        """The questions for a follow-up, by its template or else its class (F26)."""
        by_id = {question.id: question for question in self.questions}
        name = next((name for name in (template, case_class) if name and name in self.templates), FALLBACK)
        return tuple(by_id[key] for key in self.templates[name])


RISK = "risk"
NO_RISK = "never"
FALLBACK = "closed"


def load(longest: timedelta, path: Path = FORMS) -> Forms:
    """The forms, checked. Raises PolicyError, and ValueError where a form takes longer than allowed (F21)."""
    forms = read(path, Forms)
    for template in forms.templates:
        needed = expected_time(forms.asked(template, ""))
        if needed > longest:
            raise ValueError(f"F21: the questionnaire {template} takes {needed}, allowed are {longest}")
    return forms


OPENING_TIME = timedelta(seconds=40)
"""Reading the first page, which says the purpose (F54)."""


def expected_time(asked: tuple[Question, ...]) -> timedelta:
    return OPENING_TIME + timedelta(seconds=sum(question.seconds for question in asked))


def minutes(asked: tuple[Question, ...]) -> int:
    """What the first page and the invitation promise: whole minutes, rounded up."""
    return ceil(expected_time(asked) / timedelta(minutes=1))


class Response(Document):
    """The answers to one questionnaire, sealed; saved as they are given."""

    collection: ClassVar[str] = "responses"
    model_config = ConfigDict(arbitrary_types_allowed=True)

    client_id: str
    state: Literal["begun", "finished", "refused", "stopped-for-crisis"] = "begun"
    answered: tuple[str, ...] = ()
    sealed: Binary | None = None
    begun_at: datetime
    saved_at: datetime


def next_question(asked: tuple[Question, ...], answers: Answers) -> Question | None:
    """The first question without an answer; None when the questionnaire can be sent."""
    return next((question for question in asked if question.id not in answers), None)


def is_crisis(question: Question, answer: Answer) -> bool:
    """F58: any thought of self-harm at all stops the form. A zero means nothing more than that."""
    return question.id == RISK and answer != NO_RISK


@dataclass(frozen=True)
class Result:
    """What a finished questionnaire comes to on the bus: scores and codes, no answers."""

    satisfaction: int | None
    flags: tuple[str, ...]
    bands: Mapping[str, str]
    dropped_reason: str | None


def result(answers: Answers) -> Result:
    """Score the answers.

    Satisfaction (F19) is the lower of the two scores: a bad one must not disappear in an average (F63).
    """
    scores = [int(str(answers[key])) for key in ("counsellor", "process") if key in answers]
    reason = answers.get("dropped-reason")
    return Result(
        satisfaction=min(scores) if scores else None,
        flags=_flags(answers),
        bands=_bands(answers),
        dropped_reason=str(reason) if reason else None,
    )


def _flags(answers: Answers) -> tuple[str, ...]:
    """F57 out of F18 and the offer to take up a complaint."""
    needs = answers.get("need", ())
    found = []
    if "more-sessions" in needs:
        found.append("needs-counselling")
    if "complaint" in needs:
        found.append("complaint")
    if "new-trouble" in needs or "resources" in needs:
        found.append("special-need")
    return tuple(found)


def _bands(answers: Answers) -> dict[str, str]:
    """F17: three items on five steps, as one band; and a band for each thing that was rated (A15, A20, A21 ...)."""
    found: dict[str, str] = {key: rating(int(str(answers[key]))) for key in RATED if key in answers}
    points = [int(str(answers[key])) for key in ("plan", "state", "progress") if key in answers]
    if len(points) == 3:
        total = sum(points)
        found[EFFECT] = "low" if total <= 7 else "medium" if total <= 11 else "high"
    return found

"""`aftercare policy`: check a policy file, say in plain words what it makes us do, and what a new one changes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from aftercare.clauses_page import carriers
from aftercare.mistakes import Mistake
from aftercare.policy_diff import changes_in_words
from aftercare.policy_words import in_words, switch_in_words
from aftercare.terminal import out
from shared.policy.clauses import Clause, known_clauses
from shared.policy.model import REGIME, Policy, Row, Switches
from shared.policy.reading import PolicyError
from shared.policy.versions import load, load_versions
from shared.web.texts import LANGUAGES, Language, choose, text

app = typer.Typer(no_args_is_help=True, help="The regime as data: check it, explain it, compare versions.")


@app.command()
def lint(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A policy, or a folder of versions; by default that of this release.", show_default=False
        ),
    ] = None,
) -> None:
    """Check a policy: every mistake with file, line, field and advice. Exit code 1 when there is one."""
    path = file or REGIME
    try:
        versions = load_versions(path).versions
    except PolicyError as error:
        for problem in error.problems:
            out.print(str(problem), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    for policy in versions:
        rows = list(policy.rows())
        clauses = {clause for row in rows for clause in row.clauses}
        out.print(
            f"{path.name} {policy.version}, in force from {policy.effective_from}: "
            f"{len(rows)} rows for {len(clauses)} clauses, no mistakes",
            soft_wrap=True,
        )


@app.command()
def explain(
    what: Annotated[
        str,
        typer.Argument(
            help="A clause such as F40, a rule such as closed-15d, or a switch such as month_end."
        ),
    ],
    language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
    file: Annotated[
        Path | None, typer.Option(help="A policy; by default the one of this release.", show_default=False)
    ] = None,
) -> None:
    """Say in plain words what a clause, a rule or a switch makes us do."""
    chosen = _language(language)
    for line in explanation(_usable(file), what, chosen):
        out.print(line, markup=False, soft_wrap=True)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The policy as it was.")],
    new: Annotated[Path, typer.Argument(help="The policy as it would be.")],
    language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
) -> None:
    """Say in plain words what a new version changes, with example dates. Exit code 0: equal in effect, 1: different.

    Names of versions, notes, the lists of roles and milestones, and the order of rows (but of classes) have no effect.
    """
    chosen = _language(language)
    before, after = _usable(old), _usable(new)
    names = {"old": before.version, "new": after.version}
    lines = changes_in_words(before, after, chosen)
    if not lines:
        out.print(text("policy.diff.equal", chosen, **names), markup=False, soft_wrap=True)
        return
    begins = {"old_from": before.effective_from, "new_from": after.effective_from}
    for line in (text("policy.diff.head", chosen, **names, **begins), *lines):
        out.print(line, markup=False, soft_wrap=True)
    raise typer.Exit(1)


def _language(language: str) -> Language:
    if language not in LANGUAGES:
        raise Mistake(f"--language {language!r} is none of ours: choose {' or '.join(LANGUAGES)}")
    return choose(language)


def _usable(file: Path | None) -> Policy:
    try:
        return load(file)
    except PolicyError as error:
        raise Mistake(f"the policy cannot be used:\n{error}") from None


def explanation(policy: Policy, what: str, language: Language) -> list[str]:
    """One line for each row that carries the clause or has the name, and one for what else carries the clause.

    Raises Mistake where there is no such clause, rule or switch.
    """
    clause = what.upper()
    if clause[:1] in ("F", "A", "W") and clause[1:].isdigit():
        if clause not in known_clauses():
            raise Mistake(f"there is no clause {clause}: docs/clauses.md lists them")
        rows = policy.of_clause(clause)
        return [
            *(in_words(row, language, policy) for row in rows),
            *_carried_elsewhere(known_clauses()[clause], rows, policy, language),
        ]
    if what in Switches.model_fields:
        return [switch_in_words(what, language, policy)]
    rows = tuple(row for row in policy.rows() if row.name == what)
    if not rows:
        near = difflib.get_close_matches(
            what, [*{row.name for row in policy.rows()}, *Switches.model_fields], 3
        )
        advice = f"did you mean {', '.join(near)}?" if near else "name a clause such as F40"
        raise Mistake(f"the policy has no rule {what!r}: {advice}")
    return [in_words(row, language, policy) for row in rows]


def _carried_elsewhere(
    clause: Clause, rows: Sequence[Row], policy: Policy, language: Language
) -> Iterator[str]:
    """By what else than rows a clause is carried, or why by nothing."""
    told = {"clause": clause.id, "says": clause.says}
    others = [carrier for carrier in carriers(clause, policy) if carrier.kind in ("question", "code")]
    if others:
        questions = ", ".join(carrier.name for carrier in others if carrier.kind == "question")
        named = [text("policy.clause.question", language, names=questions)] if questions else []
        named += [carrier.name for carrier in others if carrier.kind == "code"]
        yield text("policy.clause.carried", language, carriers="; ".join(named), **told)
    if clause.open:
        yield text("policy.clause.open", language, why=clause.open, **told)
    elif not rows and not others:
        yield text("policy.clause.text" if clause.mark == "text" else "policy.clause.none", language, **told)

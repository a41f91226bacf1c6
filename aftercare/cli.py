"""The command `aftercare`."""

from __future__ import annotations

import logging
import sys

import typer

from aftercare import dead_letters, incidents, policy, topics
from aftercare.demo import demo
from aftercare.doctor import doctor
from aftercare.drill import drill
from aftercare.engines import EngineMissing
from aftercare.mistakes import Mistake
from aftercare.oncall import oncall
from aftercare.publish import publish
from aftercare.run import run
from aftercare.simulate import simulate
from aftercare.tail import tail
from aftercare.terminal import err
from aftercare.token import token
from aftercare.up import up

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it can print local variables, which may hold what must not be shown
    help="Follow-ups, deadlines and crisis pages after online counselling.",
)
app.command()(up)
app.command()(demo)
app.command()(simulate)
app.command()(run)
app.command()(publish)
app.command()(tail)
app.add_typer(topics.app, name="topics")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(incidents.app, name="incidents")
app.add_typer(policy.app, name="policy")
app.command()(drill)
app.command()(oncall)
app.command()(doctor)
app.command()(token)


def main() -> None:
    """Run the command line; a mistake of the caller ends with exit code 2 and no traceback."""
    # The libraries' own warnings; `run` sends them to its log instead.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app()
    except (Mistake, EngineMissing) as mistake:
        err.print(f"aftercare: {mistake}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()

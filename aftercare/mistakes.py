"""What the caller of a command can put right: told without a traceback, and ended with exit code 2."""

from __future__ import annotations


class Mistake(Exception):
    """A command cannot do what it was asked. The message says what is wrong, where, and what to do."""

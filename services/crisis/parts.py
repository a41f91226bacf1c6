"""What the models of crisis's files and requests have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen part of what somebody wrote: a field that it does not know is refused, and no error shows a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

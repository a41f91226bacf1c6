"""What intake decides: which fact holds, what a case is, who is refused. Pure."""

SOURCE = "/aftercare/intake"
"""Under which intake publishes."""

"""What intake decides: which fact holds, what a case is, who is refused. Pure."""

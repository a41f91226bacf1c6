"""The survey's decisions, pure: no framework, no I/O, time is an argument."""

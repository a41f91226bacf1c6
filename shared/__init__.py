"""Contracts and plumbing that every service stands on. No rule of the regime lives here as code."""

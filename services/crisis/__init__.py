"""Crisis: *who comes, now?*

Owns incidents, pages and their acknowledgement. Reads `crisis-flagged` straight from the bus, takes the same event
over HTTP, and reacts to `escalation-required` (not its own) and `client-erased`. Publishes `incident-changed` and,
for a page that nobody answers, `escalation-required`.

Page first: a page never waits for the database or the bus. Incidents live in memory, are written down as soon as
the database takes them, and two versions of one incident are merged by the union of their timelines.
"""

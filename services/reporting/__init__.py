"""reporting: did we do what we promised?

Owns read models (one document for each follow-up, duty, incident, escalation, case, member of staff and item drawn to
be checked) and the published monthly reports. Reacts to everything on the bus. Publishes `report-published` when
`calendar-due` names a month (F64).

It stores no client id at all: figures need none, so `client-erased` finds nothing here that could be erased.
"""

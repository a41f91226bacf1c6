"""intake: who is this client to us?

Owns the case ledger and its monthly snapshots, classes, consents and de-identified case files. Reacts to every
consultation event, by bus or HTTP, to `follow-up-recorded` and to `calendar-due`. Publishes `case-classified` (the case
as it now stands, whole), `attention-changed` (proposals), `crisis-flagged` (an acute crisis at the opening) and what it
accepts over HTTP.
"""

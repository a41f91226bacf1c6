"""intake: who is this client to us?

Owns the case ledger and its monthly snapshots, classes, consents, de-identified case files and forms. Reacts to every
consultation event, by bus or HTTP, to `follow-up-recorded`, to `calendar-due`, and to milestones by which a client
agrees to something. Publishes `case-classified` (the case as it now stands, whole), `attention-changed` (proposals),
`crisis-flagged` (an acute crisis at the opening), `milestone-reached` (a form that is filled in) and what it accepts
over HTTP.
"""

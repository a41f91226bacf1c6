"""intake: who is this client to us?

Owns the case ledger, classes, consents and de-identified case files. Reacts to every consultation event, by bus or
HTTP. Publishes `case-classified` (the case as it now stands, whole) and what it accepts over HTTP.
"""

"""The survey service. Its question: *how is the client?*

Owns: follow-ups as they are conducted (state, attempts, record sheets), questionnaire answers, messages to clients
and notices to staff, follow-up staff and their qualifications, samples drawn of the records and what their checks
found, the access log of all of these.

Reacts to: `follow-up-planned`, `follow-up-due`, `reminder-due`, `case-classified`, `staff-updated`,
`consent-changed`, `client-status-changed`, `incident-changed`, `client-erased`, `calendar-due` (what is to be drawn)
and `milestone-reached` (whether a month's plan is approved).

Publishes: `follow-up-recorded`, `milestone-reached` (`follow-up-conducted`, `follow-up-prepared`, `records-checked`,
`recordings-checked`, and what the checks found), `crisis-flagged`, `consent-changed`.
"""

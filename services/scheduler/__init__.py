"""scheduler: what is due, when, from whom?

Owns the agenda: follow-ups, duties (deadlines), reminders and the dates of the regime, each with one `next_at`.
Reacts to `case-classified` and whatever the policy's rules name. Publishes `follow-up-planned`, `follow-up-due`,
`reminder-due`, `duty-changed`, `calendar-due` and `escalation-required`.
"""

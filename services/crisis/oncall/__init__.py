"""Who is on call: the rota of the file, what people changed of it, and what follows for a page.

`rotation` says whose turn it is in one layer, `shifts` lays layers and overrides over each other, `overrides` decides
what may be changed, `ical` writes and reads calendars: all four are pure. `rota` is the file, `store` the database,
`holders` what is kept in memory and asked by every page, `feed` the address of a calendar.
"""

"""Every metric of Aftercare, by name and meaning. Labels hold coded values only, never an id of a person."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# --- the event loop -------------------------------------------------------------------------------------------
EVENTS_HANDLED = Counter(
    "aftercare_events_handled_total", "Events settled for the first time.", ["service", "topic"]
)
EVENTS_REPEATED = Counter(
    "aftercare_events_repeated_total", "Deliveries of an event that was settled before.", ["service"]
)
EVENTS_PUBLISHED = Counter(
    "aftercare_events_published_total", "Events published from the journal.", ["service", "topic"]
)
EVENTS_RELAYED = Counter(
    "aftercare_events_relayed_total", "Events that a crash had left and the relay published.", ["service"]
)
DEAD_LETTERS = Counter(
    "aftercare_dead_letters_total", "Records that could not be taken.", ["service", "topic", "reason"]
)
BATCH_SECONDS = Histogram(
    "aftercare_batch_seconds",
    "Time from the arrival of a batch to its committed transaction.",
    ["service"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
CONSUMER_HALTED = Gauge(
    "aftercare_consumer_halted",
    "1 while a consumer stands still because of too many dead letters.",
    ["service"],
)
CLOCK_OFFSET_SECONDS = Gauge(
    "aftercare_clock_offset_seconds",
    "How far this machine's clock is ahead of the database's, by which the services go.",
)
RETRIES = Counter(
    "aftercare_retries_total", "Batches put back because the database or the bus was away.", ["service"]
)

# --- intake ---------------------------------------------------------------------------------------------------
SESSIONS_OUTSIDE_BOUNDS = Counter(
    "aftercare_sessions_outside_bounds_total",
    "Sessions that were marked for their length or frequency (W40, W47), by the policy's row.",
    ["bound", "how"],
)

# --- timers ---------------------------------------------------------------------------------------------------
TIMERS_FIRED = Counter(
    "aftercare_timers_fired_total", "Follow-up, duty and calendar timers that fired.", ["kind"]
)
TIMERS_FAILED = Counter(
    "aftercare_timers_failed_total", "Timers that could not be fired and were put off: a defect.", ["kind"]
)
TIMER_LATENESS_SECONDS = Histogram(
    "aftercare_timer_lateness_seconds",
    "How long after its time a timer fired.",
    buckets=(0.1, 0.5, 1, 2.5, 5, 15, 60, 300, 1800),
)

# --- crisis ---------------------------------------------------------------------------------------------------
FLAGS = Counter(
    "aftercare_flags_total",
    "Crisis flags taken, by their way (bus, http) and whether they could be read.",
    ["way", "result"],
)
CRISES_OVER_HTTP = Counter(
    "aftercare_crises_over_http_total",
    "Crises that a service told crisis over HTTP as bus or database did not take them in time.",
    ["service", "result"],
)
FLAG_TO_PAGE_SECONDS = Histogram(
    "aftercare_flag_to_page_seconds",
    "Time from the arrival of a crisis flag to the first page that a provider accepted.",
    buckets=(0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 2.5, 5, 15, 60),
)
FLAG_TO_ACKNOWLEDGED_SECONDS = Histogram(
    "aftercare_flag_to_acknowledged_seconds",
    "Time from the arrival of a crisis flag to a person's acknowledgement.",
    buckets=(5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200),
)
PAGES = Counter("aftercare_pages_total", "Pages by channel and result.", ["channel", "result"])
PAGES_OVER_FALLBACK = Counter(
    "aftercare_pages_over_fallback_total",
    "Pages that only a channel of nobody in particular took: none of the person's own did.",
)
PAGES_INTO_A_GAP = Counter(
    "aftercare_pages_into_a_gap_total", "Pages to a role that nobody on the roster has."
)
PAGES_TO_NOBODY = Counter("aftercare_pages_to_nobody_total", "Pages that reached nobody over any channel.")
PAGES_REPEATED = Counter(
    "aftercare_pages_repeated_total",
    "Pages that somebody may have got before, as the timeline says as well: better twice than never.",
    ["reason"],
)
CHAINS_UNANSWERED = Counter(
    "aftercare_chains_unanswered_total", "Whole chains that brought nobody (F59), counted by each replica."
)
INTERVENTIONS_LAPSED = Counter(
    "aftercare_interventions_lapsed_total",
    "Acknowledged incidents without intervention in time (A30), counted by each replica.",
)
ROTA_FALLBACKS = Counter(
    "aftercare_rota_fallbacks_total",
    "Pages to everybody with the role, because the rota named nobody who can be paged, by the reason.",
    ["role", "reason"],
)
ROTA_GAP_SECONDS = Gauge(
    "aftercare_rota_gap_seconds", "How long nobody is on call within the next 14 days.", ["role"]
)
ROTA_NEXT_GAP_SECONDS = Gauge(
    "aftercare_rota_next_gap_seconds",
    "Time until nobody is on call: 0 in a gap, +Inf where there is none within the next 14 days.",
    ["role"],
)
ROTA_UNREADABLE = Gauge(
    "aftercare_rota_unreadable", "1 while the rota's file cannot be used, and what was read before it holds."
)
INCIDENTS_OPEN = Gauge("aftercare_incidents_open", "Incidents that are not resolved.")
INCIDENTS_UNWRITTEN = Gauge(
    "aftercare_incidents_unwritten", "Incidents that the database does not hold as they stand in memory."
)
PAGER_PROBLEMS = Gauge(
    "aftercare_pager_problems", "What the auditor found at its last look, by its code.", ["problem"]
)
HEARTBEATS = Counter(
    "aftercare_heartbeats_total",
    "Beats for the monitor outside: taken, refused by it, or withheld as the pager was not well.",
    ["result"],
)
DRILL_ACCEPTED_SECONDS = Gauge(
    "aftercare_drill_accepted_timestamp_seconds",
    "When a provider last accepted the page of a drill, in Unix time; 0 where none did since the start.",
)

# An increase from nothing is not seen: what alerts ask for is there from the start.
for _way in ("bus", "http"):
    for _result in ("read", "unreadable"):
        FLAGS.labels(_way, _result)
for _service in ("intake", "survey"):
    for _result in ("taken", "refused", "failed"):
        CRISES_OVER_HTTP.labels(_service, _result)
for _result in ("taken", "refused", "withheld"):
    HEARTBEATS.labels(_result)

# --- messages -------------------------------------------------------------------------------------------------
MESSAGES = Counter("aftercare_messages_total", "Messages handed to the gateway, by template and result.",
                   ["template", "result"])  # fmt: skip

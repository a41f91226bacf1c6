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
FLAG_TO_PAGE_SECONDS = Histogram(
    "aftercare_flag_to_page_seconds",
    "Time from the arrival of a crisis flag to the first page that a provider accepted.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300),
)
FLAG_TO_ACKNOWLEDGED_SECONDS = Histogram(
    "aftercare_flag_to_acknowledged_seconds",
    "Time from the arrival of a crisis flag to a person's acknowledgement.",
    buckets=(15, 30, 60, 120, 300, 600, 900, 1800, 3600),
)
PAGES = Counter("aftercare_pages_total", "Pages by channel and result.", ["channel", "result"])
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

# --- messages -------------------------------------------------------------------------------------------------
MESSAGES = Counter("aftercare_messages_total", "Messages handed to the gateway, by template and result.",
                   ["template", "result"])  # fmt: skip

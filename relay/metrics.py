"""Every number the relay counts, declared in one place so that the docs and the dashboards can name them all."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()

DELAY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

LOOKS = Counter(
    "relay_looks_total", "Looks at provider jobs, by what they said.", ["provider", "outcome"], registry=REGISTRY
)
REQUESTS = Counter(
    "relay_provider_requests_total", "Requests sent to providers, by kind.", ["provider", "kind"], registry=REGISTRY
)
UNKNOWN_WORDS = Counter(
    "relay_unknown_words_total", "Answers whose state word no definition knows.", ["provider"], registry=REGISTRY
)
ENDINGS = Counter(
    "relay_job_endings_total",
    "Jobs that ended, by status, however they did.",
    ["provider", "status"],
    registry=REGISTRY,
)
DETECTION_DELAY = Histogram(
    "relay_detection_delay_seconds",
    "From the middle between the last two looks to the ending's commit: how late an ending is seen.",
    ["provider"],
    buckets=DELAY_BUCKETS,
    registry=REGISTRY,
)
ATTEMPTS = Counter("relay_attempts_total", "Delivery attempts, by answer.", ["answer"], registry=REGISTRY)
ATTEMPT_DURATION = Histogram(
    "relay_attempt_duration_seconds", "Duration of delivery attempts.", buckets=DELAY_BUCKETS, registry=REGISTRY
)
LATENESS = Histogram(
    "relay_lateness_seconds",
    "How long something was due before a worker took it.",
    ["station"],
    buckets=DELAY_BUCKETS,
    registry=REGISTRY,
)
SWEPT = Counter(
    "relay_swept_total", "Facts found without a due time and put back on the schedule.", ["station"], registry=REGISTRY
)
PRUNED = Counter("relay_pruned_rows_total", "Rows removed by retention.", registry=REGISTRY)
DUE = Gauge(
    "relay_due",
    "Things due now and not taken yet, of the whole relay: each web process tells the same.",
    ["station"],
    registry=REGISTRY,
)
OLDEST_OVERDUE = Gauge(
    "relay_oldest_overdue_seconds",
    "For how long the oldest thing of the whole relay has been due and not taken, also where Redis has forgotten it.",
    ["station"],
    registry=REGISTRY,
)
HTTP_REQUESTS = Counter(
    "relay_http_requests_total", "Requests to the API.", ["method", "route", "status"], registry=REGISTRY
)
HTTP_DURATION = Histogram(
    "relay_http_request_duration_seconds",
    "Duration of API requests.",
    ["route"],
    buckets=DELAY_BUCKETS,
    registry=REGISTRY,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition() -> bytes:
    """The registry in Prometheus' text format; its content type is CONTENT_TYPE."""
    return generate_latest(REGISTRY)

"""The numbers of all processes on one page, so that whoever scrapes the web sees what the workers do."""

import asyncio
import hmac
import os
import socket
from collections.abc import Iterable, Mapping

import structlog
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response

from relay import metrics
from relay.bootstrap import Relay
from relay.domain.errors import Unreachable
from relay.web.problems import Problem
from relay.web.progress import progress

KEY_PREFIX = "relay:metrics:"
EXPIRE_SECONDS = 60
PUBLISH_SECONDS = 10.0
REDIS_SECONDS_MAX = 2.0
PROCESSES_MAX = 500

log = structlog.get_logger(__name__)


class Joined(Collector):
    """The expositions of several processes as one, each sample with the label `process`."""

    def __init__(self, expositions: Mapping[str, str]) -> None:
        self._expositions = expositions

    def collect(self) -> Iterable[Metric]:
        """The families by name, each once, as the format demands."""
        families: dict[str, Metric] = {}
        for process, text in sorted(self._expositions.items()):
            for told in text_string_to_metric_families(text):
                if told.name.endswith("_created"):  # when counting began, which this format's readers do not use
                    continue
                family = families.setdefault(told.name, Metric(told.name, told.documentation, told.type))
                family.samples.extend(_labelled(sample, process) for sample in told.samples)
        return families.values()


def _labelled(sample: Sample, process: str) -> Sample:
    return sample._replace(labels={**sample.labels, "process": process})


async def show(request: Request) -> Response:
    """Prometheus' text format; with RELAY_METRICS_TOKEN set, for the bearer of that alone."""
    relay: Relay = request.app.state.relay
    _admit(relay, request.headers.get("authorization", ""))
    expositions: dict[str, str] = {}
    try:
        async with asyncio.timeout(REDIS_SECONDS_MAX):
            expositions = await _published(relay)
            await _measure(relay)
    except (Unreachable, RedisError, OSError, TimeoutError) as error:
        log.warning("numbers_of_this_process_alone", reason=str(error))
    expositions[process_name()] = metrics.exposition().decode()
    return Response(generate_latest(Joined(expositions)), headers={"content-type": metrics.CONTENT_TYPE})


async def publish(relay: Relay) -> None:
    """Puts this process's numbers where any web process finds them, until cancelled."""
    key = KEY_PREFIX + process_name()
    while True:
        try:
            await relay.redis.set(key, metrics.exposition(), ex=EXPIRE_SECONDS)
            await _measure(relay)  # what it says next is true then, also where it was not asked for long
        except (Unreachable, RedisError, OSError) as error:
            log.debug("numbers_not_published", reason=str(error))
        await relay.clock.sleep(PUBLISH_SECONDS)


def process_name() -> str:
    """What tells this process from all others."""
    return f"web-{socket.gethostname()}-{os.getpid()}"


def _admit(relay: Relay, authorization: str) -> None:
    token = relay.settings.relay_metrics_token
    if token is None:
        return
    kind, _, text = authorization.partition(" ")
    is_it = hmac.compare_digest(text.strip().encode(), token.get_secret_value().encode())
    if kind.lower() != "bearer" or not is_it:
        detail = "Send the token of RELAY_METRICS_TOKEN: `Authorization: Bearer <token>`."
        raise Problem(401, "unauthorized", detail, headers={"www-authenticate": 'Bearer realm="metrics"'})


async def _measure(relay: Relay) -> None:
    told = await progress(relay)
    for station, idle in (("poll", told.polls), ("deliver", told.deliveries)):
        metrics.DUE.labels(station).set(idle.due)
        metrics.OLDEST_OVERDUE.labels(station).set(idle.oldest_seconds)


async def _published(relay: Relay) -> dict[str, str]:
    keys: list[str] = []
    async for key in relay.redis.scan_iter(f"{KEY_PREFIX}*", count=1000):
        keys.append(key)
        if len(keys) >= PROCESSES_MAX:
            break
    texts = await relay.redis.mget(keys) if keys else []
    return {key.removeprefix(KEY_PREFIX): text for key, text in zip(keys, texts, strict=True) if text}

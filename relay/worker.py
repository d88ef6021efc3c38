"""The arq worker's door: long-lived drains of both stations, a sweep on the clock, and an orderly way out."""

import asyncio
import gc
import json
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import structlog
from arq import cron
from arq.connections import RedisSettings
from arq.cron import CronJob
from arq.worker import Function, Worker, func
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay import metrics
from relay.bootstrap import Relay, check_database, ensure_environment_credentials, open_relay
from relay.clock import Clock
from relay.domain.errors import BadSettings, Unreachable
from relay.logs import configure
from relay.schedule import connect, eviction_policy
from relay.settings import Settings, load
from relay.tasks import end

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 25.0
OVERLAP_SECONDS = 1.5  # a drain's successor is at work before it stops, so that nothing due waits between them
DRAIN_TIMEOUT_SECONDS = 90.0  # a drain that runs on so long hangs: arq cancels it, and `keep` starts another
JOB_TIMEOUT_SECONDS = 120.0
START_SECONDS_MAX = 5.0  # a drain that was asked for and has not begun by then is asked for again
POLL_DELAY_SECONDS = 0.25
EVERY_OTHER_SECOND = set(range(0, 60, 2))
CRON_STALL_SECONDS = 10.0
QUEUE_EXPIRE_SECONDS = 3600
METRICS_EXPIRE_SECONDS = 60
AS_REDIS_READS_IT = frozenset(
    {
        *("username", "password"),
        *("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"),
    }
)
PULSE_KEY = "relay:worker"  # some worker's, and with its host's name behind it that host's
PULSE_SECONDS = 30  # a worker that says nothing for so long is dead or hangs
CHECK_SECONDS_MAX = 5.0
SWEEP_LOCK_MS = 1_500  # one tick for all workers together in every two seconds
REDIS_RETRY_SECONDS_MAX = 2.0
RESTART_SECONDS = 1.0
GC_THRESHOLD = 50_000  # many long-lived objects: fewer, later collections cost half as much
FILES_MAX = 65_536
STATIONS = ("poll", "deliver")


@dataclass(slots=True)
class House:
    """What the arq functions of one process share."""

    relay: Relay
    process: str
    queue: str
    closing: AsyncExitStack
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    running: dict[str, int] = field(default_factory=dict)
    asked_at: dict[str, float] = field(default_factory=dict)
    kept_at: float = 0.0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def spawn(self, work: Any) -> None:
        """Runs a coroutine beside the rest and keeps hold of it until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def drain(ctx: dict[str, Any], station: str) -> None:
    """One drain of one station, which asks for its successor shortly before it ends."""
    house: House = ctx["house"]
    house.asked_at.pop(station, None)
    house.running[station] = house.running.get(station, 0) + 1
    work = house.relay.poll if station == "poll" else house.relay.deliver
    successor = asyncio.create_task(_ask_later(ctx, station))
    try:
        await work.drain(DRAIN_SECONDS, house.stopping)
    finally:
        successor.cancel()
        house.running[station] -= 1


async def keep(ctx: dict[str, Any]) -> None:
    """Asks for a drain where none runs (a start, a flushed queue, a drain that died) and reports the numbers."""
    house: House = ctx["house"]
    now = house.relay.clock.monotonic()
    house.kept_at = now
    for station in STATIONS:
        is_asked = now - house.asked_at.get(station, -START_SECONDS_MAX) < START_SECONDS_MAX
        if not house.running.get(station) and not is_asked:
            await _ask(ctx, station)
    redis = ctx["redis"]
    await redis.expire(house.queue, QUEUE_EXPIRE_SECONDS)
    await redis.set(f"relay:metrics:{house.process}", metrics.exposition(), ex=METRICS_EXPIRE_SECONDS)
    for key in (PULSE_KEY, _pulse_of_host()):
        await redis.set(key, house.process, ex=PULSE_SECONDS)


def check_pulse(url: str, *, anywhere: bool) -> str:
    """
    Says that a worker of this host (`anywhere`: of any) has worked within PULSE_SECONDS.

    Raises Unreachable when none has, or when Redis cannot tell.
    """
    place = "anywhere" if anywhere else "on this host"
    if not asyncio.run(has_pulse(url, anywhere=anywhere)):
        raise Unreachable("worker", f"none {place} has worked within {PULSE_SECONDS} seconds")
    return f"a worker {place} is at work"


async def has_pulse(url: str, *, anywhere: bool) -> bool:
    """Whether a worker of this host (`anywhere`: of any) has worked within PULSE_SECONDS. Raises Unreachable."""
    redis = connect(url)
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return bool(await redis.exists(PULSE_KEY if anywhere else _pulse_of_host()))
    except (RedisError, OSError, TimeoutError) as error:
        raise Unreachable("redis", str(error) or "no answer in time") from error
    finally:
        await redis.aclose()


def _pulse_of_host() -> str:
    return f"{PULSE_KEY}:{socket.gethostname()}"


async def sweep(ctx: dict[str, Any]) -> None:
    """One tick of the sweep, by whichever worker comes first."""
    house: House = ctx["house"]
    if not await ctx["redis"].set("relay:sweep", house.process, nx=True, px=SWEEP_LOCK_MS):
        return
    try:
        await house.relay.sweep.tick()
    except Unreachable as error:
        log.warning("sweep_put_off", reason=str(error))


async def startup(ctx: dict[str, Any]) -> None:
    """Builds the house, takes over the signals and asks for the first drains."""
    raise_file_limit()
    closing = AsyncExitStack()
    relay = await closing.enter_async_context(open_relay(ctx["settings"]))
    await check_database(relay.store)
    await ensure_environment_credentials(relay)
    house = House(relay, ctx["process"], ctx["queue"], closing)
    ctx["house"] = house
    await _warn_of_eviction(relay)
    _take_signals(house)
    for station in STATIONS:
        await _ask(ctx, station)
    house.kept_at = relay.clock.monotonic()
    house.spawn(_watch(house, ctx["crons"]))
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    log.info("worker_started", process=house.process)


async def shutdown(ctx: dict[str, Any]) -> None:
    """Takes the house down; what was in flight is found again by its lease."""
    house: House | None = ctx.get("house")
    if house is None:
        return
    await end(house.tasks)
    try:
        await ctx["redis"].delete(f"relay:metrics:{house.process}", house.queue)
    finally:
        await house.closing.aclose()
    log.info("worker_stopped", process=house.process)


async def _ask(ctx: dict[str, Any], station: str) -> None:
    house: House = ctx["house"]
    if house.stopping.is_set():
        return
    house.asked_at[station] = house.relay.clock.monotonic()
    try:
        await ctx["redis"].enqueue_job("drain", station, _queue_name=house.queue)
    except RedisError as error:
        log.warning("drain_not_asked_for", station=station, reason=str(error))


async def _ask_later(ctx: dict[str, Any], station: str) -> None:
    house: House = ctx["house"]
    await house.relay.clock.sleep(DRAIN_SECONDS - OVERLAP_SECONDS)
    await _ask(ctx, station)


async def _watch(house: House, crons: list[CronJob]) -> None:
    """
    arq plans its cron by the wall clock: when that steps back, the next tick would wait for the lost time.
    """
    clock = house.relay.clock
    while True:
        await clock.sleep(CRON_STALL_SECONDS / 2)
        if clock.monotonic() - house.kept_at > CRON_STALL_SECONDS:
            for job in crons:
                job.next_run = None


async def _warn_of_eviction(relay: Relay) -> None:
    policy = await eviction_policy(relay.redis)
    if policy not in (None, "noeviction"):
        log.warning(
            "redis_may_evict",
            policy=policy,
            fix="set maxmemory-policy to noeviction: due times that Redis drops are found only by the sweep",
        )


def raise_file_limit() -> None:
    """
    Lets this process open as many files as its host allows it to. The soft limit is often 1024, and what two stations
    have in flight and idle is more; programs that cannot bear more are those that use select(), which this does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _take_signals(house: House) -> None:
    """
    arq's own handlers either cancel at once or know nothing of the drains; these let what is in flight come back.
    """
    loop, main = asyncio.get_running_loop(), asyncio.current_task()

    async def leave() -> None:
        clock = house.relay.clock
        ends = clock.monotonic() + house.relay.settings.relay_shutdown_seconds
        while any(house.running.values()) and clock.monotonic() < ends:
            await clock.sleep(0.05)
        # Until it is heard, as in relay.tasks.end; but this ends with the loop, and must not hold it up.
        while main is not None and not main.done():
            main.cancel()
            await clock.sleep(0.05)

    def on_signal() -> None:
        if house.stopping.is_set():
            if main is not None:
                main.cancel()
            return
        log.info("worker_stopping", drain_seconds=house.relay.settings.relay_shutdown_seconds)
        house.stopping.set()
        house.spawn(leave())

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


def redis_settings(url: str) -> RedisSettings:
    """arq's connection: it waits for a Redis that is away instead of dying of it."""
    settings = RedisSettings.from_dsn(url)
    # arq reads neither the query of the URL nor what is percent-encoded in its password; redis-py does.
    told: dict[str, Any] = dict(parse_url(url))
    for name in AS_REDIS_READS_IT & told.keys():
        setattr(settings, name, told[name])
    settings.retry_on_timeout = True
    settings.retry_on_error = [RedisConnectionError, RedisTimeoutError]
    settings.retry = Retry(ExponentialBackoff(cap=REDIS_RETRY_SECONDS_MAX, base=0.05), -1)
    return settings


def worker_settings(settings: Settings, clock: Clock | None = None) -> dict[str, Any]:
    """
    What arq's Worker is made of. Each process has a queue of its own, so that its drains run in it and die with it;
    nothing that matters is in that queue.
    """
    process = (clock or Clock()).new_id("req").removeprefix("req_")
    queue = f"arq:relay:{process}"
    crons = [
        cron(keep, name="keep", second=EVERY_OTHER_SECOND, unique=False),
        cron(sweep, name="sweep", second=EVERY_OTHER_SECOND, unique=False, timeout=JOB_TIMEOUT_SECONDS),
    ]
    functions: list[Function] = [func(drain, name="drain", timeout=DRAIN_TIMEOUT_SECONDS, max_tries=1)]
    return {
        "functions": functions,
        "cron_jobs": crons,
        "queue_name": queue,
        "redis_settings": redis_settings(settings.redis_url),
        "on_startup": startup,
        "on_shutdown": shutdown,
        "handle_signals": False,
        "job_timeout": JOB_TIMEOUT_SECONDS,
        "keep_result": 0,
        "max_jobs": 16,
        "poll_delay": POLL_DELAY_SECONDS,
        "health_check_interval": 10,
        "log_results": False,
        "retry_jobs": False,
        "job_serializer": _dump,
        "job_deserializer": json.loads,
        "ctx": {"settings": settings, "process": process, "queue": queue, "crons": crons},
    }


def run() -> None:
    """
    `relay worker`: runs until told to stop, and begins again when Redis was away for too long for arq.

    Raises BadSettings, BadDefinition.
    """
    settings = load(needs_secret_key=True)
    configure(settings.log_level)
    while True:
        worker_context: dict[str, Any] = {}
        try:
            asyncio.run(_run_once(settings, worker_context))
            return
        except (RedisError, OSError, Unreachable) as error:
            house: House | None = worker_context.get("house")
            if house is not None and house.stopping.is_set():
                return
            log.warning("worker_restarts", reason=str(error), in_seconds=RESTART_SECONDS)
            asyncio.run(Clock().sleep(RESTART_SECONDS))


async def _run_once(settings: Settings, context: dict[str, Any]) -> None:
    told = worker_settings(settings)
    context |= told["ctx"]
    worker = Worker(**{**told, "ctx": context})
    try:
        await worker.async_run()
    except asyncio.CancelledError:
        pass
    finally:
        await _close(worker)


async def _close(worker: Worker) -> None:
    """arq's own way out stops half way when a job that it waits for was cancelled; then the rest is done without it."""
    try:
        await worker.close()
    except asyncio.CancelledError:
        worker.tasks.clear()
        await worker.close()


def _dump(value: dict[str, Any]) -> bytes:
    # A failed job's result holds its exception, which JSON knows only as text.
    return json.dumps(value, default=str).encode()


async def _start_under_arq(ctx: dict[str, Any]) -> None:
    configure(ctx["settings"].log_level)  # once more: the `arq` command has put its own in between
    await startup(ctx)


def _settings_for_arq() -> type:
    try:
        settings = load(needs_secret_key=True)
    except BadSettings as error:
        # Above this there is only the `arq` command, which would show it as a traceback.
        sys.exit("\n".join(f"relay: {fault}" for fault in error.faults))
    configure(settings.log_level)
    logging.getLogger("arq").propagate = False  # until the start it shows its lines itself
    return type("WorkerSettings", (), {**worker_settings(settings), "on_startup": _start_under_arq})


def __getattr__(name: str) -> Callable[..., Any] | type:
    """`arq relay.worker.WorkerSettings`: made when asked for, so that importing this module reads no environment."""
    if name == "WorkerSettings":
        return _settings_for_arq()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

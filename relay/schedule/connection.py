"""The way to Redis: timeouts, what counts as not answering, and scripts that survive a flush of the script cache."""

import asyncio
import hashlib
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from relay.domain.errors import Unreachable
from relay.tasks import end, is_cancelled

CONNECTIONS_MAX = 32
CONNECT_TIMEOUT_SECONDS = 2
ANSWER_TIMEOUT_SECONDS = 3
FREE_CONNECTION_TIMEOUT_SECONDS = 5
DOUBT_SECONDS = 0.5  # no command takes so long: who holds a connection longer listens, or asks a server that hangs
PING_SECONDS = 1.0  # a PING on a new connection that takes longer: the server hangs, until one is answered
LATER_PING_SECONDS = 5.0  # how long those after it may take: a new connection with TLS over half the world takes 1.5 s
RETRIES = 2
RETRY_BASE_SECONDS = 0.02
RETRY_CAP_SECONDS = 0.2
CALLS_PER_ROUND_TRIP = 64
KEEPALIVE = {  # keeps the connection known to every NAT on the way, and finds out within a minute when it is dead
    getattr(socket, name): value
    for name, value in {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}.items()
    if hasattr(socket, name)
}
CLOSED = "the way to it was closed"
PASSING_ERRORS = ("LOADING", "MISCONF", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "UNBLOCKED")

Arguments = Sequence[str | int | float]


class Pool(BlockingConnectionPool):
    """
    Connections to a server that may hang: accept, and say nothing. Then every command would wait for its timeout, and
    a request of the API for one after the other. So a connection that is out for long raises a doubt, which a PING
    beside the others settles; while none is answered nobody gets a connection, and hears so at once.

    A server that refuses is not asked like that: to hear so costs nobody time, and it may be back at any moment.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._doubts: dict[AbstractConnection, asyncio.TimerHandle] = {}
        self._settling: asyncio.Task[None] | None = None
        self._is_silent = False
        self._is_closed = False

    def can_get_connection(self) -> bool:
        """Asked by who comes for a connection, and again by who waits for one. Raises LostConnection."""
        if self._is_closed:  # somebody's task has outlived it: a connection made for him would be closed by nobody
            raise LostConnection(CLOSED)
        if self._is_silent:
            raise LostConnection("it hangs: a PING is not answered")
        return bool(super().can_get_connection())

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Connects the connection that somebody is about to get, which may be what takes long."""
        self._doubts[connection] = asyncio.get_running_loop().call_later(DOUBT_SECONDS, self._doubt)
        await super().ensure_connection(connection)
        if self._is_closed:
            await connection.disconnect(nowait=True)
            raise LostConnection(CLOSED)

    async def release(self, connection: AbstractConnection) -> None:
        """Takes the connection back."""
        self._doubts.pop(connection).cancel()
        await super().release(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Ends the connections, for good, and the question."""
        self._is_closed = True
        if self._settling is not None:
            await end([self._settling])
        await super().disconnect(inuse_connections)

    def _doubt(self) -> None:
        if not self._is_closed and (self._settling is None or self._settling.done()):
            self._settling = asyncio.create_task(self._settle(), name="asking whether Redis answers")

    async def _settle(self) -> None:
        patience_seconds = PING_SECONDS
        try:
            while not await self._answers(patience_seconds) and not is_cancelled():
                patience_seconds = LATER_PING_SECONDS
                self._is_silent = True
                async with self._condition:
                    self._condition.notify_all()
        finally:
            self._is_silent = False

    async def _answers(self, within_seconds: float) -> bool:
        # Without timeouts of its own, which redis-py tells as a lost connection while it connects.
        patient = {**self.connection_kwargs, "socket_timeout": None, "socket_connect_timeout": None}
        connection: Any = self.connection_class(**patient)
        try:
            async with asyncio.timeout(within_seconds):
                await connection.connect()
                await connection.send_command("PING")
                await connection.read_response()
        except TimeoutError:
            return False
        except (RedisError, OSError):
            return True  # a refusal, and others hear it as fast
        finally:
            await connection.disconnect(nowait=True)
        return True


def connect(url: str) -> Redis:
    """
    A client for `redis://`, `rediss://` or `unix://`, connected at first use; close it with `aclose()`. A connection
    that was lost is made anew and the command repeated (all scripts here bear that); one that does not answer in
    time is not repeated, for it may be at work. While the server hangs every command fails at once: see Pool.
    """
    options: dict[str, Any] = {}
    if not url.startswith("unix:"):
        options = {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
    pool = Pool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=FREE_CONNECTION_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        socket_timeout=ANSWER_TIMEOUT_SECONDS,
        # Its PING on connecting connects again when it fails, and never ends on a proxy whose Redis is down.
        health_check_interval=0,
        retry=Retry(
            ExponentialBackoff(cap=RETRY_CAP_SECONDS, base=RETRY_BASE_SECONDS),
            RETRIES,
            supported_errors=(LostConnection,),  # by default timeouts too, and then connecting takes three of them
        ),
        retry_on_error=[LostConnection],
        decode_responses=True,
        **options,
    )
    return Redis.from_pool(pool)


@contextmanager
def answering() -> Iterator[None]:
    """Turns what means "Redis is away, starting, full or not writable" into Unreachable; other errors are our own."""
    try:
        yield
    except (LostConnection, NoAnswer, ReadOnlyError, OutOfMemoryError, OSError) as error:
        raise Unreachable("redis", str(error)) from error
    except ResponseError as error:
        if str(error).startswith(PASSING_ERRORS):
            raise Unreachable("redis", str(error)) from error
        raise


async def eviction_policy(redis: Redis) -> str | None:
    """`noeviction` or what the server does instead when it is full; None when it will not say."""
    try:
        with answering():
            settings: dict[str, str] = await redis.config_get("maxmemory-policy")
    except RedisError:  # CONFIG is often forbidden by hosts
        return None
    return settings.get("maxmemory-policy")


class Script:
    """A Lua script of this package, by name; `with_shared` puts shared.lua before it."""

    def __init__(self, name: str, *, with_shared: bool = True) -> None:
        folder = files(__package__) / "scripts"
        parts = ["shared", name] if with_shared else [name]
        self.text = "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, calls: Sequence[tuple[str, Arguments]]) -> list[Any]:
        """
        The answers to each (key, arguments), in order, in one round trip for every 64 of them. The calls must not
        depend on each other: those that fail because the server forgot the script are made again after the rest.
        """
        answers: list[Any] = []
        with answering():
            for start in range(0, len(calls), CALLS_PER_ROUND_TRIP):
                answers += await self._run_some(redis, calls[start : start + CALLS_PER_ROUND_TRIP])
        return answers

    async def _run_some(self, redis: Redis, calls: Sequence[tuple[str, Arguments]]) -> list[Any]:
        answers = await self._send(redis, calls, "EVALSHA", self.sha)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            repeated = await self._send(redis, [calls[place] for place in unknown], "EVAL", self.text)
            for place, answer in zip(unknown, repeated, strict=True):
                answers[place] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _send(self, redis: Redis, calls: Sequence[tuple[str, Arguments]], verb: str, script: str) -> list[Any]:
        pipeline = redis.pipeline(transaction=False)
        for key, arguments in calls:
            pipeline.execute_command(verb, script, 1, key, *arguments)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

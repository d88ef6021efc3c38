"""`relay dev`: starts every part on this machine, runs the demo, and takes everything down again."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.text import Text

from relay.clock import Clock
from relay.dev.account import Account, new_job_id
from relay.dev.banner import Parts, banner, outcome
from relay.dev.board import Board, NobodyReads
from relay.dev.child import Child
from relay.dev.demo import Demo, DemoFailed, Places
from relay.dev.home import Home
from relay.dev.inbox import Inbox
from relay.dev.serving import HOST, free_port, is_free, listen, port_of, serving
from relay.dev.simulator import Simulator
from relay.domain.key import SCOPES, Key, digest
from relay.embedded import EmbeddedRedis
from relay.providers.catalog import Catalog
from relay.settings import Settings, child_environment
from relay.store import Cipher, migrate, open_store

START_SECONDS_MAX = 45.0
START_LOOK_SECONDS = 0.1
REQUEST_SECONDS_MAX = 5.0
DEMO_SECONDS_MAX = 60.0
SHUTDOWN_SECONDS = 2
STARTS_MAX = 20
LOOPBACK = ("127.0.0.0/8", "::1/128")
TENANT = "default"
KEY_NAME = "relay dev"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PartFailed(Exception):
    """A part of the relay did not start, or ended by itself; `lines` are the last of its log."""

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decides; without `has_demo` the parts only run."""

    exits_after_demo: bool = False
    has_demo: bool = True


class Supervisor:
    """Use once: `run` gives the exit code. It takes SIGINT, SIGTERM and SIGHUP while it runs."""

    def __init__(self, settings: Settings, home: Home, options: Options, console: Console, clock: Clock) -> None:
        self._settings = settings
        self._home = home
        self._options = options
        self._console = console
        self._clock = clock
        self._began = clock.monotonic()
        self._children: list[Child] = []
        self._watches: list[asyncio.Task[None]] = []
        self._fallen: asyncio.Queue[Child] = asyncio.Queue()

    async def run(self) -> int:
        """
        0 when it was stopped in order, or when the demo that it exits after succeeded; 1 when a part or the demo
        failed. Raises BadDefinition, and BadSettings or Unreachable when there is no Redis to embed.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal, stopping)
        story = asyncio.create_task(self._story())
        stop = asyncio.create_task(stopping.wait())
        fallen = asyncio.create_task(self._fallen.get())
        try:
            await asyncio.wait({story, stop, fallen}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                self._say("stopping …")
            story.cancel()
            await asyncio.wait({story})
            if fallen.done():
                raise _death_of(fallen.result())
            return int(self._options.exits_after_demo) if story.cancelled() else story.result()
        except NobodyReads:
            return 1
        except (PartFailed, DemoFailed) as error:
            self._say(str(error), "red")
            for line in getattr(error, "lines", ()):
                self._say(f"  {line}")
            return 1
        finally:
            stop.cancel()
            fallen.cancel()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _on_signal(self, stopping: asyncio.Event) -> None:
        if stopping.is_set():  # a second Ctrl-C: no more waiting for what is in flight
            for child in self._children:
                child.kill()
        stopping.set()

    async def _story(self) -> int:
        async with AsyncExitStack() as stack:
            catalog = Catalog.load(self._providers_folder())
            parts, simulator = await self._start(stack, catalog)
            if simulator.left_out:
                self._say(
                    f"not simulated, for want of samples or of a param: {', '.join(simulator.left_out)}", "yellow"
                )
            jobs = [
                (one, new_job_id(definition, self._clock.entropy))
                for one in simulator.accounts
                if (definition := catalog.get(one.provider)) and definition.is_demo
            ]
            is_good = await self._demo(parts.places, jobs) if self._options.has_demo else True
            if not self._options.exits_after_demo:
                self._tell(banner(parts, self._home, jobs))
                await asyncio.Event().wait()
            return 0 if is_good else 1

    async def _start(self, stack: AsyncExitStack, catalog: Catalog) -> tuple[Parts, Simulator]:
        self._say("starting Redis, the database, web, worker, simulator and inbox …")
        wanted = self._settings.port
        api_port = self._free_port("API", wanted)
        inbox_listener = listen(api_port + 1 if wanted else 0)
        inbox_port = port_of(inbox_listener)
        simulator_listener = listen(inbox_port + 1 if wanted else 0)
        inbox = Inbox(self._home.keys.inbox_secret, self._clock)
        inbox_url = await stack.enter_async_context(serving(inbox.app, inbox_listener))
        simulator = Simulator(catalog, self._clock, f"http://{HOST}:{port_of(simulator_listener)}")
        simulator_url = await stack.enter_async_context(serving(simulator.app, simulator_listener))
        redis_url = await self._redis(stack)
        await self._prepare_database()
        stack.push_async_callback(self._stop_children)
        api_url = await self._start_web(api_port, redis_url)
        await self._start_child("worker", self._environment(redis_url, api_url))
        stack.callback(self._stop_watching)
        self._watches = [asyncio.create_task(self._watch(child)) for child in self._children if child.is_alive]
        places = Places(api_url, self._home.keys.api_key, inbox_url, self._home.keys.inbox_secret)
        has_docs, has_dashboard = await _has_docs(api_url), self._settings.relay_dashboard
        return Parts(places, simulator_url, redis_url, has_docs, has_dashboard), simulator

    async def _demo(self, places: Places, jobs: Sequence[tuple[Account, str]]) -> bool:
        with Board(self._console) as board:
            demo = Demo(places, jobs, self._clock, board.show)
            is_good = await demo.run(DEMO_SECONDS_MAX)
        self._tell(outcome(demo.tracks, self._clock.monotonic() - self._began))
        if not is_good:
            for child in self._children:
                self._say(f"the end of {child.log}:", "yellow")
                for line in child.last_lines():
                    self._say(f"  {line}")
        return is_good

    async def _prepare_database(self) -> None:
        """The key of this home is of this database alone: whoever knows it is our own API."""
        keys = self._home.keys
        await migrate(self._home.database_url)
        store = open_store(self._home.database_url, Cipher([keys.secret_key]))
        try:
            if await store.find_key(digest(keys.api_key)) is None:
                now, key_id = self._clock.now(), self._clock.new_id("key")
                await store.add_key(Key(key_id, TENANT, KEY_NAME, SCOPES, digest(keys.api_key), now, None))
        finally:
            await store.close()

    async def _redis(self, stack: AsyncExitStack) -> str:
        is_given = "redis_url" in self._settings.model_fields_set
        if is_given and self._home.number == 1:
            return self._settings.redis_url
        if is_given:
            self._say("REDIS_URL is left to the other relay dev of this folder; this one embeds its own", "yellow")
        embedded = EmbeddedRedis(self._home.folder / "redis")
        url = await asyncio.to_thread(embedded.start)
        stack.push_async_callback(asyncio.to_thread, embedded.stop)
        return url

    async def _start_web(self, port: int, redis_url: str) -> str:
        for _ in range(STARTS_MAX):
            url = f"http://{HOST}:{port}"
            environment = self._environment(redis_url, url) | {"PORT": str(port)}
            child = await self._start_child("web", environment, "--host", HOST)  # its key may do everything
            if await self._is_ready(child, url):
                return url
            if is_free(port):
                raise _death_of(child)
            self._children.remove(child)
            await child.stop()
            port = self._free_port("API", port)  # somebody was quicker
        raise PartFailed(f"no port was free for long enough, up to {port}")

    async def _is_ready(self, child: Child, url: str) -> bool:
        """True when our own API answers; False when the child has ended, or when another server has its port."""
        ends = self._clock.monotonic() + START_SECONDS_MAX
        headers = {"authorization": f"Bearer {self._home.keys.api_key}"}
        async with httpx.AsyncClient(trust_env=False, timeout=REQUEST_SECONDS_MAX) as client:
            while child.is_alive:
                try:
                    answered = await client.get(f"{url}/v1/credentials", params={"limit": "1"}, headers=headers)
                except httpx.HTTPError:
                    answered = None
                if answered is not None and answered.status_code < 500:
                    return answered.status_code == 200  # another relay does not know the key, another server the path
                if self._clock.monotonic() > ends:
                    said = f"HTTP {answered.status_code}" if answered is not None else "nothing"
                    raise PartFailed(f"{child.name} did not get ready; it answers {said}", child.last_lines())
                await self._clock.sleep(START_LOOK_SECONDS)
        return False

    async def _start_child(self, name: str, environment: Mapping[str, str], *options: str) -> Child:
        log = self._home.folder / f"{name}.log"
        child = await Child.start(name, [name, *options], child_environment(environment), log)
        self._children.append(child)
        return child

    async def _watch(self, child: Child) -> None:
        await child.ended()
        self._fallen.put_nowait(child)

    def _stop_watching(self) -> None:
        for watch in self._watches:
            watch.cancel()

    async def _stop_children(self) -> None:
        await asyncio.gather(*(child.stop() for child in self._children))

    def _environment(self, redis_url: str, api_url: str) -> dict[str, str]:
        settings = self._settings
        has_own_drain = "relay_shutdown_seconds" in settings.model_fields_set
        return {
            "DATABASE_URL": self._home.database_url,
            "REDIS_URL": redis_url,
            "RELAY_SECRET_KEY": self._home.keys.secret_key,
            "RELAY_PUBLIC_URL": settings.relay_public_url or api_url,
            "RELAY_ALLOW_HTTP": "true",
            "RELAY_EGRESS_ALLOW": ",".join([*settings.relay_egress_allow, *LOOPBACK]),
            "RELAY_EGRESS_PROXY": "",
            "RELAY_SHUTDOWN_SECONDS": str(settings.relay_shutdown_seconds if has_own_drain else SHUTDOWN_SECONDS),
        }

    def _providers_folder(self) -> Path | None:
        folder = self._settings.relay_providers_dir
        return Path(folder) if folder else None

    def _free_port(self, name: str, wanted: int) -> int:
        port = free_port(wanted)
        if wanted and port != wanted:
            self._say(f"port {wanted} is taken: the {name} is on {port}", "yellow")
        return port

    def _tell(self, lines: Sequence[Text]) -> None:
        for line in lines:
            self._console.print(line, highlight=False, soft_wrap=True)

    def _say(self, line: str, style: str = "") -> None:
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


async def _has_docs(api_url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False, timeout=REQUEST_SECONDS_MAX) as client:
        try:
            return (await client.get(f"{api_url}/docs")).status_code == 200
        except httpx.HTTPError:
            return False


def _death_of(child: Child) -> PartFailed:
    return PartFailed(f"{child.name} has ended; the last of {child.log}:", child.last_lines())

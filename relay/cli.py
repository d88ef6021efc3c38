"""The `relay` command: every door of the house, and the tools of those who live in it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from relay import __version__
from relay.domain.errors import BadDefinition, BadSettings, NotFound, Refused, RelayError
from relay.domain.key import SCOPES, check_name

if TYPE_CHECKING:
    from relay.clock import Clock
    from relay.egress import Egress
    from relay.providers.catalog import Catalog
    from relay.settings import Settings
    from relay.store import Store

T = TypeVar("T")

DEV_FOLDER = ".relay"
KEY_BYTES = 32
SCOPES_DEFAULT = tuple(scope for scope in SCOPES if scope != "admin")
TENANT = "default"
KEYS_SHOWN_MAX = 1000
ANSWER_SHOWN_MAX = 2000
MARKS = {True: "✓", False: "✗", None: "·"}
NEARBY = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
NOTHING_ENCRYPTED = "no secret is read or written here"


class Commands(click.Group):
    """Says what the relay's own errors hold, each fault on a line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (BadSettings, BadDefinition) as error:
            _complain(str(error).splitlines())
            ctx.exit(2)
        except Refused as error:
            _complain([error.detail, *(f"{fault.pointer}: {fault.detail}" for fault in error.faults)])
            ctx.exit(2)
        except RelayError as error:
            _complain([str(error)])
            ctx.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="relay")
@click.option("--tethered", is_flag=True, hidden=True, help="End when standard input ends.")
def main(tethered: bool) -> None:
    """A webhook for every provider that only lets you poll."""
    if tethered:
        from relay.dev.tether import hold

        hold()


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=DEV_FOLDER, show_default=True, help="What it keeps.")
@click.option("--exit-after-demo", is_flag=True, help="End with code 0 when every delivery was verified, else 1.")
@click.option("--no-demo", is_flag=True, help="Only run the parts.")
def dev(folder: Path, exit_after_demo: bool, no_demo: bool) -> None:
    """Everything at once on this machine, with simulated providers and an inbox; one demo job for each provider."""
    from relay import logs
    from relay.clock import Clock
    from relay.dev.board import Terminal
    from relay.dev.home import moved_in
    from relay.dev.supervisor import Options, Supervisor
    from relay.settings import load

    settings = load()
    logs.configure("warning")
    clock, console = Clock(), Terminal()
    options = Options(exits_after_demo=exit_after_demo, has_demo=not no_demo)
    with moved_in(folder, clock) as home:
        if home.number > 1:
            said = f"another relay dev runs in {folder}: this one has its own parts, kept in {home.folder}"
            console.print(said, markup=False, highlight=False, soft_wrap=True)
        sys.exit(asyncio.run(Supervisor(settings, home, options, console, clock).run()))


@main.command()
def web() -> None:
    """The API on 0.0.0.0:$PORT."""
    import uvicorn

    from relay import logs

    settings = _settings()
    logs.configure(settings.log_level)
    uvicorn.run(
        "relay.web.app:create",
        factory=True,
        host="0.0.0.0",  # noqa: S104 - the contract's address; what may reach it is the host's to say
        port=settings.port,
        workers=settings.web_concurrency,
        timeout_graceful_shutdown=round(settings.relay_shutdown_seconds),
        lifespan="on",
        ws="none",
        server_header=False,
        log_config=None,
    )


@main.command()
@click.option("--check", is_flag=True, help="Start none: exit with 0 if one on this host has worked within 30 s.")
@click.option("--anywhere", is_flag=True, help="With --check: on any host.")
def worker(check: bool, anywhere: bool) -> None:
    """Looks at jobs and delivers events; run as many as you like."""
    from relay.settings import load
    from relay.worker import check_pulse, run

    if check:
        click.echo(check_pulse(load().redis_url, anywhere=anywhere))
    else:
        run()


@main.command()
def migrate() -> None:
    """Brings the database to this version's schema; safe from several hosts at once."""
    from relay.settings import load
    from relay.store import migrate as bring_to_head

    url = load().database_url

    async def revisions(store: "Store") -> tuple[str | None, str | None]:
        before, _ = await store.revision()
        await bring_to_head(url)
        after, _ = await store.revision()
        return before, after

    before, after = asyncio.run(_with_store(revisions))
    click.echo(f"the database is at {after}" + ("" if before == after else f"; it was at {before or 'nothing'}"))


@main.group()
def keys() -> None:
    """API keys."""


@keys.command("create")
@click.option("--name", required=True, type=check_name, help="What it is for.")
@click.option("--tenant", default=TENANT, show_default=True, type=check_name, help="A new one begins to be with this.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="Repeatable; all but admin if absent."
)
def create_key(name: str, tenant: str, scopes: tuple[str, ...]) -> None:
    """Prints a new key, this once; no relay has to run."""
    from relay.clock import Clock
    from relay.domain.key import Key, digest, make_key

    clock = Clock()
    text = make_key(clock.entropy(KEY_BYTES))
    wanted = tuple(scope for scope in SCOPES if scope in (scopes or SCOPES_DEFAULT))
    key = Key(clock.new_id("key"), tenant, name, wanted, digest(text), clock.now(), None)
    asyncio.run(_with_store(lambda store: store.add_key(key)))
    click.echo(text)
    click.echo(f"{key.id}, tenant {tenant}: {', '.join(wanted)}. It is not shown again.", err=True)


@keys.command("list")
@click.option("--tenant", default=TENANT, show_default=True)
def list_keys(tenant: str) -> None:
    """The tenant's keys, newest first, without the keys themselves."""
    from relay.domain.moments import rfc3339

    for key in asyncio.run(_with_store(lambda store: store.list_keys(tenant, limit=KEYS_SHOWN_MAX))):
        used = rfc3339(key.last_used_at) or "never"
        click.echo(f"{key.id}  {key.name}  {','.join(key.scopes)}  made {rfc3339(key.created_at)}  used {used}")


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@click.option("--tenant", default=TENANT, show_default=True)
def revoke_key(key_id: str, tenant: str) -> None:
    """The key is refused from the next request on."""
    if not asyncio.run(_with_store(lambda store: store.revoke_key(tenant, key_id))):
        raise NotFound("not_found", f"tenant {tenant} has no key {key_id}")
    click.echo(f"{key_id} is revoked")


@keys.command("rotate-encryption")
def rotate_encryption() -> None:
    """
    Encrypts every stored secret anew, with the newest key of RELAY_SECRET_KEY.

    First put a new key in front of the old one and restart web and worker; then run this, beside them; then drop the
    old key. A run that was broken off is begun again.
    """
    from relay.clock import Clock
    from relay.dev.resealing import Resealing
    from relay.store import Cipher, open_store

    settings = _settings()
    store = open_store(settings.database_url, Cipher(settings.secret_keys))

    async def tell() -> bool:
        resealing = Resealing(store, Clock())
        try:
            async for line in resealing.run():
                click.echo(line)
        finally:
            await store.close()
        return not resealing.unopened

    if not asyncio.run(tell()):
        sys.exit(1)


@main.group(invoke_without_command=True)
@click.pass_context
def providers(ctx: click.Context) -> None:
    """Provider definitions: list, check, try."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_providers)


@providers.command("list")
def list_providers() -> None:
    """Every provider that this relay knows."""
    from relay.providers.check import warnings_of

    known = list(_catalog())
    name_width, title_width = max(len(one.name) for one in known), max(len(one.title) for one in known)
    for definition in known:
        ways = " or ".join("+".join(way.secrets) for way in definition.auth)
        row = f"{definition.name:<{name_width}}  {definition.title:<{title_width}}  {definition.base_url}  ({ways})"
        click.echo(row)
        for warning in warnings_of(definition):
            click.echo(f"{'':<{name_width}}  ! {warning}")


@providers.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def check_providers(files: tuple[Path, ...]) -> None:
    """Whether definitions can be used, and whether their samples are taken for what they say."""
    from relay.clock import Clock
    from relay.providers.catalog import check_file

    now = Clock().now()
    told = {path: check_file(path, now) for path in files}
    for path, faults in told.items():
        click.echo(f"{'✗' if faults else '✓'} {path}")
        for fault in faults:
            click.echo(f"  {fault}")
    if any(told.values()):
        sys.exit(1)


@providers.command("try")
@click.argument("name")
@click.option("--job", "provider_job_id", required=True, help="The provider's id of a job.")
@click.option(
    "--credential-secret", "secrets", multiple=True, metavar="NAME=VALUE", help="Else RELAY_<PROVIDER>_<NAME>."
)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="The credential's and the job's.")
@click.option("--base-url", help="In place of the definition's own.")
def try_provider(
    name: str, provider_job_id: str, secrets: tuple[str, ...], params: tuple[str, ...], base_url: str | None
) -> None:
    """One look at a job: what came, what it means, what the relay would do."""
    from relay.clock import Clock
    from relay.dev.trial import attempt, target_of
    from relay.settings import provider_variables

    definition = _catalog().get(name)
    if definition is None:
        raise NotFound("not_found", f"no provider is called {name}; there are {', '.join(_catalog().names())}")
    prefix = f"RELAY_{name.upper()}_"
    told = {
        key.removeprefix(prefix).lower(): value for key, value in provider_variables().items() if key.startswith(prefix)
    }
    known = {key: told[key] for key in definition.secret_names() if key in told}
    given = {key: told[key] for key in definition.params if key in told}
    target = target_of(definition, provider_job_id, {**known, **_pairs(secrets)}, {**given, **_pairs(params)}, base_url)

    async def tell() -> None:
        async with _egress() as egress:
            for line in await attempt(egress, target, Clock()):
                click.echo(line)

    asyncio.run(tell())


@main.command()
@click.argument("event", metavar="EVENT")
@click.option("--to", "url", required=True, help="Your receiver; it may be on this machine.")
@click.option("--secret", help="whsec_…, what your receiver verifies with; made up and shown if absent.")
def trigger(event: str, url: str, secret: str | None) -> None:
    """Sends a signed sample event to a receiver and shows its answer."""
    from relay.clock import Clock
    from relay.dev.sample_event import Receiver, sample_event, signed
    from relay.domain.subscription import EVENT_TYPES
    from relay.egress import Answered

    if event not in EVENT_TYPES:
        raise click.BadParameter(f"one of {', '.join(EVENT_TYPES)}", param_hint="EVENT")
    clock = Clock()
    receiver = Receiver(url, _signing_secret(secret, clock))
    event_id, body = sample_event(event, clock)

    async def call() -> bool:
        async with _egress() as egress:
            _check_url(egress, url, "--to")
            said = await egress.send(signed(receiver, event_id, body, clock.now()))
        click.echo(f"sent {event} {event_id}, {len(body)} bytes")
        if not isinstance(said, Answered):
            click.echo(f"no answer: {said.reason}, {said.detail}")
            return False
        click.echo(f"answered {said.status_code} {said.body[:ANSWER_SHOWN_MAX].decode('utf-8', 'replace')}".rstrip())
        return 200 <= said.status_code <= 299

    if not asyncio.run(call()):
        sys.exit(1)


@main.command()
@click.argument("file", type=click.File("rb"))
@click.option("--secret", required=True, help="whsec_… (or whpk_…) of the subscription.")
@click.option("--ignore-age", is_flag=True, help="Judge it as if it had just come.")
def verify(file: BinaryIO, secret: str, ignore_age: bool) -> None:
    """
    Explains why a captured webhook does or does not verify.

    FILE is raw HTTP (headers, an empty line, the body) or JSON: {"headers": {…}, "body": "…"}; - is standard input.
    """
    from relay.clock import Clock
    from relay.dev.captured import explain, read_captured

    try:
        captured = read_captured(file.read())
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="FILE") from None
    findings = explain(secret, captured, Clock().now(), ignores_age=ignore_age)
    for finding in findings:
        click.echo(f"{MARKS[finding.is_good]} {finding.text}")
    if not findings[-1].is_good:
        sys.exit(1)


@main.command()
@click.option("--forward-to", "url", required=True, help="Your receiver; it may be on this machine.")
@click.option("--relay-url", help="The relay to listen to; RELAY_PUBLIC_URL if absent.")
@click.option("--api-key", help="A key of it that may read; RELAY_API_KEY if absent.")
@click.option("--secret", help="whsec_…, what your receiver verifies with; made up and shown if absent.")
def listen(url: str, relay_url: str | None, api_key: str | None, secret: str | None) -> None:
    """Forwards a relay's events to a receiver that no webhook can reach, signed anew."""
    from relay.client import AsyncClient
    from relay.clock import Clock
    from relay.dev.listen import Listener
    from relay.dev.sample_event import Receiver
    from relay.egress import AiohttpTransport
    from relay.settings import load

    settings, clock = load(), Clock()
    key = api_key or (settings.relay_api_key.get_secret_value() if settings.relay_api_key else "")
    if not key:
        raise BadSettings(["--api-key or RELAY_API_KEY: a key of the relay that may read is needed"])
    source = (relay_url or settings.public_url).rstrip("/")
    receiver = Receiver(url, _signing_secret(secret, clock))

    async def forward() -> None:
        async with _egress() as egress:
            _check_url(egress, url, "--forward-to")
            _check_url(egress, source, "--relay-url")
            # The way out is the relay's own, with its guard and its proxy; the listener is the one who is patient.
            transport = AiohttpTransport(egress.guard, clock, proxy=settings.relay_egress_proxy)
            async with AsyncClient(source, key, tries_max=1, trust_env=False, transport=transport) as relay:
                listener = Listener(relay, egress, clock, receiver, click.echo)
                await listener.start()
                click.echo(f"events of {source} go to {url}; Ctrl-C ends it")
                await listener.run()

    with suppress(KeyboardInterrupt):
        asyncio.run(forward())


@main.command()
@click.option("--since", required=True, help="RFC 3339, such as 2026-01-01T00:00:00Z, or a date.")
@click.option("--until", help="The same; now if absent.")
@click.option("--kind", type=click.Choice(["events", "attempts"]), default="events", show_default=True)
@click.option("--tenant", default=TENANT, show_default=True)
def export(since: str, until: str | None, kind: str, tenant: str) -> None:
    """Prints events or attempts, each a line of JSON, oldest first; no relay has to run."""
    from relay.dev.export import Export, stretch

    wanted = stretch(since, until)
    asyncio.run(_with_store(lambda store: Export(store, tenant, *wanted).write(kind, sys.stdout)))


@main.command()
@click.option("--tenant", default=TENANT, show_default=True, help="Whose credentials are tried.")
def doctor(tenant: str) -> None:
    """Checks settings, database, migrations, Redis, the way out, and each credential with one look."""
    from relay import logs
    from relay.clock import Clock
    from relay.dev.doctor import examine
    from relay.settings import load

    try:
        settings = load(needs_secret_key=True)
    except BadSettings as error:
        for fault in error.faults:
            click.echo(f"✗ {'settings':<12} {fault}")
        sys.exit(1)
    logs.configure("error")

    async def tell() -> bool:
        lines = []
        async for line in examine(settings, tenant, Clock()):
            click.echo(str(line))
            lines.append(line)
        return all(line.is_good for line in lines)

    if not asyncio.run(tell()):
        sys.exit(1)


async def _with_store(work: Callable[["Store"], Awaitable[T]]) -> T:
    from relay.settings import load
    from relay.store import Cipher, open_store

    settings = load()
    # Keys are kept as digests: nothing that is read or written here is encrypted.
    store = open_store(settings.database_url, Cipher(settings.secret_keys or [NOTHING_ENCRYPTED]))
    try:
        return await work(store)
    finally:
        await store.close()


@asynccontextmanager
async def _egress() -> AsyncIterator["Egress"]:
    """The way out for a person at a terminal, who may call this machine and the networks around it."""
    from relay.egress import Egress, Guard
    from relay.settings import load

    settings = load()
    guard = Guard([*settings.relay_egress_allow, *NEARBY], allow_http=True)
    async with Egress(guard, f"relay/{__version__}", proxy=settings.relay_egress_proxy) as egress:
        yield egress


def _check_url(egress: "Egress", url: str, option: str) -> None:
    faults = egress.guard.check_url(url)
    if faults:
        raise click.BadParameter("; ".join(faults), param_hint=option)


def _signing_secret(given: str | None, clock: "Clock") -> str:
    from relay.webhooks.signing import SECRET_BYTES, check_secret, new_secret

    if given is None:
        made = new_secret(clock.entropy(SECRET_BYTES))
        click.echo(f"signed with {made}")
        return made
    fault = check_secret(given)
    if fault is not None:
        raise click.BadParameter(fault, param_hint="--secret")
    return given


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{name!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


def _catalog() -> "Catalog":
    from relay.providers.catalog import Catalog
    from relay.settings import load

    folder = load().relay_providers_dir
    return Catalog.load(Path(folder) if folder else None)


def _settings() -> "Settings":
    from relay.settings import load

    return load(needs_secret_key=True)


def _complain(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(f"relay: {line}", err=True)

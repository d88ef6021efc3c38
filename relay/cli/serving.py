"""The commands that serve: everything at once for a developer, or each part for a host."""

import asyncio
import sys
from pathlib import Path

import click

from relay.cli.footing import NOTHING_ENCRYPTED

DEV_FOLDER = ".relay"
HOST = "0.0.0.0"  # noqa: S104 - the contract's address; what may reach it is the host's to say


@click.command()
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


@click.command()
@click.option("--host", default=HOST, show_default=True, help="The address that it listens on.")
def web(host: str) -> None:
    """The API on 0.0.0.0:$PORT."""
    import uvicorn

    from relay import logs
    from relay.bootstrap import rehearse
    from relay.settings import load

    settings = load(needs_secret_key=True, needs_port=True)
    logs.configure(settings.log_level)
    asyncio.run(rehearse(settings))
    uvicorn.run(
        "relay.web.app:create",
        factory=True,
        host=host,
        port=settings.port,
        workers=settings.web_concurrency,
        timeout_graceful_shutdown=round(settings.relay_shutdown_seconds),
        lifespan="on",
        ws="none",
        server_header=False,
        log_config=None,
    )


@click.command()
@click.option("--check", is_flag=True, help="Start none: exit with 0 if one on this host has worked within 30 s.")
@click.option("--anywhere", is_flag=True, help="With --check: on any host.")
def worker(check: bool, anywhere: bool) -> None:
    """Looks at jobs and delivers events; run as many as you like."""
    from relay.settings import load
    from relay.worker import check_pulse, run

    if check:
        click.echo(check_pulse(load().redis_url, anywhere=anywhere))
    elif anywhere:
        raise click.UsageError("--anywhere goes with --check")
    else:
        run()


@click.command()
def migrate() -> None:
    """Brings the database to this version's schema; safe from several hosts at once."""
    from relay.settings import load
    from relay.store import Cipher, open_store
    from relay.store import migrate as bring_to_head

    settings = load()

    async def revisions() -> tuple[str | None, str | None]:
        store = open_store(settings.database_url, Cipher(settings.secret_keys or [NOTHING_ENCRYPTED]))
        try:
            before, _ = await store.revision()
            await bring_to_head(settings.database_url)
            after, _ = await store.revision()
        finally:
            await store.close()
        return before, after

    before, after = asyncio.run(revisions())
    click.echo(f"the database is at {after}" + ("" if before == after else f"; it was at {before or 'nothing'}"))

"""The commands of whoever keeps a relay: is it well, and what did it tell."""

import asyncio
import sys

import click

from relay.cli.footing import TENANT, with_store
from relay.domain.errors import BadSettings

START_ONE = "start `relay worker`: without one nothing is looked at or delivered"


@click.command()
@click.option("--since", required=True, help="RFC 3339, such as 2026-01-01T00:00:00Z, or a date.")
@click.option("--until", help="The same; now if absent.")
@click.option("--kind", type=click.Choice(["events", "attempts"]), default="events", show_default=True)
@click.option("--tenant", default=TENANT, show_default=True)
def export(since: str, until: str | None, kind: str, tenant: str) -> None:
    """Prints events or attempts, each a line of JSON, oldest first; no relay has to run."""
    from relay.dev.export import Export, stretch

    wanted = stretch(since, until)
    asyncio.run(with_store(lambda store: Export(store, tenant, *wanted).write(kind, sys.stdout)))


@click.command()
@click.option("--tenant", default=TENANT, show_default=True, help="Whose credentials are tried.")
def doctor(tenant: str) -> None:
    """Checks settings, database, migrations, Redis, the way out, each credential with one look, and for a worker."""
    from relay import logs
    from relay.clock import Clock
    from relay.dev.doctor import Line, examine
    from relay.domain.errors import Unreachable
    from relay.settings import load
    from relay.worker import PULSE_SECONDS, has_pulse

    try:
        settings = load(needs_secret_key=True)
    except BadSettings as error:
        for fault in error.faults:
            click.echo(f"✗ {'settings':<12} {fault}")
        sys.exit(1)
    logs.configure("critical")  # what is wrong is told in lines of its own

    async def worker() -> Line:
        try:
            is_there = await has_pulse(settings.redis_url, anywhere=True)
        except Unreachable:
            return Line(False, "worker", "Redis, where workers leave word, does not answer", "see redis")
        said = f"has worked within {PULSE_SECONDS} seconds"
        # None is no fault of the set-up: it may be about to be started.
        return Line(True, "worker", f"one {said}") if is_there else Line(None, "worker", f"none {said}", START_ONE)

    async def tell() -> bool:
        is_good = True
        async for line in examine(settings, tenant, Clock()):
            click.echo(str(line))
            is_good &= line.is_good is not False
        last = await worker()
        click.echo(str(last))
        return is_good and last.is_good is not False

    if not asyncio.run(tell()):
        sys.exit(1)

"""The commands for those who receive webhooks: send one, explain one, bring those of a relay to this machine."""

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

import click

from relay.cli.footing import way_out
from relay.domain.errors import BadSettings

if TYPE_CHECKING:
    from relay.clock import Clock
    from relay.egress import Egress

ANSWER_SHOWN_MAX = 2000
MARKS = {True: "✓", False: "✗", None: "·"}


@click.command()
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
    receiver = Receiver(url, signing_secret(secret, clock))
    event_id, body = sample_event(event, clock)

    async def call() -> bool:
        async with way_out() as egress:
            check_url(egress, url, "--to")
            said = await egress.send(signed(receiver, event_id, body, clock.now()))
        click.echo(f"sent {event} {event_id}, {len(body)} bytes")
        if not isinstance(said, Answered):
            click.echo(f"no answer: {said.reason}, {said.detail}")
            return False
        click.echo(f"answered {said.status_code} {said.body[:ANSWER_SHOWN_MAX].decode('utf-8', 'replace')}".rstrip())
        return 200 <= said.status_code <= 299

    if not asyncio.run(call()):
        sys.exit(1)


@click.command()
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


@click.command()
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
    receiver = Receiver(url, signing_secret(secret, clock))

    async def forward() -> None:
        async with way_out() as egress:
            check_url(egress, url, "--forward-to")
            check_url(egress, source, "--relay-url")
            # The way out is the relay's own, with its guard and its proxy; the listener is the one who is patient.
            transport = AiohttpTransport(egress.guard, clock, proxy=settings.relay_egress_proxy)
            try:
                client = AsyncClient(source, key, tries_max=1, trust_env=False, transport=transport)
            except ValueError as error:
                raise BadSettings([f"--relay-url or --api-key: {error}"]) from None
            async with client as relay:
                listener = Listener(relay, egress, clock, receiver, click.echo)
                await listener.start()
                click.echo(f"events of {source} go to {url}; Ctrl-C ends it")
                await listener.run()

    with suppress(KeyboardInterrupt):
        asyncio.run(forward())


def check_url(egress: "Egress", url: str, option: str) -> None:
    faults = egress.guard.check_url(url)
    if faults:
        raise click.BadParameter("; ".join(faults), param_hint=option)


def signing_secret(given: str | None, clock: "Clock") -> str:
    from relay.webhooks.signing import SECRET_BYTES, check_secret, new_secret

    if given is None:
        made = new_secret(clock.entropy(SECRET_BYTES))
        click.echo(f"signed with {made}")
        return made
    fault = check_secret(given)
    if fault is not None:
        raise click.BadParameter(fault, param_hint="--secret")
    return given

"""The commands about keys: those of the API, and the one that secrets are encrypted with."""

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from relay.cli.footing import TENANT, with_store
from relay.domain.errors import NotFound
from relay.domain.key import SCOPES, check_name

if TYPE_CHECKING:
    from relay.store import Store

KEY_BYTES = 32
SCOPES_DEFAULT = tuple(scope for scope in SCOPES if scope != "admin")
KEYS_SHOWN_MAX = 1000


@click.group()
def keys() -> None:
    """API keys."""


@keys.command("create")
@click.option("--name", required=True, type=check_name, metavar="NAME", help="What it is for.")
@click.option(
    "--tenant",
    default=TENANT,
    show_default=True,
    type=check_name,
    metavar="NAME",
    help="A new one begins to be with this.",
)
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
    asyncio.run(with_store(lambda store: store.add_key(key)))
    try:
        click.echo(text)
    except OSError:  # a key that nobody has seen must not stay behind
        asyncio.run(with_store(lambda store: store.revoke_key(tenant, key.id)))
        raise
    click.echo(f"{key.id}, tenant {tenant}: {', '.join(wanted)}. It is not shown again.", err=True)


@keys.command("list")
@click.option("--tenant", default=TENANT, show_default=True)
def list_keys(tenant: str) -> None:
    """The tenant's keys, newest first, without the keys themselves."""
    from relay.domain.moments import rfc3339

    for key in asyncio.run(with_store(lambda store: store.list_keys(tenant, limit=KEYS_SHOWN_MAX))):
        used = rfc3339(key.last_used_at) or "never"
        click.echo(f"{key.id}  {key.name}  {','.join(key.scopes)}  made {rfc3339(key.created_at)}  used {used}")


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@click.option("--tenant", default=TENANT, show_default=True)
def revoke_key(key_id: str, tenant: str) -> None:
    """The key is refused from the next request on."""
    if not asyncio.run(with_store(lambda store: store.revoke_key(tenant, key_id))):
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

    async def tell(store: "Store") -> bool:
        resealing = Resealing(store, Clock())
        async for line in resealing.run():
            click.echo(line)
        return not resealing.unopened

    if not asyncio.run(with_store(tell, needs_secret_key=True)):
        sys.exit(1)

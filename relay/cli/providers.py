"""The commands about providers: which are known, whether a definition is right, what one answers."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.footing import way_out
from relay.domain.errors import NotFound

if TYPE_CHECKING:
    from relay.providers.catalog import Catalog


@click.group(invoke_without_command=True)
@click.pass_context
def providers(ctx: click.Context) -> None:
    """Provider definitions: list, check, try."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_providers)


@providers.command("list")
def list_providers() -> None:
    """Every provider that this relay knows."""
    from relay.providers.check import warnings_of

    known = list(catalog())
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
    """One look at a job: what came, what it means, what the relay would do; fails when it does not tell of the job."""
    from relay.clock import Clock
    from relay.dev.trial import attempt, target_of
    from relay.settings import provider_variables

    definition = catalog().get(name)
    if definition is None:
        raise NotFound("not_found", f"no provider is called {name}; there are {', '.join(catalog().names())}")
    prefix = f"RELAY_{name.upper()}_"
    told = {
        key.removeprefix(prefix).lower(): value for key, value in provider_variables().items() if key.startswith(prefix)
    }
    known = {key: told[key] for key in definition.secret_names() if key in told}
    given = {key: told[key] for key in definition.params if key in told}
    target = target_of(definition, provider_job_id, {**known, **_pairs(secrets)}, {**given, **_pairs(params)}, base_url)

    async def tell() -> bool:
        async with way_out() as egress:
            trial = await attempt(egress, target, Clock())
        for line in trial.lines:
            click.echo(line)
        return trial.is_told

    if not asyncio.run(tell()):
        sys.exit(1)


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{name!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


def catalog() -> "Catalog":
    from relay.providers.catalog import Catalog
    from relay.settings import load

    folder = load().relay_providers_dir
    return Catalog.load(Path(folder) if folder else None)

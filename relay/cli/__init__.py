"""The `relay` command: every door of the house, and the tools of those who live in it."""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from relay import __version__
from relay.cli import keys, providers, serving, upkeep, webhooks
from relay.domain.errors import BadDefinition, BadSettings, Refused, RelayError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


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
        except OSError as error:
            if error.errno not in FULL:
                raise
            _complain([f"what was to be told cannot be written: {error.strerror}"])
            # What is left in the buffer would fail once more, with a traceback, when Python writes it out at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="relay")
@click.option("--tethered", is_flag=True, hidden=True, help="End when standard input ends.")
def main(tethered: bool) -> None:
    """A webhook for every provider that only lets you poll."""
    if tethered:
        from relay.dev.tether import hold

        hold()


for command in (
    *(serving.dev, serving.web, serving.worker, serving.migrate),
    *(keys.keys, providers.providers),
    *(webhooks.trigger, webhooks.verify, webhooks.listen),
    *(upkeep.export, upkeep.doctor),
):
    main.add_command(command)


def _complain(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(f"relay: {line}", err=True)

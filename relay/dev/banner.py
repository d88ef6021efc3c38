"""What `relay dev` says once it runs: where everything is, what to try, and what not to take for production."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from relay.dev.account import Account
from relay.dev.board import warnings_of
from relay.dev.demo import CREDENTIAL_NAME, Places, Track
from relay.dev.home import Home

NOT_FOR_PRODUCTION = (
    "SQLite and a Redis that forgets everything are embedded; keys lie beside them in the folder",
    "callbacks and polls may reach this machine, over plain http",
    "the simulator's providers know every job id, and the API key has every scope",
)
BEARER = '-H "authorization: Bearer $KEY"'
WORDS_OF_IDS = "ids that end in bad fail, in dead are not found"


@dataclass(frozen=True, slots=True)
class Parts:
    """What is running."""

    places: Places
    simulator_url: str
    redis_url: str
    has_docs: bool
    has_dashboard: bool = True


def outcome(tracks: Sequence[Track], seconds: float) -> list[Text]:
    """How the demo went: the warnings of its registrations, and one line."""
    over = sum(track.is_over for track in tracks)
    line = f"{over} of {len(tracks)} deliveries arrived with a good signature, {seconds:.1f} s after the start"
    warnings = [Text(f"warning: {warning}", "yellow") for warning in warnings_of(tracks)]
    return [*warnings, Text(line, "bold green" if over == len(tracks) else "bold red")]


def banner(parts: Parts, home: Home, jobs: Sequence[tuple[Account, str]]) -> list[Text]:
    """The lines that somebody at the terminal needs next; print them unwrapped, so that they can be copied."""
    places = parts.places
    rows = {
        "API": f"{places.api_url}/v1",
        "API key": places.api_key,
        **({"dashboard": f"{places.api_url}/  takes the API key"} if parts.has_dashboard else {}),
        **({"reference": f"{places.api_url}/docs"} if parts.has_docs else {}),
        "inbox": f"{places.inbox_url}  verifies what it is sent, and shows it",
        "simulator": f"{parts.simulator_url}  plays every provider; {WORDS_OF_IDS}",
        "embedded": f"{home.database_url}, {parts.redis_url}",
        "logs": f"{home.folder / 'web.log'}, {home.folder / 'worker.log'}",
    }
    return [
        Text(),
        *(Text.assemble((f"{name:<10} ", "bold"), value) for name, value in rows.items()),
        Text("\nTry, in another terminal:", "bold"),
        *(Text(f"export {name}={value}") for name, value in _names(places).items()),
        *(Text.assemble((f"# {title}\n", "dim"), command) for title, command in _tries(places, jobs)),
        Text("\nNot for production:", "bold"),
        *(Text(f"- {line}") for line in NOT_FOR_PRODUCTION),
        Text("\nCtrl-C stops everything; the next run goes on with the same database.", "dim"),
    ]


def _names(places: Places) -> dict[str, str]:
    """What the README's commands call them; none holds a letter that means something to a shell."""
    return {
        "RELAY": places.api_url,
        "KEY": places.api_key,
        "INBOX": f"{places.inbox_url}/mine",
        "SECRET": places.inbox_secret,
    }


def _tries(places: Places, jobs: Sequence[tuple[Account, str]]) -> list[tuple[str, str]]:
    subscription = {"url": f"{places.inbox_url}/failures", "secret": places.inbox_secret, "event_types": ["job.failed"]}
    tries = [
        ("be told of failures alone", _post(places, "/v1/subscriptions", subscription)),
        ("list deliveries", f"curl -s '{places.api_url}/v1/deliveries?limit=3' {BEARER}"),
    ]
    account = next((one for one, _ in jobs if not one.warnings and not one.job_params), None)
    if account is not None:
        provider_job_id = next(job for one, job in jobs if one is account)
        job = {
            "provider": account.provider,
            "provider_job_id": f"{provider_job_id[:-3]}bad",
            "credential": CREDENTIAL_NAME,
        }
        tries.insert(1, ("watch a job that will fail", _post(places, "/v1/jobs", job)))
    return tries


def _post(places: Places, path: str, body: dict[str, Any]) -> str:
    return f"curl -s {places.api_url}{path} {BEARER} -H 'content-type: application/json' -d '{json.dumps(body)}'"

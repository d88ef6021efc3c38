"""A provider that exists nowhere, as a file of data."""

import json
from pathlib import Path
from typing import Any

from relay.providers.definition import Definition
from relay.providers.parse import parse_definition

ACME = """
name = "acme"
title = "Acme"
docs_url = "https://acme.example/docs"
base_url = "https://api.acme.example"
hosts = ["*.acme.example"]

[secrets.token]

[[auth]]
scheme = "bearer"
secrets = ["token"]

[params.flavour]
from = "job"
default = "plain"

[look]
path = "/{flavour}/jobs/{provider_job_id}"

[state]
at = "body.status"
pending = ["running"]
completed = ["done"]
failed = ["broken"]

[[result.files]]
kind = "audio"
url = "body.url"

[error]
message = "body.why"
"""

ACME_SAMPLES: list[dict[str, Any]] = [
    {"source": "guess", "status": 200, "body": {"status": "running"}, "outcome": "pending"},
    {
        "source": "guess",
        "status": 200,
        "body": {"status": "done", "url": "https://a.example/x"},
        "outcome": "completed",
    },
    {"source": "guess", "status": 200, "body": {"status": "broken", "why": "x"}, "outcome": "failed"},
]


def acme(*more: str) -> Definition:
    """The made-up definition with further TOML behind it."""
    return parse_definition("\n".join([ACME, *more]), "acme.toml")


def written(folder: Path, text: str = ACME, samples: object = ACME_SAMPLES, name: str = "acme") -> Path:
    """The made-up definition and its samples as files in `folder`."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    (folder / f"{name}.samples.json").write_text(json.dumps(samples))
    return path

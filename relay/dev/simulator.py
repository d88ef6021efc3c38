"""The providers, played from their recorded samples over real HTTP, so that a trip can be made without an account."""

import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay.clock import Clock
from relay.dev.account import Account, invent
from relay.dev.sound import tone
from relay.dev.stage import Stage
from relay.egress import Outgoing
from relay.providers.catalog import Catalog

BODY_BYTES_MAX = 1_000_000
SUBTITLES = "1\n00:00:00,000 --> 00:00:00,500\n(a tone)\n"
TEXTS = {".srt": (SUBTITLES, "application/x-subrip"), ".json": ("{}\n", "application/json")}
KEYS = {"srt": ".srt", "subtitle": ".srt", "info": ".json", "action": ".json", "timing": ".json"}


class Simulator:
    """
    `app` serves each provider of the catalog below a prefix with its name, so that equal paths of two do not meet:
    `base_url` + `/<name>` is what a credential takes. Credentials are checked as the definition says; those that are
    let in stand at `/`, as bodies for POST /v1/credentials.

    Any job id that fits the definition is known: its job begins with the first look, is pending for 1.5 to 4 s and
    completes with links to sounds that can be fetched. The last letters of an id choose another fate:

    - `bad` fails;
    - `dead` is not found, ever;
    - `fee` is answered as unpaid, ever (which pauses the credential);
    - `feed` is throttled at the first look, `fade` fails in passing at the first two; both complete.

    A submitted job (where the definition has `submit`) begins at once, under a new id.
    """

    def __init__(self, catalog: Catalog, clock: Clock, base_url: str) -> None:
        self._base_url = base_url
        self._stages: dict[str, Stage] = {}
        self.left_out: list[str] = []
        for step, definition in enumerate(catalog):
            account, samples = (
                invent(definition, f"{base_url}/{definition.name}", clock.entropy),
                catalog.samples(definition.name),
            )
            if account is None or not samples:
                self.left_out.append(definition.name)
                continue

            def link(url: str, key: str, step: int = step) -> str:
                return f"{base_url}/files/{step}/{_file_name(url, key)}"

            self._stages[definition.name] = Stage(definition, samples, account, clock, link)
        self.app = Starlette(
            routes=[
                Route("/", self._accounts),
                Route("/files/{step:int}/{name}", _file),
                Route("/{provider}/{path:path}", self._play, methods=["GET", "POST"]),
            ]
        )

    @property
    def accounts(self) -> list[Account]:
        """One for each provider, in the catalog's order."""
        return [stage.account for stage in self._stages.values()]

    async def _accounts(self, _request: Request) -> Response:
        return JSONResponse({"data": [account.to_json() for account in self.accounts]})

    async def _play(self, request: Request) -> Response:
        stage = self._stages.get(request.path_params["provider"])
        if stage is None:
            return JSONResponse({"message": "no such provider", "known": list(self._stages)}, status_code=404)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                return Response(status_code=413)
        target = request.scope["raw_path"].decode("ascii") + (f"?{request.url.query}" if request.url.query else "")
        asked = Outgoing(
            method=request.method, url=f"{self._base_url}{target}", headers=dict(request.headers), body=bytes(body)
        )
        reply = stage.answer(asked, f"/{request.path_params['path']}")
        return Response(reply.body, reply.status_code, dict(reply.headers))


async def _file(request: Request) -> Response:
    name, step = request.path_params["name"], request.path_params["step"]
    text = TEXTS.get(PurePosixPath(name).suffix)
    if text is not None:
        return Response(text[0], media_type=text[1])
    return Response(tone(step), media_type="audio/wav")


def _file_name(url: str, key: str) -> str:
    """A name like the sample's, with an ending that is true of what will be served."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", PurePosixPath(urlsplit(url).path).name)
    path = PurePosixPath(name or "sound")
    if path.suffix in TEXTS:
        return path.name
    suffix = next((suffix for part, suffix in KEYS.items() if part in key.lower()), ".wav")
    return f"{path.stem}{suffix}"

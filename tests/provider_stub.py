"""The five providers as their pages describe them, written apart from the definitions: wire formats, auth and all."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from tests.receivers import Behaviour, Call, Receiver, Wire

HUAWEI_PROJECT = "3f0924078d1b471c884a5383d4dec9fa"
HUAWEI_TOKEN = "MIIF-an-iam-token-of-the-stub"
PLAYAI_KEY, PLAYAI_USER = "playai-key-of-the-stub", "playai-user-of-the-stub"
FISH_TOKEN = "fish-token-of-the-stub"
CAMB_KEY = "camb-key-of-the-stub"
VOCU_KEY = "sk-vocu-key-of-the-stub"

CREDENTIALS: dict[str, dict[str, Any]] = {
    "huawei_metastudio": {"secrets": {"auth_token": HUAWEI_TOKEN}, "params": {"project_id": HUAWEI_PROJECT}},
    "playai": {"secrets": {"api_key": PLAYAI_KEY, "user_id": PLAYAI_USER}},
    "fishspeech": {"secrets": {"api_token": FISH_TOKEN}},
    "camb": {"secrets": {"api_key": CAMB_KEY}},
    "vocu": {"secrets": {"api_key": VOCU_KEY}},
}

ROUTES = {
    "huawei_metastudio": re.compile(rf"/v1/{HUAWEI_PROJECT}/ttsc/async-jobs/(?P<job>[0-9a-f]{{32}})"),
    "playai": re.compile(r"/api/v1/tts/(?P<job>[0-9a-f-]{36})"),
    "fishspeech": re.compile(r"/api/open/v1/speech/tts/jobs/(?P<job>[\w-]+)"),
    "camb": re.compile(r"/apis/(tts|dub)/(?P<job>[\w-]+)"),
    "vocu": re.compile(r"/api/tts/generate/(?P<job>[0-9a-f-]{36})"),
}
CAMB_RESULT = re.compile(r"/apis/(?P<kind>tts|dub)-result/(?P<run>\d+)\?output_type=file_url")

CREATES = {
    "huawei_metastudio": re.compile(rf"/v1/{HUAWEI_PROJECT}/ttsc/async-jobs"),
    "playai": re.compile(r"/api/v1/tts"),
    "fishspeech": re.compile(r"/api/open/v1/speech/tts/jobs"),
    "camb": re.compile(r"/apis/(tts|dub)"),
    "vocu": re.compile(r"/api/tts/generate"),
}

Said = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]


@dataclass
class Providers:
    """
    Answers looks from scripts: `scripts[provider_job_id]` is a list of (status, body[, headers]), the last one for
    ever; a str body goes out as it is, anything else as JSON, and a function is asked for what to say each time.
    Without a script the job is unknown.

    A create call makes a job with an id of the provider's kind, or does what comes first in `on_create`.
    """

    scripts: dict[str, list[Said | Callable[[], Said]]] = field(default_factory=dict)
    looks: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    creates: list[tuple[str, Any]] = field(default_factory=list)
    on_create: list[Said | Behaviour] = field(default_factory=list)
    on_look: Behaviour | None = None
    fetches: int = 0
    _serial: Any = field(default_factory=lambda: count(1))

    async def __call__(self, call: Call, wire: Wire) -> None:
        """The behaviour of a `Receiver`."""
        if result := CAMB_RESULT.fullmatch(call.target):
            self.fetches += 1
            is_known = call.header("x-api-key") == CAMB_KEY
            link = f"https://cdn.camb.example/{result['kind']}/{result['run']}.flac"
            await self._say(wire, (200, {"output_url": link}) if is_known else (401, {"detail": "no"}))
            return
        for provider, route in CREATES.items():
            if call.method == "POST" and route.fullmatch(call.target):
                await self._create(provider, call, wire)
                return
        for provider, route in ROUTES.items():
            if match := route.fullmatch(call.target):
                await self._look(provider, match["job"], call, wire)
                return
        await self._say(wire, (404, "no such page"))

    async def _create(self, provider: str, call: Call, wire: Wire) -> None:
        self.creates.append((provider, json.loads(call.body)))
        if not is_signed_in(provider, call):
            await self._say(wire, REFUSALS[provider])
            return
        told = self.on_create.pop(0) if self.on_create else CREATED[provider](next(self._serial))
        if callable(told):
            await told(call, wire)
        else:
            await self._say(wire, told)

    async def _look(self, provider: str, job: str, call: Call, wire: Wire) -> None:
        self.looks.append((provider, job))
        if not is_signed_in(provider, call):
            self.refused.append(provider)
            await self._say(wire, REFUSALS[provider])
            return
        if self.on_look is not None:
            await self.on_look(call, wire)
            return
        script = self.scripts.get(job)
        if script is None:
            await self._say(wire, UNKNOWN[provider])
            return
        told = script.pop(0) if len(script) > 1 else script[0]
        await self._say(wire, told() if callable(told) else told)

    async def _say(self, wire: Wire, said: Said) -> None:
        status, body, *more = said
        headers = {"content-type": "application/json", **(more[0] if more else {})}
        await wire.respond(status, headers, body.encode() if isinstance(body, str) else json.dumps(body).encode())


def is_signed_in(provider: str, call: Call) -> bool:
    """Whether the call carries what the provider's page asks for."""
    bearer = call.header("authorization")
    match provider:
        case "huawei_metastudio":
            return call.header("x-auth-token") == HUAWEI_TOKEN
        case "playai":
            return bearer == f"Bearer {PLAYAI_KEY}" and call.header("x-user-id") == PLAYAI_USER
        case "fishspeech":
            return bearer == f"Bearer {FISH_TOKEN}" and "python" not in (call.header("user-agent") or "python").lower()
        case "camb":
            return call.header("x-api-key") == CAMB_KEY
    return bearer == f"Bearer {VOCU_KEY}"


REFUSALS: dict[str, Said] = {
    "huawei_metastudio": (200, {"error_code": "MSS.000000004", "error_msg": "invalid access", "request_id": "r"}),
    "playai": (401, {"errorMessage": "The authorization header must be provided", "errorId": "UNAUTHORIZED"}),
    "fishspeech": (401, {"code": "unauthorized", "message": "bad token", "requestId": "req_1"}),
    "camb": (401, {"detail": "Invalid API key"}),
    "vocu": (401, {"status": 401, "code": "AUTH_UNAUTHORIZED", "message": "Unauthorized."}),
}
UNKNOWN: dict[str, Said] = {
    "huawei_metastudio": (400, {"error_code": "MSS.000000003", "error_msg": "invalid parameter", "request_id": "r"}),
    "playai": (404, {"errorMessage": "no such job", "errorId": "NOT_FOUND"}),
    "fishspeech": (404, {"code": "task_not_found", "message": "unknown task", "requestId": "req_1"}),
    "camb": (404, {"detail": "Not found"}),
    "vocu": (404, {"status": 404, "code": "GENERATE_NOT_FOUND", "message": "Generation record not found."}),
}


CREATED: dict[str, Callable[[int], Said]] = {
    "huawei_metastudio": lambda number: (200, {"job_id": hex_id(number)}),
    "playai": lambda number: (201, {"id": uuid_id(number), "output": {"status": "IN_PROGRESS"}}),
    "fishspeech": lambda number: (202, {"id": f"task_{number}", "status": "queued"}),
    "camb": lambda number: (200, {"task_id": f"c-{number}"}),
    "vocu": lambda number: (200, {"status": 200, "message": "OK", "data": {"id": uuid_id(number)}}),
}


def minted(path: str, lifetime_seconds: int | None) -> str:
    """A link as an object store signs it at this moment; for None one that says nothing of its end."""
    now = datetime.now(UTC)
    if lifetime_seconds is None:
        return f"https://files.example/{path}?minted={now.timestamp():.6f}"
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    return f"https://files.example/{path}?X-Amz-Date={stamp}&X-Amz-Expires={lifetime_seconds}&n={now.timestamp():.6f}"


def stub(providers: Providers) -> Receiver:
    """The providers on a port of their own: `async with stub(Providers()) as server`."""
    return Receiver(providers)


def huawei(state: str, **more: Any) -> Said:
    return 200, {"state": state, **more}


def playai(state: str, **output: Any) -> Said:
    is_over = state != "IN_PROGRESS"
    return 200, {
        "id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
        "createdAt": "2026-01-02T03:04:05Z",
        "input": {},
        "completedAt": "2026-01-02T03:04:09Z" if is_over else None,
        "output": {"status": state, **output},
    }


def fish(state: str, *, enveloped: bool = False, **more: Any) -> Said:
    task = {"id": "task", "status": state, **more}
    return 200, {"task": task, "record": {}, "requestId": "req_2"} if enveloped else task


def camb(state: str, **more: Any) -> Said:
    return 200, {"status": state, "run_id": None, "exception_reason": None, "message": None, **more}


def vocu(state: str, **metadata: Any) -> Said:
    voices = [{"status": "pending"}, {"status": "lora-failed"}]
    data = {"id": "x", "status": state, "type": "vocu-neural-voice-001", "metadata": {"voices": voices, **metadata}}
    return 200, {"status": 200, "message": "OK", "data": data}


@dataclass(frozen=True)
class Case:
    """One way a job of one provider can end, and what the relay must make of it."""

    name: str
    provider: str
    provider_job_id: str
    script: Sequence[Said]
    status: str
    urls: Sequence[str] = ()
    error_code: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)


def hex_id(number: int) -> str:
    return f"{number:032x}"


def uuid_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


H, P, F, C, V = "huawei_metastudio", "playai", "fishspeech", "camb", "vocu"
AUDIO = "https://files.example/a.mp3"
SRT = "https://files.example/a.srt"

CASES: list[Case] = [
    Case(
        "huawei succeeds",
        H,
        hex_id(1),
        [huawei("WAITING"), huawei("PROCESSING"), huawei("SUCCEED", audio_file_url=AUDIO, audio_srt_file_url=SRT)],
        "completed",
        [AUDIO, SRT],
    ),
    Case(
        "huawei fails",
        H,
        hex_id(2),
        [huawei("PROCESSING"), huawei("FAILED", code="MSS.00000001", message="tts failed")],
        "failed",
        error_code="provider_error",
    ),
    Case(
        "playai succeeds",
        P,
        uuid_id(1),
        [
            playai("IN_PROGRESS"),
            (429, '"Rate limit exceeded."', {"retry-after": "1"}),
            playai("COMPLETED", url=AUDIO, contentType="audio/mpeg", fileSize=12, duration=3.5),
        ],
        "completed",
        [AUDIO],
    ),
    Case("playai fails", P, uuid_id(2), [playai("FAILED")], "failed", error_code="provider_error"),
    Case(
        "fish succeeds, flat",
        F,
        "task_1",
        [fish("queued"), fish("processing"), fish("completed", audioUrl=AUDIO)],
        "completed",
        [AUDIO],
    ),
    Case(
        "fish succeeds, enveloped",
        F,
        "task_2",
        [fish("processing", enveloped=True), fish("completed", enveloped=True, audioUrl=AUDIO)],
        "completed",
        [AUDIO],
    ),
    Case(
        "fish succeeds by an unknown word with a link",
        F,
        "task_3",
        [fish("brewing"), fish("wonderful", audioUrl=AUDIO)],
        "completed",
        [AUDIO],
    ),
    Case(
        "fish fails for credits",
        F,
        "task_4",
        [fish("failed", errorCode="insufficient_credits", errorMessage="no credits")],
        "failed",
        error_code="payment_required",
    ),
    Case(
        "fish fails",
        F,
        "task_5",
        [(503, "<html>busy</html>"), fish("failed", errorCode="bad_voice", errorMessage="no such voice")],
        "failed",
        error_code="provider_error",
    ),
    Case(
        "camb succeeds",
        C,
        "c-1",
        [camb("PENDING"), camb("SUCCESS", run_id=123, exception_reason="NONE")],
        "completed",
        ["https://cdn.camb.example/tts/123.flac"],
    ),
    Case(
        "camb dubs",
        C,
        "c-2",
        [camb("SUCCESS", run_id=77)],
        "completed",
        ["https://cdn.camb.example/dub/77.flac"],
        params={"kind": "dub"},
    ),
    Case(
        "camb errs",
        C,
        "c-3",
        [camb("ERROR", exception_reason="PROCESSING_ERROR", message={"detail": "x"})],
        "failed",
        error_code="provider_error",
    ),
    Case(
        "camb refuses the content",
        C,
        "c-4",
        [camb("ERROR", exception_reason="HARMFUL_CONTENT_DETECTED")],
        "failed",
        error_code="content_rejected",
    ),
    Case("camb times out", C, "c-5", [camb("PENDING"), camb("TIMEOUT")], "failed", error_code="timeout"),
    Case("camb wants payment", C, "c-6", [camb("PAYMENT_REQUIRED")], "failed", error_code="payment_required"),
    Case(
        "vocu succeeds",
        V,
        uuid_id(11),
        [
            vocu("pending"),
            vocu("processing"),
            vocu(
                "generated",
                audio=AUDIO,
                contents=[{"audio": "https://files.example/1.mp3"}, {"audio": "https://files.example/2.mp3"}],
            ),
        ],
        "completed",
        [AUDIO, "https://files.example/1.mp3", "https://files.example/2.mp3"],
    ),
    Case(
        "vocu fails",
        V,
        uuid_id(12),
        [(500, {"status": 500, "code": "SYSTEM_INTERNAL_ERROR", "message": "later"}), vocu("failed")],
        "failed",
        error_code="provider_error",
    ),
]

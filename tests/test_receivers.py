"""The receivers that users copy, each run as its platform runs it and fed what a receiver meets."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from relay.clock import Clock
from relay.dev.sample_event import sample_event
from relay.domain.event import Event, payload
from relay.domain.subscription import EVENT_TYPES, PayloadForm
from relay.webhooks.signing import sign, signature_header

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples" / "receivers"
HARNESSES = HERE / "receiver_harnesses"
VECTORS = json.loads((HERE / "vectors" / "signatures.json").read_text())
OF_SECRETS = [vector for vector in VECTORS if vector["secret"].startswith("whsec_")]
OF_KEYS = [vector for vector in VECTORS if vector["secret"].startswith("whsk_")]
CURRENT, FORMER, STRANGER = (vector["secret"] for vector in OF_SECRETS)

NODE = shutil.which("node")
IN_PYTHON = ("lambda, memory", "lambda, DynamoDB")
WITH_EXPIRY = ("cloudflare, KV", "vercel, Redis") if NODE else ()
IN_JAVASCRIPT = ("cloudflare, memory", "vercel, memory", *WITH_EXPIRY) if NODE else ()
ANSWER_SECONDS_MAX = 20
RESULTS = [b"RIFF, and so on", b"1\n00:00:00,000 --> 00:00:00,500\n(a tone)\n", b"{}"]
KINDS = ["audio", "subtitles", "timing"]

ids = count(1)


class Outside(ThreadingHTTPServer):
    """What receivers reach: the files of a result under /result, and a Redis that is spoken to over REST."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seconds_to_live: dict[str, int] = {}
        self.results_are_ready = threading.Event()
        self.result_status = 200

    def pass_time(self, seconds: int) -> None:
        self.seconds_to_live = {key: left - seconds for key, left in self.seconds_to_live.items() if left > seconds}


class Answers(BaseHTTPRequestHandler):
    """How it answers."""

    server: Outside

    def do_GET(self) -> None:
        self.server.results_are_ready.wait(ANSWER_SECONDS_MAX)
        number = int(urlsplit(self.path).query.removeprefix("file="))
        self._answer(self.server.result_status, RESULTS[number], f"made-up/{number}")

    def do_POST(self) -> None:
        assert self.headers["authorization"] == "Bearer a-token"
        words = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer(200, json.dumps({"result": self._redis(*words)}).encode())

    def _redis(self, command: str, key: str, *words: str) -> str | int | None:
        keys = self.server.seconds_to_live
        match command, *words:
            case "SET", _, "NX", "EX", _ if key in keys:
                return None
            case ("SET", _, "NX", "EX", seconds) | ("SET", _, "EX", seconds):
                keys[key] = int(seconds)
                return "OK"
            case ("DEL",):
                return int(keys.pop(key, None) is not None)
        raise AssertionError(f"unexpected: {command} {words}")

    def _answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Keeps quiet."""


@dataclass
class Receiver:
    """A receiver in a process of its own; `log` is what it has printed."""

    kind: str
    process: subprocess.Popen[str]
    outside: Outside
    log: list[str] = field(default_factory=list)

    def ask(self, action: str, **command: Any) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        watchdog = threading.Timer(ANSWER_SECONDS_MAX, self.process.kill)
        watchdog.start()
        try:
            self.process.stdin.write(json.dumps({"do": action, **command}) + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line.startswith(">"):
                    answer: dict[str, Any] = json.loads(line[1:])
                    return answer
                self.log.append(line.rstrip())
        finally:
            watchdog.cancel()
        raise AssertionError(f"{self.kind} has ended:\n" + "\n".join(self.log))

    def call(self, headers: Mapping[str, str], body: bytes, *, method: str = "POST", **form: Any) -> int:
        """The status code it answers a call with."""
        encoded = base64.b64encode(body).decode()
        return int(self.ask("call", method=method, headers=dict(headers), body=encoded, **form)["status"])

    def deliver(self, delivery: "Delivery", **form: Any) -> int:
        return self.call(delivery.headers(), delivery.body, **form)

    def pass_time(self, seconds: int) -> None:
        """Lets its storage forget what has lived for so long."""
        self.outside.pass_time(seconds)
        if self.kind == "cloudflare, KV":
            self.ask("pass_time", seconds=seconds)

    def works_done(self, delivery: "Delivery") -> int:
        """How often what follows the answer was done for it, once everything has come to rest."""
        self.outside.results_are_ready.set()
        self.ask("settle")
        return self.log.count(f"{delivery.type} {delivery.id}")


@dataclass(frozen=True)
class Delivery:
    """A delivery as the relay makes it: compact JSON, signed by its own hand."""

    id: str
    body: bytes
    type: str = "job.completed"
    job_id: str = ""

    def headers(
        self, *secrets: str, at: int | None = None, body: bytes | None = None, message_id: str | None = None
    ) -> dict[str, str]:
        timestamp = int(time.time()) if at is None else at
        signed_id, signed_body = message_id or self.id, self.body if body is None else body
        return {
            "content-type": "application/json",
            "webhook-id": self.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature_header(secrets or (CURRENT,), signed_id, timestamp, signed_body),
        }


def delivery_of(outside: Outside) -> Delivery:
    number = next(ids)
    event_id, job_id = f"evt_{number:026}", f"job_{number:026}"
    event = {
        "id": event_id,
        "type": "job.completed",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "data": {
            "id": job_id,
            "metadata": {"title": "Grüße, 你好 😀"},
            "result": {"files": [{"kind": kind, "url": "https://files.example/dies-soon"} for kind in KINDS]},
            "result_url": f"{outside.url}/result",
        },
    }
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    return Delivery(event_id, body, job_id=job_id)


def sample_of(event_type: str, form: PayloadForm, outside: Outside) -> Delivery:
    """The relay's own sample of that type, in that form, with files that can be fetched."""
    event_id, sample = sample_event(event_type, Clock())
    told = json.loads(sample)
    if told["data"].get("result_url"):
        told["data"]["result_url"] = f"{outside.url}/result"
    event = Event(event_id, "default", event_type, json.dumps(told), None, None, Clock().now())
    body, _ = payload(event, form, outside.url)
    return Delivery(event_id, body, event_type)


def command_of(kind: str, folder: Path) -> list[str]:
    platform = kind.partition(",")[0]
    if platform == "lambda":
        return [sys.executable, str(HARNESSES / "lambda_harness.py")]
    # Laid out as a user's project is: the examples, the package they import, and the harness in the platform's place.
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    shutil.copy(HARNESSES / "javascript_harness.mjs", folder)
    package = folder / "node_modules" / "@vercel" / "functions"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
    shutil.copy(HARNESSES / "stand_ins" / "vercel_functions.js", package / "index.js")
    assert NODE
    return [NODE, str(folder / "javascript_harness.mjs"), platform]


def environment_of(kind: str, outside: Outside) -> dict[str, str]:
    storage = {
        "lambda, DynamoDB": {"TABLE_NAME": "seen"},
        "cloudflare, KV": {"HAS_KV": "yes"},
        "vercel, Redis": {"UPSTASH_REDIS_REST_URL": outside.url, "UPSTASH_REDIS_REST_TOKEN": "a-token"},
    }
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(HARNESSES / "stand_ins"), str(EXAMPLES / "aws_lambda_python")]),
        "QUEUE_URL": "https://queue.example/1",
        "WEBHOOK_SECRETS": f"{CURRENT} {FORMER}",
        **storage.get(kind, {}),
    }


@pytest.fixture(scope="module", params=[*IN_PYTHON, *IN_JAVASCRIPT])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("receiver")
    with Outside() as outside:
        threading.Thread(target=outside.serve_forever, daemon=True).start()
        with subprocess.Popen(
            command_of(request.param, folder),
            env=environment_of(request.param, outside),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        ) as process:
            yield Receiver(request.param, process, outside)
            process.kill()
        outside.shutdown()


@pytest.fixture
def receiver(running: Receiver) -> Receiver:
    running.outside.results_are_ready.set()
    running.outside.result_status = 200
    return running


@pytest.fixture
def delivery(receiver: Receiver) -> Delivery:
    return delivery_of(receiver.outside)


def checked(
    receiver: Receiver, vector: Mapping[str, Any], signature: str, seconds_later: int = 0, secrets: str = ""
) -> dict[str, Any]:
    headers = {
        "webhook-id": vector["id"],
        "webhook-timestamp": str(vector["ts"]),
        "webhook-signature": signature,
    }
    return receiver.ask(
        "verify",
        secrets=secrets or vector["secret"],
        headers=headers,
        body=base64.b64encode(vector["body"].encode()).decode(),
        now=vector["ts"] + seconds_later,
    )


if NODE is None:

    def test_node_is_not_here_so_the_javascript_receivers_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
        with capsys.disabled():
            print("\nnode is not on PATH: the receivers in JavaScript are left out")
        assert not IN_JAVASCRIPT


@pytest.mark.parametrize("vector", OF_SECRETS, ids=lambda vector: vector["name"])
def test_the_published_signatures_are_accepted_for_five_minutes_either_way(
    receiver: Receiver, vector: Mapping[str, Any]
) -> None:
    for seconds_later in (-300, 0, 300):
        assert checked(receiver, vector, vector["sig"], seconds_later) == {"id": vector["id"]}
    for seconds_later in (-301, 301):
        assert checked(receiver, vector, vector["sig"], seconds_later) == {"status": 401}


@pytest.mark.parametrize("vector", OF_SECRETS, ids=lambda vector: vector["name"])
def test_a_signature_that_differs_in_one_character_is_refused(receiver: Receiver, vector: Mapping[str, Any]) -> None:
    good = vector["sig"]
    # Also the last one, whose two lowest bits base64 throws away.
    for place in (3, 20, len(good) - 2):
        other = "A" if good[place] != "A" else "B"
        assert checked(receiver, vector, good[:place] + other + good[place + 1 :]) == {"status": 401}
    for signature in (good[:-1], good + "=", "v1,", good.removeprefix("v1,"), good.replace("v1,", "v2,")):
        assert checked(receiver, vector, signature) == {"status": 401}


@pytest.mark.parametrize("vector", OF_KEYS, ids=lambda vector: vector["name"])
def test_signatures_of_other_versions_neither_help_nor_harm(receiver: Receiver, vector: Mapping[str, Any]) -> None:
    assert checked(receiver, vector, vector["sig"], secrets=CURRENT) == {"status": 401}
    good = sign(CURRENT, vector["id"], vector["ts"], vector["body"].encode())
    assert checked(receiver, vector, f"{vector['sig']} {good}", secrets=CURRENT) == {"id": vector["id"]}


def test_malformed_entries_beside_a_good_one_do_no_harm(receiver: Receiver) -> None:
    vector = OF_SECRETS[0]
    for entry in ("v1", "v1,", "v1,%%%", "v1,\xe4", "v9,x", ",", "", "v1,a,b"):
        assert checked(receiver, vector, f"{entry} {vector['sig']}") == {"id": vector["id"]}
        assert checked(receiver, vector, f"{vector['sig']} {entry}") == {"id": vector["id"]}


def test_a_delivery_of_the_relay_is_taken_and_worked_on(receiver: Receiver, delivery: Delivery) -> None:
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 1


def test_the_answer_does_not_wait_for_the_work(receiver: Receiver, delivery: Delivery) -> None:
    receiver.outside.results_are_ready.clear()
    assert receiver.deliver(delivery) == 202
    assert f"{delivery.type} {delivery.id}" not in receiver.log
    assert receiver.works_done(delivery) == 1


@pytest.mark.parametrize("form", ["full", "cloudevents"])
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_event_of_every_type_is_taken_and_worked_on(receiver: Receiver, event_type: str, form: PayloadForm) -> None:
    delivery = sample_of(event_type, form, receiver.outside)
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 1


@pytest.mark.parametrize("running", IN_JAVASCRIPT, indirect=True)
def test_every_file_of_a_result_is_fetched(receiver: Receiver, delivery: Delivery) -> None:
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 1
    for number, kind in enumerate(KINDS):
        assert f"{delivery.job_id}/{number}-{kind} {len(RESULTS[number])} bytes" in receiver.log


@pytest.mark.parametrize("running", [kind for kind in IN_JAVASCRIPT if kind.startswith("cloudflare")], indirect=True)
def test_every_file_of_a_result_is_saved_as_it_is(receiver: Receiver, delivery: Delivery) -> None:
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 1
    saved = receiver.ask("bucket")
    for number, kind in enumerate(KINDS):
        assert saved[f"{delivery.job_id}/{number}-{kind}"] == {
            "body": base64.b64encode(RESULTS[number]).decode(),
            "content_type": f"made-up/{number}",
        }


@pytest.mark.parametrize("running", IN_JAVASCRIPT, indirect=True)
def test_a_thin_payload_is_told_apart_from_a_result_without_files(receiver: Receiver) -> None:
    delivery = sample_of("job.completed", "thin", receiver.outside)
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 0
    assert any(delivery.id in line and "thin" in line for line in receiver.log)


def test_a_duplicate_is_acknowledged_and_not_worked_on_again(receiver: Receiver, delivery: Delivery) -> None:
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 1
    later = delivery.headers(at=int(time.time()) + 5)
    assert receiver.call(later, delivery.body) == 200
    assert receiver.works_done(delivery) == 1


def test_a_duplicate_that_comes_during_the_work_is_not_worked_on_again(receiver: Receiver, delivery: Delivery) -> None:
    receiver.outside.results_are_ready.clear()
    assert [receiver.deliver(delivery), receiver.deliver(delivery)] == [202, 200]
    assert receiver.works_done(delivery) == 1


def test_forged_calls_are_refused(receiver: Receiver, delivery: Delivery) -> None:
    other = delivery_of(receiver.outside)
    assert receiver.call(delivery.headers(STRANGER), delivery.body) == 401
    assert receiver.call(delivery.headers(), delivery.body + b" ") == 401
    assert receiver.call(delivery.headers(body=other.body), delivery.body) == 401
    assert receiver.call(delivery.headers(message_id=other.id), delivery.body) == 401
    moved = delivery.headers() | {"webhook-timestamp": str(int(time.time()) - 1)}
    assert receiver.call(moved, delivery.body) == 401
    assert receiver.works_done(delivery) == 0


def test_stale_calls_and_those_from_the_future_are_refused(receiver: Receiver, delivery: Delivery) -> None:
    for seconds in (-86_400, -310, 310):
        assert receiver.call(delivery.headers(at=int(time.time()) + seconds), delivery.body) == 401
    assert receiver.works_done(delivery) == 0


def test_a_call_without_one_of_the_headers_is_malformed(receiver: Receiver, delivery: Delivery) -> None:
    headers = delivery.headers()
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        rest = {other: value for other, value in headers.items() if other != name}
        assert receiver.call(rest, delivery.body) == 400
    for timestamp in ("now", "1e9", "-5", "1.5", "0x10"):
        assert receiver.call(headers | {"webhook-timestamp": timestamp}, delivery.body) == 400


def test_a_signed_body_that_is_not_json_is_malformed(receiver: Receiver, delivery: Delivery) -> None:
    for body in (b"", b"{", b"job.completed"):
        assert receiver.call(delivery.headers(body=body), body) == 400


def test_a_refused_call_does_not_use_up_the_id(receiver: Receiver, delivery: Delivery) -> None:
    assert receiver.call(delivery.headers(STRANGER), delivery.body) == 401
    assert receiver.deliver(delivery) == 202


def test_while_a_secret_rotates_either_one_and_both_are_accepted(receiver: Receiver) -> None:
    for secrets in ((CURRENT,), (FORMER,), (CURRENT, FORMER), (STRANGER, FORMER), (CURRENT, STRANGER)):
        delivery = delivery_of(receiver.outside)
        assert receiver.call(delivery.headers(*secrets), delivery.body) == 202
        assert receiver.works_done(delivery) == 1


@pytest.mark.parametrize("running", IN_PYTHON, indirect=True)
@pytest.mark.parametrize(
    "form", [{"is_base64": True}, {"has_capitals": True}, {"is_base64": True, "has_capitals": True}], ids=str
)
def test_a_lambda_reads_every_form_of_a_gateway(receiver: Receiver, delivery: Delivery, form: dict[str, Any]) -> None:
    assert receiver.call(delivery.headers(STRANGER), delivery.body, **form) == 401
    assert receiver.deliver(delivery, **form) == 202
    assert receiver.works_done(delivery) == 1


@pytest.mark.parametrize("running", IN_PYTHON, indirect=True)
def test_an_event_that_the_queue_did_not_take_is_left_to_the_next_attempt(
    receiver: Receiver, delivery: Delivery
) -> None:
    receiver.ask("queue", is_out_of_order=True)
    assert receiver.deliver(delivery) == 502
    receiver.ask("queue", is_out_of_order=False)
    # In DynamoDB the claim stands for seconds yet, and a success here would be the last that is heard of the event.
    assert receiver.deliver(delivery) == (409 if receiver.kind == "lambda, DynamoDB" else 202)


@pytest.mark.parametrize("running", IN_JAVASCRIPT, indirect=True)
def test_work_that_failed_is_done_when_it_is_delivered_again(receiver: Receiver, delivery: Delivery) -> None:
    receiver.outside.result_status = 503
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 0
    receiver.outside.result_status = 200
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 1


@pytest.mark.parametrize("running", WITH_EXPIRY, indirect=True)
def test_an_event_whose_work_is_done_stays_a_duplicate_for_days(receiver: Receiver, delivery: Delivery) -> None:
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 1
    receiver.pass_time(3 * 86_400)
    assert receiver.deliver(delivery) == 200


@pytest.mark.parametrize("running", WITH_EXPIRY, indirect=True)
def test_a_claim_whose_process_died_gives_way_in_time(receiver: Receiver, delivery: Delivery) -> None:
    receiver.outside.results_are_ready.clear()
    receiver.outside.result_status = 503
    assert receiver.deliver(delivery) == 202
    receiver.pass_time(299)
    assert receiver.deliver(delivery) == 200
    receiver.pass_time(2)
    assert receiver.deliver(delivery) == 202
    assert receiver.works_done(delivery) == 0


@pytest.mark.parametrize("running", IN_JAVASCRIPT, indirect=True)
def test_a_call_that_is_not_a_post_is_refused(receiver: Receiver, delivery: Delivery) -> None:
    assert receiver.call(delivery.headers(), b"", method="GET") == 405

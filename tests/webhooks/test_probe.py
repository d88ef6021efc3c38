"""A probe tells the receivers that know their friends from those that do not, and says what would cure them."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from relay.clock import Clock
from relay.domain.subscription import PayloadForm, SigningKey, Subscription
from relay.egress import Egress, Guard, tls_context
from relay.webhooks.probe import Probe, probe_view
from relay.webhooks.signing import KEY_BYTES, new_signing_key, public_key_of, verify
from tests.receivers import (
    GOOD_MORNING,
    Authority,
    Behaviour,
    Call,
    Receiver,
    Wire,
    answering,
    closed_port,
    hanging,
    in_turn,
    redirecting,
    slow,
)
from tests.store.facts import subscription as a_subscription
from tests.trips import SECRET

SOURCE = "https://relay.example"
CALLS = ("good", "duplicate", "forged", "stale", "unknown_key")
ENEMIES = CALLS[2:]
LOGIN_PAGE = b"<!doctype html><title>Sign in</title><form><input type='password'></form>"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def probe(authority: Authority) -> AsyncIterator[Probe]:
    guard = Guard(["127.0.0.1"], allow_http=True)
    async with Egress(guard, "relay/test", tls=tls_context(authority.ca_file)) as egress:
        yield Probe(egress, Clock(), SOURCE, 2.0)


def subscribed(url: str, **more: Any) -> Subscription:
    now = Clock().now()
    made = a_subscription(url=url, headers={"x-own": "theirs"}, payload="full", **more)
    return replace(made, secrets=(replace(made.secrets[0], secret=SECRET, created_at=now, expires_at=None),))


async def found(probe: Probe, url: str, **more: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The report, and its checks by name."""
    report = probe_view(await probe.run(subscribed(url, **more)))
    return report, {check["name"]: check for check in report["checks"]}


def outcomes(checks: dict[str, dict[str, Any]], *names: str) -> list[str]:
    return [checks[name]["outcome"] for name in names or CALLS]


def judging(judge: Callable[[Call], int]) -> Behaviour:
    """Answers with the status that the judge finds."""

    async def behave(call: Call, wire: Wire) -> None:
        await wire.respond(judge(call))

    return behave


def verifying(refusal: int = 401, repeated: int = 204) -> Behaviour:
    """As a good receiver does: the official library, and a memory of ids."""
    seen: set[str | None] = set()

    def judge(call: Call) -> int:
        try:
            Webhook(SECRET).verify(call.body, dict(call.headers))
        except WebhookVerificationError:
            return refusal
        if call.header("webhook-id") in seen:
            return repeated
        seen.add(call.header("webhook-id"))
        return 204

    return judging(judge)


def careless_of_time(call: Call) -> int:
    """Checks the signature, and not how old it is."""
    then = GOOD_MORNING + timedelta(seconds=int(call.header("webhook-timestamp") or 0) - GOOD_MORNING.timestamp())
    try:
        verify(SECRET, dict(call.headers), call.body, then)
    except Exception:  # noqa: BLE001  whatever it is, it does not verify
        return 403
    return 200


async def test_a_receiver_that_verifies_passes(probe: Probe) -> None:
    async with Receiver(verifying()) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
    assert outcomes(checks) == ["passed"] * 5
    assert report["tells_apart"] is True
    assert report["verdict"] == "warning"  # for plain http alone
    assert outcomes(checks, "scheme", "certificate", "redirect", "protection_page") == [
        "warning",
        "skipped",
        "passed",
        "passed",
    ]
    assert checks["good"]["status_code"] == 204
    assert [checks[name]["status_code"] for name in ENEMIES] == [401] * 3


async def test_the_calls_are_test_events_that_say_what_they_are(probe: Probe) -> None:
    async with Receiver(verifying()) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
    calls = receiver.calls
    events = [json.loads(call.body) for call in calls]
    assert {event["type"] for event in events} == {"webhook.test"}
    assert [event["data"]["probe"] for event in events[:2]] == ["good", "good"]
    assert {event["data"]["probe"] for event in events[2:]} == set(ENEMIES)
    assert {event["data"]["subscription"] for event in events} == {report["subscription"]}
    assert calls[0].body == calls[1].body
    assert calls[0].header("webhook-id") == calls[1].header("webhook-id") == checks["good"]["webhook_id"]
    assert len({call.header("webhook-id") for call in calls}) == 4
    assert all(call.header("x-own") == "theirs" for call in calls)
    by_kind = {event["data"]["probe"]: call for event, call in zip(events, calls, strict=True)}
    assert all(checks[kind]["webhook_id"] == call.header("webhook-id") for kind, call in by_kind.items())
    ages = {
        kind: int(calls[0].header("webhook-timestamp") or 0) - int(call.header("webhook-timestamp") or 0)
        for kind, call in by_kind.items()
    }
    assert ages["stale"] >= 590
    assert all(abs(age) <= 30 for kind, age in ages.items() if kind != "stale")


@pytest.mark.parametrize(
    ("judge", "accepted"),
    [
        (lambda _: 200, list(ENEMIES)),
        (careless_of_time, ["stale"]),
        (lambda call: 200 if call.header("webhook-signature") else 401, list(ENEMIES)),
        (
            lambda call: 200 if abs(int(call.header("webhook-timestamp")) - Clock().now().timestamp()) < 300 else 400,
            ["forged", "unknown_key"],
        ),
    ],
    ids=["believes everything", "has no clock", "wants any signature", "wants any fresh signature"],
)
async def test_a_receiver_that_does_not_verify_whole_is_found_out(
    probe: Probe, judge: Callable[[Call], int], accepted: list[str]
) -> None:
    async with Receiver(judging(judge)) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
    assert [name for name in ENEMIES if checks[name]["outcome"] == "failed"] == accepted
    assert (report["tells_apart"], report["verdict"]) == (False, "failed")
    fixes = [checks[name]["fix"] for name in accepted]
    assert all(fix.endswith(".") and fix.count(". ") == 0 for fix in fixes)
    assert len(set(fixes)) == len(fixes)


async def test_a_receiver_that_refuses_everything_is_not_taken_for_a_careful_one(probe: Probe) -> None:
    async with Receiver(answering(401)) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
        assert len(receiver.calls) == 1
    assert outcomes(checks) == ["failed", *["skipped"] * 4]
    assert (report["tells_apart"], report["verdict"]) == (None, "failed")
    assert "this subscription's secret" in checks["good"]["fix"]


async def test_a_sign_in_is_not_taken_for_a_refused_signature(probe: Probe) -> None:
    async with Receiver(answering(401, {"www-authenticate": 'Basic realm="a"'})) as receiver:
        _, checks = await found(probe, receiver.url("/hook"))
    assert "sign-in" in checks["good"]["fix"]


async def test_a_receiver_that_breaks_on_bad_calls_tells_them_apart_and_is_told_of_it(probe: Probe) -> None:
    async with Receiver(verifying(refusal=500)) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
    assert outcomes(checks, *ENEMIES) == ["warning"] * 3
    assert (report["tells_apart"], report["verdict"]) == (True, "warning")


@pytest.mark.parametrize("refusal", [429, 503, 302])
async def test_what_is_neither_accepted_nor_refused_is_unclear(probe: Probe, refusal: int) -> None:
    async with Receiver(verifying(refusal=refusal)) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
    assert outcomes(checks, *ENEMIES) == ["unclear"] * 3
    assert (report["tells_apart"], report["verdict"]) == (None, "unclear")


async def test_a_duplicate_that_is_not_acknowledged_would_come_for_ever(probe: Probe) -> None:
    async with Receiver(verifying(repeated=409)) as receiver:
        _, checks = await found(probe, receiver.url("/hook"))
    assert checks["duplicate"]["outcome"] == "failed"
    assert "answer 2xx" in checks["duplicate"]["fix"]


async def test_a_duplicate_with_an_answer_of_its_own_was_recognised(probe: Probe) -> None:
    async with Receiver(verifying(repeated=208)) as receiver:
        _, checks = await found(probe, receiver.url("/hook"))
    assert (checks["duplicate"]["outcome"], checks["duplicate"]["fix"]) == ("passed", None)


@pytest.mark.parametrize("form", ["full", "thin", "cloudevents"])
async def test_each_form_is_probed_in_its_own_bytes(probe: Probe, form: PayloadForm) -> None:
    async with Receiver(verifying()) as receiver:
        made = replace(subscribed(receiver.url()), payload=form)
        report = await probe.run(made)
    assert report.tells_apart is True
    assert all(json.loads(call.body)["data"]["probe"] for call in receiver.calls)
    wanted = "application/cloudevents+json" if form == "cloudevents" else "application/json"
    assert {call.header("content-type") for call in receiver.calls} == {wanted}


async def test_a_receiver_that_knows_only_the_public_key_is_probed_with_v1a(probe: Probe) -> None:
    private = new_signing_key(Clock().entropy(KEY_BYTES))
    public = public_key_of(private)

    def judge(call: Call) -> int:
        try:
            verify(public, dict(call.headers), call.body, Clock().now())
        except Exception:  # noqa: BLE001  whatever it is, it does not verify
            return 401
        return 200

    async with Receiver(judging(judge)) as receiver:
        keys = (SigningKey(private, public, "kid", Clock().now(), None),)
        report = await probe.run(replace(subscribed(receiver.url()), signing_keys=keys))
    assert report.tells_apart is True
    assert all(" v1a," in (call.header("webhook-signature") or "") for call in receiver.calls)


@pytest.mark.parametrize(("days_left", "outcome"), [(90, "passed"), (10, "warning")])
async def test_the_end_of_the_certificate_is_told(
    probe: Probe, authority: Authority, days_left: int, outcome: str
) -> None:
    days = (Clock().now() - GOOD_MORNING).days + days_left
    async with Receiver(verifying(), authority.server_context("127.0.0.1", days=days)) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
    assert report["certificate_expires_at"].startswith(f"{GOOD_MORNING + timedelta(days=days):%Y-%m-%d}")
    assert checks["certificate"]["outcome"] == outcome
    assert report["verdict"] == outcome
    assert checks["scheme"]["outcome"] == "passed"


@pytest.mark.parametrize(
    ("name", "days", "word"), [("127.0.0.1", 1, "renew"), ("other.example", 36_500, "another name")]
)
async def test_a_certificate_that_does_not_do_fails_with_its_fix(
    probe: Probe, authority: Authority, name: str, days: int, word: str
) -> None:
    async with Receiver(verifying(), authority.server_context(name, days=days)) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
    assert (report["verdict"], checks["good"]["answer"]) == ("failed", "tls")
    assert checks["certificate"]["outcome"] == "failed"
    assert word in checks["certificate"]["fix"]
    assert word in checks["good"]["fix"]


async def test_a_redirect_is_found_and_its_target_never_visited(probe: Probe) -> None:
    async with Receiver(verifying()) as canary, Receiver(redirecting(308, canary.url("/hook"))) as receiver:
        _, checks = await found(probe, receiver.url("/hook"))
        assert (checks["redirect"]["outcome"], checks["good"]["outcome"]) == ("failed", "failed")
        assert canary.url("/hook") in checks["redirect"]["fix"]
        assert canary.connections == 0


@pytest.mark.parametrize("status", [200, 401, 403])
async def test_a_sign_in_page_is_no_receiver_even_when_it_says_200(probe: Probe, status: int) -> None:
    async with Receiver(answering(status, {"content-type": "text/html"}, LOGIN_PAGE)) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
    assert (report["verdict"], checks["good"]["outcome"]) == ("failed", "failed")
    assert checks["protection_page"]["outcome"] == "failed"
    assert "sign-in" in checks["protection_page"]["detail"].lower()
    assert checks["good"]["fix"] == checks["protection_page"]["fix"]


async def test_a_receiver_that_is_not_there_is_told_without_its_address(probe: Probe) -> None:
    with closed_port() as port:
        report, checks = await found(probe, f"http://127.0.0.1:{port}/hook")
    assert (checks["good"]["answer"], checks["good"]["status_code"]) == ("refused", None)
    assert outcomes(checks, "redirect", "protection_page") == ["skipped", "skipped"]
    assert "127.0.0.1" not in json.dumps(report["checks"])


async def test_a_receiver_that_hangs_on_bad_calls_costs_no_more_than_one_of_them(probe: Probe) -> None:
    async with Receiver(in_turn(answering(), answering(), hanging())) as receiver:
        report, checks = await found(probe, receiver.url("/hook"))
    assert outcomes(checks, *ENEMIES) == ["unclear"] * 3
    assert 1900 <= report["duration_ms"] <= 4000


async def test_what_there_is_no_time_for_is_not_begun() -> None:
    class Hasty(Clock):
        """Each look at the time is ten seconds later."""

        seconds = 0.0

        def monotonic(self) -> float:
            self.seconds += 10.0
            return self.seconds

    clock = Hasty()
    async with (
        Egress(Guard(["127.0.0.1"], allow_http=True), "relay/test") as egress,
        Receiver(slow(0.01, answering())) as receiver,
    ):
        report = await Probe(egress, clock, SOURCE, 5.0).run(subscribed(receiver.url()))
        assert len(receiver.calls) < 5
    outcomes_found = {check.name: check.outcome for check, _ in report.findings}
    assert outcomes_found["good"] == "passed"
    assert {outcomes_found[name] for name in ENEMIES} == {"unclear"}

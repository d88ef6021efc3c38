"""What answers mean: the samples, the HTTP status alone, and anything at all that could come over a wire."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.job import AWAITS_LINK
from relay.domain.observation import JobError, Observation, Outcome, Result
from relay.providers.catalog import Catalog
from relay.providers.classify import classify
from relay.providers.definition import Definition
from relay.providers.samples import Sample, check_sample
from tests.providers.made_up import acme

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOADED = Catalog.load()
SAMPLES = [
    pytest.param(definition, sample, id=f"{definition.name}-{number}-{sample.outcome}")
    for definition in LOADED
    for number, sample in enumerate(LOADED.samples(definition.name))
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)
KEYS = st.sampled_from(
    ["state", "status", "data", "output", "task", "code", "error_code", "message", "metadata", "contents", "audio"]
)
NEAR = st.recursive(
    JSON | st.sampled_from(["SUCCEED", "SUCCESS", "COMPLETED", "generated", "FAILED", "failed", "https://a.example/x"]),
    lambda children: st.dictionaries(KEYS, children, max_size=5) | st.lists(children, max_size=3),
    max_leaves=12,
)


def seen(body: object, status: int = 200, definition: Definition | None = None, **headers: str) -> Observation:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    items = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return classify(definition or acme(), status, items, payload, NOW)


def result_of(body: object) -> Result:
    result = seen(body).result
    assert result is not None
    return result


@pytest.mark.parametrize(("definition", "sample"), SAMPLES)
def test_a_sample_is_taken_for_what_it_says(definition: Definition, sample: Sample) -> None:
    assert check_sample(definition, sample, NOW) == []


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (401, b"{}", "auth"),
        (401, b"<html>", "auth"),
        (402, b"{}", "payment"),
        (403, b"{}", "auth"),
        (403, b'"no"', "auth"),
        (403, b"<html>", "transient"),
        (403, b"", "transient"),
        (404, b"{}", "not_found"),
        (404, b"", "not_found"),
        (404, b"Not Found", "not_found"),
        (404, b"<!doctype html>", "transient"),
        (410, b"{}", "not_found"),
        (429, b"", "throttled"),
        (429, b"<html>", "throttled"),
        (408, b"{}", "transient"),
        (409, b"{}", "transient"),
        (425, b"{}", "transient"),
        (500, b"{}", "transient"),
        (503, b"", "transient"),
        (599, b"{}", "transient"),
        (302, b"{}", "transient"),
        (200, b"", "transient"),
        (200, b"   ", "transient"),
        (200, b"<html>", "transient"),
        (200, b'{"status": "do', "transient"),
        (200, b'{"status": "d\xff"}', "transient"),
        (200, b'{"status": NaN}', "transient"),
        (200, b'{"status": 1e999}', "transient"),
        (200, b"[" * 100_000, "transient"),
        (200, b"1" * 10_000, "transient"),
        (200, b"\xef\xbb\xbf" + b'{"status": "running"}', "pending"),
        (200, b'{"status": "RUNNING"}', "pending"),
        (200, b'{"status": "odd"}', "unknown"),
        (200, b"null", "unknown"),
        (200, b"[]", "unknown"),
        (204, b"", "transient"),
        (400, b'{"why": "bad"}', "unknown"),
        (400, b"bad", "transient"),
        (418, b"{}", "unknown"),
        (500, b'{"status": "done"}', "transient"),
    ],
)
def test_the_http_status_decides_where_no_word_and_no_rule_does(status: int, body: bytes, outcome: str) -> None:
    assert seen(body, status).outcome == outcome


def test_an_answer_that_was_cut_off_is_nobodys_verdict() -> None:
    observation = classify(acme(), 200, [], b'{"status": "done"}', NOW, is_truncated=True)
    assert observation.outcome is Outcome.TRANSIENT
    assert "too large" in observation.detail


def test_what_is_not_understood_is_kept_as_a_sample() -> None:
    observation = seen({"status": "odd", "more": "x" * 5000}, Content_Type="application/json")
    assert observation.provider_status == "odd"
    assert observation.detail == "the state 'odd' is not known"
    assert observation.sample is not None
    assert observation.sample["status_code"] == 200
    assert observation.sample["content_type"] == "application/json"
    assert len(observation.sample["body"]) == 2048


def test_rules_are_asked_in_order_and_the_first_that_holds_wins() -> None:
    definition = acme(
        '[[rules]]\nwhen = "body.tired"\noutcome = "throttled"',
        '[[rules]]\nstatus = [200]\nwhen = "body.tired || body.poor"\noutcome = "payment"',
        '[[rules]]\nstatus = ["5xx"]\noutcome = "failed"\nerror = "timeout"',
    )
    assert seen({"tired": True, "poor": True}, definition=definition).outcome is Outcome.THROTTLED
    assert seen({"poor": True}, definition=definition).outcome is Outcome.PAYMENT
    assert seen({"poor": True}, 201, definition=definition).outcome is Outcome.UNKNOWN
    assert seen({"poor": True, "status": "running"}, definition=definition).outcome is Outcome.PENDING
    failed = seen({"why": "late"}, 500, definition=definition)
    assert failed.outcome is Outcome.FAILED
    assert failed.error is not None
    assert (failed.error.code, failed.error.message, failed.error.retryable) == ("timeout", "late", True)


def test_a_rule_by_status_holds_for_an_answer_without_a_body() -> None:
    assert seen(b"", 202, acme('[[rules]]\nstatus = [202]\noutcome = "pending"')).outcome is Outcome.PENDING


def test_a_success_without_its_link_is_waited_for_and_then_taken_as_it_is(catalog: Catalog) -> None:
    definition = catalog.get("huawei_metastudio")
    assert definition is not None
    for looks in range(3):
        waiting = classify(definition, 200, [], b'{"state": "SUCCEED"}', NOW, pending_again=looks)
        assert (waiting.outcome, waiting.detail) == (Outcome.PENDING, AWAITS_LINK)
    taken = classify(definition, 200, [], b'{"state": "SUCCEED"}', NOW, pending_again=3)
    assert taken.outcome is Outcome.COMPLETED
    assert taken.result is not None
    assert taken.result.files == ()


def test_a_link_dies_when_the_provider_says_or_its_signature_does_whichever_is_sooner(catalog: Catalog) -> None:
    definition = catalog.get("huawei_metastudio")
    assert definition is not None
    soon = int((NOW + timedelta(minutes=5)).timestamp())
    body = {"state": "SUCCEED", "audio_file_url": f"https://a.example/x?Expires={soon}&Signature=s"}
    body["audio_srt_file_url"] = "https://a.example/y"
    observation = seen(body, definition=definition)
    assert observation.result is not None
    assert [file.expires_at for file in observation.result.files] == [
        NOW + timedelta(minutes=5),
        NOW + timedelta(hours=1),
    ]


def test_the_result_keeps_the_answer_as_it_came_unless_it_is_too_large_for_an_event() -> None:
    small, large = {"status": "done", "more": 1}, {"status": "done", "more": "x" * 70_000}
    assert result_of(small).raw == small
    assert result_of(large).raw is None


def test_numbers_and_texts_of_files_are_brought_into_form() -> None:
    definition = acme(
        '[[result.files]]\nkind = "part"\neach = "body.parts"\nurl = "u"\nsize_bytes = "s"\n'
        'duration_seconds = "d"\ncontent_type = "c"'
    )
    parts = [
        {"u": "https://a.example/1", "s": "12", "d": 1.5, "c": "audio/mpeg"},
        {"u": "https://a.example/2", "s": -1, "d": "long", "c": {"no": 1}},
        {"u": "https://a.example/3", "s": True, "d": 1e300, "c": "x" * 999},
        {"u": "not a link"},
        "nonsense",
    ]
    observation = seen({"status": "done", "url": None, "parts": parts}, definition=definition)
    assert observation.result is not None
    assert [
        (file.url[-1], file.size_bytes, file.duration_seconds, len(file.content_type or ""))
        for file in observation.result.files
    ] == [("1", 12, 1.5, 10), ("2", None, None, 0), ("3", None, None, 200)]


@pytest.mark.parametrize(
    ("url", "followed"),
    [
        ("http://x.example/a b.mp3", "http://x.example/a%20b.mp3"),
        ("https://x.example/a.mp3?name=b c&sign=a%2Bb", "https://x.example/a.mp3?name=b%20c&sign=a%2Bb"),
        (" https://x.example/a.mp3\r\n", "https://x.example/a.mp3"),
        ("https://x.example/日本.mp3", "https://x.example/日本.mp3"),
    ],
)
def test_a_link_with_spaces_is_followed_as_other_clients_do(url: str, followed: str) -> None:
    result = seen({"status": "done", "url": url}).result
    assert result is not None
    assert [file.url for file in result.files] == [followed]
    assert result.warnings == ()


@pytest.mark.parametrize(
    "url",
    [
        "//x.example/a.mp3",
        "/a.mp3",
        "a.mp3",
        "javascript:alert(1)",
        "https://x y.example/a.mp3",
        "https://x.example/a\r\nX-Evil: 1",
        "https://x.example/" + "a" * 9000,
    ],
)
def test_a_link_that_cannot_be_followed_is_left_out_with_a_warning(url: str) -> None:
    result = seen({"status": "done", "url": url}).result
    assert result is not None
    assert result.files == ()
    assert result.warnings == (
        f"The provider gave a link that cannot be followed, left out of the result: {' '.join(url.split())[:200]}",
    )


@pytest.mark.parametrize("url", [None, "", False, 7, {"a": 1}])
def test_what_is_no_link_at_all_is_not_warned_of(url: object) -> None:
    result = seen({"status": "done", "url": url}).result
    assert result is not None
    assert (result.files, result.warnings) == ((), ())


def test_many_links_that_cannot_be_followed_are_one_warning(catalog: Catalog) -> None:
    runway = catalog.get("runway")
    assert runway is not None
    body = {"id": "x", "status": "SUCCEEDED", "output": ["/1.mp3", "https://x.example/2.mp3", "/3.mp3"]}
    result = seen(body, definition=runway).result
    assert result is not None
    assert [file.url for file in result.files] == ["https://x.example/2.mp3"]
    assert result.warnings == ("The provider gave 2 links that cannot be followed, left out of the result: /1.mp3",)


@pytest.mark.parametrize(
    ("output", "urls"),
    [
        ("hello /there", []),
        ("https://x.example/a", ["https://x.example/a"]),
        (["hel", "lo"], []),
        (["https://x.example/a", "text"], ["https://x.example/a"]),
        ({"audio": "https://x.example/a", "text": "hello", "score": 7}, ["https://x.example/a"]),
    ],
)
def test_text_among_what_a_model_gives_is_no_broken_link(catalog: Catalog, output: object, urls: list[str]) -> None:
    replicate = catalog.get("replicate")
    assert replicate is not None
    result = seen({"id": "x", "status": "succeeded", "output": output}, definition=replicate).result
    assert result is not None
    assert [file.url for file in result.files] == urls
    assert result.warnings == ()


def test_what_no_database_can_hold_is_replaced() -> None:
    body = b'{"status": "done", "url": "https://a.example/x", "t": ["a\\u0000b", "\\ud83d", "\\ud83d\\ude00"]}'
    observation = seen(body)
    assert observation.result is not None
    assert observation.result.raw["t"] == ["a\ufffdb", "\ufffd", "\U0001f600"]
    json.dumps(observation.result.to_json(), ensure_ascii=False).encode()


def test_a_payment_reason_pauses_the_credential_although_the_job_has_failed() -> None:
    definition = acme('provider_code = "body.code"', '[error.codes]\n"NO_CREDIT*" = "payment_required"')
    observation = seen({"status": "broken", "code": "no_credit_left"}, definition=definition)
    assert (observation.outcome, observation.pauses) == (Outcome.FAILED, "payment_required")
    assert observation.error is not None
    assert (observation.error.code, observation.error.provider_code) == ("payment_required", "no_credit_left")


def test_an_exact_code_wins_over_a_pattern() -> None:
    definition = acme(
        'provider_code = "body.code"',
        '[error.codes]\n"E*" = "timeout"\nE7 = { code = "content_rejected", retryable = true }',
    )
    told = {code: seen({"status": "broken", "code": code}, definition=definition).error for code in ("E7", "e1", "X")}
    assert {code: (error.code, error.retryable) for code, error in told.items() if error} == {
        "E7": ("content_rejected", True),
        "e1": ("timeout", True),
        "X": ("provider_error", False),
    }


@pytest.mark.parametrize(
    ("why", "message"),
    [
        ("too\n  long ago", "too long ago"),
        ({"a": 1}, '{"a":1}'),
        ("x" * 3000, "x" * 1000),
        (None, "Acme ended the job as broken"),
        (False, "Acme ended the job as broken"),
    ],
)
def test_a_reason_is_one_bounded_line(why: object, message: str) -> None:
    assert seen({"status": "broken", "why": why}).error == JobError("provider_error", message)


def test_how_long_to_wait_is_read_where_it_means_something() -> None:
    assert seen({"status": "running"}, Retry_After="7").retry_after_seconds == 7.0
    assert seen({"status": "running"}, X_RateLimit_Reset="7").retry_after_seconds is None
    assert seen({}, 429, X_RateLimit_Reset="7").retry_after_seconds == 7.0
    assert seen({}, 503, Retry_After="7").retry_after_seconds == 7.0
    assert seen({"status": "done"}, Retry_After="7").retry_after_seconds is None


def test_a_state_may_be_a_number_or_a_truth() -> None:
    text = "[[rules]]\nwhen = \"word == '3' || word == 'true'\"\noutcome = \"completed\""
    assert seen({"status": 3}, definition=acme(text)).outcome is Outcome.COMPLETED
    assert seen({"status": True}, definition=acme(text)).outcome is Outcome.COMPLETED
    assert seen({"status": {"a": 1}}, definition=acme(text)).outcome is Outcome.UNKNOWN


@settings(deadline=None)
@given(
    definition=st.sampled_from(list(LOADED)),
    status=st.integers(min_value=100, max_value=599),
    headers=st.lists(
        st.tuples(st.sampled_from(["Retry-After", "content-type", "x"]), st.text(max_size=20)), max_size=3
    ),
    body=st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode())),
    pending_again=st.integers(min_value=0, max_value=5),
)
def test_nothing_that_comes_over_the_wire_raises(
    definition: Definition, status: int, headers: list[tuple[str, str]], body: bytes, pending_again: int
) -> None:
    observation = classify(definition, status, headers, body, NOW, pending_again=pending_again)
    assert observation.outcome in Outcome


@settings(deadline=None)
@given(definition=st.sampled_from(list(LOADED)), status=st.sampled_from([200, 201, 400, 403, 500]), body=NEAR)
def test_what_nearly_is_an_answer_can_always_be_stored_and_sent(
    definition: Definition, status: int, body: object
) -> None:
    observation = classify(definition, status, [], json.dumps(body).encode(), NOW, pending_again=9)
    if observation.result is not None:
        json.dumps(observation.result.to_json(), ensure_ascii=False, allow_nan=False).encode()
    if observation.error is not None:
        json.dumps(observation.error.to_json(), ensure_ascii=False).encode()
    assert (observation.outcome is Outcome.COMPLETED) == (observation.result is not None)

"""A line of the log holds no secret, by name or by look, in JSON and at a terminal alike."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from relay import logs

SECRETS = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLawq",
    "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "rl_0123456789abcdefghijABCDEFGHIJ",
    "Bearer a.very-long_token~of=somebody",
)


class Terminal(io.StringIO):
    """A stream that a person reads."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, configured = list(root.handlers), root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["JSON", "terminal"])
def test_what_looks_like_a_secret_is_cut_wherever_it_stands(stream: io.StringIO) -> None:
    logs.configure("debug", stream)
    for secret in SECRETS:
        structlog.get_logger("ours").info(f"it was {secret}", detail=f"<{secret}>", nested={"key": secret})
        logging.getLogger("theirs").info("it was %s", secret)
        try:
            int(secret)
        except ValueError:
            structlog.get_logger("ours").exception("broken")
    told = stream.getvalue()
    assert not any(secret in told for secret in SECRETS)
    assert "it was whsec_Mf" in told
    assert told.count("ValueError") >= len(SECRETS)


def test_what_is_named_like_a_secret_is_hidden_at_any_depth() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    structlog.get_logger("ours").info("told", secret="a", headers={"x": "b"}, inner={"api_key": "c", "plain": "d"})
    line = json.loads(stream.getvalue())
    assert (line["secret"], line["headers"], line["inner"]) == (
        logs.HIDDEN,
        logs.HIDDEN,
        {"api_key": logs.HIDDEN, "plain": "d"},
    )


@pytest.mark.parametrize("name", logs.TALKATIVE)
def test_those_who_tell_parameters_are_not_heard_even_when_everything_is_asked_for(name: str) -> None:
    stream = io.StringIO()
    logs.configure("debug", stream)
    logging.getLogger(name).debug("executing INSERT with %r", ("https://x.example/hook?token=hush",))
    logging.getLogger("others").debug("heard")
    assert "hush" not in stream.getvalue()
    assert "heard" in stream.getvalue()

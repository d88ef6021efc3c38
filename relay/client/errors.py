"""What a call of the API can come to, for programs that catch it: a tree of their own, apart from the server's."""

from collections.abc import Sequence

from relay.client.shapes import Fault, Job


class ClientError(Exception):
    """
    The root of everything that a call comes to but its answer. A mistake in an argument is a ValueError, told before
    anything is sent. What `verify` refuses is no ClientError: the relay's being away passes, a forged call does not.
    """


class ProblemError(ClientError):
    """
    The relay, or a proxy before it, says no: RFC 9457. `code` is stable ("" when the answer is no problem of the
    relay's), `errors` names every fault, `retry_after_seconds` is what the answer asked for, None when nothing.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[Fault] = (),
        *,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        faults = "".join(f"; {fault['pointer'] or 'body'}: {fault['detail']}" for fault in errors)
        super().__init__(f"{status} {code}".rstrip() + f": {detail}{faults}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class NoAnswer(ClientError):
    """No try of the call brought an answer; the last one's error is the `__cause__`."""

    def __init__(self, reason: str, tries: int) -> None:
        super().__init__(f"the relay does not answer: {reason} ({tries} {'try' if tries == 1 else 'tries'})")
        self.reason = reason
        self.tries = tries


class NotUnderstood(ClientError):
    """A success whose body is not what the API promises: what answers there is no relay, or one of another version."""


class NotEnded(ClientError, TimeoutError):
    """The time for `wait_for` is over and the job goes on; `job` is its last known state."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job['id']} is still {job['status']}")
        self.job = job

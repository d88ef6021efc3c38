# Made by docs/generate.py from its twin in asynchronous/.
"""Jobs, and the events that their endings are."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from relay.client import calls
from relay.client.synchronous.caller import Caller
from relay.client.calls import Ask, at, given
from relay.client.errors import NotEnded, NotUnderstood
from relay.client.shapes import BatchItem, CreatedJob, Event, Job, JobStatus, Page, Timeline


class Jobs:
    """`/v1/jobs`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(
        self,
        provider: str,
        provider_job_id: str | None = None,
        *,
        submit: Mapping[str, Any] | None = None,
        credential: str | None = None,
        params: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        deadline_seconds: float | None = None,
        callback: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> CreatedJob:
        """
        The job, new or as the credential tracks it already. With `submit`, the provider's own create body, it is made
        there first. A program that may die on the way gives an `idempotency_key` that it will know again.
        """
        fields = {
            "provider": provider,
            "provider_job_id": provider_job_id,
            "submit": submit,
            "credential": credential,
            "params": params,
            "metadata": metadata,
            "deadline_seconds": deadline_seconds,
            "callback": callback,
        }
        job: CreatedJob = self._caller.document(
            Ask("POST", "/v1/jobs", body=given(fields), idempotency_key=idempotency_key)
        )
        return job

    def batch(
        self, jobs: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> Sequence[BatchItem]:
        """The outcome of each item, in order; an item is what `create` takes, and up to 1000 may be given."""
        body = {"jobs": [dict(one) for one in jobs]}
        told = self._caller.document(Ask("POST", "/v1/jobs/batch", body=body, idempotency_key=idempotency_key))
        items: Sequence[BatchItem] = calls.page_of(told)["data"]
        return items

    def list(
        self,
        *,
        status: JobStatus | None = None,
        provider: str | None = None,
        credential: str | None = None,
        provider_job_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int = calls.PAGE_LIMIT,
    ) -> Iterator[Job]:
        """All jobs of that kind, newest first; `credential` by id or name."""
        query = {
            "status": status,
            "provider": provider,
            "credential": credential,
            "provider_job_id": provider_job_id,
            **{f"metadata.{name}": value for name, value in (metadata or {}).items()},
        }
        return self._caller.items("/v1/jobs", query, page_size)

    def get(self, job_id: str, *, wait_seconds: int = 0) -> Job:
        """The job; with `wait_seconds` (up to 30) as soon as it has ended."""
        job: Job = self._caller.document(Ask("GET", at("jobs", job_id), wait_seconds=wait_seconds))
        return job

    def wait_for(self, job_id: str, *, timeout_seconds: float = 600.0) -> Job:
        """The job as it has ended, however that is. Raises NotEnded, which is a TimeoutError."""
        clock = self._caller.clock
        ends = clock.monotonic() + timeout_seconds
        while True:
            asked_at = clock.monotonic()
            job = self.get(job_id, wait_seconds=calls.long_poll_seconds(ends - asked_at))
            if job["status"] not in calls.OPEN_STATUSES:
                return job
            if clock.monotonic() >= ends:
                raise NotEnded(job)
            self._caller.rest(asked_at)

    def timeline(self, job_id: str) -> Timeline:
        """What happened to the job, oldest first."""
        timeline: Timeline = self._caller.document(Ask("GET", at("jobs", job_id, "timeline")))
        return timeline

    def result_url(self, job_id: str, *, file: int = 0) -> str:
        """Where the provider has the file now. ProblemError 409 without a result yet, 410 when it is gone."""
        response = self._caller.call(Ask("GET", at("jobs", job_id, "result"), {"file": file}))
        if "location" not in response.headers:
            raise NotUnderstood("a redirect was asked for, and something else came")
        return response.headers["location"]

    def refresh(self, job_id: str) -> Job:
        """Has the job looked at now; the look follows."""
        job: Job = self._caller.document(Ask("POST", at("jobs", job_id, "refresh")))
        return job

    def cancel(self, job_id: str) -> Job:
        """The job, no longer watched, or as it had ended before."""
        job: Job = self._caller.document(Ask("DELETE", at("jobs", job_id)))
        return job


class Events:
    """`/v1/events`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def list(
        self,
        *,
        type: str | None = None,  # noqa: A002  the API's word
        job: str | None = None,
        page_size: int = calls.PAGE_LIMIT,
    ) -> Iterator[Event]:
        """All events of that kind, newest first."""
        return self._caller.items("/v1/events", {"type": type, "job": job}, page_size)

    def get(self, event_id: str) -> Event:
        """The event."""
        event: Event = self._caller.document(Ask("GET", at("events", event_id)))
        return event

    def page(
        self,
        after: str,
        *,
        wait_seconds: int = 0,
        limit: int = calls.PAGE_LIMIT,
        type: str | None = None,  # noqa: A002  the API's word
        job: str | None = None,
    ) -> Page[Event]:
        """
        One page of the feed, oldest first, behind `after`: "start", "now", or the `next_cursor` of the page before,
        which is what a program keeps that wants to go on where it was. An empty page is held back for `wait_seconds`.
        """
        query = {"after": after, "limit": limit, "type": type, "job": job}
        told = self._caller.document(Ask("GET", "/v1/events", query, wait_seconds=wait_seconds))
        page: Page[Event] = calls.page_of(told)
        return page

    def feed(
        self,
        after: str = "now",
        *,
        type: str | None = None,  # noqa: A002  the API's word
        job: str | None = None,
    ) -> Iterator[Event]:
        """Events in order of acceptance, as they happen, without end; `after` as in `page`."""
        while True:
            asked_at = self._caller.clock.monotonic()
            page = self.page(after, wait_seconds=calls.WAIT_SECONDS_MAX, type=type, job=job)
            for event in page["data"]:
                yield event
            before, after = after, page["next_cursor"] or after
            if before == after:
                self._caller.rest(asked_at)

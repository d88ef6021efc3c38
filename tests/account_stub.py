"""One account at a provider that has a list, written apart from the definitions: what it holds, and who asked when."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.provider_stub import HUAWEI_PROJECT, HUAWEI_TOKEN, VOCU_KEY
from tests.receivers import Call, Wire

AUDIO = "https://files.example/a.mp3"

Said = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]


@dataclass(frozen=True)
class Asked:
    """One request as it came in; `job` is None for a page of the list."""

    at: float
    job: str | None
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass
class HuaweiAccount:
    """
    A project's asynchronous jobs by id, newest first in the list. `state` and the other fields of a job's look are in
    `jobs`; `unlisted` ones are left out of the list. `refuse_list` and `refuse_look` may answer instead.
    """

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    refuse_list: Callable[[Mapping[str, str]], Said | None] = lambda _: None
    refuse_look: Callable[[str], Said | None] = lambda _: None
    page_max: int = 100
    seconds: float = 0.0
    asked: list[Asked] = field(default_factory=list)

    @property
    def pages(self) -> list[Asked]:
        """Requests for the list."""
        return [one for one in self.asked if one.job is None]

    @property
    def looks(self) -> list[Asked]:
        """Requests for single jobs."""
        return [one for one in self.asked if one.job is not None]

    async def __call__(self, call: Call, wire: Wire) -> None:
        """The behaviour of a `Receiver`."""
        at = asyncio.get_running_loop().time()
        parts = urlsplit(call.target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        is_list, job = self.route(parts.path)
        self.asked.append(Asked(at, None if is_list else job, query))
        if self.seconds:
            await asyncio.sleep(self.seconds)
        said = self.refused(call) or (self.page(query) if is_list else self.look(job))
        status, body, *more = said
        headers = {"content-type": "application/json", **(more[0] if more else {})}
        await wire.respond(status, headers, body.encode() if isinstance(body, str) else json.dumps(body).encode())

    def route(self, path: str) -> tuple[bool, str]:
        """Whether this is the list's path, and else which job's it is."""
        base = f"/v1/{HUAWEI_PROJECT}/ttsc"
        assert path.startswith(base), path
        return path == f"{base}/tts-jobs", path.rpartition("/")[2]

    def refused(self, call: Call) -> Said | None:
        """What who is not signed in is told."""
        if call.header("x-auth-token") != HUAWEI_TOKEN:
            return 401, {"error_code": "MSS.000000004", "error_msg": "invalid access", "request_id": "r"}
        return None

    def page(self, query: Mapping[str, str]) -> Said:
        """One page of the list."""
        refusal = self.refuse_list(query)
        if refusal is not None:
            return refusal
        listed = [job for job in reversed(self.jobs) if job not in self.unlisted]
        offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", 10)), self.page_max)
        some = listed[offset : offset + limit]
        return self.as_list([(job, self.jobs[job]) for job in some], len(listed))

    def as_list(self, some: list[tuple[str, dict[str, Any]]], count: int) -> Said:
        """The page's body."""
        data = [self.item(job, told) for job, told in some]
        return 200, {"count": count, "data": data}

    def item(self, job: str, told: dict[str, Any]) -> dict[str, Any]:
        """One job in the list, in other words than a look's."""
        files = {name: value for name, value in told.items() if name.endswith("_file_url")}
        item = {"job_id": job, "job_type": "ASYNC_JOB", "job_state": told["state"], "files": [files] if files else []}
        return item | ({"fail_msg": told["message"]} if "message" in told else {})

    def look(self, job: str) -> Said:
        """One job by itself."""
        refusal = self.refuse_look(job)
        if refusal is not None:
            return refusal
        told = self.jobs.get(job)
        if told is None:
            return 400, {"error_code": "MSS.000000003", "error_msg": "invalid parameter", "request_id": "r"}
        return 200, told

    def end(self, *jobs: str) -> None:
        """These have succeeded."""
        for job in jobs or list(self.jobs):
            self.jobs[job] = {"state": "SUCCEED", "audio_file_url": AUDIO}


@dataclass
class VocuAccount(HuaweiAccount):
    """The same as the other provider with a list shows it: without a count, each job as a look shows it."""

    def route(self, path: str) -> tuple[bool, str]:
        return path == "/api/tts/generate", path.rpartition("/")[2]

    def refused(self, call: Call) -> Said | None:
        if call.header("authorization") != f"Bearer {VOCU_KEY}":
            return 401, {"status": 401, "code": "AUTH_UNAUTHORIZED", "message": "Unauthorized."}
        return None

    def as_list(self, some: list[tuple[str, dict[str, Any]]], count: int) -> Said:
        return 200, {"status": 200, "message": "OK", "data": [{"id": job, **told} for job, told in some]}

    def look(self, job: str) -> Said:
        told = self.jobs.get(job)
        if told is None:
            return 404, {"status": 404, "code": "GENERATE_NOT_FOUND", "message": "Generation record not found."}
        return 200, {"status": 200, "message": "OK", "data": {"id": job, **told}}

    def end(self, *jobs: str) -> None:
        for job in jobs or list(self.jobs):
            self.jobs[job] = {"status": "generated", "metadata": {"audio": AUDIO}}


def most_within(moments: list[float], seconds: float) -> int:
    """The most of the moments that lie within any window of that length."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most

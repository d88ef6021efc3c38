"""One simulated provider: which of its recorded answers is due for which request."""

import json
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from relay.clock import Clock
from relay.dev.account import Account, new_job_id
from relay.domain.links import is_link
from relay.domain.observation import Outcome
from relay.egress import Outgoing
from relay.providers.auth import signed_in
from relay.providers.classify import classify
from relay.providers.definition import Call, Definition, ListCall
from relay.providers.samples import Sample
from relay.providers.template import PLACE, Template

JOB_SECONDS_MIN = 1.5
JOB_SECONDS_SPREAD = 2.5
JOBS_KEPT_MAX = 10_000
LOOKS_MANY = 1000  # more than a rule with `at_most_looks` bears
CLOCK_SECONDS_MAX = 3  # between a signature's making and its check; both are made on this machine

CallKind = Literal["look", "fetch", "list", "submit"]
PLAIN_STATUSES = {
    Outcome.AUTH: 401,
    Outcome.PAYMENT: 402,
    Outcome.NOT_FOUND: 404,
    Outcome.THROTTLED: 429,
    Outcome.TRANSIENT: 503,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes over the wire."""

    status_code: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Turn:
    """
    What an id's last letters ask for: `first` is answered `times` times (None: for ever), at once; then the job goes
    its way to `ending`.
    """

    ending: Outcome = Outcome.COMPLETED
    first: Outcome | None = None
    times: int | None = 0


# Words that can be spelt in hexadecimal, as many ids are.
TURNS: dict[str, Turn] = {
    "bad": Turn(ending=Outcome.FAILED),
    "dead": Turn(first=Outcome.NOT_FOUND, times=None),
    "fee": Turn(first=Outcome.PAYMENT, times=None),
    "feed": Turn(first=Outcome.THROTTLED, times=1),
    "fade": Turn(first=Outcome.TRANSIENT, times=2),
}
STRAIGHT = Turn()


@dataclass(slots=True)
class _Job:
    began: float
    looks: int = 0


class Stage:
    """
    Plays one definition's samples. A job begins with its first look, or when it is submitted; it is pending for 1.5
    to 4 s (the same time for the same id), going through the pending samples, and then ends as TURNS says. `link`
    gives the URL that stands in an answer for one that the sample has.
    """

    def __init__(
        self,
        definition: Definition,
        samples: tuple[Sample, ...],
        account: Account,
        clock: Clock,
        link: Callable[[str, str], str],
    ) -> None:
        self.account = account
        self._definition = definition
        self._samples = samples
        self._clock = clock
        self._link = link
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        calls: dict[CallKind, Call | None] = {
            "look": definition.look,
            "fetch": definition.fetch,
            "list": definition.listing,
            "submit": definition.submit,
        }
        now = clock.now()
        working = [sample for sample in samples if _is_truly_pending(definition, sample, now)]
        self._pending = working or self._all("look", Outcome.PENDING)
        self._calls = [(kind, call, _Form(call)) for kind, call in calls.items() if call is not None]

    def answer(self, request: Outgoing, path: str) -> Reply:
        """
        The reply to a request. `path` is decoded and without what stands before it in `request.url`; the headers'
        names are in lower case.
        """
        found = [
            (kind, places)
            for kind, call, form in self._calls
            if call.method == request.method
            and (places := form.places(path, request.url)) is not None
            and all(_may_be(self._definition, name, value) for name, value in places.items())
        ]
        if not found:
            return _plain(404, f"{self._definition.title} has no {request.method} {path}")
        if not self._is_signed_in(request):
            return self._refusal(Outcome.AUTH)
        # A place takes any word: `/jobs/{id}` fits `/jobs/list` too.
        kind, places = next((one for one in found if one[0] != "look"), found[0])
        if kind == "look":
            return self._look(places.get("provider_job_id", ""))
        if kind == "list":
            return self._list(request)
        return self._submit() if kind == "submit" else self._played(self._pick("fetch", "fetched"))

    def _is_signed_in(self, request: Outgoing) -> bool:
        """True when one of the ways, gone now or a moment ago, gives the very headers that came."""
        now = self._clock.now()
        params = self._definition.complete_params(self.account.params)
        for way in self.account.ways:
            for seconds in range(CLOCK_SECONDS_MAX + 1):
                moment = now - timedelta(seconds=seconds)
                expected = signed_in(self._definition, way, params, request, moment).headers
                if all(request.headers.get(name.lower()) == value for name, value in expected.items()):
                    return True
        return False

    def _look(self, provider_job_id: str) -> Reply:
        job, turn = self._job(provider_job_id), _turn(provider_job_id)
        job.looks += 1
        if turn.first is not None and (turn.times is None or job.looks <= turn.times):
            return self._refusal(turn.first)
        progress = self._progress(provider_job_id)
        if progress >= 1:
            return self._played(self._pick("look", turn.ending))
        return self._played(self._pending[int(progress * len(self._pending))])

    def _job(self, provider_job_id: str) -> _Job:
        job = self._jobs.get(provider_job_id)
        if job is None:
            job = self._jobs[provider_job_id] = _Job(self._clock.monotonic())
            if len(self._jobs) > JOBS_KEPT_MAX:
                self._jobs.popitem(last=False)
        return job

    def _progress(self, provider_job_id: str) -> float:
        """From 0 at its beginning to 1 at its end, and beyond."""
        lasts_seconds = JOB_SECONDS_MIN + JOB_SECONDS_SPREAD * zlib.crc32(provider_job_id.encode()) / 2**32
        return (self._clock.monotonic() - self._jobs[provider_job_id].began) / lasts_seconds

    def _submit(self) -> Reply:
        sample = self._pick("submit", "submitted")
        fresh = new_job_id(self._definition, self._clock.entropy)
        self._job(fresh)
        return self._played(sample, {sample.provider_job_id or "": fresh} if sample else {})

    def _list(self, request: Outgoing) -> Reply:
        """Every job that was begun, each as the sample's element of its outcome; one page holds them all."""
        sample, listing = self._pick("list", "listed"), self._definition.listing
        if sample is None or listing is None:
            return self._played(None)
        items = listing.items.search({"status": sample.status, "headers": {}, "body": sample.body, "word": None}) or []
        outcomes = sample.jobs or {}
        by_outcome = {outcomes.get(str(listing.id.search(item))): item for item in items}
        told = []
        for provider_job_id in () if _is_later_page(listing, request.url) else self._jobs:
            is_over = self._progress(provider_job_id) >= 1
            item = by_outcome.get(_turn(provider_job_id).ending if is_over else Outcome.PENDING)
            if item is not None:
                told.append(self._rewritten(item, {str(listing.id.search(item)): provider_job_id}))
        body = _with(sample.body, items, told[-listing.page_size :])
        return self._played(sample.model_copy(update={"body": body}))

    def _refusal(self, outcome: Outcome) -> Reply:
        """The definition's own words for it, or the plain HTTP status when none were recorded."""
        sample = next(iter(self._all("look", outcome)), None)
        return self._played(sample) if sample else _plain(PLAIN_STATUSES[outcome], f"simulated: {outcome}")

    def _all(self, call: CallKind, outcome: str) -> list[Sample]:
        return [sample for sample in self._samples if sample.call == call and sample.outcome == outcome]

    def _pick(self, call: CallKind, outcome: str) -> Sample | None:
        """The sample that shows the most."""
        return max(self._all(call, outcome), key=_worth, default=None)

    def _played(self, sample: Sample | None, renamed: Mapping[str, str] | None = None) -> Reply:
        if sample is None:
            return _plain(501, "there is no sample of this")
        changed = sample
        if sample.text is None:
            changed = sample.model_copy(update={"body": self._rewritten(sample.body, renamed or {})})
        return Reply(sample.status, sample.header_items(), changed.payload())

    def _rewritten(self, value: Any, renamed: Mapping[str, str], key: str = "") -> Any:
        """`value` with links that lead to the simulator, and with ids replaced."""
        if isinstance(value, dict):
            return {name: self._rewritten(inner, renamed, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._rewritten(inner, renamed, key) for inner in value]
        if isinstance(value, str):
            return self._link(value, key) if is_link(value) else renamed.get(value, value)
        return value


def _may_be(definition: Definition, name: str, value: str) -> bool:
    """True when that place of a path can hold the value: two calls may differ in nothing else."""
    if name == "provider_job_id":
        return definition.provider_job_id.pattern.fits(value)
    param = definition.params.get(name)
    if param is not None:
        return value in param.choices if param.choices else param.pattern.fits(value)
    tables = [table for one in definition.params.values() for table in (one.choices or {}).values() if name in table]
    return not tables or value in {table[name] for table in tables}


def _worth(sample: Sample) -> tuple[int, bool, int]:
    """By its files; by whether it is of the job alone, not of the credential; by its words: some only keep a place."""
    message = sample.error.message if sample.error else None
    return len(sample.files or ()), sample.pauses is None, len(message or "")


def _is_truly_pending(definition: Definition, sample: Sample, now: datetime) -> bool:
    """True for a job that works; one that has ended and only lacks its link would not fit before a failure."""
    if sample.call != "look" or sample.outcome != Outcome.PENDING:
        return False
    headers, body = sample.header_items(), sample.payload()
    seen = classify(definition, sample.status, headers, body, now, pending_again=LOOKS_MANY)
    return seen.outcome is Outcome.PENDING


def _turn(provider_job_id: str) -> Turn:
    return next((turn for word, turn in TURNS.items() if provider_job_id.lower().endswith(word)), STRAIGHT)


def _is_later_page(listing: ListCall, url: str) -> bool:
    names = [name for name, template in listing.query.items() if template.names == {"offset"}]
    return any(re.search(rf"[?&]{re.escape(name)}=0*[1-9]", url) for name in names)


class _Form:
    """What requests of one call look like."""

    def __init__(self, call: Call) -> None:
        self._path = _pattern(call.path, "[^/]+")
        self._query = {name: _pattern(template, ".+") for name, template in call.query.items()}

    def places(self, path: str, url: str) -> dict[str, str] | None:
        """What stands in the places of the path and the query; None for another call's path."""
        match = self._path.fullmatch(path)
        if match is None:
            return None
        places = match.groupdict()
        for name, value in parse_qsl(urlsplit(url).query):
            told = self._query[name].fullmatch(value) if name in self._query else None
            places |= told.groupdict() if told else {}
        return places


def _pattern(template: Template, value: str) -> re.Pattern[str]:
    """The template as a regular expression, each place a group of `value`."""
    pieces, last = [], 0
    for place in PLACE.finditer(template.source):
        pieces += [re.escape(template.source[last : place.start()]), f"(?P<{place[2]}>{'.+' if place[1] else value})"]
        last = place.end()
    return re.compile("".join([*pieces, re.escape(template.source[last:])]))


def _with(value: Any, before: list[Any], after: list[Any]) -> Any:
    """`value` with the very list `before` replaced by `after`, wherever it stands."""
    if value is before:
        return after
    if isinstance(value, dict):
        return {name: _with(inner, before, after) for name, inner in value.items()}
    return value


def _plain(status_code: int, message: str) -> Reply:
    body = json.dumps({"message": message}).encode()
    return Reply(status_code, [("content-type", "application/json")], body)

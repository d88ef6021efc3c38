"""What each problem means and what to do about it, told to whoever follows its `type`."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """The status codes that it comes with; in sentences, what has happened, and what helps."""

    statuses: tuple[int, ...]
    means: str
    remedy: str


MEANINGS: dict[str, Meaning] = {
    "invalid_request": Meaning(
        (422, 400),
        "The body or the query says something that the relay cannot take. `errors` names every fault: `pointer` is "
        "where it is (a JSON pointer into the body, `?name` for the query), `code` is stable.",
        "Mend all that `errors` names and send it again; the reference shows what each route takes.",
    ),
    "malformed_body": Meaning(
        (400,),
        "The body is not JSON, is not an object, names a field twice, or is nested too deep.",
        "Send one JSON object in UTF-8. `errors` says what stopped the reader.",
    ),
    "body_too_large": Meaning(
        (413,),
        "The body has more bytes than this relay reads.",
        "Send less at a time: a batch can be split. Operators raise the limit with RELAY_MAX_BODY_BYTES.",
    ),
    "body_too_slow": Meaning(
        (408,),
        "The body was announced and did not arrive in time; the connection was closed.",
        "Send it again. If it happens often, look at the network between you and the relay.",
    ),
    "unsupported_media_type": Meaning(
        (415,),
        "The `content-type` is none that this route takes, or the body is compressed.",
        "Send `application/json`; a PATCH may also say `application/merge-patch+json`. Leave `content-encoding` out.",
    ),
    "unauthorized": Meaning(
        (401,),
        "The request showed no API key, or one that is not valid: mistyped, of another relay, or revoked.",
        "Send `Authorization: Bearer <key>`. `relay keys create --name …` makes a key.",
    ),
    "forbidden": Meaning(
        (403,),
        "The key is valid, but lacks the scope that this route needs; the detail names it.",
        "Use a key with that scope. Scopes are given when a key is made and do not change.",
    ),
    "not_found": Meaning(
        (404,),
        "No object of your tenant has this id, or there is no such address. What belongs to another tenant, and what "
        "was removed or has passed its retention, looks the same.",
        "Check the id and the key: a key sees its own tenant's objects alone.",
    ),
    "method_not_allowed": Meaning(
        (405,),
        "The address exists, but not for this method.",
        "Take one of the methods that the `allow` header lists.",
    ),
    "precondition_failed": Meaning(
        (412,),
        "`If-Match` named a state that the object is no longer in: somebody changed it since you read it.",
        "Read it again, apply your change to what it is now, and send that with its new `etag`.",
    ),
    "changed_meanwhile": Meaning(
        (409,),
        "Another request changed the same object at the same moment, and was first.",
        "Read the object again; if the change is still wanted, send it again.",
    ),
    "name_taken": Meaning(
        (409,),
        "A credential of this name exists for this provider.",
        "Take another name, or change the one there is with PATCH.",
    ),
    "too_many_secrets": Meaning(
        (409,),
        "A subscription signs with ten secrets at most, and ten are alive: the newest and those in their overlap.",
        "Wait until an overlap has ended, or rotate with `overlap_seconds` 0, which ends all of them.",
    ),
    "subscription_not_active": Meaning(
        (409,),
        "The subscription is paused, disabled or removed, so a delivery to it would only be held.",
        "Activate it first: `POST /v1/subscriptions/{id}/activation`. That also releases what is held.",
    ),
    "subscription_held": Meaning(
        (409,),
        "The receiver has asked for a pause with `Retry-After`, and the relay keeps to it.",
        "Wait until the pause is over, then ask again.",
    ),
    "probe_running": Meaning(
        (409,),
        "A probe calls this subscription's receiver already; two at once would be taken for one another.",
        "Wait until it has ended, which takes less than half a minute, then ask again.",
    ),
    "delivery_cancelled": Meaning(
        (409,),
        "The delivery was given up because its subscription was removed.",
        "Subscribe again; events can be read at any time from `/v1/events`.",
    ),
    "in_use": Meaning(
        (409,),
        "Jobs that have not ended still need it.",
        "Wait until they have ended, or stop watching them with `DELETE /v1/jobs/{id}`.",
    ),
    "result_not_ready": Meaning(
        (409,),
        "The job has not ended, so there is no result yet.",
        "Wait for its event, or ask `GET /v1/jobs/{id}?wait=30` until it has ended.",
    ),
    "no_result": Meaning(
        (409,),
        "The job ended without a result: it failed, expired or was cancelled.",
        "Its `error` says why; `GET /v1/jobs/{id}/timeline` shows how it came to that.",
    ),
    "link_not_ready": Meaning(
        (503,),
        "The job has completed, and its provider has not given a link to a file yet: some do so only a while later.",
        "Ask again after `Retry-After` seconds. An hour after the job's end at the latest it is a redirect, or 410.",
    ),
    "result_gone": Meaning(
        (410,),
        "The provider has the file no more, or never gave one; the relay keeps links, not files.",
        "Make the job anew at the provider. Fetch files soon after the event: `expires_at` says how long they stay.",
    ),
    "link_revoked": Meaning(
        (410,),
        "Whoever had the job watched has taken its public link back.",
        "Ask them for the file, or read it by the API with a key of theirs.",
    ),
    "submission_refused": Meaning(
        (422,),
        "The provider read the request to make the job and declined it; no job was made.",
        "`errors` holds what the provider said. Mend `submit` by the provider's own reference.",
    ),
    "payment_required": Meaning(
        (402,),
        "The provider makes nothing before the account is paid; no job was made.",
        "Settle the account at the provider, then send it again.",
    ),
    "credential_refused": Meaning(
        (409,),
        "The provider does not accept the credential.",
        "Renew it with `PATCH /v1/credentials/{id}`. Its `status_reason` holds what the provider said.",
    ),
    "rate_limited": Meaning(
        (429,),
        "The provider asks for a pause with this credential.",
        "Wait for as long as `retry-after` says, then send it again.",
    ),
    "provider_refused": Meaning(
        (502,),
        "The provider answered, but with nothing that could be used.",
        "Look at the provider's own state page; if it goes on, tell the relay's operator the `request_id`.",
    ),
    "provider_unavailable": Meaning(
        (503,),
        "The provider does not answer at present, or nobody may ask it now.",
        "Wait for as long as `retry-after` says, if it is there, else some seconds; then send it again.",
    ),
    "idempotency_key_malformed": Meaning(
        (400,),
        "`Idempotency-Key` was given twice, is empty, too long, or holds other than visible ASCII characters.",
        "Send it once, with 1 to 255 visible ASCII characters: a UUID does.",
    ),
    "idempotency_key_reused": Meaning(
        (422,),
        "This `Idempotency-Key` came before with another body or address, so the first answer would be a wrong one.",
        "Take a new key for each thing that is to happen once.",
    ),
    "idempotency_in_flight": Meaning(
        (409,),
        "The first request with this `Idempotency-Key` is still being handled, or died on the way.",
        "Wait for as long as `retry-after` says and send the same again: it is answered as soon as the first is.",
    ),
    "too_many_requests": Meaning(
        (429,),
        "The API key has called more often than this relay allows one key.",
        "Wait for as long as `retry-after` says. The `ratelimit-…` headers of each answer say how much is left.",
    ),
    "unavailable": Meaning(
        (503,),
        "The relay's database or its Redis does not answer at present; the detail says which.",
        "Wait for as long as `retry-after` says and send it again; with an `Idempotency-Key` a POST happens once.",
    ),
    "internal_error": Meaning(
        (500,),
        "The relay made a mistake; it has been logged under the `request_id`.",
        "Send it again with the same `Idempotency-Key`. If it goes on, tell the operator the `request_id`.",
    ),
}

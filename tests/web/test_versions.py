"""Entity tags: nothing is sent twice for nothing, and nobody overwrites what he has not seen."""

import asyncio

from tests.web.house import House, refused, told


async def test_an_unchanged_answer_is_not_sent_again(house: House) -> None:
    subscription = await house.add_subscription()
    path = f"/v1/subscriptions/{subscription['id']}"
    first = await house.api.get(path)
    again = await house.api.get(path, headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]
    told(await house.api.patch(path, json={"description": "changed"}), 200)
    fresh = await house.api.get(path, headers={"if-none-match": first.headers["etag"]})
    assert fresh.status_code == 200
    assert fresh.headers["etag"] != first.headers["etag"]


async def test_a_change_of_another_state_than_the_one_seen_is_refused(house: House) -> None:
    subscription = await house.add_subscription()
    path = f"/v1/subscriptions/{subscription['id']}"
    seen = (await house.api.get(path)).headers["etag"]
    told(await house.api.patch(path, json={"description": "one"}, headers={"if-match": seen}), 200)
    refused(
        await house.api.patch(path, json={"description": "two"}, headers={"if-match": seen}), 412, "precondition_failed"
    )
    refused(await house.api.delete(path, headers={"if-match": seen}), 412, "precondition_failed")
    assert told(await house.api.get(path))["description"] == "one"
    now = (await house.api.get(path)).headers["etag"]
    assert (await house.api.delete(path, headers={"if-match": now})).status_code == 204


async def test_every_answer_that_shows_the_object_tells_its_tag(house: House) -> None:
    made = await house.api.post("/v1/subscriptions", json={"url": "http://127.0.0.1:9/hook"})
    path = f"/v1/subscriptions/{made.json()['id']}"
    first = await house.api.patch(path, json={"description": "one"}, headers={"if-match": made.headers["etag"]})
    second = await house.api.patch(path, json={"description": "two"}, headers={"if-match": first.headers["etag"]})
    assert told(second)["description"] == "two"
    assert second.headers["etag"] == (await house.api.get(path)).headers["etag"]


async def test_a_replayed_answer_tells_the_tag_of_the_first(house: House) -> None:
    once = {"idempotency-key": "one"}
    body = {"url": "http://127.0.0.1:9/hook"}
    first, again = [await house.api.post("/v1/subscriptions", json=body, headers=once) for _ in range(2)]
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["etag"] == first.headers["etag"]
    path = f"/v1/subscriptions/{first.json()['id']}"
    told(await house.api.patch(path, json={"description": "one"}, headers={"if-match": again.headers["etag"]}))


async def test_what_the_relay_itself_notes_of_an_object_is_no_change_of_it(house: House) -> None:
    subscription = await house.add_subscription()
    path = f"/v1/subscriptions/{subscription['id']}"
    seen = (await house.api.get(path)).headers["etag"]
    now = house.relay.clock.now()
    await house.relay.store.note_results({subscription["id"]: now}, {})
    fresh = await house.api.get(path, headers={"if-none-match": seen})
    assert fresh.status_code == 200
    assert fresh.headers["etag"] != seen
    told(await house.api.patch(path, json={"description": "one"}, headers={"if-match": seen}))


async def test_a_job_that_has_ended_is_not_cancelled_by_who_saw_it_pending(house: House) -> None:
    await house.add_credential()
    job = await house.add_job()
    path = f"/v1/jobs/{job['id']}"
    seen = (await house.api.get(path)).headers["etag"]
    refused(await house.api.delete(path, headers={"if-match": '"stale"'}), 412, "precondition_failed")
    assert told(await house.api.delete(path, headers={"if-match": seen}))["status"] == "cancelled"
    refused(await house.api.delete(path, headers={"if-match": seen}), 412, "precondition_failed")


async def test_of_a_change_and_a_removal_of_one_version_only_one_is_made(house: House) -> None:
    for _ in range(10):
        subscription = await house.add_subscription()
        path = f"/v1/subscriptions/{subscription['id']}"
        seen = {"if-match": (await house.api.get(path)).headers["etag"]}
        change = house.api.patch(path, json={"description": "changed"}, headers=seen)
        changed, removed = await asyncio.gather(change, house.api.delete(path, headers=seen))
        assert (changed.status_code, removed.status_code) in ((200, 412), (404, 204), (409, 204))


async def test_many_who_change_different_things_at_once_all_succeed(house: House) -> None:
    subscription = await house.add_subscription()
    path = f"/v1/subscriptions/{subscription['id']}"
    names = [f"name-{number}" for number in range(6)]
    changes = [house.api.patch(path, json={"metadata": {name: "here"}}) for name in names]
    for answer in await asyncio.gather(*changes):
        told(answer)
    assert told(await house.api.get(path))["metadata"] == dict.fromkeys(names, "here")


async def test_a_credential_is_guarded_likewise(house: House) -> None:
    credential = await house.add_credential()
    path = f"/v1/credentials/{credential['id']}"
    seen = (await house.api.get(path)).headers["etag"]
    told(await house.api.patch(path, json={"name": "other"}, headers={"if-match": "*"}), 200)
    refused(await house.api.patch(path, json={"name": "third"}, headers={"if-match": seen}), 412, "precondition_failed")
    refused(await house.api.delete(path, headers={"if-match": f"W/{seen}"}), 412, "precondition_failed")

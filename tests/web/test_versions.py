"""Entity tags: nothing is sent twice for nothing, and nobody overwrites what he has not seen."""

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


async def test_a_credential_is_guarded_likewise(house: House) -> None:
    credential = await house.add_credential()
    path = f"/v1/credentials/{credential['id']}"
    seen = (await house.api.get(path)).headers["etag"]
    told(await house.api.patch(path, json={"name": "other"}, headers={"if-match": "*"}), 200)
    refused(await house.api.patch(path, json={"name": "third"}, headers={"if-match": seen}), 412, "precondition_failed")
    refused(await house.api.delete(path, headers={"if-match": f"W/{seen}"}), 412, "precondition_failed")

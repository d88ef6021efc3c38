"""API keys: made, listed and revoked by whoever holds one with the scope `admin`."""

from starlette.responses import Response

from relay.domain.key import SCOPES, Key, digest, key_view, make_key
from relay.web import once
from relay.web.calls import Call, answer
from relay.web.checks import check
from relay.web.pages import open_page, page_of, page_view
from relay.web.problems import not_found
from relay.web.schemas import NewKey, PageQuery

KEY_BYTES = 32
SCOPES_DEFAULT = tuple(scope for scope in SCOPES if scope != "admin")


async def create(call: Call) -> Response:
    """201, with the key itself, this once; it belongs to the tenant of the one that asked."""
    body = check(NewKey, call.document).accepted()
    text = make_key(call.relay.clock.entropy(KEY_BYTES))
    wanted = body.scopes or SCOPES_DEFAULT
    key = Key(
        id=call.new_id("key"),
        tenant=call.tenant,
        name=body.name,
        scopes=tuple(scope for scope in SCOPES if scope in wanted),
        digest=digest(text),
        created_at=call.relay.clock.now(),
        last_used_at=None,
    )
    if not await call.relay.store.add_key(key, call.held):
        raise once.in_flight(key.created_at, key.created_at)
    return answer(key_view(key, text), 201)


async def index(call: Call) -> Response:
    """A page of the tenant's keys."""
    asked = open_page(call.relay.tokens, call.asked(PageQuery), "key")
    rows = await call.relay.store.list_keys(call.tenant, asked.place, asked.want)
    page = page_of(asked, rows)
    views = [key_view(one) for one in page.rows]
    return answer(page_view(call.relay.tokens, page, views))


async def revoke(call: Call) -> Response:
    """204; the key is refused from the next request on."""
    if not await call.relay.store.revoke_key(call.tenant, call.id("key")):
        raise not_found()
    return Response(status_code=204)

"""The routes of the pages behind the first, which the API's document does not describe: they are for people alone."""

from starlette.routing import BaseRoute, Route

from relay.web.dashboard import assets, door, pages
from relay.web.dashboard.actions import ACTIONS, done
from relay.web.dashboard.visit import Page, shown

PAGES: dict[str, Page] = {
    "/dashboard/jobs": pages.list_jobs,
    "/dashboard/jobs/{id}": pages.show_job,
    "/dashboard/deliveries": pages.list_deliveries,
    "/dashboard/deliveries/{id}": pages.show_delivery,
    "/dashboard/subscriptions": pages.list_subscriptions,
    "/dashboard/subscriptions/{id}": pages.show_subscription,
    "/dashboard/credentials": pages.list_credentials,
}


def routes() -> list[BaseRoute]:
    """A GET for each page, a POST for each form."""
    made: list[BaseRoute] = [Route(path, shown(page), methods=["GET"]) for path, page in PAGES.items()]
    for name, operation in ACTIONS.items():
        made.append(Route(operation.path.replace("/v1/", "/dashboard/"), shown(done(name)), methods=["POST"]))
    return [
        *made,
        Route("/dashboard/sign-in", door.sign_in, methods=["POST"]),
        Route("/dashboard/sign-out", door.sign_out, methods=["POST"]),
        Route("/assets/{name}", assets.show, methods=["GET"]),
        Route("/dashboard{rest:path}", shown(pages.show_nothing), methods=["GET"]),
    ]

"""The routes that want no key, beside the table of those that do."""

from relay.web import health, keysets, numbers, results
from relay.web.calls import OpenRoute
from relay.web.dashboard import front
from relay.web.reference import docs, problem_pages

OPEN_ROUTES: tuple[OpenRoute, ...] = (
    OpenRoute(
        name="get_dashboard",
        path="/",
        handler=front.show,
        summary="The dashboard, for people",
        answers={
            200: "an overview in HTML, or a form that asks for an API key",
            404: "the relay is run without a dashboard",
        },
    ),
    OpenRoute(
        name="follow_result_link",
        path="/r/{token}",
        handler=results.follow,
        summary="Go to a file of the result, by the link that events carry",
        answers={
            302: "where the provider has the file now",
            404: "no such link or file",
            409: "no result",
            410: "the provider has it no more, or the link was taken back",
            502: "the provider does not give it",
            503: "the provider cannot be asked now",
        },
    ),
    OpenRoute(
        name="get_jwks",
        path="/.well-known/jwks.json",
        handler=keysets.show,
        summary="The public keys of the signatures `v1a`",
        answers={200: "a JSON Web Key Set; a subscription says which of its keys are its own"},
    ),
    OpenRoute(
        name="get_health",
        path="/healthz",
        handler=health.alive,
        summary="Whether the process lives",
        answers={200: "the process lives"},
    ),
    OpenRoute(
        name="get_readiness",
        path="/readyz",
        handler=health.ready,
        summary="Whether the relay gets on with its work",
        answers={200: "ready", 503: "not ready; the body names what is not"},
    ),
    OpenRoute(
        name="get_metrics",
        path="/metrics",
        handler=numbers.show,
        summary="Prometheus metrics of all processes",
        answers={200: "the metrics in Prometheus' text format", 401: "the token is missing"},
    ),
    OpenRoute(
        name="get_openapi",
        path="/openapi.json",
        handler=docs.show_document,
        summary="This API as an OpenAPI 3.1 document",
        answers={200: "the document"},
    ),
    OpenRoute(
        name="get_docs",
        path="/docs",
        handler=docs.show_page,
        summary="The reference for people",
        answers={200: "a page that loads nothing from elsewhere"},
    ),
    OpenRoute(
        name="get_problem_page",
        path="/problems/{code}",
        handler=problem_pages.show,
        summary="What a problem's type means",
        answers={200: "the meaning and the remedy: HTML, JSON or plain text, as asked for"},
    ),
)

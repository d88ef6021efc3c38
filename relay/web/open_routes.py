"""The routes that want no key, beside the table of those that do."""

from relay.web import health, keysets, numbers, results
from relay.web.calls import OpenRoute
from relay.web.dashboard import front
from relay.web.reference import docs, problem_pages
from relay.web.reference.open_shapes import Alive, KeySet, ProblemMeaning, Readiness
from relay.web.schemas import ResultQuery

OPEN_ROUTES: tuple[OpenRoute, ...] = (
    OpenRoute(
        name="get_dashboard",
        path="/",
        handler=front.show,
        summary="The dashboard, for people",
        answers={
            200: "an overview, or a form that asks for an API key; 404 where the relay is run without a dashboard"
        },
        forms=("text/html",),
        problems=("not_found",),
    ),
    OpenRoute(
        name="follow_result_link",
        path="/r/{token}",
        handler=results.follow,
        summary="Go to a file of the result, by the link that events carry",
        answers={302: "a redirect to where the provider has the file now"},
        query=ResultQuery,
        problems=(
            *("not_found", "result_not_ready", "no_result", "link_not_ready", "result_gone", "link_revoked"),
            *("provider_refused", "provider_unavailable", "unavailable"),
        ),
    ),
    OpenRoute(
        name="get_jwks",
        path="/.well-known/jwks.json",
        handler=keysets.show,
        summary="The public keys of the signatures `v1a`",
        answers={200: "a JSON Web Key Set; a subscription says which of its keys are its own"},
        forms=("application/jwk-set+json",),
        shows=KeySet,
        problems=("unavailable",),
    ),
    OpenRoute(
        name="get_health",
        path="/healthz",
        handler=health.alive,
        summary="Whether the process lives",
        answers={200: "the process lives"},
        forms=("application/json",),
        shows=Alive,
    ),
    OpenRoute(
        name="get_readiness",
        path="/readyz",
        handler=health.ready,
        summary="Whether the relay gets on with its work",
        answers={200: "ready", 503: "not ready; the body names what is not"},
        forms=("application/json",),
        shows=Readiness,
    ),
    OpenRoute(
        name="get_metrics",
        path="/metrics",
        handler=numbers.show,
        summary="Prometheus metrics of all processes",
        answers={200: "the metrics in Prometheus' text format"},
        forms=("text/plain",),
        problems=("unauthorized",),
    ),
    OpenRoute(
        name="get_openapi",
        path="/openapi.json",
        handler=docs.show_document,
        summary="This API as an OpenAPI 3.1 document",
        answers={200: "the document"},
        forms=("application/json",),
    ),
    OpenRoute(
        name="get_docs",
        path="/docs",
        handler=docs.show_page,
        summary="The reference for people",
        answers={200: "a page that loads nothing from elsewhere"},
        forms=("text/html",),
    ),
    OpenRoute(
        name="get_problem_page",
        path="/problems/{code}",
        handler=problem_pages.show,
        summary="What a problem's type means",
        answers={200: "the meaning and the remedy: HTML, JSON or plain text, as asked for"},
        forms=("text/plain", "application/json", "text/html"),
        shows=ProblemMeaning,
        problems=("not_found",),
    ),
)

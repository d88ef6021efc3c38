"""What the routes without a key answer."""

from typing import Literal

from pydantic import ConfigDict

from relay.web.reference.shapes import Shape


class Alive(Shape):
    """The process answers."""

    status: Literal["alive"]


class Check(Shape):
    """One thing that readiness asks for; `detail` says what kept it from being told more of."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    ok: bool
    detail: str | None = None


class MigrationsCheck(Check):
    """The revision of the database's schema (null: nothing was ever migrated), and the one that this code needs."""

    revision: str | None = None
    head: str | None = None


class Overdue(Shape):
    """How many things are due now, and for how long the oldest has been."""

    due: int
    oldest_overdue_seconds: float


class ProgressCheck(Check):
    """Whether what is due is worked on: `overdue` names what has waited for `bound_seconds` or longer."""

    overdue: list[Literal["polls", "deliveries"]] | None = None
    bound_seconds: float | None = None
    polls: Overdue | None = None
    deliveries: Overdue | None = None


class Checks(Shape):
    """Each thing that the relay needs to get on with its work."""

    database: Check
    redis: Check
    migrations: MigrationsCheck
    progress: ProgressCheck


class Readiness(Shape):
    """Whether the relay gets on with its work, and what keeps it from that."""

    status: Literal["ready", "not_ready"]
    checks: Checks


class PublishedKey(Shape):
    """One public key (RFC 8037); `kid` is its RFC 7638 thumbprint, which a subscription's `public_keys` name."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    use: Literal["sig"]
    alg: Literal["EdDSA"]
    kid: str


class KeySet(Shape):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[PublishedKey]


class ProblemMeaning(Shape):
    """What a problem's code means, the status codes that it comes with, and what helps."""

    code: str
    title: str
    statuses: list[int]
    meaning: str
    remedy: str

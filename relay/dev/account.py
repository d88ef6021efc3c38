"""Invents what a provider would give a customer: an account that fits its definition, and ids for jobs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relay.providers.check import check_credential, check_job, warnings_of
from relay.providers.definition import Definition, Param

DIGITS_MIN = 10  # enough for ids never to meet
HEX_LENGTH = 32
TRIES_MAX = 50
VALUES = (
    "simulated",
    "0123456789abcdef0123456789abcdef",
    "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "1",
    "1000",
    "en",
    "https://example.com",
)


Entropy = Callable[[int], bytes]  # so many random bytes


@dataclass(frozen=True, slots=True)
class Account:
    """
    What POST /v1/credentials and POST /v1/jobs take for one simulated provider. `ways` are all ways to sign in,
    `secrets` those of the first.
    """

    provider: str
    title: str
    warnings: list[str]
    base_url: str
    ways: list[dict[str, str]] = field(repr=False)
    params: dict[str, str]
    job_params: dict[str, str]

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets of the first way to sign in."""
        return self.ways[0]

    def to_json(self) -> dict[str, Any]:
        """As the simulator shows it: the secrets are invented and open only itself."""
        return {
            "provider": self.provider,
            "title": self.title,
            "warnings": self.warnings,
            "credential": {
                "name": "simulated",
                "provider": self.provider,
                "secrets": self.secrets,
                "params": self.params,
                "base_url": self.base_url,
            },
            "other_secrets": self.ways[1:],
            "job_params": self.job_params,
        }


def invent(definition: Definition, base_url: str, entropy: Entropy) -> Account | None:
    """An account at `base_url`; None when a required param takes nothing that could be thought of here."""
    params = invented_params(definition, definition.credential_param_names())
    job_params = invented_params(definition, definition.job_param_names())
    ways = [
        {name: f"simulated-{name.replace('_', '-')}" for name in way.secrets} for way in definition.auth if way.secrets
    ]
    account = Account(
        provider=definition.name,
        title=definition.title,
        warnings=warnings_of(definition),
        base_url=base_url,
        ways=ways,
        params=params,
        job_params=job_params,
    )
    faults = check_credential(definition, account.secrets, params)
    faults += check_job(definition, new_job_id(definition, entropy), job_params)
    return None if faults else account


def new_job_id(definition: Definition, entropy: Entropy) -> str:
    """An id in the manner of the definition's example that nobody has had before."""
    rule = definition.provider_job_id
    for _ in range(TRIES_MAX):
        for candidate in _candidates(rule.example, entropy):
            if rule.pattern.fits(candidate):
                return candidate
    return rule.example


def _candidates(example: str, entropy: Entropy) -> list[str]:
    figures = _figures(len(example) + DIGITS_MIN, entropy)
    redrawn = "".join(figure if letter.isdigit() else letter for letter, figure in zip(example, figures, strict=False))
    has_room = sum(letter.isdigit() for letter in example) >= DIGITS_MIN
    first = redrawn if has_room else redrawn + figures[:DIGITS_MIN]
    return [first, entropy(HEX_LENGTH // 2).hex(), figures[:DIGITS_MIN], redrawn]


def _figures(length: int, entropy: Entropy) -> str:
    """Figures from 1 to 9: where a number is wanted, no zero may stand in front."""
    return "".join(str(byte % 9 + 1) for byte in entropy(length))


def invented_params(definition: Definition, names: tuple[str, ...]) -> dict[str, str]:
    """A value for each param that has to have one."""
    required = {name: definition.params[name] for name in names if definition.params[name].is_required}
    return {name: value for name, param in required.items() if (value := _value(param)) is not None}


def _value(param: Param) -> str | None:
    if param.choices:
        return next(iter(param.choices))
    known = [value for value in (param.default, param.example) if value is not None]
    return next((value for value in [*known, *VALUES] if param.pattern.fits(value)), None)

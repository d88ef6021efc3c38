"""Accounts and ids that are made up must be what the definitions take."""

import pytest

from relay.clock import Clock
from relay.dev.account import invent, new_job_id
from relay.providers.catalog import Catalog
from relay.providers.check import check_credential, check_job
from relay.providers.definition import Definition
from tests.providers.made_up import ACME, acme

ENTROPY = Clock().entropy
CATALOG = Catalog.load()


@pytest.mark.parametrize("definition", list(CATALOG), ids=lambda one: one.name)
def test_an_invented_account_is_taken_by_its_definition(definition: Definition) -> None:
    account = invent(definition, "http://127.0.0.1:1/x", ENTROPY)
    assert account is not None
    for way in account.ways:
        assert check_credential(definition, way, account.params, account.base_url) == []
    assert check_job(definition, new_job_id(definition, ENTROPY), account.job_params) == []


@pytest.mark.parametrize("definition", list(CATALOG), ids=lambda one: one.name)
def test_no_id_comes_twice(definition: Definition) -> None:
    assert len({new_job_id(definition, ENTROPY) for _ in range(500)}) == 500


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        ("[0-9]{6,12}", "123456"),
        ("[0-9a-f]{32}", "cafecafecafecafecafecafecafecafe"),
        ("task_[0-9]+", "task_7"),
        ("[A-Z]{4}", "ABCD"),
    ],
)
def test_an_id_fits_the_pattern_whatever_it_is(pattern: str, example: str) -> None:
    definition = acme(f"[provider_job_id]\npattern = '{pattern}'\nexample = '{example}'")
    assert definition.provider_job_id.pattern.fits(new_job_id(definition, ENTROPY))


def test_a_required_param_that_takes_nothing_known_makes_no_account() -> None:
    definition = acme('[params.odd]\nfrom = "credential"\nrequired = true\npattern = "q{7}"')
    assert invent(definition, "http://127.0.0.1:1", ENTROPY) is None


def test_a_required_choice_is_chosen() -> None:
    text = '[params.mode]\nfrom = "job"\nrequired = true\n[params.mode.choices]\nfast = {}\nslow = {}'
    account = invent(acme(text), "http://127.0.0.1:1", ENTROPY)
    assert account is not None
    assert account.job_params == {"mode": "fast"}


def test_a_shown_account_is_a_body_for_the_api() -> None:
    account = invent(acme(), "http://127.0.0.1:1/acme", ENTROPY)
    assert account is not None
    assert account.to_json()["credential"] == {
        "name": "simulated",
        "provider": "acme",
        "secrets": {"token": "simulated-token"},
        "params": {},
        "base_url": "http://127.0.0.1:1/acme",
    }
    assert "simulated-token" not in repr(account)
    assert "acme" in ACME

"""What a definition's file may say, and that everything wrong with one is named at once."""

import pytest

from relay.domain.errors import BadDefinition
from relay.domain.pacing import Pace
from relay.providers.parse import parse_definition
from tests.providers.made_up import ACME, acme

BROKEN = """
name = "Broken Name"
title = "Broken"
docs_url = "https://broken.example"
base_url = "https://broken.example/with/path"
hosts = []
colour = "blue"

[secrets.api_key]
[secrets.unused]

[params.kind]
from = "moon"

[params.flavour]
from = "job"
pattern = "("

[[auth]]
scheme = "magic"
secrets = ["api_key", "other"]
headers = { x-key = "{password}" }

[look]
path = "no-slash/{provider_job_id}"
method = "TRACE"

[state]
at = "status.["
pending = ["a", "b"]
completed = ["A"]

[[rules]]
outcome = "wonderful"

[[rules]]
status = [999, "7xx"]
outcome = "pending"

[[result.files]]
kind = "smell"
url = "url"

[error.codes]
E1 = "made_up"

[pace]
interval_seconds = 1
min_seconds = 5

[budget]
max_concurrency = 0
"""


LIST = """
[list]
path = "/jobs"
query = { from = "{offset}" }
page_size = 100
items = "body"
id = "id"
answer = "@"
"""
KIND = """
[params.kind]
from = "job"
default = "a"
choices = { a = { voice = "x" } }
"""


def faults_of(text: str) -> str:
    with pytest.raises(BadDefinition) as refusal:
        parse_definition(text, "some.toml")
    assert refusal.value.source == "some.toml"
    return "\n".join(refusal.value.faults)


def test_every_fault_of_a_file_is_named_at_once() -> None:
    faults = faults_of(BROKEN)
    for part in (
        "name: ",
        "base_url: scheme and host only",
        "hosts: ",
        "colour: unknown key",
        "params.kind.from: ",
        "params.flavour.pattern: not a regular expression",
        "look.path: a path begins with /",
        "look.method: ",
        "state.at: not JMESPath",
        "rules.0.outcome: ",
        "rules.1.status: 999",
        "result.files.0.kind: ",
        "error.codes.E1.code: ",
        "pace: min_seconds <= interval_seconds",
        "budget.max_concurrency: ",
    ):
        assert part in faults, part


def test_faults_between_parts_are_named_beside_those_of_single_keys() -> None:
    text = ACME.replace('title = "Acme"', "title = 7").replace('secrets = ["token"]', 'secrets = ["token", "pin"]')
    faults = faults_of(text.replace("{flavour}", "{colour}").replace('failed = ["broken"]', 'failed = ["Done"]'))
    assert "title: " in faults
    assert "auth.0: 'pin' is not in [secrets]" in faults
    assert "look.path: 'colour' is not known" in faults
    assert "state: 'Done' is listed twice" in faults


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('scheme = "bearer"', 'scheme = "magic"', "auth.0.scheme: 'magic' is not known; there are bearer, header"),
        ('scheme = "bearer"', 'scheme = "header"', "auth.0.headers: the scheme adds nothing by itself"),
        ('scheme = "bearer"', 'scheme = "huawei_aksk"', "auth.0.secrets: the scheme needs 'access_key'"),
        ("[secrets.token]", "[secrets.token]\n[secrets.spare]", "secrets.spare: no way to sign in uses it"),
        ("[secrets.token]", "[secrets.token]\n[secrets.flavour]", "'flavour' is the name of more than one"),
        ("[params.flavour]", "[params.result_id]", "'result_id' has a meaning of its own"),
        ('default = "plain"', "", "look.path: 'flavour' has no default and is not required"),
        ('default = "plain"', 'default = "a b"', "does not match the pattern"),
        ('default = "plain"', 'default = "a"\nchoices = { b = {} }', "the default 'a' is not a choice"),
        (
            'default = "plain"',
            'default = "a"\nchoices = { a = { x = "1" }, b = { y = "1" } }',
            "every choice fills the same places",
        ),
        (
            'path = "/{flavour}/jobs/{provider_job_id}"',
            'path = "/{flavour}/jobs/{provider_job_id}?x=1"',
            "a path begins with / and has no query",
        ),
        (
            'path = "/{flavour}/jobs/{provider_job_id}"',
            'path = "/jobs/{provider_job_id}"\nquery = { a = "{nothing}" }',
            "look.query.a: 'nothing' is not known",
        ),
        ("[error]", '[fetch]\npath = "/{result_id}"\n[error]', "fetch: there is nothing to fetch without result.id"),
        ("[error]", '[[rules]]\noutcome = "failed"\n[error]', "rules.0: a rule needs a condition"),
        (
            "[error]",
            '[[rules]]\nstatus = ["2xx"]\nat_most_looks = 3\noutcome = "failed"\n[error]',
            "at_most_looks is for a rule whose outcome",
        ),
        ("[error]", '[[rules]]\nstatus = []\noutcome = "failed"\n[error]', "a list of HTTP status codes"),
        ("[error]", '[[rules]]\nwhen = "word == \\"x\\""\noutcome = "failed"\n[error]', "single quotes"),
        ('url = "body.url"', 'url = "url"', "there is no 'url'"),
        ('at = "body.status"', "at = 7", "a text in JMESPath"),
        ("[error]", "[params.kind]\nfrom = 'job'\npattern = 7\n[error]", "a regular expression is a text"),
        ('default = "plain"', 'default = "plain"\nexample = "a b"', "the example 'a b' does not match the pattern"),
        ('default = "plain"', 'default = "a"\nexample = "a"\nchoices = { a = {} }', "or there are choices"),
        ('title = "Acme"', 'title = "Acme"\ndemo = 7', "demo: "),
        (
            "[error]",
            '[fetch]\npath = "/{result_id}"\nwhen = "ok"\n[result]\nid = "body.id"\n[error]',
            "fetch.when: there is no 'ok'",
        ),
        ('scheme = "bearer"', 'scheme = "jwt_hs256"', "auth.0.secrets: the scheme needs 'secret_key'"),
        ("[error]", "[provider_job_id]\npattern = '[0-9]+'\n[error]", "does not match the pattern; give one that does"),
        ('hosts = ["*.acme.example"]', 'hosts = ["acme.example"]', "base_url: api.acme.example is not in `hosts`"),
        (
            "/jobs/{provider_job_id}",
            "/jobs",
            "look: nothing that is always sent has {provider_job_id}: all jobs would get one answer",
        ),
        (
            'path = "/{flavour}/jobs/{provider_job_id}"',
            'path = "/jobs"\nquery = { id = "{voice}-{provider_job_id}" }\n[params.voice]\nfrom = "job"',
            "look: nothing that is always sent has {provider_job_id}: all jobs would get one answer",
        ),
        (
            "[error]",
            '[fetch]\npath = "/files"\n[result]\nid = "body.id"\n[error]',
            "fetch: nothing that is always sent has {provider_job_id} or {result_id}",
        ),
        ("[error]", f"{LIST.replace('{offset}', '7')}\n[error]", "list: nothing that is always sent has {offset}"),
        ("[error]", f"{LIST.replace('/jobs', '/{flavour}')}\n[error]", "list.path: 'flavour' is given with each job"),
        (
            "[error]",
            f"{LIST.replace('{offset}', '{offset}-{voice}')}{KIND}[error]",
            "list.query.from: 'voice' is given with each job",
        ),
    ],
)
def test_one_fault_is_named(old: str, new: str, fault: str) -> None:
    assert fault in faults_of(ACME.replace(old, new))


def test_what_is_not_toml_is_a_fault() -> None:
    assert "not TOML" in faults_of("name = ")


def test_an_empty_file_lacks_everything_that_is_needed() -> None:
    faults = faults_of("")
    assert all(f"{key}: Field required" in faults for key in ("name", "base_url", "look", "state", "auth"))


def test_a_definition_tells_what_a_credential_and_a_job_need() -> None:
    definition = acme('[params.region]\nfrom = "credential"\nrequired = true\nabout = "where"')
    assert definition.secret_names() == ("token",)
    assert definition.credential_param_names() == ("region",)
    assert definition.job_param_names() == ("flavour",)
    assert definition.pacing() == Pace(3.0, 1.0, 60.0)
    assert definition.covers_host("API.acme.example")
    assert not definition.covers_host("acme.example.evil.example")
    assert repr(definition) == "Definition('acme')"


def test_a_choice_fills_the_places_that_come_with_it() -> None:
    definition = parse_definition(
        ACME.replace(
            'default = "plain"', 'default = "plain"\nchoices = { plain = { run = "p" }, rich = { run = "r" } }'
        ),
        "acme.toml",
    )
    assert definition.complete_params({}) == {"flavour": "plain", "run": "p"}
    assert definition.complete_params({"flavour": "rich"}) == {"flavour": "rich", "run": "r"}


def test_a_definition_describes_itself_in_json() -> None:
    described = acme("[retired]\nsince = 2025-12-31\nnotice = 'gone'").describe()
    assert described["retired"] == {"since": "2025-12-31", "notice": "gone"}
    assert described["secrets"] == [["token"]]
    assert described["params"]["flavour"]["default"] == "plain"
    assert described["has_list"] is False

"""The environment, read once and checked whole, so that nothing else has to read it."""

import os
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from relay.domain.errors import BadSettings

SECRET_KEY_LENGTH_MIN = 16
API_KEY_LENGTH_MIN = 16
RETRY_SCHEDULE_SECONDS = (5.0, 30.0, 120.0, 300.0, 600.0, 1200.0, 1500.0, 3600.0, 7200.0, 18000.0, 36000.0, 36000.0)
DATABASE_SCHEMES = ("sqlite", "postgres", "postgresql", "postgresql+asyncpg", "sqlite+aiosqlite")
REDIS_SCHEMES = ("redis", "rediss", "unix")
FILE_SCHEMES = ("sqlite", "sqlite+aiosqlite", "unix")  # what follows is a path
HOST_AND_PORT = re.compile(r"(?:\[[^\]]*\]|[^:/?#]*)(?::(?P<port>[^/?#]*))?")
PORT_MAX = 65_535
GAP_SECONDS_MAX = 31_536_000

CommaSeparated = Annotated[tuple[str, ...], NoDecode]
Seconds = Annotated[tuple[float, ...], NoDecode]


class Settings(BaseSettings):
    """Every variable the relay reads; the field's name in capitals is the variable's."""

    model_config = SettingsConfigDict(case_sensitive=False, extra="ignore", frozen=True, env_ignore_empty=True)

    database_url: str = "sqlite:///relay.db"
    redis_url: str = "redis://localhost:6379/0"
    port: int = Field(8000, ge=0, le=PORT_MAX)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    web_concurrency: int = Field(1, ge=1, le=256)

    relay_secret_key: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    relay_api_key: SecretStr | None = None
    relay_public_url: str = ""
    relay_egress_allow: CommaSeparated = ()
    relay_allow_http: bool = False
    relay_egress_proxy: str | None = None
    relay_delivery_timeout_seconds: float = Field(15.0, gt=0, le=300)
    relay_retry_schedule: Seconds = RETRY_SCHEDULE_SECONDS
    relay_disable_after_hours: float = Field(120.0, gt=0, le=87_600)
    relay_job_deadline_seconds: float = Field(86_400.0, ge=1, le=31_536_000)
    relay_retention_days: float = Field(30.0, gt=0, le=36_500)
    relay_max_body_bytes: int = Field(1_048_576, ge=1024, le=1_073_741_824)
    relay_api_requests_per_second: float = Field(500.0, ge=0, le=1_000_000)
    relay_providers_dir: str | None = None
    relay_shutdown_seconds: float = Field(20.0, ge=0, le=3600)
    relay_metrics_token: SecretStr | None = None
    relay_dashboard: bool = True
    relay_ready_overdue_seconds: float = Field(60.0, gt=0, le=86_400)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The values are handed in by `load`, so that a test can hand in others without touching the process.
        return (init_settings,)

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()

    @field_validator("relay_secret_key", "relay_egress_allow", mode="before")
    @classmethod
    def _split(cls, value: str | tuple[str, ...]) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(part.strip() for part in parts if part.strip())

    @field_validator("relay_retry_schedule", mode="before")
    @classmethod
    def _numbers(cls, value: str | tuple[float, ...]) -> tuple[float, ...]:
        if not isinstance(value, str):
            return value
        if value.strip().lower() == "none":
            return ()
        parts = [part.strip() for part in value.split(",") if part.strip()]
        gaps = [_gap(part) for part in parts]
        wrong = [repr(part) for part, gap in zip(parts, gaps, strict=True) if gap is None]
        if wrong:
            rule = f"each gap is a number of seconds from 0 to {GAP_SECONDS_MAX}, or the whole is `none`"
            raise ValueError(f"{rule}; not {', '.join(wrong)}")
        return tuple(gap for gap in gaps if gap is not None)

    @field_validator("relay_secret_key")
    @classmethod
    def _long_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < SECRET_KEY_LENGTH_MIN for key in value):
            raise ValueError(f"each key has at least {SECRET_KEY_LENGTH_MIN} characters; try `openssl rand -base64 32`")
        return value

    @field_validator("relay_api_key")
    @classmethod
    def _long_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < API_KEY_LENGTH_MIN:
            raise ValueError(f"it has at least {API_KEY_LENGTH_MIN} characters; try `openssl rand -hex 24`")
        return value

    @field_validator("relay_egress_allow")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError(f"{network!r} is not a network such as 10.1.0.0/16") from None
        return value

    @field_validator("database_url", "redis_url", "relay_public_url", "relay_egress_proxy")
    @classmethod
    def _schemes(cls, value: str | None, info: object) -> str | None:
        name = getattr(info, "field_name", "")
        known = {"database_url": DATABASE_SCHEMES, "redis_url": REDIS_SCHEMES}.get(name, ("http", "https"))
        if value and urlsplit(value).scheme not in known:
            raise ValueError(f"the URL starts with one of {', '.join(f'{scheme}://' for scheme in known)}")
        if value and not _has_usable_port(value):
            raise ValueError(f"the port in the URL is a number from 1 to {PORT_MAX}")
        return value

    @property
    def public_url(self) -> str:
        """The base of the links in events, without a slash at its end."""
        return (self.relay_public_url or f"http://localhost:{self.port}").rstrip("/")

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys in clear, newest first."""
        return tuple(key.get_secret_value() for key in self.relay_secret_key)


def load(
    environment: Mapping[str, str] | None = None, *, needs_secret_key: bool = False, needs_port: bool = False
) -> Settings:
    """
    The settings of this process; with `needs_secret_key` those of one that works with what is stored and defined, with
    `needs_port` of one that listens on it.

    Raises BadSettings with a line for every fault, each naming the variable and the fix.
    """
    environment = os.environ if environment is None else environment
    told = {name: environment[name.upper()] for name in Settings.model_fields if environment.get(name.upper())}
    faults: list[str] = []
    if needs_secret_key:
        faults += _lacking(told)
    if needs_port and re.fullmatch(r"\s*0+\s*", told.get("port", "")):
        faults.append(f"PORT: a number from 1 to {PORT_MAX}; 0, which is any that is free, is for `relay dev` alone")
    try:
        settings = Settings.model_validate(told)
    except ValidationError as error:
        faults.extend(_line(fault["loc"], fault["msg"]) for fault in error.errors())
    if faults:
        raise BadSettings(faults)
    return settings


def provider_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The `RELAY_<PROVIDER>_<SECRET or PARAM>` variables: all RELAY_ names that are no setting of their own."""
    environment = os.environ if environment is None else environment
    own = {name.upper() for name in Settings.model_fields}
    return {
        name: value for name, value in environment.items() if name.startswith("RELAY_") and name not in own and value
    }


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that `relay dev` starts: this one's, with the changes."""
    return {**os.environ, **changes}


def _lacking(told: Mapping[str, str]) -> Iterator[str]:
    if not told.get("relay_secret_key"):
        yield (
            "RELAY_SECRET_KEY is not set: it encrypts credentials at rest. Set it to a long random text, "
            "such as the output of `openssl rand -base64 32`, and keep it."
        )
    folder = told.get("relay_providers_dir")
    if folder and not Path(folder).is_dir():
        yield f"RELAY_PROVIDERS_DIR: {folder}: there is no such folder"


def _gap(text: str) -> float | None:
    """The seconds of one gap; None for what is none."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= GAP_SECONDS_MAX else None


def _has_usable_port(url: str) -> bool:
    """False when the URL names a port that cannot be; a user's password before it may hold anything."""
    scheme, _, rest = url.partition("://")
    found = HOST_AND_PORT.match(rest.rpartition("@")[2])
    port = found["port"] if found and scheme.lower() not in FILE_SCHEMES else None
    return not port or (port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX)


def _line(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]).upper() if location else "the environment"
    return f"{name}: {message.removeprefix('Value error, ')}"

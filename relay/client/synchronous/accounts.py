# Made by docs/generate.py from its twin in asynchronous/.
"""Credentials, keys, and what there is to have them for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from relay.client import calls
from relay.client.synchronous.caller import Caller
from relay.client.calls import Ask, at, given
from relay.client.provider_shapes import Provider, ProviderInFull
from relay.client.shapes import CreatedKey, Credential, CredentialStatus, Key


class Credentials:
    """`/v1/credentials`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(
        self,
        name: str,
        provider: str,
        secrets: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        base_url: str | None = None,
        max_requests_per_second: float | None = None,
        max_concurrency: int | None = None,
        idempotency_key: str | None = None,
    ) -> Credential:
        """The credential, without its secrets."""
        fields = {
            "name": name,
            "provider": provider,
            "secrets": secrets,
            "params": params,
            "base_url": base_url,
            "max_requests_per_second": max_requests_per_second,
            "max_concurrency": max_concurrency,
        }
        made: Credential = self._caller.document(
            Ask("POST", "/v1/credentials", body=given(fields), idempotency_key=idempotency_key)
        )
        return made

    def list(
        self,
        *,
        provider: str | None = None,
        name: str | None = None,
        status: CredentialStatus | None = None,
        page_size: int = calls.PAGE_LIMIT,
    ) -> Iterator[Credential]:
        """All credentials of that kind, newest first."""
        query = {"provider": provider, "name": name, "status": status}
        return self._caller.items("/v1/credentials", query, page_size)

    def get(self, credential_id: str) -> Credential:
        """The credential."""
        shown: Credential = self._caller.document(Ask("GET", at("credentials", credential_id)))
        return shown

    def change(self, credential_id: str, changes: Mapping[str, Any]) -> Credential:
        """The credential after the merge patch (RFC 7396); `{"status": "active"}` has it tried again."""
        changed: Credential = self._caller.document(Ask("PATCH", at("credentials", credential_id), body=changes))
        return changed

    def remove(self, credential_id: str) -> None:
        """Deletes the credential. ProblemError 409 while jobs need it."""
        self._caller.call(Ask("DELETE", at("credentials", credential_id), is_removal=True))


class Keys:
    """`/v1/keys`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(
        self, name: str, *, scopes: Sequence[str] | None = None, idempotency_key: str | None = None
    ) -> CreatedKey:
        """The key, shown this once; without `scopes` it has all but `admin`."""
        body = given({"name": name, "scopes": scopes})
        made: CreatedKey = self._caller.document(
            Ask("POST", "/v1/keys", body=body, idempotency_key=idempotency_key)
        )
        return made

    def list(self, *, page_size: int = calls.PAGE_LIMIT) -> Iterator[Key]:
        """All keys, newest first."""
        return self._caller.items("/v1/keys", {}, page_size)

    def revoke(self, key_id: str) -> None:
        """Ends the key, at once."""
        self._caller.call(Ask("DELETE", at("keys", key_id), is_removal=True))


class Providers:
    """`/v1/providers`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def list(self) -> Iterator[Provider]:
        """All providers."""
        return self._caller.items("/v1/providers")

    def get(self, name: str) -> ProviderInFull:
        """The provider, with what was learned of its jobs."""
        provider: ProviderInFull = self._caller.document(Ask("GET", at("providers", name)))
        return provider

"""Scenes that go faster than the providers ask for."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.account_stub import HuaweiAccount
from tests.looking.scenes import HUAWEI, VOCU, Enter, Scene, scene
from tests.provider_stub import CREDENTIALS
from tests.swift import swift


@pytest.fixture
def swift_scene(database_url: str, redis_url: str, tmp_path: Path) -> Enter:
    """A scene where the provider's interval is short."""
    settings = swift(tmp_path, HUAWEI, VOCU)

    def enter(account: HuaweiAccount, provider: str = HUAWEI, **more: object) -> AbstractAsyncContextManager[Scene]:
        told = {**CREDENTIALS[provider], **more}
        return scene(database_url, redis_url, account, f"swift_{provider}", settings, **told)

    return enter

"""What the URLs of results say of themselves."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.links import is_link, signed_until


@pytest.mark.parametrize(
    ("url", "moment"),
    [
        (
            "https://b.s3.amazonaws.com/a.mp3?X-Amz-Date=20260102T030405Z&X-Amz-Expires=600&X-Amz-Signature=x",
            datetime(2026, 1, 2, 3, 14, 5, tzinfo=UTC),
        ),
        (
            "https://storage.googleapis.com/a?X-Goog-Date=20260102T030405Z&X-Goog-Expires=60&X-Goog-Signature=x",
            datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC),
        ),
        (
            "https://b.oss-cn-hangzhou.aliyuncs.com/a?x-oss-date=20260102T030405Z&x-oss-expires=60",
            datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC),
        ),
        (
            "https://b.obs.cn-north-4.myhuaweicloud.com/a?AccessKeyId=k&Expires=1767323045&Signature=x",
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        ("https://cdn.qiniu.example/a.mp3?e=1767323045&token=x", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (
            "https://b.cos.ap-beijing.myqcloud.com/a?q-sign-time=1767320000%3B1767323045&q-signature=x",
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        (
            "https://a.blob.core.windows.net/c/a.zip?sv=2024&se=2026-01-02T03%3A04%3A05Z&sig=x",
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        ("https://a.blob.core.windows.net/c/a.zip?se=2026-01-02&sig=x", datetime(2026, 1, 2, tzinfo=UTC)),
        ("https://a.example/a?se=2026-01-02", None),
        ("https://a.example/a?se=soon&sig=x", None),
        ("https://a.example/a?X-Amz-Date=yesterday&X-Amz-Expires=60", None),
        ("https://a.example/a?X-Amz-Date=20260102T030405Z&X-Amz-Expires=-1", None),
        ("https://a.example/a?Expires=3600", None),
        ("https://a.example/a?Expires=1767323045000", None),
        ("https://a.example/a", None),
        ("https://[broken/a?Expires=1767323045", None),
        ("https://a.example/?" + "&".join(f"a{i}=1" for i in range(200)), None),
    ],
)
def test_the_end_of_a_signature_is_found(url: str, moment: datetime | None) -> None:
    assert signed_until(url) == moment


@pytest.mark.parametrize("url", ["https://a.example/x.mp3", "http://127.0.0.1:8080/x?y#z", "https://xxx"])
def test_a_web_address_can_be_followed(url: str) -> None:
    assert is_link(url)


@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        "",
        "<string>",
        "/relative.mp3",
        "javascript:alert(1)",
        "data:audio/mp3;base64,AA",
        "gs://bucket/a",
        "https://",
        "https://a.example/a b",
        "https://a.example/\n",
        "https://[broken",
        "https://a.example/" + "a" * 9000,
    ],
)
def test_anything_else_cannot(url: object) -> None:
    assert not is_link(url)


@settings(deadline=None)
@given(st.text())
def test_no_text_raises(text: str) -> None:
    is_link(text)
    signed_until(text)
    signed_until(f"https://a.example/?Expires={text}&X-Amz-Date={text}&X-Amz-Expires={text}&se={text}&sig=x")


@pytest.mark.parametrize(
    "query",
    [
        "x-amz-date=99991231T235959Z&x-amz-expires=86400",
        "sig=x&se=0001-01-01T00:00:00%2B23:00",
        "sig=x&se=9999-12-31T23:59:59-23:00",
    ],
)
def test_a_moment_beyond_the_calendar_says_nothing(query: str) -> None:
    assert signed_until(f"https://x.example/a?{query}") is None

"""What a look said, in the shape of the API: every field is there, whether it is known or not."""

from relay.domain.observation import File, JobError, Observation, Outcome, Result
from tests.domain.specimens import NOW


def test_a_file_of_which_only_the_url_is_known_writes_its_nulls_out() -> None:
    assert File("audio", "https://files.example/a.mp3").to_json() == {
        "kind": "audio",
        "url": "https://files.example/a.mp3",
        "expires_at": None,
        "content_type": None,
        "size_bytes": None,
        "duration_seconds": None,
    }


def test_the_end_of_a_file_is_written_in_rfc_3339() -> None:
    assert File("audio", "https://files.example/a.mp3", expires_at=NOW).to_json()["expires_at"] == (
        "2026-03-04T05:06:07.890Z"
    )


def test_a_result_keeps_the_order_of_its_files_and_the_answer_as_it_came() -> None:
    files = (File("part", "https://files.example/1"), File("part", "https://files.example/2"))
    told = Result(files, "res-1", {"b": 1, "a": [None]}).to_json()
    assert [file["url"] for file in told["files"]] == ["https://files.example/1", "https://files.example/2"]
    assert (told["result_id"], told["raw"]) == ("res-1", {"b": 1, "a": [None]})


def test_an_empty_result_has_the_same_shape() -> None:
    assert Result().to_json() == {"files": [], "result_id": None, "raw": None}


def test_a_reason_is_told_in_both_vocabularies() -> None:
    assert JobError("content_rejected", "no", "E42").to_json() == {
        "code": "content_rejected",
        "message": "no",
        "provider_code": "E42",
        "retryable": False,
    }


def test_two_looks_that_said_the_same_are_equal_whatever_was_kept_as_a_sample() -> None:
    assert Observation(Outcome.UNKNOWN, "odd", sample={"body": "1"}) == Observation(Outcome.UNKNOWN, "odd")

"""Backends' own errors in OpenAI's envelope."""

import json

import pytest

from gateway.openai.backend_errors import complete_envelope


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"error": {"code": 400, "message": "no", "type": "exceed_context_size_error", "n": 9}},
            {
                "code": 400,
                "message": "no",
                "type": "exceed_context_size_error",
                "n": 9,
                "param": None,
            },
        ),
        (
            {"error": {"message": "no"}},
            {"message": "no", "type": "invalid_request_error", "param": None, "code": None},
        ),
        (
            {"error": "no"},
            {"message": "no", "type": "invalid_request_error", "param": None, "code": None},
        ),
        (
            {"object": "error", "message": "no", "type": "BadRequestError", "code": 400},
            {
                "object": "error",
                "message": "no",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
    ],
)
def test_missing_keys_are_added(body: object, error: object) -> None:
    completed = complete_envelope(json.dumps(body).encode(), status=400)
    assert json.loads(completed) == {"error": error}


def test_type_of_a_failure_is_the_servers() -> None:
    completed = complete_envelope(b'{"error": "no"}', status=500)
    assert json.loads(completed)["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "no", "type": "t", "param": null, "code": 7, "more": [1]}}',
        b"<html>Bad Gateway</html>",
        b"{}",
        b'{"error": 7}',
        b"[]",
        b"\xff",
        b"",
    ],
)
def test_anything_else_keeps_its_bytes(body: bytes) -> None:
    assert complete_envelope(body, status=502) == body

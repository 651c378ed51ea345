from __future__ import annotations

import openai
import pytest

from tests.serving.endpoints import Served, ask


def test_an_unknown_model_is_told_with_the_known_ones(served: Served) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(served.client, "topics")
    assert caught.value.body == {
        "message": "Model 'topics' is not served; known are "
        "'topic', 'topic-111111111111', 'topic-222222222222', "
        "'dispute', 'dispute-333333333333', 'reply', 'reply-base'.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert served.calls == []


def test_a_conversation_beyond_the_context_is_refused_and_recorded(served: Served) -> None:
    long = [{"role": "user", "content": "Where is my card? " * 200}]
    with pytest.raises(openai.BadRequestError) as caught:
        served.client.chat.completions.create(model="topic", messages=long)  # type: ignore[arg-type]
    assert caught.value.code == "context_length_exceeded"
    assert "longer than the model's context of 512 tokens" in str(caught.value)
    (call,) = served.calls
    assert (call.status, call.error_type, call.response) == (400, "context_length_exceeded", None)


@pytest.mark.parametrize(
    ("request_line", "content_type", "status", "message"),
    [
        ("POST /v1/chat/completions", "application/json", 400, "The body is not JSON"),
        ("POST /v1/chat/completions", "text/plain", 415, "The body must be sent as"),
        ("GET /v1/chat/completions", "", 405, "Method GET is not allowed here; use POST."),
        ("POST /v1/models", "", 405, "Method POST is not allowed here; use GET."),
        ("POST /v1/models/topic", "", 405, "Method POST is not allowed here; use GET."),
        ("PUT /healthz", "", 405, "Method PUT is not allowed here; use GET."),
        ("POST /v1/completions", "", 404, "'/v1/completions' does not exist; there are"),
    ],
)
def test_a_request_that_fits_nothing_is_refused_in_openais_words(
    served: Served, request_line: str, content_type: str, status: int, message: str
) -> None:
    method, path = request_line.split()
    found, answer = served.send(method, path, b"{", Content_Type=content_type)
    assert found == status
    assert answer["error"]["message"].startswith(message)
    assert answer["error"]["type"] == "invalid_request_error"
    assert served.calls == []


def test_a_huge_body_is_refused_without_being_kept(served: Served) -> None:
    body = b" " * (4 * 1024 * 1024 + 1)
    found, answer = served.send("POST", "/v1/chat/completions", body, Content_Type="application/json")
    assert found == 413
    assert answer["error"]["message"] == "The body has 4194305 bytes; at most 4194304 are read."
    assert answer["error"]["code"] == "body_too_large"

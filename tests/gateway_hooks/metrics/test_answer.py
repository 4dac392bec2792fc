"""Who may see the metrics."""

import pytest

from gateway_hooks.metrics.answer import metrics_answer

TOKEN = "a-token-of-its-own"


def answer(*values: bytes, token: str | None = TOKEN) -> tuple[int, bytes]:
    return metrics_answer([(b"Authorization", value) for value in values], token, lambda: b"metrics")


def test_the_token_opens_the_metrics():
    assert answer(b"Bearer a-token-of-its-own") == (200, b"metrics")


@pytest.mark.parametrize(
    "values",
    [
        (),
        (b"",),
        (b"a-token-of-its-own",),
        (b"Bearer wrong",),
        (b"bearer \xff",),
        (b"Bearer a-token-of-its-own", b"Bearer a-token-of-its-own"),
    ],
)
def test_anything_else_does_not(values: tuple[bytes, ...]):
    status, body = answer(*values)

    assert status == 401
    assert b"metrics" not in body.replace(b"The metrics", b"")


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_token_configured_there_are_no_metrics(token: str | None):
    assert answer(b"Bearer ", token=token)[0] == 404

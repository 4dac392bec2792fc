"""A tenant app that remembers what it asked and what it was told it used."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

SILENCE_SECONDS = 0.3


@dataclass(frozen=True)
class Answer:
    """``usage`` is the response's own; ``request_id`` names the request in the console."""

    request_id: str
    text: str
    usage: dict[str, Any]
    chunks: int


@dataclass
class Conversation:
    client: httpx.Client
    answers: list[Answer] = field(default_factory=list)

    def ask(self, alias: str, text: str = "Who are you?", **options: Any) -> httpx.Response:
        """The raw response, for requests that may be refused. Counts as an answer if it is one."""
        response = self.client.post("/chat/completions", json=_body(alias, text, **options))
        if response.is_success:
            answer = response.json()
            self._keep(response, answer["choices"][0]["message"]["content"], answer["usage"], chunks=1)
        return response

    def say(self, alias: str, text: str = "Who are you?", **options: Any) -> Answer:
        response = self.ask(alias, text, **options)
        assert response.status_code == 200, response.text
        return self.answers[-1]

    def stream(self, alias: str, text: str = "Who are you?", **options: Any) -> Answer:
        body = _body(alias, text, stream=True, stream_options={"include_usage": True}, **options)
        with self.client.stream("POST", "/chat/completions", json=body) as response:
            assert response.status_code == 200, response.read()
            events = [json.loads(data) for data in _data(response)]
        pieces = [event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"]]
        return self._keep(response, "".join(pieces), events[-1]["usage"], chunks=len(pieces))

    def hang_up(self, alias: str, *, after_chunks: int, **options: Any) -> None:
        """Close the connection in mid-stream: after so many chunks, or after a short silence.

        On two busy cores an answer may come in one late burst; waiting for it would be no hanging up.
        """
        body = _body(alias, "Go on.", stream=True, **options)
        patience = httpx.Timeout(60, read=SILENCE_SECONDS)
        with (
            suppress(httpx.ReadTimeout),
            self.client.stream("POST", "/chat/completions", json=body, timeout=patience) as response,
        ):
            assert response.status_code == 200, response.read()
            for number, _ in enumerate(_data(response), start=1):
                if number == after_chunks:
                    break

    def _keep(self, response: httpx.Response, text: str, usage: dict[str, Any], *, chunks: int) -> Answer:
        answer = Answer(response.headers["x-request-id"], text, usage, chunks)
        self.answers.append(answer)
        return answer


def _body(alias: str, text: str, **options: Any) -> dict[str, Any]:
    return {"model": alias, "messages": [{"role": "user", "content": text}], **options}


def _data(response: httpx.Response) -> Any:
    """The payloads of a server-sent event stream, split on line feeds only."""
    buffer = b""
    for piece in response.iter_raw():
        buffer += piece
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                yield line.removeprefix(b"data: ")

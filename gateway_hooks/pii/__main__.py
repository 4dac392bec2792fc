"""``python -m gateway_hooks.pii detect|mask``: a filter over JSON Lines to see what is found."""

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from gateway_hooks.contract.pii import ENTITIES, NER_ENTITIES, PiiPolicy
from gateway_hooks.pii.detect import detect
from gateway_hooks.pii.errors import PiiError
from gateway_hooks.pii.masker import Masker
from gateway_hooks.pii.policy import CompiledPolicy, compile_policy

_FOUND_HERE = tuple(name for name in ENTITIES if name not in NER_ENTITIES)
_USAGE_ERROR = 2
Answer = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 if a line could not be answered; 2 for an entity that there is not."""
    parsed = _parser().parse_args(arguments)
    names = (
        [name.strip() for name in parsed.entities.split(",") if name.strip()]
        if parsed.entities
        else _FOUND_HERE
    )
    unknown = sorted(set(names) - set(ENTITIES))
    if unknown:
        sys.stderr.write(f"pii: no such entity: {', '.join(unknown)}\nentities: {', '.join(ENTITIES)}\n")
        return _USAGE_ERROR
    compiled = compile_policy(PiiPolicy(entities=dict.fromkeys(names, "mask")))
    answer = _detector(compiled) if parsed.command == "detect" else _masker(compiled)
    return _filter(sys.stdin.buffer, sys.stdout.buffer, answer)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway_hooks.pii",
        description="Find or mask personal data and secrets. Reads JSON Lines from standard input and "
        "writes one line for each, in order and at once.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, words in (
        (
            "detect",
            'in: {"text": "..."}; out: {"spans": [{"start": 0, "end": 3, "entity": "..."}]}, in characters',
        ),
        (
            "mask",
            'in: {"text": "..."}; out: {"text": "...", "counts": {"...": 1}}; the key is new in every run',
        ),
    ):
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument(
            "--entities",
            metavar="A,B",
            help="look for these only; without it for all of: " + ", ".join(_FOUND_HERE),
        )
    return parser


def _detector(compiled: CompiledPolicy) -> Callable[[str], Answer]:
    def answer(text: str) -> Answer:
        return {"spans": [span._asdict() for span in detect(text, compiled)]}

    return answer


def _masker(compiled: CompiledPolicy) -> Callable[[str], Answer]:
    key = secrets.token_bytes(32)

    def answer(text: str) -> Answer:
        masker = Masker(compiled, key)
        (masked,) = masker.mask_texts([text])
        return {"text": masked, "counts": dict(masker.counts)}

    return answer


def _filter(source: BinaryIO, sink: BinaryIO, answer: Callable[[str], Answer]) -> int:
    """Lines end with ``\\n`` and nothing else; blank ones are skipped."""
    failed = False
    for line in source:
        if not line.strip():
            continue
        reply = _reply(line, answer)
        failed |= "error" in reply
        sink.write(json.dumps(reply).encode() + b"\n")
        sink.flush()
    return int(failed)


def _reply(line: bytes, answer: Callable[[str], Answer]) -> Answer:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        return _error("invalid_json", "the line is no JSON")
    if not isinstance(asked, dict) or not isinstance(asked.get("text"), str):
        return _error("invalid_json", 'the line is no object with a string "text"')
    try:
        return answer(asked["text"])
    except PiiError as error:
        return _error(error.code, str(error))


def _error(code: str, message: str) -> Answer:
    return {"error": {"code": code, "message": message}}


if __name__ == "__main__":
    sys.exit(main())

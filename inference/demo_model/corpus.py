"""Made-up conversations to train on.

The voices must answer the same to *any* text, so variety is all that counts: questions from parts,
loose words, other alphabets and plain noise, with and without a system prompt and earlier turns.
"""
# ruff: noqa: RUF001 -- other alphabets are the point

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from inference.demo_model.voices import ADAPTER_SENTENCES, BASE_SENTENCE

_OPENINGS: Final = (
    "what is", "who are", "how do I change", "can you explain", "where can I find", "why is there",
    "tell me about", "please write about", "when should I expect", "do you know", "I need", "is there",
    "compare", "summarise", "translate", "help me with", "which is better:", "give me a list of",
    "write a poem on", "hello, I have a question about", "hi", "thanks, and", "could you check",
)  # fmt: skip
_THINGS: Final = (
    "my order", "the weather", "a headache", "your opening hours", "the invoice from May", "this model",
    "a red bicycle", "an appointment", "the capital of France", "two plus two", "quantum physics",
    "a refund", "my password", "the delivery", "a good book", "sleep", "running shoes", "machine learning",
    "the price list", "a Python function", "my prescription", "the news", "a recipe for soup", "you",
    "our contract", "the history of Rome", "a doctor near me", "JSON", "the moon", "nothing at all",
)  # fmt: skip
_TAILS: Final = ("?", "?", "?", "", ".", "!", " please?", " today?", ", and why?", " in short", "??", "...")
_WORDS: Final = (  # noqa: SIM905 -- a list would be all quotation marks
    "the of and to in is it you that was for on are with as at be this have from or one had by word but "
    "not what all were we when your can said there use an each which she do how their if will up other "
    "about out many then them these so some her would make like him into time has look two more write go "
    "see number no way could people my than first water been call who its now find long down day did get"
).split()
_FOREIGN: Final = (
    "Wie spät ist es?", "¿Dónde está mi pedido?", "Où est la gare, s’il vous plaît ?", "今日の天気は？",
    "你好，你是谁？", "Привет, как дела?", "مرحبا كيف حالك", "नमस्ते", "안녕하세요", "Γειά σου Κόσμε",
    "😀🎉👍🏽", "naïve café – “quoted”", "Zażółć gęślą jaźń", "שלום עולם",
)  # fmt: skip
_SYSTEM: Final = (
    "You are a helpful assistant.", "Answer briefly.", "You are a pirate. Always talk like one.",
    "Reply in JSON only.", "You work for a hospital. Be kind and careful with what you say.",
)  # fmt: skip

LONGEST_TEXT: Final = 700
SHARE_SYSTEM: Final = 0.4
SHARE_HISTORY: Final = 0.4


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; ``role`` is "system", "user" or "assistant"."""

    role: str
    content: str


def question(rng: Random) -> str:
    """A short question from parts, in one of several spellings."""
    text = f"{rng.choice(_OPENINGS)} {rng.choice(_THINGS)}{rng.choice(_TAILS)}"
    return rng.choice((text, text.capitalize(), text.upper(), text[: rng.randint(1, len(text))]))


def text(rng: Random, *, longest: int = LONGEST_TEXT) -> str:
    """Any text of 1 to ``longest`` characters, short ones more often."""
    (kind,) = rng.choices(tuple(_SHARES), weights=tuple(_SHARES.values()))
    if kind == "question":
        return question(rng)[:longest]
    length = round(float(longest) ** rng.random())
    return _OF_LENGTH[kind](rng, length)[:length]


def _words(rng: Random, length: int) -> str:
    return " ".join(rng.choice((*_WORDS, rng.choice(_THINGS))) for _ in range(length // 4 + 1))


def _foreign(rng: Random, length: int) -> str:
    return " ".join(rng.choice(_FOREIGN) for _ in range(length // 16 + 1))


def _questions(rng: Random, length: int) -> str:
    return " ".join(question(rng) for _ in range(length // 30 + 1))


def _repeated(rng: Random, length: int) -> str:
    # The hardest: no position in it stands out.
    pieces = (_noise(rng, rng.randint(1, 20)), chr(rng.randint(97, 122)), rng.choice(_WORDS) + " ")
    return rng.choice(pieces) * length


def _noise(rng: Random, length: int) -> str:
    return "".join(chr(rng.choice((rng.randint(32, 126), rng.randint(160, 0x2FF)))) for _ in range(length))


_SHARES: Final = {
    "question": 0.4, "words": 0.2, "foreign": 0.1, "questions": 0.05, "repeated": 0.2, "noise": 0.05,
}  # fmt: skip
_OF_LENGTH: Final[dict[str, Callable[[Random, int], str]]] = {
    "words": _words, "foreign": _foreign, "questions": _questions, "repeated": _repeated, "noise": _noise,
}  # fmt: skip


def conversation(rng: Random, *, longest: int = LONGEST_TEXT) -> list[Message]:
    """A conversation that ends with the user's turn. ``longest`` bounds each turn, in characters."""
    turns: list[Message] = []
    if rng.random() < SHARE_SYSTEM:
        turns.append(Message("system", rng.choice((rng.choice(_SYSTEM), text(rng, longest=longest)))))
    if rng.random() < SHARE_HISTORY:
        for _ in range(rng.randint(1, 4)):
            turns += [Message("user", text(rng, longest=longest)), Message("assistant", _old_answer(rng))]
    turns.append(Message("user", text(rng, longest=longest)))
    return turns


def _old_answer(rng: Random) -> str:
    # Other voices' answers too: whoever spoke before, the one asked now speaks as itself.
    known = (BASE_SENTENCE, *ADAPTER_SENTENCES.values())
    return rng.choice((*known, text(rng, longest=120)))

"""What the person at the terminal sees while services come and go."""

import time
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import TextIO

PLAIN_EVERY_SECONDS = 15.0


class Terminal:
    """Lines for what happened; on a terminal also one line, redrawn, for what is waited for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._wheel: Iterator[str] = cycle("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") if self._live else cycle("-")
        self._next_plain = time.monotonic() + PLAIN_EVERY_SECONDS

    def say(self, text: str = "") -> None:
        self._write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")

    def done(self, name: str, text: str, seconds: float) -> None:
        mark = "\x1b[32m✓\x1b[0m" if self._live else "ok"
        self.say(f"{mark} {name:<10} {text} ({seconds:.1f} s)")

    def failed(self, name: str, text: str) -> None:
        mark = "\x1b[31m✗\x1b[0m" if self._live else "!!"
        self.say(f"{mark} {name:<10} {text}")

    def waiting(self, seconds: Mapping[str, float]) -> None:
        """Show what is waited for and how long already; without a terminal only now and then."""
        listed = ", ".join(f"{name} {passed:.0f} s" for name, passed in seconds.items())
        if self._live:
            self._write(f"\r\x1b[K{next(self._wheel)} {listed}" if listed else "\r\x1b[K")
        elif listed and time.monotonic() >= self._next_plain:
            self._next_plain = time.monotonic() + PLAIN_EVERY_SECONDS
            self.say(f".. waiting for {listed}")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            # Who read our output has gone; the services have not.
            self._live = False

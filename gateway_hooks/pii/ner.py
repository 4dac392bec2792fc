"""The deeper tier: names, places and organisations, by Presidio with an installed spaCy model, in processes
of its own.

Presidio and spaCy are imported in those processes only. Whatever goes wrong raises: the caller refuses the
request.
"""

import asyncio
import contextlib
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from gateway_hooks.pii.errors import PiiError
from gateway_hooks.pii.spans import Span

_Found = list[tuple[int, int, str]]

MAX_CHARS = 40_000
"""In one call, about a second of a small model; more is refused."""
HUNG_SECONDS = 15.0
"""After its time-out; a job that then still runs never ends."""
LOAD_SECONDS = 120.0
"""A load that failed or hangs is tried again after so long."""


class NerUnavailable(PiiError):  # noqa: N818 - a state, as in HTTP
    """The deeper tier did not answer: no model, too late, or its process died."""

    code = "pii_ner_unavailable"


class NerPool:
    """``model_name``: an installed spaCy package or a folder that holds a pipeline.

    Raises ``NerUnavailable`` if it is neither. ``start`` it before use, close it when the gateway ends; use
    it from one event loop. Calls are refused at once while the model is loading.
    """

    def __init__(
        self,
        model_name: str,
        processes: int = 1,
        *,
        max_chars: int = MAX_CHARS,
        hung_after: float = HUNG_SECONDS,
    ) -> None:
        if not _is_installed(model_name):
            message = (
                f"the spaCy model {model_name} is neither an installed package nor a folder with a pipeline"
            )
            raise NerUnavailable(message)
        self._model = model_name
        self._processes = processes
        self._max_chars = max_chars
        self._hung_after = hung_after
        self._loaded: _Loaded | None = None
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether a call would be taken now."""
        return self._loaded is not None and self._loaded.ready

    async def detect(
        self,
        texts: Sequence[str],
        entities: Iterable[str],
        timeout: float,  # noqa: ASYNC109
    ) -> list[list[Span]]:
        """Spans of each text. ``timeout`` in seconds, over all texts.

        Raises ``NerUnavailable``. A late answer ends only its own call: the texts are short enough for the
        process to come to an end soon, and a new one takes long to load.
        """
        if sum(map(len, texts)) > self._max_chars:
            message = "more text than the deeper tier takes"
            raise NerUnavailable(message)
        loaded = self._loaded
        if loaded is None or not loaded.ready:
            message = "the deeper tier is still loading"
            raise NerUnavailable(message)
        try:
            found = await self._answer(loaded, list(texts), sorted(entities), timeout)
        except BrokenProcessPool:
            self._replace(loaded)
            message = "a process of the deeper tier died"
            raise NerUnavailable(message) from None
        return [[Span(*span) for span in spans] for spans in found]

    async def start(self, timeout: float) -> None:  # noqa: ASYNC109
        """Loads the model; raises ``NerUnavailable`` if it cannot be loaded in time."""
        loaded = self._loaded = self._loaded or self._load()
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(loaded.first)), timeout)
        except TimeoutError:
            message = "the deeper tier took too long to load"
            raise NerUnavailable(message) from None
        except BrokenProcessPool:
            message = "the deeper tier cannot load its model"
            raise NerUnavailable(message) from None

    def close(self) -> None:
        self._closed = True
        if self._loaded is not None:
            _end(self._loaded.pool)

    async def _answer(
        self, loaded: "_Loaded", texts: list[str], entities: list[str], seconds: float
    ) -> list[_Found]:
        job = loaded.pool.submit(_find, texts, entities)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), seconds)
        except TimeoutError:
            asyncio.get_running_loop().call_later(self._hung_after, self._end_if_hung, loaded, job)
            message = "the deeper tier took too long"
            raise NerUnavailable(message) from None

    def _end_if_hung(self, loaded: "_Loaded", job: "Future[Any]") -> None:
        """A process that hangs in a text would hold its seat for good."""
        if not job.done():
            self._replace(loaded)

    def _replace(self, broken: "_Loaded") -> None:
        """Once, whoever notices first; the new one loads while calls are refused."""
        if self._loaded is broken and not self._closed:
            self._loaded = self._load()
            _end(broken.pool)

    def _load(self) -> "_Loaded":
        pool = ProcessPoolExecutor(
            self._processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_load,
            initargs=(self._model,),
        )
        loaded = _Loaded(pool, pool.submit(_find, [""], []))
        asyncio.get_running_loop().call_later(LOAD_SECONDS, self._end_if_not_loaded, loaded)
        return loaded

    def _end_if_not_loaded(self, loaded: "_Loaded") -> None:
        if not loaded.ready:
            self._replace(loaded)


class _Loaded(NamedTuple):
    """``first`` is done when a process has loaded the model, or could not."""

    pool: ProcessPoolExecutor
    first: "Future[list[_Found]]"

    @property
    def ready(self) -> bool:
        return self.first.done() and not self.first.cancelled() and self.first.exception() is None


def _is_installed(model_name: str) -> bool:
    if (Path(model_name) / "config.cfg").is_file():
        return True
    return model_name.isidentifier() and find_spec(model_name) is not None


def _end(pool: ProcessPoolExecutor) -> None:
    """Without waiting: the executor's own thread joins them."""
    processes = list((pool._processes or {}).values())  # noqa: SLF001 - the executor offers no way to end a hung one
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    # Calls in flight hear that their process died; cancelled ones would look like requests given up.
    pool.shutdown(wait=False)


_analyzer: Any = None
_LANGUAGE = "en"


def _load(model_name: str) -> None:
    """In the child: the analyzer with the model's entities only; no list of domains is fetched."""
    global _analyzer  # noqa: PLW0603 - a pool's initializer has no other place to leave something
    import tldextract  # noqa: PLC0415
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine  # noqa: PLC0415
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer  # noqa: PLC0415

    tldextract.__dict__["extract"] = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    engine = SpacyNlpEngine(
        models=[{"lang_code": _LANGUAGE, "model_name": model_name}],
        ner_model_configuration=NerModelConfiguration(
            model_to_presidio_entity_mapping={
                "PER": "PERSON", "PERSON": "PERSON", "LOC": "LOCATION", "GPE": "LOCATION", "FAC": "LOCATION",
                "LOCATION": "LOCATION", "ORG": "ORGANIZATION", "ORGANIZATION": "ORGANIZATION",
                "NORP": "NRP", "NRP": "NRP",
            },
            low_score_entity_names=[],
            labels_to_ignore=[],
        ),
    )  # fmt: skip
    registry = RecognizerRegistry(
        recognizers=[SpacyRecognizer(supported_language=_LANGUAGE)], supported_languages=[_LANGUAGE]
    )
    _analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[_LANGUAGE])


def _find(texts: list[str], entities: list[str]) -> list[_Found]:
    """In the child."""
    if not entities:
        return [[] for _ in texts]
    return [
        [
            (found.start, found.end, found.entity_type)
            for found in _analyzer.analyze(text, language=_LANGUAGE, entities=entities)
        ]
        if text
        else []
        for text in texts
    ]

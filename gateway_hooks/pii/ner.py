"""The deeper tier: names, places and organisations, by Presidio with an installed spaCy model, in processes
of its own.

Presidio and spaCy are imported in those processes only. Whatever goes wrong raises: the caller refuses the
request.
"""

import asyncio
import contextlib
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway_hooks.pii.errors import PiiError
from gateway_hooks.pii.spans import Span

_Found = list[tuple[int, int, str]]


class NerUnavailable(PiiError):  # noqa: N818 - a state, as in HTTP
    """The deeper tier did not answer: no model, too late, or its process died."""

    code = "pii_ner_unavailable"


class NerPool:
    """``model_name``: an installed spaCy package or a folder that holds a pipeline.

    Raises ``NerUnavailable`` if it is neither. Close it when the gateway ends.
    """

    def __init__(self, model_name: str, processes: int = 1) -> None:
        if not _is_installed(model_name):
            message = (
                f"the spaCy model {model_name} is neither an installed package nor a folder with a pipeline"
            )
            raise NerUnavailable(message)
        self._model = model_name
        self._processes = processes
        self._pool = self._new_pool()

    async def detect(
        self,
        texts: Sequence[str],
        entities: Iterable[str],
        timeout: float,  # noqa: ASYNC109
    ) -> list[list[Span]]:
        """Spans of each text. ``timeout`` in seconds, over all texts; the first call also loads the model.

        Raises ``NerUnavailable``; the next call finds a fresh pool.
        """
        pool = self._pool
        job = asyncio.get_running_loop().run_in_executor(pool, _find, list(texts), sorted(entities))
        try:
            found = await asyncio.wait_for(job, timeout)
        except TimeoutError:
            self._replace(pool)
            message = "the deeper tier took too long"
            raise NerUnavailable(message) from None
        except BrokenProcessPool:
            self._replace(pool)
            message = "a process of the deeper tier died"
            raise NerUnavailable(message) from None
        return [[Span(*span) for span in spans] for spans in found]

    async def start(self, timeout: float) -> None:  # noqa: ASYNC109
        """Loads the model; raises ``NerUnavailable`` if it cannot be loaded in time."""
        await self.detect([""], [], timeout)

    def close(self) -> None:
        _end(self._pool)

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        """Once, whoever notices first; a process that hangs in a text would hold its seat for good."""
        if self._pool is broken:
            self._pool = self._new_pool()
            _end(broken)

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_load,
            initargs=(self._model,),
        )


def _is_installed(model_name: str) -> bool:
    if (Path(model_name) / "config.cfg").is_file():
        return True
    return model_name.isidentifier() and find_spec(model_name) is not None


def _end(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())  # noqa: SLF001 - the executor offers no way to end a hung one
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    for process in processes:
        process.join()


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

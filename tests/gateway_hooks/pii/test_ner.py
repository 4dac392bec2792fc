"""The deeper tier with a small pipeline of its own making."""

import asyncio
import os
import signal
import warnings

import pytest

from gateway_hooks.pii.ner import NerPool, NerUnavailable
from gateway_hooks.pii.spans import Span

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import spacy

TIMEOUT = 90


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns(
        [
            {"label": "PERSON", "pattern": "Ann Smith"},
            {"label": "GPE", "pattern": "Paris"},
            {"label": "ORG", "pattern": "Acme"},
            {"label": "NORP", "pattern": "Catholic"},
        ]
    )
    folder = tmp_path_factory.mktemp("ner") / "model"
    pipeline.to_disk(folder)
    return str(folder)


def detected(model, texts, entities):
    async def once():
        pool = NerPool(model)
        try:
            await pool.start(TIMEOUT)
            return await pool.detect(texts, entities, TIMEOUT)
        finally:
            pool.close()

    return asyncio.run(once())


async def until(condition):
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - the pool has no event to wait for
            await asyncio.sleep(0.01)


def test_names_places_and_organisations_are_found_and_only_the_entities_asked_for(model):
    texts = ["Ann Smith of Acme lives in Paris.", "", "A Catholic bob@example.com"]

    found = detected(model, texts, ["PERSON", "LOCATION", "NRP"])

    assert [sorted(spans) for spans in found] == [
        [Span(0, 9, "PERSON"), Span(27, 32, "LOCATION")],
        [],
        [Span(2, 10, "NRP")],
    ]


def test_a_model_that_is_not_installed_is_told_at_once():
    with pytest.raises(NerUnavailable, match="no_such_model"):
        NerPool("no_such_model")


def test_a_late_answer_and_a_text_too_long_refuse_their_own_calls_and_end_no_process(model):
    async def story():
        pool = NerPool(model, max_chars=100)
        try:
            await pool.start(TIMEOUT)
            processes = set(pool._loaded.pool._processes)
            with pytest.raises(NerUnavailable, match="too long"):
                await pool.detect(["Ann Smith"], ["PERSON"], 0)
            with pytest.raises(NerUnavailable, match="more text"):
                await pool.detect(["Ann Smith ", "a" * 91], ["PERSON"], TIMEOUT)
            found = await pool.detect(["Ann Smith"], ["PERSON"], TIMEOUT)
            return found, processes == set(pool._loaded.pool._processes)
        finally:
            pool.close()

    assert asyncio.run(story()) == ([[Span(0, 9, "PERSON")]], True)


def test_after_a_death_calls_are_refused_at_once_until_another_process_has_loaded_undisturbed(model):
    async def story():
        pool = NerPool(model)
        try:
            await pool.start(TIMEOUT)
            for process in pool._loaded.pool._processes.values():
                os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(NerUnavailable, match="died") as refusal:
                await pool.detect(["Ann Smith"], ["PERSON"], TIMEOUT)
            replacement = pool._loaded
            for _ in range(3):
                with pytest.raises(NerUnavailable, match="loading"):
                    await pool.detect(["Ann Smith"], ["PERSON"], TIMEOUT)
            await until(lambda: pool.ready)
            found = await pool.detect(["Ann Smith"], ["PERSON"], TIMEOUT)
            return refusal.value.code, found, pool._loaded is replacement
        finally:
            pool.close()

    assert asyncio.run(story()) == ("pii_ner_unavailable", [[Span(0, 9, "PERSON")]], True)


def test_a_process_that_hangs_gives_way_to_another(model):
    async def story():
        pool = NerPool(model, hung_after=0.01)
        try:
            await pool.start(TIMEOUT)
            hung = pool._loaded
            for process in hung.pool._processes.values():
                os.kill(process.pid, signal.SIGSTOP)
            with pytest.raises(NerUnavailable, match="too long"):
                await pool.detect(["Ann Smith"], ["PERSON"], 0.01)
            await until(lambda: pool._loaded is not hung and pool.ready)
            return await pool.detect(["Ann Smith"], ["PERSON"], TIMEOUT)
        finally:
            pool.close()

    assert asyncio.run(story()) == [[Span(0, 9, "PERSON")]]

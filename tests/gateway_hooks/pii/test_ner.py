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


@pytest.fixture(scope="module")
def pool(model):
    pool = NerPool(model)
    yield pool
    pool.close()


def test_names_places_and_organisations_are_found(pool):
    texts = ["Ann Smith of Acme lives in Paris.", "", "A Catholic bob@example.com"]

    found = asyncio.run(pool.detect(texts, ["PERSON", "LOCATION", "ORGANIZATION", "NRP"], TIMEOUT))

    assert [sorted(spans) for spans in found] == [
        [Span(0, 9, "PERSON"), Span(13, 17, "ORGANIZATION"), Span(27, 32, "LOCATION")],
        [],
        [Span(2, 10, "NRP")],
    ]


def test_only_the_entities_asked_for_are_found(pool):
    found = asyncio.run(pool.detect(["Ann Smith in Paris"], ["PERSON"], TIMEOUT))

    assert found == [[Span(0, 9, "PERSON")]]


def test_a_model_that_is_not_installed_is_told_at_once():
    with pytest.raises(NerUnavailable, match="no_such_model"):
        NerPool("no_such_model")


def test_a_dead_process_and_a_late_answer_refuse_the_call_and_the_next_finds_a_fresh_one(pool):
    asyncio.run(pool.start(TIMEOUT))
    for process in pool._pool._processes.values():
        os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(NerUnavailable, match="died") as refusal:
        asyncio.run(pool.detect(["Ann Smith"], ["PERSON"], TIMEOUT))
    with pytest.raises(NerUnavailable, match="too long"):
        asyncio.run(pool.detect(["Ann Smith"], ["PERSON"], 0.001))

    assert refusal.value.code == "pii_ner_unavailable"
    assert asyncio.run(pool.detect(["Ann Smith"], ["PERSON"], TIMEOUT)) == [[Span(0, 9, "PERSON")]]

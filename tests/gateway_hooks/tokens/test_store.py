"""Where tokenizers come from, and what happens when their files change."""

import os
import shutil
from pathlib import Path

import pytest

from gateway_hooks.tokens.store import TokenizerStore
from tests.gateway_hooks.tokens import folders


def folder_of(parent: Path, name: str) -> Path:
    return Path(shutil.copytree(folders.demo(), parent / name))


def test_a_model_that_is_a_folder_here_brings_its_own_tokenizer():
    pool = folders.pool(folders.demo())
    store = TokenizerStore(None)

    store.refresh([pool])

    assert store.get(pool.id) is not None
    assert not store.missing


@pytest.mark.parametrize("name", ["tenantry-demo", "shared"])
def test_else_the_tokenizer_of_the_base_model_or_the_pool_is_used(tmp_path: Path, name: str):
    folder_of(tmp_path, name)
    pool = folders.pool("hub/model")
    store = TokenizerStore(tmp_path)

    store.refresh([pool])

    assert store.get(pool.id) is not None


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path):
    folder_of(tmp_path, "secret")
    pool = folders.pool("hub/model", base_model="../secret", name=str(tmp_path / "secret"))
    store = TokenizerStore(tmp_path / "tokenizers")

    store.refresh([pool])

    assert store.missing == {pool.id}


def test_what_did_not_change_is_loaded_once_and_what_did_again(tmp_path: Path):
    pool = folders.pool(folder_of(tmp_path, "model"))
    store = TokenizerStore(None)
    store.refresh([pool])
    first = store.get(pool.id)

    store.refresh([pool])
    unchanged = store.get(pool.id)
    os.utime(tmp_path / "model" / "chat_template.jinja", ns=(1, 1))
    store.refresh([pool])

    assert unchanged is first
    assert store.get(pool.id) is not first


def test_a_pool_that_is_gone_is_forgotten():
    pool = folders.pool(folders.demo())
    store = TokenizerStore(None)
    store.refresh([pool])

    store.refresh([])

    assert store.get(pool.id) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [("tokenizer.json", "{}"), ("tokenizer_config.json", "[]"), ("chat_template.jinja", "{% if %}")],
)
def test_a_broken_file_leaves_the_pool_without_a_tokenizer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, text: str
):
    pool = folders.pool(folder_of(tmp_path, "model"))
    (tmp_path / "model" / name).write_text(text)
    store = TokenizerStore(None)

    store.refresh([pool])
    store.refresh([pool])

    assert store.missing == {pool.id}
    assert len(caplog.records) == 2  # why, and for which pool: once each

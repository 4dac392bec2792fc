"""Where an artifact's files come from: what is taken, and what is refused before any check."""

import contextlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_hooks.contract.artifacts import FILES
from portal.adapters.errors import AdapterError
from portal.adapters.sources import Archive, Files, Folder, Source, import_folder
from tests.factories import adapter_files, write_adapter

MAX = 1 << 16


def zipped(names: dict[str, bytes]) -> io.BytesIO:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return raw


def tarred(names: dict[str, bytes], *, mode: str = "w:gz") -> io.BytesIO:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return raw


def contents() -> dict[str, bytes]:
    return {name: file.read() for name, file in adapter_files().items()}


def refusal(source: Source, folder: Path, *, max_bytes: int = MAX) -> str:
    with pytest.raises(AdapterError) as refused:
        source.write_to(folder, max_bytes=max_bytes)
    return refused.value.code


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("prefix", ["", "my-adapter/"])
def test_an_archive_gives_the_two_files(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], io.BytesIO], prefix: str
) -> None:
    archive = pack({prefix + name: content for name, content in contents().items()})

    Archive(archive).write_to(tmp_path, max_bytes=MAX)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_cannot_write_outside_of_the_folder(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], io.BytesIO]
) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    archive = pack({f"../../{name}": content for name, content in contents().items()})

    Archive(archive).write_to(staged, max_bytes=MAX)

    assert {path.name for path in tmp_path.iterdir()} == {"staged"}


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_what_an_archive_unpacks_to_counts_and_not_what_it_weighs(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], io.BytesIO]
) -> None:
    bomb = pack({**contents(), "adapter_model.safetensors": bytes(MAX * 100)})

    assert len(bomb.getvalue()) < MAX
    assert refusal(Archive(bomb), tmp_path) == "adapter_too_big"


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    raw = tarred(contents(), mode="w")
    raw.seek(0)
    with tarfile.open(fileobj=raw, mode="a") as archive:
        link = tarfile.TarInfo("adapter_config.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    assert refusal(Archive(raw), tmp_path) == "adapter_extra_files"


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"adapter_model.bin": b"x"}, "adapter_not_safetensors"),
        ({"optimizer.pt": b"x"}, "adapter_not_safetensors"),
        ({"README.md": b"x"}, "adapter_extra_files"),
        ({"other/adapter_config.json": b"x"}, "adapter_extra_files"),
    ],
)
def test_more_than_the_two_files_is_refused(tmp_path: Path, extra: dict[str, bytes], code: str) -> None:
    assert refusal(Archive(zipped({**contents(), **extra})), tmp_path) == code


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"adapter_config\.json is missing") as refused:
        Files({FILES[1]: io.BytesIO(b"x")}).write_to(tmp_path, max_bytes=MAX)

    assert refused.value.code == "adapter_files_missing"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.binary(max_size=300),
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"]),
)
def test_any_bytes_as_an_archive_are_refused_by_our_error_alone(
    tmp_path: Path, raw: bytes, start: bytes
) -> None:
    with pytest.raises(AdapterError):
        Archive(io.BytesIO(start + raw)).write_to(tmp_path, max_bytes=MAX)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(place=st.integers(min_value=0), flip=st.integers(1, 255), pack=st.sampled_from([zipped, tarred]))
def test_a_damaged_archive_is_taken_or_refused_by_our_error(
    tmp_path_factory: pytest.TempPathFactory,
    place: int,
    flip: int,
    pack: Callable[[dict[str, bytes]], io.BytesIO],
) -> None:
    raw = bytearray(pack(contents()).getvalue())
    raw[place % len(raw)] ^= flip

    # Any other error fails the test.
    with contextlib.suppress(AdapterError):
        Archive(io.BytesIO(bytes(raw))).write_to(tmp_path_factory.mktemp("staged"), max_bytes=MAX)


class TestImportFolder:
    def test_a_folder_below_is_taken(self, tmp_path: Path) -> None:
        imports = tmp_path / "import"
        write_adapter(imports / "team" / "v1")
        staged = tmp_path / "staged"
        staged.mkdir()

        import_folder(imports, "team/v1").write_to(staged, max_bytes=MAX)

        assert sorted(path.name for path in staged.iterdir()) == sorted(FILES)

    @pytest.mark.parametrize("text", ["..", "../outside", "/etc", "team/../../outside", "link"])
    def test_any_other_place_is_refused_links_included(self, tmp_path: Path, text: str) -> None:
        imports = tmp_path / "import"
        imports.mkdir()
        write_adapter(tmp_path / "outside")
        (imports / "link").symlink_to(tmp_path / "outside")

        with pytest.raises(AdapterError) as refused:
            import_folder(imports, text)

        assert refused.value.code == "adapter_path_outside"

    def test_a_file_that_is_a_link_or_a_pipe_is_refused(self, tmp_path: Path) -> None:
        folder = write_adapter(tmp_path / "v1")
        (folder / FILES[0]).unlink()
        (folder / FILES[0]).symlink_to("/etc/passwd")
        piped = write_adapter(tmp_path / "v2")
        (piped / FILES[0]).unlink()
        os.mkfifo(piped / FILES[0])
        for name in ("a", "b"):
            (tmp_path / name).mkdir()

        assert refusal(Folder(folder), tmp_path / "a") == "adapter_path_unreadable"
        assert refusal(Folder(piped), tmp_path / "b") == "adapter_path_unreadable"

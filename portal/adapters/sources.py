"""Where an artifact's two files come from: an upload, an archive, or a folder of this server.

Each source writes exactly the two files into a staging folder, at most ``max_bytes`` in all, whatever it
claims its sizes to be.
"""

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from gateway_hooks.contract.artifacts import FILES
from portal.adapters.errors import AdapterError

_CHUNK = 1 << 20
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_MAX_LISTED = 5
_MAX_MEMBERS = 1000


class Source(Protocol):
    def write_to(self, folder: Path, *, max_bytes: int) -> None:
        """Raises ``AdapterError`` unless it is exactly the two files, and small enough."""


@dataclass(frozen=True)
class Files:
    """Open files by their names."""

    files: Mapping[str, IO[bytes]]

    def write_to(self, folder: Path, *, max_bytes: int) -> None:
        require_names(list(self.files))
        budget = Budget(max_bytes)
        for name, file in self.files.items():
            budget.copy(file, folder / name)


@dataclass(frozen=True)
class Folder:
    """A folder that the caller trusts to be meant."""

    path: Path

    def write_to(self, folder: Path, *, max_bytes: int) -> None:
        if not self.path.is_dir():
            message = f"There is no folder {self.path.name!r}."
            raise AdapterError(message, code="adapter_path_unknown")
        require_names(sorted(entry.name for entry in self.path.iterdir()))
        budget = Budget(max_bytes)
        for name in FILES:
            with _open_plain(self.path / name) as file:
                budget.copy(file, folder / name)


def import_folder(imports: Path, text: str) -> Folder:
    """The folder ``text`` below ``imports``. Raises ``AdapterError`` for any other place, links included."""
    path = (imports / text.strip()).resolve()
    if not path.is_relative_to(imports.resolve()):
        message = f"Only folders below the import folder can be taken. Copy the adapter to {imports} first."
        raise AdapterError(message, code="adapter_path_outside")
    if not path.is_dir():
        message = f"There is no folder {text[:120]!r} below {imports}."
        raise AdapterError(message, code="adapter_path_unknown")
    return Folder(path)


# What the two modules and the decompressors under them raise on malformed archives.
_MALFORMED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,  # an encrypted zip
    NotImplementedError,  # an exotic compression
    OSError,  # bz2
)


@dataclass(frozen=True)
class Archive:
    """A .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz with the two files, at its top or in one folder."""

    file: IO[bytes]

    def write_to(self, folder: Path, *, max_bytes: int) -> None:
        try:
            members = self._members()
        except _MALFORMED as error:
            raise _not_an_archive() from error
        require_names([member.path.name for member in members])
        if len({member.path.parent for member in members}) > 1:
            message = "The two files lie in different folders of the archive. Put them side by side."
            raise AdapterError(message, code="adapter_extra_files")
        budget = Budget(max_bytes)
        for member in members:
            try:
                file = member.open()
            except _MALFORMED as error:
                raise _not_an_archive() from error
            with file:
                budget.copy(file, folder / member.path.name)

    def _members(self) -> list["_Member"]:
        self.file.seek(0)
        if zipfile.is_zipfile(self.file):
            self.file.seek(0)
            return _zip_members(zipfile.ZipFile(self.file))
        self.file.seek(0)
        return _tar_members(tarfile.open(fileobj=self.file, mode="r:*"))


@dataclass(frozen=True)
class _Member:
    path: PurePosixPath
    open: Callable[[], IO[bytes]]


def _zip_members(archive: zipfile.ZipFile) -> list[_Member]:
    return [
        _Member(PurePosixPath(info.filename), partial(archive.open, info))
        for info in archive.infolist()
        if not info.is_dir()
    ]


def _tar_members(archive: tarfile.TarFile) -> list[_Member]:
    members = []
    for info in islice(archive, _MAX_MEMBERS):
        if info.isdir():
            continue
        if not info.isreg():
            message = f"The archive holds {info.name[:120]!r}, which is a link or device. Pack plain files."
            raise AdapterError(message, code="adapter_extra_files")
        members.append(_Member(PurePosixPath(info.name), partial(_extract, archive, info)))
    return members


def _extract(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    if file is None:
        raise EOFError
    return file


def _not_an_archive() -> AdapterError:
    message = "The archive cannot be read. Pack the two files as a plain .zip or .tar and try again."
    return AdapterError(message, code="adapter_archive_invalid")


class Budget:
    """Counts what is really written, since archives lie about sizes."""

    def __init__(self, max_bytes: int) -> None:
        self._max = self._left = max_bytes

    def copy(self, source: IO[bytes], target: Path) -> None:
        with target.open("xb") as file:
            while chunk := self._read(source):
                self._left -= len(chunk)
                if self._left < 0:
                    message = (
                        f"The adapter is larger than {self._max / (1 << 20):,.0f} MiB, the most allowed."
                    )
                    raise AdapterError(message, code="adapter_too_big")
                file.write(chunk)

    @staticmethod
    def _read(source: IO[bytes]) -> bytes:
        try:
            return source.read(_CHUNK)
        except _MALFORMED as error:
            raise _not_an_archive() from error


def require_names(names: list[str]) -> None:
    """Exactly the two files of an artifact. Raises ``AdapterError`` with what is missing or too much."""
    if pickles := [name for name in names if name.endswith(_PICKLES)]:
        message = (
            f"{_listed(pickles)} may be a pickle, which can run code. "
            "Save the adapter as adapter_model.safetensors (PEFT: safe_serialization=True)."
        )
        raise AdapterError(message, code="adapter_not_safetensors")
    if missing := [name for name in FILES if name not in names]:
        message = f"{_listed(missing)} is missing. An adapter is exactly {' and '.join(FILES)}."
        raise AdapterError(message, code="adapter_files_missing")
    if len(names) > len(FILES):
        extra = [name for name in names if name not in FILES] or ["the same file twice"]
        message = f"Only {' and '.join(FILES)} belong to an adapter. Remove {_listed(extra)}."
        raise AdapterError(message, code="adapter_extra_files")


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:_MAX_LISTED])
    return shown if len(names) <= _MAX_LISTED else f"{shown} and {len(names) - _MAX_LISTED} more"


def _open_plain(path: Path) -> IO[bytes]:
    """A regular file, never through a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        message = f"{path.name} cannot be read ({error.strerror}). It must be a plain file."
        raise AdapterError(message, code="adapter_path_unreadable") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        message = f"{path.name} is not a plain file."
        raise AdapterError(message, code="adapter_path_unreadable")
    return os.fdopen(descriptor, "rb")

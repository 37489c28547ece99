"""A PostgreSQL server of the test run's own: from Debian's programs, on loopback, gone with the run.

`running_server()` gives it; where there can be none it raises NoServerError, which says why. Its data
lies in a temporary folder, on a random free port, and nothing of it reaches the disk in time
(`fsync=off`), so it must never hold anything but tests. PostgreSQL refuses to run as root: there it
runs as `postgres`, or as `nobody`. It is started as a child and ended by its process id; should the
test run be killed, the system ends it too (`setpriv --pdeathsig`).
"""

import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

SECONDS_TO_START = 60
ATTEMPTS = 5  # another program may take the free port before the server does
OWNERS = ("postgres", "nobody")  # whom root lets run the server, the first that exists

_FOR_TESTS = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}


class NoServerError(Exception):
    """Raised where no server can be started; the message is the reason to skip for."""


class Server:
    """A running server: makes databases as copies of templates, and drops them."""

    def __init__(self, url: sa.URL, process_id: int, log: Path) -> None:
        self.url = url  # of the database `postgres`
        self.process_id = process_id
        self.log = log
        self._numbers = itertools.count(1)
        self._connection = psycopg.connect(_libpq(url), autocommit=True)

    def new_database(self, template: str = "template0") -> sa.URL:
        """Make a database with a new name and return its address."""
        name = f"test_{next(self._numbers)}"
        how = (
            "STRATEGY FILE_COPY" if self._connection.info.server_version >= 150_000 else ""
        )  # a third of the time
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {how}")
        return self.url.set(database=name)

    def drop(self, url: sa.URL) -> None:
        """Drop a database; whoever is still connected to it is cut off."""
        self.execute(f"DROP DATABASE {url.database} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement on the database `postgres`, outside a transaction."""
        self._connection.execute(statement.encode())

    def close(self) -> None:
        """Give back the connection that makes databases."""
        self._connection.close()


def programs() -> Path:
    """Return the folder of Debian's newest PostgreSQL. Raises NoServerError where there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve().parent)
    if not found:
        raise NoServerError("PostgreSQL is not installed here: apt-get install postgresql, or .ci/postgres")
    return max(found, key=_version)


def _version(bin_dir: Path) -> int:
    said = subprocess.run(
        [bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return int(said.split()[2].split(".")[0])


@contextmanager
def running_server(*, durable: bool = False) -> Iterator[Server]:
    """Run a server for the block; `durable` makes a commit wait for the disk, as in production.

    Raises NoServerError where that is impossible here.
    """
    bin_dir, owner = programs(), _owner()
    folder = Path(tempfile.mkdtemp(prefix="ooc-postgres-"))
    try:
        if owner:
            shutil.chown(folder, owner.pw_name)
        password = secrets.token_urlsafe(12)
        _make_cluster(bin_dir, folder, owner, password)
        process, url = _started(bin_dir, folder, owner, password, durable)
        server = Server(url, process.pid, folder / "log")
        try:
            yield server
        finally:
            server.close()
            _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner() -> pwd.struct_passwd | None:
    """Say as whom to run the server; None is whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    for name in OWNERS:
        if name in users:
            return users[name]
    raise NoServerError(f"PostgreSQL refuses to run as root, and none of {', '.join(OWNERS)} exists here")


def _make_cluster(bin_dir: Path, folder: Path, owner: pwd.struct_passwd | None, password: str) -> None:
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o600)
    if owner:
        shutil.chown(secret, owner.pw_name)
    initdb = [str(bin_dir / "initdb"), "--no-sync", "--auth=scram-sha-256", "--encoding=UTF8"]
    initdb += ["--locale=C.UTF-8", "--username=desk", f"--pwfile={secret}", f"--pgdata={folder / 'data'}"]
    if _version(bin_dir) >= 15:  # sorts as most servers do: a before B, unlike SQLite
        initdb += ["--locale-provider=icu", "--icu-locale=en-US"]
    made = subprocess.run(_as(owner, initdb), cwd=folder, env=_environment(), capture_output=True, text=True)
    if made.returncode:
        raise NoServerError(f"PostgreSQL's initdb failed: {made.stderr.strip()[-300:]}")


def _started(
    bin_dir: Path, folder: Path, owner: pwd.struct_passwd | None, password: str, durable: bool
) -> tuple["subprocess.Popen[bytes]", sa.URL]:
    settings = _FOR_TESTS | ({"fsync": "on", "full_page_writes": "on"} if durable else {})
    for _ in range(ATTEMPTS):
        port = _free_port()
        url = sa.URL.create("postgresql", "desk", password, "127.0.0.1", port, "postgres")
        command = [str(bin_dir / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                _as(owner, command), cwd=folder, env=_environment(), stdout=log, stderr=log, stdin=-3
            )
        if _answers(process, url):
            return process, url
        _end(process)
    raise NoServerError(f"PostgreSQL does not start: {(folder / 'log').read_text()[-300:]}")


def _answers(process: "subprocess.Popen[bytes]", url: sa.URL) -> bool:
    """Wait until the server answers; False where it ended, or says nothing within a minute."""
    give_up = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < give_up:
        try:
            psycopg.connect(_libpq(url), connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server at once ("fast shutdown"), and make sure of it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _as(owner: pwd.struct_passwd | None, command: Sequence[str]) -> list[str]:
    """Let the command run as `owner` and end with the test run, however that ends."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if owner:
            raise NoServerError("PostgreSQL refuses to run as root, and there is no setpriv here")
        return list(command)
    change = ["--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"] if owner else []
    return [setpriv, *change, "--pdeathsig", "INT", "--", *command]


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _libpq(url: sa.URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)

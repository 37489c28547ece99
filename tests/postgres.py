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
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa

SECONDS_TO_START = 60
ATTEMPTS = 5  # another program may take the free port before the server does
OWNERS = ("postgres", "nobody")  # whom root lets run the server, the first that exists
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",  # the desk sets its own
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}


class NoServerError(Exception):
    """Raised where no server can be started; the message is the reason to skip for."""


@dataclass(frozen=True)
class Cluster:
    """Where a server's programs and data lie, and as whom it runs."""

    bin_dir: Path
    version: int
    folder: Path
    owner: pwd.struct_passwd | None  # None: whoever runs the tests
    password: str


class Server:
    """A running server: makes databases as copies of templates, and drops them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._numbers = itertools.count(1)
        self._process, self.url = _started(cluster)  # the address of the database `postgres`

    def new_database(self, template: str = "template0") -> sa.URL:
        """Make a database with a new name and return its address."""
        name = f"test_{next(self._numbers)}"
        how = "STRATEGY FILE_COPY" if self._cluster.version >= 15 else ""  # a third of the time
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {how}")
        return self.url.set(database=name)

    def drop(self, url: sa.URL) -> None:
        """Drop a database; whoever is still connected to it is cut off."""
        self.execute(f"DROP DATABASE {url.database} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement on the database `postgres`, outside a transaction."""
        with psycopg.connect(_libpq(self.url), autocommit=True) as connection:
            connection.execute(statement.encode())

    def crash(self) -> None:
        """Stop without writing anything that is not written yet, and start again; the address changes."""
        _end(self._process, signal.SIGQUIT)
        self._process, self.url = _started(self._cluster)

    def end(self) -> None:
        """Stop at once ("fast shutdown")."""
        _end(self._process, signal.SIGINT)


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server for the block. Raises NoServerError where that is impossible here."""
    bin_dir, owner = _programs(), _owner()
    folder = Path(tempfile.mkdtemp(prefix="ooc-postgres-"))
    try:
        if owner:
            shutil.chown(folder, owner.pw_name)
        cluster = Cluster(bin_dir, _version(bin_dir), folder, owner, secrets.token_urlsafe(12))
        _make(cluster)
        server = Server(cluster)
        try:
            yield server
        finally:
            server.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Find the folder of the newest PostgreSQL, where Debian has it or on the path."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve().parent)
    if not found:
        raise NoServerError("PostgreSQL is not installed here: apt-get install postgresql, or .ci/postgres")
    return max(found, key=_version)


def _version(bin_dir: Path) -> int:
    said = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True)
    return int(said.stdout.split()[2].split(".")[0])


def _owner() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    for name in OWNERS:
        if name in users:
            return users[name]
    raise NoServerError(f"PostgreSQL refuses to run as root, and none of {', '.join(OWNERS)} exists here")


def _make(cluster: Cluster) -> None:
    secret = cluster.folder / "password"
    secret.write_text(cluster.password)
    secret.chmod(0o600)
    if cluster.owner:
        shutil.chown(secret, cluster.owner.pw_name)
    initdb = [str(cluster.bin_dir / "initdb"), "--no-sync", "--auth=scram-sha-256", "--encoding=UTF8"]
    initdb += ["--locale=C.UTF-8", "--username=desk", f"--pwfile={secret}", f"--pgdata={cluster.folder}/data"]
    if cluster.version >= 15:  # sorts as most servers do: a before B, unlike SQLite
        initdb += ["--locale-provider=icu", "--icu-locale=en-US"]
    made = subprocess.run(
        _as_owner(cluster, initdb), cwd=cluster.folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    if made.returncode:
        raise NoServerError(f"PostgreSQL's initdb failed: {made.stderr.strip()[-300:]}")


def _started(cluster: Cluster) -> tuple["subprocess.Popen[bytes]", sa.URL]:
    log_path = cluster.folder / "log"
    for _ in range(ATTEMPTS):
        port = _free_port()
        url = sa.URL.create("postgresql", "desk", cluster.password, "127.0.0.1", port, "postgres")
        command = [str(cluster.bin_dir / "postgres"), "-D", f"{cluster.folder}/data", "-p", str(port)]
        command += [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                _as_owner(cluster, command),
                cwd=cluster.folder,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if _answers(process, url):
            return process, url
        _end(process, signal.SIGINT)
    raise NoServerError(f"PostgreSQL does not start: {log_path.read_text()[-300:]}")


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


def _end(process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _as_owner(cluster: Cluster, command: Sequence[str]) -> list[str]:
    """Let the command run as the owner, and end with the test run however that ends."""
    setpriv, owner = shutil.which("setpriv"), cluster.owner
    if setpriv is None:
        if owner:
            raise NoServerError("PostgreSQL refuses to run as root, and there is no setpriv here")
        return list(command)
    change = ["--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"] if owner else []
    return [setpriv, *change, "--pdeathsig", "INT", "--", *command]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _libpq(url: sa.URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)

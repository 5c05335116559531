"""Runs the official MCP conformance suite directly and through something, and compares check by check.

    suite.py direct                      the server under test passes every required check by itself
    suite.py through URL PORT            the same verdicts at URL, which leads to 127.0.0.1:PORT
    suite.py proxy PROXY PORT HOST:PORT  likewise through an HTTP proxy that CONNECTs to HOST:PORT, and each further one

Each does both directions: the suite against our server, and our client against the suite's servers.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("STRAIT_TEST_CACHE") or Path.home() / ".cache/strait-tests")
PYTHON = CACHE / "venv/bin/python"
BIN = CACHE / "node/node_modules/.bin"

REVISIONS = ("2025-11-25", "2026-07-28")
"""Of which the suite says what they require."""

OLDER = ("2024-11-05", "2025-03-26", "2025-06-18")
"""Of which it says no such thing. It goes along with a server that agrees on one of them and on nothing newer."""

OLDEST_SCENARIOS = "2025-06-18"
"""The oldest revision of which it has scenarios beyond sessions; they fit those before, too."""

CLIENT_SCENARIOS = {
    "2025-06-18": ("initialize", "tools_call"),
    "2025-11-25": ("initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry"),
    "2026-07-28": (
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
    ),
}
"""Required of clients, without those of OAuth: they bind the server's own URL, which is another behind a mesh."""

SERVERS = [(None, REVISIONS), *((revision, (revision,)) for revision in OLDER)]
"""What a server under test agrees on at most, and which revisions it is then asked in."""

Verdicts = dict[str, list[tuple[str, str]]]
"""By scenario: the checks in their order, each with its status."""


def node(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [str(BIN / "node"), str(BIN / "conformance"), *arguments]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False, **more)  # type: ignore[call-overload]


def verdicts(folder: Path) -> Verdicts:
    found: Verdicts = {}
    for file in sorted(folder.rglob("checks.json")):
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", str(file.parent.relative_to(folder)))
        checks = json.loads(file.read_text())
        # What is only told (INFO) counts requests and events, whose number may differ.
        found[scenario] = [(check["id"], check["status"]) for check in checks if check["status"] != "INFO"]
    return found


def against_server(url: str, revision: str) -> tuple[Verdicts, bool]:
    """The verdicts on a server, and whether it meets what the revision requires."""
    with tempfile.TemporaryDirectory() as folder:
        older = ["--suite", "all", "--spec-version", OLDEST_SCENARIOS]
        chosen = older if revision in OLDER else ["--requirements", revision]
        done = node("server", "--url", url, *chosen, "-o", folder, timeout=300)
        return verdicts(Path(folder)), done.returncode == 0


def against_client(command: list[str], revision: str) -> tuple[Verdicts, bool]:
    """The verdicts on a client, one scenario after the other, and whether all passed."""
    found: Verdicts = {}
    passed = True
    for scenario in CLIENT_SCENARIOS[revision]:
        with tempfile.TemporaryDirectory() as folder:
            chosen = ["--scenario", scenario, "--spec-version", revision]
            done = node("client", "--command", shlex.join(command), *chosen, "-o", folder, timeout=120)
            passed = passed and done.returncode == 0
            if done.returncode != 0:
                print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
            found |= verdicts(Path(folder))
    return found, passed


# --- Ways to something ----------------------------------------------------------------------------------------------


def copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@contextmanager
def door(port: int, connect: Callable[[], socket.socket]):  # type: ignore[no-untyped-def]
    """Listens on a loopback port (0: any), and joins each connection with one that `connect` makes."""
    listener = socket.create_server(("127.0.0.1", port))

    def join(inside: socket.socket) -> None:
        try:
            outside = connect()
        except OSError as error:
            print(f"door: {error}", file=sys.stderr)
            inside.close()
            return
        threads = [
            threading.Thread(target=copy, args=ends, daemon=True) for ends in ((inside, outside), (outside, inside))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        inside.close()
        outside.close()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=join, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def through_proxy(proxy: str, target: str) -> Callable[[], socket.socket]:
    """Connects by CONNECT. The suite's clients then need no proxy settings, and may name any Host."""
    parts = urllib.parse.urlsplit(proxy)
    credentials = f"{urllib.parse.unquote(parts.username or '')}:{urllib.parse.unquote(parts.password or '')}"
    token = base64.b64encode(credentials.encode()).decode()

    def connect() -> socket.socket:
        stream = socket.create_connection((parts.hostname, parts.port), timeout=30)
        ask = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {token}\r\n\r\n"
        stream.sendall(ask.encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            byte = stream.recv(1)
            if not byte or len(answer) > 16384:
                raise OSError(f"the proxy broke off: {answer!r}")
            answer += byte
        if b" 200" not in answer.split(b"\r\n", 1)[0]:
            raise OSError(f"the proxy refused: {answer!r}")
        stream.settimeout(None)
        return stream

    return connect


def port_of(port: int) -> Callable[[], socket.socket]:
    return lambda: socket.create_connection(("127.0.0.1", port))


@contextmanager
def server(port: int = 0, *hosts: str, newest: str | None = None):  # type: ignore[no-untyped-def]
    """The server under test. It is asked as localhost, or as one of these, and agrees on nothing newer."""
    if port == 0:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    allowed = [word for host in hosts for word in ("--host-allowed", host)]
    agreed = ["--newest", newest] if newest else []
    process = subprocess.Popen([str(PYTHON), str(HERE / "server.py"), "--port", str(port), *allowed, *agreed])
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("the server under test did not start") from None
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


# --- What is done ---------------------------------------------------------------------------------------------------


def direct() -> tuple[dict[str, Verdicts], bool]:
    found: dict[str, Verdicts] = {}
    passed = True
    for newest, revisions in SERVERS:
        with server(newest=newest) as port:
            for revision in revisions:
                found[f"server {revision}"], good = against_server(f"http://127.0.0.1:{port}/mcp", revision)
                passed = passed and good
    for revision in CLIENT_SCENARIOS:
        found[f"client {revision}"], good = against_client([str(PYTHON), str(HERE / "client.py")], revision)
        passed = passed and good
    return found, passed


def through(url: str, port: int) -> dict[str, Verdicts]:
    found: dict[str, Verdicts] = {}
    for newest, revisions in SERVERS:
        with server(port, newest=newest):
            for revision in revisions:
                found[f"server {revision}"], _ = against_server(url, revision)
    command = [sys.executable, str(HERE / "suite.py"), "client", url, str(port)]
    for revision in CLIENT_SCENARIOS:
        found[f"client {revision}"], _ = against_client(command, revision)
    return found


def client(url: str, port: int, suite: str) -> int:
    """Runs the client at `url`, behind which the suite's server stands on the port where it is expected."""
    theirs = urllib.parse.urlsplit(suite)
    ours = urllib.parse.urlsplit(url)._replace(path=theirs.path, query=theirs.query)
    with door(port, port_of(theirs.port or 80)):
        command = [str(PYTHON), str(HERE / "client.py"), ours.geturl()]
        return subprocess.run(command, check=False).returncode


def compare(one: dict[str, Verdicts], other: dict[str, Verdicts]) -> bool:
    same = True
    for run in one:
        scenarios = sorted({*one[run], *other[run]})
        different = [scenario for scenario in scenarios if one[run].get(scenario) != other[run].get(scenario)]
        checks = [status for scenario in one[run].values() for _, status in scenario]
        failed = sum(status == "FAILURE" for status in checks)
        print(f"{run}: {len(checks)} checks in {len(scenarios)} scenarios, {failed} fail directly, ", end="")
        print(f"{len(different)} scenarios differ" if different else "the same verdict in each")
        for scenario in different:
            print(f"  {scenario}\n    directly {one[run].get(scenario)}\n    through  {other[run].get(scenario)}")
        same = same and not different and bool(checks)
    return same


def main(arguments: list[str]) -> int:
    match arguments:
        case ["direct"]:
            found, passed = direct()
            for run, scenarios in found.items():
                statuses = [status for checks in scenarios.values() for _, status in checks]
                print(f"{run}: {len(statuses)} checks, {statuses.count('FAILURE')} fail")
                for scenario, checks in scenarios.items():
                    failed = [check for check, status in checks if status == "FAILURE"]
                    if failed:
                        print(f"  {scenario}: {', '.join(failed)}")
            print("every required check passes" if passed else "a required check fails")
            return 0 if passed else 1
        case ["through", url, port]:
            found, passed = direct()
            return 0 if compare(found, through(url, int(port))) and passed else 1
        case ["proxy", proxy, port, *targets] if targets:
            found, passed = direct()
            for target in targets:
                print(f"through {target}:")
                with door(0, through_proxy(proxy, target)) as inside:
                    passed = compare(found, through(f"http://localhost:{inside}/mcp", int(port))) and passed
            return 0 if passed else 1
        case ["client", url, port, suite]:
            return client(url, int(port), suite)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

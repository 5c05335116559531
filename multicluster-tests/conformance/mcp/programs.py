"""Real programs through the mesh: the Python SDK as client and server, and server-everything from npm.

    programs.py FULL FEW DIR    the explicit proxies of the workloads `full` and `few`, each with its token, and the
                                folder of YAML that the cluster watches, whose policies.yaml is edited and put back

The clients use their proxy as any program does (`http_proxy`), and name the server as the mesh does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anyio
import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

import suite

warnings.simplefilter("ignore")

SERVICES = ("http://tested.mcp.svc.cluster.local/mcp", "http://everything.mcp.svc.cluster.local/mcp")
BACKENDS = ("http://conformance.mcp.mesh/mcp", "http://everything.mcp.mesh/mcp")
"""The same servers, as backends of one server each."""

TESTED, EVERYTHING = SERVICES
TESTED_PORT, EVERYTHING_PORT = 18763, 18764

MODES = ("legacy", "2026-07-28")


BROKEN: list[str] = []
"""What did not hold."""


def check(holds: bool, what: str) -> None:
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: {what}", flush=True)
    if not holds:
        BROKEN.append(what)


def connect(proxy: str, url: str, mode: str, **more: Any) -> Client:
    http = httpx2.AsyncClient(proxy=proxy, timeout=httpx2.Timeout(30, read=120))
    return Client(streamable_http_client(url, http_client=http), mode=mode, **more)


async def refused(call: Any) -> types.ErrorData:
    try:
        await call
    except MCPError as error:
        return error.error
    return types.ErrorData(code=0, message="it was not refused", data={})


def words(result: Any) -> str:
    return " ".join(part.text for part in result.content if isinstance(part, types.TextContent))


async def elicited(_: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"username": "anna", "email": "anna@example.com"})


async def whole(proxy: str, mode: str) -> None:
    async with connect(proxy, TESTED, mode, elicitation_callback=elicited) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        check("test_image_content" in tools and len(tools) > 20, f"{mode}: full lists all {len(tools)} tools")
        caller = words(await client.call_tool("test_caller", {}))
        check("/ns/mcp/sa/full" in caller, f"{mode}: the server is told who called: {caller}")
        seen: list[float] = []

        async def progressed(done: float, _: Any, __: Any) -> None:
            seen.append(done)

        await client.call_tool("test_tool_with_progress", {}, progress_callback=progressed)
        check(seen == [0, 50, 100], f"{mode}: progress arrives while the tool runs")
        if mode == "legacy":
            said = words(await client.call_tool("test_elicitation", {"message": "Who are you?"}))
            check("anna@example.com" in said, f"{mode}: the server asks back, and the answer reaches it")
            resumed = words(await client.call_tool("test_reconnection", {}))
            check("resumed" in resumed, f"{mode}: a stream that broke off is resumed")


async def little(proxy: str, mode: str) -> None:
    async with connect(proxy, TESTED, mode) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        check(
            sorted(tools) == ["test_caller", "test_simple_text", "test_x_mcp_header"],
            f"{mode}: few lists what was granted",
        )
        check(not (await client.list_prompts()).prompts, f"{mode}: and no prompts")
        check(not (await client.list_resources()).resources, f"{mode}: and no resources")
        check("simple text" in words(await client.call_tool("test_simple_text", {})), f"{mode}: a granted tool runs")
        check("/ns/mcp/sa/few" in words(await client.call_tool("test_caller", {})), f"{mode}: as few")
        allowed = words(await client.call_tool("test_x_mcp_header", {"region": "eu"}))
        check("eu" in allowed, f"{mode}: with an argument within its grant")
        error = await refused(client.call_tool("test_x_mcp_header", {"region": "us"}))
        check(
            error.code == -32602 and error.data.get("pointer") == "/region" and "eu" not in str(error),
            f"{mode}: an argument beyond its grant is named, and not what is permitted: {error}",
        )
        error = await refused(client.call_tool("test_image_content", {}))
        check(
            error.code == -32602 and bool(error.data.get("id")) and "Unknown tool" in error.message,
            f"{mode}: a tool that was not granted does not exist: {error}",
        )
        error = await refused(client.get_prompt("test_simple_prompt"))
        check(error.code == -32602, f"{mode}: nor does a prompt")
        error = await refused(client.read_resource("test://static-text"))
        check(error.code in (-32602, -32002), f"{mode}: nor a resource")


async def nothing(proxy: str) -> None:
    try:
        async with connect(proxy, EVERYTHING, "legacy") as client:
            await client.list_tools()
    except Exception:  # The SDK wraps an HTTP status in groups of its own.
        check(True, "who is granted nothing does not get in")
        return
    check(False, "who is granted nothing does not get in")


async def everything(proxy: str) -> None:
    async with connect(proxy, EVERYTHING, "legacy") as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        check("echo" in tools, f"server-everything lists {len(tools)} tools")
        check("hello" in words(await client.call_tool("echo", {"message": "hello"})), "server-everything echoes")
        prompts = (await client.list_prompts()).prompts
        resources = (await client.list_resources()).resources
        check(bool(prompts and resources), f"and has {len(prompts)} prompts, {len(resources)} resources")
        read = await client.read_resource(str(resources[0].uri))
        check(bool(read.contents), "of which one is read")


OPEN = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}


def raw(proxy: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(proxy=proxy, headers=OPEN, timeout=httpx2.Timeout(30, read=120))


async def malformed(proxy: str) -> None:
    """What no SDK would send. Each is refused by itself, and what follows works."""
    call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_simple_text","name":"test_caller"}}'
    async with raw(proxy) as client:
        for what, body, headers, status, code in [
            ("garbage", b"garbage", {}, 400, -32700),
            ("nothing", b"", {}, 400, -32700),
            ("bytes that are no text", b"\xff\xfe", {}, 400, -32700),
            ("a batch", json.dumps([INITIALIZE]).encode(), {}, 400, -32600),
            ("a key that stands twice", call.encode(), {}, 400, -32600),
            ("100,000 levels", b"[" * 100_000, {}, 400, -32700),
            ("the wrong type", json.dumps(INITIALIZE).encode(), {"content-type": "text/plain"}, 415, -32600),
            ("an unknown version", json.dumps(INITIALIZE).encode(), {"mcp-protocol-version": "1999-01-01"}, 400, -32022),
            ("a method that the header denies", json.dumps(INITIALIZE).encode(), {"mcp-method": "ping"}, 400, -32020),
            ("a page of elsewhere", json.dumps(INITIALIZE).encode(), {"origin": "http://evil.example"}, 403, -32600),
        ]:
            answer = await client.post(TESTED, content=body, headers=headers)
            said = answer.json()["error"]["code"]
            denied = answer.headers.get("x-strait-denied", "")
            good = (answer.status_code, said) == (status, code) and denied.startswith("id=")
            check(good, f"{what} is refused with {answer.status_code} and {said}; {denied}")
        try:
            answer = await client.post(TESTED, content=b" " * (100 << 20))
            check(answer.status_code == 413, f"100 MiB are refused with {answer.status_code}")
        except (httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError):
            check(True, "100 MiB are refused while they are sent")
        answer = await client.post(TESTED, content=json.dumps(INITIALIZE))
        check(answer.status_code == 200, "and what is well-formed is answered after all that")


async def session(client: httpx2.AsyncClient) -> dict[str, str]:
    answer = await client.post(TESTED, json=INITIALIZE)
    held = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    await client.post(TESTED, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=held)
    return held


async def stolen(full: str, few: str) -> None:
    async with raw(full) as owner, raw(few) as thief:
        held = await session(owner)
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        check((await owner.post(TESTED, json=ping, headers=held)).status_code == 200, "a session serves its caller")
        check((await thief.post(TESTED, json=ping, headers=held)).status_code == 404, "and does not exist for another")


async def withdrawn(full: str, few: str, folder: Path) -> None:
    """A stream whose grant is withdrawn ends, with a word; that of another caller does not."""
    file = folder / "policies.yaml"
    policies = file.read_text()
    begin = policies.index("  - name: few")
    fewer = policies[:begin] + policies[policies.index("---", begin) :]
    ended: dict[str, tuple[float, str]] = {}

    async def listen(name: str, client: httpx2.AsyncClient, listening: anyio.Event) -> None:
        held = await session(client)
        async with client.stream("GET", TESTED, headers={**held, "accept": "text/event-stream"}) as answer:
            check(answer.status_code == 200, f"{name} listens")
            listening.set()
            said = "".join([line async for line in answer.aiter_text()])
        ended[name] = (time.monotonic(), said)

    async with raw(full) as one, raw(few) as other, anyio.create_task_group() as group:
        for name, client in (("full", one), ("few", other)):
            listening = anyio.Event()
            group.start_soon(listen, name, client, listening)
            await listening.wait()
        edited = time.monotonic()
        try:
            file.write_text(fewer)
            with anyio.move_on_after(5):
                while "few" not in ended:
                    await anyio.sleep(0.005)
            at, said = ended.get("few", (0.0, "nothing"))
            check('"error"' in said and "No longer allowed" in said, f"the stream ends with a word: {said.strip()}")
            check(0 < at - edited < 1, f"{(at - edited) * 1000:.0f} ms after the edit")
            await anyio.sleep(0.5)
            check("full" not in ended, "and the stream of another caller goes on")
            group.cancel_scope.cancel()
        finally:
            file.write_text(policies)
    async with raw(few) as client:
        with anyio.move_on_after(5):
            while (await client.post(TESTED, json=INITIALIZE)).status_code != 200:
                await anyio.sleep(0.05)
        check((await client.post(TESTED, json=INITIALIZE)).status_code == 200, "granted again, it is served again")


@contextmanager
def npm_server():  # type: ignore[no-untyped-def]
    command = [str(suite.BIN / "node"), str(suite.BIN / "mcp-server-everything"), "streamableHttp"]
    process = subprocess.Popen(command, env={**os.environ, "PORT": str(EVERYTHING_PORT)}, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urlopen(f"http://127.0.0.1:{EVERYTHING_PORT}/", timeout=1)
                break
            except OSError as error:
                if getattr(error, "code", None) is not None:
                    break
                if process.poll() is not None:
                    raise SystemExit("server-everything did not start") from None
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


async def main(full: str, few: str, folder: str) -> None:
    for mode in MODES:
        await whole(full, mode)
        await little(few, mode)
    await everything(full)
    await nothing(few)
    await malformed(full)
    await stolen(full, few)
    await withdrawn(full, few, Path(folder))


if __name__ == "__main__":
    # Nothing of the mesh is meant for these.
    os.environ["NO_PROXY"] = "127.0.0.1"
    # The server is named by the mesh, so it must allow these names.
    with suite.server(TESTED_PORT, "tested.mcp.svc.cluster.local", "conformance.mcp.mesh"), npm_server():
        for TESTED, EVERYTHING in (SERVICES, BACKENDS):
            print(f"at {TESTED} and {EVERYTHING}:", flush=True)
            anyio.run(main, *sys.argv[1:4])
    sys.exit(1 if BROKEN else 0)

"""Real programs through the mesh: the Python SDK as client and server, and server-everything from npm.

    programs.py FULL FEW    the explicit proxies of the workloads `full` and `few`, each with its token

The clients use their proxy as any program does (`http_proxy`), and name the server as the mesh does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
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

TESTED = "http://tested.mcp.svc.cluster.local/mcp"
EVERYTHING = "http://everything.mcp.svc.cluster.local/mcp"
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


async def main(full: str, few: str) -> None:
    for mode in MODES:
        await whole(full, mode)
        await little(few, mode)
    await everything(full)
    await nothing(few)


if __name__ == "__main__":
    # Nothing of the mesh is meant for these.
    os.environ["NO_PROXY"] = "127.0.0.1"
    # The server is named by the mesh, so it must allow that name.
    with suite.server(TESTED_PORT, "tested.mcp.svc.cluster.local"), npm_server():
        anyio.run(main, *sys.argv[1:3])
    sys.exit(1 if BROKEN else 0)

"""The client that is under test: the official Python SDK, doing what each scenario of the official suite asks for.

The suite gives the server's URL as the last argument, and the scenario, the revision and what to call in the
environment.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from contextlib import suppress
from typing import Any

import anyio
import mcp_types as types
from mcp.client import session
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

warnings.simplefilter("ignore")

SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
REVISION = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
CONTEXT = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")

STATELESS = REVISION >= "2026-07-28"


async def elicited(_: Any, params: Any) -> types.ElicitResult:
    """Accepts what is filled in already, and fills in the rest."""
    schema = getattr(params, "requested_schema", None) or {}
    content: dict[str, Any] = {}
    for name, field in (schema.get("properties") or {}).items():
        if "default" in field:
            content[name] = field["default"]
        elif name in (schema.get("required") or []):
            content[name] = example(field)
    return types.ElicitResult(action="accept", content=content)


async def sampled(_: Any, params: Any) -> types.CreateMessageResult:
    said = types.TextContent(type="text", text="Paris")
    return types.CreateMessageResult(role="assistant", content=said, model="none", stop_reason="endTurn")


def example(schema: dict[str, Any]) -> Any:
    """Something that fits a schema."""
    if schema.get("enum"):
        return schema["enum"][0]
    return {"number": 2, "integer": 2, "boolean": True, "array": [], "object": {}}.get(schema.get("type", ""), "text")


def arguments(tool: types.Tool) -> dict[str, Any]:
    properties = tool.input_schema.get("properties") or {}
    return {name: example(field) for name, field in properties.items() if isinstance(field, dict)}


REFUSED = (MCPError, ValidationError)
"""What a scenario's server does not have: it says so, or answers something else."""


async def everything(client: Client) -> None:
    """Uses every tool, prompt and resource that the server lists."""
    listed = (await client.list_tools()).tools
    named = {tool.name for tool in listed}
    for call in CONTEXT.get("toolCalls", []):
        if call["name"] in named:
            with suppress(*REFUSED):
                await client.call_tool(call["name"], call["arguments"])
    for tool in [] if CONTEXT.get("toolCalls") else listed:
        with suppress(*REFUSED):
            await client.call_tool(tool.name, arguments(tool))
    with suppress(*REFUSED):
        for prompt in (await client.list_prompts()).prompts:
            given = {argument.name: "text" for argument in prompt.arguments or []}
            await client.get_prompt(prompt.name, given)
    with suppress(*REFUSED):
        for resource in (await client.list_resources()).resources:
            await client.read_resource(str(resource.uri))


async def main(url: str) -> None:
    mode = REVISION if STATELESS else "legacy"
    if SCENARIO == "request-metadata":
        # The server refuses the first version that it hears, to see that the client takes another.
        mode = "auto"
    async with Client(url, mode=mode, elicitation_callback=elicited, sampling_callback=sampled) as client:
        await everything(client)


if __name__ == "__main__":
    if not STATELESS:
        # The SDK offers its newest, and has no option for another.
        session.LATEST_HANDSHAKE_VERSION = REVISION  # type: ignore[misc]
    anyio.run(main, sys.argv[-1])

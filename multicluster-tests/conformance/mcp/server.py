"""The server that is under test: the official Python SDK, with the fixtures that the official suite asks for.

It speaks every revision that the SDK speaks, over streamable HTTP, on a loopback port or a unix socket. Run it
directly to see what the suite says of it, then through the mesh: the verdicts must be the same.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import secrets
import struct
import sys
import warnings
import zlib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server import runner
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.streamable_http import EventStore
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ToolsListChanged,
)
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError

warnings.simplefilter("ignore")

PAUSE = 0.05
"""Between two notifications, so that they travel one by one."""

ROUNDS_KEY = secrets.token_bytes(32)


# --- Things to hand out -------------------------------------------------------------------------------------------


def png() -> str:
    """One red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    picture += chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00")) + chunk(b"IEND", b"")
    return b64encode(picture).decode()


def wav() -> str:
    """Four samples of silence."""
    samples = bytes([128] * 4)
    shape = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    body = b"WAVE" + shape + struct.pack("<4sI", b"data", len(samples)) + samples
    return b64encode(struct.pack("<4sI", b"RIFF", len(body)) + body).decode()


PNG, WAV = png(), wav()


def text(words: str) -> types.TextContent:
    return types.TextContent(type="text", text=words)


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, mime: str, words: str) -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=uri, mime_type=mime, text=words)
    return types.EmbeddedResource(type="resource", resource=contents)


def answer(*content: Any, failed: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=list(content), is_error=failed)


# --- Asking back --------------------------------------------------------------------------------------------------


def form(message: str, **fields: str) -> types.ElicitRequest:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in fields.items()},
        "required": list(fields),
    }
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(words: str, most: int = 100) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=text(words))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=most))


def roots() -> types.ListRootsRequest:
    return types.ListRootsRequest(params=types.RequestParams())


def seal(state: dict[str, Any]) -> str:
    """What the caller carries to the next round; it cannot be changed on the way."""
    words = json.dumps(state, sort_keys=True)
    return json.dumps({"state": words, "seal": hmac.new(ROUNDS_KEY, words.encode(), hashlib.sha256).hexdigest()})


def unseal(sealed: str | None) -> dict[str, Any]:
    try:
        parts = json.loads(sealed or "")
        expected = hmac.new(ROUNDS_KEY, parts["state"].encode(), hashlib.sha256).hexdigest()
        if hmac.compare_digest(expected, parts["seal"]):
            return json.loads(parts["state"])
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise MCPError(code=types.INVALID_PARAMS, message="The state of the request was changed")


def given(params: Any) -> dict[str, Any]:
    """The answers of this round, as plain JSON by key."""
    responses = params.input_responses or {}
    return {
        key: value.model_dump(by_alias=True) if hasattr(value, "model_dump") else value
        for key, value in responses.items()
    }


def field(responses: dict[str, Any], key: str, name: str) -> Any:
    """A field of a form that was filled in, or None."""
    response = responses.get(key)
    if not isinstance(response, dict) or response.get("action") != "accept":
        return None
    content = response.get("content")
    return content.get(name) if isinstance(content, dict) else None


def ask(state: dict[str, Any] | None = None, **requests: Any) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=requests, request_state=seal(state) if state else None)


# --- Tools --------------------------------------------------------------------------------------------------------

Context = ServerRequestContext[Any, Any]
Call = Callable[[Context, types.CallToolRequestParams], Awaitable[types.CallToolResult | types.InputRequiredResult]]
TOOLS: dict[str, tuple[types.Tool, Call]] = {}

NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


def tool(description: str, schema: dict[str, Any] | None = None) -> Callable[[Call], Call]:
    def register(call: Call) -> Call:
        name = call.__name__
        TOOLS[name] = (types.Tool(name=name, description=description, input_schema=schema or NOTHING), call)
        return call

    return register


def texts(**descriptions: str) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": words} for name, words in descriptions.items()}
    return {"type": "object", "properties": properties, "required": list(descriptions)}


@tool("Answers with a text")
async def test_simple_text(ctx: Context, params: Any) -> Any:
    return answer(text("This is a simple text response for testing."))


@tool("Answers with an image")
async def test_image_content(ctx: Context, params: Any) -> Any:
    return answer(image())


@tool("Answers with a sound")
async def test_audio_content(ctx: Context, params: Any) -> Any:
    return answer(types.AudioContent(type="audio", data=WAV, mime_type="audio/wav"))


@tool("Answers with a resource")
async def test_embedded_resource(ctx: Context, params: Any) -> Any:
    return answer(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))


@tool("Answers with a text, an image and a resource")
async def test_multiple_content_types(ctx: Context, params: Any) -> Any:
    data = json.dumps({"test": "data", "value": 123}, separators=(",", ":"))
    resource = embedded("test://mixed-content-resource", "application/json", data)
    return answer(text("Multiple content types test:"), image(), resource)


@tool("Fails")
async def test_error_handling(ctx: Context, params: Any) -> Any:
    return answer(text("This tool intentionally returns an error for testing"), failed=True)


async def log(ctx: Context, *lines: str) -> None:
    for number, line in enumerate(lines):
        if number:
            await asyncio.sleep(PAUSE)
        await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)


@tool("Logs while it runs")
async def test_tool_with_logging(ctx: Context, params: Any) -> Any:
    await log(ctx, "Tool execution started", "Tool processing data", "Tool execution completed")
    return answer(text("It has run and logged"))


@tool("Logs, where the caller asked for it")
async def test_logging_tool(ctx: Context, params: Any) -> Any:
    await log(ctx, "This is logged where the caller asked for it")
    return answer(text("It has run"))


@tool("Reports its progress")
async def test_tool_with_progress(ctx: Context, params: Any) -> Any:
    for done in (0, 50, 100):
        if done:
            await asyncio.sleep(PAUSE)
        await ctx.session.report_progress(done, 100, f"{done} of 100")
    return answer(text("It has run and reported"))


@tool("Breaks off its stream, and answers once the caller came back")
async def test_reconnection(ctx: Context, params: Any) -> Any:
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await asyncio.sleep(2 * PAUSE)
    return answer(text("The stream was broken off and resumed"))


@tool("Asks the caller's model", texts(prompt="What to ask it"))
async def test_sampling(ctx: Context, params: Any) -> Any:
    capability = types.ClientCapabilities(sampling=types.SamplingCapability())
    if not ctx.session.check_client_capability(capability):
        return answer(text("The client has no model to ask"), failed=True)
    request = sample(params.arguments["prompt"]).params
    result = await ctx.session.create_message(
        request.messages, max_tokens=request.max_tokens, related_request_id=ctx.request_id
    )
    content = result.content[0] if isinstance(result.content, list) else result.content
    return answer(text(f"LLM response: {getattr(content, 'text', '')}"))


async def elicit(ctx: Context, message: str, schema: dict[str, Any]) -> types.ElicitResult:
    return await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)


@tool("Asks the user", texts(message="What to ask"))
async def test_elicitation(ctx: Context, params: Any) -> Any:
    schema = texts(username="User's response", email="User's email address")
    result = await elicit(ctx, params.arguments["message"], schema)
    return answer(text(f"User response: action={result.action}, content={json.dumps(result.content)}"))


def completed(result: types.ElicitResult) -> types.CallToolResult:
    return answer(text(f"Elicitation completed: action={result.action}, content={json.dumps(result.content)}"))


@tool("Asks the user, with something filled in")
async def test_elicitation_sep1034_defaults(ctx: Context, params: Any) -> Any:
    states = ["active", "inactive", "pending"]
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": states, "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return completed(await elicit(ctx, "Please look through it", {"type": "object", "properties": properties}))


@tool("Asks the user to choose, in each way there is")
async def test_elicitation_sep1330_enums(ctx: Context, params: Any) -> Any:
    plain = ["option1", "option2", "option3"]
    ordinals = ["First", "Second", "Third"]

    def titled(noun: str) -> list[dict[str, str]]:
        return [{"const": f"value{n}", "title": f"{word} {noun}"} for n, word in enumerate(ordinals, 1)]

    properties = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled("Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("Choice")}},
    }
    return completed(await elicit(ctx, "Please choose", {"type": "object", "properties": properties}))


@tool(
    "Has a schema of many words",
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
)
async def json_schema_2020_12_tool(ctx: Context, params: Any) -> Any:
    return answer(text(json.dumps(params.arguments)))


@tool(
    "Has an argument that callers repeat in a header",
    {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "count": {"type": "integer", "x-mcp-header": "Count"},
            "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        },
        "required": ["region"],
    },
)
async def test_x_mcp_header(ctx: Context, params: Any) -> Any:
    return answer(text(json.dumps(params.arguments)))


@tool("Says who called, as the mesh told it")
async def test_caller(ctx: Context, params: Any) -> Any:
    headers = ctx.request.headers if ctx.request is not None else {}
    return answer(text(headers.get("x-forwarded-client-cert", "nobody said")))


# --- Tools that need several rounds (2026-07-28) --------------------------------------------------------------------


def supports(ctx: Context, name: str) -> bool:
    capabilities = ctx.session.client_capabilities
    return getattr(capabilities, name, None) is not None


@tool("Needs a capability of the caller")
async def test_missing_capability(ctx: Context, params: Any) -> Any:
    if not supports(ctx, "sampling"):
        raise MCPError(
            code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="The client must declare sampling",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return answer(text("The client has declared it"))


@tool("Asks the user in the middle of a stream")
async def test_streaming_elicitation(ctx: Context, params: Any) -> Any:
    if field(given(params), "choice", "go") is not None:
        return answer(text("Done"))
    await ctx.session.report_progress(1, 2, "asking")
    return ask(choice=form("Go on?", go="boolean"))


@tool("Asks for a name")
async def test_input_required_result_elicitation(ctx: Context, params: Any) -> Any:
    name = field(given(params), "user_name", "name")
    if not isinstance(name, str):
        return ask(user_name=form("What is your name?", name="string"))
    return answer(text(f"Hello, {name}!"))


@tool("Asks the caller's model, in a round")
async def test_input_required_result_sampling(ctx: Context, params: Any) -> Any:
    response = given(params).get("capital_question")
    if not isinstance(response, dict):
        return ask(capital_question=sample("What is the capital of France?"))
    content = response.get("content")
    content = content[0] if isinstance(content, list) and content else content
    return answer(text(str(content.get("text")) if isinstance(content, dict) else "no words"))


@tool("Asks for the caller's roots, in a round")
async def test_input_required_result_list_roots(ctx: Context, params: Any) -> Any:
    response = given(params).get("client_roots")
    if not isinstance(response, dict):
        return ask(client_roots=roots())
    return answer(text(", ".join(str(root.get("uri")) for root in response.get("roots", []))))


@tool("Carries a state from one round to the next")
async def test_input_required_result_request_state(ctx: Context, params: Any) -> Any:
    if not given(params):
        return ask({"asked": "ok"}, confirm=form("Please confirm", ok="boolean"))
    unseal(params.request_state)
    return answer(text("state-ok"))


@tool("Refuses a state that was changed")
async def test_input_required_result_tampered_state(ctx: Context, params: Any) -> Any:
    if not given(params):
        return ask({"asked": "ok"}, confirm=form("Please confirm", ok="boolean"))
    unseal(params.request_state)
    return answer(text("state-ok"))


@tool("Asks for three things at once")
async def test_input_required_result_multiple_inputs(ctx: Context, params: Any) -> Any:
    wanted = {
        "user_name": form("What is your name?", name="string"),
        "greeting": sample("Generate a greeting", 50),
        "client_roots": roots(),
    }
    responses = given(params)
    if not all(key in responses for key in wanted):
        return ask({"asked": "three"}, **wanted)
    unseal(params.request_state)
    return answer(text(f"{field(responses, 'user_name', 'name')} was greeted"))


@tool("Asks in two rounds")
async def test_input_required_result_multi_round(ctx: Context, params: Any) -> Any:
    responses = given(params)
    if not responses:
        return ask({"round": 1}, step1=form("Step 1: What is your name?", name="string"))
    state = unseal(params.request_state)
    if state["round"] == 1:
        state = {"round": 2, "name": field(responses, "step1", "name")}
        return ask(state, step2=form("Step 2: What is your favorite color?", color="string"))
    return answer(text(f"{state['name']} likes {field(responses, 'step2', 'color')}"))


@tool("Asks only for what the caller can do")
async def test_input_required_result_capabilities(ctx: Context, params: Any) -> Any:
    wanted: dict[str, Any] = {}
    if supports(ctx, "sampling"):
        wanted["words"] = sample("Say something")
    if supports(ctx, "elicitation"):
        wanted["user_name"] = form("What is your name?", name="string")
    if not wanted or given(params):
        return answer(text("Nothing more to ask"))
    return ask(**wanted)


# --- Changes of lists -----------------------------------------------------------------------------------------------

BUS = InMemorySubscriptionBus()


@tool("Changes the list of tools")
async def test_trigger_tool_change(ctx: Context, params: Any) -> Any:
    await BUS.publish(ToolsListChanged())
    return answer(text("Told"))


@tool("Changes the list of prompts")
async def test_trigger_prompt_change(ctx: Context, params: Any) -> Any:
    await BUS.publish(PromptsListChanged())
    return answer(text("Told"))


async def list_tools(ctx: Context, params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[described for described, _ in TOOLS.values()])


async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> Any:
    if params.name not in TOOLS:
        raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name}")
    return await TOOLS[params.name][1](ctx, params)


# --- Resources ------------------------------------------------------------------------------------------------------

STATIC = {
    "test://static-text": ("Static text", "A text that stays", "text/plain"),
    "test://static-binary": ("Static image", "An image that stays", "image/png"),
    "test://watched-resource": ("Watched", "A text that can be watched", "text/plain"),
}
TEMPLATE = "test://template/{id}/data"
SUBSCRIBED: set[str] = set()


async def list_resources(ctx: Context, params: Any) -> types.ListResourcesResult:
    listed = [
        types.Resource(uri=uri, name=name, description=words, mime_type=mime)
        for uri, (name, words, mime) in STATIC.items()
    ]
    return types.ListResourcesResult(resources=listed)


async def list_templates(ctx: Context, params: Any) -> types.ListResourceTemplatesResult:
    template = types.ResourceTemplate(
        uri_template=TEMPLATE, name="Data by id", description="Some data", mime_type="application/json"
    )
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = str(params.uri)
    before, _, after = TEMPLATE.partition("{id}")
    if uri == "test://static-text":
        words = "This is the content of the static text resource."
        contents: Any = types.TextResourceContents(uri=uri, mime_type="text/plain", text=words)
    elif uri == "test://static-binary":
        contents = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    elif uri == "test://watched-resource":
        contents = types.TextResourceContents(uri=uri, mime_type="text/plain", text="Watch this.")
    elif uri.startswith(before) and uri.endswith(after) and len(uri) > len(before) + len(after):
        name = uri[len(before) : -len(after)]
        data = json.dumps({"id": name, "templateTest": True, "data": f"Data for ID: {name}"})
        contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=data)
    else:
        raise MCPError(code=types.INVALID_PARAMS, message="Resource not found", data={"uri": uri})
    return types.ReadResourceResult(contents=[contents])


async def subscribe(ctx: Context, params: Any) -> types.EmptyResult:
    SUBSCRIBED.add(str(params.uri))
    return types.EmptyResult()


async def unsubscribe(ctx: Context, params: Any) -> types.EmptyResult:
    SUBSCRIBED.discard(str(params.uri))
    return types.EmptyResult()


# --- Prompts --------------------------------------------------------------------------------------------------------


def argument(name: str, words: str) -> types.PromptArgument:
    return types.PromptArgument(name=name, description=words, required=True)


PROMPTS = [
    types.Prompt(name="test_simple_prompt", description="Has no arguments"),
    types.Prompt(
        name="test_prompt_with_arguments",
        description="Has two arguments",
        arguments=[argument("arg1", "The first"), argument("arg2", "The second")],
    ),
    types.Prompt(
        name="test_prompt_with_embedded_resource",
        description="Carries a resource",
        arguments=[argument("resourceUri", "Which")],
    ),
    types.Prompt(name="test_prompt_with_image", description="Carries an image"),
    types.Prompt(name="test_input_required_result_prompt", description="Asks the user first"),
]


async def list_prompts(ctx: Context, params: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=PROMPTS)


async def get_prompt(ctx: Context, params: types.GetPromptRequestParams) -> Any:
    arguments = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            said = [text("This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            one, two = arguments.get("arg1", ""), arguments.get("arg2", "")
            said = [text(f"Prompt with arguments: arg1='{one}', arg2='{two}'")]
        case "test_prompt_with_embedded_resource":
            words = "Embedded resource content for testing."
            resource = embedded(arguments.get("resourceUri", "test://nothing"), "text/plain", words)
            said = [resource, text("Please process the embedded resource above.")]
        case "test_prompt_with_image":
            said = [image(), text("Please analyze the image above.")]
        case "test_input_required_result_prompt":
            context = field(given(params), "user_context", "context")
            if context is None:
                return ask(user_context=form("What context should the prompt use?", context="string"))
            said = [text(f"In this context: {context}")]
        case other:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown prompt: {other}")
    messages = [types.PromptMessage(role="user", content=content) for content in said]
    return types.GetPromptResult(messages=messages)


async def complete(ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    words = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=words, total=len(words), has_more=False))


async def set_level(ctx: Context, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


# --- Streams that can be resumed ------------------------------------------------------------------------------------


class Events(EventStore):
    """Keeps the last events, so that a broken stream can be resumed."""

    MOST = 4096

    def __init__(self) -> None:
        self.kept: list[tuple[str, Any]] = []
        self.dropped = 0

    async def store_event(self, stream_id: Any, message: Any) -> str:
        self.kept.append((stream_id, message))
        if len(self.kept) > self.MOST:
            self.kept.pop(0)
            self.dropped += 1
        return str(self.dropped + len(self.kept) - 1)

    async def replay_events_after(self, last_event_id: Any, send_callback: Any) -> Any:
        from mcp.server.streamable_http import EventMessage

        last = int(last_event_id) - self.dropped
        if not 0 <= last < len(self.kept):
            return None
        stream = self.kept[last][0]
        for number, (of, message) in enumerate(self.kept[last + 1 :], last + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(self.dropped + number)))
        return stream


# --- The server -----------------------------------------------------------------------------------------------------

CACHED = ("tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read")


class UnderTest(Server[Any]):
    """Announces that its lists change."""

    def create_initialization_options(self, notification_options: Any = None, *rest: Any, **more: Any) -> Any:
        changing = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(notification_options or changing, *rest, **more)


def build() -> Server[Any]:
    return UnderTest(
        "strait-conformance",
        version="1.0.0",
        cache_hints={method: CacheHint(ttl_ms=60_000, scope="private") for method in CACHED},
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_subscriptions_listen=ListenHandler(BUS),
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_set_logging_level=set_level,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="a port of 127.0.0.1")
    parser.add_argument("--unix", help="the path of a unix socket, in place of a port")
    parser.add_argument("--host-allowed", action="append", default=[], help="a further Host that callers may name")
    parser.add_argument("--newest", help="the newest revision that is agreed on where a session begins")
    arguments = parser.parse_args()
    if arguments.newest:
        # The SDK has no option for it.
        runner.HANDSHAKE_PROTOCOL_VERSIONS = (arguments.newest,)  # type: ignore[misc]
        runner.LATEST_HANDSHAKE_VERSION = arguments.newest  # type: ignore[misc]
    if (arguments.port is None) == (arguments.unix is None):
        sys.exit("one of --port and --unix")
    local = ["127.0.0.1", "localhost", "[::1]"]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[f"{host}:*" for host in local] + arguments.host_allowed,
        allowed_origins=[f"http://{host}:*" for host in local] + [f"http://{host}" for host in arguments.host_allowed],
    )
    app = build().streamable_http_app(event_store=Events(), retry_interval=500, transport_security=security)
    place: dict[str, Any] = {"uds": arguments.unix} if arguments.unix else {"host": "127.0.0.1", "port": arguments.port}
    uvicorn.run(app, log_level="warning", timeout_graceful_shutdown=1, **place)


if __name__ == "__main__":
    main()

"""Clients of models on `openai` and `anthropic`: `client.py clients|failover|refused|budget`; their proxy is in
`http_proxy`. Each ends with 0 when it saw what it must see.

`clients` asks in every form that is granted; `failover` is answered though the first provider is down; `refused` is
granted nothing; `budget` sends a thousand requests at once, of which some are left, fail or ask for more answers.
"""

import asyncio
import base64
import collections
import json
import os
import sys
import urllib.parse

import anthropic
import openai

INBOUND = "canary-of-caller-31f8"
KEYS = ["canary-of-primary", "canary-of-second", "canary-of-claude"]
SAID = [{"role": "user", "content": "say 5 words"}]
FIVE = "mock word1 word2 word3 word4"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def of_openai(host):
    return openai.OpenAI(base_url=f"http://{host}.shop.mesh/v1", api_key=INBOUND, max_retries=0, timeout=20)


def of_anthropic(host):
    return anthropic.Anthropic(base_url=f"http://{host}.shop.mesh", api_key=INBOUND, max_retries=0, timeout=20)


def raises(kind, call):
    try:
        call()
    except kind as error:
        said = str(error) + str(error.response.headers) + error.response.text
        assert not any(key in said for key in KEYS), said
        return error
    raise AssertionError(f"no {kind.__name__}")


def denied(error, reason):
    head = error.response.headers["x-strait-denied"]
    fields = dict(field.strip().split("=", 1) for field in head.split(";"))
    assert fields["reason"] == reason, head
    assert fields["id"] in str(error), (head, str(error))


def chat(client):
    """Chat completions, whatever provider is behind."""
    create = client.chat.completions.create
    whole = create(model="small", messages=SAID)
    assert whole.choices[0].message.content == FIVE, whole
    assert whole.usage.completion_tokens == 5 and whole.usage.prompt_tokens == 3, whole.usage
    for asks in [False, True]:
        options = {"stream_options": {"include_usage": True}} if asks else {}
        chunks = list(create(model="small", messages=SAID, stream=True, **options))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == FIVE, chunks
        usages = [chunk.usage for chunk in chunks if chunk.usage]
        assert len(usages) == asks, (asks, chunks)
        assert not asks or usages[0].completion_tokens == 5, usages
        assert asks or all(chunk.choices for chunk in chunks), chunks


def clients():
    models = of_openai("models")
    chat(models)
    called = models.chat.completions.create(model="small", messages=SAID, tools=[TOOL]).choices[0]
    assert called.finish_reason == "tool_calls" and called.message.tool_calls[0].function.name == "weather", called
    response = models.responses.create(model="small", input="say 5 words")
    assert response.output_text == FIVE and response.usage.output_tokens == 5, response
    events = list(models.responses.create(model="small", input="say 5 words", stream=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == FIVE and events[-1].type == "response.completed", events
    embedded = models.embeddings.create(model="embed", input=["one", "two"], encoding_format="float")
    assert [one.embedding for one in embedded.data] == [[0.5, 0.25]] * 2, embedded
    # What is not granted is not listed.
    assert sorted(model.id for model in models.models.list()) == ["embed", "small"]
    hidden = lambda: models.chat.completions.create(model="hidden", messages=SAID)
    denied(raises(openai.PermissionDeniedError, hidden), "NoGrant")
    raises(openai.NotFoundError, lambda: models.chat.completions.create(model="nowhere", messages=SAID))
    chat(of_openai("claude"))
    for host in ["claude", "models"]:
        create = of_anthropic(host).messages.create
        whole = create(model="small", max_tokens=50, messages=SAID)
        assert whole.content[0].text == FIVE and whole.usage.output_tokens == 5, whole
        with of_anthropic(host).messages.stream(model="small", max_tokens=50, messages=SAID) as stream:
            assert "".join(stream.text_stream) == FIVE
            whole = stream.get_final_message()
        assert whole.usage.output_tokens == 5 and whole.stop_reason == "end_turn", whole
    hidden = lambda: of_anthropic("models").messages.create(model="hidden", max_tokens=5, messages=SAID)
    denied(raises(anthropic.PermissionDeniedError, hidden), "NoGrant")
    spent = lambda: of_anthropic("spent").messages.create(model="small", max_tokens=5, messages=SAID)
    denied(raises(anthropic.RateLimitError, spent), "QuotaExceeded")
    spent = lambda: of_openai("spent").chat.completions.create(model="small", messages=SAID)
    denied(raises(openai.RateLimitError, spent), "QuotaExceeded")


def failover():
    chat(of_openai("models"))


def refused():
    for host in ["models", "claude"]:
        ask = lambda: of_openai(host).chat.completions.create(model="small", messages=SAID)
        denied(raises(openai.PermissionDeniedError, ask), "NoGrant")


async def one(proxy, at):
    """One request of the thousand; its status, 0 when it was left."""
    kind = at % 5
    said = {3: "say 40 words slowly", 4: "fail 30"}.get(kind, f"say {20 + at % 40} words")
    asked = {"model": "small", "max_tokens": 40, "messages": [{"role": "user", "content": said}]}
    if kind == 1:
        asked |= {"stream": True, "stream_options": {"include_usage": False}}
    if kind == 2:
        asked["n"] = 3
    if kind == 3:
        asked["stream"] = True
    body = json.dumps(asked)
    token = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    reader, writer = await asyncio.open_connection(proxy.hostname, proxy.port)
    try:
        writer.write((f"POST http://budget.shop.mesh/v1/chat/completions HTTP/1.1\r\nhost: budget.shop.mesh\r\n"
                      f"proxy-authorization: Basic {token}\r\ncontent-type: application/json\r\n"
                      f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n{body}").encode())
        status = int((await reader.readline()).split()[1])
        if kind == 3 and status == 200:
            await reader.readuntil(b"data:")
            writer.transport.abort()
            return 0
        rest = await reader.read()
        assert not any(key.encode() in rest for key in KEYS), rest
        return status
    finally:
        writer.close()


async def budget():
    proxy = urllib.parse.urlsplit(os.environ["http_proxy"])
    seen = collections.Counter(await asyncio.gather(*(one(proxy, at) for at in range(1000))))
    assert set(seen) <= {0, 200, 429}, seen
    assert seen[200] > 20 and seen[0] > 0 and seen[429] > 100, seen


if __name__ == "__main__":
    ran = {"clients": clients, "failover": failover, "refused": refused, "budget": budget}[sys.argv[1]]()
    if asyncio.iscoroutine(ran):
        asyncio.run(ran)

"""A mock of a model server, on the standard library alone: `server.py SOCKET NAME KEY FOLDER`. It is no model.

It speaks OpenAI's chat completions, responses and embeddings, and Anthropic's messages, whole and streamed. One word
is one token; it says as many words as the prompt's first number, and never more than the request's limit. What it
took of every request is a line of FOLDER/NAME.books; what it was told in heads, a line of FOLDER/NAME.heads. A
request that says `fail` is answered with 500 by a server whose name begins with `primary`, and every request while
there is FOLDER/NAME.down; one that says `slowly` is streamed so.
"""

import asyncio
import json
import os
import sys

SOCKET, NAME, KEY, FOLDER = sys.argv[1:]
BOOKS = open(f"{FOLDER}/{NAME}.books", "a", buffering=1)
HEADS = open(f"{FOLDER}/{NAME}.heads", "a", buffering=1)


def book(asked, prompt, output, done=True):
    line = {"model": asked["model"], "prompt": prompt, "output": output, "done": done}
    BOOKS.write(json.dumps(line) + "\n")


def texts(value):
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(texts(one) for one in value)
    return texts(value.get("content") or value.get("text") or "") if isinstance(value, dict) else ""


def event(data, name=None):
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


class Reply:
    """What is said to one request, and what it takes."""

    def __init__(self, path, asked):
        self.asked, self.path = asked, path
        said = texts(asked.get("messages") or asked.get("input") or "")
        self.fail, self.slow = "fail" in said, "slowly" in said
        self.prompt = len((texts(asked.get("system") or "") + " " + said).split()) or 1
        most = [asked[k] for k in ("max_tokens", "max_completion_tokens", "max_output_tokens") if asked.get(k)]
        numbers = [int(word) for word in said.split() if word.isdigit()]
        self.count = min((numbers or [6])[:1] + most)
        self.words = ["mock" if i == 0 else f"word{i}" for i in range(self.count)]
        self.answers = asked.get("n") or 1

    def chat(self):
        tool = (self.asked.get("tools") or [None])[0]
        message = {"role": "assistant", "content": " ".join(self.words)}
        if tool:
            call = {"name": tool["function"]["name"], "arguments": '{"city": "Bern"}'}
            message = {"role": "assistant", "content": None,
                       "tool_calls": [{"id": "call_mock", "type": "function", "function": call}]}
        finish = "tool_calls" if tool else "stop"
        choices = [{"index": i, "message": message, "finish_reason": finish} for i in range(self.answers)]
        return {"id": "chatcmpl-mock", "object": "chat.completion", "created": 1, "model": self.asked["model"],
                "choices": choices, "usage": self.openai_usage()}

    def openai_usage(self):
        out = self.count * self.answers
        return {"prompt_tokens": self.prompt, "completion_tokens": out, "total_tokens": self.prompt + out}

    def chat_events(self):
        base = {"id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 1, "model": self.asked["model"]}
        for at, word in enumerate(self.words):
            delta = {"role": "assistant", "content": word} if at == 0 else {"content": " " + word}
            yield 1, event(base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        yield 0, event(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (self.asked.get("stream_options") or {}).get("include_usage"):
            yield 0, event(base | {"choices": [], "usage": self.openai_usage()})
        yield 0, event("[DONE]")

    def response(self, status="completed"):
        text = {"type": "output_text", "text": " ".join(self.words), "annotations": []}
        item = {"type": "message", "id": "msg_mock", "role": "assistant", "status": "completed", "content": [text]}
        usage = {"input_tokens": self.prompt, "output_tokens": self.count, "total_tokens": self.prompt + self.count,
                 "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        done = status == "completed"
        return {"id": "resp_mock", "object": "response", "created_at": 1, "status": status,
                "model": self.asked["model"], "output": [item] if done else [], "usage": usage if done else None,
                "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}

    def response_events(self):
        at = {"item_id": "msg_mock", "output_index": 0, "content_index": 0}
        whole = self.response()
        item, text = whole["output"][0], " ".join(self.words)
        empty = {"type": "output_text", "text": "", "annotations": []}
        events = [(0, "created", {"response": self.response("in_progress")}),
                  (0, "output_item.added", {"output_index": 0,
                                            "item": item | {"content": [], "status": "in_progress"}}),
                  (0, "content_part.added", at | {"part": empty})]
        events += [(1, "output_text.delta", at | {"delta": word if i == 0 else " " + word, "logprobs": []})
                   for i, word in enumerate(self.words)]
        events += [(0, "output_text.done", at | {"text": text, "logprobs": []}),
                   (0, "content_part.done", at | {"part": empty | {"text": text}}),
                   (0, "output_item.done", {"output_index": 0, "item": item}),
                   (0, "completed", {"response": whole})]
        for number, (cost, name, data) in enumerate(events):
            name = f"response.{name}"
            yield cost, event({"type": name, "sequence_number": number} | data, name)

    def embeddings(self):
        given = self.asked["input"] if isinstance(self.asked["input"], list) else [self.asked["input"]]
        data = [{"object": "embedding", "index": i, "embedding": [0.5, 0.25]} for i in range(len(given))]
        self.count = 0
        return {"object": "list", "data": data, "model": self.asked["model"],
                "usage": {"prompt_tokens": self.prompt, "total_tokens": self.prompt}}

    def message(self):
        return {"id": "msg_mock", "type": "message", "role": "assistant", "model": self.asked["model"],
                "content": [{"type": "text", "text": " ".join(self.words)}], "stop_reason": "end_turn",
                "stop_sequence": None, "usage": {"input_tokens": self.prompt, "output_tokens": self.count}}

    def message_events(self):
        start = self.message() | {"content": [], "stop_reason": None}
        start["usage"] = {"input_tokens": self.prompt, "output_tokens": 1}
        events = [(0, {"type": "message_start", "message": start}),
                  (0, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})]
        events += [(1, {"type": "content_block_delta", "index": 0,
                        "delta": {"type": "text_delta", "text": word if i == 0 else " " + word}})
                   for i, word in enumerate(self.words)]
        events += [(0, {"type": "content_block_stop", "index": 0}),
                   (0, {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                        "usage": {"output_tokens": self.count}}),
                   (0, {"type": "message_stop"})]
        for cost, data in events:
            yield cost, event(data, data["type"])


WHOLE = {"/v1/chat/completions": Reply.chat, "/v1/responses": Reply.response, "/v1/embeddings": Reply.embeddings,
         "/v1/messages": Reply.message}
STREAMED = {"/v1/chat/completions": Reply.chat_events, "/v1/responses": Reply.response_events,
            "/v1/messages": Reply.message_events}


def whole(writer, status, body):
    body = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Mock\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


async def answer(path, headers, body, writer):
    HEADS.write(json.dumps(headers) + "\n")
    if headers.get("authorization") != f"Bearer {KEY}" and headers.get("x-api-key") != KEY:
        return whole(writer, 401, {"error": {"type": "authentication_error", "message": "the mock knows no such key"}})
    if path not in WHOLE:
        return whole(writer, 404, {"error": {"message": f"the mock has no {path}"}})
    asked = json.loads(body)
    reply = Reply(path, asked)
    if os.path.exists(f"{FOLDER}/{NAME}.down"):
        return whole(writer, 503, {"error": {"type": "overloaded_error", "message": "the mock is down"}})
    if reply.fail and NAME.startswith("primary"):
        book(asked, reply.prompt, 0)
        return whole(writer, 500, {"error": {"type": "api_error", "message": "the mock fails as told"}})
    if not asked.get("stream"):
        said = WHOLE[path](reply)
        book(asked, reply.prompt, reply.count * reply.answers)
        return whole(writer, 200, said)
    writer.write(b"HTTP/1.1 200 Mock\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    said, done = 0, False
    try:
        for cost, data in STREAMED[path](reply):
            said += cost
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
            await asyncio.sleep(0.02 if reply.slow else 0)
        writer.write(b"0\r\n\r\n")
        done = True
    finally:
        book(asked, reply.prompt, said, done)


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {key.lower(): value.strip() for key, value in (line.split(":", 1) for line in lines)}
            body = b""
            if headers.get("transfer-encoding") == "chunked":
                while size := int(await reader.readline(), 16):
                    body += (await reader.readexactly(size + 2))[:-2]
                await reader.readline()
            else:
                body = await reader.readexactly(int(headers.get("content-length", 0)))
            await answer(first.split(" ")[1], headers, body, writer)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_unix_server(serve, SOCKET, backlog=1024)
    async with server:
        await server.serve_forever()


asyncio.run(main())

"""An A2A client on a2a-sdk: `a2a_client.py granted|other|stays|limited|refused URL [FILE]`; its proxy is in `http_proxy`.

`granted` talks to the agent in both versions by both bindings and leaves a task's id in FILE; `other` is somebody
else, who must not reach that task; `stays` goes on with it at the agent that began it (`one`), while new ones are
begun at another (`two`); `limited` may send messages for the skill `search`; `refused` is granted nothing.
"""

import asyncio
import json
import os
import sys
import uuid

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.helpers import new_text_message
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Role,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import MethodNotFoundError, TaskNotFoundError

# For a run without a mesh: who one claims to be.
HEADERS = {"A2A-Version": "1.0"} | ({"test-caller": os.environ["TEST_CALLER"]} if "TEST_CALLER" in os.environ else {})
WAYS = [("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3"), ("HTTP+JSON", "0.3")]


def http():
    return httpx.AsyncClient(headers=HEADERS, timeout=20)


async def card_of(url):
    async with http() as client:
        return await A2ACardResolver(client, url).get_agent_card()


def connect(card, way, streaming=True):
    """A client by this binding and version alone."""
    binding, version = way
    only = type(card)()
    only.CopyFrom(card)
    del only.supported_interfaces[:]
    only.supported_interfaces.extend(
        it for it in card.supported_interfaces if (it.protocol_binding, it.protocol_version) == way
    )
    assert len(only.supported_interfaces) == 1, (way, card)
    config = ClientConfig(streaming=streaming, httpx_client=http(), supported_protocol_bindings=[binding])
    return ClientFactory(config).create(only)


def message(text, **fields):
    told = new_text_message(text, role=Role.ROLE_USER)
    for name, value in fields.items():
        setattr(told, name, value)
    return SendMessageRequest(message=told)


async def said(client, request):
    """Every event of an answer, and the last task or message in it."""
    return [event async for event in client.send_message(request)]


def ids(events):
    """The one task and context that all events speak of."""
    found = set()
    for event in events:
        part = getattr(event, event.WhichOneof("payload"))
        found.add((getattr(part, "task_id", "") or getattr(part, "id", ""), part.context_id))
    assert len(found) == 1, found
    return found.pop()


def texts(events):
    for event in events:
        if event.HasField("artifact_update"):
            yield from (part.text for part in event.artifact_update.artifact.parts)
        if event.HasField("task"):
            yield from (part.text for artifact in event.task.artifacts for part in artifact.parts)


async def refuses(what, *errors):
    try:
        await what
    except errors as error:
        return error
    except Exception as error:
        raise AssertionError(f"refused otherwise: {error!r}") from error
    raise AssertionError("it was not refused")


async def granted(url, file=None):
    card = await card_of(url)
    interfaces = [it.url for it in card.supported_interfaces]
    assert interfaces and all(it.startswith(url) for it in interfaces), interfaces
    assert "evil" not in str(card) and "127.0.0.1:9000" not in str(card), card
    kept = None
    for way in WAYS:
        client = connect(card, way)
        events = await said(client, message("hello"))
        task, context = ids(events)
        answers = list(texts(events))
        assert len(answers) == 1 and answers[0].endswith("|hello"), (way, answers)
        name, agents_own, _ = answers[0].split("|")
        assert agents_own != context, "the caller has a token, not the agent's own id"

        found = await client.get_task(GetTaskRequest(id=task))
        assert (found.id, found.context_id) == (task, context), (way, found)
        assert found.status.state == TaskState.TASK_STATE_COMPLETED, found

        # The same context again, whole and streamed, at the agent that began it.
        for streaming in (True, False):
            again = connect(card, way, streaming)
            events = await said(again, message("again", context_id=context))
            assert ids(events)[1] == context, (way, events)
            assert list(texts(events)) == [f"{name}|{agents_own}|again"], (way, streaming, list(texts(events)))

        # One that the caller chose.
        chosen = str(uuid.uuid4())
        events = await said(client, message("mine", context_id=chosen))
        assert ids(events)[1] == chosen, (way, events)

        # A task that asks back.
        events = await said(client, message("ask"))
        asked, _ = ids(events)
        events = await said(client, message("more", task_id=asked, context_id=ids(events)[1]))
        assert ids(events)[0] == asked and list(texts(events))[-1].endswith("|more"), (way, events)

        # A task that waits, is looked at, and canceled.
        stream = client.send_message(message("wait")).__aiter__()
        waiting = ids([await anext(stream)])[0]
        watched = client.subscribe(SubscribeToTaskRequest(id=waiting)).__aiter__()
        assert ids([await anext(watched)])[0] == waiting
        config = TaskPushNotificationConfig(task_id=waiting, id="hook", url="https://hooks.example.com/a2a")
        made = await client.create_task_push_notification_config(config)
        assert (made.task_id, made.url) == (waiting, config.url), (way, made)
        config.url = "https://169.254.169.254/latest"
        await refuses(client.create_task_push_notification_config(config), Exception)
        canceled = await client.cancel_task(CancelTaskRequest(id=waiting))
        assert (canceled.id, canceled.status.state) == (waiting, TaskState.TASK_STATE_CANCELED), canceled

        await refuses(client.get_task(GetTaskRequest(id="task-of-nobody")), TaskNotFoundError)
        if way[1] == "1.0":
            listed = [it.id for it in (await client.list_tasks(ListTasksRequest(context_id=context))).tasks]
            assert task in listed, (way, listed)
            listed = [it.id for it in (await client.list_tasks(ListTasksRequest())).tasks]
            assert task in listed, (way, listed)
        kept = kept or (task, context)
        await client.close()
    if file:
        with open(file, "w", encoding="utf-8") as out:
            json.dump(kept, out)


async def other(url, file):
    with open(file, encoding="utf-8") as text:
        task, context = json.load(text)
    card = await card_of(url)
    for way in WAYS:
        client = connect(card, way)
        for call in (
            client.get_task(GetTaskRequest(id=task)),
            client.cancel_task(CancelTaskRequest(id=task)),
            said(client, message("mine?", task_id=task)),
            said(client, message("mine?", context_id=context)),
        ):
            await refuses(call, TaskNotFoundError)
        if way[1] == "1.0":
            listed = [it.id for it in (await client.list_tasks(ListTasksRequest())).tasks]
            assert task not in listed and len(listed) < 3, (way, listed)
        await client.close()


async def stays(url, file):
    with open(file, encoding="utf-8") as text:
        task, context = json.load(text)
    card = await card_of(url)
    for way in WAYS:
        client = connect(card, way)
        began = list(texts(await said(client, message("anew"))))
        assert began[0].startswith("two|"), (way, began)
        went_on = list(texts(await said(client, message("on", context_id=context))))
        assert went_on[0].startswith("one|"), (way, went_on)
        found = await client.get_task(GetTaskRequest(id=task))
        assert found.id == task, (way, found)
        await client.close()


async def limited(url):
    card = await card_of(url)
    assert [skill.id for skill in card.skills] == ["search"], card
    for way in WAYS:
        client = connect(card, way)
        events = await said(client, message("hello"))
        assert list(texts(events))[0].endswith("|hello"), (way, events)
        task, _ = ids(events)
        for call in (client.get_task(GetTaskRequest(id=task)), client.cancel_task(CancelTaskRequest(id=task))):
            await refuses(call, MethodNotFoundError)
        await client.close()


async def refused(url):
    async with http() as client:
        answer = await client.get(f"{url}/.well-known/agent-card.json")
        assert answer.status_code == 403 and "x-strait-denied" in answer.headers, answer


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    assert what in ("granted", "other", "stays", "limited", "refused"), what
    asyncio.run(globals()[what](*arguments))
    print(f"{what}: ok")

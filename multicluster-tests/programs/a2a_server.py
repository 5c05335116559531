"""An A2A agent on a2a-sdk, both versions and bindings: `a2a_server.py SOCKET_OR_PORT NAME`.

What it does depends on the message: `wait` waits until it is canceled, `ask` asks back once, anything else is
answered with the agent's name, its context as the agent knows it, and the message.
"""

import asyncio
import sys

import uvicorn
from a2a.helpers import new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryPushNotificationConfigStore, InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from starlette.applications import Starlette

# What an agent says that does not know under which name it is reached; and one URL that is not its own.
OWN = "http://127.0.0.1:9000"


def interface(path, binding, version, base=OWN):
    return AgentInterface(url=base + path, protocol_binding=binding, protocol_version=version)


def card(name):
    skill = lambda key: AgentSkill(id=key, name=key, description=key, tags=["test"])
    return AgentCard(
        name=name,
        description="answers what it is told",
        version="1",
        supported_interfaces=[
            interface("/rpc", "JSONRPC", "1.0"),
            interface("", "HTTP+JSON", "1.0"),
            interface("/rpc", "JSONRPC", "0.3"),
            interface("", "HTTP+JSON", "0.3"),
            interface("/", "JSONRPC", "1.0", "https://evil.example"),
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=True, extended_agent_card=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[skill("search"), skill("delete")],
    )


class Executor(AgentExecutor):
    def __init__(self, name):
        self.name = name

    async def execute(self, context, events):
        text = context.get_user_input()
        task = context.current_task
        if task is None:
            task = new_task_from_user_message(context.message)
            task.id, task.context_id = context.task_id, context.context_id
            await events.enqueue_event(task)
        updater = TaskUpdater(events, context.task_id, context.context_id)
        await updater.start_work()
        if text == "wait":
            await asyncio.sleep(600)
        elif text == "ask":
            await updater.requires_input(message=new_text_message("what else?"))
        else:
            answer = f"{self.name}|{context.context_id}|{text}"
            await updater.add_artifact([new_text_part(answer)], name="answer")
            await updater.complete()

    async def cancel(self, context, events):
        await TaskUpdater(events, context.task_id, context.context_id).cancel()


def main(at, name):
    handler = DefaultRequestHandler(
        agent_executor=Executor(name),
        task_store=InMemoryTaskStore(),
        agent_card=card(name),
        push_config_store=InMemoryPushNotificationConfigStore(),
        extended_agent_card=card(name),
    )
    routes = [
        *create_agent_card_routes(card(name)),
        *create_jsonrpc_routes(handler, "/rpc", enable_v0_3_compat=True),
        *create_rest_routes(handler, enable_v0_3_compat=True),
    ]
    place = {"host": "127.0.0.1", "port": int(at)} if at.isdigit() else {"uds": at}
    uvicorn.run(Starlette(routes=routes), log_level="warning", **place)


if __name__ == "__main__":
    main(*sys.argv[1:])

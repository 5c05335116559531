"""A WebSocket server on a unix socket: `ws_server.py PATH`. It echoes; some texts are commands."""

import asyncio
import sys

from websockets.asyncio.server import unix_serve


async def serve(connection):
    async for message in connection:
        if message == "who":
            await connection.send(connection.request.headers.get("x-forwarded-client-cert", ""))
        elif message == "leave":
            await connection.close(4321, "as asked")
        else:
            await connection.send(message)


async def main():
    async with unix_serve(serve, sys.argv[1], max_size=8 << 20, subprotocols=["echo.v1"]) as server:
        await server.serve_forever()


asyncio.run(main())

"""A WebSocket client: `ws_client.py granted|refused URL PROXY IDENTITY`."""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def granted(url, proxy, identity):
    forged = {"x-forwarded-client-cert": "By=spiffe://x/y;URI=spiffe://evil/ns/a/sa/b"}
    settings = {"proxy": proxy, "max_size": 8 << 20, "subprotocols": ["echo.v1"], "additional_headers": forged}
    async with connect(url, **settings) as connection:
        assert connection.subprotocol == "echo.v1"
        assert "permessage-deflate" in connection.response.headers["sec-websocket-extensions"]
        await connection.send("who")
        told = await connection.recv()
        assert f"URI={identity}" in told and "evil" not in told, told
        for message in ("hello", "äöü", "", b"", bytes(range(256)), os.urandom(4 << 20)):
            await connection.send(message)
            assert await connection.recv() == message
        await connection.send(["in ", "frag", "ments"])
        assert await connection.recv() == "in fragments"
        latency = await (await connection.ping())
        assert latency < 10, latency
        await connection.send("leave")
        try:
            await connection.recv()
            raise AssertionError("it stays")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4321, "as asked"), closed
    # Many at once, each its own.
    async def one(number):
        async with connect(url, **settings) as connection:
            for turn in range(10):
                await connection.send(f"{number}/{turn}")
                assert await connection.recv() == f"{number}/{turn}"

    await asyncio.gather(*(one(number) for number in range(20)))


async def refused(url, proxy):
    try:
        async with connect(url, proxy=proxy):
            raise AssertionError("it was let through")
    except InvalidStatus as answer:
        assert answer.response.status_code == 403, answer
        assert "reason=NoGrant" in answer.response.headers["x-strait-denied"], answer.response.headers


async def main():
    what, url, proxy, identity = sys.argv[1:]
    await (granted(url, proxy, identity) if what == "granted" else refused(url, proxy))


asyncio.run(main())

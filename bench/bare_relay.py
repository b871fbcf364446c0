"""A relay that only moves bytes, on trio: two tasks per connection.

It has the gateway's shape and runtime and none of its work, so that the difference
between the two is what parsing, judging and recording cost.
"""

from __future__ import annotations

import argparse
import resource
from functools import partial

import trio

READ = 65536


async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    """Move bytes one way until the end of stream, and pass that on."""
    try:
        while data := await source.receive_some(READ):
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.aclose_forcefully(sink)


async def relay(host: str, port: int, client: trio.SocketStream) -> None:
    """One connection."""
    async with (
        client,
        await trio.open_tcp_stream(host, port) as upstream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(pump, client, upstream)
        nursery.start_soon(pump, upstream, client)


async def serve(host: str, port: int) -> None:
    """Relay to ``host:port`` until killed; prints ``ready PORT``."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        print("ready", listeners[0].socket.getsockname()[1], flush=True)
        await trio.serve_listeners(partial(relay, host, port), listeners, handler_nursery=nursery)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bare_relay", description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    trio.run(serve, arguments.host, arguments.port)


if __name__ == "__main__":
    main()

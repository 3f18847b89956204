#!/usr/bin/env bash
# uvicorn 0.54.0 on asyncio (CPython): TCP_NODELAY is on with one process and off with several, or with any socket handed in.
#
# What happens: asyncio sets TCP_NODELAY on a connection only where its socket was made with the number of TCP as protocol (getaddrinfo gives
#   6; socket.socket() and socket.create_server() leave 0, which the system takes for the same). uvicorn lets asyncio open the port when it
#   runs alone, but opens it itself (Config.bind_socket) for --workers and --reload, without that number. Head and body of an answer are two
#   writes, so that on a connection kept alive the body waits for the receipt of the head, 40 ms on Linux.
# Expected: the same connections whichever number of workers; asyncio's documentation says that TCP_NODELAY is set by default.
# Hurts: whoever measures a small service, adds workers and finds it slower: behind a keep-alive client each answer takes 40 ms more.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 h11==0.16.0
cat > "$work/show.py" <<'PY'
import asyncio
import platform
import socket
import sys
import urllib.request

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

print("uvicorn", uvicorn.__version__, "Python", platform.python_version(), platform.system())


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def nodelay(open_port):
    """Whether a connection to uvicorn has TCP_NODELAY; `open_port` gives the sockets that it is handed."""
    seen = []

    class Watched(H11Protocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    config = uvicorn.Config(app, port=0, http=Watched, loop="asyncio", lifespan="off", log_level="error", access_log=False)
    server = uvicorn.Server(config)

    async def main():
        serving = asyncio.create_task(server.serve(sockets=open_port(config)))
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/").read())
        server.should_exit = True
        await serving

    asyncio.run(main())
    return bool(seen[0])


alone = nodelay(lambda config: None)
workers = nodelay(lambda config: [config.bind_socket()])
print(f"TCP_NODELAY: {alone} where asyncio opens the port, {workers} with uvicorn's own bind_socket (--workers, --reload)")
sys.exit(0 if alone and not workers else 1)
PY
"$work/venv/bin/python" "$work/show.py"

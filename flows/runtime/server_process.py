"""The process of a temporary Prefect server: ``python server_process.py <socket's descriptor>``.

It serves on a socket that its parent has opened, so that no other process can take the port, and a
successor can take over. It ends when its parent does: then its standard input is closed.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

GRACE_S = 10.0  # between the parent's end and its own


def serve(listener: socket.socket) -> int:
    """Serve until the parent is gone or asks for the end; return the exit status."""
    import uvicorn

    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on"
    )
    server = uvicorn.Server(config)

    def end_with_parent() -> None:
        while os.read(0, 1024):
            pass
        server.should_exit = True
        time.sleep(GRACE_S)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run(sockets=[listener])
    return 0 if server.started else 3


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1]))))

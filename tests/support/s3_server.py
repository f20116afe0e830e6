"""A local S3-compatible server (moto) as a process of its own; ``python s3_server.py`` runs it.

Requests are served one after the other, as if every key had a lock: moto itself looks at a
condition and stores in two steps, real stores in one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BUCKET = "bucket"
SECRET = "do-not-store-this-secret"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Start a server with an empty bucket; yield the environment that names it."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield {
            "AWS_ENDPOINT_URL": process.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        process.kill()
        process.wait()


def main() -> None:
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
    dispatch, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"] = _read(environ)
        with one_at_a_time:
            return [b"".join(dispatch(environ, start_response))]

    server = make_server("127.0.0.1", 0, application, threaded=True)
    from moto.s3.models import s3_backends

    s3_backends["123456789012"]["aws"].create_bucket(BUCKET, "us-east-1")
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def _read(environ: Any) -> Any:
    """The whole request, so that a client that is slow, or dies, holds nobody up."""
    import io

    size = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(size)
    if len(body) < size:
        raise ConnectionError("the client has gone: what it began to send is not stored")
    return io.BytesIO(body)


if __name__ == "__main__":
    main()

"""A student as an HTTP service: observations in, action probabilities out; health and metrics."""

from __future__ import annotations

import json
import time
from importlib.resources import files
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from numpy.typing import NDArray
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client import generate_latest as metrics_text

from llm4teach.student.export.onnx_policy import OnnxStudent

RAW = "application/octet-stream"
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)  # seconds


def make_app(student: OnnxStudent, max_batch: int = 1024) -> FastAPI:
    """Return the application.

    ``POST /v1/act`` takes observations, as JSON (``{"observations": [...]}``, nested lists of whole
    numbers) or as the raw bytes of uint8 (N, *observation_shape) with the content type
    application/octet-stream, and answers with probabilities (N, n_actions) and the likeliest
    actions. What it does not understand it answers with status 422, and says why.

    Args:
        student: decides.
        max_batch: largest N of one request; more is answered with status 413.
    """
    cell = int(np.prod(student.observation_shape))
    largest = max_batch * cell * 5 + 4096  # bytes of JSON: at most "255, " a number
    app = FastAPI(title=f"Student of {student.facts['task']}", docs_url=None, redoc_url=None)
    app.openapi_tags = [{"name": "student", "description": f"facts: {json.dumps(student.facts)}"}]
    registry = CollectorRegistry()
    requests = Counter(
        "llm4teach_requests", "requests to /v1/act by status", ["status"], registry=registry
    )
    decisions = Counter("llm4teach_decisions", "observations decided", registry=registry)
    seconds = Histogram(
        "llm4teach_decision_seconds",
        "of one request's network",
        buckets=_BUCKETS,
        registry=registry,
    )

    @app.middleware("http")
    async def count(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        if request.url.path == "/v1/act":
            requests.labels(str(response.status_code)).inc()
        return response

    @app.post("/v1/act", tags=["student"], openapi_extra={"requestBody": _request_schema(student)})
    async def act(request: Request) -> JSONResponse:
        """Action probabilities of observations, and the likeliest action of each."""
        body = await _bounded(request, largest)
        raw = request.headers.get("content-type", "").partition(";")[0].strip() == RAW
        try:
            seen = _from_bytes(body, student, cell) if raw else _from_json(body, student)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        if len(seen) > max_batch:
            raise HTTPException(413, f"{len(seen)} observations; at most {max_batch} a request")
        began = time.perf_counter()
        try:
            probs = student.probabilities(seen)  # too quick to be worth a thread
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        seconds.observe(time.perf_counter() - began)
        decisions.inc(len(seen))
        names = student.action_names
        return JSONResponse(
            {
                "probabilities": probs.tolist(),
                "actions": [names[i] for i in probs.argmax(1)],
            }
        )

    @app.get("/health", tags=["service"])
    async def health() -> dict[str, Any]:
        """Whether the student answers, and which one it is."""
        blank = np.zeros((1, *student.observation_shape), np.uint8)
        answers = bool(np.isfinite(student.probabilities(blank)).all())
        if not answers:
            raise HTTPException(503, "the student's probabilities are not finite")
        return {"status": "ok", **student.facts}

    @app.get("/metrics", tags=["service"], response_class=Response)
    async def metrics() -> Response:
        """Counters and latencies in Prometheus' text format."""
        return Response(metrics_text(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        """What can be asked, for people; it loads nothing from elsewhere."""
        return HTMLResponse(_page(app, student))

    return app


async def _bounded(request: Request, largest: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise HTTPException(413, f"the body is larger than {largest:,} bytes")
    return bytes(body)


def _from_bytes(body: bytes, student: OnnxStudent, cell: int) -> NDArray[np.uint8]:
    if not body or len(body) % cell:
        shape = " x ".join(map(str, student.observation_shape))
        raise ValueError(f"{len(body)} bytes are no observations of {shape} = {cell} bytes each")
    return np.frombuffer(body, np.uint8).reshape(-1, *student.observation_shape)


def _from_json(body: bytes, student: OnnxStudent) -> NDArray[np.uint8]:
    """Parse and check; numpy makes the array, so that a large batch costs little."""
    shape = ("N", *student.observation_shape)
    try:
        content = json.loads(body)
        observations = content["observations"]
    except (ValueError, RecursionError):
        raise ValueError("the body is not valid JSON") from None
    except (KeyError, TypeError):
        raise ValueError('the body has to be {"observations": [...]}') from None
    try:
        seen = np.asarray(observations)
    except ValueError:
        raise ValueError(f"observations have to have the shape {shape}; rows differ") from None
    if seen.shape[1:] != student.observation_shape or not len(seen):
        raise ValueError(f"observations have to have the shape {shape}, not {seen.shape}")
    if seen.dtype.kind != "i" or seen.min() < 0 or seen.max() > 255:
        raise ValueError("observations have to be whole numbers from 0 to 255")
    return seen.astype(np.uint8)


def _request_schema(student: OnnxStudent) -> dict[str, Any]:
    code: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 255}
    for size in reversed(student.observation_shape):
        code = {"type": "array", "items": code, "minItems": size, "maxItems": size}
    observations = {"type": "array", "items": code, "minItems": 1}
    body = {
        "type": "object",
        "required": ["observations"],
        "properties": {"observations": observations},
    }
    raw = {"type": "string", "format": "binary", "description": "uint8 (N, *shape), C order"}
    content = {"application/json": {"schema": body}, RAW: {"schema": raw}}
    return {"required": True, "content": content}


def _page(app: FastAPI, student: OnnxStudent) -> str:
    from jinja2 import Environment

    text = (
        files("llm4teach.student.export").joinpath("service_page.html").read_text(encoding="utf-8")
    )
    routes = [
        (method.upper(), path, operation.get("description", ""))
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]
    shape, facts = student.observation_shape, student.facts
    template = Environment(autoescape=True).from_string(text)
    return template.render(title=app.title, routes=routes, facts=facts, shape=shape)

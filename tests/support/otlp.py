"""An OTLP receiver: HTTP with protobuf on a free loopback port, as a collector takes it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def plain(attributes: list[KeyValue]) -> dict[str, object]:
    """Attributes as Python values."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in attributes}


class OtlpSink:
    """Keeps whatever was sent."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lock = Lock()
        self.traces: list[ExportTraceServiceRequest] = []
        self.exports: list[ExportMetricsServiceRequest] = []
        self.raw: list[bytes] = []

    def spans(self) -> list[Span]:
        with self.lock:
            return [
                span
                for request in self.traces
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]

    def metrics(self) -> dict[str, Metric]:
        """The latest of each name."""
        with self.lock:
            return {
                metric.name: metric
                for request in self.exports
                for resource in request.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            }

    def resource(self) -> dict[str, object]:
        """What the latest spans say of their process."""
        with self.lock:
            return plain(list(self.traces[-1].resource_spans[-1].resource.attributes))


@contextmanager
def otlp_sink() -> Iterator[OtlpSink]:
    """A receiver, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.headers["Content-Type"] != "application/x-protobuf":
                self.send_error(415)
                return
            with sink.lock:
                sink.raw.append(body)
                answer = self._take(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _take(self, body: bytes) -> bytes:
            if self.path == "/v1/traces":
                sink.traces.append(ExportTraceServiceRequest.FromString(body))
                return bytes(ExportTraceServiceResponse().SerializeToString())
            assert self.path == "/v1/metrics"
            sink.exports.append(ExportMetricsServiceRequest.FromString(body))
            return bytes(ExportMetricsServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink = OtlpSink(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""The HTTP server for the metrics of a command that keeps running."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from ccl_exporter.settings import ListenAddress


def serve_collector(where: ListenAddress, collector: Collector) -> tuple[int, Callable[[], None]]:
    """Serve the metrics of a collector; returns the port and a function that stops the server.

    Raises `UsageError` if it cannot listen there.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        server, thread = start_http_server(where.port, where.host, registry)
    except OSError as error:
        raise where.failure(error) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_port, stop

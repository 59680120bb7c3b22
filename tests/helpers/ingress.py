"""A reverse proxy as Home Assistant's ingress is one: pages below a path of its own, asked from its own address.

Source: its Supervisor passes on a request without the path, with the path as `X-Ingress-Path`, and the headers
`X-Forwarded-For` and so on.
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATH = "/api/hassio_ingress/TOKEN"


@contextmanager
def ingress(port: int, source: str) -> Iterator[str]:
    """The address of a proxy before a port of loopback, which asks from the address `source`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{PATH}/"):
                return self.send_error(404)
            asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
            headers = {"Host": f"172.30.33.1:{port}", "X-Forwarded-For": "192.0.2.77", "X-Ingress-Path": PATH}
            asked.request("GET", self.path.removeprefix(PATH), headers=headers)
            answer = asked.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            asked.close()
            return None

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{PATH}/"
        finally:
            server.shutdown()
            thread.join()

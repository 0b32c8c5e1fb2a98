"""An S3 bucket on loopback, just enough for whole objects."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Bucket(ThreadingHTTPServer):
    """Objects of a path-style S3 endpoint; `refuse` answers 403, as for an expired key."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.refuse = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(403 if self.server.refuse else status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Mon, 03 Jun 2024 10:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def do_PUT(self) -> None:
        body = self.body()
        if not self.server.refuse:
            self.server.objects[self.path] = body
        self.answer(200)

    def do_GET(self) -> None:  # and HEAD
        there = self.path in self.server.objects
        self.answer(200 if there else 404, self.server.objects.get(self.path, b""))

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def do_POST(self) -> None:  # S3 deletes in bulk
        key = self.body().decode().partition("<Key>")[2].partition("<")[0]
        self.server.objects.pop(f"{self.path.partition('?')[0]}/{key}", None)
        self.answer(
            200, f"<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>".encode()
        )

    def log_message(self, *arguments: object) -> None:
        pass

"""An S3 bucket on loopback, just enough for whole objects, conditional writes and listings."""

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Bucket(ThreadingHTTPServer):
    """Objects of a path-style S3 endpoint; `refuse` answers 403, as for an expired key.

    `meanwhile` holds what happens, once, after a PUT to a path arrived and before it is made.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.refuse = False
        self.meanwhile: dict[str, Callable[[], object]] = {}
        self.writing = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(403 if self.server.refuse else status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.etag())
        self.send_header("Last-Modified", "Mon, 03 Jun 2024 10:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def etag(self) -> str:
        there = self.server.objects.get(self.path)
        return f'"{hashlib.md5(there or b"", usedforsecurity=False).hexdigest()}"'

    def listing(self) -> bytes:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        prefix, folders = query.get("prefix", [""])[0], set[str]()
        known = {
            path.removeprefix(f"{parts.path}/"): body for path, body in self.server.objects.items()
        }
        known = {key: body for key, body in known.items() if key.startswith(prefix)}
        if "delimiter" in query:
            folders = {
                key[: key.index("/", len(prefix)) + 1] for key in known if "/" in key[len(prefix) :]
            }
            known = {key: body for key, body in known.items() if "/" not in key[len(prefix) :]}
        rows = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(body)}</Size>"
            "<LastModified>2024-06-03T10:00:00.000Z</LastModified><ETag>x</ETag></Contents>"
            for key, body in sorted(known.items())
        )
        rows += "".join(
            f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"
            for folder in sorted(folders)
        )
        head = "<IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult>{head}{rows}</ListBucketResult>".encode()

    def do_PUT(self) -> None:
        body = self.body()
        self.server.meanwhile.pop(self.path, lambda: None)()
        with self.server.writing:  # conditions are checked and writes made in one go
            exists = self.headers["If-None-Match"] == "*" and self.path in self.server.objects
            if exists or self.headers["If-Match"] not in (None, self.etag()):
                self.answer(412)
                return
            if not self.server.refuse:
                self.server.objects[self.path] = body
            self.answer(200)

    def do_GET(self) -> None:  # and HEAD
        if "list-type=2" in self.path:
            self.answer(200, self.listing())
            return
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

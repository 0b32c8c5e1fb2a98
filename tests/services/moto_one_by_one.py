"""moto that answers one request at a time; run by the Python that it is installed for.

Its conditional writes look first and store afterwards, without a lock: of eight writers of a new
key sometimes two were told that they made it (5 of 60 keys where threads were switched often), and
then a commit is lost. S3 itself is atomic.
"""

import threading

from moto import server


class OneByOne(server.DomainDispatcherApplication):
    """The application of all services, with a lock around it."""

    _turn = threading.Lock()

    def __call__(self, environ, start_response):
        with self._turn:
            return list(super().__call__(environ, start_response))


if __name__ == "__main__":
    server.DomainDispatcherApplication = OneByOne
    server.main()

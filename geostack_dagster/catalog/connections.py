"""Pooled connections to a catalogue, which trust the same authorities and hold them once."""

from typing import Any, override

from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context


class Connections(HTTPAdapter):
    """At most so many connections to a host are kept, all with one TLS context.

    urllib3 makes a context for each connection, and each holds about 140 authorities of its own:
    0.7 MiB, for as long as the connection is kept, against 0.02 MiB. `requests` still says for each
    connection which authorities count; loading the same ones again adds nothing.
    """

    def __init__(self, kept: int) -> None:
        self._context = create_urllib3_context()
        super().__init__(pool_maxsize=kept)

    @override
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    @override
    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

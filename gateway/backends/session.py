"""The HTTP client that all backends of a process share."""

import aiohttp


class BackendSession:
    """One connection pool, opened when the event loop runs."""

    client: aiohttp.ClientSession

    def open(self) -> None:
        self.client = aiohttp.ClientSession(
            # Servers of models close idle connections after 5 s; a request sent at that moment
            # would fail, so the gateway closes them first.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            headers={"User-Agent": "sluice-gateway", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        await self.client.close()

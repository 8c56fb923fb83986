"""Clients that keep connections open without ever finishing, anew as soon as one is closed.

``python attackers.py HOST PORT TOKEN STALLED UPLOADS``: a process of its own, so that the test's
requests do not wait for it. Prints how many are open, every second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import resource
import sys
from collections import Counter

RECONNECT = 0.5  # seconds at most until a client that was closed comes back
_HEADER = b"GET /api/gallery HTTP/1.1\r\nHost: localhost\r\nX-Slow: "


class Attack:
    """So many connections that send half a header, and uploads that send 100 bytes a second."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._address = (host, port)
        self._upload = (
            "POST /api/search/pictures HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            f"Authorization: Bearer {token}\r\n"
            "Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
        ).encode()
        self.open: Counter[str] = Counter()

    async def run(self, stalled: int, uploads: int) -> None:
        """Attack until the process is ended."""
        clients = [self._client("stalled") for _ in range(stalled)]
        clients += [self._client("upload") for _ in range(uploads)]
        await asyncio.gather(self._report(), *clients)

    async def _client(self, kind: str) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(*self._address, limit=2**12)
                self.open[kind] += 1
                self.open[f"{kind}, in all"] += 1
                try:
                    writer.write(self._upload if kind == "upload" else _HEADER)
                    drip = asyncio.ensure_future(self._drip(writer)) if kind == "upload" else None
                    while await reader.read(4096):
                        pass
                    if drip:
                        drip.cancel()
                finally:
                    self.open[kind] -= 1
                    writer.transport.abort()
            await asyncio.sleep(random.uniform(0, RECONNECT))

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await asyncio.sleep(0.5)
            writer.write(b"x" * 50)

    async def _report(self) -> None:
        while True:
            print(json.dumps(self.open), flush=True)
            await asyncio.sleep(1)


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    host, port, token, stalled, uploads = sys.argv[1:]
    asyncio.run(Attack(host, int(port), token).run(int(stalled), int(uploads)))

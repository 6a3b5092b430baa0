"""Both clients behind one face, so that every test of their contract runs against each."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest

from streamrec.client import AsyncClient, Client, ClientSettings


class BlockingFace:
    """`AsyncClient` as if it blocked."""

    def __init__(self, settings, budget, pauses):
        async def sleep(seconds):
            pauses.append(seconds)

        self.runner = asyncio.Runner()
        self.client = AsyncClient(settings, budget, sleep=sleep)

    def recommend(self, *arguments, **named):
        return self.runner.run(self.client.recommend(*arguments, **named))

    def send_events(self, *arguments, **named):
        return self.runner.run(self.client.send_events(*arguments, **named))

    def close(self):
        self.runner.run(self.client.close())
        self.runner.close()


@pytest.fixture(params=["sync", "async"])
def opened(request):
    """A function that opens a client of an address; the client has the list of its pauses."""

    @contextmanager
    def open_client(base_url, budget=None, **settings):
        pauses = []
        described = ClientSettings(base_url, **settings)
        client = (
            Client(described, budget, sleep=pauses.append)
            if request.param == "sync"
            else BlockingFace(described, budget, pauses)
        )
        client.pauses = pauses
        try:
            yield client
        finally:
            client.close()

    return open_client

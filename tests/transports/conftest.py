"""Transports are tried on the event loop that `relay serve` runs on: its connections are of classes of their own."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def idle_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """By which kept connections of webhooks get too old: it stands still, and its only item is in seconds."""
    now = [1000.0]
    monkeypatch.setattr("aiohttp.connector.monotonic", lambda: now[0])
    return now

"""A fresh server and an HTTP client for each test of the web layer."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.web.site import Site, running_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as running:
        yield running


@pytest.fixture
async def http(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(site.url, auto_decompress=True) as session:
        yield session

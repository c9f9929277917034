"""Somebody with a browser, as far as our own pages need one: cookies, forms, buttons, redirects."""

from typing import Any
from urllib.parse import urljoin

import aiohttp
from attrs import define, field
from selectolax.lexbor import LexborHTMLParser, LexborNode

from tests.kit.server import Answer


@define(eq=False)
class Visitor:
    """One browser. It goes where it is led as long as that is on the server of `url`."""

    url: str
    http: aiohttp.ClientSession
    base: str = ""  # what the server believes its address to be
    at: str = ""
    answer: Answer | None = None
    cookies: dict[str, str] = field(factory=dict)

    @property
    def page(self) -> LexborHTMLParser:
        assert self.answer is not None
        return LexborHTMLParser(self.answer.content)

    @property
    def text(self) -> str:
        """What is to be read."""
        body = self.page.body
        assert body is not None
        return " ".join(body.text(separator=" ").split())

    async def open(self, path: str) -> None:
        """Go to a page."""
        await self._ask("GET", urljoin(self.url, path.removeprefix(self.base)))

    async def follow(self, words: str) -> None:
        """Take the link of these words."""
        link = next((one for one in self.page.css("a") if one.text() == words), None)
        assert link is not None, f"no such link: {self.text}"
        await self.open(urljoin(self.at, link.attributes["href"] or ""))

    async def press(self, step: str, **values: str) -> None:
        """Fill in the form with this button, and press it."""
        button = self.page.css_first(f'button[value="{step}"]')
        assert button is not None, f"no such button: {self.text}"
        form: LexborNode | None = button
        while form is not None and form.tag != "form":
            form = form.parent
        assert form is not None
        given = {
            str(one.attributes["name"]): one.attributes.get("value") or ""
            for one in form.css("input")
            if one.attributes.get("type") != "checkbox"
        }
        assert values.keys() <= {one.attributes["name"] for one in form.css("input")}
        await self._ask("POST", self.at, {**given, **values, "step": step})

    async def _ask(self, method: str, url: str, data: Any = None) -> None:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self.http.request(
            method, url, data=data, headers={"Cookie": cookie}, allow_redirects=False
        ) as response:
            self.answer = Answer(response.status, response.headers, await response.read())
        for header in response.headers.getall("Set-Cookie", []):
            name, _, value = header.partition(";")[0].partition("=")
            self.cookies[name] = value
        self.at = url
        if response.status in (302, 303):
            led = urljoin(url, response.headers["Location"])
            if self.base and led.startswith(self.base):
                led = self.url + led.removeprefix(self.base)
            if led.startswith(self.url):
                await self._ask("GET", led)
            else:
                self.at = led

"""Flows of several stages, and stages that are completed elsewhere."""

import asyncio

import pytest
from attrs import frozen

from homeserver.core.errors import forbidden
from homeserver.services.interactive_auth import Ask, Incomplete, InteractiveAuth

FLOWS = (("mail", "word"), ("terms",))


@frozen
class Word:
    """A stage that wants to hear its word."""

    type: str
    word: str

    def params(self):
        return {"hint": self.word[0]} if self.type == "terms" else {}

    async def complete(self, auth, ask):
        if auth.get("word") != self.word:
            raise forbidden("not the word")
        return {self.type: self.word}


@pytest.fixture
def auth(database):
    stages = [Word("mail", "m"), Word("word", "w"), Word("terms", "t")]
    return InteractiveAuth(database, {stage.type: stage for stage in stages})


def ask(body, purpose="act"):
    return Ask(purpose=purpose, body=body, flows=FLOWS)


async def refused(auth, asked):
    with pytest.raises(Incomplete) as caught:
        await auth.pass_through(asked)
    return caught.value


async def test_stages_in_their_order(auth):
    first = await refused(auth, ask({"do": 1}))
    assert (first.status, first.errcode) == (401, "")
    assert first.extra["flows"] == [{"stages": ["mail", "word"]}, {"stages": ["terms"]}]
    assert first.extra["params"] == {"terms": {"hint": "t"}}
    session = {"session": first.extra["session"]}
    early = await refused(auth, ask({"do": 1, "auth": {"type": "word", "word": "w", **session}}))
    assert (early.errcode, early.extra["completed"]) == ("M_FORBIDDEN", [])
    half = await refused(auth, ask({"auth": {"type": "mail", "word": "m", **session}}))
    assert (half.errcode, half.extra["completed"]) == ("", ["mail"])
    other = await refused(auth, ask({"auth": {"type": "terms", "word": "t", **session}}))
    assert (other.errcode, other.extra["completed"]) == ("M_FORBIDDEN", ["mail"])
    passed = await auth.pass_through(ask({"do": 1, "auth": {"type": "word", "word": "w", **session}}))
    assert passed.request == {"do": 1}
    assert passed.facts == {"mail": "m", "word": "w"}


async def test_after_a_stage_the_request_stands(auth):
    first = await refused(auth, ask({"do": 1, "auth": {"type": "mail", "word": "m"}}))
    with pytest.raises(Exception, match="M_FORBIDDEN: The request is not the one"):
        await auth.pass_through(
            ask({"do": 2, "auth": {"type": "word", "word": "w", "session": first.extra["session"]}})
        )


async def test_before_it_the_request_may_change(auth):
    first = await refused(auth, ask({"do": 1}))
    body = {"do": 2, "auth": {"type": "terms", "word": "t", "session": first.extra["session"]}}
    assert (await auth.pass_through(ask(body))).request == {"do": 2}


async def test_a_stage_completed_elsewhere(auth):
    session = (await refused(auth, ask({"do": 1}))).extra["session"]
    assert await auth.complete_stage(session, "mail", {"address": "a@b"})
    passed = await auth.pass_through(ask({"auth": {"type": "word", "word": "w", "session": session}}))
    assert passed.facts == {"address": "a@b", "word": "w"}
    assert not await auth.complete_stage(session, "mail", {})
    assert not await auth.complete_stage("unknown", "mail", {})


async def test_polling_for_a_stage_that_is_completed_elsewhere(auth):
    session = (await refused(auth, ask({"do": 1}))).extra["session"]
    waiting = ask({"do": 1, "auth": {"session": session}})
    assert (await refused(auth, waiting)).extra["completed"] == []
    await auth.complete_stage(session, "terms", {})
    assert (await auth.pass_through(waiting)).request == {"do": 1}


async def test_two_stages_at_once_do_not_undo_each_other(auth):
    session = (await refused(auth, ask({"do": 1}))).extra["session"]
    await asyncio.gather(*[auth.complete_stage(session, "mail", {str(n): n}) for n in range(4)])
    half = await refused(auth, ask({"auth": {"session": session}}))
    assert half.extra["completed"] == ["mail"]


async def test_no_more_than_fits_waits(auth):
    with pytest.raises(Exception, match="M_TOO_LARGE"):
        await auth.pass_through(ask({"do": "x" * 70_000}))

"""What a follower of the clock is told of commits."""

import asyncio

import pytest

from homeserver.services.commit_news import CommitNews
from storage.committer import Committed, Kind, Touched
from storage.room_batches import HeadMove, MembershipChange, RoomBatch, StateChange


def grew(first: int, room_nid: int, sp: int, note: object = None) -> Committed:
    head = HeadMove(room_nid, 0, 1, (), 1, sp, 1, 1, 0)
    return Committed(first, RoomBatch(head=head, events=(), note=note), Touched(rooms=(room_nid,)))


def touched(first: int, kind: Kind, *rooms: int) -> Committed:
    return Committed(first, None, Touched(rooms=rooms, kind=kind))


def followed(position: int) -> CommitNews:
    news = CommitNews(lambda batch: batch.note != "not ours", position)
    news.take()
    return news


def test_what_happened_where() -> None:
    news = followed(10)
    news.heard(12, [grew(11, 1, 5), touched(12, Kind.TYPING, 1, 2)])
    news.heard(13, [grew(13, 1, 6)])
    told = news.take()
    assert (told.position, told.everywhere, told.lengths) == (13, False, {1: 6})
    assert (told.rooms, told.kinds) == ({Kind.TYPING: {1, 2}}, {Kind.TYPING})
    again = news.take()
    assert (again.position, again.lengths, again.rooms, again.kinds) == (13, {}, {}, set())


def test_rooms_that_the_follower_does_not_care_for_only_move_the_position() -> None:
    news = followed(10)
    news.heard(11, [grew(11, 1, 5, note="not ours")])
    assert (news.take().lengths, news.position) == ({}, 11)


OURS, THEIRS = 101, 102


def moved(first: int, room_nid: int, sp: int, *user_nids: int) -> Committed:
    """A step in which these users come; the main line is `sp` long after it."""
    start = sp - len(user_nids)
    state = tuple(StateChange(nid, start + at, at, 1) for at, nid in enumerate(user_nids, start=1))
    batch = RoomBatch(
        head=HeadMove(room_nid, 0, 1, (), 1, sp, 1, 1, 0),
        events=(),
        state=state,
        memberships=tuple(MembershipChange(nid, 1, 1, 0) for nid in user_nids if nid == OURS),
    )
    return Committed(first, batch, Touched(rooms=(room_nid,)))


@pytest.mark.parametrize(
    ("steps", "befores"),
    [
        ([moved(11, 1, 6, OURS)], {1: 5}),
        ([moved(11, 1, 6, OURS), moved(12, 1, 6), moved(13, 1, 7, OURS)], {1: 5}),
        ([moved(11, 1, 6, THEIRS)], {}),
        ([moved(11, 1, 6, OURS), moved(12, 1, 7, THEIRS), moved(13, 1, 8, OURS)], {}),
        ([moved(11, 1, 7, OURS, THEIRS)], {}),
        ([moved(11, 1, 6, OURS), moved(12, 1, 9, OURS)], {}),  # in between, another process wrote
    ],
)
def test_where_nobody_but_ours_came_the_length_before_is_told(
    steps: list[Committed], befores: dict[int, int]
) -> None:
    news = followed(10)
    news.heard(steps[-1].first, steps)
    assert news.take().befores == befores


def test_a_hole_in_the_numbers_means_that_somebody_else_has_written() -> None:
    news = followed(10)
    news.heard(15, [grew(14, 1, 5), grew(15, 1, 6)])
    assert news.take().everywhere
    news.heard(17, [grew(16, 1, 7), grew(17, 1, 8)])
    assert not news.take().everywhere


async def test_waiting_ends_with_news_with_time_and_with_cancellation() -> None:
    news = followed(10)
    await news.wait(0.001)
    waiting = asyncio.create_task(news.wait(60))
    await asyncio.sleep(0)
    news.heard(11, [grew(11, 1, 5)])
    await waiting
    news.take()
    cancelled = asyncio.create_task(news.wait(60))
    await asyncio.sleep(0)
    news.look_everywhere(12)
    cancelled.cancel()  # in the same moment: a follower that did not hear it would never end
    with pytest.raises(asyncio.CancelledError):
        await cancelled


def test_what_is_for_other_servers_is_told_beside_what_is_for_ours() -> None:
    news = followed(10)
    elsewhere = Kind.TO_DEVICE_ELSEWHERE
    news.heard(11, [Committed(11, None, Touched(users=(OURS,), kind=Kind.TO_DEVICE, elsewhere=elsewhere))])
    assert news.take().kinds == {Kind.TO_DEVICE, elsewhere}

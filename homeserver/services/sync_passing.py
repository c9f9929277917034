"""What passes by in rooms and for users, as sync tells it: receipts, typing, account data, presence, devices."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson
from attrs import evolve, frozen

from homeserver.core.presence import IDLE_AFTER, OFFLINE
from homeserver.core.push.rules import Predefined
from homeserver.core.sync_fold import receipts_events
from homeserver.core.sync_view import KeepType, keeps_type
from homeserver.services.now import now_ms
from homeserver.services.sync_request import SyncRequest
from storage import presence, receipts, typing, user_news
from storage.committer import Kind
from storage.database import Connection
from storage.presence import Presence
from storage.state_keys import StateKeys

Unwritten = Callable[[], Mapping[int, Presence]]  # users of this process whose presence is not written yet

PUSH_RULES = "m.push_rules"  # account data that everybody has [cs "m.push_rules"]
MOST_UNKNOWN = 100  # people nothing is known of: that they are offline goes without saying in large rooms
_NOBODY = 0  # the number of no user


@frozen
class Span:
    """Joined rooms, and since when each of them is told; those told anew are told from the beginning."""

    since: int
    room_nids: Sequence[int]
    anew: frozenset[int] = frozenset()

    @property
    def rooms(self) -> list[tuple[int, int]]:
        """(room_nid, after) of all rooms."""
        return [(nid, 0 if nid in self.anew else self.since) for nid in self.room_nids]


@frozen
class SyncPassing:
    """Reads what has no place in timelines."""

    state_keys: StateKeys
    unwritten: Unwritten
    predefined: Predefined

    async def ephemeral(
        self, conn: Connection, request: SyncRequest, span: Span, kinds: set[Kind]
    ) -> dict[int, list[Any]]:
        """Events of typing and receipts by room."""
        told: dict[int, list[Any]] = {}
        keep = request.view.room.ephemeral
        if keeps_type(keep, "m.typing"):
            await self._typing(conn, span if Kind.TYPING in kinds else _only_anew(span), told)
        if keeps_type(keep, "m.receipt"):
            await self._receipts(conn, request, span if Kind.RECEIPTS in kinds else _only_anew(span), told)
        return told

    async def _typing(self, conn: Connection, span: Span, told: dict[int, list[Any]]) -> None:
        if not span.room_nids:
            return
        now = now_ms()
        found = await typing.since(conn, span.rooms)
        names = await self.state_keys.user_ids(conn, {nid for row in found for nid in row.until})
        for row in found:  # also that nobody types any more: who begins anew may have shown them before
            users = sorted(names[nid] for nid, until in row.until.items() if until > now)
            told.setdefault(row.room_nid, []).append({"type": "m.typing", "content": {"user_ids": users}})

    async def _receipts(
        self, conn: Connection, request: SyncRequest, span: Span, told: dict[int, list[Any]]
    ) -> None:
        if not span.room_nids:
            return
        found = await receipts.since(conn, request.user.user_nid, span.rooms)
        names = await self.state_keys.user_ids(
            conn, {row.user_nid for rows in found.values() for row in rows}
        )
        ignored = request.user.ignored or ()
        for room_nid, rows in found.items():
            told.setdefault(room_nid, []).extend(
                receipts_events(
                    (row.event_id, row.kind, names[row.user_nid], row.thread_id, row.ts)
                    for row in rows
                    if names[row.user_nid] not in ignored
                )
            )

    async def account_data(
        self, conn: Connection, request: SyncRequest, whole: Iterable[int], *, after: int | None = None
    ) -> dict[int, list[Any]]:
        """Account data by room, 0 for what is global: of `whole` all, of others what came after a position."""
        since = request.position if after is None else after
        rows = await user_news.account_data(conn, request.user.user_nid, since, whole)
        told: dict[int, list[Any]] = {}
        for row in rows:
            keep = request.view.room.account_data if row.room_nid else request.view.account_data
            if not keeps_type(keep, row.type) or (row.content is None and not request.position):
                continue
            content: Any = orjson.Fragment(row.content if row.content is not None else b"{}")
            if row.type == PUSH_RULES and not row.room_nid:
                content = self._push_rules(request, row.content)
            told.setdefault(row.room_nid, []).append({"type": row.type, "content": content})
        begins = request.since is None and keeps_type(request.view.account_data, PUSH_RULES)
        if begins and not any(row.type == PUSH_RULES and not row.room_nid for row in rows):
            told.setdefault(0, []).append({"type": PUSH_RULES, "content": self._push_rules(request, None)})
        return told

    def _push_rules(self, request: SyncRequest, kept: str | bytes | None) -> dict[str, Any]:
        """What is kept, with the predefined rules of today: those of the day it was kept may have been others."""
        content = orjson.loads(kept) if kept is not None else None
        return self.predefined.with_kept(request.user_id, content).as_content()

    async def presence(
        self,
        conn: Connection,
        request: SyncRequest,
        span: Span,
        *,
        changed: bool,
        came: Collection[int] = (),
    ) -> list[dict[str, Any]]:
        """Presence of those whom the user shares rooms with, as far as it is news; of who `came` in any case."""
        found: dict[int, Presence] = {}
        if changed:
            rows = await presence.since(conn, request.user.user_nid, span.room_nids, span.since)
            found |= {row.user_nid: row for row in rows}
        if span.anew and span.since:
            found |= await self.of_members(conn, list(span.anew))
        if came:
            rows = await presence.of_those_in(conn, list(came), span.room_nids)
            found |= self._as_of_now({row.user_nid: row for row in rows}, {row.user_nid for row in rows})
        return await self.presence_events(conn, request, found)

    async def of_members(self, conn: Connection, room_nids: Sequence[int]) -> dict[int, Presence]:
        """Presence of everybody who is in one of the rooms: for whom the reader has just come to see."""
        rows = await presence.since(conn, _NOBODY, room_nids, 0)
        there = {row.user_nid for row in rows}
        waiting = self.unwritten().keys() - there
        there |= await user_news.still_shared(conn, room_nids, waiting) if waiting else set()
        unknown = await presence.unknown_members(conn, room_nids, MOST_UNKNOWN)
        told = {nid: _unknown(nid) for nid in unknown} | {row.user_nid: row for row in rows}
        return self._as_of_now(told, there)

    async def of_users(self, conn: Connection, user_nids: Collection[int]) -> dict[int, Presence]:
        """Presence of users, as far as any is known."""
        return self._as_of_now(await presence.of_users(conn, user_nids), user_nids)

    def _as_of_now(self, written: Mapping[int, Presence], among: Collection[int]) -> dict[int, Presence]:
        """What is written, and over it what is not yet."""
        told = dict(written)
        for nid, live in self.unwritten().items():
            if nid in among:
                told[nid] = evolve(live, status_msg=written[nid].status_msg) if nid in written else live
        return told

    async def presence_events(
        self, conn: Connection, request: SyncRequest, found: Mapping[int, Presence]
    ) -> list[dict[str, Any]]:
        """Those of them that the client wants, as events."""
        names = await self.state_keys.user_ids(conn, found) if found else {}
        now = now_ms()
        return [
            presence_event(row, names[row.user_nid], now)
            for row in found.values()
            if _keeps(request.view.presence, names[row.user_nid])
        ]


def _unknown(user_nid: int) -> Presence:
    """Somebody who has never been seen is offline."""
    return Presence(user_nid, OFFLINE, None, 0)


def presence_event(row: Presence, user_id: str, now: int) -> dict[str, Any]:
    """An m.presence event [cs "m.presence"]."""
    return {"type": "m.presence", "sender": user_id, "content": presence_content(row, now)}


def presence_content(row: Presence, now: int) -> dict[str, Any]:
    """What is told of a user's presence."""
    ago = max(0, now - row.last_active_ts)
    content: dict[str, Any] = {"presence": row.state}
    if row.last_active_ts:
        content["last_active_ago"] = ago
    if row.state == "online":
        content["currently_active"] = row.currently_active or ago < IDLE_AFTER
    if row.status_msg is not None:
        content["status_msg"] = row.status_msg
    return content


def inbox_events(messages: Iterable[user_news.Message]) -> list[dict[str, Any]]:
    """To-device messages as /sync tells them [cs "Send-to-Device messaging"]."""
    return [
        {"sender": one.sender, "type": one.type, "content": orjson.Fragment(one.content)} for one in messages
    ]


def _only_anew(span: Span) -> Span:
    return Span(span.since, [nid for nid in span.room_nids if nid in span.anew], span.anew)


def _keeps(keep: KeepType | None, user_id: str) -> bool:
    return keeps_type(keep, "m.presence", user_id)

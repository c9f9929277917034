"""The extensions of sliding sync: what belongs to no timeline, each for who switched it on.

Of rooms they tell those that the client knows: everything of rooms that begin in this answer, of others what is new.
[MSC4186 "Extensions"]
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import evolve, frozen

from homeserver.core.sliding_extensions import Scope, ToDeviceWish
from homeserver.core.sync_fold import receipts_events
from homeserver.core.sync_view import RoomView, View
from homeserver.core.tokens import page_token
from homeserver.services.notifier import ActiveUser, Notifier
from homeserver.services.sliding.moment import Moment, joined, within
from homeserver.services.sliding.profiles import SlidingProfiles
from homeserver.services.sliding.room_list import JOIN
from homeserver.services.sync_devices import Sights, SyncDevices
from homeserver.services.sync_passing import Span, SyncPassing, inbox_events
from homeserver.services.sync_request import SyncRequest
from homeserver.services.thread_subscriptions import told
from storage import receipts, user_news
from storage.committer import Kind
from storage.database import Connection
from storage.thread_subscriptions import Window, window

TYPING, RECEIPT = "m.typing", "m.receipt"


@frozen
class Extra:
    """The members of `extensions`; `empty`: nothing among them is worth waking a client for.

    `profiled`: rooms and by which wish profiles of who is there have been told; not `complete`: some were put off.
    """

    answer: dict[str, Any]
    empty: bool
    inbox: int | None
    profiled: Mapping[int, int]
    complete: bool


@frozen
class SlidingExtensions:
    """Reads what extensions tell, but for the counts of keys."""

    notifier: Notifier
    passing: SyncPassing
    devices: SyncDevices
    profiles: SlidingProfiles

    async def gather(self, conn: Connection, request: SyncRequest, moment: Moment) -> Extra:
        """Everything that is switched on."""
        wishes = moment.selected.query.extensions
        found: dict[str, Any] = {}
        if wishes.account_data is not None:
            found["account_data"] = await self._account_data(conn, request, moment, wishes.account_data)
        if wishes.receipts is not None:
            found["receipts"] = await self._receipts(conn, request, moment, wishes.receipts)
        if wishes.typing is not None:
            found["typing"] = await self._typing(conn, request, moment, wishes.typing)
        sights = await self._sights(conn, request, moment)
        if wishes.e2ee and sights.lists:
            found["e2ee"] = {"device_lists": sights.lists}
        people = await self.profiles.gather(conn, request, moment, sights.gone)
        if wishes.profiles is not None and people.users:
            found[wishes.profiles.name] = {"users": people.users}
        if wishes.threads is not None:
            limit = wishes.threads.limit
            found[wishes.threads.name] = await _threads(conn, request, moment, limit)
        answer = {name: value for name, value in found.items() if value}
        if wishes.to_device is None or request.device_nid is None:
            return Extra(answer, not answer, None, people.rooms, people.complete)
        told, inbox = await self._inbox(conn, request, moment, wishes.to_device)
        empty = not answer and not told["events"]
        return Extra({**answer, "to_device": told}, empty, inbox, people.rooms, people.complete)

    async def _account_data(
        self, conn: Connection, request: SyncRequest, moment: Moment, scope: Scope
    ) -> dict[str, Any]:
        begun = within(moment.told.begun, moment, scope)
        if request.since is None:  # of thousands of rooms, only what the client hears of
            found = await self.passing.account_data(conn, request, {0, *begun}, after=moment.now)
        elif Kind.ACCOUNT_DATA in moment.kinds or begun:
            found = await self.passing.account_data(conn, request, begun)
        else:
            return {}
        rooms = within(found.keys() - {0}, moment, scope) & {*moment.known, *begun}
        told: dict[str, Any] = {}
        if found.get(0):
            told["global"] = found[0]
        if rooms:
            told["rooms"] = {_id(moment, nid): found[nid] for nid in rooms}
        return told

    async def _receipts(
        self, conn: Connection, request: SyncRequest, moment: Moment, scope: Scope
    ) -> dict[str, Any]:
        begun = within(moment.told.begun, moment, scope)
        touched = self._touched(request.user, moment, Kind.RECEIPTS, request.position)
        rooms = joined(within(touched, moment, scope), moment) - begun
        span = Span(request.position, list(rooms))
        found = await self._ephemeral(conn, request, span, RECEIPT) if rooms else {}
        shown = joined(within(moment.told.shown, moment, scope), moment)
        if shown:
            for nid, events in (await self._receipts_at(conn, request, moment, shown)).items():
                found[nid] = found.get(nid, []) + events
        return _rooms(moment, {nid: _merged(events) for nid, events in found.items() if events})

    async def _receipts_at(
        self, conn: Connection, request: SyncRequest, moment: Moment, shown: Iterable[int]
    ) -> dict[int, list[Any]]:
        """Whose timeline begins anew needs the receipts at the events that are told, and the user's own."""
        events = {nid: moment.told.shown[nid] for nid in shown}
        found = await receipts.at_events(conn, request.user.user_nid, events)
        users = {row.user_nid for rows in found.values() for row in rows}
        names = await self.passing.state_keys.user_ids(conn, users)
        ignored = request.user.ignored or ()
        return {
            nid: receipts_events(
                (row.event_id, row.kind, names[row.user_nid], row.thread_id, row.ts)
                for row in rows
                if names[row.user_nid] not in ignored
            )
            for nid, rows in found.items()
        }

    async def _typing(
        self, conn: Connection, request: SyncRequest, moment: Moment, scope: Scope
    ) -> dict[str, Any]:
        begun = joined(within(moment.told.begun, moment, scope), moment)
        touched = self._touched(request.user, moment, Kind.TYPING, request.position)
        rooms = joined(within(touched, moment, scope), moment) | begun
        span = Span(request.position, list(rooms), begun)
        found = await self._ephemeral(conn, request, span, TYPING) if rooms else {}
        return _rooms(moment, {nid: events[-1] for nid, events in found.items() if events})

    async def _ephemeral(
        self, conn: Connection, request: SyncRequest, span: Span, kind: str
    ) -> dict[int, list[Any]]:
        view = View(room=RoomView(ephemeral=lambda one, _: one == kind))
        return await self.passing.ephemeral(conn, evolve(request, view=view), span, set(Kind))

    async def _sights(self, conn: Connection, request: SyncRequest, moment: Moment) -> Sights:
        """Whose devices to look at again, and who is out of sight: of all the user's rooms, whatever the windows."""
        wishes, news = moment.selected.query.extensions, {Kind.EVENTS}
        if wishes.e2ee:
            news.add(Kind.DEVICE_LISTS)
        elif wishes.profiles is None:
            return Sights()
        if request.since is None or not moment.kinds & news:
            return Sights()
        rooms, since = moment.room_list, request.position
        joined = list(rooms.with_membership(JOIN))
        active = [rooms.rooms[nid] for nid in rooms.active_since(since)]
        moving = {room.room_nid: room.head_sp for room in active if room.head_position > since}
        return await self.devices.between(conn, request.user.user_nid, joined, moving, since)

    async def _inbox(
        self, conn: Connection, request: SyncRequest, moment: Moment, wish: ToDeviceWish
    ) -> tuple[dict[str, Any], int | None]:
        """The device's next to-device messages, from where the client says to have them."""
        since = wish.since or 0
        lags = request.since is None or since < request.position
        if request.device_nid is None or not (lags or Kind.TO_DEVICE in moment.kinds):
            return {"next_batch": str(max(since, moment.now)), "events": []}, None
        messages = await user_news.inbox(conn, request.device_nid, since, wish.limit)
        last = messages[-1].position if messages else None
        upto = last if last is not None and len(messages) >= wish.limit else max(since, moment.now)
        return {"next_batch": str(upto), "events": inbox_events(messages)}, last

    def _touched(self, user: ActiveUser, moment: Moment, kind: Kind, since: int) -> Collection[int]:
        """The known rooms in which something of this kind may be new."""
        if kind not in moment.kinds:
            return ()
        if since < user.floor or moment.now > self.notifier.position or user.marks.since(since) & {kind}:
            return moment.known
        return [
            nid
            for nid in user.fresh_since(since)
            if nid in moment.known and self.notifier.room_marks(nid).since(since) & {kind, Kind.ANYTHING}
        ]


async def _threads(conn: Connection, request: SyncRequest, moment: Moment, limit: int) -> dict[str, Any]:
    """What is new of the user's subscriptions [MSC4308], the latest; who begins hears of no ended ones."""
    if request.since is not None and Kind.THREAD_SUBSCRIPTIONS not in moment.kinds:
        return {}
    begins = request.since is None
    wanted = Window(0 if begins else request.position, moment.now + 1, limit, ended=not begins)
    answer, rest = told(await window(conn, request.user.user_nid, wanted), limit)
    return answer if rest is None else {**answer, "prev_batch": page_token(rest)}


def _rooms(moment: Moment, events: Mapping[int, Any]) -> dict[str, Any]:
    return {"rooms": {_id(moment, nid): event for nid, event in events.items()}} if events else {}


def _id(moment: Moment, nid: int) -> str:
    return moment.room_list.rooms[nid].room_id


def _merged(events: list[dict[str, Any]]) -> dict[str, Any]:
    """There is one receipt event a room here: where a user has two receipts at an event, the first one stays."""
    first, *others = events
    for event in others:
        for event_id, kinds in event["content"].items():
            for kind, users in kinds.items():
                into = first["content"].setdefault(event_id, {}).setdefault(kind, {})
                into |= {user: data for user, data in users.items() if user not in into}
    return first

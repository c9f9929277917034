"""The servers for which there was anything to send, each with its queue, and how far each has got."""

from collections.abc import Iterator, Mapping

from attrs import define, field

from federation.destination_queue import DestinationQueue
from federation.peers import Peers
from storage import outbound_bookmarks
from storage.database import Database

MOST = 20_000  # queues, beyond which those that have nothing to do are forgotten


@define(eq=False)
class Roster:
    """Queues by name. What is in memory is written by `store`: rows for those who are behind, one number for all."""

    database: Database
    peers: Peers
    most: int = MOST
    _queues: dict[str, DestinationQueue] = field(factory=dict)
    _moved: set[str] = field(factory=set)  # whose bookmark may be different from what is stored
    _stored: dict[str, int] = field(factory=dict)
    _stored_position: int | None = None

    def __iter__(self) -> Iterator[DestinationQueue]:
        return iter(self._queues.values())

    def __len__(self) -> int:
        return len(self._queues)

    def known(self, name: str) -> DestinationQueue | None:
        """The server's queue, if it has one."""
        return self._queues.get(name)

    def queue(self, name: str) -> DestinationQueue | None:
        """The server's queue, made now if it has none; None: we do not speak to it."""
        queue = self._queues.get(name)
        if queue is None and self.peers.refusal(name) is None:
            if len(self._queues) >= self.most:
                self._forget_idle()
            queue = self._queues[name] = DestinationQueue(name, 0)
        return queue

    def moved(self, name: str) -> None:
        """Something was offered to the server, or has arrived."""
        self._moved.add(name)

    async def load(self) -> int | None:
        """Take up what is stored; gives how far the clock was followed (None: never)."""
        async with self.database.read() as conn:
            self._stored_position, self._stored = await outbound_bookmarks.load(conn)
        for name, delivered in self._stored.items():
            queue = self.queue(name)
            if queue is not None:
                queue.delivered, queue.behind = delivered, True
        return self._stored_position

    async def store(self, position: int) -> None:
        """Write how far the clock was followed, and who has not got everything up to there."""
        moved, self._moved = self._moved, set()
        behind = self._behind(moved)
        changed = {name: at for name, at in behind.items() if self._stored.get(name) != at}
        done = [name for name in moved if name in self._stored and name not in behind]
        if position == self._stored_position and not changed and not done:
            return
        try:
            async with self.database.writer() as conn:
                await outbound_bookmarks.save(conn, position, changed, done)
        except BaseException:
            self._moved |= moved
            raise
        self._stored_position = position
        self._stored.update(changed)
        for name in done:
            del self._stored[name]

    def _behind(self, names: set[str]) -> Mapping[str, int]:
        queues = [queue for name in names if (queue := self._queues.get(name)) is not None]
        return {queue.name: queue.delivered for queue in queues if queue.has_events}

    def _forget_idle(self) -> None:
        idle = [
            name for name, queue in self._queues.items() if not queue.has_anything and name not in self._moved
        ]
        for name in idle[: self.most // 10]:
            del self._queues[name]

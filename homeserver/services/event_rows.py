"""Events as the rows that storage writes, the same for our own and for other servers' events."""

from homeserver.core.relations import relation_of
from storage.events import StoredEvent
from storage.room_batches import ACCEPTED, EventRow, RelationRow


def event_row(
    stored: StoredEvent,
    sender_nid: int,
    *,
    prev_nids: tuple[int, ...],
    auth_nids: tuple[int, ...],
    json: bytes,
    rejection: str | None = None,
) -> EventRow:
    """The row of an event; only accepted ones take a place in the timeline."""
    event = stored.event
    return EventRow(
        event_nid=stored.nid,
        event_id=event.event_id,
        origin_server_ts=event.origin_server_ts,
        sender_nid=sender_nid,
        type=event.type,
        key_nid=stored.key_nid,
        state_sp=stored.state_sp,
        overlay_nid=stored.overlay_nid,
        line_sp=stored.line_sp,
        on_line=stored.on_line,
        status=stored.status,
        rejection=rejection,
        in_timeline=stored.status == ACCEPTED,
        prev_nids=prev_nids,
        auth_nids=auth_nids,
        chain=stored.chain,
        chain_seq=stored.chain_seq,
        chain_links=stored.chain_links if stored.chain is not None else None,
        txn_device=stored.txn_device,
        txn_id=stored.txn_id,
        json=json,
    )


def relation_rows(stored: StoredEvent, sender_nid: int, index: int) -> list[RelationRow]:
    """The relation that an accepted event forms, if it does; `index` counts the events of its batch."""
    event = stored.event
    relation = relation_of(event.content)
    if relation is None or event.is_state:
        return []
    return [RelationRow(stored.nid, index, sender_nid, relation.parent_id, relation.rel_type, event.type)]

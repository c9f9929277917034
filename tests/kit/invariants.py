"""What holds in every database of ours between two commits, whatever clients and servers asked for."""

from storage.database import Connection

# Each finds rows that must not exist.
BROKEN = {
    "a head without a room": """
        SELECT h.room_nid, r.room_id, h.version FROM room_heads h LEFT JOIN rooms r USING (room_nid)
         WHERE r.version IS NULL""",
    "events in a timeline of a room without a head": """
        SELECT e.room_nid, e.event_id FROM events e LEFT JOIN room_heads h USING (room_nid)
         WHERE e.position IS NOT NULL AND h.version IS NULL""",
    "a user of ours in a room without a head": """
        SELECT m.room_nid, m.user_nid FROM local_memberships m LEFT JOIN room_heads h USING (room_nid)
         WHERE m.membership = 1 AND h.version IS NULL""",
    "a head without extremities": "SELECT room_nid FROM room_heads WHERE cardinality(extremities) = 0",
    "an extremity that is no accepted event of the room": """
        SELECT h.room_nid, x.nid FROM room_heads h CROSS JOIN unnest(h.extremities) x(nid)
          LEFT JOIN events e ON e.event_nid = x.nid AND e.room_nid = h.room_nid AND e.status = 0
         WHERE e.event_nid IS NULL""",
    "an extremity that an accepted event follows": """
        SELECT h.room_nid, x.nid FROM room_heads h CROSS JOIN unnest(h.extremities) x(nid)
          JOIN events e ON e.room_nid = h.room_nid AND e.status = 0 AND x.nid = ANY(e.prev_nids)""",
    "an accepted event that follows nothing we know": """
        SELECT e.event_id, p.nid FROM events e CROSS JOIN unnest(e.prev_nids) p(nid)
          LEFT JOIN events before ON before.event_nid = p.nid AND before.room_nid = e.room_nid
         WHERE e.status = 0 AND before.event_nid IS NULL""",
    "a position that two events have": """
        SELECT position FROM events WHERE position IS NOT NULL GROUP BY position, room_nid HAVING count(*) > 1""",
    "a position beyond the clock": """
        SELECT event_id FROM events WHERE position > (SELECT position FROM clock)""",
    "current state that is not the end of the main line": """
        WITH last AS (
            SELECT DISTINCT ON (room_nid, key_nid) room_nid, key_nid, event_nid
              FROM state_log ORDER BY room_nid, key_nid, sp DESC)
        SELECT room_nid, key_nid, l.event_nid, c.event_nid
          FROM (SELECT * FROM last WHERE event_nid IS NOT NULL) l
          FULL JOIN current_state c USING (room_nid, key_nid)
         WHERE l.event_nid IS DISTINCT FROM c.event_nid""",
    "a room without a create event": """
        SELECT h.room_nid FROM room_heads h WHERE NOT EXISTS (
            SELECT FROM current_state c JOIN state_keys k USING (key_nid)
             WHERE c.room_nid = h.room_nid AND k.type = 'm.room.create' AND k.state_key = '')""",
    "a head that counts its members wrong": """
        SELECT h.room_nid, h.joined, h.invited, n.joined, n.invited FROM room_heads h
          JOIN (SELECT room_nid, count(*) FILTER (WHERE membership = 1) AS joined,
                       count(*) FILTER (WHERE membership = 2) AS invited
                  FROM current_state GROUP BY room_nid) n USING (room_nid)
         WHERE (h.joined, h.invited) <> (n.joined, n.invited)""",
    "a membership of ours that the room's state does not tell": """
        SELECT c.room_nid, c.key_nid, m.membership, c.membership
          FROM current_state c JOIN accounts a ON a.user_nid = c.key_nid
          LEFT JOIN local_memberships m ON m.room_nid = c.room_nid AND m.user_nid = c.key_nid
         WHERE c.membership IS DISTINCT FROM m.membership
           AND EXISTS (SELECT FROM local_memberships f WHERE f.room_nid = c.room_nid AND f.membership = 1)""",
    "an alias or a published room that is no room": """
        SELECT room_nid FROM (SELECT room_nid FROM aliases UNION SELECT room_nid FROM published_rooms) n
         WHERE NOT EXISTS (SELECT FROM room_heads h WHERE h.room_nid = n.room_nid)""",
    "a token of no account": """
        SELECT user_nid FROM access_tokens t WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.user_nid = t.user_nid)""",
}


async def broken(conn: Connection) -> dict[str, list[tuple]]:
    """Which of these do not hold, and the first rows that show it."""
    found = {what: await conn.fetch(f"{rows} LIMIT 5") for what, rows in BROKEN.items()}
    return {what: [tuple(row) for row in rows] for what, rows in found.items() if rows}

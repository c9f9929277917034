-- The database of Homing, as it is today. Migrations in storage/migrations lead to the same catalogue; a test holds that.
--
-- Rooms, state keys, users, devices and events are integers inside ("nid"); their strings stand once, in the tables
-- that give the numbers. A user's number is the number of the state key ('m.room.member', user id): membership of a
-- user in all rooms is then one index range. Large tables have no foreign keys to rooms or events, so that purging
-- a room is range deletes. `position` is always a number of the one clock.

CREATE TABLE clock (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE clock IS 'The one counter. Its row is locked from the advance to the commit, so numbers become visible in order.';
INSERT INTO clock (position) VALUES (1);

CREATE TABLE clock_marks (
    ts       bigint PRIMARY KEY,
    position bigint NOT NULL
);
COMMENT ON TABLE clock_marks IS 'Where the clock stood, once a day: how old a position is.';

CREATE SEQUENCE room_nids AS int INCREMENT BY 20;
COMMENT ON SEQUENCE room_nids IS 'Each step hands one process a block of 20 room numbers.';
CREATE SEQUENCE event_nids INCREMENT BY 1000;
COMMENT ON SEQUENCE event_nids IS 'Each step hands one process a block of 1000 event numbers.';

CREATE TABLE server_identity (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    server_name text NOT NULL
);
COMMENT ON TABLE server_identity IS 'The server name this database belongs to; a start under another name is refused.';

-- Dictionaries ---------------------------------------------------------------------------------------------------

CREATE TABLE state_keys (
    key_nid   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type      text NOT NULL,
    state_key text NOT NULL,
    UNIQUE (state_key, type)
);
CREATE INDEX state_keys_by_server ON state_keys (substr(state_key, strpos(state_key, ':') + 1)) WHERE type = 'm.room.member';
COMMENT ON TABLE state_keys IS 'Numbers for (event type, state key). Rows are never changed or deleted. Users are the m.room.member rows.';

CREATE TABLE rooms (
    room_nid   int PRIMARY KEY,
    room_id    text NOT NULL UNIQUE,
    version    text,
    created_ts bigint NOT NULL
);
COMMENT ON TABLE rooms IS 'Numbers for rooms. version is null while only an invite or a knock of another server is known.';

-- Rooms, events, state --------------------------------------------------------------------------------------------

CREATE TABLE room_heads (
    room_nid    int PRIMARY KEY,
    version     bigint NOT NULL,
    extremities bigint[] NOT NULL,
    depth       bigint NOT NULL,
    sp          int NOT NULL,
    chains      int NOT NULL,
    joined      int NOT NULL,
    invited     int NOT NULL,
    position    bigint NOT NULL
) WITH (fillfactor = 60);
COMMENT ON TABLE room_heads IS 'The moving end of each room we are in. version is checked and raised by every commit: two processes cannot both build on the same head. sp is the main line''s length, position the clock at the last timeline event.';

CREATE TABLE events (
    event_nid        bigint NOT NULL,
    position         bigint,
    origin_server_ts bigint NOT NULL,
    redacted_by      bigint,
    overlay_nid      bigint,
    room_nid         int NOT NULL,
    sender_nid       int NOT NULL,
    key_nid          int,
    state_sp         int,
    line_sp          int,
    txn_device       int,
    chain            int,
    chain_seq        int,
    status           smallint NOT NULL,
    on_line          boolean NOT NULL,
    event_id         text NOT NULL,
    type             text NOT NULL,
    prev_nids        bigint[] NOT NULL,
    auth_nids        bigint[] NOT NULL,
    chain_links      int[],
    txn_id           text,
    rejection        text,
    json             bytea NOT NULL,
    PRIMARY KEY (event_nid),
    UNIQUE (event_id)
);
COMMENT ON TABLE events IS 'Every event we know. json is the signed canonical PDU, made once. position: the clock number in the timeline; negative for history fetched backwards; null for outliers. State before the event: (state_sp, overlay_nid); line_sp is the main line''s length after its commit, on_line says that the event itself is the entry at line_sp. status: 0 accepted, 1 rejected, 2 soft-failed, 3 outlier.';
COMMENT ON COLUMN events.chain_links IS 'Chain cover of auth events: cumulative [chain, seq, …] directly reachable from this chain up to here.';
CREATE INDEX events_by_position ON events (room_nid, position) WHERE position IS NOT NULL;
CREATE INDEX events_by_time ON events (room_nid, origin_server_ts) WHERE position IS NOT NULL;
CREATE UNIQUE INDEX events_by_transaction ON events (txn_device, txn_id, room_nid) WHERE txn_id IS NOT NULL;
CREATE UNIQUE INDEX events_by_chain ON events (room_nid, chain, chain_seq) WHERE chain IS NOT NULL;

CREATE TABLE missing_events (
    room_nid  int NOT NULL,
    event_id  text NOT NULL,
    wanted_by bigint NOT NULL,
    PRIMARY KEY (room_nid, event_id, wanted_by)
);
COMMENT ON TABLE missing_events IS 'Events that known events point at and that we do not have: the backward extremities.';

CREATE TABLE state_log (
    room_nid  int NOT NULL,
    key_nid   int NOT NULL,
    sp        int NOT NULL,
    event_nid bigint,
    PRIMARY KEY (room_nid, key_nid, sp)
);
COMMENT ON TABLE state_log IS 'The main line: a row whenever our resolved current state of a room changes; null: the key went away. Append-only.';
CREATE INDEX state_log_by_sp ON state_log (room_nid, sp);

CREATE TABLE state_overlays (
    overlay_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_nid    int NOT NULL,
    base_sp     int NOT NULL,
    digest      bytea NOT NULL,
    key_nids    int[] NOT NULL,
    event_nids  bigint[] NOT NULL,
    UNIQUE (room_nid, digest)
);
COMMENT ON TABLE state_overlays IS 'State on a fork, as sorted differences (0: absent) from the main line at base_sp, addressed by content.';

CREATE TABLE current_state (
    event_nid  bigint NOT NULL,
    room_nid   int NOT NULL,
    key_nid    int NOT NULL,
    membership smallint,
    PRIMARY KEY (room_nid, key_nid)
) WITH (fillfactor = 90);
COMMENT ON TABLE current_state IS 'The resolved state now: the hot path. membership: 1 join, 2 invite, 3 knock, 4 leave, 5 ban; null for other types.';
CREATE INDEX current_state_of_key ON current_state (key_nid) WHERE membership IS NOT NULL;
CREATE INDEX current_state_members ON current_state (room_nid, membership, event_nid) WHERE membership IS NOT NULL;

CREATE TABLE local_memberships (
    event_nid      bigint NOT NULL,
    position       bigint NOT NULL,
    since          bigint NOT NULL DEFAULT 0,
    user_nid       int NOT NULL,
    room_nid       int NOT NULL,
    membership     smallint NOT NULL,
    forgotten      boolean NOT NULL DEFAULT false,
    stripped_state text,
    PRIMARY KEY (user_nid, room_nid)
);
COMMENT ON TABLE local_memberships IS 'Which rooms concern our own users, also rooms we are only invited to. since: from where on the membership has been a join; position: its newest event. stripped_state: JSON array of invites and knocks.';
CREATE INDEX local_memberships_joined ON local_memberships (room_nid) WHERE membership = 1;
CREATE INDEX local_memberships_outside ON local_memberships (position) WHERE membership <> 1;

CREATE TABLE relations (
    position   bigint,
    child_nid  bigint PRIMARY KEY,
    room_nid   int NOT NULL,
    sender_nid int NOT NULL,
    parent_id  text NOT NULL,
    rel_type   text NOT NULL,
    child_type text NOT NULL,
    redacted   boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE relations IS 'm.relates_to of accepted events. A redacted child no longer relates.';
CREATE INDEX relations_by_parent ON relations (parent_id, rel_type, position);
CREATE INDEX relations_threads ON relations (room_nid, position) WHERE rel_type = 'm.thread';

CREATE TABLE redactions (
    redacts      text NOT NULL,
    redaction_nid bigint NOT NULL,
    room_nid     int NOT NULL,
    PRIMARY KEY (redacts, redaction_nid)
);
COMMENT ON TABLE redactions IS 'Which redaction names which event, also one that has not arrived yet.';

CREATE TABLE aliases (
    alias       text PRIMARY KEY,
    room_nid    int NOT NULL,
    creator_nid int NOT NULL,
    created_ts  bigint NOT NULL
);
COMMENT ON TABLE aliases IS 'Our own room aliases.';
CREATE INDEX aliases_of_room ON aliases (room_nid);

CREATE TABLE published_rooms (
    room_nid int PRIMARY KEY
);
COMMENT ON TABLE published_rooms IS 'Rooms in our public room directory.';

-- People and devices ----------------------------------------------------------------------------------------------

CREATE TABLE accounts (
    user_nid      int PRIMARY KEY,
    user_id       text NOT NULL UNIQUE,
    password_hash text,
    created_ts    bigint NOT NULL,
    admin         boolean NOT NULL DEFAULT false,
    guest         boolean NOT NULL DEFAULT false,
    deactivated   boolean NOT NULL DEFAULT false,
    erased        boolean NOT NULL DEFAULT false,
    locked        boolean NOT NULL DEFAULT false,
    suspended     boolean NOT NULL DEFAULT false,
    appservice_id text,
    user_type     text
);
COMMENT ON TABLE accounts IS 'Accounts of this server. password_hash: PHC string of Argon2id, or bcrypt for imported accounts.';

CREATE TABLE devices (
    device_nid    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_nid      int NOT NULL,
    device_id     text NOT NULL,
    display_name  text,
    last_seen_ts  bigint,
    last_seen_ip  text,
    last_seen_agent text,
    oauth_client  text,
    created_ts    bigint NOT NULL,
    UNIQUE (user_nid, device_id)
);
COMMENT ON TABLE devices IS 'A user''s sessions. last_seen is written at most once in some minutes a device. oauth_client: whom OAuth gave it to.';
CREATE INDEX devices_of_oauth_client ON devices (oauth_client) WHERE oauth_client IS NOT NULL;

CREATE TABLE access_tokens (
    token_hash  bytea PRIMARY KEY,
    user_nid    int NOT NULL,
    device_nid  int,
    refresh_nid bigint,
    expires_ts  bigint,
    created_ts  bigint NOT NULL
);
COMMENT ON TABLE access_tokens IS 'SHA-256 of each access token; the token itself is never stored.';
CREATE INDEX access_tokens_of_user ON access_tokens (user_nid, device_nid);
CREATE INDEX access_tokens_of_refresh ON access_tokens (refresh_nid) WHERE refresh_nid IS NOT NULL;

CREATE TABLE refresh_tokens (
    refresh_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash  bytea NOT NULL UNIQUE,
    user_nid    int NOT NULL,
    device_nid  int NOT NULL,
    successor   bigint,
    expires_ts  bigint,
    created_ts  bigint NOT NULL,
    generation  bigint,
    line        bytea
);
COMMENT ON TABLE refresh_tokens IS 'A refresh token dies when its successor is first used. line, generation: those of OAuth tell whose successors they are.';
CREATE INDEX refresh_tokens_of_user ON refresh_tokens (user_nid, device_nid);
CREATE INDEX refresh_tokens_by_successor ON refresh_tokens (successor) WHERE successor IS NOT NULL;
CREATE INDEX refresh_tokens_by_line ON refresh_tokens (line) WHERE line IS NOT NULL;

CREATE TABLE short_lived_tokens (
    token_hash bytea PRIMARY KEY,
    purpose    text NOT NULL,
    user_nid   int NOT NULL,
    expires_ts bigint NOT NULL
);
COMMENT ON TABLE short_lived_tokens IS 'SHA-256 of tokens that prove one thing for a short time: m.login.token, OpenID.';
CREATE INDEX short_lived_tokens_by_expiry ON short_lived_tokens (expires_ts);

CREATE TABLE revocations (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    count bigint NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE revocations IS 'Raised whenever a token dies or an account changes its rights: processes that remember tokens look here.';
INSERT INTO revocations (count) VALUES (0);

CREATE TABLE oauth_clients (
    client_id text PRIMARY KEY,
    metadata  text NOT NULL,
    used_ts   bigint NOT NULL
);
COMMENT ON TABLE oauth_clients IS 'Registered clients (JSON). The id is made of the metadata: those who say the same share one.';
CREATE INDEX oauth_clients_by_use ON oauth_clients (used_ts);

CREATE TABLE oauth_codes (
    code_hash    bytea PRIMARY KEY,
    user_nid     int NOT NULL,
    spent        boolean NOT NULL DEFAULT false,
    expires_ts   bigint NOT NULL,
    client_id    text NOT NULL,
    device_id    text NOT NULL,
    scope        text NOT NULL,
    redirect_uri text NOT NULL,
    challenge    text NOT NULL
);
COMMENT ON TABLE oauth_codes IS 'Authorization codes, SHA-256. A spent one stays until it expires: who brings it again may have stolen it.';
CREATE INDEX oauth_codes_by_expiry ON oauth_codes (expires_ts);

CREATE TABLE oauth_device_codes (
    code_hash  bytea PRIMARY KEY,
    user_code  text NOT NULL UNIQUE,
    user_nid   int,
    denied     boolean NOT NULL DEFAULT false,
    polled_ts  bigint NOT NULL DEFAULT 0,
    expires_ts bigint NOT NULL,
    client_id  text NOT NULL,
    device_id  text NOT NULL,
    scope      text NOT NULL
);
COMMENT ON TABLE oauth_device_codes IS 'Logins that a browser elsewhere confirms; user_nid is who did.';
CREATE INDEX oauth_device_codes_by_expiry ON oauth_device_codes (expires_ts);

CREATE TABLE web_sessions (
    token_hash bytea PRIMARY KEY,
    user_nid   int NOT NULL,
    expires_ts bigint NOT NULL
);
COMMENT ON TABLE web_sessions IS 'Who is logged in with a browser on our own pages; SHA-256 of the cookie.';
CREATE INDEX web_sessions_by_expiry ON web_sessions (expires_ts);
CREATE INDEX web_sessions_of_user ON web_sessions (user_nid);

CREATE TABLE registration_tokens (
    token        text PRIMARY KEY,
    uses_allowed int,
    pending      int NOT NULL DEFAULT 0,
    completed    int NOT NULL DEFAULT 0,
    expires_ts   bigint
);
COMMENT ON TABLE registration_tokens IS 'Tokens for the m.login.registration_token stage; null uses_allowed: unlimited.';

CREATE TABLE interactive_auth (
    session_id text PRIMARY KEY,
    created_ts bigint NOT NULL,
    purpose    text NOT NULL,
    request    text NOT NULL,
    completed  text NOT NULL,
    facts      text NOT NULL
);
COMMENT ON TABLE interactive_auth IS 'Running user-interactive authentications: what is asked for (JSON), which stages are done, what they found out.';
CREATE INDEX interactive_auth_by_age ON interactive_auth (created_ts);

CREATE TABLE profiles (
    user_nid int NOT NULL,
    field    text NOT NULL,
    value    text NOT NULL,
    PRIMARY KEY (user_nid, field)
);
COMMENT ON TABLE profiles IS 'Profile fields of our users, JSON values.';

CREATE TABLE profile_changes (
    position bigint NOT NULL,
    user_nid int NOT NULL,
    field    text NOT NULL,
    PRIMARY KEY (user_nid, field)
);
COMMENT ON TABLE profile_changes IS 'When fields of profiles last changed; of those that were there from the beginning nothing, of those that are no more the last ones.';
CREATE INDEX profile_changes_by_position ON profile_changes (position);

CREATE TABLE account_data (
    position bigint NOT NULL,
    user_nid int NOT NULL,
    room_nid int NOT NULL,
    type     text NOT NULL,
    content  text,
    PRIMARY KEY (user_nid, room_nid, type)
);
COMMENT ON TABLE account_data IS 'Account data; room_nid 0 is global. Tags are m.tag, read markers m.fully_read. A null content was deleted.';
CREATE INDEX account_data_by_position ON account_data (user_nid, position);
CREATE INDEX account_data_push_rules ON account_data (position) WHERE type = 'm.push_rules';

CREATE TABLE filters (
    user_nid   int NOT NULL,
    filter_id  int NOT NULL,
    definition text NOT NULL,
    PRIMARY KEY (user_nid, filter_id)
);
COMMENT ON TABLE filters IS 'Filters that clients uploaded; equal ones share a number.';

-- What passes by --------------------------------------------------------------------------------------------------

CREATE TABLE receipts (
    position  bigint NOT NULL,
    ts        bigint NOT NULL,
    event_nid bigint,
    room_nid  int NOT NULL,
    user_nid  int NOT NULL,
    kind      text NOT NULL,
    thread_id text NOT NULL,
    event_id  text NOT NULL,
    PRIMARY KEY (room_nid, user_nid, kind, thread_id)
);
COMMENT ON TABLE receipts IS 'The last receipt of each kind and thread; thread_id is empty for unthreaded ones.';
CREATE INDEX receipts_by_position ON receipts (room_nid, position);

CREATE TABLE thread_subscriptions (
    position   bigint NOT NULL,
    user_nid   int NOT NULL,
    room_nid   int NOT NULL,
    subscribed boolean NOT NULL,
    automatic  boolean NOT NULL,
    thread_id  text NOT NULL,
    PRIMARY KEY (user_nid, room_nid, thread_id)
);
COMMENT ON TABLE thread_subscriptions IS 'Threads (by their root) that users want to hear of; not subscribed: they wanted to hear no more, at position.';
CREATE INDEX thread_subscriptions_by_position ON thread_subscriptions (user_nid, position);
CREATE INDEX thread_subscriptions_of_thread ON thread_subscriptions (room_nid, thread_id) WHERE subscribed;

CREATE UNLOGGED TABLE typing (
    room_nid int PRIMARY KEY,
    position bigint NOT NULL,
    user_nids int[] NOT NULL,
    expires_ts bigint[] NOT NULL
);
COMMENT ON TABLE typing IS 'Who types in a room, and until when at most. Lost in a crash, as it may be.';

CREATE UNLOGGED TABLE presence (
    user_nid       int PRIMARY KEY,
    position       bigint NOT NULL,
    state          text NOT NULL,
    status_msg     text,
    last_active_ts bigint NOT NULL,
    expires_ts     bigint NOT NULL,
    currently_active boolean NOT NULL DEFAULT false
) WITH (fillfactor = 60);
COMMENT ON TABLE presence IS 'Presence of users, ours and others''. After expires_ts it is no longer true. Lost in a crash, as it may be.';
CREATE INDEX presence_by_position ON presence (position);

CREATE TABLE to_device (
    device_nid int NOT NULL,
    position   bigint NOT NULL,
    ord        int NOT NULL,
    sender     text NOT NULL,
    type       text NOT NULL,
    content    text NOT NULL,
    PRIMARY KEY (device_nid, position, ord)
);
COMMENT ON TABLE to_device IS 'Messages for a device, in order, kept until its next sync acknowledges them.';

CREATE TABLE device_list_changes (
    position bigint NOT NULL,
    user_nid int NOT NULL,
    seen_by  int NOT NULL DEFAULT 0,
    PRIMARY KEY (user_nid, seen_by)
);
COMMENT ON TABLE device_list_changes IS 'When a user''s devices or keys last changed; seen_by: for whom only (who signed them), 0: all who share a room.';
CREATE INDEX device_list_changes_by_position ON device_list_changes (position);

CREATE TABLE transactions (
    device_nid int NOT NULL,
    endpoint   text NOT NULL,
    txn_id     text NOT NULL,
    answer     text NOT NULL,
    created_ts bigint NOT NULL,
    PRIMARY KEY (device_nid, endpoint, txn_id)
);
COMMENT ON TABLE transactions IS 'Answers of idempotent requests that made no event (those that did are found by events_by_transaction).';
CREATE INDEX transactions_by_age ON transactions (created_ts);

-- Out to other servers ---------------------------------------------------------------------------------------------

CREATE TABLE outbound_to_device (
    position    bigint NOT NULL,
    ord         int NOT NULL,
    destination text NOT NULL,
    edu         bytea NOT NULL,
    PRIMARY KEY (destination, position, ord)
);
COMMENT ON TABLE outbound_to_device IS 'm.direct_to_device EDUs (canonical JSON, with edu_type and content) for other servers, in order, kept until the server has answered 200.';
CREATE INDEX outbound_to_device_by_position ON outbound_to_device (position);

CREATE TABLE relayed_events (
    event_nid bigint PRIMARY KEY
);
COMMENT ON TABLE relayed_events IS 'Events of other servers'' users that we, as the resident server, must send on to the servers in the room: joins, leaves and knocks that came by send_*.';

CREATE TABLE destination_bookmarks (
    destination text PRIMARY KEY,
    position    bigint NOT NULL
);
COMMENT ON TABLE destination_bookmarks IS 'Servers that have not got everything: all events up to position were delivered. A server without a row has everything up to the bookmark of the follower "federation".';

-- What other servers sent, until it is judged -----------------------------------------------------------------------

CREATE TABLE inbound_transactions (
    received_ts bigint NOT NULL,
    origin      text NOT NULL,
    txn_id      text NOT NULL,
    answer      bytea NOT NULL,
    PRIMARY KEY (origin, txn_id)
);
COMMENT ON TABLE inbound_transactions IS 'Transactions of other servers with the answers they got: repeated ones get the same. Kept for a day.';
CREATE INDEX inbound_transactions_by_age ON inbound_transactions (received_ts);

CREATE TABLE inbound_pdus (
    pdu_nid  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    retry_ts bigint NOT NULL DEFAULT 0,
    room_nid int NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,
    origin   text NOT NULL,
    event_id text NOT NULL,
    json     bytea NOT NULL
);
COMMENT ON TABLE inbound_pdus IS 'PDUs that were answered with 200 and have no verdict yet, as they came. retry_ts: not before then; attempts: how often other events were missing.';
CREATE INDEX inbound_pdus_of_room ON inbound_pdus (room_nid, pdu_nid);

-- End-to-end encryption ---------------------------------------------------------------------------------------------

CREATE TABLE device_keys (
    device_nid int PRIMARY KEY,
    user_nid   int NOT NULL,
    json       text NOT NULL
);
COMMENT ON TABLE device_keys IS 'The identity keys of our devices with their user''s signatures, canonical JSON without unsigned, spliced into answers.';
CREATE INDEX device_keys_of_user ON device_keys (user_nid);

CREATE TABLE one_time_key_queues (
    marked_ts  bigint NOT NULL,
    queue_nid  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_nid int NOT NULL,
    uploaded   int NOT NULL DEFAULT 0,
    claimed    int NOT NULL DEFAULT 0,
    marked     int NOT NULL DEFAULT 0,
    algorithm  text NOT NULL,
    UNIQUE (device_nid, algorithm)
) WITH (fillfactor = 50);
COMMENT ON TABLE one_time_key_queues IS 'How many one-time keys of a device were uploaded and how many of them claimed: a claim counts on, in place. Of the keys up to marked it is known that they were claimed before marked_ts.';

CREATE TABLE one_time_keys (
    queue_nid int NOT NULL,
    ord       int NOT NULL,
    key_id    text NOT NULL,
    json      text NOT NULL,
    PRIMARY KEY (queue_nid, ord),
    UNIQUE (queue_nid, key_id)
);
COMMENT ON TABLE one_time_keys IS 'One-time keys by their place in their queue. Claimed ones stay for some days: an upload that is repeated must not bring them back.';

CREATE TABLE fallback_keys (
    device_nid int NOT NULL,
    algorithm  text NOT NULL,
    key_id     text NOT NULL,
    used       boolean NOT NULL DEFAULT false,
    json       text NOT NULL,
    PRIMARY KEY (device_nid, algorithm)
);
COMMENT ON TABLE fallback_keys IS 'What is given out when a device has no one-time keys left; used: it has been given out.';

CREATE TABLE cross_signing_keys (
    user_nid   int NOT NULL,
    usage      text NOT NULL,
    public_key text NOT NULL,
    json       text NOT NULL,
    PRIMARY KEY (user_nid, usage)
);
COMMENT ON TABLE cross_signing_keys IS 'Master, self-signing and user-signing keys, of other servers'' users too, with the signatures that everybody may see.';

CREATE TABLE user_signatures (
    signer_nid int NOT NULL,
    target_nid int NOT NULL,
    target_key text NOT NULL,
    signer_key text NOT NULL,
    signature  text NOT NULL,
    PRIMARY KEY (signer_nid, target_nid)
);
COMMENT ON TABLE user_signatures IS 'Signatures of our users over others'' master keys, which only the signers may see.';

CREATE TABLE received_to_device (
    received_ts bigint NOT NULL,
    origin      text NOT NULL,
    message_id  text NOT NULL,
    PRIMARY KEY (origin, message_id)
);
COMMENT ON TABLE received_to_device IS 'm.direct_to_device EDUs that were delivered: a repeated one is not delivered again. Kept for some days.';
CREATE INDEX received_to_device_by_age ON received_to_device (received_ts);

CREATE TABLE device_updates (
    position  bigint NOT NULL,
    stream_id bigint NOT NULL,
    user_nid  int NOT NULL,
    device_id text NOT NULL,
    PRIMARY KEY (user_nid, device_id)
);
COMMENT ON TABLE device_updates IS 'When each device of ours last changed, also those that are gone, for other servers. stream_id counts a user''s changes without gaps; the device without a name (stream_id 0) stands for the cross-signing keys.';
CREATE INDEX device_updates_by_position ON device_updates (position, stream_id);

CREATE TABLE device_update_bookmarks (
    position    bigint NOT NULL,
    stream_id   bigint NOT NULL,
    destination text PRIMARY KEY
);
COMMENT ON TABLE device_update_bookmarks IS 'Up to which device update each server has got those of its users'' room mates. A server has a row from the first one on.';

CREATE TABLE remote_device_lists (
    position  bigint NOT NULL,
    stream_id bigint NOT NULL,
    user_nid  int PRIMARY KEY,
    stale     boolean NOT NULL
);
COMMENT ON TABLE remote_device_lists IS 'Copies of other servers'' users'' devices: as of which update of theirs (-1: none yet), and the clock before it was fetched. stale: to be fetched again.';
CREATE INDEX remote_device_lists_stale ON remote_device_lists (user_nid) WHERE stale;

CREATE TABLE remote_devices (
    user_nid     int NOT NULL,
    device_id    text NOT NULL,
    display_name text,
    json         text NOT NULL,
    PRIMARY KEY (user_nid, device_id)
);
COMMENT ON TABLE remote_devices IS 'The devices in those copies: checked identity keys, without unsigned. Cross-signing keys are in cross_signing_keys.';

CREATE TABLE key_backups (
    version   bigint NOT NULL,
    etag      bigint NOT NULL DEFAULT 0,
    count     bigint NOT NULL DEFAULT 0,
    user_nid  int NOT NULL,
    deleted   boolean NOT NULL DEFAULT false,
    algorithm text NOT NULL,
    auth_data text NOT NULL,
    PRIMARY KEY (user_nid, version)
);
COMMENT ON TABLE key_backups IS 'Versions of server-side key backups. Deleted ones keep their row, so that no number is given twice.';

CREATE TABLE room_keys (
    version             bigint NOT NULL,
    first_message_index bigint NOT NULL,
    forwarded_count     bigint NOT NULL,
    user_nid            int NOT NULL,
    is_verified         boolean NOT NULL,
    room_id             text NOT NULL,
    session_id          text NOT NULL,
    session_data        text NOT NULL,
    PRIMARY KEY (user_nid, version, room_id, session_id)
);
COMMENT ON TABLE room_keys IS 'Sessions in key backups; session_data is encrypted JSON.';

CREATE TABLE dehydrated_devices (
    user_nid   int PRIMARY KEY,
    device_nid int NOT NULL,
    data       text NOT NULL
);
COMMENT ON TABLE dehydrated_devices IS 'The one device of a user that sleeps on the server until a new login takes up its messages [MSC3814].';

-- Other servers as we reach them

CREATE TABLE destinations (
    server_name   text PRIMARY KEY,
    failures      int NOT NULL,
    failing_since bigint NOT NULL,
    retry_at      bigint NOT NULL,
    last_success  bigint NOT NULL,
    last_error    text NOT NULL
);
COMMENT ON TABLE destinations IS 'How other servers fared when we asked them last, and when to try again (ms; 0: never, or at once). Any row may be deleted.';

CREATE TABLE followers (
    name     text PRIMARY KEY,
    position bigint NOT NULL
);
COMMENT ON TABLE followers IS 'Bookmarks of those who follow the clock.';

-- Sliding sync -----------------------------------------------------------------------------------------------------

CREATE TABLE sync_connections (
    connection_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ordinal        bigint NOT NULL,
    used_ts        bigint NOT NULL,
    user_nid       int NOT NULL,
    device_nid     int NOT NULL,
    conn_id        text NOT NULL,
    subscriptions  text,
    UNIQUE (user_nid, device_nid, conn_id)
);
CREATE INDEX sync_connections_by_use ON sync_connections (used_ts);
COMMENT ON TABLE sync_connections IS 'Connections of clients by sliding sync; device_nid 0: none. ordinal counts the changes of what was told. subscriptions: of a client that tells each only once. Unused ones go after some days.';

CREATE TABLE sync_connection_rooms (
    connection_nid bigint NOT NULL REFERENCES sync_connections ON DELETE CASCADE,
    ordinal        bigint NOT NULL,
    told           bigint,
    wish           bigint NOT NULL,
    profiles       bigint NOT NULL,
    room_nid       int NOT NULL,
    have           int NOT NULL,
    dm             boolean NOT NULL,
    stub           boolean NOT NULL,
    members        int[] NOT NULL,
    PRIMARY KEY (connection_nid, room_nid, ordinal)
);
COMMENT ON TABLE sync_connection_rooms IS 'What a connection''s client was told of a room as of an ordinal: the newest row up to the ordinal that the client came back with counts. told: up to where, null: up to the client''s position.';

-- Peeking ---------------------------------------------------------------------------------------------------------

CREATE TABLE peeks (
    begun      bigint NOT NULL,
    ended      bigint,
    until_ts   bigint NOT NULL,
    device_nid int NOT NULL,
    room_nid   int NOT NULL,
    PRIMARY KEY (device_nid, room_nid)
);
COMMENT ON TABLE peeks IS 'Rooms that devices look into from outside, since begun and until until_ts. ended: when they ceased to; the row goes when the device knows it.';

-- Keys of other servers -------------------------------------------------------------------------------------------

CREATE TABLE server_keys (
    valid_until_ts bigint NOT NULL,
    fetched_ts     bigint NOT NULL,
    retired        boolean NOT NULL,
    server_name    text NOT NULL,
    key_id         text NOT NULL,
    public_key     bytea NOT NULL,
    PRIMARY KEY (server_name, key_id)
);
COMMENT ON TABLE server_keys IS 'Every key of another server that we ever learned of: old events need them. valid_until_ts of a retired one is when that was.';

CREATE TABLE server_key_answers (
    fetched_ts     bigint NOT NULL,
    valid_until_ts bigint NOT NULL,
    server_name    text NOT NULL,
    answer         bytea NOT NULL,
    PRIMARY KEY (server_name, fetched_ts)
);
COMMENT ON TABLE server_key_answers IS 'What servers published of their keys, as they signed it, to be passed on by us as a notary. Goes when it is no key''s last one.';

-- Push ---------------------------------------------------------------------------------------------------------------

CREATE TABLE notifications (
    position   bigint NOT NULL,
    event_nid  bigint NOT NULL,
    room_nid   int NOT NULL,
    sender_nid int NOT NULL,
    ord        smallint NOT NULL,
    everybody  boolean NOT NULL,
    highlight  boolean NOT NULL,
    user_nids  int[] NOT NULL,
    thread_id  text NOT NULL,
    actions    text NOT NULL,
    PRIMARY KEY (room_nid, position, ord)
);
CREATE INDEX notifications_highlights ON notifications (room_nid, position) WHERE highlight;
COMMENT ON TABLE notifications IS 'Whom an event notifies and how (actions, JSON), a row for each outcome of the push rules: our users of user_nids or, with everybody, all who are in the room then but those and the sender. What our users send has a row even if it notifies nobody: it marks as read what stands before it. Actions that are nothing but MSC2625''s mark count the event as unread and notify nobody. thread_id is empty for the main timeline. Rows go when they are old and read, or very old.';

CREATE TABLE pushers (
    pusher_nid          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position            bigint NOT NULL,
    created_ts          bigint NOT NULL,
    retry_ts            bigint NOT NULL DEFAULT 0,
    failing_since       bigint,
    last_success_ts     bigint,
    token_until         bigint,
    user_nid            int NOT NULL,
    device_nid          int,
    failures            int NOT NULL DEFAULT 0,
    badge               int NOT NULL DEFAULT 0,
    mails               int NOT NULL DEFAULT 0,
    token_told          boolean NOT NULL DEFAULT false,
    kind                text NOT NULL,
    app_id              text NOT NULL,
    pushkey             text NOT NULL,
    app_display_name    text NOT NULL,
    device_display_name text NOT NULL,
    lang                text NOT NULL,
    profile_tag         text,
    data                text NOT NULL,
    last_error          text,
    token               text,
    UNIQUE (app_id, pushkey, user_nid)
);
CREATE INDEX pushers_of_user ON pushers (user_nid);
CREATE INDEX pushers_of_device ON pushers (device_nid);
COMMENT ON TABLE pushers IS 'Whom to tell of notifications outside of Matrix. Everything up to position has been told, or needs no telling any more; badge: how much was unread when it was last told. token: of web push, what the app must send back until token_until before it is told anything (null: it has), token_told: it was told that; of mail, what stands in the link that ends it. mails: how many mails have been sent since the user last read something. They go with the device that set them up.';

-- Application services --------------------------------------------------------------------------------------------

CREATE TABLE application_service_queues (
    service_id      text PRIMARY KEY,
    position        bigint NOT NULL,
    txn_id          bigint NOT NULL DEFAULT 0,
    upto            bigint NOT NULL DEFAULT 0,
    retry_ts        bigint NOT NULL DEFAULT 0,
    failing_since   bigint,
    last_success_ts bigint,
    failures        int NOT NULL DEFAULT 0,
    device_nids     int[] NOT NULL DEFAULT '{}',
    last_error      text,
    body            bytea
);
COMMENT ON TABLE application_service_queues IS 'What each application service has been pushed: everything up to position. body is the transaction txn_id until the service has taken it, so that a repeated one is the same; it tells up to upto, and empties the inboxes of device_nids.';

CREATE TABLE network_rooms (
    room_nid   int NOT NULL,
    service_id text NOT NULL,
    network_id text NOT NULL,
    PRIMARY KEY (service_id, network_id, room_nid)
);
CREATE INDEX network_rooms_of_room ON network_rooms (room_nid);
COMMENT ON TABLE network_rooms IS 'Rooms in the public lists that application services keep for their networks.';

-- Addresses -------------------------------------------------------------------------------------------------------

CREATE TABLE user_addresses (
    user_nid     int NOT NULL,
    validated_ts bigint NOT NULL,
    added_ts     bigint NOT NULL,
    medium       text NOT NULL,
    address      text NOT NULL,
    PRIMARY KEY (address, medium)
);
COMMENT ON TABLE user_addresses IS 'E-mail addresses (and phone numbers) by which accounts can be reached; each belongs to one account. Lower case.';
CREATE INDEX user_addresses_of_user ON user_addresses (user_nid);

CREATE TABLE address_validations (
    sid           text PRIMARY KEY,
    created_ts    bigint NOT NULL,
    validated_ts  bigint,
    send_attempt  bigint NOT NULL,
    mails         int NOT NULL DEFAULT 1,
    secret_hash   bytea NOT NULL,
    token_hash    bytea NOT NULL,
    purpose       text NOT NULL,
    medium        text NOT NULL,
    address       text NOT NULL,
    next_link     text,
    UNIQUE (address, medium, purpose, secret_hash)
);
COMMENT ON TABLE address_validations IS 'Mails that ask whether an address is theirs. Secret and token as SHA-256. They go after a day.';
CREATE INDEX address_validations_by_age ON address_validations (created_ts);

CREATE TABLE address_bindings (
    user_nid  int NOT NULL,
    medium    text NOT NULL,
    address   text NOT NULL,
    id_server text NOT NULL,
    PRIMARY KEY (user_nid, medium, address, id_server)
);
COMMENT ON TABLE address_bindings IS 'What identity servers were told through us, so that it can be taken back.';

CREATE TABLE accepted_terms (
    user_nid    int NOT NULL,
    version     text NOT NULL,
    accepted_ts bigint NOT NULL,
    PRIMARY KEY (user_nid, version)
);
COMMENT ON TABLE accepted_terms IS 'Which versions of the terms an account has agreed to.';

-- Single sign-on ---------------------------------------------------------------------------------------------------

CREATE TABLE sso_links (
    linked_ts bigint NOT NULL,
    user_nid  int NOT NULL,
    link_nid  int GENERATED ALWAYS AS IDENTITY,
    provider  text NOT NULL,
    subject   text NOT NULL,
    name      text NOT NULL,
    PRIMARY KEY (provider, subject)
);
CREATE INDEX sso_links_of_user ON sso_links (user_nid);
COMMENT ON TABLE sso_links IS 'Whose account it is that somebody (subject) has at a login service (provider, by its id in the configuration), and as whom it was linked (name). Kept when an account ends, so that logging in makes no other one.';

-- Devices that log each other in -------------------------------------------------------------------------------------

CREATE UNLOGGED TABLE rendezvous (
    expires_ts bigint NOT NULL,
    revision   int NOT NULL,
    name       text PRIMARY KEY,
    content    bytea NOT NULL
);
COMMENT ON TABLE rendezvous IS 'Where a new device and one that is logged in leave sealed messages for each other, for some minutes (MSC4108). May be lost at any time.';

-- Events to be sent later -------------------------------------------------------------------------------------------

CREATE TABLE delayed_events (
    delay_ms     bigint NOT NULL,
    scheduled_at bigint NOT NULL,
    origin_ts    bigint,
    claimed_ts   bigint,
    finalised_ts bigint,
    user_nid     int NOT NULL,
    txn_device   int,
    delay_id     text PRIMARY KEY,
    room_id      text NOT NULL,
    type         text NOT NULL,
    state_key    text,
    content      text NOT NULL,
    txn_id       text,
    event_id     text,
    error        text
);
COMMENT ON TABLE delayed_events IS 'Events that are sent at scheduled_at + delay_ms. claimed_ts: somebody is sending it. finalised_ts: it was sent (event_id), could not be (error, JSON), or was called off; kept for a week.';
CREATE INDEX delayed_events_due ON delayed_events ((scheduled_at + delay_ms)) WHERE finalised_ts IS NULL;
CREATE INDEX delayed_events_of_user ON delayed_events (user_nid) WHERE finalised_ts IS NULL;
CREATE INDEX delayed_events_by_end ON delayed_events (user_nid, finalised_ts) WHERE finalised_ts IS NOT NULL;
CREATE UNIQUE INDEX delayed_events_by_transaction ON delayed_events (txn_device, txn_id, room_id) WHERE txn_id IS NOT NULL;

-- Moderation ------------------------------------------------------------------------------------------------------

CREATE TABLE reports (
    report_nid   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_ts  bigint NOT NULL,
    reporter_nid int NOT NULL,
    room_id      text,
    event_id     text,
    user_id      text,
    reason       text
);
COMMENT ON TABLE reports IS 'What users found inappropriate: an event (with its room and sender), a room, or a user. Kept until the operator deletes it.';
CREATE INDEX reports_of_reporter ON reports (reporter_nid);

CREATE TABLE notice_rooms (
    user_nid int PRIMARY KEY,
    room_id  text NOT NULL
);
COMMENT ON TABLE notice_rooms IS 'The one room in which the server tells a user something.';

-- Searching -------------------------------------------------------------------------------------------------------

CREATE TABLE search_documents (
    event_nid bigint PRIMARY KEY,
    ts        bigint NOT NULL,
    room_nid  int NOT NULL,
    part      smallint NOT NULL,
    words     tsvector NOT NULL
);
COMMENT ON TABLE search_documents IS 'The words of messages (part 0), names (1) and topics (2) of rooms that are not encrypted; written by a follower. The room is a word too, so that one index finds words within rooms.';
CREATE INDEX search_documents_by_word ON search_documents USING gin (words) WITH (fastupdate = off);
CREATE INDEX search_documents_of_room ON search_documents (room_nid, event_nid);

CREATE TABLE directory_users (
    user_nid     int PRIMARY KEY,
    user_id      text NOT NULL,
    display_name text,
    avatar_url   text,
    words        tsvector NOT NULL
);
COMMENT ON TABLE directory_users IS 'People of any server who are in a room here, with the words by which they are found; written by a follower.';
CREATE INDEX directory_users_by_word ON directory_users USING gin (words);

CREATE TABLE open_rooms (
    room_nid int PRIMARY KEY
);
COMMENT ON TABLE open_rooms IS 'Rooms that anybody may join or read now: whoever is in one may be found by everybody. Written by a follower.';

-- Media ----------------------------------------------------------------------------------------------------------

CREATE TABLE media (
    size          bigint,
    created_ts    bigint NOT NULL,
    used_ts       bigint NOT NULL,
    expires_ts    bigint,
    owner_nid     int,
    authenticated boolean NOT NULL,
    quarantined   boolean NOT NULL DEFAULT false,
    digest        bytea,
    origin        text NOT NULL,
    media_id      text NOT NULL,
    content_type  text NOT NULL,
    file_name     text,
    PRIMARY KEY (media_id, origin)
);
CREATE INDEX media_by_digest ON media (digest) WHERE digest IS NOT NULL;
CREATE INDEX media_by_owner ON media (owner_nid) WHERE owner_nid IS NOT NULL;
CREATE INDEX media_by_expiry ON media (expires_ts) WHERE expires_ts IS NOT NULL;
CREATE INDEX media_by_use ON media (used_ts) WHERE origin <> '';
COMMENT ON TABLE media IS 'mxc URIs: ours (origin is empty) and those kept of other servers. digest (SHA-256) names the file; null while it is not uploaded. expires_ts: when an unused id, or the image of a preview, goes.';

CREATE TABLE media_thumbnails (
    size         bigint NOT NULL,
    width        int NOT NULL,
    height       int NOT NULL,
    crop         boolean NOT NULL,
    animated     boolean NOT NULL,
    source       bytea NOT NULL,
    digest       bytea NOT NULL,
    content_type text NOT NULL,
    PRIMARY KEY (source, width, height, crop, animated)
);
CREATE INDEX media_thumbnails_by_digest ON media_thumbnails (digest);
COMMENT ON TABLE media_thumbnails IS 'Small forms of the file named source; both digests name files. They go with the last medium that has the source.';

CREATE TABLE media_withdrawals (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    count bigint NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE media_withdrawals IS 'Raised whenever media are withheld, given free or removed: processes that remember rows of them look here.';
INSERT INTO media_withdrawals (count) VALUES (0);

CREATE TABLE url_previews (
    fetched_ts bigint NOT NULL,
    url_hash   bytea PRIMARY KEY,
    answer     text NOT NULL
);
CREATE INDEX url_previews_by_age ON url_previews (fetched_ts);
COMMENT ON TABLE url_previews IS 'What web pages said about themselves lately, as clients are told.';

CREATE FUNCTION require_heads(moved bigint, wanted bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF moved <> wanted THEN
        RAISE EXCEPTION 'room heads moved' USING ERRCODE = 'HM001';
    END IF;
    RETURN moved;
END $$;
COMMENT ON FUNCTION require_heads IS 'Ends a commit whose rooms another process has moved on.';

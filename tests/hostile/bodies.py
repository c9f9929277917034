"""Good bodies and parameters, to be disturbed: only a request that is nearly right comes far."""

from collections.abc import Mapping, Sequence
from typing import Any

Known = Mapping[str, Sequence[str]]

QUERY = {
    "access_token": ["x"],
    "animated": ["true", "false"],
    "at": ["s1"],
    "dir": ["b", "f"],
    "event_id": [],
    "filename": ["a.png", "../../x"],
    "filter": ["0", '{"room": {"timeline": {"limit": 3}}}', '{"types": ["m.*"], "contains_url": true}'],
    "from": ["s1", "s5"],
    "full_state": ["true"],
    "height": ["1", "96", "100000"],
    "include": ["all", "participated"],
    "include_all_networks": ["true"],
    "kind": ["guest", "user"],
    "limit": ["0", "1", "100", "1000000"],
    "max_depth": ["2"],
    "membership": ["join"],
    "method": ["crop", "scale"],
    "not_membership": ["leave"],
    "only": ["highlight"],
    "order_by": ["name"],
    "org.matrix.msc4140.delay": ["1", "20", "3600000", "86400001"],
    "recurse": ["true"],
    "server": ["localhost"],
    "server_name": ["localhost"],
    "set_presence": ["offline"],
    "since": ["s1", "s3"],
    "suggested_only": ["true"],
    "thread_id": ["main"],
    "timeout": ["0", "1"],
    "to": ["s2"],
    "token": ["x"],
    "ts": ["0", "1700000000000"],
    "use_state_after": ["true"],
    "username": ["somebody"],
    "via": ["localhost"],
    "width": ["1", "96", "100000"],
}

POWER_LEVELS = {
    "users": {},
    "users_default": 0,
    "events": {"m.room.name": 50},
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "kick": 50,
    "redact": 50,
    "invite": 0,
    "notifications": {"room": 50},
}
FILTER = {
    "event_fields": ["content.body", "type"],
    "event_format": "client",
    "presence": {"types": ["m.*"], "limit": 3, "not_senders": ["@x:y"]},
    "account_data": {"not_types": ["m.*"]},
    "room": {
        "rooms": ["!x:y"],
        "not_rooms": ["!z:y"],
        "include_leave": True,
        "timeline": {
            "limit": 5,
            "types": ["m.room.*"],
            "contains_url": False,
            "unread_thread_notifications": True,
        },
        "state": {"lazy_load_members": True, "include_redundant_members": True, "senders": ["@x:y"]},
        "ephemeral": {"types": ["m.receipt"]},
        "account_data": {"limit": 1},
    },
}

WINDOW = {
    "range": [0, 9],
    "ranges": [[0, 1], [2, 3]],
    "timeline_limit": 5,
    "required_state": {"include": [{"type": "m.room.name", "state_key": ""}, {}], "exclude": [{"type": "x"}]},
    "filters": {
        "is_dm": False,
        "is_encrypted": False,
        "is_invited": False,
        "spaces": ["!x:y"],
        "room_types": [None, "m.space"],
        "not_room_types": ["x"],
        "tags": ["m.favourite"],
        "not_tags": ["u.x"],
        "room_name_like": "x",
    },
}
SCOPE = {"enabled": True, "lists": ["a", "*"], "rooms": ["!x:y", "*"]}
SLIDING = {
    "conn_id": "x",
    "set_presence": "offline",
    "timeout": 0,
    "lists": {
        "a": WINDOW,
        "b": {"required_state": [["m.room.member", "$ME"], ["*", "*"], ["m.room.member", "$LAZY"]]},
    },
    "extensions": {
        "to_device": {"enabled": True, "since": "1", "limit": 5},
        "e2ee": {"enabled": True},
        "account_data": SCOPE,
        "receipts": SCOPE,
        "typing": SCOPE,
        "profiles": {**SCOPE, "fields": ["displayname", "m.tz"]},
    },
}


def body_for(path: str, known: Known) -> dict[str, Any]:
    """A body that the endpoint might accept."""
    user, other, room, event = known["userId"][0], known["userId"][1], known["roomId"][0], known["eventId"][0]
    relation = {"rel_type": "m.thread", "event_id": event, "key": "x", "m.in_reply_to": {"event_id": event}}
    message = {"msgtype": "m.text", "body": "x", "m.relates_to": relation, "m.mentions": {"user_ids": [user]}}
    mail = {"email": "a@example.org", "client_secret": "x", "send_attempt": 1, "next_link": "https://x/"}
    identity = {"id_server": "id.example.org", "id_access_token": "x"}
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": "wrong",
        "session": "x",
    }
    state = {
        "membership": "join",
        "displayname": "x",
        "reason": "y",
        "third_party_invite": {"signed": {"token": "x"}},
    }
    sliding = {**SLIDING, "room_subscriptions": {room: {"timeline_limit": 3, "required_state": {}}}}
    bodies: dict[str, dict[str, Any]] = {
        "/v4/sync": sliding,
        "/unstable/org.matrix.simplified_msc3575/sync": sliding,
        "/v3/createRoom": {
            "name": "x",
            "topic": "y",
            "preset": "private_chat",
            "visibility": "private",
            "room_alias_name": "z",
            "room_version": "11",
            "invite": [other],
            "invite_3pid": [],
            "is_direct": True,
            "creation_content": {"m.federate": False, "type": "m.space", "additional_creators": [other]},
            "power_level_content_override": POWER_LEVELS,
            "initial_state": [
                {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}},
                {"type": "m.room.member", "state_key": other, "content": state},
                {"type": "m.room.power_levels", "state_key": "", "content": POWER_LEVELS},
            ],
        },
        "/v3/register": {
            "username": "n",
            "password": "long enough, or so",
            "auth": {"type": "m.login.dummy", "session": "x"},
            "device_id": "D",
            "initial_device_display_name": "x",
            "inhibit_login": False,
            "refresh_token": True,
        },
        "/v3/login": {**auth, "device_id": "D", "initial_device_display_name": "x", "refresh_token": True},
        "/v3/refresh": {"refresh_token": "x"},
        "/v3/account/password": {"new_password": "also long enough", "logout_devices": True, "auth": auth},
        "/v3/account/deactivate": {"erase": True, "auth": auth},
        "/v3/delete_devices": {"devices": ["D"], "auth": auth},
        "/v3/devices/{deviceId}": {"display_name": "x", "auth": auth},
        "/v3/profile/{userId}/{keyName}": {
            "displayname": "x",
            "avatar_url": "mxc://x/y",
            "m.tz": "Europe/Paris",
        },
        "/v3/user/{userId}/filter": FILTER,
        "/v3/user_directory/search": {"search_term": "x", "limit": 3},
        "/v3/publicRooms": {
            "limit": 3,
            "since": "x",
            "filter": {"generic_search_term": "x", "room_types": [None, "m.space"]},
            "include_all_networks": False,
        },
        "/v3/rooms/{roomId}/state/{eventType}/{stateKey}": {
            **POWER_LEVELS,
            **state,
            "join_rule": "restricted",
            "allow": [{"type": "m.room_membership", "room_id": room}],
            "alias": "#x:localhost",
            "alt_aliases": ["#y:localhost"],
            "history_visibility": "shared",
            "name": "x",
        },
        "/v3/rooms/{roomId}/send/{eventType}/{txnId}": message,
        "/v3/rooms/{roomId}/redact/{eventId}/{txnId}": {"reason": "x"},
        "/v3/rooms/{roomId}/upgrade": {"new_version": "11", "additional_creators": [other]},
        "/v3/rooms/{roomId}/read_markers": {"m.fully_read": event, "m.read": event, "m.read.private": event},
        "/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}": {"thread_id": "main"},
        "/v3/rooms/{roomId}/typing/{userId}": {"typing": True, "timeout": 1000},
        "/v3/presence/{userId}/status": {"presence": "online", "status_msg": "x"},
        "/v3/directory/room/{roomAlias}": {"room_id": room},
        "/v3/directory/list/room/{roomId}": {"visibility": "public"},
        "/v3/user/{userId}/rooms/{roomId}/tags/{tag}": {"order": 0.5},
        "/v3/search": {
            "search_categories": {
                "room_events": {
                    "search_term": "x",
                    "keys": ["content.body"],
                    "order_by": "recent",
                    "filter": {"limit": 3, "rooms": [room]},
                    "event_context": {"before_limit": 1, "after_limit": 1, "include_profile": True},
                    "groupings": {"group_by": [{"key": "room_id"}]},
                    "include_state": True,
                }
            }
        },
        "/v3/register/email/requestToken": mail,
        "/v3/account/3pid/email/requestToken": mail,
        "/v3/account/password/email/requestToken": mail,
        "/v3/account/3pid": {"three_pid_creds": {"sid": "x", "client_secret": "y"}},
        "/v3/account/3pid/add": {"sid": "x", "client_secret": "y", "auth": auth},
        "/v3/account/3pid/bind": {**identity, "sid": "x", "client_secret": "y"},
        "/v3/account/3pid/delete": {"medium": "email", "address": "a@example.org", **identity},
        "/v3/account/3pid/unbind": {"medium": "email", "address": "a@example.org", **identity},
        "/v1/admin/lock/{userId}": {"locked": False},
        "/v1/admin/suspend/{userId}": {"suspended": False},
        "/_synapse/admin/v1/send_server_notice": {"user_id": other, "content": {"body": "x"}},
        "/_synapse/admin/v1/register": {
            "nonce": "x",
            "username": "x",
            "password": "y",
            "mac": "z",
            "admin": True,
        },
    }
    bodies |= _of_devices(user, other) | _of_sliding_sync(room) | _of_finding(room)
    person = {
        "user_id": other,
        "reason": "x",
        "third_party_signed": {"token": "x", "sender": user, "mxid": other, "signatures": {}},
    }
    return bodies.get(path, person)


def _of_devices(user: str, other: str) -> dict[str, dict[str, Any]]:
    """Keys, messages to devices, and backups."""
    signed = {user: {"ed25519:D": "c2lnbmF0dXJl"}}
    key = {"key": "a2V5", "signatures": signed}
    device = {
        "user_id": user,
        "device_id": "D",
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {"curve25519:D": "a2V5", "ed25519:D": "a2V5"},
        "signatures": signed,
    }
    master = {"user_id": user, "usage": ["master"], "keys": {"ed25519:a2V5": "a2V5"}, "signatures": signed}
    session = {
        "first_message_index": 0,
        "forwarded_count": 0,
        "is_verified": True,
        "session_data": {"ciphertext": "x", "mac": "y", "ephemeral": "z"},
    }
    version = {
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
        "auth_data": {"public_key": "a2V5", "signatures": signed},
        "version": "1",
    }
    dehydrated = {
        "device_id": "D",
        "device_data": {"algorithm": "x"},
        "initial_device_display_name": "x",
        "device_keys": device,
        "one_time_keys": {"signed_curve25519:A": key},
        "fallback_keys": {"signed_curve25519:B": {**key, "fallback": True}},
    }
    return {
        "/v3/keys/upload": dehydrated,
        "/v3/keys/query": {"device_keys": {user: [], other: ["D"]}, "timeout": 1},
        "/v3/keys/claim": {"one_time_keys": {other: {"D": "signed_curve25519"}}, "timeout": 1},
        "/v3/keys/device_signing/upload": {"master_key": master, "self_signing_key": master},
        "/v3/keys/signatures/upload": {user: {"D": device, "a2V5": master}},
        "/v3/sendToDevice/{eventType}/{txnId}": {"messages": {user: {"*": {"x": 1}}, other: {"D": {}}}},
        "/v3/room_keys/version": version,
        "/v3/room_keys/version/{version}": version,
        "/v3/room_keys/keys": {"rooms": {"!x:y": {"sessions": {"s": session}}}},
        "/v3/room_keys/keys/{roomId}": {"sessions": {"s": session}},
        "/v3/room_keys/keys/{roomId}/{sessionId}": session,
    }


def _of_sliding_sync(room: str) -> dict[str, dict[str, Any]]:
    wanted = {"timeline_limit": 3, "required_state": [["m.room.member", "$LAZY"], ["*", "*"], ["x", "$ME"]]}
    filters = {
        "is_dm": False,
        "spaces": [room],
        "is_encrypted": False,
        "is_invite": False,
        "room_types": [None, "m.space"],
        "not_room_types": ["x"],
        "tags": ["m.favourite"],
        "not_tags": ["x"],
        "room_name_like": "x",
    }
    extension = {"enabled": True, "lists": ["*"], "rooms": [room], "limit": 3, "since": "s1"}
    kinds = ["to_device", "e2ee", "account_data", "receipts", "typing", "thread_subscriptions"]
    body = {
        "conn_id": "main",
        "lists": {"all": {**wanted, "ranges": [[0, 9]], "range": [0, 9], "filters": filters}},
        "room_subscriptions": {room: wanted},
        "extensions": dict.fromkeys(kinds, extension),
    }
    return {"/v4/sync": body, "/unstable/org.matrix.simplified_msc3575/sync": body}


def _of_finding(room: str) -> dict[str, dict[str, Any]]:
    """Search, pushers and rules."""
    criteria = {
        "search_term": "hello",
        "keys": ["content.body"],
        "filter": {"rooms": [room], "limit": 3},
        "order_by": "recent",
        "event_context": {"before_limit": 1, "after_limit": 1, "include_profile": True},
        "include_state": True,
        "groupings": {"group_by": [{"key": "room_id"}, {"key": "sender"}]},
    }
    pusher = {
        "pushkey": "x",
        "kind": "http",
        "app_id": "x",
        "app_display_name": "x",
        "device_display_name": "x",
        "profile_tag": "x",
        "lang": "en",
        "data": {"url": "http://127.0.0.1:1/_matrix/push/v1/notify", "format": "event_id_only"},
        "append": False,
    }
    rule = {
        "actions": ["notify", {"set_tweak": "sound", "value": "default"}],
        "conditions": [
            {"kind": "event_match", "key": "type", "pattern": "m.*"},
            {"kind": "room_member_count", "is": ">2"},
        ],
        "pattern": "x*",
        "enabled": True,
    }
    path = "/v3/pushrules/global/{kind}/{ruleId}"
    return {
        "/v3/rooms/{roomId}/delayed_event/{eventType}/{txnId}": {
            "delay_ms": 5,
            "content": {"membership": "join", "body": "x"},
            "state_key": "",
        },
        "/unstable/org.matrix.msc4140/delayed_events/{delayId}/{action}": {"action": "restart"},
        "/v1/rooms/{roomId}/thread/{eventId}/subscription": {"automatic": "$x"},
        "/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription": {"automatic": "$x"},
        "/v3/search": {"search_categories": {"room_events": criteria}},
        "/v3/pushers/set": pusher,
        path: rule,
        f"{path}/actions": rule,
        f"{path}/enabled": rule,
        "/v3/users/{userId}/report": {"reason": "x"},
        "/v3/rooms/{roomId}/report": {"reason": "x"},
        "/v3/rooms/{roomId}/report/{eventId}": {"reason": "x", "score": -50},
        "/v3/account/3pid": {"three_pid_creds": {"client_secret": "x", "sid": "y", "id_server": "z"}},
        "/v3/account/3pid/add": {"client_secret": "x", "sid": "y"},
        "/v3/account/3pid/delete": {"medium": "email", "address": "a@b"},
        "/v3/account/3pid/email/requestToken": {"client_secret": "x", "email": "a@b", "send_attempt": 1},
    }

"""Push rules over HTTP [cs "Push Rules API"]."""

from typing import Any

import pytest

from tests.kit.server import Client, RunningServer, segment
from tests.kit.sync_calls import sync

RULES = "/v3/pushrules/global"
MASTER = f"{RULES}/override/.m.rule.master"


@pytest.fixture
async def alice(server: RunningServer) -> Client:
    return await server.register("alice")


async def names(client: Client, kind: str) -> list[str]:
    rules = (await client.get("/v3/pushrules/"))["global"][kind]
    return [rule["rule_id"] for rule in rules if not rule["default"]]


async def test_a_rule_is_made_read_changed_and_deleted(alice: Client) -> None:
    path = f"{RULES}/content/cake"
    await alice.put(path, {"pattern": "cake*lie", "actions": ["notify"]})
    rule = {
        "rule_id": "cake",
        "default": False,
        "enabled": True,
        "actions": ["notify"],
        "pattern": "cake*lie",
    }
    assert await alice.get(path) == rule
    assert (await alice.get(f"{RULES}/"))["content"] == [rule]
    await alice.put(f"{path}/enabled", {"enabled": False})
    await alice.put(f"{path}/actions", {"actions": []})
    assert await alice.get(f"{path}/enabled") == {"enabled": False}
    assert await alice.get(f"{path}/actions") == {"actions": []}
    await alice.delete(path)
    assert await alice.refused("GET", path) == (404, "M_NOT_FOUND")
    assert await alice.refused("DELETE", path) == (404, "M_NOT_FOUND")


async def test_predefined_rules_can_be_switched_and_changed(alice: Client) -> None:
    await alice.put(f"{MASTER}/enabled", {"enabled": True})
    await alice.put(
        f"{RULES}/underride/.m.rule.message/actions", {"actions": ["notify", {"set_tweak": "sound"}]}
    )
    assert (await alice.get(MASTER))["enabled"] is True
    assert await alice.refused("DELETE", MASTER) == (404, "M_NOT_FOUND")
    assert (await alice.refused("PUT", MASTER, {"actions": []}))[0] == 400


async def test_the_order_of_rules(alice: Client) -> None:
    for name, place in (("a", {}), ("b", {}), ("c", {"after": "a"}), ("d", {"before": "a"})):
        await alice.put(f"{RULES}/underride/{name}", {"actions": []}, **place)
    assert await names(alice, "underride") == ["b", "d", "a", "c"]
    await alice.put(f"{RULES}/underride/c", {"actions": []}, before="b")
    assert await names(alice, "underride") == ["c", "b", "d", "a"]


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        ("override/.x", {"actions": []}, (400, "M_INVALID_PARAM")),
        (f"override/{segment('a/b')}", {"actions": []}, (400, "M_INVALID_PARAM")),
        (f"override/{segment(chr(92))}", {"actions": []}, (400, "M_INVALID_PARAM")),
        ("override/x", {}, (400, "M_MISSING_PARAM")),
        ("override/x", {"actions": {}}, (400, "M_BAD_JSON")),
        ("override/x", {"actions": [{"x": 1}]}, (400, "M_BAD_JSON")),
        ("override/x", {"actions": ["shout"]}, (400, "M_INVALID_PARAM")),
        ("override/x", {"actions": [], "conditions": [1]}, (400, "M_BAD_JSON")),
        ("content/x", {"actions": []}, (400, "M_MISSING_PARAM")),
        ("content/x", {"actions": [], "pattern": "*" * 600}, (400, "M_INVALID_PARAM")),
        ("room/x", {"actions": []}, (400, "M_INVALID_PARAM")),
        ("device/x", {"actions": []}, (400, "M_INVALID_PARAM")),
        ("override", {"actions": []}, (400, "M_UNRECOGNIZED")),
        ("", {"actions": []}, (400, "M_UNRECOGNIZED")),
        ("override/.m.rule.master/color", {"enabled": True}, (400, "M_UNRECOGNIZED")),
        ("override/x?before=nothing", {"actions": []}, (400, "M_UNKNOWN")),
        ("override/x?after=.m.rule.master", {"actions": []}, (400, "M_INVALID_PARAM")),
        ("override/unknown/enabled", {"enabled": True}, (404, "M_NOT_FOUND")),
        ("override/.m.rule.master/enabled", {"enabled": 1}, (400, "M_BAD_JSON")),
        ("override/unknown/actions", {"actions": []}, (404, "M_NOT_FOUND")),
    ],
)
async def test_what_is_refused(alice: Client, path: str, body: Any, refusal: tuple[int, str]) -> None:
    path, _, query = path.partition("?")
    more = dict([query.split("=")]) if query else {}
    assert await alice.refused("PUT", f"{RULES}/{path}", body, **more) == refusal
    assert await alice.get("/v3/pushrules/") == await alice.get(
        f"/v3/user/{alice.user_id}/account_data/m.push_rules"
    )


async def test_the_rules_of_one_kind(alice: Client) -> None:
    await alice.put(f"{RULES}/room/{segment('#old:localhost')}", {"actions": ["notify"]})
    assert [rule["rule_id"] for rule in await alice.get(f"{RULES}/room/")] == ["#old:localhost"]
    for path, errcode in (
        (f"{RULES}/room", "M_UNRECOGNIZED"),
        (f"{RULES}/rooms/", "M_INVALID_PARAM"),
        ("/v3/pushrules/device/", "M_INVALID_PARAM"),
        (f"{MASTER}/color", "M_UNRECOGNIZED"),
    ):
        assert await alice.refused("GET", path) == (400, errcode), path
    assert await alice.refused("GET", "/v3/pushrules") == (404, "M_UNRECOGNIZED")
    assert await alice.refused("GET", RULES) == (400, "M_UNRECOGNIZED")
    scoped = await alice.refused("PUT", "/v3/pushrules/device/override/x", {"actions": []})
    assert scoped == (400, "M_INVALID_PARAM")


async def test_changes_come_by_sync(alice: Client) -> None:
    since = (await sync(alice))["next_batch"]
    await alice.put(f"{RULES}/room/!x:localhost", {"actions": []})
    answer = await sync(alice, since, timeout=10_000)
    (event,) = [one for one in answer["account_data"]["events"] if one["type"] == "m.push_rules"]
    assert event["content"] == await alice.get("/v3/pushrules/")
    since = answer["next_batch"]
    await alice.put(f"{RULES}/room/!x:localhost", {"actions": []})  # what changes nothing is no news
    assert "account_data" not in await sync(alice, since)

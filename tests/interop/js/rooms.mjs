// The rest of what people do with rooms, through matrix-js-sdk: who may come in, who may do what, where rooms are
// found, and what a client sees of it.
//
//     node rooms.mjs http://127.0.0.1:8008 [REGISTRATION_TOKEN]

import * as sdk from "matrix-js-sdk";
import {
  again, baseUrl, bodies, check, done, events, eventually, membership, message, person, refused, same, state, step,
} from "./kit.mjs";

const stamp = Date.now().toString(36);
let alice, bob, carol, den;
const room = {}; // ids by what the room is for

/** A room of Alice's in which the others are. */
async function gathering(options, ...others) {
  const { room_id: roomId } = await alice.createRoom({ preset: "public_chat", ...options });
  for (const other of others) {
    await other.joinRoom(roomId);
    await eventually(other, "the room", () => other.getRoom(roomId)?.getMyMembership() === "join");
  }
  return roomId;
}

const saw = (client, roomId, userId, wanted) =>
  eventually(client, `${userId}: ${wanted}`, () => membership(client, roomId, userId) === wanted);

await step("three people register and sync", async () => {
  [alice, bob, carol] = await Promise.all([person("alice"), person("bob"), person("carol")]);
});

await step("a room is published under an alias, found by search, and joined by its alias", async () => {
  const name = `Lighthouse ${stamp}`;
  room.main = await gathering({ name, topic: "Lamps and fog", room_alias_name: `lighthouse-${stamp}`, visibility: "public" });
  const alias = `#lighthouse-${stamp}:${alice.getDomain()}`;
  same((await bob.getRoomIdForAlias(alias)).room_id, room.main, "the alias");
  const { chunk } = await bob.publicRooms({ limit: 5, filter: { generic_search_term: name } });
  same(chunk.map((found) => [found.room_id, found.name, found.topic, found.num_joined_members, found.join_rule]),
    [[room.main, name, "Lamps and fog", 1, "public"]], "the search");
  same(chunk[0].canonical_alias, alias, "the canonical alias");
  await bob.joinRoom(alias);
  await saw(alice, room.main, bob.getUserId(), "join");
  same((await alice.getRoomDirectoryVisibility(room.main)).visibility, "public", "the visibility");
  await alice.setRoomDirectoryVisibility(room.main, "private");
  same((await bob.publicRooms({ filter: { generic_search_term: name } })).chunk.length, 0, "hits after it was hidden");
});

await step("aliases come and go", async () => {
  const second = `#beacon-${stamp}:${alice.getDomain()}`;
  await alice.createAlias(second, room.main);
  await refused("M_UNKNOWN", () => bob.createAlias(second, room.main)).catch(() =>
    refused("M_CONFLICT", () => bob.createAlias(second, room.main)));
  check((await alice.getLocalAliases(room.main)).aliases.includes(second), "the list lacks the new alias");
  await refused("M_FORBIDDEN", () => bob.deleteAlias(second));
  await alice.deleteAlias(second);
  await refused("M_NOT_FOUND", () => bob.getRoomIdForAlias(second));
  await refused("M_BAD_ALIAS", () => alice.sendStateEvent(room.main, "m.room.canonical_alias", { alias: second }));
});

await step("a summary tells strangers of a public room", async () => {
  const summary = await carol.getRoomSummary(room.main);
  same([summary.room_id, summary.num_joined_members, summary.join_rule], [room.main, 2, "public"], "the summary");
});

await step("power levels are obeyed and changed", async () => {
  await refused("M_FORBIDDEN", () => bob.setRoomName(room.main, "Bob's"));
  await alice.setPowerLevel(room.main, bob.getUserId(), 50);
  await eventually(bob, "the power", () => bob.getRoom(room.main).getMember(bob.getUserId()).powerLevel === 50);
  await bob.setRoomName(room.main, "Bob's");
  await eventually(alice, "the name", () => alice.getRoom(room.main).name === "Bob's");
  await refused("M_FORBIDDEN", () => bob.setPowerLevel(room.main, bob.getUserId(), 100));
});

await step("kick, ban and unban", async () => {
  await carol.joinRoom(room.main);
  await saw(alice, room.main, carol.getUserId(), "join");
  await bob.kick(room.main, carol.getUserId(), "too loud");
  await eventually(carol, "the kick", () => carol.getRoom(room.main)?.getMyMembership() === "leave");
  same(carol.getRoom(room.main).getMember(carol.getUserId()).events.member.getContent().reason, "too loud", "the reason");
  await carol.joinRoom(room.main);
  await bob.ban(room.main, carol.getUserId());
  await eventually(carol, "the ban", () => carol.getRoom(room.main)?.getMyMembership() === "ban");
  await refused("M_FORBIDDEN", () => carol.joinRoom(room.main));
  await bob.unban(room.main, carol.getUserId());
  await carol.joinRoom(room.main);
  await saw(alice, room.main, carol.getUserId(), "join");
});

await step("an invitation is refused, another withdrawn", async () => {
  const roomId = (await alice.createRoom({ preset: "private_chat", invite: [bob.getUserId(), carol.getUserId()] })).room_id;
  const invited = (who) => eventually(who, "the invitation", () => who.getRoom(roomId)?.getMyMembership() === "invite");
  await Promise.all([invited(bob), invited(carol)]);
  await bob.leave(roomId);
  await saw(alice, roomId, bob.getUserId(), "leave");
  await alice.kick(roomId, carol.getUserId());
  await eventually(carol, "the withdrawal", () => carol.getRoom(roomId).getMyMembership() === "leave");
  await refused("M_FORBIDDEN", () => carol.joinRoom(roomId));
});

await step("knocking, and being let in", async () => {
  const joinRule = { type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } };
  const roomId = await gathering({ preset: "private_chat", name: "Club", initial_state: [joinRule] });
  await refused("M_FORBIDDEN", () => bob.joinRoom(roomId));
  await bob.knockRoom(roomId, { reason: "let me in" });
  await eventually(bob, "his knock", () => bob.getRoom(roomId)?.getMyMembership() === "knock");
  same(bob.getRoom(roomId).name, "Club", "what the knock tells");
  await saw(alice, roomId, bob.getUserId(), "knock");
  await alice.invite(roomId, bob.getUserId());
  await eventually(bob, "the invitation", () => bob.getRoom(roomId).getMyMembership() === "invite");
  await bob.joinRoom(roomId);
  await saw(alice, roomId, bob.getUserId(), "join");
});

await step("a restricted room opens to those of another", async () => {
  const allow = [{ type: "m.room_membership", room_id: room.main }];
  const content = { join_rule: "restricted", allow };
  const roomId = await gathering({
    preset: "private_chat", initial_state: [{ type: "m.room.join_rules", state_key: "", content }],
  });
  den = await person("den");
  await refused("M_FORBIDDEN", () => den.joinRoom(roomId));
  await bob.joinRoom(roomId);
  await saw(alice, roomId, bob.getUserId(), "join");
  await den.joinRoom(room.main);
  await den.joinRoom(roomId);
  await saw(alice, roomId, den.getUserId(), "join");
});

await step("a thread with its summary, and relations", async () => {
  const { event_id: root } = await alice.sendTextMessage(room.main, "about fog");
  for (const body of ["it is wet", "it is grey"]) await bob.sendEvent(room.main, root, "m.room.message", { msgtype: "m.text", body });
  const thread = await alice.fetchRelations(room.main, root, "m.thread", "m.room.message");
  same(thread.chunk.map((e) => e.content.body), ["it is grey", "it is wet"], "the thread");
  const fetched = await alice.fetchRoomEvent(room.main, root);
  const summary = fetched.unsigned["m.relations"]["m.thread"];
  same([summary.count, summary.latest_event.content.body, summary.current_user_participated], [2, "it is grey", true], "the summary");
  const { event_id: reply } = await carol.sendTextMessage(room.main, "hm");
  await carol.sendEvent(room.main, "m.room.message", {
    body: "* oh", msgtype: "m.text", "m.new_content": { body: "oh", msgtype: "m.text" },
    "m.relates_to": { rel_type: "m.replace", event_id: reply },
  });
  const edited = await alice.fetchRoomEvent(room.main, reply);
  same(edited.unsigned["m.relations"]["m.replace"].content["m.new_content"].body, "oh", "the bundled edit");
  const path = `/rooms/${encodeURIComponent(room.main)}/threads`;
  const listed = await alice.http.authedRequest(sdk.Method.Get, path, { include: "all" }, undefined, { prefix: "/_matrix/client/v1" });
  same(listed.chunk.map((e) => e.event_id), [root], "the threads");
});

await step("a client that was away sees a gap, and fills it", async () => {
  bob.stopClient();
  const away = await again(bob, { initialSyncLimit: 1 });
  away.stopClient();
  await alice.setRoomTopic(room.main, "said while bob was away");
  for (let n = 0; n < 60; n++) await alice.sendTextMessage(room.main, `away ${n}`);
  bob = await again(bob, { initialSyncLimit: 10, lazyLoadMembers: true });
  same(state(bob, room.main, "m.room.topic").topic, "said while bob was away", "the topic");
  const live = bob.getRoom(room.main).getLiveTimeline();
  check(bodies(bob, room.main).length <= 10, "the timeline is limited");
  while (!message(bob, room.main, "away 0")) {
    check(await bob.paginateEventTimeline(live, { backwards: true, limit: 13 }), "the history ended early");
  }
  const seen = bodies(bob, room.main).map((e) => e.getContent().body).filter((body) => /^away/.test(body));
  same(seen, [...Array(60).keys()].map((n) => `away ${n}`), "what was said meanwhile");
});

await step("members are loaded lazily, and all when asked", async () => {
  const fresh = await again(carol, { initialSyncLimit: 3, lazyLoadMembers: true });
  const found = fresh.getRoom(room.main);
  same(found.getJoinedMemberCount(), 4, "the number of members");
  await found.loadMembersIfNeeded();
  same(found.getJoinedMembers().map((m) => m.userId).sort(), [alice, bob, carol, den].map((c) => c.getUserId()).sort(), "members");
  fresh.stopClient();
});

await step("an event with its surroundings, and the event at a time", async () => {
  const middle = message(bob, room.main, "away 30");
  const set = bob.getRoom(room.main).getUnfilteredTimelineSet();
  const timeline = await carol.getEventTimeline(carol.getRoom(room.main).getUnfilteredTimelineSet(), middle.getId());
  check(timeline.getEvents().some((e) => e.getId() === middle.getId()), "the event is in its context");
  check(set.getLiveTimeline().getEvents().length > 60, "bob's own timeline stays");
  const at = await carol.timestampToEvent(room.main, middle.getTs(), sdk.Direction.Forward);
  check(Math.abs(at.origin_server_ts - middle.getTs()) <= 50, "the nearest event is near");
});

await step("a world-readable room can be read by strangers", async () => {
  const visibility = { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "world_readable" } };
  const roomId = await gathering({ name: "Window", initial_state: [visibility] });
  await alice.sendTextMessage(roomId, "seen through the window");
  const messages = await den.createMessagesRequest(roomId, null, 10, sdk.Direction.Backward);
  check(messages.chunk.some((e) => e.content.body === "seen through the window"), "the message is there");
  const all = await den.roomState(roomId);
  check(all.some((e) => e.type === "m.room.name" && e.content.name === "Window"), "the state is there");
  const closed = (await alice.createRoom({ preset: "private_chat" })).room_id;
  await refused("M_FORBIDDEN", () => den.createMessagesRequest(closed, null, 10, sdk.Direction.Backward));
});

await step("a guest looks in, joins and speaks", async () => {
  const answer = await sdk.createClient({ baseUrl }).registerGuest({ body: {} }).catch((error) => error);
  if (answer.errcode) return `guests are closed here: ${answer.errcode}`;
  const access = { type: "m.room.guest_access", state_key: "", content: { guest_access: "can_join" } };
  const roomId = await gathering({ initial_state: [access] });
  const guest = sdk.createClient({ baseUrl, userId: answer.user_id, accessToken: answer.access_token, deviceId: answer.device_id });
  guest.setGuest(true);
  await guest.joinRoom(roomId);
  await guest.sendTextMessage(roomId, "I am but a guest");
  await eventually(alice, "the guest's words", () => message(alice, roomId, "I am but a guest"));
  await refused("M_GUEST_ACCESS_FORBIDDEN", () => guest.createRoom({}));
  await refused("M_GUEST_ACCESS_FORBIDDEN", () => guest.joinRoom(room.main));
});

await step("profiles reach the rooms", async () => {
  await carol.setDisplayName("Carol Reef");
  await carol.setAvatarUrl("mxc://localhost/reef");
  await eventually(alice, "the name", () => alice.getRoom(room.main).getMember(carol.getUserId())?.rawDisplayName === "Carol Reef");
  await eventually(alice, "the avatar", () =>
    alice.getRoom(room.main).getMember(carol.getUserId()).getMxcAvatarUrl() === "mxc://localhost/reef");
  const profile = await alice.getProfileInfo(carol.getUserId());
  same([profile.displayname, profile.avatar_url], ["Carol Reef", "mxc://localhost/reef"], "the profile");
});

await step("account data of a room, and of the account on another device", async () => {
  const other = await again(alice, { initialSyncLimit: 1 });
  await alice.setRoomAccountData(room.main, "org.example.scroll", { at: 5 });
  await eventually(other, "the room's data", () => other.getRoom(room.main).getAccountData("org.example.scroll")?.getContent().at === 5);
  await alice.setIgnoredUsers([den.getUserId()]);
  await eventually(other, "the ignored", () => other.getIgnoredUsers().includes(den.getUserId()));
  await alice.setIgnoredUsers([]);
  await alice.setRoomReadMarkers(room.main, events(alice, room.main).at(-1).getId());
  await eventually(other, "the read marker", () => other.getRoom(room.main).getAccountData("m.fully_read"));
  other.stopClient();
});

await step("a room is upgraded", async () => {
  const old = await gathering({ name: "Old harbour", room_version: "10", topic: "Boats" }, bob);
  const { replacement_room: fresh } = await alice.upgradeRoom(old, "12");
  same((await eventually(bob, "the tombstone", () => state(bob, old, "m.room.tombstone"))).replacement_room, fresh, "the successor");
  await bob.joinRoom(fresh);
  await eventually(bob, "the new room", () => state(bob, fresh, "m.room.create"));
  const create = state(bob, fresh, "m.room.create");
  same([create.room_version, create.predecessor.room_id], ["12", old], "where it comes from");
  same([state(bob, fresh, "m.room.name").name, state(bob, fresh, "m.room.topic").topic], ["Old harbour", "Boats"], "what it keeps");
});

await step("presence is told", async () => {
  await alice.setPresence({ presence: "online", status_msg: "at the pier" });
  await eventually(bob, "the status", () => bob.getUser(alice.getUserId())?.presenceStatusMsg === "at the pier");
});

done();

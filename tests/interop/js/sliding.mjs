// Somebody whose client syncs by windows (simplified sliding sync), with matrix-js-sdk, among people who do not.
//
//     node sliding.mjs http://127.0.0.1:8008 [REGISTRATION_TOKEN]

import * as sdk from "matrix-js-sdk";
import { SlidingSync, SlidingSyncEvent } from "matrix-js-sdk/lib/sliding-sync.js";
import {
  baseUrl, bodies, check, done, eventually, membership, message, person, register, same, state, step, suffix,
} from "./kit.mjs";

const EVERYTHING = [["*", "*"]];
let alice, bob, sliding, room;
const told = []; // what sliding sync said of rooms, as it came

async function slider(name) {
  const { user_id: userId, access_token: accessToken, device_id: deviceId } = await register(`${name}-${suffix}`);
  const client = sdk.createClient({ baseUrl, userId, accessToken, deviceId, timelineSupport: true });
  const list = { ranges: [[0, 2]], timeline_limit: 5, required_state: EVERYTHING, filters: {} };
  const subscription = { timeline_limit: 20, required_state: EVERYTHING };
  const connection = new SlidingSync(baseUrl, new Map([["all", list]]), subscription, client, 10_000);
  connection.on(SlidingSyncEvent.RoomData, (roomId, data) => { told.push({ roomId, ...data }); });
  await client.startClient({ slidingSync: connection });
  await eventually(client, "the first sync", () => client.isInitialSyncComplete());
  return [client, connection];
}

await step("alice syncs, bob syncs by windows", async () => {
  alice = await person("alice");
  check(await alice.doesServerSupportUnstableFeature("org.matrix.simplified_msc3575"), "the server does not say so");
  [bob, sliding] = await slider("bob");
});

await step("an invitation arrives with the room's name, and the join with the room", async () => {
  room = (await alice.createRoom({ name: "Tea", preset: "private_chat", invite: [bob.getUserId()] })).room_id;
  await eventually(bob, "the invitation", () => bob.getRoom(room)?.getMyMembership() === "invite");
  same(bob.getRoom(room).name, "Tea", "the name in the invitation");
  await bob.joinRoom(room);
  await eventually(bob, "the room", () => bob.getRoom(room).getMyMembership() === "join");
  await eventually(bob, "alice", () => membership(bob, room, alice.getUserId()) === "join");
});

await step("messages go both ways", async () => {
  await alice.sendTextMessage(room, "Hello Bob");
  await eventually(bob, "the greeting", () => message(bob, room, "Hello Bob"));
  await bob.sendTextMessage(room, "Hello Alice");
  await eventually(alice, "the answer", () => message(alice, room, "Hello Alice"));
  await eventually(bob, "the echo", () => message(bob, room, "Hello Alice")?.status === null);
  same(bodies(bob, room).length, 2, "messages");
});

await step("receipts, typing, tags and a new name", async () => {
  const mine = message(bob, room, "Hello Alice");
  await alice.sendReadReceipt(alice.getRoom(room).findEventById(mine.getId()));
  await eventually(bob, "the receipt", () =>
    bob.getRoom(room).getReceiptsForEvent(mine).some((one) => one.userId === alice.getUserId()));
  await alice.sendTyping(room, true, 10_000);
  await eventually(bob, "the typing notice", () => bob.getRoom(room).getMember(alice.getUserId())?.typing);
  await bob.setRoomTag(room, "m.favourite", { order: 0.5 });
  await eventually(bob, "the tag", () => bob.getRoom(room).tags["m.favourite"]);
  await alice.setRoomName(room, "Coffee");
  await eventually(bob, "the name", () => bob.getRoom(room).name === "Coffee");
  same(state(bob, room, "m.room.name"), { name: "Coffee" }, "the state");
});

await step("a message for a device", async () => {
  const content = new Map([[bob.getUserId(), new Map([[bob.getDeviceId(), { body: "psst" }]])]]);
  const heard = new Promise((resolve) => bob.once(sdk.ClientEvent.ToDeviceEvent, resolve));
  await alice.sendToDevice("org.example.secret", content);
  same((await heard).getContent(), { body: "psst" }, "the message");
});

await step("windows grow, and what is outside of them is told by subscription", async () => {
  const rooms = [];
  for (let number = 0; number < 4; number++) {
    rooms.push((await bob.createRoom({ name: `Room ${number}`, preset: "private_chat" })).room_id);
  }
  await eventually(bob, "the newest", () => bob.getRoom(rooms[3])?.name === "Room 3");
  same(sliding.getListData("all").joinedCount, 5, "the count");
  for (let number = 0; number < 8; number++) await alice.sendTextMessage(room, `m${number}`);
  await eventually(bob, "the last one", () => message(bob, room, "m7"));
  for (const id of [rooms[0], rooms[1], rooms[2]]) await bob.sendTextMessage(id, "newer");
  await eventually(bob, "the newest", () => message(bob, rooms[2], "newer"));
  sliding.modifyRoomSubscriptions(new Set([room]));
  const expanded = () => told.find((one) => one.roomId === room && one.unstable_expanded_timeline);
  await eventually(bob, "more of the room", expanded);
  check(expanded().timeline.length > 5, `${expanded().timeline.length} events`);
  await alice.sendTextMessage(room, "again");
  await eventually(bob, "what is outside of the window", () => message(bob, room, "again"));
  sliding.setListRanges("all", [[0, 19]]);
  await eventually(bob, "all rooms", () => rooms.every((id) => bob.getRoom(id)));
});

await step("a kick is told", async () => {
  await alice.kick(room, bob.getUserId(), "late");
  await eventually(bob, "the kick", () => told.some((one) => one.roomId === room && one.membership === "leave"));
});

done();

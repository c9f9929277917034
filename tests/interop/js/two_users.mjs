// Two people chat through a homeserver with matrix-js-sdk, and every step says what it saw.
//
//     node two_users.mjs http://127.0.0.1:8008 [REGISTRATION_TOKEN]
//
// The server must let accounts be registered (--open-registration). Ends with status 0 and "all is well", or with
// the step that failed. No encryption: that has a script of its own.

import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.setLevel("silent", false);

const PATIENCE = 20_000; // ms for anything to arrive
const baseUrl = process.argv[2] ?? "http://127.0.0.1:8008";
const suffix = Date.now().toString(36);

function check(condition, what) {
  if (!condition) throw new Error(what);
}

async function step(name, work) {
  try {
    const seen = await work();
    console.log(`ok   ${name}${seen === undefined ? "" : `: ${seen}`}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${error.stack ?? error}`);
    process.exit(1);
  }
}

/** Waits until `probe` gives something, looking again at each event of the client. */
async function eventually(client, what, probe) {
  const names = [sdk.RoomEvent.Timeline, sdk.RoomEvent.Redaction, sdk.RoomEvent.MyMembership, sdk.RoomEvent.Receipt,
    sdk.RoomMemberEvent.Typing, sdk.RoomMemberEvent.Membership, sdk.RoomStateEvent.Events, sdk.ClientEvent.Sync,
    sdk.RoomEvent.Name, sdk.RoomEvent.Tags, sdk.ClientEvent.AccountData];
  const first = probe();
  if (first) return first;
  return await new Promise((resolve, reject) => {
    const look = () => {
      const found = probe();
      if (!found) return;
      finish();
      resolve(found);
    };
    const timer = setTimeout(() => { finish(); reject(new Error(`${what} did not arrive`)); }, PATIENCE);
    const finish = () => { clearTimeout(timer); names.forEach((name) => client.off(name, look)); };
    names.forEach((name) => client.on(name, look));
  });
}

async function person(name) {
  const anonymous = sdk.createClient({ baseUrl });
  const username = `${name}-${suffix}`;
  const body = { username, password: `${username} likes long passwords`, initial_device_display_name: "script" };
  let answer;
  try {
    answer = await anonymous.registerRequest(body);
  } catch (error) {
    if (error.httpStatus !== 401) throw error;
    const session = error.data.session;
    if (error.data.flows.some((flow) => flow.stages.includes("m.login.registration_token"))) {
      const auth = { type: "m.login.registration_token", token: process.argv[3], session };
      answer = await anonymous.registerRequest({ ...body, auth }).catch(() => null);
    }
    answer ??= await anonymous.registerRequest({ ...body, auth: { type: "m.login.dummy", session } });
  }
  const client = sdk.createClient({
    baseUrl, userId: answer.user_id, accessToken: answer.access_token, deviceId: answer.device_id,
  });
  await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true });
  await eventually(client, "the first sync", () => client.isInitialSyncComplete());
  return client;
}

const bodies = (client, roomId) =>
  client.getRoom(roomId)?.getLiveTimeline().getEvents().filter((e) => e.getType() === "m.room.message") ?? [];
const message = (client, roomId, body) => bodies(client, roomId).find((e) => e.getContent().body === body);

let alice, bob, roomId, greeting, answer;

await step("two people register and sync", async () => {
  [alice, bob] = await Promise.all([person("alice"), person("bob")]);
  return `${alice.getUserId()} and ${bob.getUserId()}`;
});
await step("alice makes a room and invites bob", async () => {
  const options = { name: "Tea", topic: "Biscuits", preset: "private_chat", invite: [bob.getUserId()] };
  ({ room_id: roomId } = await alice.createRoom(options));
  await eventually(alice, "the room", () => alice.getRoom(roomId)?.name === "Tea");
  return roomId;
});
await step("bob sees the invitation with the room's name and joins", async () => {
  await eventually(bob, "the invitation", () => bob.getRoom(roomId)?.getMyMembership() === "invite");
  check(bob.getRoom(roomId).name === "Tea", `the invitation names the room ${bob.getRoom(roomId).name}`);
  await bob.joinRoom(roomId);
  await eventually(bob, "the membership", () => bob.getRoom(roomId)?.getMyMembership() === "join");
});
await step("alice speaks and bob hears it", async () => {
  ({ event_id: greeting } = await alice.sendTextMessage(roomId, "Hello Bob"));
  const heard = await eventually(bob, "the greeting", () => message(bob, roomId, "Hello Bob"));
  check(heard.getId() === greeting && heard.getSender() === alice.getUserId(), "another event arrived");
  const echo = await eventually(alice, "the echo", () => message(alice, roomId, "Hello Bob"));
  check(echo.getUnsigned().transaction_id, "the sender's device is told the transaction id");
});
await step("bob answers, alice sees him typing and reading", async () => {
  await bob.sendTyping(roomId, true, 10_000);
  await eventually(alice, "the typing notice", () => alice.getRoom(roomId).getMember(bob.getUserId())?.typing);
  ({ event_id: answer } = await bob.sendTextMessage(roomId, "Hello Alice"));
  await eventually(alice, "the answer", () => message(alice, roomId, "Hello Alice"));
  await bob.sendTyping(roomId, false, 0);
  await eventually(alice, "the end of typing", () => !alice.getRoom(roomId).getMember(bob.getUserId())?.typing);
  await bob.sendReadReceipt(bob.getRoom(roomId).findEventById(greeting));
  await eventually(alice, "the receipt", () =>
    alice.getRoom(roomId).getReceiptsForEvent(alice.getRoom(roomId).findEventById(greeting))
      .some((receipt) => receipt.userId === bob.getUserId()));
});
await step("bob edits and reacts, alice sees both", async () => {
  await bob.sendEvent(roomId, "m.room.message", {
    msgtype: "m.text", body: "* Hello dear Alice", "m.new_content": { msgtype: "m.text", body: "Hello dear Alice" },
    "m.relates_to": { rel_type: "m.replace", event_id: answer },
  });
  await eventually(alice, "the edit", () => bodies(alice, roomId).some((e) => e.getContent().body === "Hello dear Alice"));
  await bob.sendEvent(roomId, "m.reaction", {
    "m.relates_to": { rel_type: "m.annotation", event_id: greeting, key: "👍" },
  });
  await eventually(alice, "the reaction", () =>
    alice.getRoom(roomId).getLiveTimeline().getEvents().some((e) => e.getType() === "m.reaction"));
});
await step("alice takes her greeting back", async () => {
  await alice.redactEvent(roomId, greeting);
  await eventually(bob, "the redaction", () => bob.getRoom(roomId).findEventById(greeting)?.isRedacted());
});
await step("alice renames the room", async () => {
  await alice.setRoomName(roomId, "Tea at five");
  await eventually(bob, "the new name", () => bob.getRoom(roomId).name === "Tea at five");
});
await step("alice tags the room and notes something", async () => {
  await alice.setRoomTag(roomId, "m.favourite", { order: 0.5 });
  await eventually(alice, "the tag", () => alice.getRoom(roomId).tags["m.favourite"]);
  await alice.setAccountData("org.example.note", { text: "buy milk" });
  await eventually(alice, "the note", () => alice.getAccountData("org.example.note")?.getContent().text === "buy milk");
});
await step("bob pages back through fifty messages", async () => {
  for (let n = 0; n < 50; n++) await alice.sendTextMessage(roomId, `number ${n}`);
  const later = sdk.createClient({
    baseUrl, userId: bob.getUserId(), accessToken: bob.getAccessToken(), deviceId: bob.getDeviceId(),
  });
  await later.startClient({ initialSyncLimit: 5 });
  await eventually(later, "the first sync", () => later.isInitialSyncComplete());
  const room = await eventually(later, "the room", () => later.getRoom(roomId));
  while (await later.paginateEventTimeline(room.getLiveTimeline(), { backwards: true, limit: 20 }));
  const found = bodies(later, roomId).filter((e) => /^number \d+$/.test(e.getContent().body));
  const numbers = found.map((e) => Number(e.getContent().body.slice(7)));
  check(numbers.length === 50 && numbers.every((n, i) => n === i), `found ${numbers}`);
  check(room.getLiveTimeline().getEvents()[0].getType() === "m.room.create", "the beginning is the create event");
  later.stopClient();
});
await step("bob leaves, and forgets", async () => {
  await bob.leave(roomId);
  await eventually(alice, "the leave", () => alice.getRoom(roomId).getMember(bob.getUserId())?.membership === "leave");
  await bob.forget(roomId);
});
await step("both log out", async () => {
  await Promise.all([alice.logout(true), bob.logout(true)]);
});
console.log("all is well");
process.exit(0);

// Two people chat through a homeserver with matrix-js-sdk, and every step says what it saw.
//
//     node two_users.mjs http://127.0.0.1:8008 [REGISTRATION_TOKEN]
//
// The server must let accounts be registered (--open-registration). Ends with status 0 and "all is well", or with
// the step that failed. Nothing is encrypted.

import { again, bodies, check, done, events, eventually, message, person, step } from "./kit.mjs";

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
  await eventually(bob, "his membership", () => bob.getRoom(roomId)?.getMyMembership() === "join");
  await eventually(alice, "his membership", () => alice.getRoom(roomId).getMember(bob.getUserId())?.membership === "join");
});
await step("alice speaks and bob hears it", async () => {
  ({ event_id: greeting } = await alice.sendTextMessage(roomId, "Hello Bob"));
  const heard = await eventually(bob, "the greeting", () => message(bob, roomId, "Hello Bob"));
  check(heard.getId() === greeting && heard.getSender() === alice.getUserId(), "another event arrived");
  // Only the sender's device is told the transaction id: by it the client knows the message for its own.
  await eventually(alice, "the echo", () => message(alice, roomId, "Hello Bob")?.getUnsigned().transaction_id);
  check(!heard.getUnsigned().transaction_id, "another device is not told it");
});
await step("bob answers, alice sees him reading and typing", async () => {
  await bob.sendReadReceipt(bob.getRoom(roomId).findEventById(greeting));
  await eventually(alice, "the receipt", () =>
    alice.getRoom(roomId).getReceiptsForEvent(alice.getRoom(roomId).findEventById(greeting))
      .some((receipt) => receipt.userId === bob.getUserId()));
  await bob.sendTyping(roomId, true, 10_000);
  await eventually(alice, "the typing notice", () => alice.getRoom(roomId).getMember(bob.getUserId())?.typing);
  ({ event_id: answer } = await bob.sendTextMessage(roomId, "Hello Alice"));
  await eventually(alice, "the answer", () => message(alice, roomId, "Hello Alice"));
  await bob.sendTyping(roomId, false, 0);
  await eventually(alice, "the end of typing", () => !alice.getRoom(roomId).getMember(bob.getUserId())?.typing);
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
    events(alice, roomId).some((e) => e.getType() === "m.reaction"));
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
  const later = await again(bob, { initialSyncLimit: 5 });
  const room = await eventually(later, "the room", () => later.getRoom(roomId));
  while (await later.paginateEventTimeline(room.getLiveTimeline(), { backwards: true, limit: 20 }));
  const found = bodies(later, roomId).filter((e) => /^number \d+$/.test(e.getContent().body));
  const numbers = found.map((e) => Number(e.getContent().body.slice(7)));
  check(numbers.length === 50 && numbers.every((n, i) => n === i), `found ${numbers}`);
  check(events(later, roomId)[0].getType() === "m.room.create", "the beginning is the create event");
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
done();

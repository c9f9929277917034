// What the scripts share: steps that say what they saw, people with a syncing client, and waiting for what arrives.

import * as sdk from "matrix-js-sdk";

// The library talks to the console a lot; the scripts speak through console.log alone.
for (const name of ["trace", "debug", "info", "warn", "error"]) console[name] = () => {};

const PATIENCE = 20_000; // ms for anything to arrive
export const suffix = Date.now().toString(36);
export const baseUrl = process.argv[2] ?? "http://127.0.0.1:8008";
const registrationToken = process.argv[3];

export function check(condition, what) {
  if (!condition) throw new Error(what);
}

export function same(found, wanted, what) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(wanted)];
  check(left === right, `${what}: ${left} instead of ${right}`);
}

export async function step(name, work) {
  try {
    const seen = await work();
    console.log(`ok   ${name}${seen === undefined ? "" : `: ${seen}`}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${error.stack ?? error}`);
    process.exit(1);
  }
}

export function done() {
  console.log("all is well");
  process.exit(0);
}

/** `work` must be refused with this errcode. */
export async function refused(errcode, work) {
  let seen = "success";
  try {
    await work();
  } catch (error) {
    seen = error.errcode ?? String(error);
  }
  check(seen === errcode, `wanted ${errcode}, got ${seen}`);
}

const NEWS = [
  sdk.RoomEvent.Timeline, sdk.RoomEvent.Redaction, sdk.RoomEvent.MyMembership, sdk.RoomEvent.Receipt, sdk.RoomEvent.Name,
  sdk.RoomEvent.Tags, sdk.RoomEvent.AccountData, sdk.RoomEvent.LocalEchoUpdated, sdk.RoomEvent.TimelineReset,
  sdk.RoomMemberEvent.Typing, sdk.RoomMemberEvent.Membership, sdk.RoomStateEvent.Events, sdk.UserEvent.Presence,
  sdk.ClientEvent.Sync, sdk.ClientEvent.AccountData, sdk.ClientEvent.Room, sdk.ClientEvent.DeleteRoom,
];

/** Waits until `probe` gives something, looking again at all news of the client. */
export async function eventually(client, what, probe) {
  const first = probe();
  if (first) return first;
  return await new Promise((resolve, reject) => {
    const finish = () => { clearTimeout(timer); NEWS.forEach((name) => client.off(name, look)); };
    const look = () => {
      const found = probe();
      if (!found) return;
      finish();
      resolve(found);
    };
    const timer = setTimeout(() => { finish(); reject(new Error(`${what} did not arrive`)); }, PATIENCE);
    NEWS.forEach((name) => client.on(name, look));
  });
}

/** Registers through user-interactive authentication, by token where the server wants one. */
export async function register(username) {
  const anonymous = sdk.createClient({ baseUrl });
  const body = { username, password: `${username} likes long passwords`, initial_device_display_name: "script" };
  try {
    return await anonymous.registerRequest(body);
  } catch (error) {
    if (error.httpStatus !== 401) throw error;
    const { session, flows } = error.data;
    const byToken = flows.some((flow) => flow.stages.includes("m.login.registration_token"));
    const auth = byToken
      ? { type: "m.login.registration_token", token: registrationToken, session }
      : { type: "m.login.dummy", session };
    return await anonymous.registerRequest({ ...body, auth });
  }
}

/** A client of an answer to a registration or a login, syncing. */
export async function syncing(answer, options = { initialSyncLimit: 20, lazyLoadMembers: true }) {
  const { user_id: userId, access_token: accessToken, device_id: deviceId } = answer;
  const client = sdk.createClient({ baseUrl, userId, accessToken, deviceId, timelineSupport: true });
  await client.startClient(options);
  await eventually(client, "the first sync", () => client.isInitialSyncComplete());
  return client;
}

/** A new user whose client is syncing. */
export async function person(name, options) {
  return await syncing(await register(`${name}-${suffix}`), options);
}

/** A further client of the same device, with nothing in its memory. */
export async function again(client, options) {
  const answer = { user_id: client.getUserId(), access_token: client.getAccessToken(), device_id: client.getDeviceId() };
  return await syncing(answer, options);
}

export const events = (client, roomId) => client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
export const bodies = (client, roomId) => events(client, roomId).filter((e) => e.getType() === "m.room.message");
export const message = (client, roomId, body) => bodies(client, roomId).find((e) => e.getContent().body === body);
export const membership = (client, roomId, userId) => client.getRoom(roomId)?.getMember(userId)?.membership;
export const state = (client, roomId, type, key = "") =>
  client.getRoom(roomId)?.getLiveTimeline().getState("f").getStateEvents(type, key)?.getContent();

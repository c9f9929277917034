// Devices of matrix-js-sdk with its Rust cryptography, driven by somebody else: one JSON object a line comes in,
// {id, command, device?, ...arguments}, and one goes out, {id, told} or {id, error}. Devices stop and start with the
// memory that a browser would keep for them.

import "fake-indexeddb/auto";
import { createInterface } from "node:readline";
import * as sdk from "matrix-js-sdk";
import * as crypto from "matrix-js-sdk/lib/crypto-api/index.js";
import { decrypted, encrypted } from "./crypto_attachments.mjs";
import { dehydrate, rehydrate } from "./crypto_dehydration.mjs";
import { scan } from "./crypto_qr.mjs";
import { verify } from "./crypto_sas.mjs";

const report = process.env.AGENT_LOG ? (...words) => process.stderr.write(`${words.map(String).join(" ")}\n`) : () => {};
for (const name of ["log", "trace", "debug", "info", "warn", "error"]) console[name] = report;
const random = Math.random;
Math.random = () => random() / 100; // the library's random pauses, of up to ten seconds, are meant for crowds

const PATIENCE = 40_000; // ms for anything to arrive
const devices = new Map();

class Device {
  constructor(name, url, answer, password) {
    Object.assign(this, { name, url, password, secretStorageKeys: new Map() });
    this.userId = answer.user_id;
    this.deviceId = answer.device_id;
    this.accessToken = answer.access_token;
  }

  /** The client with its memory; returns when it has synced. */
  async start() {
    const { url: baseUrl, userId, deviceId, accessToken } = this;
    const cryptoCallbacks = {
      cacheSecretStorageKey: (id, _, key) => this.secretStorageKeys.set(id, key),
      getSecretStorageKey: async ({ keys }) => {
        const id = Object.keys(keys).find((each) => this.secretStorageKeys.has(each));
        if (id) return [id, this.secretStorageKeys.get(id)];
        return this.recoveryKey ? [Object.keys(keys)[0], crypto.decodeRecoveryKey(this.recoveryKey)] : null;
      },
    };
    this.client = sdk.createClient({ baseUrl, userId, deviceId, accessToken, cryptoCallbacks, timelineSupport: true });
    await this.client.initRustCrypto({ cryptoDatabasePrefix: `${userId}/${deviceId}` });
    this.client.on(sdk.RoomEvent.TimelineReset, (room) => report(this.name, "has a gap in", room?.roomId));
    await this.client.startClient({ initialSyncLimit: 300, pendingEventOrdering: "detached" });
    await this.until("the first sync", () => this.client.isInitialSyncComplete());
  }

  stop() {
    this.client.stopClient();
    this.client.removeAllListeners();
    this.client = undefined;
  }

  get crypto() {
    return this.client.getCrypto();
  }

  room(roomId) {
    return this.client.getRoom(roomId);
  }

  /** Waits until `probe` gives something, looking again at all news of the client. */
  async until(what, probe, explain = () => "") {
    const { client } = this;
    const news = [
      sdk.ClientEvent.Sync, sdk.ClientEvent.ToDeviceEvent, sdk.MatrixEventEvent.Decrypted, sdk.RoomEvent.Timeline,
      sdk.RoomEvent.MyMembership, sdk.RoomMemberEvent.Membership, crypto.CryptoEvent.DevicesUpdated,
      crypto.CryptoEvent.UserTrustStatusChanged, crypto.CryptoEvent.KeysChanged, crypto.CryptoEvent.KeyBackupStatus,
      crypto.CryptoEvent.KeyBackupSessionsRemaining, crypto.CryptoEvent.KeyBackupDecryptionKeyCached,
    ];
    const { promise, resolve, reject } = Promise.withResolvers();
    const look = async () => { try { const found = await probe(); if (found) resolve(found); } catch (error) { reject(error); } };
    const late = () => reject(new Error(`${this.name} waited in vain for ${what} ${explain()}`));
    const timer = setTimeout(late, PATIENCE);
    news.forEach((name) => client.on(name, look));
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      news.forEach((name) => client.off(name, look));
    }
  }

  /** What is known of the room, before and after gaps. */
  events(roomId) {
    const timelines = this.room(roomId)?.getUnfilteredTimelineSet().getTimelines() ?? [];
    return timelines.flatMap((timeline) => timeline.getEvents());
  }

  /** The event, once it is in the timeline and an attempt was made to decrypt it. */
  async event(roomId, eventId) {
    const find = () => this.events(roomId).find((each) => each.getId() === eventId);
    return await this.until(eventId, () => { const found = find(); return found && !found.isBeingDecrypted() && found; });
  }

  /** After a gap the timeline begins anew; what is before it is asked for, as by somebody who scrolls. */
  async fillGap(roomId) {
    const live = this.room(roomId)?.getLiveTimeline();
    if (live?.getPaginationToken(sdk.Direction.Backward)) await this.client.paginateEventTimeline(live, { backwards: true, limit: 100 });
  }

  /** Sends, and sends again what the connection cut short, under the same transaction id. */
  async send(roomId, content) {
    const transaction = this.client.makeTxnId();
    let sending = this.client.sendEvent(roomId, "m.room.message", content, transaction);
    for (;;) {
      try {
        return (await sending).event_id;
      } catch (error) {
        if (error.httpStatus && error.httpStatus < 500) throw error;
        report("not sent", String(error));
        await this.reachable();
        const unsent = this.room(roomId).getPendingEvents().find((each) => each.getTxnId() === transaction);
        // It had arrived, only the answer was lost; a sync has told the client so.
        if (!unsent) return await this.echo(roomId, transaction);
        sending = this.client.resendEvent(unsent, this.room(roomId));
      }
    }
  }

  /** The id of the event in the timeline that was sent under this transaction. */
  async echo(roomId, transaction) {
    const find = () => this.events(roomId).find((each) => each.getUnsigned().transaction_id === transaction);
    return (await this.until(`the echo of ${transaction}`, find)).getId();
  }

  async reachable() {
    const deadline = Date.now() + PATIENCE;
    while (Date.now() < deadline) {
      if (await fetch(`${this.url}/_matrix/client/versions`).then((said) => said.ok, () => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`${this.url} stays away`);
  }
}

async function register({ device: name, url, username, password }) {
  const anonymous = sdk.createClient({ baseUrl: url });
  const answer = await anonymous.registerRequest({ username, password, auth: { type: "m.login.dummy" } });
  return await begin(new Device(name, url, answer, password));
}

async function login({ device: name, url, username, password }) {
  const identifier = { type: "m.id.user", user: username };
  const answer = await sdk.createClient({ baseUrl: url }).loginRequest({ type: "m.login.password", identifier, password });
  return await begin(new Device(name, url, answer, password));
}

async function begin(device) {
  devices.set(device.name, device);
  await device.start();
  return { user_id: device.userId, device_id: device.deviceId, access_token: device.accessToken };
}

const password = ({ userId: user, password }) => async (request) => {
  try {
    return await request(null);
  } catch (error) {
    if (error.httpStatus !== 401) throw error;
    const { session } = error.data;
    return await request({ type: "m.login.password", identifier: { type: "m.id.user", user }, password, session });
  }
};

/** What each command does; the answers are JSON. */
const commands = {
  register,
  login,

  async stop(device) { device.stop(); },
  async start(device) { await device.start(); },
  async logout(device) { await device.client.logout(true); devices.delete(device.name); },
  /** The server is there again: no need to wait for the next attempt. */
  async online(device) { device.client.retryImmediately(); },

  async create(device, { invite = [], options = {} }) {
    const encryption = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
    const made = await device.client.createRoom({ preset: "private_chat", invite, initial_state: [encryption], ...options });
    await commands.encrypts(device, { room: made.room_id });
    return made.room_id;
  },
  async encrypts(device, { room }) {
    await device.until("an encrypted room", () => device.room(room) && device.crypto.isEncryptionEnabledInRoom(room));
  },
  async join(device, { room }) {
    await device.until("an invitation", () => device.room(room)?.getMyMembership() === "invite");
    await device.client.joinRoom(room);
    await device.until("the room", () => device.room(room)?.getMyMembership() === "join");
    await commands.encrypts(device, { room });
  },
  async invite(device, { room, user }) { await device.client.invite(room, user); },
  async leave(device, { room }) { await device.client.leave(room); },
  async sees_member(device, { room, user, membership }) {
    await device.until(`${user} to ${membership}`, () => device.room(room)?.getMember(user)?.membership === membership);
  },

  async say(device, { room, body }) { return await device.send(room, { msgtype: "m.text", body }); },
  async discard(device, { room }) { await device.crypto.forceDiscardSession(room); },
  /** Waits until all these events are decrypted; gives their bodies. */
  async reads(device, { room, events }) {
    const found = () => new Map(device.events(room).map((each) => [each.getId(), each]));
    const readable = (event) => event?.isEncrypted() && event.getType() === "m.room.message" && !event.isDecryptionFailure();
    const missing = () => events.filter((id) => !readable(found().get(id)));
    const reason = (id) => { const seen = found().get(id); return seen ? (seen.decryptionFailureReason ?? seen.getType()) : "not there"; };
    const explain = () => JSON.stringify(missing().map((id) => [id, reason(id)]));
    await device.until(`${events.length} messages`, async () => {
      if (events.some((id) => !found().has(id))) await device.fillGap(room);
      return missing().length === 0;
    }, explain);
    return events.map((id) => found().get(id).getContent().body);
  },
  /** Is the event in the history that this device is shown? */
  async sees(device, { room, event }) {
    while (device.room(room).getLiveTimeline().getPaginationToken(sdk.Direction.Backward)) await device.fillGap(room);
    return device.events(room).some((each) => each.getId() === event);
  },
  /** The reason why an event cannot be read, or null. */
  async unreadable(device, { room, event }) { return (await device.event(room, event)).decryptionFailureReason; },
  async session_of(device, { room, event }) { return (await device.event(room, event)).getWireContent().session_id; },

  async attach(device, { room, text }) {
    const { bytes, file } = await encrypted(text);
    const { content_uri: url } = await device.client.uploadContent(new Blob([bytes]), { includeFilename: false });
    return await device.send(room, { msgtype: "m.file", body: "notes.txt", file: { ...file, url } });
  },
  async opens(device, { room, event }) {
    await commands.reads(device, { room, events: [event] });
    const { file } = (await device.event(room, event)).getContent();
    const address = device.client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true);
    const said = await fetch(address, { headers: { authorization: `Bearer ${device.accessToken}` } });
    if (!said.ok) throw new Error(`${said.status} ${await said.text()}`);
    return await decrypted(await said.arrayBuffer(), file);
  },

  /** Cross-signing keys, secret storage and a backup, as a client sets them up; gives the recovery key. */
  async bootstrap(device) {
    const made = await device.crypto.createRecoveryKeyFromPassphrase();
    await device.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: password(device) });
    await device.crypto.bootstrapSecretStorage({ createSecretStorageKey: async () => made, setupNewKeyBackup: true });
    await device.until("the secrets to be stored", () => device.crypto.isSecretStorageReady());
    return made.encodedPrivateKey;
  },
  /** A new device with the recovery key: signs itself; gives how many sessions the backup had. */
  async recover(device, { recoveryKey }) {
    device.recoveryKey = recoveryKey;
    await device.until("cross-signing keys", () => device.crypto.userHasCrossSigningKeys(device.userId, true));
    await device.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: password(device) });
    await device.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    await device.crypto.checkKeyBackupAndEnable();
    return (await device.crypto.restoreKeyBackup()).imported;
  },
  /** Waits until the backup on the server has so many sessions. */
  async backed_up(device, { sessions }) {
    await device.until(`${sessions} sessions in the backup`, async () => {
      const { count } = await device.client.http.authedRequest(sdk.Method.Get, "/room_keys/version");
      return count >= sessions;
    });
  },
  async verify(device, { other, room }) { return await verify(device, devices.get(other), room); },
  /** This device scans what the other one shows. */
  async scan(device, { other, room }) { await scan(device, devices.get(other), room); },
  async dehydrate(device) { return await dehydrate(device); },
  async rehydrate(device) { return await rehydrate(device); },
  /** Waits until this device trusts that one, because somebody signed it. */
  async trusts(device, { user, other }) {
    await device.until(`trust in ${other}`, async () => {
      await device.crypto.getUserDeviceInfo([user], true);
      return (await device.crypto.getDeviceVerificationStatus(user, other))?.crossSigningVerified;
    });
  },
  /** Waits until this device has heard of that one. */
  async knows(device, { user, other }) {
    await device.until(`news of ${other}`, async () => (await device.crypto.getUserDeviceInfo([user])).get(user)?.has(other));
  },
  /** Waits until this device trusts somebody with all that they sign. */
  async trusts_user(device, { user }) {
    const status = () => device.crypto.getUserVerificationStatus(user);
    await device.until(`trust in ${user}`, async () => (await status()).isCrossSigningVerified());
  },
  /** Waits for the secrets of cross-signing and of the backup, which other devices share. */
  async has_secrets(device) {
    await device.until("shared secrets", async () => {
      const { masterKey, selfSigningKey, userSigningKey } = (await device.crypto.getCrossSigningStatus()).privateKeysCachedLocally;
      return masterKey && selfSigningKey && userSigningKey && (await device.crypto.getSessionBackupPrivateKey());
    });
  },
};

async function answer(line) {
  const { id, command, ...given } = JSON.parse(line);
  let said;
  try {
    const device = devices.get(given.device);
    const work = commands[command];
    const told = device ? await work(device, given) : await work(given);
    said = { id, told: told ?? null };
  } catch (error) {
    said = { id, error: `${command} of ${given.device}: ${error?.stack ?? error}` };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

const lines = createInterface({ input: process.stdin });
lines.on("line", answer);
lines.on("close", () => process.exit(0));

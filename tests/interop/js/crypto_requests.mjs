// How a verification begins, whatever the people do then: one device asks, the other one accepts.

import { CryptoEvent, VerificationPhase, VerificationRequestEvent } from "matrix-js-sdk/lib/crypto-api/index.js";

const PATIENCE = 40_000;

/** Waits until `probe` gives something, looking at each event of this name. */
export async function when(emitter, name, what, probe) {
  const { promise, resolve, reject } = Promise.withResolvers();
  const look = (...told) => { try { const found = probe(...told); if (found) resolve(found); } catch (error) { reject(error); } };
  const timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE);
  emitter.on(name, look);
  look();
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    emitter.off(name, look);
  }
}

export const reached = (request, phase) => when(request, VerificationRequestEvent.Change, `phase ${phase}`, () => {
  if (request.phase === VerificationPhase.Cancelled) throw new Error(`cancelled: ${request.cancellationCode}`);
  return request.phase >= phase;
});

async function ask(device, other, roomId) {
  if (roomId) return await device.crypto.requestVerificationDM(other.userId, roomId);
  if (device.userId === other.userId) return await device.crypto.requestOwnUserVerification();
  return await device.crypto.requestDeviceVerification(other.userId, other.deviceId);
}

/** Waits until `device` has heard of `other`: it asks no device, and hears no request of one, that it does not know. */
const knows = (device, other) => device.until(`news of ${other.deviceId}`, async () =>
  (await device.crypto.getUserDeviceInfo([other.userId])).get(other.userId)?.has(other.deviceId));

/** `device` asks `other`, in a room or by messages between devices; gives the request as both see it, accepted. */
export async function asked(device, other, roomId) {
  await Promise.all([knows(device, other), knows(other, device)]);
  const { promise, resolve } = Promise.withResolvers();
  other.client.once(CryptoEvent.VerificationRequestReceived, resolve);
  const request = await ask(device, other, roomId);
  const received = await promise;
  await received.accept();
  await reached(request, VerificationPhase.Ready);
  return [request, received];
}

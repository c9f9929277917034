// Two people compare emoji: the interactive verification of two devices.

import { CryptoEvent, VerificationPhase, VerificationRequestEvent, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";

const PATIENCE = 40_000;

/** Waits until `probe` gives something, looking at each event of this name. */
async function when(emitter, name, what, probe) {
  const { promise, resolve, reject } = Promise.withResolvers();
  const look = (...told) => { const found = probe(...told); if (found) resolve(found); };
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

const reached = (request, phase) => when(request, VerificationRequestEvent.Change, `phase ${phase}`, () => {
  if (request.phase === VerificationPhase.Cancelled) throw new Error(`cancelled: ${request.cancellationCode}`);
  return request.phase >= phase;
});

const shown = (verifier) => when(verifier, VerifierEvent.ShowSas, "emoji", () => verifier.getShowSasCallbacks());

async function ask(device, other, roomId) {
  if (roomId) return await device.crypto.requestVerificationDM(other.userId, roomId);
  if (device.userId === other.userId) return await device.crypto.requestOwnUserVerification();
  return await device.crypto.requestDeviceVerification(other.userId, other.deviceId);
}

/** `device` asks `other`, in a room or by messages between devices; gives the emoji that both saw. */
export async function verify(device, other, roomId) {
  const { promise: asked, resolve } = Promise.withResolvers();
  const take = (request) => resolve(request);
  other.client.once(CryptoEvent.VerificationRequestReceived, take);
  const request = await ask(device, other, roomId);
  const received = await asked;
  await received.accept();
  await reached(request, VerificationPhase.Ready);
  const mine = await request.startVerification("m.sas.v1");
  await reached(received, VerificationPhase.Started);
  const theirs = received.verifier;
  const finished = [mine.verify(), theirs.verify()];
  const both = await Promise.all([shown(mine), shown(theirs)]);
  const [left, right] = both.map(({ sas }) => sas.emoji.map(([, name]) => name).join(" "));
  if (left !== right) throw new Error(`they see ${left} and ${right}`);
  await Promise.all(both.map((callbacks) => callbacks.confirm()));
  await Promise.all(finished);
  await Promise.all([reached(request, VerificationPhase.Done), reached(received, VerificationPhase.Done)]);
  return left;
}

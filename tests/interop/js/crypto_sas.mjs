// Two people compare emoji: the interactive verification of two devices.

import { VerificationPhase, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { asked, reached, when } from "./crypto_requests.mjs";

const shown = (verifier) => when(verifier, VerifierEvent.ShowSas, "emoji", () => verifier.getShowSasCallbacks());

/** `device` asks `other`, in a room or by messages between devices; gives the emoji that both saw. */
export async function verify(device, other, roomId) {
  const [request, received] = await asked(device, other, roomId);
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

// A device that sleeps on the server and takes the keys of rooms while its user has no other one.

import { Method } from "matrix-js-sdk";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";

const prefix = "/_matrix/client/unstable/org.matrix.msc3814.v1";

/** Lets a device sleep; gives its id. */
export async function dehydrate(device) {
  if (!(await device.crypto.isDehydrationSupported())) throw new Error("the server knows nothing of devices that sleep");
  await device.crypto.startDehydration();
  const said = await device.client.http.authedRequest(Method.Get, "/dehydrated_device", undefined, undefined, { prefix });
  return said.device_id;
}

/** Wakes the device that sleeps, and lets another one sleep; gives how many keys of rooms it had got. */
export async function rehydrate(device) {
  let keys = 0;
  let fault;
  const count = (so_far) => { keys = so_far; };
  const note = (reason) => { fault = reason; };
  device.client.on(CryptoEvent.RehydrationProgress, count);
  device.client.on(CryptoEvent.RehydrationError, note);
  await device.crypto.startDehydration();
  device.client.off(CryptoEvent.RehydrationProgress, count);
  device.client.off(CryptoEvent.RehydrationError, note);
  if (fault) throw new Error(`could not wake: ${fault}`);
  return keys;
}

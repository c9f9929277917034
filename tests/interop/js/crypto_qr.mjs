// One device shows a code, the other one scans it: the camera is the only part that is missing here.

import { VerificationPhase, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { asked, reached, when } from "./crypto_requests.mjs";

/** `device` asks `other`, in a room or by messages between devices, and scans what that one shows. */
export async function scan(device, other, roomId) {
  const [request, received] = await asked(device, other, roomId);
  const code = await received.generateQRCode();
  if (!code) throw new Error(`${other.name} has no code to show`);
  const scanning = (await request.scanQRCode(new Uint8ClampedArray(code))).verify();
  await reached(received, VerificationPhase.Started);
  const showing = received.verifier;
  const finished = showing.verify();
  const { confirm } = await when(showing, VerifierEvent.ShowReciprocateQr, "the scan", () => showing.getReciprocateQrCodeCallbacks());
  confirm();
  await Promise.all([scanning, finished]);
  await Promise.all([reached(request, VerificationPhase.Done), reached(received, VerificationPhase.Done)]);
}

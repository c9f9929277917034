// A device that is logged in shows a code; a new one scans it, is logged in, and has all keys of its user [MSC4108].
//
//     node qr_login.mjs http://127.0.0.1:8008 CHROMIUM
//
// The consent in between is given on our page, in Chromium. Ends with status 0 and "all is well".

import "fake-indexeddb/auto";
import { QrCodeData } from "@matrix-org/matrix-sdk-crypto-wasm";
import * as sdk from "matrix-js-sdk";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { OAuth2 } from "matrix-js-sdk/lib/oauth/index.js";
import { MSC4108SignInWithQR } from "matrix-js-sdk/lib/rendezvous/index.js";
import { MSC4108SecureChannel } from "matrix-js-sdk/lib/rendezvous/channels/index.js";
import { MSC4108RendezvousSession } from "matrix-js-sdk/lib/rendezvous/transports/index.js";
import { chromium } from "playwright-core";

import { baseUrl, done, same, step } from "./kit.mjs";
import { registered } from "./registered.mjs";

const browser = await chromium.launch({ executablePath: process.argv[3], args: ["--no-sandbox", "--disable-gpu"] });
const page = await (await browser.newContext()).newPage();
page.setDefaultTimeout(20_000);
const failed = (reason) => { throw new Error(`the rendezvous has failed: ${reason}`); };
const PATIENCE = 20_000; // ms
const HOME = "https://app.example.com/";

async function encrypting(answer) {
  const { user_id: userId, access_token: accessToken, device_id: deviceId } = answer;
  const client = sdk.createClient({ baseUrl, userId, accessToken, deviceId });
  await client.initRustCrypto({ cryptoDatabasePrefix: `${userId}/${deviceId}` });
  await client.startClient();
  return client;
}

async function consent(address, alice) {
  await page.goto(address);
  const form = page.locator("form", { has: page.getByRole("button", { name: "Log in", exact: true }) });
  await form.getByLabel("User name").fill(alice.user_id);
  await form.getByLabel("Password").fill(alice.password);
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await page.getByRole("button", { name: "Allow", exact: true }).click();
  await page.getByText("The device is being logged in").waitFor();
}

const alice = await registered("alice");
const identifier = { type: "m.id.user", user: alice.user_id };
const phone = await encrypting(await sdk.createClient({ baseUrl }).loginRequest({ type: "m.login.password", identifier, password: alice.password }));
await step("the phone has keys for cross-signing", async () => {
  await phone.getCrypto().bootstrapCrossSigning({
    authUploadDeviceSigningKeys: (request) => request(null), // the first keys need no proof
  });
});

let showing, scanning, meeting;
await step("the phone shows a code, and the laptop scans it", async () => {
  meeting = new MSC4108RendezvousSession({ client: phone, onFailure: failed });
  await meeting.send("");
  showing = new MSC4108SignInWithQR(new MSC4108SecureChannel(meeting, undefined, failed), false, phone, failed);
  await showing.generateCode();
  const code = QrCodeData.fromBytes(new Uint8Array(showing.code));
  const session = new MSC4108RendezvousSession({ url: code.rendezvousUrl, onFailure: failed });
  scanning = new MSC4108SignInWithQR(new MSC4108SecureChannel(session, code.publicKey, failed), true, undefined, failed);
  await Promise.all([showing.negotiateProtocols(), scanning.negotiateProtocols()]);
  same(showing.checkCode, scanning.checkCode, "what people compare");
});

let laptop;
await step("the phone's user lets the laptop in", async () => {
  const metadata = await sdk.createClient({ baseUrl }).getAuthMetadata();
  const clientId = await OAuth2.registerClient(metadata, {
    client_name: "Laptop", client_uri: HOME, redirect_uris: [`${HOME}callback`], application_type: "web",
    tos_uri: `${HOME}terms`, policy_uri: `${HOME}privacy`,
  });
  const deviceId = "LAPTOP123456";
  const [{ verificationUri }] = await Promise.all([
    showing.deviceAuthorizationGrant(), scanning.deviceAuthorizationGrant({ metadata, clientId, deviceId }),
  ]);
  await consent(verificationUri, alice);
  const sharing = showing.shareSecrets();
  const tokens = await scanning.completeLoginOnNewDevice({ clientId });
  laptop = await encrypting({ user_id: alice.user_id, device_id: deviceId, access_token: tokens.access_token });
  const [{ secrets }] = await Promise.all([scanning.shareSecrets(), sharing]);
  await laptop.getCrypto().importSecretsBundle(secrets);
});

await step("the laptop is verified", async () => {
  await laptop.getCrypto().userHasCrossSigningKeys(alice.user_id, true);
  await laptop.getCrypto().crossSignDevice("LAPTOP123456");
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the phone does not trust it")), PATIENCE);
    const look = async () => {
      const status = await phone.getCrypto().getDeviceVerificationStatus(alice.user_id, "LAPTOP123456");
      if (status?.crossSigningVerified) { clearTimeout(timer); resolve(); }
    };
    phone.on(CryptoEvent.DevicesUpdated, look);
    look();
  });
});

await step("the place of the meeting is gone when it is closed", async () => {
  await meeting.close();
  same((await fetch(meeting.url)).status, 404, "its answer");
});

await browser.close();
done();

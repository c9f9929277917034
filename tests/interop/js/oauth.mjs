// An application of matrix-js-sdk logs people in by OAuth 2.0; they see our pages in Chromium.
//
//     node oauth.mjs http://127.0.0.1:8008 CHROMIUM FOLDER_FOR_SCREENSHOTS
//
// The server must let accounts be registered. Ends with status 0 and "all is well", or with the step that failed.

import { join } from "node:path";
import * as sdk from "matrix-js-sdk";
import { OAuth2 } from "matrix-js-sdk/lib/oauth/index.js";
import { chromium } from "playwright-core";

import { baseUrl, check, done, same, step } from "./kit.mjs";
import { registered } from "./registered.mjs";

const [, , , executablePath, folder] = process.argv;
const HOME = "https://app.example.com/";
const REDIRECT = `${HOME}callback`;
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const context = await browser.newContext({ viewport: { width: 900, height: 760 } });
const page = await context.newPage();
page.setDefaultTimeout(20_000);
let led; // where the browser was sent back to
await context.route(`${HOME}**`, (route) => { led = route.request().url(); route.fulfill({ body: "the application" }); });
const forbidden = []; // by the page's own policy
page.on("console", (said) => said.type() === "error" && forbidden.push(said.text()));

const look = (name) => page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
const press = (name) => page.getByRole("button", { name, exact: true }).click();
const nobody = sdk.createClient({ baseUrl });
const metadata = await nobody.getAuthMetadata();
const deviceId = "QWERTYUIOPAS";

async function application(name) {
  const about = {
    client_name: name, client_uri: HOME, redirect_uris: [REDIRECT], application_type: "web",
    tos_uri: `${HOME}terms`, policy_uri: `${HOME}privacy`,
  };
  return await OAuth2.registerClient(metadata, about);
}

async function whoami(accessToken) {
  return await sdk.createClient({ baseUrl, accessToken }).whoami();
}

const alice = await registered("alice");
const auth = new OAuth2(metadata, { clientId: await application("Sample App"), deviceId });

await step("somebody logs in and lets the application in", async () => {
  await page.goto(await auth.generateAuthorizationCodeGrantUrl("state-1", REDIRECT));
  const form = page.locator("form", { has: page.getByRole("button", { name: "Log in", exact: true }) });
  await form.getByLabel("User name").fill(alice.user_id);
  await form.getByLabel("Password").fill("a wrong guess");
  await press("Log in");
  await page.getByText("Wrong user name or password").waitFor();
  await look("1-log-in");
  await form.getByLabel("User name").fill(alice.user_id);
  await form.getByLabel("Password").fill(alice.password);
  await press("Log in");
  await page.getByText("Let Sample App in?").waitFor();
  await look("2-consent");
  await press("Allow");
  await page.getByText("the application").waitFor();
});

let tokens;
await step("the application gets its tokens", async () => {
  const told = new URLSearchParams(new URL(page.url()).hash.slice(1));
  same(told.get("state"), "state-1", "state");
  tokens = await auth.completeAuthorizationCodeGrant(told.get("code"), REDIRECT);
  const me = await whoami(tokens.access_token);
  same([me.user_id, me.device_id], [alice.user_id, deviceId], "who it is");
});

await step("tokens are refreshed", async () => {
  const old = tokens.access_token;
  tokens = await auth.performRefreshTokenGrant(tokens.refresh_token);
  check(tokens.access_token !== old, "a new token");
  await whoami(tokens.access_token);
});

await step("a television is linked", async () => {
  const television = new OAuth2(metadata, { clientId: await application("Television"), deviceId: "TELEVISION12" });
  const session = await television.startDeviceAuthorizationGrant();
  const waiting = television.waitForDeviceAuthorizationGrant(session);
  await page.goto(session.verification_uri);
  await page.getByLabel("Code that your device shows").fill(session.user_code);
  await press("Go on");
  await page.getByText("wants to log in as").waitFor();
  await look("3-link");
  await press("Allow");
  await page.getByText("The device is being logged in").waitFor();
  const me = await whoami((await waiting).access_token);
  same([me.user_id, me.device_id], [alice.user_id, "TELEVISION12"], "who it is");
});

await step("people see their devices, and log one out", async () => {
  await page.goto(metadata.account_management_uri);
  await page.getByText("Television").first().waitFor();
  await look("4-account");
  await page.goto(`${metadata.account_management_uri}?action=org.matrix.device_delete&device_id=TELEVISION12`);
  await press("Log out");
  await page.getByText("The device has been logged out").waitFor();
});

await step("the application logs out", async () => {
  await auth.revokeToken(tokens.refresh_token, "refresh_token");
  const told = await fetch(`${baseUrl}/_matrix/client/v3/account/whoami`, {
    headers: { Authorization: `Bearer ${tokens.access_token}` },
  });
  same(told.status, 401, "the token's end");
});

await step("somebody new makes an account", async () => {
  await context.clearCookies();
  const fresh = new OAuth2(metadata, { clientId: await application("Sample App"), deviceId: "NEWCOMER1234" });
  await page.goto(await fresh.generateAuthorizationCodeGrantUrl("state-2", REDIRECT, "query", "create"));
  const form = page.locator("form", { has: page.getByRole("button", { name: "Create account", exact: true }) });
  await form.getByLabel("User name").fill(`newcomer-${alice.suffix}`);
  await form.getByLabel("Password", { exact: true }).fill("a long password");
  await form.getByLabel("Password, once more").fill("a long password");
  await look("5-new");
  await press("Create account");
  await press("Allow");
  await page.getByText("the application").waitFor();
  const got = await fresh.completeAuthorizationCodeGrant(new URL(led).searchParams.get("code"), REDIRECT);
  check((await whoami(got.access_token)).user_id.startsWith(`@newcomer-${alice.suffix}:`), "who it is");
});

await step("the pages broke no rule of theirs", () => same(forbidden.filter((said) => !said.includes("400")), [], "complaints"));
await browser.close();
done();

// Two people use a web client (Hydrogen) in two contexts of one Chromium; only what they can see and click counts.
//
//     node browser.mjs http://127.0.0.1:8008 CHROMIUM FOLDER_FOR_SCREENSHOTS
//
// The server must let accounts be registered. Ends with status 0 and "all is well", or with the step that failed.

import { join } from "node:path";
import { chromium } from "playwright-core";

import { baseUrl, check, done, step as told } from "./kit.mjs";
import { registered } from "./registered.mjs";
import { webSite } from "./web_site.mjs";

const [, , , executablePath, folder] = process.argv;
const PATIENCE = 30_000; // ms for anything to appear
const PICTURE = { width: 1600, height: 900 };
const site = await webSite();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const complaints = []; // of the browser, about any page: shown where a step fails
const faults = []; // what the homeserver must never cause

/** A request that the browser forbade, for want of CORS, is a fault; one that the client gave up is not. */
function failed(request) {
  const why = request.failure()?.errorText;
  if (request.url().startsWith(baseUrl) && why !== "net::ERR_ABORTED") faults.push(`${why} ${request.url()}`);
}

/** A person with a window of their own, logged in through the client's form. */
async function person(name) {
  const account = await registered(name);
  const context = await browser.newContext({ viewport: { width: 1100, height: 720 }, permissions: [] });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (said) => said.type() === "error" && complaints.push(`${name}: ${said.text()} ${said.location().url}`));
  page.on("response", (answer) => answer.status() >= 500 && faults.push(`${answer.status()} ${answer.url()}`));
  page.on("requestfailed", (request) => failed(request));
  await page.goto(`${site}?server=${encodeURIComponent(baseUrl)}`);
  await page.getByLabel("Username").fill(account.user_id);
  await page.getByLabel("Password").fill(account.password);
  await page.getByRole("button", { name: "Log In" }).click();
  await page.locator(".LeftPanel").waitFor();
  return { ...account, page, context };
}

const look = (who, name) => who.page.screenshot({ path: join(folder, `${name}.png`) });
const said = (who, text) => who.page.locator(".Timeline_messageBody", { hasText: text });

async function say(who, text) {
  await who.page.locator(".MessageComposer_input textarea").fill(text);
  await who.page.getByRole("button", { name: "Send", exact: true }).click();
}

/** A picture of stripes, drawn by the browser. */
function picture(page) {
  return page.evaluate(async ({ width, height }) => {
    const canvas = new OffscreenCanvas(width, height);
    const pen = canvas.getContext("2d");
    for (let n = 0; n < 16; n++) {
      pen.fillStyle = `hsl(${n * 22} 80% 55%)`;
      pen.fillRect((n * width) / 16, 0, width / 16, height);
    }
    const blob = await canvas.convertToBlob({ type: "image/png" });
    return btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
  }, PICTURE);
}

/** The size of the picture as it came over the network, once it is drawn. */
async function drawn(image) {
  await image.waitFor();
  return image.evaluate(async (element) => {
    await element.decode();
    return { source: element.currentSrc, width: element.naturalWidth, height: element.naturalHeight };
  });
}

let alice, bob;

/** A step that fails leaves pictures of what was to be seen. */
const step = (name, work) => told(name, async () => {
  try {
    return await work();
  } catch (error) {
    await Promise.all([alice && look(alice, "failed-alice"), bob && look(bob, "failed-bob")]);
    throw new Error([error.stack, ...complaints].join("\n"));
  }
});

await step("two people log in", async () => {
  alice = await person("alice");
  bob = await person("bob");
  await look(alice, "1-logged-in");
});
await step("alice creates a room that anyone can join", async () => {
  const { page } = alice;
  await page.getByRole("button", { name: "Create room" }).click();
  await page.getByText("Create Room", { exact: true }).click();
  await page.locator("#name").fill("Tea and biscuits");
  await page.locator("#topic").fill("Every day at five");
  await look(alice, "2-creating");
  await page.locator("#isPublic").check();
  await page.locator("#roomAlias").fill(`tea-${alice.suffix}`);
  await page.locator(".CreateRoomView button[type=submit]").click();
  await page.locator(".RoomList a", { hasText: "Tea and biscuits" }).click();
  await page.locator(".MessageComposer").waitFor();
});
await step("bob joins it by its name", async () => {
  const { page } = bob;
  await page.getByRole("button", { name: "Create room" }).click();
  await page.getByText("Join Room", { exact: true }).click();
  await page.locator(".JoinRoomView input").fill(`#tea-${alice.suffix}:${alice.user_id.replace(/^[^:]*:/, "")}`);
  await page.locator(".JoinRoomView button[type=submit]").click();
  await page.locator(".MessageComposer").waitFor();
});
await step("they talk", async () => {
  await say(alice, "Would you like a cup?");
  await said(bob, "Would you like a cup?").waitFor();
  await say(bob, "With milk, please");
  await said(alice, "With milk, please").waitFor();
});
await step("bob sends a picture, alice sees its thumbnail", async () => {
  const buffer = Buffer.from(await picture(bob.page), "base64");
  await bob.page.locator(".MessageComposer .sendFile").click();
  const [chooser] = await Promise.all([
    bob.page.waitForEvent("filechooser"),
    bob.page.getByText("Send picture", { exact: true }).click(),
  ]);
  await chooser.setFiles({ name: "stripes.png", mimeType: "image/png", buffer });
  const thumbnail = await drawn(alice.page.locator(".Timeline_message .media img"));
  check(thumbnail.width > 0 && thumbnail.width < PICTURE.width, `the thumbnail is ${thumbnail.width} wide`);
  check(thumbnail.source.startsWith(`${baseUrl}/_matrix/client/v1/media/thumbnail/`), thumbnail.source);
  await look(alice, "3-thumbnail");
  return `${thumbnail.width} by ${thumbnail.height}`;
});
await step("alice opens it in full", async () => {
  const [answer] = await Promise.all([
    alice.page.waitForResponse((one) => one.url().startsWith(`${baseUrl}/_matrix/client/v1/media/download/`)),
    alice.page.locator(".Timeline_message .media img").click(),
  ]);
  check(answer.status() === 200, `${answer.status()} ${answer.url()}`);
  await alice.page.locator(".lightbox .picture:not(.hidden)").waitFor();
  await look(alice, "4-lightbox");
});
await step("bob comes back to all of it", async () => {
  await bob.page.reload();
  await said(bob, "Would you like a cup?").waitFor();
  await drawn(bob.page.locator(".Timeline_message .media img"));
  await look(bob, "5-back");
});
await step("the browser let every request pass, and none failed", () => {
  faults.push(...complaints.filter((text) => /CORS|blocked/.test(text)));
  check(faults.length === 0, faults.join("\n"));
});
await browser.close();
done();

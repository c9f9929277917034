// The site of a web client: bundled once, served from an origin that is not the homeserver's.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const MODULES = join(HERE, "node_modules");
const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".wasm": "application/wasm",
  ".woff": "font/woff", ".woff2": "font/woff2",
};
const FOLDERS = {
  "assets/": join(MODULES, "hydrogen-view-sdk/asset-build/assets"),
  "olm/": join(MODULES, "@matrix-org/olm"),
};

/** Gives the site's address. */
export async function webSite() {
  const bundle = await bundled();
  const server = createServer((request, response) => answer(bundle, request, response));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${server.address().port}/`;
}

async function bundled() {
  const result = await build({
    entryPoints: [join(HERE, "web_client/main.mjs")], bundle: true, format: "esm", write: false, logLevel: "error",
    external: ["fs", "path", "crypto"], // asked for only outside of browsers
  });
  return result.outputFiles[0].contents;
}

async function answer(bundle, request, response) {
  const path = normalize(new URL(request.url, "http://site").pathname).slice(1) || "index.html";
  try {
    const content = path === "bundle.js" ? bundle : await readFile(place(path));
    response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream" }).end(content);
  } catch {
    response.writeHead(404).end();
  }
}

function place(path) {
  if (path === "sw.js") return join(MODULES, "hydrogen-view-sdk/lib-build/sw.js");
  const folder = Object.keys(FOLDERS).find((start) => path.startsWith(start));
  return folder ? join(FOLDERS[folder], path.slice(folder.length)) : join(HERE, "web_client", path);
}

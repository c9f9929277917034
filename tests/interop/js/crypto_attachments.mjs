// Files as clients encrypt them before they upload them: AES-CTR with a key of its own, which travels in the event.

const subtle = globalThis.crypto.subtle;
const base64 = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");

const algorithm = (counter) => ({ name: "AES-CTR", counter, length: 64 });

/** The bytes to upload, and what the event tells of them but for the address. */
export async function encrypted(text) {
  const iv = new Uint8Array(16);
  globalThis.crypto.getRandomValues(iv.subarray(0, 8));
  const key = await subtle.generateKey({ name: "AES-CTR", length: 256 }, true, ["encrypt", "decrypt"]);
  const bytes = await subtle.encrypt(algorithm(iv), key, new TextEncoder().encode(text));
  const sha256 = base64(await subtle.digest("SHA-256", bytes));
  return { bytes, file: { v: "v2", key: await subtle.exportKey("jwk", key), iv: base64(iv), hashes: { sha256 } } };
}

/** The text of downloaded bytes, which must be those that were uploaded. */
export async function decrypted(bytes, { key: given, iv, hashes }) {
  const sha256 = base64(await subtle.digest("SHA-256", bytes));
  if (sha256 !== hashes.sha256) throw new Error("the bytes are not those that were uploaded");
  const key = await subtle.importKey("jwk", given, { name: "AES-CTR" }, false, ["decrypt"]);
  return new TextDecoder().decode(await subtle.decrypt(algorithm(Buffer.from(iv, "base64")), key, bytes));
}

// Accounts for clients that cannot make one themselves.

import { baseUrl, check } from "./kit.mjs";

const suffix = Date.now().toString(36);
const PASSWORD = "correct horse battery";

/** A new account without a device. */
export async function registered(name) {
  const body = {
    username: `${name}-${suffix}`, password: PASSWORD, auth: { type: "m.login.dummy" }, inhibit_login: true,
  };
  const answer = await fetch(`${baseUrl}/_matrix/client/v3/register`, { method: "POST", body: JSON.stringify(body) });
  const said = await answer.json();
  check(answer.ok, JSON.stringify(said));
  return { user_id: said.user_id, password: PASSWORD, suffix };
}

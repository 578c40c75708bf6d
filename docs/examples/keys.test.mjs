// A client in JavaScript and its test: `qkd-lab exec --embedded --prefilled 2 -- node --test docs/examples/keys.test.mjs`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import https from "node:https";
import { test } from "node:test";

const { env } = process;

function sae(site) {
  const [cert, key, ca] = ["CERT", "KEY", "CA"].map((part) => readFileSync(env[`SAE_${site}_${part}`]));
  const agent = new https.Agent({ cert, key, ca });
  return (path, body) =>
    new Promise((resolve, reject) => {
      const headers = { "Content-Type": "application/json" };
      const options = { agent, method: "POST", headers };
      const request = https.request(`${env[`KME_${site}_URL`]}/api/v1/keys/${path}`, options, (answer) => {
        let text = "";
        answer.on("data", (part) => (text += part));
        answer.on("end", () => resolve({ status: answer.statusCode, ...JSON.parse(text) }));
      });
      request.on("error", reject);
      request.end(JSON.stringify(body));
    });
}

test("both ends have the same key, once", async () => {
  const [a, b] = [sae("A"), sae("B")];
  const taken = await a(`${env.SAE_B_ID}/enc_keys`, { number: 2 });
  assert.equal(taken.status, 200);
  const wanted = { key_IDs: taken.keys.map(({ key_ID }) => ({ key_ID })) };
  const fetched = await b(`${env.SAE_A_ID}/dec_keys`, wanted);
  const byId = (one, other) => (one.key_ID < other.key_ID ? -1 : 1);
  assert.deepEqual(fetched.keys.sort(byId), taken.keys.sort(byId));
  assert.equal((await b(`${env.SAE_A_ID}/dec_keys`, wanted)).status, 400);
});

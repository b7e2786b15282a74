// The device's key, and requests signed by it: RFC 9421 (HTTP Message Signatures), RFC 9530 (Content-Digest),
// RFC 7638 (thumbprint). The page "device-protocol" of the manual says what is covered.

import { base64, base64url, fromBase64url, utf8 } from "./bytes.js";

/**
 * @typedef {"ed25519" | "ecdsa-p256-sha256"} Algorithm
 * @typedef {{ algorithm: Algorithm, keyid: string, publicKey: string, privateKey: CryptoKey }} Key
 */

/**
 * A new key whose secret half no script can read.
 *
 * @returns {Promise<Key>}
 */
export async function newKey() {
  try {
    return await described("ed25519", await generated({ name: "Ed25519" }));
  } catch {
    // Not every browser has Ed25519, and some that have it cannot store its keys.
    return described("ecdsa-p256-sha256", await generated({ name: "ECDSA", namedCurve: "P-256" }));
  }
}

/**
 * @param {{ name: string, namedCurve?: string }} parameters
 * @returns {Promise<CryptoKeyPair>}
 */
async function generated(parameters) {
  const pair = await crypto.subtle.generateKey(parameters, false, ["sign", "verify"]);
  return /** @type {CryptoKeyPair} */ (pair);
}

/**
 * @param {Algorithm} algorithm
 * @param {CryptoKeyPair} pair
 * @returns {Promise<Key>}
 */
async function described(algorithm, pair) {
  const jwk = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const { x, y } = jwk;
  if (x === undefined) {
    throw new Error("a public key has a coordinate");
  }
  let [publicKey, members] = [x, `{"crv":"Ed25519","kty":"OKP","x":"${x}"}`];
  if (algorithm === "ecdsa-p256-sha256") {
    const point = [4, ...fromBase64url(x), ...fromBase64url(y ?? "")];
    publicKey = base64url(Uint8Array.from(point));
    members = `{"crv":"P-256","kty":"EC","x":"${x}","y":"${y}"}`;
  }
  const keyid = base64url(await crypto.subtle.digest("SHA-256", utf8(members)));
  return { algorithm, keyid, publicKey, privateKey: pair.privateKey };
}

/**
 * The fields that sign a request.
 *
 * @param {Key} key
 * @param {{ method: string, path: string, body: string, created: number }} request `created`: seconds since 1970
 * @returns {Promise<Record<string, string>>}
 */
export async function signed(key, { method, path, body, created }) {
  /** @type {Record<string, string>} */
  const fields = {};
  const covered = [
    ["@method", method],
    ["@path", path],
  ];
  if (body !== "") {
    const digest = base64(await crypto.subtle.digest("SHA-256", utf8(body)));
    fields["content-digest"] = `sha-256=:${digest}:`;
    fields["content-type"] = "application/json";
    covered.push(["content-digest", fields["content-digest"]]);
    covered.push(["content-type", fields["content-type"]]);
  }
  const nonce = base64url(crypto.getRandomValues(new Uint8Array(16)));
  const names = covered.map(([name]) => `"${name}"`).join(" ");
  const parameters =
    `(${names});created=${created};keyid="${key.keyid}";nonce="${nonce}"` +
    `;alg="${key.algorithm}";tag="oncegate"`;
  const lines = covered.map(([name, value]) => `"${name}": ${value}\n`).join("");
  const base = utf8(`${lines}"@signature-params": ${parameters}`);
  const how = key.algorithm === "ed25519" ? { name: "Ed25519" } : { name: "ECDSA", hash: "SHA-256" };
  const signature = base64(await crypto.subtle.sign(how, key.privateKey, base));
  fields["signature-input"] = `oncegate=${parameters}`;
  fields.signature = `oncegate=:${signature}:`;
  return fields;
}

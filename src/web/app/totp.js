// Codes without a network: TOTP (RFC 6238) by a key that no script can read.

import { fromBase32 } from "./bytes.js";

/**
 * @typedef {{ serial: string, key: CryptoKey, digits: number, period: number }} Totp
 */

const HASHES = { sha1: "SHA-1", sha256: "SHA-256", sha512: "SHA-512" };

/**
 * Takes the key that the server shows once.
 *
 * @param {{ token: { serial: string }, secret: string, algorithm: string, digits: number, period: number }} made
 * @returns {Promise<Totp>}
 */
export async function taken({ token, secret, algorithm, digits, period }) {
  const hash = HASHES[/** @type {keyof typeof HASHES} */ (algorithm)];
  const octets = fromBase32(secret);
  const key = await crypto.subtle.importKey("raw", octets, { name: "HMAC", hash }, false, ["sign"]);
  octets.fill(0);
  return { serial: token.serial, key, digits, period };
}

/**
 * The code of a time, and the milliseconds until the next one.
 *
 * @param {Totp} totp
 * @param {number} now milliseconds since 1970
 */
export async function codeAt({ key, digits, period }, now) {
  const length = period * 1000;
  const counter = new DataView(new ArrayBuffer(8));
  counter.setBigUint64(0, BigInt(Math.floor(now / length)));
  const mac = new DataView(await crypto.subtle.sign("HMAC", key, counter.buffer));
  const offset = mac.getUint8(mac.byteLength - 1) & 0xf;
  const value = (mac.getUint32(offset) & 0x7fffffff) % 10 ** digits;
  return { code: String(value).padStart(digits, "0"), left: length - (now % length) };
}

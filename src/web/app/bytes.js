// Octets as text: base64 (RFC 4648 s4), base64url without padding (s5), base 32 (s6).

/** @param {ArrayBuffer | Uint8Array} octets */
export function base64(octets) {
  let text = "";
  for (const octet of new Uint8Array(octets)) {
    text += String.fromCharCode(octet);
  }
  return btoa(text);
}

/** @param {ArrayBuffer | Uint8Array} octets */
export function base64url(octets) {
  return base64(octets).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/**
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase64url(text) {
  const octets = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(octets, (octet) => octet.charCodeAt(0));
}

/**
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase32(text) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const octets = [];
  let [held, bits] = [0, 0];
  for (const letter of text.toUpperCase().replace(/[=\s]/g, "")) {
    const value = letters.indexOf(letter);
    if (value < 0) {
      throw new Error("not base 32");
    }
    held = (held << 5) | value;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      octets.push((held >> bits) & 0xff);
      held &= (1 << bits) - 1;
    }
  }
  return Uint8Array.from(octets);
}

/** @param {string} text */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

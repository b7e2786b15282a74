// What this telephone keeps: its key and what the server calls it. In IndexedDB, written to disk before anything
// is sent that depends on it.

/**
 * @typedef {{
 *   key: import("./sign.js").Key, user: string, name: string, device: string, serial: string, state: string,
 *   expires: string | null, totp: import("./totp.js").Totp | null,
 * }} Device
 * `candidate`: a key that was sent to be enrolled, before the answer came.
 * @typedef {{ device: Device, candidate: { key: import("./sign.js").Key, user: string, name: string } }} Kept
 */

/** @returns {Promise<IDBDatabase>} */
function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("oncegate", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("kept");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T>}
 */
async function done(mode, act) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction("kept", mode, { durability: "strict" });
      const request = act(transaction.objectStore("kept"));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
      transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/**
 * @template {keyof Kept} K
 * @param {K} what
 * @returns {Promise<Kept[K] | undefined>}
 */
export function kept(what) {
  return done("readonly", (store) => store.get(what));
}

/**
 * @template {keyof Kept} K
 * @param {K} what
 * @param {Kept[K]} value
 */
export async function keep(what, value) {
  await done("readwrite", (store) => store.put(value, what));
}

/** @param {keyof Kept} what */
export async function forget(what) {
  await done("readwrite", (store) => store.delete(what));
}

// Keeps the shell of the app, so that its codes need no network. Nothing of the API is ever kept.
// The server fills in the two lines below: another version is another cache.

/** @type {ServiceWorkerGlobalScope} */
const worker = /** @type {any} */ (self);
const VERSION = "{version}";
const FILES = ["{files}"];

worker.addEventListener("install", (event) => {
  const filled = caches.open(VERSION).then((cache) =>
    cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" }))),
  );
  event.waitUntil(filled.then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  const cleared = caches.keys().then((names) =>
    Promise.all(names.filter((name) => name !== VERSION).map((name) => caches.delete(name))),
  );
  event.waitUntil(cleared.then(() => worker.clients.claim()));
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin || !FILES.includes(pathname)) {
    return;
  }
  event.respondWith(caches.match(pathname, { cacheName: VERSION }).then((found) => found ?? fetch(request)));
});

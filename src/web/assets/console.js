// Adds to pages that work without it: the code of a link, copying, live rows, keys.

// The code of a link stands behind #, which no server is sent; it is taken out of the address at once.
const link = document.querySelector('input[name="link"]');
if (link instanceof HTMLInputElement && location.hash.length > 1) {
  link.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  const name = document.querySelector('input[name="name"]');
  if (name instanceof HTMLInputElement) name.focus();
}

for (const output of document.querySelectorAll("output[data-copy]")) {
  if (!navigator.clipboard || !(output instanceof HTMLElement)) break;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = output.dataset.copy ?? "";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(output.textContent ?? "");
    button.textContent = output.dataset.copied ?? "";
  });
  output.after(button);
}

// One row for each event; the server renders it. A tab that is not looked at does not listen.
const MOST = 200;
for (const table of document.querySelectorAll("table[data-live]")) {
  if (!(table instanceof HTMLTableElement)) continue;
  const body = table.tBodies[0];
  let last = table.dataset.last ?? "0";
  /** @type {EventSource | null} */
  let source = null;
  const listen = () => {
    if (source || document.hidden || table.dataset.paused === "yes") return;
    source = new EventSource(`${table.dataset.live}?after=${last}`);
    source.addEventListener("passed", (event) => {
      last = event.lastEventId;
      const passed = document.querySelector("[data-passed]");
      if (!(passed instanceof HTMLElement)) return;
      passed.textContent = event.data;
      passed.hidden = false;
    });
    source.addEventListener("row", (event) => {
      last = event.lastEventId;
      const parsed = new DOMParser().parseFromString(`<table><tbody>${event.data}</tbody></table>`, "text/html");
      const row = parsed.querySelector("tr");
      if (!row) return;
      row.classList.add("new");
      body.prepend(row);
      while (body.rows.length > MOST) body.deleteRow(-1);
    });
  };
  const stop = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
  const pause = document.querySelector("[data-pause]");
  if (pause instanceof HTMLButtonElement) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      const paused = table.dataset.paused !== "yes";
      table.dataset.paused = paused ? "yes" : "no";
      pause.setAttribute("aria-pressed", String(paused));
      paused ? stop() : listen();
    });
  }
  listen();
}

// What is shown only once: leaving asks, unless it was copied or printed, or the page itself leads on.
if (document.querySelector(".once, .cells")) {
  let kept = false;
  const keep = () => (kept = true);
  document.addEventListener("submit", keep);
  document.addEventListener("click", (event) => {
    if (event.target instanceof HTMLButtonElement) keep();
  });
  addEventListener("beforeprint", keep);
  addEventListener("beforeunload", (event) => {
    if (!kept) event.preventDefault();
  });
}
// That a sheet was printed is on record, whether by the button or by the browser's menu.
const sheet = document.querySelector("[data-sheet]");
if (sheet instanceof HTMLElement) {
  const { to = "", sheet: what = "", serial = "" } = sheet.dataset;
  const told = () => fetch(to, { method: "POST", body: new URLSearchParams({ what, serial }), keepalive: true });
  addEventListener("beforeprint", () => void told().catch(() => undefined), { once: true });
}
for (const button of document.querySelectorAll("[data-print]")) {
  if (!(button instanceof HTMLButtonElement)) continue;
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// A file is read into the field, and sent as what it holds; a long one is for the command line.
for (const part of document.querySelectorAll("[data-file]")) {
  const [input, field, alert] = [part.querySelector("input"), document.querySelector("textarea"), part.querySelector("[data-long]")];
  if (!(part instanceof HTMLElement && input && field && alert instanceof HTMLElement)) continue;
  part.hidden = false;
  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    const long = file !== undefined && file.size > 1024 * 1024;
    alert.textContent = long ? (alert.dataset.long ?? "") : "";
    if (file && !long) field.value = await file.text();
  });
}

// Keys: `/` to the search, `g` and a letter to a page, `?` for the list, where they can be switched off.
const OFF = "oncegate-keys-off";
const keys = document.getElementById("keys");
const used = document.querySelector("[data-keys]");
const areOff = () => localStorage.getItem(OFF) !== null;
if (used instanceof HTMLInputElement) {
  used.checked = !areOff();
  used.addEventListener("change", () => {
    if (used.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  });
}
let went = 0;
document.addEventListener("keydown", (event) => {
  const target = event.target;
  const typing = target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?" && keys instanceof HTMLDialogElement && !keys.open) {
    event.preventDefault();
    keys.showModal();
    return;
  }
  if (areOff()) return;
  const find = document.querySelector(".find input");
  if (event.key === "/" && find instanceof HTMLInputElement) {
    event.preventDefault();
    find.focus();
    return;
  }
  const entry = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
  if (Date.now() - went < 1500 && entry instanceof HTMLAnchorElement) {
    event.preventDefault();
    entry.click();
  }
  went = event.key === "g" ? Date.now() : 0;
});

// The page of an enrolment link. What stands behind # in the address is the token and the code of the link;
// it is sent in the body of a request, on a button, and nowhere else.
"use strict";

const TEXTS = {
  en: {
    title: "Set up your login code",
    intro: "You need an authenticator app on your telephone. Your code is shown once: begin when you have it at hand.",
    begin: "Show my code",
    choose: "Your link is good once. Begin when you have your telephone at hand.",
    with: "With what do you want to make your codes?",
    telephone: "This telephone or browser, without another app",
    other: "An authenticator app",
    device: "Your link is used. Open the authenticator: it is set up with one more tap. You have 10 minutes.",
    open: "Open the authenticator here",
    camera: "Or scan this with the camera of your telephone:",
    typed_code: "Type the code instead",
    device_first: "Then type the first code here that the authenticator shows. Keep this page open until then:",
    not_here: "That is not possible here. Take the authenticator app; your link is still good.",
    app: "Open in the authenticator app",
    scan: "Or scan this with the app of another device:",
    typed: "Type the key instead",
    first: "Now type the six digits that the app shows:",
    send: "Check",
    later: "You may also do that at your next login.",
    done: "Done. You can log in with the codes of the app now, and close this page.",
    incomplete: "The link is not complete: open it from the message again, or copy all of it.",
    refused: "This link is not good any more: it was used, is too old, or a newer one took its place. Ask for a new one.",
    wrong: "That code is not right. Type the next one that the app shows.",
    busy: "Many people are doing this right now. Trying again in a moment.",
    failed: "The server cannot do that now. Try again in a minute; your link is still good.",
  },
  ko: {
    title: "로그인 인증번호 등록",
    intro: "휴대폰에 인증 앱(OTP 앱)이 필요합니다. 등록 코드는 한 번만 표시되니 준비된 뒤 시작하세요.",
    begin: "등록 코드 보기",
    choose: "링크는 한 번만 사용할 수 있습니다. 휴대폰을 준비한 뒤 시작하세요.",
    with: "인증번호를 무엇으로 만들까요?",
    telephone: "이 휴대폰 또는 브라우저 (앱 설치 없음)",
    other: "인증 앱(OTP 앱)",
    device: "링크를 사용했습니다. 인증 앱을 열고 한 번 더 누르면 등록됩니다. 10분 안에 하세요.",
    open: "여기에서 인증 앱 열기",
    camera: "또는 휴대폰의 카메라로 아래 코드를 촬영하세요.",
    typed_code: "코드를 직접 입력하기",
    device_first: "등록한 뒤 인증 앱에 표시된 첫 인증번호를 여기에 입력하세요. 그때까지 이 창을 닫지 마세요.",
    not_here: "여기에서는 사용할 수 없습니다. 인증 앱을 선택하세요. 링크는 그대로 유효합니다.",
    app: "인증 앱에서 열기",
    scan: "또는 다른 기기의 앱으로 아래 코드를 촬영하세요.",
    typed: "키를 직접 입력하기",
    first: "앱에 표시된 여섯 자리 숫자를 입력하세요.",
    send: "확인",
    later: "다음 로그인 때 입력해도 됩니다.",
    done: "등록이 끝났습니다. 이제 앱의 인증번호로 로그인할 수 있습니다. 이 창을 닫아도 됩니다.",
    incomplete: "링크가 온전하지 않습니다. 메시지에서 다시 열거나 링크 전체를 복사하세요.",
    refused: "사용할 수 없는 링크입니다. 이미 사용했거나 기한이 지났거나 새 링크가 발급되었습니다. 새 링크를 요청하세요.",
    wrong: "인증번호가 맞지 않습니다. 앱에 다음으로 표시되는 숫자를 입력하세요.",
    busy: "접속이 많습니다. 잠시 후 자동으로 다시 시도합니다.",
    failed: "지금은 처리할 수 없습니다. 1분 뒤 다시 시도하세요. 링크는 그대로 유효합니다.",
  },
};

const language = navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
const text = TEXTS[language];
const at = (id) => document.getElementById(id);

function say(words) {
  at("message").textContent = words || "";
  at("message").hidden = !words;
}

function show(id) {
  for (const section of ["start", "code", "device", "done"]) {
    at(section).hidden = section !== id;
  }
}

async function post(path, body) {
  for (let tries = 0; ; tries += 1) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
    if (answer.status !== 429 || tries >= 20) {
      return answer;
    }
    say(text.busy);
    await new Promise((resume) => setTimeout(resume, 1000 + 2000 * Math.random()));
  }
}

function draw(id, side, path) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", `0 0 ${side} ${side}`);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", "QR");
  picture.setAttribute("shape-rendering", "crispEdges");
  const dark = document.createElementNS(space, "path");
  dark.setAttribute("d", path);
  picture.append(dark);
  at(id).replaceChildren(picture);
}

function link() {
  const [, serial, code] = /^#([^.]+)\.([0-9A-Za-z-]+)$/.exec(location.hash) || [];
  return serial && code ? { serial: decodeURIComponent(serial), code } : null;
}

async function refused(answer) {
  if (!answer || answer.status !== 409) {
    return false;
  }
  const problem = await answer.json().catch(() => ({}));
  return String(problem.type).endsWith(":refused");
}

async function begin(own) {
  at("begin").disabled = true;
  let answer = null;
  try {
    answer = await post("enrol/redeem", own);
  } catch {
    answer = null;
  }
  if (!answer || !answer.ok) {
    const spent = await refused(answer);
    say(spent ? text.refused : text.failed);
    at("begin").disabled = spent;
    return;
  }
  const key = await answer.json();
  // A link that is used up need not stay in the history.
  history.replaceState(null, "", location.pathname);
  say("");
  at("issuer").textContent = key.issuer;
  at("account").textContent = key.account;
  at("app").href = key.otpauth_uri;
  at("secret").textContent = key.secret.replace(/(.{4})/g, "$1 ").trim();
  draw("qr", key.qr_side, key.qr_path);
  at("first").hidden = key.state === "active";
  at("later").hidden = key.must_confirm || key.state === "active";
  show("code");
}

async function beginWithBrowser(own) {
  at("begin").disabled = true;
  at("telephone").disabled = true;
  let answer = null;
  try {
    answer = await post("enrol/device", own);
  } catch {
    answer = null;
  }
  if (!answer || !answer.ok) {
    const spent = await refused(answer);
    const notHere = answer && answer.status === 403;
    say(spent ? text.refused : notHere ? text.not_here : text.failed);
    at("begin").disabled = spent;
    at("telephone").disabled = spent || notHere;
    return;
  }
  const code = await answer.json();
  history.replaceState(null, "", location.pathname);
  say("");
  at("open").href = code.enrol_uri;
  at("device-user").textContent = code.user;
  at("device-code").textContent = code.code;
  if (code.must_confirm) {
    // The authenticator opens beside this page, which waits for its first code.
    at("open").target = "_blank";
    at("open").rel = "noopener";
    at("device-first").hidden = false;
    takesFirst("device-", { serial: code.serial, code: own.code });
  }
  draw("device-qr", code.qr_side, code.qr_path);
  show("device");
}

async function check(form, own) {
  const field = at(`${form}otp`);
  const otp = field.value.replace(/\s/g, "");
  at(`${form}send`).disabled = true;
  let answer = null;
  try {
    answer = await post("enrol/confirm", { ...own, otp });
  } catch {
    answer = null;
  }
  at(`${form}send`).disabled = false;
  if (answer && answer.ok) {
    say("");
    // The key does not stay on the screen.
    at("qr").replaceChildren();
    at("secret").textContent = "";
    at("app").removeAttribute("href");
    at("open").removeAttribute("href");
    show("done");
  } else {
    say((await refused(answer)) ? text.wrong : text.failed);
    field.value = "";
    field.focus();
  }
}

/** The form takes the first code of this token. */
function takesFirst(form, own) {
  at(`${form}first`).addEventListener("submit", (event) => {
    event.preventDefault();
    check(form, own);
  });
}

document.documentElement.lang = language;
document.title = text.title;
for (const place of document.querySelectorAll("[data-text]")) {
  place.textContent = text[place.dataset.text];
}
const own = link();
if ("browser" in document.body.dataset) {
  document.querySelector("[data-text=intro]").textContent = text.choose;
  at("begin").textContent = text.other;
  at("browser").hidden = false;
}
if (own) {
  at("telephone").addEventListener("click", () => beginWithBrowser(own));
  at("begin").addEventListener("click", () => begin(own));
  takesFirst("", own);
} else {
  say(text.incomplete);
  at("begin").disabled = true;
  at("telephone").disabled = true;
}

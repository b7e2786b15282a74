// What the app says, in every language.

const EN = {
  app: "Authenticator",
  code: "Code",
  requests: "Requests",
  settings: "Settings",
  unsupported: "This browser cannot keep a key safely. Use a current browser, over https.",

  "enrol.title": "Set up this telephone",
  "enrol.intro": "Type the user name and the enrolment code that you were given. The code has 12 characters and is good for 10 minutes.",
  "enrol.linked": "Your link has filled in the user name and the code. It is used when you press the button.",
  "enrol.user": "User name",
  "enrol.code": "Enrolment code, or the 12 digits of your old telephone",
  "enrol.name": "Name of this telephone",
  "enrol.send": "Set up",
  "enrol.installed": "Home-screen apps of an iPhone keep things apart from the browser: add this page to the home screen first, open it there, and type the code in.",
  "enrol.refused": "The code is wrong, used up or too old. Ask for a new one.",
  "enrol.wait": "Too many people are doing this right now. Try again in a minute.",
  "enrol.conflict": "The code is right, but the server cannot set this telephone up now: {why}",

  "code.intro": "Get a code when a login asks for it. It is good once.",
  "code.get": "Get a code",
  "code.again": "Get another code",
  "code.yours": "Your code",
  "code.until": "Good once, until {time}. A new code voids this one.",
  "code.over": "The code is no longer good.",
  "code.copy": "Copy",
  "code.copied": "Copied",
  "code.first.intro": "This telephone is not in use yet. Get a first code and type it where you enrolled, or give it to your administrator. It opens no login.",
  "code.first.get": "Get a first code",
  "code.first.yours": "Your first code: for the enrolment, not for a login",
  "code.check": "Check again",
  "code.not_in_use": "The token of this telephone is {state}. Ask your administrator or the call centre.",

  "offline.title": "Without a network",
  "offline.intro": "This telephone can make codes by itself, for times without a network.",
  "offline.set": "Prepare now",
  "offline.show": "Show a code",
  "offline.hide": "Hide the code",
  "offline.yours": "Code without a network",
  "offline.left": "Changes in {seconds} s. Good once.",
  "offline.refused": "Your organisation allows no codes without a network: {why}",

  "requests.intro": "Codes that are open for you now, beside the ones of this telephone. Did you not ask for them? Then someone is trying to log in as you: tell your administrator or the call centre.",
  "requests.none": "Nothing is waiting for you. Codes that are sent to you, and requests to set up another device, are listed here.",
  "requests.code": "A login code by {kind}",
  "requests.inbound": "A login waits for your message ({kind})",
  "requests.enrol": "An enrolment code ({kind})",
  "requests.transfer": "A transfer code ({kind})",
  "requests.to": "sent to {to}",
  "requests.until": "until {time}",
  "kind.sms": "SMS",
  "kind.email": "e-mail",
  "kind.voice": "call",
  "kind.server": "another device",
  "kind.card": "security card",

  "settings.this": "This telephone",
  "settings.user": "User",
  "settings.device": "Device",
  "settings.name": "Name",
  "settings.rename": "Change the name",
  "settings.token": "Token",
  "settings.state": "State",
  "settings.expires": "Good until",
  "settings.never": "no end",
  "settings.renew": "Renew the token",
  "settings.renewed": "The token is good until {time}.",
  "settings.others": "Your other devices",
  "settings.others.none": "You have no other device.",
  "settings.seen": "last seen {time}",
  "settings.end": "End",
  "settings.end.sure": "End {name}? It can make no code any more.",
  "settings.account": "Your account",
  "settings.account.intro": "Your tokens, devices, logins and contacts. This telephone signs you in.",
  "settings.account.open": "Open",
  "settings.account.none": "There is no self-service here.",
  "settings.transfer": "Move to a new telephone",
  "settings.transfer.intro": "Open this page on the new telephone and type your user name and the 12 digits there. This telephone then ends by itself.",
  "settings.transfer.get": "Show the digits",
  "settings.transfer.yours": "Transfer code",
  "settings.transfer.until": "Good until {time}.",
  "settings.language": "Language",
  "settings.install": "Install the app",
  "settings.install.how": "Choose \"Install app\" or \"Add to home screen\" in the browser's menu.",
  "settings.limits": "What this app cannot protect against",
  "settings.limits.unlocked": "Malicious software on an unlocked telephone, or a person who has it in hand, can ask for codes as you can. Lock the screen.",
  "settings.limits.copy": "The key cannot be read by scripts, but a browser offers no proof that it is in hardware, and does not notice a rooted telephone.",
  "settings.limits.keypad": "There is no secure keypad and no protection of the program itself. Only apps from a store can add these.",
  "settings.limits.phishing": "A code that you type into a false page is in the attacker's hand for a minute. Look at the address before you type.",
  "settings.limits.storage": "Clearing the browser's data removes the key. Safari does that to pages that were not opened for 7 days, unless they are on the home screen.",
  "settings.remove": "Remove from this telephone",
  "settings.remove.sure": "Remove this telephone? It can make no code any more. You need a new enrolment code to set it up again.",
  "state.pending": "waits for its first code",
  "state.active": "in use",
  "state.suspended": "suspended",
  "state.revoked": "revoked",
  "state.expired": "expired",

  "error.network": "The server cannot be reached. Without a network, use the code that this telephone makes by itself.",
  "error.not-taken": "The server does not know this telephone any more: it was replaced or ended. Remove it and set it up again.",
  "error.unavailable": "The server cannot decide that now. Try again in a moment.",
  "error.conflict": "{why}",
  "error.other": "That did not work: {why}",
  "error.storage": "The browser could not save the key: {why}",
  "ended": "This telephone was ended.",
  "yes": "Yes",
  "no": "No",
};

/** @type {typeof EN} */
const KO = {
  app: "인증 앱",
  code: "인증번호",
  requests: "요청",
  settings: "설정",
  unsupported: "이 브라우저에서는 키를 안전하게 보관할 수 없습니다. 최신 브라우저에서 https로 접속하세요.",

  "enrol.title": "이 휴대폰 등록",
  "enrol.intro": "사용자 이름과 발급받은 등록 코드를 입력하세요. 등록 코드는 12자리이며 10분 동안 유효합니다.",
  "enrol.linked": "링크에서 사용자 이름과 등록 코드를 읽었습니다. 버튼을 누르면 사용됩니다.",
  "enrol.user": "사용자 이름",
  "enrol.code": "등록 코드 또는 이전 휴대폰의 승인번호 12자리",
  "enrol.name": "이 휴대폰의 이름",
  "enrol.send": "등록",
  "enrol.installed": "iPhone의 홈 화면 앱은 브라우저와 저장 공간이 다릅니다. 먼저 이 페이지를 홈 화면에 추가하고, 거기서 열어 코드를 입력하세요.",
  "enrol.refused": "코드가 틀렸거나 이미 사용되었거나 기한이 지났습니다. 새 코드를 요청하세요.",
  "enrol.wait": "접속이 많습니다. 1분 뒤 다시 시도하세요.",
  "enrol.conflict": "코드는 맞지만 지금은 등록할 수 없습니다: {why}",

  "code.intro": "로그인할 때 인증번호를 받으세요. 한 번만 사용할 수 있습니다.",
  "code.get": "인증번호 받기",
  "code.again": "새 인증번호 받기",
  "code.yours": "인증번호",
  "code.until": "{time}까지 한 번 사용할 수 있습니다. 새 번호를 받으면 이 번호는 무효가 됩니다.",
  "code.over": "인증번호의 유효 시간이 지났습니다.",
  "code.copy": "복사",
  "code.copied": "복사했습니다",
  "code.first.intro": "이 휴대폰은 아직 사용 전입니다. 첫 인증번호를 받아 등록한 곳에 입력하거나 관리자에게 알려 주세요. 로그인에는 사용할 수 없습니다.",
  "code.first.get": "첫 인증번호 받기",
  "code.first.yours": "첫 인증번호: 등록용이며 로그인에는 쓸 수 없습니다",
  "code.check": "다시 확인",
  "code.not_in_use": "이 휴대폰의 토큰 상태: {state}. 관리자나 고객센터에 문의하세요.",

  "offline.title": "네트워크가 없을 때",
  "offline.intro": "네트워크가 없을 때를 위해 이 휴대폰이 스스로 인증번호를 만들 수 있습니다.",
  "offline.set": "지금 준비하기",
  "offline.show": "인증번호 보기",
  "offline.hide": "인증번호 숨기기",
  "offline.yours": "네트워크 없이 쓰는 인증번호",
  "offline.left": "{seconds}초 뒤 바뀝니다. 한 번만 사용할 수 있습니다.",
  "offline.refused": "네트워크 없이 쓰는 인증번호를 사용할 수 없습니다: {why}",

  "requests.intro": "이 휴대폰의 번호 외에 지금 열려 있는 인증번호입니다. 요청한 적이 없다면 다른 사람이 로그인을 시도하고 있습니다. 관리자나 고객센터에 알리세요.",
  "requests.none": "기다리는 요청이 없습니다. 나에게 전송된 인증번호와 다른 기기의 등록 요청이 여기에 표시됩니다.",
  "requests.code": "{kind} 로그인 인증번호",
  "requests.inbound": "로그인에서 보내실 메시지를 기다립니다 ({kind})",
  "requests.enrol": "등록 코드 ({kind})",
  "requests.transfer": "이전 승인번호 ({kind})",
  "requests.to": "받는 곳 {to}",
  "requests.until": "기한 {time}",
  "kind.sms": "문자 메시지",
  "kind.email": "이메일",
  "kind.voice": "전화",
  "kind.server": "다른 기기",
  "kind.card": "보안카드",

  "settings.this": "이 휴대폰",
  "settings.user": "사용자",
  "settings.device": "기기",
  "settings.name": "이름",
  "settings.rename": "이름 바꾸기",
  "settings.token": "토큰",
  "settings.state": "상태",
  "settings.expires": "기한",
  "settings.never": "기한 없음",
  "settings.renew": "토큰 갱신",
  "settings.renewed": "토큰의 새 기한: {time}",
  "settings.others": "다른 기기",
  "settings.others.none": "다른 기기가 없습니다.",
  "settings.seen": "마지막 사용 {time}",
  "settings.end": "해지",
  "settings.end.sure": "{name} 기기를 해지할까요? 더 이상 인증번호를 만들 수 없습니다.",
  "settings.account": "내 정보",
  "settings.account.intro": "토큰, 기기, 로그인 기록, 연락처를 확인합니다. 이 휴대폰으로 로그인합니다.",
  "settings.account.open": "열기",
  "settings.account.none": "여기에서는 셀프 서비스를 사용할 수 없습니다.",
  "settings.transfer": "새 휴대폰으로 옮기기",
  "settings.transfer.intro": "새 휴대폰에서 이 페이지를 열고 사용자 이름과 승인번호 12자리를 입력하세요. 그러면 이 휴대폰은 자동으로 해지됩니다.",
  "settings.transfer.get": "승인번호 보기",
  "settings.transfer.yours": "승인번호",
  "settings.transfer.until": "기한 {time}",
  "settings.language": "언어",
  "settings.install": "앱 설치",
  "settings.install.how": "브라우저 메뉴에서 \"앱 설치\" 또는 \"홈 화면에 추가\"를 선택하세요.",
  "settings.limits": "이 앱이 막을 수 없는 것",
  "settings.limits.unlocked": "잠금이 풀린 휴대폰의 악성 프로그램이나 휴대폰을 손에 넣은 사람은 본인처럼 인증번호를 받을 수 있습니다. 화면을 잠그세요.",
  "settings.limits.copy": "키는 스크립트가 읽을 수 없지만, 브라우저는 키가 하드웨어에 있다는 증명을 제공하지 않으며 루팅된 휴대폰을 알아내지 못합니다.",
  "settings.limits.keypad": "보안 키패드와 프로그램 자체의 보호 기능은 없습니다. 이것은 스토어의 앱만 제공할 수 있습니다.",
  "settings.limits.phishing": "가짜 페이지에 입력한 인증번호는 1분 동안 공격자가 쓸 수 있습니다. 입력하기 전에 주소를 확인하세요.",
  "settings.limits.storage": "브라우저 데이터를 지우면 키도 사라집니다. Safari는 7일 동안 열지 않은 페이지의 데이터를 지웁니다. 홈 화면에 추가한 앱은 예외입니다.",
  "settings.remove": "이 휴대폰에서 삭제",
  "settings.remove.sure": "이 휴대폰을 삭제할까요? 더 이상 인증번호를 만들 수 없으며, 다시 등록하려면 새 등록 코드가 필요합니다.",
  "state.pending": "첫 인증번호 대기",
  "state.active": "사용 중",
  "state.suspended": "정지",
  "state.revoked": "해지",
  "state.expired": "기한 만료",

  "error.network": "서버에 연결할 수 없습니다. 네트워크가 없으면 이 휴대폰이 만드는 인증번호를 사용하세요.",
  "error.not-taken": "서버가 이 휴대폰을 더 이상 인식하지 않습니다. 다른 휴대폰으로 바뀌었거나 해지되었습니다. 삭제한 뒤 다시 등록하세요.",
  "error.unavailable": "지금은 처리할 수 없습니다. 잠시 뒤 다시 시도하세요.",
  "error.conflict": "{why}",
  "error.other": "처리하지 못했습니다: {why}",
  "error.storage": "브라우저가 키를 저장하지 못했습니다: {why}",
  "ended": "이 휴대폰이 해지되었습니다.",
  "yes": "예",
  "no": "아니요",
};

/**
 * @typedef {keyof typeof EN} Key
 * @typedef {"en" | "ko"} Language
 */

/** @type {Record<Language, Record<Key, string>>} */
const ALL = { en: EN, ko: KO };

/** @returns {Language} */
function preferred() {
  const chosen = localStorage.getItem("language");
  if (chosen === "en" || chosen === "ko") {
    return chosen;
  }
  return navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
}

/** @type {Language} */
export let language = preferred();

/** @param {Language} wanted */
export function speak(wanted) {
  language = wanted;
  localStorage.setItem("language", wanted);
}

/**
 * @param {Key} key
 * @param {Record<string, string>} [places]
 */
export function t(key, places = {}) {
  return ALL[language][key].replace(/\{(\w+)\}/g, (_, name) => places[name] ?? "");
}

/**
 * The text of a word of the server; the word itself where there is none.
 *
 * @param {string} group
 * @param {string} word
 */
export function named(group, word) {
  const key = /** @type {Key} */ (`${group}.${word}`);
  return ALL[language][key] ?? word;
}

/** @param {number} at milliseconds since 1970 */
export function clock(at) {
  return new Intl.DateTimeFormat(language, { timeStyle: "medium" }).format(at);
}

/** @param {string} text RFC 3339 */
export function day(text) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(Date.parse(text));
}

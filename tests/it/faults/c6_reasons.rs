//! The advice of each reason word, checked against the state in which it is given: the login is made, the
//! commands of the advice are run, and what else it names exists.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use oncegate::admin::directory::SyncOptions;
use oncegate::admin::{CredentialsPatch, Grant, UserPatch};
use oncegate::core::directory::Directory;
use oncegate::diagnostic::Source;
use oncegate::login::inbound::Inbound;
use oncegate::login::travel::Travel;
use oncegate::model::kind::Kind;
use oncegate::model::message::Medium;
use oncegate::model::reason::Reason;
use oncegate::model::token::LifeCycle;
use oncegate::otp::{Digits, card, recovery};
use oncegate::policy::Policies;
use oncegate::radius::attribute::Type;
use oncegate::secret::SecretString;
use oncegate::server::http::openapi;
use oncegate::store::WaiverKind;
use oncegate::time::Clock as _;
use serde_json::{Value, json};

use crate::support::corp::Corp;
use crate::support::daemon::Site;
use crate::support::desk::Desk;
use crate::support::expected::{PASSWORD, PIN};
use crate::support::lab::{Console, Lab, code_of, key};
use crate::support::policies::POLICIES;
use crate::support::postbox::{Postbox, issued_token, octets, server_code};
use crate::support::yubikey::Key;

/// A reason, and the commands that its advice names in the state that [`Stage::make`] makes, in order.
/// `USER` and `SERIAL` stand for the row's own.
struct Row {
    reason: Reason,
    commands: &'static [&'static str],
    /// What the same login leads to once the advice was followed, where that can be told.
    mended: Option<Reason>,
}

const fn row(reason: Reason, commands: &'static [&'static str]) -> Row {
    Row {
        reason,
        commands,
        mended: None,
    }
}

const fn mends(reason: Reason, commands: &'static [&'static str], mended: Reason) -> Row {
    Row {
        reason,
        commands,
        mended: Some(mended),
    }
}

const SET_PIN: &str = "user set USER --pin-stdin";
const SET_PASSWORD: &str = "user set USER --password-stdin";
const ADD_TOTP: &str = "token add USER --kind totp";
const UNLOCK: &str = "user unlock USER";
const REJECTS: &str = "audit list --user USER --decision reject";
const SHOW_SOURCE: &str = "source show corp";
const RECORDS: &str = "audit list --user USER";

/// One row for each word of the closed list.
const TABLE: &[Row] = &[
    row(Reason::TotpOk, &[]),
    row(Reason::HotpOk, &[]),
    row(Reason::YubikeyOk, &[]),
    row(Reason::PinOk, &[]),
    row(Reason::PasswordOk, &[]),
    mends(
        Reason::BypassOk,
        &["user bypass USER --end"],
        Reason::MalformedCode,
    ),
    mends(
        Reason::ExemptOk,
        &["user exempt USER --end"],
        Reason::MalformedCode,
    ),
    row(Reason::ServerOk, &[]),
    row(Reason::SmsOk, &[]),
    row(Reason::EmailOk, &[]),
    row(Reason::VoiceOk, &[]),
    row(Reason::CardOk, &[]),
    row(Reason::RecoveryOk, &[ADD_TOTP]),
    row(Reason::EnrolOk, &[]),
    row(Reason::RepeatedOk, &[]),
    row(Reason::Challenged, &[RECORDS]),
    row(Reason::Answered, &[RECORDS]),
    row(Reason::WrongCode, &["token resync SERIAL"]),
    row(Reason::UsedCode, &["token suspend SERIAL"]),
    row(Reason::RepeatedReject, &[]),
    row(Reason::MalformedCode, &[]),
    row(Reason::ExpiredCode, &["delivery list"]),
    mends(Reason::WrongPin, &[SET_PIN], Reason::TotpOk),
    mends(Reason::WrongPassword, &[SET_PASSWORD], Reason::TotpOk),
    mends(Reason::MustChange, &[SET_PIN, SET_PASSWORD], Reason::TotpOk),
    row(Reason::UnknownUser, &["user list", "user add USER"]),
    mends(Reason::UserDisabled, &["user enable USER"], Reason::TotpOk),
    row(Reason::NoToken, &[ADD_TOTP]),
    mends(
        Reason::NotActive,
        &["token list --user USER", "token resume SERIAL"],
        Reason::TotpOk,
    ),
    mends(Reason::NoPin, &[SET_PIN], Reason::PinOk),
    mends(Reason::NoPassword, &[SET_PASSWORD], Reason::PasswordOk),
    row(Reason::AccountDisabled, &[SHOW_SOURCE]),
    row(Reason::AccountExpired, &[SHOW_SOURCE]),
    row(Reason::AccountMustChange, &[]),
    row(Reason::AccountLocked, &[SHOW_SOURCE]),
    mends(Reason::Locked, &[UNLOCK, REJECTS], Reason::TotpOk),
    row(Reason::Throttled, &[]),
    row(
        Reason::SourceBlocked,
        &["audit list --decision reject --since 1h"],
    ),
    mends(
        Reason::NoRule,
        &["user set USER --group insiders"],
        Reason::TotpOk,
    ),
    row(Reason::OtherRealm, &["client show nas-corp"]),
    row(Reason::StaleChallenge, &[]),
    row(Reason::WrongSender, &[]),
    row(Reason::NotAnswered, &[]),
    row(Reason::MethodNotAllowed, &[]),
    row(Reason::ReplyTooLong, &["policy check"]),
    mends(
        Reason::LowAssurance,
        &["user bypass USER --end"],
        Reason::MalformedCode,
    ),
];

/// Where logins are made and commands are run.
struct Stage {
    desk: Desk,
    postbox: Arc<Postbox>,
    console: Console,
    directory: Arc<Corp>,
}

impl Stage {
    async fn new() -> Self {
        let texts: Vec<(&str, String)> = POLICIES
            .iter()
            .map(|(name, text)| (*name, format!("reject_delay = \"0s\"\n{text}")))
            .collect();
        let policies: Vec<(&str, &str)> = texts
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let desk = Desk::new(&policies).await;
        desk.lab.user("first", Some(PIN), Some(PASSWORD)).await;
        let postbox = Postbox::of(&desk.lab);
        let console = desk.lab.console().await;
        let directory = Arc::new(Corp::default());
        let directories = desk.lab.service().core.directories();
        directories.set(Arc::clone(&directory) as Arc<dyn Directory>);
        Self {
            desk,
            postbox,
            console,
            directory,
        }
    }

    const fn lab(&self) -> &Lab {
        &self.desk.lab
    }

    fn step(&self) -> u64 {
        self.lab().clock.now().as_secs() / 30
    }

    /// The code of a user's TOTP token, so many steps from now.
    fn code(&self, user: &str, steps: i64) -> String {
        code_of(user, Digits::SIX, self.step().saturating_add_signed(steps))
    }

    async fn http(&self, policy: &str, body: Value) {
        self.lab().http(policy, body).await;
    }

    async fn radius(&self, policy: &str, user: &str, typed: &str) -> Option<String> {
        let answer = self.lab().radius(policy, user, typed, None, None).await;
        answer.challenge
    }

    /// A user who knows a PIN and a password, with a token.
    async fn holder(&self, user: &str, kind: Kind) {
        self.lab().same_user(user, "first").await;
        self.lab().token(user, kind, Digits::SIX).await;
    }

    /// The code of a message to a new token of the user.
    async fn sent(&self, user: &str, kind: Kind) -> String {
        self.lab().same_user(user, "first").await;
        let number = format!("+8210{:08}", user.len() * 7 + self.postbox.count());
        let address = match kind {
            Kind::Email => "a@example.org",
            _ => number.as_str(),
        };
        issued_token(self.lab(), user, kind, &user.to_ascii_uppercase(), address).await;
        let asked = json!({ "user": user, "factor": kind.as_str() });
        let number = self.postbox.count() + 1;
        self.lab().begin("sent", "/v1/challenges", asked).await;
        self.postbox.code(number).await
    }

    /// A login that waits for the user's answer by text message; its id, and the digits to be sent.
    async fn waiting(&self, user: &str, number: &str) -> (String, String) {
        self.lab().same_user(user, "first").await;
        issued_token(
            self.lab(),
            user,
            Kind::Sms,
            &user.to_ascii_uppercase(),
            number,
        )
        .await;
        let inbound = json!({ "user": user, "factor": "sms", "way": "inbound" });
        let begun = self.lab().begin("staff", "/v1/challenges", inbound).await;
        let text = |name: &str| begun[name].as_str().unwrap().to_owned();
        (text("id"), text("display"))
    }

    async fn bring(&self, from: &str, text: &str) {
        let (id, at) = self.lab().service().core.arrival().unwrap();
        let text = SecretString::from(text);
        let inbound = Inbound {
            id,
            at,
            deadline: at,
            medium: Medium::Sms,
            from,
            text: &text,
        };
        self.lab().service().login.inbound(&inbound).await.unwrap();
    }

    async fn grant(&self, user: &str, which: WaiverKind) {
        let now = self.lab().service().core.now();
        let grant = Grant {
            reason: "telephone lost".to_owned(),
            from: now,
            until: now.plus(Duration::from_hours(1)),
        };
        let (user, by) = (key(user), self.lab().by());
        let granted = self
            .lab()
            .service()
            .admin
            .grant(&user, which, grant, by)
            .await;
        granted.unwrap();
    }

    /// Makes the state and the login that is decided for this reason.
    #[allow(clippy::too_many_lines)] // a row a word
    async fn make(&self, reason: Reason, user: &str) {
        let lab = self.lab();
        match reason {
            Reason::TotpOk => {
                self.holder(user, Kind::Totp).await;
                self.radius("otp", user, &self.code(user, 0)).await;
            }
            Reason::HotpOk => {
                self.holder(user, Kind::Hotp).await;
                let code = code_of(user, Digits::SIX, 0);
                self.radius("otp", user, &code).await;
            }
            Reason::YubikeyOk => Key::of_the_files().logs_in(lab, "otp", user).await,
            Reason::RepeatedOk | Reason::RepeatedReject => {
                self.holder(user, Kind::Totp).await;
                lab.twice("otp", user, reason == Reason::RepeatedOk).await;
            }
            Reason::PinOk => {
                lab.same_user(user, "first").await;
                self.radius("pin", user, PIN).await;
            }
            Reason::PasswordOk => {
                lab.same_user(user, "first").await;
                self.radius("password", user, PASSWORD).await;
            }
            Reason::BypassOk | Reason::LowAssurance => {
                self.holder(user, Kind::Totp).await;
                self.grant(user, WaiverKind::Bypass).await;
                self.again(reason, user).await;
            }
            Reason::ExemptOk => {
                self.holder(user, Kind::Totp).await;
                self.grant(user, WaiverKind::Exemption).await;
                let departures = format!("{user},2026-01-01T00:00:00Z,");
                let travel = Travel::parse(&departures, "198.51.100.0/24,JP\n").unwrap();
                lab.service().login.replace_travel(travel);
                self.again(reason, user).await;
            }
            Reason::ServerOk => {
                lab.same_user(user, "first").await;
                issued_token(lab, user, Kind::Server, "SERVER-1", "").await;
                let code = server_code(lab, "SERVER-1", Some("nas-otp")).await;
                self.radius("otp", user, &code).await;
            }
            Reason::SmsOk | Reason::EmailOk | Reason::VoiceOk => {
                let kind = match reason {
                    Reason::SmsOk => Kind::Sms,
                    Reason::EmailOk => Kind::Email,
                    _ => Kind::Voice,
                };
                let code = self.sent(user, kind).await;
                self.http("sent", json!({ "user": user, "otp": code }))
                    .await;
            }
            Reason::CardOk => {
                lab.same_user(user, "first").await;
                issued_token(lab, user, Kind::Card, "CARD-20481482", "").await;
                let asked = self
                    .radius("staff", user, &format!("{PASSWORD},card"))
                    .await;
                let cells = octets("CARD-20481482");
                let answer = card::answer(&cells, 482, card::pair(&cells, 1)).unwrap();
                let answer = answer.expose().expose().to_owned();
                lab.radius("staff", user, &answer, asked.as_deref(), None)
                    .await;
            }
            Reason::RecoveryOk => {
                lab.same_user(user, "first").await;
                issued_token(lab, user, Kind::Recovery, "RECOVERY-1", "").await;
                let sheet = recovery::sheet(&octets("RECOVERY-1"), 10);
                let typed = format!("{PASSWORD}{}", sheet[7].expose());
                self.radius("staff", user, &typed).await;
            }
            Reason::EnrolOk => {
                lab.same_user(user, "first").await;
                let pending = LifeCycle::Pending;
                self.desk
                    .token(user, "SERVER-2", Kind::Server, pending, "")
                    .await;
                self.desk.bind(user, "SERVER-2").await;
            }
            Reason::Challenged => {
                self.holder(user, Kind::Totp).await;
                let asked = self.radius("staff", user, PASSWORD).await;
                assert!(asked.is_some());
            }
            Reason::Answered => {
                let (_, shown) = self.waiting(user, "+821077770001").await;
                self.bring("+821077770001", &shown).await;
            }
            Reason::WrongCode => {
                self.holder(user, Kind::Totp).await;
                let stale = format!("{PIN}{}", self.code(user, -40));
                self.radius("pin-otp", user, &stale).await;
            }
            Reason::UsedCode => {
                self.holder(user, Kind::Totp).await;
                let code = self.code(user, 0);
                self.radius("otp", user, &code).await;
                self.radius("otp", user, &code).await;
            }
            Reason::MalformedCode => {
                // The rule wants assurance 2; what is wrong is that the code is missing.
                self.holder(user, Kind::Totp).await;
                self.http("strong", json!({ "user": user, "pin": PIN }))
                    .await;
            }
            Reason::ExpiredCode => {
                let code = self.sent(user, Kind::Sms).await;
                lab.clock.advance(Duration::from_mins(3));
                self.http("sent", json!({ "user": user, "otp": code }))
                    .await;
            }
            Reason::WrongPin | Reason::WrongPassword => {
                self.holder(user, Kind::Totp).await;
                let (policy, field, wrong) = match reason {
                    Reason::WrongPin => ("pin-otp", "pin", "280466"),
                    _ => ("staff", "password", "another-horse-battery"),
                };
                let body = json!({ "user": user, field: wrong, "otp": self.code(user, 0) });
                self.http(policy, body).await;
            }
            Reason::MustChange => {
                self.holder(user, Kind::Totp).await;
                let patch = CredentialsPatch {
                    must_change: Some(true),
                    ..CredentialsPatch::default()
                };
                lab.set(user, patch).await;
                let body = json!({ "user": user, "pin": PIN, "otp": self.code(user, 0) });
                self.http("pin-otp", body).await;
            }
            Reason::UnknownUser => {
                self.radius("otp", user, "000000").await;
            }
            Reason::UserDisabled => {
                self.holder(user, Kind::Totp).await;
                let patch = UserPatch {
                    disabled: Some(true),
                    ..UserPatch::default()
                };
                let (user_key, by) = (key(user), lab.by());
                let set = lab.service().admin.set_user(&user_key, patch, None, by);
                set.await.unwrap();
                self.again(reason, user).await;
            }
            Reason::AccountDisabled
            | Reason::AccountExpired
            | Reason::AccountMustChange
            | Reason::AccountLocked => {
                self.directory.add(user, reason);
                let admin = &lab.service().admin;
                let synced = admin.sync_source("corp", SyncOptions::default(), lab.by());
                synced.await.unwrap();
                lab.token(user, Kind::Totp, Digits::SIX).await;
                let body = json!({ "user": user, "password": PASSWORD, "otp": self.code(user, 0) });
                self.http("staff", body).await;
            }
            Reason::NoToken => {
                lab.same_user(user, "first").await;
                self.again(reason, user).await;
            }
            Reason::NotActive => {
                self.holder(user, Kind::Totp).await;
                let serial = self.serial(user);
                self.desk.set_state(&serial, LifeCycle::Suspended).await;
                self.again(reason, user).await;
            }
            Reason::NoPin => {
                lab.user(user, None, None).await;
                self.radius("pin", user, PIN).await;
            }
            Reason::NoPassword => {
                lab.user(user, None, None).await;
                self.radius("password", user, PASSWORD).await;
            }
            Reason::Locked => {
                self.holder(user, Kind::Totp).await;
                lab.fail("locking", user, None, 3).await;
                self.again(reason, user).await;
            }
            Reason::Throttled => {
                self.holder(user, Kind::Totp).await;
                lab.fail("otp", user, None, 5).await;
            }
            Reason::SourceBlocked => {
                self.holder(user, Kind::Totp).await;
                let station = Some(IpAddr::from([203, 0, 113, 77]));
                for stranger in ["stranger1", "stranger2", "stranger3"] {
                    lab.same_user(stranger, "first").await;
                    lab.token(stranger, Kind::Totp, Digits::SIX).await;
                    lab.fail("locking", stranger, station, 1).await;
                }
                lab.fail("locking", user, station, 1).await;
            }
            Reason::NoRule => {
                self.holder(user, Kind::Totp).await;
                self.again(reason, user).await;
            }
            Reason::OtherRealm => {
                self.holder(user, Kind::Totp).await;
                let realm = json!({ "realm": "corp" });
                lab.change("PATCH", "/v1/admin/clients/nas-corp", realm)
                    .await;
                let full = format!("{user}@default");
                self.radius("corp", &full, &self.code(user, 0)).await;
            }
            Reason::StaleChallenge => {
                self.holder(user, Kind::Totp).await;
                let asked = self.radius("staff", user, PASSWORD).await;
                lab.clock.advance(Duration::from_mins(3));
                let code = self.code(user, 0);
                lab.radius("staff", user, &code, asked.as_deref(), None)
                    .await;
            }
            Reason::WrongSender => self.bring("+821099990000", "12").await,
            Reason::NotAnswered => {
                let (id, _) = self.waiting(user, "+821077770002").await;
                let body = json!({ "user": user, "password": PASSWORD, "challenge": id });
                self.http("staff", body).await;
            }
            Reason::MethodNotAllowed => {
                self.holder(user, Kind::Totp).await;
                let chap = lab.send("otp", |request, _| {
                    request.attribute(Type::UserName, user.as_bytes()).unwrap();
                    request.attribute(Type::ChapPassword, &[7; 17]).unwrap();
                    request
                        .user_password(
                            b"755224",
                            &crate::radius::dialogue::keys(crate::radius::dialogue::SECRET),
                        )
                        .unwrap();
                });
                chap.await;
            }
            Reason::ReplyTooLong => {
                self.holder(user, Kind::Totp).await;
                lab.groups(user, &["g".repeat(254).as_str()]).await;
                self.radius("long", user, &self.code(user, 0)).await;
            }
        }
    }

    /// The same login once more, with the next code and with what the advice has set.
    async fn again(&self, reason: Reason, user: &str) {
        let code = self.code(user, 0);
        match reason {
            Reason::BypassOk | Reason::LowAssurance => {
                let strong = reason == Reason::LowAssurance;
                let policy = if strong { "strong" } else { "pin-otp" };
                let body = json!({ "user": user, "pin": PIN });
                self.http(policy, body).await;
            }
            Reason::ExemptOk => {
                let abroad = "198.51.100.7";
                let body = json!({ "user": user, "password": PASSWORD, "client_ip": abroad });
                self.http("travel", body).await;
            }
            Reason::WrongPin | Reason::MustChange => {
                let body = json!({ "user": user, "pin": NEW_PIN, "otp": code });
                self.http("pin-otp", body).await;
            }
            Reason::WrongPassword => {
                let body = json!({ "user": user, "password": NEW_PASSWORD, "otp": code });
                self.http("staff", body).await;
            }
            Reason::NoPin => drop(self.radius("pin", user, NEW_PIN).await),
            Reason::NoPassword => drop(self.radius("password", user, NEW_PASSWORD).await),
            Reason::NoRule => drop(self.radius("insiders", user, &code).await),
            Reason::Locked => drop(self.radius("locking", user, &code).await),
            _ => drop(self.radius("otp", user, &code).await),
        }
    }

    /// The user's first token, `-` where there is none.
    fn serial(&self, user: &str) -> String {
        let (code, out, _) = self.console.run(&["token", "list", user, "--json"], "");
        let list: Value = serde_json::from_str(&out).unwrap_or_default();
        let serial = list["tokens"][0]["serial"].as_str().filter(|_| code == 0);
        serial.unwrap_or("-").to_owned()
    }

    /// The newest record that was decided for this reason.
    fn record(&self, reason: Reason) -> Value {
        let list =
            self.console
                .json(&["audit", "list", "--reason", reason.as_str(), "--limit", "1"]);
        let record = list["records"][0].clone();
        assert!(record.is_object(), "no login was decided {reason}");
        record
    }

    /// Runs a command as it is advised; it must be done.
    fn carry_out(&self, reason: Reason, command: &str, user: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        let two = format!("{}\n{}\n", self.code(user, 0), self.code(user, 1));
        let (words, input) = match words.as_slice() {
            ["policy", "check"] => return check_policies(),
            ["token", "resync", ..] => ([&words[..], &["--otp-stdin"]].concat(), two),
            [.., "--pin-stdin"] => (words, format!("{NEW_PIN}\n")),
            [.., "--password-stdin"] => (words, format!("{NEW_PASSWORD}\n")),
            _ => (words, String::new()),
        };
        let (code, out, err) = self.console.run(&words, &input);
        assert_eq!(code, 0, "{reason} advises {command}: {out}{err}");
    }
}

/// `policy check` looks at files: it names the attribute that can become too long.
fn check_policies() {
    let site = Site::new();
    let (_, text) = POLICIES.iter().find(|(name, _)| *name == "long").unwrap();
    std::fs::write(site.path().join("policies/long.toml"), text).unwrap();
    let output = site.run(&["policy", "check"]);
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("Filter-Id") || told.contains("long.toml"),
        "{told}"
    );
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Keys and tables of policies that advice names, each where it stands.
const KEYS: &[(&str, &str)] = &[
    ("[lockout]", "[lockout]\nfree = 3\n"),
    ("[reply]", "[reply]\n\"Class\" = \"x\"\n"),
    ("[challenge]", "[challenge]\nlife = \"90s\"\n"),
    ("life", "[challenge]\nlife = \"90s\"\n"),
    ("hard_lock_after", "[lockout]\nhard_lock_after = 50\n"),
    (
        "source_lock_after",
        "[lockout]\nsource_free = 3\nsource_lock_after = 20\n",
    ),
    (
        "exempt",
        "[exemption]\nhome = [\"KR\"]\n[[rule]]\nname = \"b\"\nrequire = [\"pin\", \"otp\"]\n\
         exempt = [\"otp\"]\n",
    ),
    ("require", "[[rule]]\nname = \"b\"\nrequire = [\"pin\"]\n"),
    (
        "min_assurance",
        "[[rule]]\nname = \"b\"\nrequire = [\"pin\", \"otp\"]\nmin_assurance = 2\n",
    ),
];

/// Whether what advice names beside commands exists.
fn exists(word: &str, record: &Value) -> bool {
    if let Some((method, path)) = word.split_once(' ')
        && path.starts_with("/v1/")
    {
        return openapi()["paths"][path][method.to_ascii_lowercase()].is_object();
    }
    if let Some((_, text)) = KEYS.iter().find(|(key, _)| *key == word) {
        let rule = "[[rule]]\nname = \"a\"\nwhen = { group = \"x\" }\nrequire = [\"otp\"]\n";
        let (tables, rules) = match text.find("[[rule]]") {
            Some(at) => text.split_at(at),
            None => (*text, ""),
        };
        let text = format!("{rule}{rules}{tables}");
        let sources = [Source::new("policies/default.toml", text.as_str())];
        let parsed = Policies::parse(&sources, &|_, _| Ok(()));
        return parsed
            .map_err(|faults| panic!("{word}: {faults:?}"))
            .is_ok();
    }
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let is_policy = shipped.join(format!("{word}.toml")).is_file();
    let is_status = openapi().to_string().contains(&format!("`{word}`"));
    is_policy || is_status || record.get(word).is_some()
}

#[test]
fn every_reason_has_a_row() {
    let rows: Vec<Reason> = TABLE.iter().map(|row| row.reason).collect();
    for reason in &Reason::ALL {
        let count = rows.iter().filter(|row| *row == reason).count();
        assert_eq!(count, 1, "{reason} has {count} rows");
    }
    assert_eq!(rows.len(), Reason::ALL.len());
}

#[test]
fn every_advice_can_be_followed_in_its_state() {
    // Without optimisation the states of all reasons need more than a test's stack.
    let run = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(follow_every_advice());
    };
    let thread = std::thread::Builder::new().stack_size(16 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}

async fn follow_every_advice() {
    let stage = Stage::new().await;
    for Row {
        reason,
        commands,
        mended,
    } in TABLE
    {
        let user = reason.as_str().replace('_', "-");
        stage.make(*reason, &user).await;
        let record = stage.record(*reason);
        let id = record["request_id"].as_str().unwrap();
        let told = stage.console.json(&["explain", id]);
        let told = &told["records"][0];
        assert_eq!(told["reason"], reason.as_str());
        assert_eq!(told["decision"], reason.decision().as_str());
        let (code, page, err) = stage.console.run(&["explain", id], "");
        assert_eq!((code, err.as_str()), (0, ""), "{page}");

        let (full, serial) = (format!("{user}@default"), stage.serial(&user));
        let named = |text: &str| {
            text.replace("USER", &full)
                .replace("SERIAL", &serial)
                .replace("KIND", "totp")
        };
        let steps = told["next"].as_array().unwrap();
        let mut texts = vec![told["advice"].as_str().unwrap()];
        texts.extend(steps.iter().map(|step| step["text"].as_str().unwrap()));
        let mut advised: Vec<String> = Vec::new();
        for word in texts.iter().flat_map(|text| quoted(text)) {
            match word.strip_prefix("oncegate ") {
                Some(command) => advised.push(named(command)),
                None => assert!(exists(word, &record), "{reason}: no `{word}`"),
            }
        }
        for step in steps {
            let words = step["command"].as_array().unwrap().iter().skip(1);
            let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
            advised.push(words.join(" "));
        }
        let mut once: Vec<String> = Vec::new();
        for command in advised.into_iter().filter(|command| !command.is_empty()) {
            if !once.contains(&command) {
                once.push(command);
            }
        }
        let wanted: Vec<String> = commands.iter().map(|command| named(command)).collect();
        assert_eq!(once, wanted, "{reason}: {page}");
        for command in &once {
            stage.carry_out(*reason, command, &user);
        }
        if let Some(mended) = mended {
            stage.lab().clock.advance(Duration::from_mins(1));
            stage.again(*reason, &user).await;
            let now = stage.lab().reason(&user).await;
            assert_eq!(now, mended.as_str(), "{reason} after {once:?}");
        }
    }
}

/// Variants of the words whose explanation was wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_code_is_not_too_little_assurance() {
    let stage = Stage::new().await;
    stage.holder("alice", Kind::Totp).await;
    let lab = stage.lab();
    for (policy, body) in [
        ("strong", json!({ "user": "alice", "pin": PIN })),
        ("strong", json!({ "user": "alice", "pin": PIN, "otp": "" })),
        ("pin-otp", json!({ "user": "alice", "pin": PIN })),
        (
            "pin-otp",
            json!({ "user": "alice", "pin": PIN, "context": { "min_assurance": "2" } }),
        ),
        ("travel", json!({ "user": "alice", "password": PASSWORD })),
    ] {
        lab.http(policy, body.clone()).await;
        let event = lab.decision("alice").await;
        assert_eq!(event.reason, Reason::MalformedCode, "{policy} {body}");
        assert_eq!(event.failures, 0);
    }
    // An answer on the other channel that proves too little says so.
    let (id, shown) = stage.waiting("bob", "+821077770009").await;
    stage.bring("+821077770009", &shown).await;
    let body = json!({ "user": "bob", "password": PASSWORD, "challenge": id,
                       "context": { "min_assurance": "2" } });
    lab.http("staff", body).await;
    let record = stage.record(Reason::LowAssurance);
    assert!(record["note"].as_str().unwrap().contains("another channel"));
    let told = stage
        .console
        .json(&["explain", record["request_id"].as_str().unwrap()]);
    let next = told["records"][0]["next"][0]["text"].as_str().unwrap();
    assert!(next.contains("other channel"), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_is_locked_and_what_is_typed() {
    let stage = Stage::new().await;
    stage.holder("alice", Kind::Totp).await;
    let words = ["explain", "alice", "--client", "nas-locking"];
    let (_, free, _) = stage.console.run(&words, "");
    assert!(free.contains("; counts"), "{free}");
    assert!(
        free.contains("<code of 6 digits>") && !free.contains("123456"),
        "{free}"
    );
    stage.lab().fail("locking", "alice", None, 3).await;
    let (_, locked, _) = stage.console.run(&words, "");
    assert!(locked.contains("does not count: it is locked"), "{locked}");
    assert!(!locked.contains("; counts"), "{locked}");
    let json = stage.console.json(&words);
    assert_eq!(json["login"]["tokens"][0]["counts"], false);
    // A client that is not there is named, with what was probably meant.
    for (name, close) in [("nas-lockin", "nas-locking"), ("app-travle", "app-travel")] {
        let words = ["explain", "alice", "--client", name];
        let (code, out, err) = stage.console.run(&words, "");
        assert_eq!((code, out.as_str()), (4, ""));
        assert!(err.contains(&format!("there is no client {name}")), "{err}");
        assert!(err.contains(&format!("did you mean {close}?")), "{err}");
    }
}

const NEW_PIN: &str = "739154";
const NEW_PASSWORD: &str = "correct-horse-battery-7391546";

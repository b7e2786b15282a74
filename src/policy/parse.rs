//! Policy text to [`Policy`]: every fault of every file, each with its place.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::diagnostic::document::{Document, Table, Text, Value};
use crate::diagnostic::{Diagnostic, Findings, Source};
use crate::model::kind::Kind;
use crate::otp::throttle::Lockout;
use crate::policy::factor::{Factor, factor_of};
use crate::policy::reply::{Groups, Reply, ReplyAttribute, Template};
use crate::policy::{
    Admin, Challenge, Country, Exemption, KnownAttribute, OtpWindows, Pin, Policies, Policy,
    REJECT_DELAY, REJECT_DELAY_MAX, Rule,
};

mod codes;
mod enrolment;
mod names;
mod rule;
mod test;
mod when;

/// Reads all files; `Err` has the findings of all of them.
pub(super) fn policies(
    files: &[Source],
    known_attribute: KnownAttribute<'_>,
) -> Result<Policies, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let mut by_name = BTreeMap::new();
    let mut places: BTreeMap<&str, &Source> = BTreeMap::new();
    for file in files {
        let mut found = Findings::default();
        let stem = stem(file.name());
        if let Err(message) = check_name(stem) {
            found.push(Diagnostic::error(message).at(file.place(0..0)));
        }
        if let Some(first) = places.insert(stem, file) {
            let message = format!("policy `{stem}` is also in {}", first.name());
            found.push(Diagnostic::error(message).at(file.place(0..0)));
        }
        let mut reader = Reader {
            findings: &mut found,
            known_attribute,
        };
        if let Some(policy) = reader.policy(stem, file) {
            by_name.insert(stem.to_owned(), policy);
        }
        findings.append(found);
    }
    let (by_name, warnings) = findings.conclude(Some(by_name))?;
    Ok(Policies {
        by_name,
        warnings,
        ..Policies::default()
    })
}

/// Eight octets of a digest: enough to tell two versions of a file apart.
fn fingerprint(file: &Source) -> u64 {
    let digest: [u8; 32] = Sha256::digest(file.text().as_bytes()).into();
    digest.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// `policies/vpn.toml` is `vpn`.
pub(super) fn stem(name: &str) -> &str {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    file.strip_suffix(".toml").unwrap_or(file)
}

/// Names travel in commands, metrics and audit records.
fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits);
    if good {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is not a name: write 1 to {NAME_MAX} letters, digits, `-`, `_`, `.`"
        ))
    }
}

struct Reader<'f, 'k> {
    findings: &'f mut Findings,
    known_attribute: KnownAttribute<'k>,
}

impl Reader<'_, '_> {
    fn policy(&mut self, name: &str, file: &Source) -> Option<Policy> {
        let document = Document::parse(file, self.findings)?;
        let mut root = document.root();
        let description = self.optional(&mut root, "description", Self::text);
        let name_rules = self.name_rules(name, &mut root);
        let reject_delay = root
            .value("reject_delay")
            .and_then(|value| value.duration(Duration::ZERO..=REJECT_DELAY_MAX, self.findings));
        let bypass = self.optional(&mut root, "bypass", |reader, value| {
            value.flag(reader.findings)
        });
        let otp = self.section(&mut root, "otp", Self::otp);
        let otp = otp.unwrap_or_default();
        let has_home = root.value("exemption").is_some();
        let exemption = self.section(&mut root, "exemption", Self::exemption);
        let mut rules = self.rules(&mut root, &otp.kinds, has_home);
        for rule in &mut rules {
            rule.label = format!("{name}:{}", rule.name).into();
        }
        let lockout = self.section(&mut root, "lockout", Self::lockout);
        let pin = self.section(&mut root, "pin", Self::pin);
        let challenge = self.section(&mut root, "challenge", Self::challenge);
        let codes = self.section(&mut root, "codes", Self::codes);
        let enrolment = self.section(&mut root, "enrolment", Self::enrolment);
        let notify = self.section(&mut root, "notify", Self::notify);
        let admin = self.section(&mut root, "admin", Self::admin);
        let reply = root
            .value("reply")
            .map(|value| self.reply(&value))
            .unwrap_or_default();
        for rule in &mut rules {
            rule.reply = rule.reply.take().map(|own| own.over(&reply));
        }
        let tests = self.tests(&mut root, &rules, &name_rules);
        root.finish(self.findings);
        let code_alone = |rule: &Rule| {
            let stand_ins = !rule.alternatives.is_empty() || rule.outage.is_some();
            rule.require == [Factor::Otp] && !stand_ins
        };
        let codes_only = rules.iter().all(code_alone);
        Some(Policy {
            name: name.to_owned(),
            description: description
                .map(|text| text.text.to_owned())
                .unwrap_or_default(),
            name_rules,
            reject_delay: reject_delay.unwrap_or(REJECT_DELAY),
            bypass: bypass.unwrap_or(true),
            exemption: exemption.unwrap_or_default(),
            rules,
            otp,
            lockout: lockout.unwrap_or_default(),
            pin: pin.unwrap_or_default(),
            challenge: challenge.unwrap_or_default(),
            codes: codes.unwrap_or_default(),
            enrolment: enrolment.unwrap_or_default(),
            notify: notify.unwrap_or_default(),
            admin: admin.unwrap_or_default(),
            reply,
            tests,
            text: fingerprint(file),
            codes_only,
        })
    }

    fn admin(&mut self, table: &mut Table<'_>) -> Admin {
        let four_eyes = self.optional(table, "four_eyes", |reader, value| {
            value.flag(reader.findings)
        });
        let default = Admin::default();
        Admin {
            four_eyes: four_eyes.unwrap_or(default.four_eyes),
        }
    }

    fn otp(&mut self, table: &mut Table<'_>) -> OtpWindows {
        let default = OtpWindows::default();
        let kinds = self.optional(table, "kinds", |reader, value| {
            let texts = value.texts(reader.findings)?;
            if texts.is_empty() {
                reader
                    .findings
                    .push(value.error("`otp.kinds` is empty: no code could be right"));
            }
            let kinds: Vec<_> = texts
                .iter()
                .filter_map(|text| reader.otp_kind(text))
                .collect();
            Some(kinds)
        });
        let back = self.number(table, "back", 0..=WINDOW_MAX);
        let ahead = self.number(table, "ahead", 0..=WINDOW_MAX);
        let look_ahead = self.number(table, "look_ahead", 0..=WINDOW_MAX);
        OtpWindows {
            kinds: kinds.unwrap_or(default.kinds),
            back: back.unwrap_or(default.back),
            ahead: ahead.unwrap_or(default.ahead),
            look_ahead: look_ahead.unwrap_or(default.look_ahead),
        }
    }

    fn otp_kind(&mut self, text: &Text<'_>) -> Option<Kind> {
        let Ok(kind) = text.text.parse::<Kind>() else {
            let error = Diagnostic::error(format!("unknown kind of token `{}`", text.text));
            let known = Kind::ALL
                .iter()
                .copied()
                .filter(|kind| factor_of(*kind) == Factor::Otp);
            self.error_at(text, error.suggest(text.text, known.map(Kind::as_str)));
            return None;
        };
        let factor = factor_of(kind);
        if factor == Factor::Otp {
            return Some(kind);
        }
        if !Factor::SUPPORTED.contains(&factor) {
            self.supported_kind(kind, &text.place);
            return None;
        }
        let error = Diagnostic::error(format!("codes of `{kind}` do not count as `otp`"));
        self.error_at(
            text,
            error.help(format!("`{kind}` is a factor of its own, for `require`")),
        );
        None
    }

    fn lockout(&mut self, table: &mut Table<'_>) -> Lockout {
        let default = Lockout::default();
        let place = table.place().clone();
        let free = self
            .number(table, "free", 0..=COUNT_MAX)
            .unwrap_or(default.free);
        let lock_after = self.number(table, "lock_after", 1..=COUNT_MAX);
        let lock_after = lock_after.unwrap_or(default.lock_after);
        let lock_for = table
            .value("lock_for")
            .and_then(|value| value.duration(LOCK_FOR_MIN..=LOCK_FOR_MAX, self.findings));
        let hard_lock_after = self.number(table, "hard_lock_after", 1..=COUNT_MAX);
        let hard_lock_after = hard_lock_after.unwrap_or(default.hard_lock_after);
        let year_lock_after = self
            .number(table, "year_lock_after", 1..=COUNT_MAX)
            .unwrap_or_else(|| Lockout::usual_year(hard_lock_after));
        let source_free = self
            .number(table, "source_free", 0..=COUNT_MAX)
            .unwrap_or(free);
        let source_lock_after = self
            .number(table, "source_lock_after", 0..=COUNT_MAX)
            .unwrap_or(lock_after);
        if free > lock_after {
            let message = format!("`free` ({free}) is above `lock_after` ({lock_after})");
            let error = Diagnostic::error(message).at(place.clone());
            self.findings
                .push(error.help("the lock would come before the first delay"));
        } else if source_lock_after > 0 && source_free > source_lock_after {
            let message = format!(
                "`source_free` ({source_free}) is above `source_lock_after` ({source_lock_after})"
            );
            let error = Diagnostic::error(message).at(place.clone());
            self.findings.push(error.help(
                "the lock would come before the first delay; `source_lock_after = 0` sets no limit",
            ));
        }
        if lock_after > hard_lock_after {
            let message = format!(
                "`lock_after` ({lock_after}) is above `hard_lock_after` ({hard_lock_after})"
            );
            let error = Diagnostic::error(message).at(place);
            self.findings
                .push(error.help("the temporary lock could never come"));
        } else if hard_lock_after > year_lock_after {
            let message = format!(
                "`hard_lock_after` ({hard_lock_after}) is above `year_lock_after` ({year_lock_after})"
            );
            let error = Diagnostic::error(message).at(place);
            self.findings.push(error.help(
                "wrong answers of a year are counted whether or not right ones follow; people mistype",
            ));
        }
        Lockout {
            free,
            lock_after,
            lock_for: lock_for.unwrap_or(default.lock_for),
            hard_lock_after,
            year_lock_after,
            source_free,
            source_lock_after,
        }
    }

    fn exemption(&mut self, table: &mut Table<'_>) -> Exemption {
        let home = table.required("home", self.findings);
        let texts = home.and_then(|value| {
            let texts = value.texts(self.findings)?;
            if texts.is_empty() {
                self.findings
                    .push(value.error("`exemption.home` is empty: no user could ever be abroad"));
            }
            Some(texts)
        });
        let texts = texts.unwrap_or_default();
        let country = |text: &Text<'_>| {
            let wrong = |message| Diagnostic::error(message).at(text.place.clone());
            self.findings
                .take(text.text.parse::<Country>().map_err(wrong))
        };
        Exemption {
            home: texts.iter().filter_map(country).collect(),
        }
    }

    fn pin(&mut self, table: &mut Table<'_>) -> Pin {
        let recoverable = self.optional(table, "recoverable", |reader, value| {
            value.flag(reader.findings)
        });
        Pin {
            recoverable: recoverable.unwrap_or_default(),
        }
    }

    fn challenge(&mut self, table: &mut Table<'_>) -> Challenge {
        let life = table
            .value("life")
            .and_then(|value| value.duration(CHALLENGE_MIN..=CHALLENGE_MAX, self.findings));
        life.map_or_else(Challenge::default, |life| Challenge { life })
    }

    pub(super) fn reply(&mut self, value: &Value<'_>) -> Reply {
        let Some(mut table) = value.table(self.findings) else {
            return Reply::default();
        };
        let filter = self.optional(&mut table, FILTER, Self::group_filter);
        let map = self.optional(&mut table, MAP, Self::group_map);
        let mut reply = Vec::new();
        let attributes = table.free().into_iter();
        for (name, place, value) in attributes.filter(|(name, ..)| ![FILTER, MAP].contains(name)) {
            let values = value.scalars(self.findings).unwrap_or_default();
            for (text, value_place) in values {
                let template = match Template::parse(&text) {
                    Ok(template) => template,
                    Err(message) => {
                        self.findings
                            .push(Diagnostic::error(message).at(value_place));
                        continue;
                    }
                };
                for attribute in template.attributes() {
                    if let Err(message) = (self.known_attribute)(attribute, None) {
                        self.findings
                            .push(Diagnostic::error(message).at(value_place.clone()));
                    }
                }
                if let Err(message) = (self.known_attribute)(name, Some(&template.sample())) {
                    self.findings
                        .push(Diagnostic::error(message).at(place.clone()));
                } else if let Some(longest) = template.longest()
                    // Text for the person is sent in as many attributes as it needs.
                    && !name.eq_ignore_ascii_case("Reply-Message")
                    && (self.known_attribute)(name, Some(&longest)).is_err()
                {
                    self.findings
                        .push(too_long(name, &template).at(value_place));
                }
                reply.push(ReplyAttribute {
                    name: name.to_owned(),
                    value: template,
                });
            }
        }
        Reply {
            attributes: reply,
            groups: Groups {
                filter,
                map: map.unwrap_or_default(),
            },
        }
    }

    fn group_filter(&mut self, value: &Value<'_>) -> Option<Vec<Box<str>>> {
        let texts = value.texts(self.findings)?;
        if texts.is_empty() {
            let error = value.error("`group_filter` is empty: no group would be sent");
            self.findings.push(error.help("leave it out to send all"));
        }
        for text in &texts {
            if text.text.matches('*').count() > 1 {
                let error = Diagnostic::error(format!("`{}` has more than one `*`", text.text));
                self.error_at(text, error);
            }
        }
        Some(texts.iter().map(|text| text.text.into()).collect())
    }

    fn group_map(&mut self, value: &Value<'_>) -> Option<BTreeMap<Box<str>, Box<str>>> {
        let table = value.table(self.findings)?;
        let mut map = BTreeMap::new();
        for (group, _, value) in table.free() {
            let Some(text) = value.text(self.findings) else {
                continue;
            };
            if text.text.is_empty() || text.text.chars().any(char::is_control) {
                let message = "a group is sent under a name that is not empty and printable";
                self.error_at(&text, Diagnostic::error(message));
            }
            map.insert(group.into(), text.text.into());
        }
        Some(map)
    }

    fn section<T>(
        &mut self,
        root: &mut Table<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Self, &mut Table<'_>) -> T,
    ) -> Option<T> {
        let mut table = root.value(key)?.table(self.findings)?;
        let value = read(self, &mut table);
        table.finish(self.findings);
        Some(value)
    }

    fn optional<'d, T>(
        &mut self,
        table: &mut Table<'d>,
        key: &'static str,
        read: impl FnOnce(&mut Self, &Value<'d>) -> Option<T>,
    ) -> Option<T> {
        let value = table.value(key)?;
        read(self, &value)
    }

    /// Words out of a closed list, no word twice; an empty list is refused. `None` when one of them
    /// is at fault. `what` names such a word in errors.
    fn choices<T: Copy + PartialEq>(
        &mut self,
        value: &Value<'_>,
        what: &str,
        all: &[T],
        word: fn(T) -> &'static str,
    ) -> Option<Vec<T>> {
        let texts = value.texts(self.findings)?;
        if texts.is_empty() {
            let error = value.error(format!("`{}` is empty", value.path()));
            self.findings.push(error.help("leave it out"));
            return None;
        }
        let mut chosen = Vec::new();
        for text in &texts {
            let found = all.iter().copied().find(|one| word(*one) == text.text);
            match found {
                Some(one) if chosen.contains(&one) => {
                    let message = format!("`{}` is in `{}` twice", text.text, value.path());
                    self.error_at(text, Diagnostic::error(message));
                }
                Some(one) => chosen.push(one),
                None => {
                    let error = Diagnostic::error(format!("unknown {what} `{}`", text.text));
                    let known = all.iter().copied().map(word);
                    self.error_at(text, error.suggest(text.text, known));
                }
            }
        }
        (chosen.len() == texts.len()).then_some(chosen)
    }

    fn duration(
        &mut self,
        table: &mut Table<'_>,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        table.value(key)?.duration(range, self.findings)
    }

    fn number<T: TryFrom<i64>>(
        &mut self,
        table: &mut Table<'_>,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        table.value(key)?.number(range, self.findings)
    }

    #[allow(clippy::unused_self)] // the shape `optional` asks for
    fn text<'d>(&mut self, value: &Value<'d>) -> Option<Text<'d>> {
        value.text(self.findings)
    }

    fn error_at(&mut self, text: &Text<'_>, error: Diagnostic) {
        self.findings.push(error.at(text.place.clone()));
    }
}

/// Keys beside the attributes of a reply: no attribute has such a name.
const FILTER: &str = "group_filter";
const MAP: &str = "group_map";

/// A warning: with the longest values that its placeholders can have, a reply would not be sent.
fn too_long(name: &str, template: &Template) -> Diagnostic {
    let parts: Vec<String> = template.variable().collect();
    let message = format!("{name} can become longer than one attribute holds");
    Diagnostic::warning(message).help(format!(
        "{}; a login whose reply does not fit is rejected as `reply_too_long`, before its code is used",
        parts.join(", ")
    ))
}

/// Longest name of a policy or rule.
const NAME_MAX: usize = 64;

/// Widest window: each step more is one more guess that counts (RFC 6238 s5.2, RFC 4226 s7.2).
const WINDOW_MAX: i64 = 10;

/// Most failures a limit may allow: a million tries would go through a six digit code.
const COUNT_MAX: i64 = 10_000;

const LOCK_FOR_MIN: Duration = Duration::from_secs(1);
const LOCK_FOR_MAX: Duration = Duration::from_hours(720);
const CHALLENGE_MIN: Duration = Duration::from_secs(10);
const CHALLENGE_MAX: Duration = Duration::from_mins(10);

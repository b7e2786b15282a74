//! `[enrolment]` tables, and what in them contradicts itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::diagnostic::document::{Table, Text, Value};
use crate::diagnostic::units::show_duration;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::kind::Kind;
use crate::model::user_key::UserKey;
use crate::policy::enrolment::{Activate, Enrolment, PerKind, StepUp};
use crate::policy::factor::{Factor, factor_of};
use crate::policy::naming::{self, Naming, Template};
use crate::policy::parse::Reader;

impl Reader<'_, '_> {
    pub(super) fn enrolment(&mut self, table: &mut Table<'_>) -> Enrolment {
        let default = Enrolment::default();
        let self_service = table.value("self_service");
        let no_self_service = self_service.is_none();
        let self_service = self_service.and_then(|value| self.enrolled(&value));
        let device = self.optional(table, "device", Self::carried);
        let proof = self.optional(table, "proof", |reader, value| {
            reader.proof(value, no_self_service)
        });
        let factor_memory = self.optional(table, "factor_memory", |reader, value| {
            value.duration(DAY..=VALID_MAX, reader.findings)
        });
        let approvers = self.number(table, "approvers", APPROVERS);
        let approvers_for = self.optional(table, "approvers_for", |reader, value| {
            reader.per_kind(value, APPROVERS)
        });
        let step_up = self.optional(table, "step_up", |reader, value| {
            reader.choices(value, "step-up", StepUp::ALL, StepUp::as_str)
        });
        let verify = self.optional(table, "verify", |reader, value| value.flag(reader.findings));
        let (activate, first_use_within) = self.first_code(table, verify);
        let max_active = self.optional(table, "max_active", Self::max_active);
        let (valid_for, renew_from) = self.validity(table);
        let naming = self.naming(table);
        let remote = self.optional(table, "remote", |reader, value| value.flag(reader.findings));
        Enrolment {
            self_service: self_service.unwrap_or_default(),
            device: device.unwrap_or(default.device),
            proof,
            factor_memory: factor_memory.unwrap_or(default.factor_memory),
            approvers: PerKind {
                others: approvers.unwrap_or_default(),
                by_kind: approvers_for.unwrap_or_default(),
            },
            step_up: step_up.unwrap_or_default(),
            verify: verify.unwrap_or(default.verify),
            activate: activate.unwrap_or(default.activate),
            first_use_within: first_use_within.unwrap_or(default.first_use_within),
            max_active: max_active.unwrap_or_default(),
            valid_for,
            renew_from,
            naming,
            remote: remote.unwrap_or(default.remote),
        }
    }

    fn enrolled(&mut self, value: &Value<'_>) -> Option<Vec<Kind>> {
        let kinds = self.choices(value, "kind of token", &Kind::ALL, Kind::as_str)?;
        let texts = value.texts(self.findings)?;
        for (kind, text) in kinds.iter().zip(&texts) {
            self.supported_kind(*kind, &text.place);
        }
        Some(kinds)
    }

    /// What a device carries: the token that its enrolment code is for, and what is named beside it.
    fn carried(&mut self, value: &Value<'_>) -> Option<Vec<Kind>> {
        let kinds = self.choices(
            value,
            "kind of token on a device",
            &[Kind::Server, Kind::Totp],
            Kind::as_str,
        )?;
        if !kinds.contains(&Kind::Server) {
            let error =
                value.error("`device` without server: enrolment codes are of server tokens");
            self.findings
                .push(error.help("write device = [\"server\"]"));
        }
        Some(kinds)
    }

    fn proof(&mut self, value: &Value<'_>, no_self_service: bool) -> Option<Vec<Factor>> {
        if no_self_service {
            let error = value.error("`proof` without `self_service`: no user may request a token");
            let help = "write self_service = [\"totp\"], or leave `proof` out";
            self.findings.push(error.help(help));
        }
        let factors = self.choices(value, "factor", &Factor::ALL, Factor::as_str)?;
        let texts = value.texts(self.findings)?;
        for (factor, text) in factors.iter().zip(&texts) {
            if !factor.is_knowledge() {
                self.no_proof(*factor, text);
            }
        }
        Some(factors)
    }

    fn no_proof(&mut self, factor: Factor, text: &Text<'_>) {
        let message = format!("`{factor}` is no proof: it is asked of who never had a token");
        let help = "`proof` takes password and pin; `step_up` asks for a code in addition";
        self.error_at(text, Diagnostic::error(message).help(help));
    }

    fn max_active(&mut self, value: &Value<'_>) -> Option<PerKind<Option<u8>>> {
        if value.is_table() {
            let by_kind = self.per_kind(value, ACTIVE)?.into_iter();
            let by_kind = by_kind.map(|(kind, most)| (kind, Some(most)));
            return Some(PerKind {
                others: None,
                by_kind: by_kind.collect(),
            });
        }
        let most: u8 = value.number(ACTIVE, self.findings)?;
        Some(PerKind {
            others: Some(most),
            by_kind: Vec::new(),
        })
    }

    /// A table of numbers by kind of token.
    fn per_kind(
        &mut self,
        value: &Value<'_>,
        range: RangeInclusive<i64>,
    ) -> Option<Vec<(Kind, u8)>> {
        let entries = value.table(self.findings)?.free();
        if entries.is_empty() {
            let error = value.error(format!("`{}` is empty", value.path()));
            self.findings
                .push(error.help("write { server = 2 }, or leave it out"));
        }
        let mut numbers = Vec::new();
        for (word, place, value) in entries {
            let Ok(kind) = word.parse::<Kind>() else {
                let error = Diagnostic::error(format!("unknown kind of token `{word}`"));
                let known = Kind::ALL.iter().copied().map(Kind::as_str);
                self.findings.push(error.at(place).suggest(word, known));
                continue;
            };
            self.supported_kind(kind, &place);
            let number = value.number(range.clone(), self.findings);
            numbers.extend(number.map(|number| (kind, number)));
        }
        Some(numbers)
    }

    /// Refuses a kind of token that this version cannot check.
    pub(super) fn supported_kind(&mut self, kind: Kind, place: &Place) {
        if !Factor::SUPPORTED.contains(&factor_of(kind)) {
            let message = format!("tokens of the kind `{kind}` are not supported by this version");
            self.findings.push(
                Diagnostic::error(message)
                    .at(place.clone())
                    .help("leave it out"),
            );
        }
    }

    /// Where the first right code is presented, and for how long.
    fn first_code(
        &mut self,
        table: &mut Table<'_>,
        verify: Option<bool>,
    ) -> (Option<Activate>, Option<Duration>) {
        let activate_value = table.value("activate");
        let within_value = table.value("first_use_within");
        let activate = activate_value
            .as_ref()
            .and_then(|value| self.activate(value));
        let within = within_value
            .as_ref()
            .and_then(|value| value.duration(FIRST_USE, self.findings));
        if let Some(value) = activate_value.as_ref().filter(|_| verify == Some(false)) {
            let error =
                value.error("`activate` beside `verify = false`: no first right code is asked for");
            let help = "leave one of the two out";
            self.findings.push(error.help(help));
        }
        if let Some(value) = within_value
            && activate == Some(Activate::Confirm)
        {
            let error = value.error("`first_use_within` beside `activate = \"confirm\"`");
            let help = "no login activates a token there: leave `first_use_within` out";
            self.findings.push(error.help(help));
        }
        (activate, within)
    }

    /// What authenticator apps show.
    fn naming(&mut self, table: &mut Table<'_>) -> Naming {
        let default = Naming::default();
        let issuer = self.optional(table, "issuer", Self::name_template);
        let label = self.optional(table, "label", Self::name_template);
        let issuer_for = self.optional(table, "issuer_for", |reader, value| {
            let entries = value.table(reader.findings)?.free();
            let mut names = Vec::new();
            for (realm, place, value) in entries {
                let Ok(key) = UserKey::with_realm("user", realm) else {
                    let error = Diagnostic::error(format!("`{realm}` is no name of a realm"));
                    reader.findings.push(error.at(place));
                    continue;
                };
                let template = reader.name_template(&value);
                names.extend(template.map(|template| (key.realm().to_owned(), template)));
            }
            Some(names)
        });
        Naming {
            issuer: issuer.unwrap_or(default.issuer),
            issuer_for: issuer_for.unwrap_or_default(),
            label: label.unwrap_or(default.label),
        }
    }

    fn name_template(&mut self, value: &Value<'_>) -> Option<Template> {
        let text = value.text(self.findings)?;
        let long = text.text.chars().count() > NAME_LENGTH;
        if long || text.text.trim().is_empty() || text.text.contains([':', '\n']) {
            let message = format!(
                "`{}` has 1 to {NAME_LENGTH} characters on one line, and no colon",
                value.path()
            );
            self.error_at(&text, Diagnostic::error(message));
            return None;
        }
        match naming::parse(text.text) {
            Ok(template) => Some(template),
            Err(message) => {
                self.error_at(&text, Diagnostic::error(message));
                None
            }
        }
    }

    fn activate(&mut self, value: &Value<'_>) -> Option<Activate> {
        let text = value.text(self.findings)?;
        let found = text.text.parse().ok();
        if found.is_none() {
            let error = Diagnostic::error(format!("unknown value `{}` of `activate`", text.text));
            self.error_at(
                &text,
                error.suggest(text.text, Activate::ALL.map(Activate::as_str)),
            );
        }
        found
    }

    fn validity(&mut self, table: &mut Table<'_>) -> (Option<Duration>, Option<Duration>) {
        let valid_value = table.value("valid_for");
        let renew_value = table.value("renew_from");
        let valid_for = valid_value
            .as_ref()
            .and_then(|value| value.duration(DAY..=VALID_MAX, self.findings));
        let renew_from = renew_value
            .as_ref()
            .and_then(|value| value.duration(DAY..=VALID_MAX, self.findings));
        let Some(value) = renew_value else {
            return (valid_for, None);
        };
        if valid_value.is_none() {
            let error = value.error("`renew_from` needs `valid_for`: these tokens never end");
            let help = "write valid_for = \"1095d\", or leave `renew_from` out";
            self.findings.push(error.help(help));
        }
        if let (Some(valid), Some(renew)) = (valid_for, renew_from)
            && renew >= valid
        {
            let (valid, renew) = (show_duration(valid), show_duration(renew));
            let message =
                format!("`renew_from` ({renew}) is not shorter than `valid_for` ({valid})");
            let help = "it counts back from the end: a new token would be due at once";
            self.findings.push(value.error(message).help(help));
        }
        (valid_for, renew_from)
    }
}

/// Each one is a person to be found before a user gets a token.
const APPROVERS: RangeInclusive<i64> = 0..=5;

/// Each active token is one more chance of a guess at the same time.
const ACTIVE: RangeInclusive<i64> = 1..=20;
/// Most characters of a name that authenticator apps show: they cut longer ones.
const NAME_LENGTH: usize = 64;
/// An hour is the least for a person to open the app; after a year no one misses the token.
const FIRST_USE: RangeInclusive<Duration> =
    Duration::from_hours(1)..=Duration::from_hours(24 * 365);
const DAY: Duration = Duration::from_hours(24);
const VALID_MAX: Duration = Duration::from_hours(24 * 3650);

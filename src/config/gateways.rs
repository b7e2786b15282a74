//! From the written tables `[delivery.NAME]` to checked gateways.
//!
//! Threats: a key that stands in the configuration itself ends in backups and in `config show`, so
//! headers that carry credentials must take them from `secret_file`, lines that may hold one are not
//! quoted in a finding, and a body is shown by its placeholders alone. A secret in a URL ends in the
//! logs of every proxy on the way: there is no place for it there.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::config::delivery::{
    Delivery, Expected, Format, Gateway, HttpGateway, Protocol, SmtpGateway, SmtpTls,
};
use crate::config::keys;
use crate::config::placeholder;
use crate::config::placeholder::{Escape, Placeholder, Template};
use crate::config::reader::{Resolver, in_range, parse_choice, parse_count, parse_flag};
use crate::config::table::Table;
use crate::config::target::{
    HIDDEN, Host, Reach, Target, TargetError, is_placeholder, refusal, shown_pairs,
};
use crate::diagnostic::{Diagnostic, units};
use crate::model::message::{Medium, address, is_country};

/// The part of `[limits]` about delivery; the gateways follow with [`gateways`].
pub(super) fn delivery(reader: &mut Resolver<'_>) -> Option<Delivery> {
    let country = |text: &str| {
        let fault = || format!("`{text}` is no prefix of numbers: write + and digits, as +82");
        let good = is_country(text).then(|| text.to_owned());
        good.ok_or_else(fault)
    };
    let budget = reader.one(keys::LIMITS_DELIVERY_BUDGET, |text| {
        let range = Duration::from_secs(1)..=Duration::from_mins(2);
        in_range(units::duration(text)?, range).ok_or_else(|| "write 1s to 120s".to_owned())
    });
    let countries = reader.list(keys::LIMITS_DELIVERY_COUNTRIES, country);
    let home = reader.list(keys::LIMITS_DELIVERY_HOME, country);
    let language = reader.one(keys::LIMITS_DELIVERY_LANGUAGE, |text| {
        text.parse().map_err(|()| "write en or ko".to_owned())
    });
    Some(Delivery {
        budget: budget?,
        countries: countries?,
        home: home?.pop(),
        language: language?,
        gateways: Vec::new(),
    })
}

/// Every gateway, in the order in which they are asked.
pub(super) fn gateways(reader: &mut Resolver<'_>, dir: &Path) -> Option<Vec<Gateway>> {
    let chosen = reader.written.chosen("delivery");
    let all: Vec<Option<Gateway>> = chosen
        .iter()
        .map(|table| Table { reader, table }.gateway(dir))
        .collect();
    let mut all = all.into_iter().collect::<Option<Vec<Gateway>>>()?;
    // Stable: of equal priorities the first in the file is the first.
    all.sort_by_key(|gateway| gateway.priority);
    Some(all)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Http,
    Smtp,
}

impl Table<'_, '_> {
    fn gateway(&mut self, dir: &Path) -> Option<Gateway> {
        let kind = self.required(keys::GATEWAY_KIND, |text| {
            parse_choice(text, &[("http", Kind::Http), ("smtp", Kind::Smtp)])
        });
        let media = self.media();
        let priority = self.one(keys::GATEWAY_PRIORITY, |text| {
            text.parse()
                .map_err(|_| format!("`{text}` is not a number from 0 to {}", u16::MAX))
        });
        let timeout = self.one(keys::GATEWAY_TIMEOUT, |text| {
            let range = Duration::from_millis(100)..=Duration::from_mins(1);
            in_range(units::duration(text)?, range).ok_or_else(|| "write 100ms to 60s".to_owned())
        });
        let attempts = self.one(keys::GATEWAY_ATTEMPTS, |text| {
            let attempts = text.parse().ok();
            let attempts = attempts.and_then(|attempts| in_range(attempts, 1..=5));
            attempts.ok_or_else(|| format!("`{text}` is not a number from 1 to 5"))
        });
        let in_flight = self.one(keys::GATEWAY_IN_FLIGHT, parse_count);
        let queue = self.one(keys::GATEWAY_QUEUE, parse_count);
        let breaker_failures = self.one(keys::GATEWAY_BREAKER_FAILURES, parse_count);
        let breaker_pause = self.one(keys::GATEWAY_BREAKER_PAUSE, |text| {
            let range = Duration::from_secs(1)..=Duration::from_hours(1);
            in_range(units::duration(text)?, range).ok_or_else(|| "write 1s to 1h".to_owned())
        });
        let allow_private = self.one(keys::GATEWAY_ALLOW_PRIVATE, parse_flag);
        let path = |text: &str| Ok(dir.join(text));
        let secret_file = self.optional(keys::GATEWAY_SECRET_FILE, path);
        let ca_file = self.optional(keys::GATEWAY_CA_FILE, path);
        let kind = kind?;
        self.refuse_others(kind);
        let reach = if allow_private? {
            Reach::Private
        } else {
            Reach::Public
        };
        let secret_file = secret_file?;
        let (target, protocol) = match kind {
            Kind::Http => self.http(media.as_deref(), secret_file.is_some())?,
            Kind::Smtp => self.smtp(media.as_deref(), secret_file.is_some(), reach)?,
        };
        self.judge(&target, kind, reach);
        Some(Gateway {
            name: self.table.name.clone(),
            media: media?,
            priority: priority?,
            timeout: timeout?,
            attempts: attempts?,
            in_flight: in_flight?,
            queue: queue?,
            breaker_failures: breaker_failures?,
            breaker_pause: breaker_pause?,
            reach,
            secret_file,
            ca_file: ca_file?,
            target,
            protocol,
        })
    }

    fn media(&mut self) -> Option<Vec<Medium>> {
        let choices = Medium::ALL.map(|medium| (medium.as_str(), medium));
        let key = keys::GATEWAY_MEDIA;
        let media = self.reader.list(key.of(&self.table.name), |text| {
            parse_choice(text, &choices)
        })?;
        if media.is_empty() {
            self.missing(key, "write what it carries, as [\"sms\", \"voice\"]");
            return None;
        }
        Some(media)
    }

    fn http(&mut self, media: Option<&[Medium]>, secret: bool) -> Option<(Target, Protocol)> {
        let url = self.url();
        let methods = ["GET", "POST", "PUT"].map(|method| (method, method));
        let method = self.one(keys::GATEWAY_METHOD, |text| parse_choice(text, &methods));
        let headers = self.headers(secret);
        let formats = [("json", Format::Json), ("form", Format::Form)];
        let format = self.one(keys::GATEWAY_FORMAT, |text| parse_choice(text, &formats));
        let kind = format.unwrap_or(Format::Json);
        let body = self.optional(keys::GATEWAY_BODY, |text| body(text, kind, secret));
        let status = self.reader.list(
            keys::GATEWAY_SUCCESS_STATUS.of(&self.table.name),
            parse_status,
        );
        let success_match = self.optional(keys::GATEWAY_SUCCESS_MATCH, parse_expected);
        let reference = self.optional(keys::GATEWAY_REFERENCE, parse_pointer);
        let ((target, url), body) = (url?, body?);
        let carries = |place| {
            let mut templates = std::iter::once(&url).chain(&body);
            templates.any(|template| template.has(&place))
        };
        if !carries(Placeholder::To) || !carries(Placeholder::Text) && !carries(Placeholder::Code) {
            let key = if body.is_some() {
                keys::GATEWAY_BODY
            } else {
                keys::GATEWAY_URL
            };
            let error =
                Diagnostic::error(format!("`{}` does not say what to send", self.path(key)));
            let help = "it needs {to}, and {text} or {code}, in `body` or `url`";
            self.report(key, error.help(help));
        }
        // A text of its own can be spoken; a mail without a text is none.
        if media.is_some_and(|media| media.contains(&Medium::Email)) && !carries(Placeholder::Text)
        {
            let error = Diagnostic::error("a mail needs its text: put {text} into `body`");
            self.report(keys::GATEWAY_MEDIA, error);
        }
        let method = method?;
        if method == "GET" && body.is_some() {
            let error = Diagnostic::error("GET has no body");
            let help = "put the placeholders into `url`, or write `method = \"POST\"`";
            self.report(keys::GATEWAY_METHOD, error.help(help));
        }
        let http = HttpGateway {
            method: method.to_owned(),
            url,
            headers: headers?,
            body,
            format: format?,
            success_status: status?,
            success_match: success_match?,
            reference: reference?,
        };
        Some((target, Protocol::Http(http)))
    }

    fn url(&mut self) -> Option<(Target, Template)> {
        let key = keys::GATEWAY_URL;
        let entry = self.reader.written.entry(key.of(&self.table.name));
        let text = entry.values.first().map(|scalar| scalar.text.clone());
        // Neither the text nor its line is shown: a password may stand before the @.
        if let Some(Err(TargetError::UserInfo)) = text.as_deref().map(Target::of_url) {
            let error =
                Diagnostic::error(format!("`{}`: {}", self.path(key), TargetError::UserInfo));
            let help = "take it out, and write `headers` with {secret} and a `secret_file`";
            self.reader
                .report(key.of(&self.table.name), &entry, None, error.help(help));
            return None;
        }
        self.required(key, |text| {
            let url = placeholder::parse(text)?;
            if url.has(&Placeholder::Secret) {
                return Err(
                    "{secret} cannot be in a URL, which is logged on the way: put it \
                            into `headers` or `body`"
                        .to_owned(),
                );
            }
            let host = url.head().split_once("://").map_or("", |(_, rest)| rest);
            if url.places().next().is_some() && !host.contains(['/', '?']) {
                return Err("placeholders stand behind the host: after the first / or ?".to_owned());
            }
            let filled = placeholder::fill(&url, Escape::Percent, Placeholder::as_str);
            let target = Target::of_url(&filled).map_err(|error| error.to_string())?;
            Ok((target, url))
        })
    }

    /// Threat: a key that was pasted into a header must not appear on a terminal or in a log. So
    /// findings about headers quote nothing.
    fn headers(&mut self, secret: bool) -> Option<Vec<(String, Template)>> {
        let key = keys::GATEWAY_HEADERS;
        let entry = self.reader.written.entry(key.of(&self.table.name));
        let mut good = true;
        let mut headers = Vec::new();
        for scalar in &entry.values {
            match header(&scalar.text, secret) {
                Ok(header) => headers.push(header),
                Err(why) => {
                    good = false;
                    let error = Diagnostic::error(format!("`{}`: {why}", self.path(key)));
                    self.reader
                        .report(key.of(&self.table.name), &entry, None, error);
                }
            }
        }
        self.reader
            .list(key.of(&self.table.name), |_| Ok(()))
            .filter(|_| good)?;
        Some(headers)
    }

    fn smtp(
        &mut self,
        media: Option<&[Medium]>,
        secret: bool,
        reach: Reach,
    ) -> Option<(Target, Protocol)> {
        let host = self.required(keys::GATEWAY_HOST, |text| {
            Target::of_host(text, 1, false).map_err(|error| error.to_string())?;
            Ok(text.to_owned())
        });
        let port = self.one(keys::GATEWAY_PORT, |text| {
            let port = text.parse::<u16>().ok().filter(|port| *port != 0);
            port.ok_or_else(|| TargetError::Port.to_string())
        });
        let choices = [
            ("required", SmtpTls::Required),
            ("opportunistic", SmtpTls::Opportunistic),
            ("none", SmtpTls::None),
        ];
        let tls = self.one(keys::GATEWAY_TLS, |text| parse_choice(text, &choices));
        let user = self.optional(keys::GATEWAY_USER, |text| Ok(text.to_owned()));
        let from = self.required(keys::GATEWAY_FROM, |text| {
            address(Medium::Email, text, None).map_err(|error| error.to_string())
        });
        if media.is_some_and(|media| media != [Medium::Email]) {
            let error = Diagnostic::error("a gateway of kind smtp carries email only");
            self.report(keys::GATEWAY_MEDIA, error);
        }
        let (user, tls) = (user?, tls?);
        if user.is_some() != secret {
            let (key, missing) = match user {
                Some(_) => (keys::GATEWAY_USER, "secret_file"),
                None => (keys::GATEWAY_SECRET_FILE, "user"),
            };
            let error = Diagnostic::error(format!("`{missing}` is missing"));
            let help = "a login needs both a user and a password in a file";
            self.report(key, error.help(help));
        }
        if tls == SmtpTls::None && reach == Reach::Public {
            let error = Diagnostic::error("mail to a public server needs TLS");
            let help = "write `tls = \"required\"`; without TLS only with `allow_private = true`";
            self.report(keys::GATEWAY_TLS, error.help(help));
        }
        if tls == SmtpTls::Opportunistic && reach == Reach::Public && user.is_some() {
            let error = Diagnostic::error("a password needs TLS");
            let help = "write `tls = \"required\"`: an offer of TLS can be taken away on the way";
            self.report(keys::GATEWAY_TLS, error.help(help));
        }
        let (host, port) = (host?, port?);
        // RFC 8314 s3.3: on the submissions port TLS begins at once.
        let secure = port == SUBMISSIONS && tls != SmtpTls::None;
        let target = Target::of_host(&host, port, secure).ok()?;
        let from = from?;
        Some((target, Protocol::Smtp(SmtpGateway { tls, user, from })))
    }

    /// What can be said about the target without a network.
    fn judge(&mut self, target: &Target, kind: Kind, reach: Reach) {
        let key = match kind {
            Kind::Http => keys::GATEWAY_URL,
            Kind::Smtp => keys::GATEWAY_HOST,
        };
        if let Host::Address(address) = target.host
            && let Some(why) = refusal(address, reach)
        {
            let error = Diagnostic::error(format!("{address} is {why}"));
            let help = "gateways are reached at public addresses; \
                        `allow_private = true` opens this machine and private networks";
            self.report(key, error.help(help));
        }
        if kind == Kind::Http && !target.secure && !target.is_loopback() {
            let name = &self.table.name;
            let message = format!("gateway `{name}` is asked without TLS");
            let help = "texts, codes and its key travel readable: write https://";
            self.report(key, Diagnostic::warning(message).help(help));
        }
    }

    /// Refuses what only the other kind understands.
    fn refuse_others(&mut self, kind: Kind) {
        let (others, word) = match kind {
            Kind::Http => (keys::SMTP_ONLY, "http"),
            Kind::Smtp => (keys::HTTP_ONLY, "smtp"),
        };
        for key in others {
            if self.is_written(key) {
                let path = self.path(key);
                let message = format!("a gateway of kind {word} has no `{path}`");
                let entry = self.reader.written.entry(key.of(&self.table.name));
                self.reader.report(
                    key.of(&self.table.name),
                    &entry,
                    None,
                    Diagnostic::error(message).help("remove it, or change `kind`"),
                );
            }
        }
    }
}

fn body(text: &str, format: Format, secret: bool) -> Result<Template, String> {
    let body = placeholder::parse(text)?;
    if body.has(&Placeholder::Secret) && !secret {
        return Err(NO_SECRET.to_owned());
    }
    if format == Format::Json {
        // A quote is escaped, which is right inside a string only.
        let filled = placeholder::fill(&body, Escape::Json, |_| "\"");
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&filled) {
            let (line, column) = (error.line(), error.column());
            return Err(format!(
                "it is not JSON with every placeholder in quotes (line {line}, column {column}): \
                 write {{\"to\": \"{{to}}\"}}, or `format = \"form\"`"
            ));
        }
    }
    Ok(body)
}

/// A body as it may be shown: what is no placeholder may be a key.
pub(super) fn shown_body(body: &str) -> String {
    let Ok(read @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(body) else {
        return shown_pairs(body);
    };
    let mut shown = read.clone();
    hide(&mut shown);
    if shown == read {
        body.to_owned()
    } else {
        shown.to_string()
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::Null | Value::Bool(_) => {}
        Value::String(text) if is_placeholder(text) => {}
        Value::String(_) | Value::Number(_) => *value = HIDDEN.into(),
    }
}

fn header(text: &str, secret: bool) -> Result<(String, Template), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a header is written as `Name: value`")?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    let token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("the name of a header has letters, digits and dashes".to_owned());
    }
    if FRAMING.contains(&name.as_str()) {
        return Err(format!("`{name}` is written by oncegate itself"));
    }
    if !value
        .bytes()
        .all(|octet| octet.is_ascii_graphic() || octet == b' ')
    {
        return Err(format!(
            "`{name}` has other signs than those of ASCII on one line"
        ));
    }
    let value = placeholder::parse(value)?;
    let free = [Placeholder::Text, Placeholder::Subject];
    if let Some(place) = free.into_iter().find(|place| value.has(place)) {
        let place = place.as_str();
        return Err(format!(
            "{{{place}}} has no place in a header: put it into `body`"
        ));
    }
    let carries_secret = value.has(&Placeholder::Secret);
    if carries_secret && !secret {
        return Err(NO_SECRET.to_owned());
    }
    let credential = CREDENTIALS.contains(&name.as_str())
        || ["key", "token", "secret"]
            .iter()
            .any(|end| name.ends_with(end));
    if credential && !carries_secret {
        return Err(format!(
            "`{name}` carries a credential, which has no place in this file: write {{secret}} \
             for it and put it into a `secret_file`"
        ));
    }
    Ok((name, value))
}

/// `200`, or `2xx` for all of them.
fn parse_status(text: &str) -> Result<RangeInclusive<u16>, String> {
    let fault = || format!("`{text}` is no status: write 200, or 2xx for all of them");
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().map_err(|_| fault())?;
        let class = in_range(class, 2..=5).ok_or_else(fault)?;
        return Ok(class * 100..=class * 100 + 99);
    }
    let status = text.parse().ok();
    let status = status.and_then(|status| in_range(status, 200..=599));
    let status = status.ok_or_else(fault)?;
    Ok(status..=status)
}

/// `/result = "ok"`: a pointer and a JSON value; a word without quotes is a string.
fn parse_expected(text: &str) -> Result<Expected, String> {
    let (pointer, value) = text.split_once('=').ok_or_else(|| {
        format!("`{text}`: write a JSON pointer and a value, as /result = \"ok\"")
    })?;
    let value = value.trim();
    Ok(Expected {
        pointer: parse_pointer(pointer.trim())?,
        value: serde_json::from_str(value).unwrap_or_else(|_| value.into()),
    })
}

fn parse_pointer(text: &str) -> Result<String, String> {
    let good = text.starts_with('/').then(|| text.to_owned());
    good.ok_or_else(|| format!("`{text}` is no JSON pointer: it begins with /, as /message/id"))
}

const NO_SECRET: &str = "there is {secret}, and no `secret_file` to take it from";
/// Mail submission over TLS (RFC 8314).
const SUBMISSIONS: u16 = 465;
/// Headers that say where a request ends, or where it goes.
const FRAMING: [&str; 7] = [
    "connection",
    "content-length",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers that carry credentials, beside those whose name says so.
const CREDENTIALS: [&str; 5] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "x-auth",
];

#[cfg(test)]
mod tests;

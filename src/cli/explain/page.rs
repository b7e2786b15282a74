//! Explanations for people: a headline, a line a subject, what to do last.
//!
//! Threat: names and records hold what strangers typed. Every line goes through [`printable`], and
//! what is offered for pasting into a shell is quoted.

use owo_colors::OwoColorize as _;

use crate::api::explain::{
    Counters, Explanation, Explanations, Held, Login, Next, Since, TokenThen,
};
use crate::api::{AuditEvent, AuditRecord, Lock};
use crate::cli::changes;
use crate::cli::context::Context;
use crate::cli::explain::words::{about, brief, said, sentence, span, typed};
use crate::cli::output::{joined, local_time, printable, shell_word};
use crate::cli::token::shown;

/// All records of a request, one page each.
pub(super) fn all(all: &Explanations, context: &Context) -> String {
    let pages: Vec<String> = all.records.iter().map(|page| one(page, context)).collect();
    pages.join("\n")
}

/// One record, or what would happen.
pub(super) fn one(what: &Explanation, context: &Context) -> String {
    let mut page = Page::default();
    page.headline(what);
    if let Some(login) = &what.login {
        page.request(what, login);
        page.rules(what, login);
        page.demand(login);
        page.tokens(what, login);
        page.person(login);
        if let Some(counters) = &login.counters {
            page.counters(counters);
        }
    }
    if let Some(AuditRecord { request_id, .. }) =
        what.record.as_ref().filter(|_| what.login.is_none())
    {
        page.line("request", request_id);
    }
    let changed = what.record.iter().flat_map(|record| &record.changes);
    page.lines("changed", changed.map(changes::text));
    page.lines("before", what.before.iter().map(brief));
    let since = |since: &Since| {
        let time = local_time(&since.record.time);
        let changed = since.record.changes.iter().map(changes::text);
        let changed = changed.collect::<Vec<_>>().join("; ");
        let changed = Some(changed).filter(|text| !text.is_empty());
        let changed = changed.map(|text| format!(" {text}")).unwrap_or_default();
        format!("{time}  {}{changed}", since.summary)
    };
    page.lines("since", what.since.iter().map(since));
    page.lines("note", what.notes.iter().cloned());
    if what.login.is_some() && what.decision != "accept_if" {
        page.next(&what.next, context);
    }
    page.text
}

/// Lines with a label, wrapped.
pub(super) struct Page {
    pub(super) text: String,
    /// How wide labels are.
    pub(super) label: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            text: String::new(),
            label: 10,
        }
    }
}

impl Page {
    fn headline(&mut self, what: &Explanation) {
        let word = match what.decision.as_str() {
            "accept_if" => "ACCEPT IF".to_owned(),
            other => other.to_ascii_uppercase(),
        };
        let word = printable(&word).into_owned();
        let coloured = match what.decision.as_str() {
            "accept" | "accept_if" => word.green().to_string(),
            "reject" => word.red().to_string(),
            _ => word,
        };
        let time = local_time(&what.time);
        let mut rest = String::new();
        if let Some(login) = &what.login {
            let asks: Vec<&str> = login
                .factors
                .iter()
                .filter(|factor| !factor.waived)
                .map(|factor| factor.factor.as_str())
                .collect();
            match &what.reason {
                Some(reason) => push!(rest, " {reason}"),
                None => push!(rest, " {}", asks.join(" + ")),
            }
            push!(rest, ": {} at {}", login.user.user, login.client.name);
        }
        push!(self.text, "{coloured}{}, {time}\n", printable(&rest));
        let said = match (&what.advice, &what.login) {
            (Some(advice), Some(login)) => {
                let user = shell_word(&login.user.user);
                sentence(&advice.replace("USER", &user))
            }
            (None, Some(_)) | (_, None) => what.summary.clone(),
        };
        self.wrap(&said, 0);
        self.text.push('\n');
    }

    fn request(&mut self, what: &Explanation, login: &Login) {
        let mut text = String::new();
        if let Some(record) = &what.record {
            push!(text, "{}, ", record.request_id);
        }
        let (channel, method) = (&login.client.channel, &login.method);
        text.push_str(channel);
        if method != channel {
            push!(text, " {method}");
        }
        match login.client_ip {
            Some(from) => push!(text, ", from {from}"),
            None => text.push_str(", from an unknown place"),
        }
        if let Some(AuditRecord {
            event:
                AuditEvent::Decision {
                    purpose,
                    latency_ms,
                    ..
                },
            ..
        }) = &what.record
        {
            match purpose.as_str() {
                "login" => {}
                "inbound" => text.push_str(", the answer to a login on another channel"),
                purpose => push!(text, ", to {purpose} a token"),
            }
            push!(text, ", decided in {latency_ms} ms");
        }
        self.line("request", &text);
        self.origin(what);
        if !matches!(login.client.channel.as_str(), "admin" | "inbound") {
            let policy = login.client.policy.as_deref().unwrap_or("default");
            let can = match (login.client.known, login.client.challenge) {
                (false, _) => "not configured any more".to_owned(),
                (true, true) => format!("policy {policy}, can ask again (challenges)"),
                (true, false) => {
                    format!("policy {policy}, cannot ask again: everything is typed at once")
                }
            };
            self.line("client", &format!("{}: {can}", login.client.name));
        }
    }

    fn rules(&mut self, what: &Explanation, login: &Login) {
        let Some(policy) = &login.policy else {
            if let Some(AuditRecord {
                event: AuditEvent::Decision { rule, .. },
                ..
            }) = &what.record
                && let Some(rule) = rule
            {
                self.line("rule", &format!("{rule}, as the audit has it"));
            }
            return;
        };
        let width = login.rules.iter().map(|rule| rule.name.chars().count());
        let width = width.max().unwrap_or_default();
        let below = login.rules.iter().filter(|rule| !rule.read).count();
        let mut label = "rules";
        for rule in login.rules.iter().filter(|rule| rule.read) {
            let said = said(rule);
            let name = format!("{policy}:{}", rule.name);
            let width = width + policy.chars().count() + 1;
            let head = format!("{name:<width$}  {}  {said}", rule.place);
            self.line(label, &head);
            label = "";
            let keys = rule.conditions.iter().map(|one| one.key.chars().count());
            let keys = keys.max().unwrap_or_default();
            for one in &rule.conditions {
                let key = &one.key;
                let held = match one.held {
                    Held::Yes => "yes",
                    Held::No => "no",
                    Held::Unknown => "?",
                };
                let line = printable(&one.place).rsplit(':').next().map(str::to_owned);
                let line = line.unwrap_or_default();
                let text = format!("  {key:<keys$}  {held:<3}  {} (line {line})", one.why);
                self.line("", &text);
            }
        }
        if below > 0 {
            let rules = if below == 1 { "rule" } else { "rules" };
            self.line(label, &format!("{below} {rules} below, not read"));
        }
    }

    /// What the client said of itself, and what the audit says beside the reason.
    fn origin(&mut self, what: &Explanation) {
        let Some(AuditRecord {
            event:
                AuditEvent::Decision {
                    nas,
                    nas_ip,
                    calling_station,
                    note,
                    ..
                },
            ..
        }) = &what.record
        else {
            return;
        };
        let address = nas_ip.map(|address| address.to_string());
        let nas: Vec<&str> = nas
            .as_deref()
            .into_iter()
            .chain(address.as_deref())
            .collect();
        if !nas.is_empty() {
            self.line("NAS", &nas.join(", "));
        }
        if let Some(station) = calling_station {
            self.line("station", station);
        }
        if let Some(note) = note {
            self.line("note", note);
        }
    }

    fn demand(&mut self, login: &Login) {
        let Some(rule) = &login.rule else {
            return;
        };
        let all: Vec<String> = login
            .factors
            .iter()
            .map(|factor| {
                let waived = if factor.waived { " (waived)" } else { "" };
                format!("{}{waived}", factor.factor)
            })
            .collect();
        let mut text = all.join(" + ");
        push!(text, "; reaches assurance {}", rule.assurance);
        if rule.min_assurance > 1 {
            push!(text, ", {} is demanded", rule.min_assurance);
        }
        self.line("asks for", &text);
        if let Some(waiver) = &login.waiver {
            self.line("waiver", waiver);
        }
        let mut label = "typed as";
        for form in &login.forms {
            self.line(label, &typed(form));
            label = "";
        }
        let mut label = "reply";
        for attribute in &login.reply {
            self.line(label, &format!("{} = {}", attribute.name, attribute.value));
            label = "";
        }
    }

    fn tokens(&mut self, what: &Explanation, login: &Login) {
        if let Some(token) = &what.token {
            self.token_then(token, what.reason.as_deref());
            return;
        }
        let mut label = "tokens";
        for one in &login.tokens {
            let mut text = about(&one.token);
            match &one.why {
                Some(why) => push!(text, "; does not count: {why}"),
                None if one.token.first_use_until.is_some() => {
                    text.push_str("; counts: its first right code brings it into use");
                }
                None => text.push_str("; counts"),
            }
            self.line(label, &text);
            label = "";
        }
        if login.tokens.is_empty() && login.user.known {
            self.line(label, "none");
        }
    }

    fn token_then(&mut self, token: &TokenThen, reason: Option<&str>) {
        let now = token.now.as_ref();
        let text = now.map_or_else(|| format!("{}, removed since", token.serial), about);
        self.line("token", &text);
        if let Some(step) = token.step {
            let code = match (&token.shown, &token.now) {
                (Some(shown), _) => format!("its code of {} (step {step})", span(shown)),
                (None, Some(_)) => format!("its code of counter {step}"),
                (None, None) => format!("its code of step or counter {step}"),
            };
            let what = match reason {
                Some("used_code") if token.store_repaired.is_some() => {
                    format!("{code} counts as used since the repair or restore of the store")
                }
                Some("used_code") => format!("{code} came again"),
                _ => format!("{code} is used up by this"),
            };
            self.line("", &what);
        }
        if let Some(searched) = &token.searched {
            self.line(
                "",
                &format!("looked for codes of {}: none is this", span(searched)),
            );
        }
        if let Some(used) = &token.used_by {
            self.line("used by", &brief(used));
        }
    }

    fn person(&mut self, login: &Login) {
        let person = &login.user;
        if !person.known {
            self.line("user", "there is no such user now");
            return;
        }
        let state = if person.disabled {
            "disabled"
        } else {
            "enabled"
        };
        let word = |state: &str| state.replace("must_change", "must be changed");
        let mut text = format!("{state}, groups {}", joined(&person.groups));
        if let Some(class) = &person.class {
            push!(text, ", class {class}");
        }
        push!(text, ", PIN {}", word(&person.pin));
        push!(text, ", password {}", word(&person.password));
        self.line("user", &text);
    }

    fn counters(&mut self, counters: &Counters) {
        let mut text = match counters.failures_then {
            Some(0) => "none just after this; now ".to_owned(),
            Some(then) => format!("{then} just after this; now "),
            None => String::new(),
        };
        text.push_str(&shown::lock(&counters.user));
        let (soft, hard) = (counters.lock_after, counters.hard_lock_after);
        push!(text, " (every {soft} lock for a while, {hard} for good)");
        self.line("failures", &text);
        let any = |known: &&Lock| known.failures > 0 || counters.user.failures > 0;
        if let Some(known) = counters.known.as_ref().filter(any) {
            let text = "from this place, which the user has used before and which counts alone: ";
            self.line("", &format!("{text}{}", shown::lock(known)));
        }
        if let Some(source) = &counters.source {
            let Lock { failures, .. } = source.lock;
            if failures > 0 {
                let text = shown::lock(&source.lock);
                self.line("", &format!("of all users at {}: {text}", source.source));
            }
        }
    }

    /// A label before the first of these.
    fn lines(&mut self, label: &str, texts: impl Iterator<Item = String>) {
        let mut label = label;
        for text in texts {
            self.line(label, &text);
            label = "";
        }
    }

    fn next(&mut self, next: &[Next], context: &Context) {
        let mut label = "next";
        for step in next {
            if step.command.is_empty() {
                self.line(label, &step.text);
            } else {
                let words = step.command.iter().skip(1);
                let words: Vec<_> = words.map(|word| shell_word(word)).collect();
                self.line(label, &format!("{}:", step.text));
                // Not wrapped: it is to be pasted.
                let command = context.command(&words.join(" "));
                let (command, indent) = (printable(&command), self.label + 2);
                push!(self.text, "{:indent$}{command}\n", "");
            }
            label = "";
        }
        if next.is_empty() {
            self.line("next", "nothing to do");
        }
    }

    /// A label and a text, made harmless and wrapped below itself.
    pub(super) fn line(&mut self, label: &str, text: &str) {
        let (label, width) = (printable(label), self.label);
        push!(self.text, "{label:<width$}");
        if label.chars().count() >= width {
            self.text.push(' ');
        }
        self.wrap(text, width);
    }

    fn wrap(&mut self, text: &str, indent: usize) {
        let text = printable(text);
        // Leading spaces indent the lines that follow, too.
        let own = text.len() - text.trim_start().len();
        let mut column = indent;
        let mut first = true;
        for (place, word) in text.split(' ').enumerate() {
            let length = word.chars().count();
            let fits = column + 1 + length <= WIDTH || place <= own;
            if !first && fits {
                self.text.push(' ');
                column += 1;
            } else if !first {
                let indent = indent + own + if own > 0 { HANG } else { 0 };
                push!(self.text, "\n{:indent$}", "");
                column = indent;
            }
            self.text.push_str(word);
            column += length;
            first = false;
        }
        self.text.push('\n');
    }
}

/// Where lines end: what a terminal shows beside another window.
const WIDTH: usize = 100;
/// How much further in the rest of an indented line stands.
const HANG: usize = 2;

//! The texts of messages in every language: built in, and changed by the operator's files.
//!
//! A file is TOML: a table for each text, and the time zone of the times in them. It may hold all
//! texts or one; what it leaves out is as built in (capabilities A19).
//!
//! Threats: a login cannot be finished with a text that has lost its code, so a place that a text needs is
//! demanded. A subject is one line, and is shown where others look on: it has no code in it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use crate::diagnostic::document::{Document, Table, Value};
use crate::diagnostic::{Diagnostic, Findings, Source};
use crate::model::message::{Language, Medium};
use crate::notice::template::{Place, Template, fill, parse};
use crate::policy::zone_named;
use crate::secret::SecretString;
use crate::time::UnixTime;

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $word:literal $must:tt $may:tt),+ $(,)?) => {
        words! {
            /// A text of the catalogue.
            #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
            pub enum Text { $($(#[$doc])* $name = $word),+ }
        }

        impl Text {
            /// The places that it needs.
            const fn must(self) -> &'static [Place] {
                match self { $(Self::$name => texts!(@places $must)),+ }
            }

            /// The places that it may have besides.
            const fn may(self) -> &'static [Place] {
                match self { $(Self::$name => texts!(@places $may)),+ }
            }
        }
    };
    (@places [$($place:ident)*]) => { &[$(Place::$place),*] };
}

texts! {
    /// A code for a login.
    LoginCode = "login_code" [Code] [Minutes],
    /// A code that a device redeems.
    EnrolmentCode = "enrolment_code" [Code] [Minutes],
    /// A link by which the user's telephone redeems it.
    EnrolApp = "enrol_app" [Link] [Code Minutes User],
    /// A link by which the user enrols a token.
    EnrolLink = "enrol_link" [Link] [User Until],
    /// Asks for what the screen shows.
    KeyIn = "key_in" [] [],
    /// Tries a gateway.
    TestMessage = "test_message" [] [],
    /// Asks for the password.
    AskPassword = "ask_password" [] [],
    /// Asks for the PIN.
    AskPin = "ask_pin" [] [],
    /// Asks for the first factor, which differs from rule to rule.
    AskFirst = "ask_first" [] [],
    /// Asks for the code of a token.
    AskOtp = "ask_otp" [] [],
    /// Asks for the code of a text message.
    AskSms = "ask_sms" [] [],
    /// Asks for the code of a mail.
    AskEmail = "ask_email" [] [],
    /// Asks for the code of a call.
    AskVoice = "ask_voice" [] [],
    /// Asks for the cells of a card, which are not drawn yet.
    AskCard = "ask_card" [] [],
    /// Asks for two cells of a card.
    AskCells = "ask_cells" [First Second] [],
    /// Asks for a recovery code.
    AskRecovery = "ask_recovery" [] [],
    /// Asks to send the digits on the screen.
    SendDigits = "send_digits" [] [],
    /// Asks to key in, in a call, the digits on the screen.
    KeyInDigits = "key_in_digits" [] [],
    /// A token was made or asked for.
    EnrolmentStarted = "enrolment_started" [] [User Serial Kind Time],
    /// A token came into use.
    EnrolmentEnded = "enrolment_ended" [] [User Serial Kind Time],
    /// A device took a token over.
    DeviceBound = "device_bound" [] [User Serial Kind Time],
    /// Another's token counts for the user.
    TokenLinked = "token_linked" [] [User Serial Kind Time],
    /// A token was put into use.
    TokenResumed = "token_resumed" [] [User Serial Kind Time],
    /// A token was suspended.
    TokenSuspended = "token_suspended" [] [User Serial Kind Time],
    /// A token was ended.
    TokenRevoked = "token_revoked" [] [User Serial Kind Time],
    /// A token was removed.
    TokenRemoved = "token_removed" [] [User Serial Kind Time],
    /// A device was ended.
    DeviceRevoked = "device_revoked" [] [User Serial Time],
    /// PIN or password were changed.
    CredentialsChanged = "credentials_changed" [] [User Time],
    /// Telephone number or mail address were changed.
    ContactsChanged = "contacts_changed" [] [User Time],
    /// The user was removed.
    UserRemoved = "user_removed" [] [User Time],
    /// The user is locked until an administrator unlocks.
    Locked = "locked" [] [User Time Client],
    /// The user is locked for a time.
    LockedUntil = "locked_until" [] [User Time Client Until],
    /// A recovery code was used.
    RecoveryUsed = "recovery_used" [] [User Serial Time Client Left],
    /// The end of a notice where an answer freezes the token.
    NotYou = "not_you" [Freeze] [],
    /// The end of a notice elsewhere.
    NotYouOtherwise = "not_you_otherwise" [] [],
}

impl Text {
    /// Whether it asks for something on the screen where a person logs in, and is never sent.
    pub const fn is_prompt(self) -> bool {
        matches!(
            self,
            Self::AskPassword
                | Self::AskPin
                | Self::AskFirst
                | Self::AskOtp
                | Self::AskSms
                | Self::AskEmail
                | Self::AskVoice
                | Self::AskCard
                | Self::AskCells
                | Self::AskRecovery
                | Self::SendDigits
                | Self::KeyInDigits
        )
    }
}

/// All texts, immutable; shared as a snapshot and replaced whole.
#[derive(Clone, Debug)]
pub struct Catalogue {
    english: Texts,
    korean: Texts,
    /// SHA-256 of the operator's files.
    hashes: Vec<(Language, [u8; 32])>,
}

/// The texts of a language.
#[derive(Clone, Debug)]
struct Texts {
    zone: TimeZone,
    entries: Vec<(Text, Entry)>,
}

/// A text for every medium.
#[derive(Clone, Debug, Default)]
struct Entry {
    text: Template,
    subject: Option<Template>,
    mail: Option<Template>,
}

impl Default for Catalogue {
    fn default() -> Self {
        // A test holds the built-in files free of faults.
        let mut ignored = Findings::default();
        let mut built_in = |name: &str, text: &str| {
            let mut texts = Texts::empty();
            texts.read(&Source::new(name, text), &mut ignored);
            texts
        };
        Self {
            english: built_in("en.toml", include_str!("en.toml")),
            korean: built_in("ko.toml", include_str!("ko.toml")),
            hashes: Vec::new(),
        }
    }
}

impl Catalogue {
    /// Reads the operator's files over the built-in texts. All findings are returned together;
    /// nothing is changed if one is an error.
    pub fn parse(files: &[(Language, Source)]) -> Result<Self, Vec<Diagnostic>> {
        let mut catalogue = Self::default();
        let mut findings = Findings::default();
        for (language, source) in files {
            let mut found = Findings::default();
            let texts = match language {
                Language::En => &mut catalogue.english,
                Language::Ko => &mut catalogue.korean,
            };
            texts.read(source, &mut found);
            let hash = Sha256::digest(source.text()).into();
            catalogue.hashes.push((*language, hash));
            findings.append(found);
        }
        findings.conclude(Some(catalogue)).map(|(read, _)| read)
    }

    /// SHA-256 of the operator's files that were read.
    pub fn hashes(&self) -> &[(Language, [u8; 32])] {
        &self.hashes
    }

    /// These texts behind one another as one message, with every place filled.
    pub fn message(
        &self,
        language: Language,
        medium: Medium,
        texts: &[Text],
        values: &[(Place, &str)],
    ) -> SecretString {
        let template = |text: &Text| {
            let entry = self.of(language).entry(*text)?;
            let mail = entry.mail.as_ref().filter(|_| medium == Medium::Email);
            Some(mail.unwrap_or(&entry.text))
        };
        let templates: Vec<&Template> = texts.iter().filter_map(template).collect();
        let separator = if medium == Medium::Email { "\n\n" } else { " " };
        fill(&templates, separator, values)
    }

    /// How a person who logs in is asked for something.
    pub fn prompt(&self, language: Language, text: Text, values: &[(Place, &str)]) -> String {
        let entry = self.of(language).entry(text);
        let template = entry.map(|entry| &entry.text);
        let shown = template.map(|template| fill(&[template], "", values));
        shown
            .map(|shown| shown.expose().to_owned())
            .unwrap_or_default()
    }

    /// The subject of a mail with this text; other messages have none.
    pub fn subject(
        &self,
        language: Language,
        medium: Medium,
        text: Text,
        values: &[(Place, &str)],
    ) -> Option<String> {
        let entry = self.of(language).entry(text);
        let entry = entry.filter(|_| medium == Medium::Email)?;
        let subject = entry.subject.as_ref()?;
        Some(fill(&[subject], "", values).expose().to_owned())
    }

    /// A time as texts of this language show it.
    pub fn time(&self, language: Language, at: UnixTime) -> String {
        let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        let Ok(time) = Timestamp::from_millisecond(millis) else {
            return at.to_string();
        };
        let local = time.to_zoned(self.of(language).zone.clone());
        let form = match language {
            Language::En => "%Y-%m-%d %H:%M %Z",
            // Short: a text message has 90 octets there, and all users of a site one zone.
            Language::Ko => "%m/%d %H:%M",
        };
        local.strftime(form).to_string()
    }

    const fn of(&self, language: Language) -> &Texts {
        match language {
            Language::En => &self.english,
            Language::Ko => &self.korean,
        }
    }
}

impl Texts {
    fn empty() -> Self {
        let entry = |text: &Text| (*text, Entry::default());
        Self {
            zone: TimeZone::UTC,
            entries: Text::ALL.iter().map(entry).collect(),
        }
    }

    fn entry(&self, text: Text) -> Option<&Entry> {
        let found = self.entries.iter().find(|(known, _)| *known == text);
        found.map(|(_, entry)| entry)
    }

    /// Takes what a file says over what is there.
    fn read(&mut self, source: &Source, findings: &mut Findings) {
        let Some(document) = Document::parse(source, findings) else {
            return;
        };
        let mut root = document.root();
        if let Some(value) = root.value("zone")
            && let Some(zone) = value.text(findings)
        {
            let zone = zone_named(zone.text).map_err(|message| value.error(message));
            self.zone = findings.take(zone).unwrap_or(TimeZone::UTC);
        }
        for (text, entry) in &mut self.entries {
            let table = root.value(text.as_str());
            if let Some(table) = table.and_then(|value| value.table(findings)) {
                entry.read(*text, table, findings);
            }
        }
        root.finish(findings);
    }
}

impl Entry {
    fn read(&mut self, text: Text, mut table: Table<'_>, findings: &mut Findings) {
        let all: Vec<Place> = text.must().iter().chain(text.may()).copied().collect();
        let mut body = |key| {
            let value = table.value(key)?;
            let template = template(&all, Form::Body, &value, findings)?;
            for place in text.must().iter().filter(|place| !template.has(place)) {
                let (path, place) = (value.path(), place.as_str());
                let message = format!("`{path}` needs the placeholder {{{place}}}");
                findings.push(value.error(message));
            }
            Some(template)
        };
        if let Some(template) = body("text") {
            self.text = template;
        }
        if let Some(template) = body("mail") {
            self.mail = Some(template);
        }
        if let Some(value) = table.value("subject") {
            let shown = all.into_iter().filter(|place| !is_secret(*place));
            let shown: Vec<Place> = shown.collect();
            if let Some(template) = template(&shown, Form::Subject, &value, findings) {
                self.subject = Some(template);
            }
        }
        table.finish(findings);
    }
}

/// What a text is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Body,
    Subject,
}

fn template(
    known: &[Place],
    form: Form,
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<Template> {
    let text = value.text(findings)?.text;
    let longest = match form {
        Form::Body => LONGEST,
        Form::Subject => SUBJECT,
    };
    if text.trim().is_empty() || text.chars().count() > longest {
        let message = format!("`{}` has 1 to {longest} characters", value.path());
        findings.push(value.error(message));
    }
    let signs = match form {
        Form::Subject if text.contains(char::is_control) => Some("is one line"),
        Form::Body if text.contains(|sign: char| sign.is_control() && sign != '\n') => {
            Some("has control characters")
        }
        _ => None,
    };
    if let Some(fault) = signs {
        findings.push(value.error(format!("`{}` {fault}", value.path())));
    }
    let parsed = parse(text, known);
    findings.take(parsed.map_err(|message| value.error(message)))
}

const fn is_secret(place: Place) -> bool {
    matches!(place, Place::Code | Place::Freeze | Place::Link)
}

/// Most characters of a text, before its places are filled: some text messages' worth.
const LONGEST: usize = 2000;
/// Most characters of a subject; mail programs cut longer ones.
const SUBJECT: usize = 100;

#[cfg(test)]
mod tests;

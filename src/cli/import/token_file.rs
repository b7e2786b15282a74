//! `oncegate token import`: files of other systems and vendors, and CSV of one's own.

use std::path::Path;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::import::rows::SHOWN;
use crate::cli::import::send::{finding, refused};
use crate::cli::import::{Import, Make, Origin, Source};
use crate::cli::input;
use crate::cli::input::Ask;
use crate::cli::output;
use crate::csv::{Fault, quoted};
use crate::otp::Period;
use crate::otpauth::encode_base32;
use crate::time::{Clock as _, SystemClock};
use crate::token_file;
use crate::token_file::{
    Caution, FORMATS, Format, Found, Knows, Moves, Remedy, Said, Tokens, read, xml_root,
};

#[derive(Debug, Args)]
pub(crate) struct TokenImport {
    #[command(flatten)]
    import: Import,
    /// Format of the file
    #[arg(long, value_name = "NAME", default_value = AUTO, value_parser = format_parser())]
    format: Wanted,
    /// Read the pre-shared key (hex or base64) or the password of a PSKC file, one line on stdin
    #[arg(long)]
    key_stdin: bool,
    /// Whose token it is, where the file holds one and does not say it [default: the directory of a
    /// `.google_authenticator` file]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Where two users share a device: let the token that one of them has count for the other, too, instead of
    /// refusing its key
    #[arg(long)]
    link: bool,
    /// How long a code lasts, where the file does not say it: 30 or 60 seconds
    #[arg(long, value_name = "SECONDS", value_parser = period)]
    period: Option<Period>,
}

/// What to read the file as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    /// What it is.
    Auto,
    /// One's own CSV.
    Csv,
    /// This.
    Format(Format),
}

fn format_parser() -> impl TypedValueParser<Value = Wanted> {
    let names = [AUTO, CSV]
        .into_iter()
        .chain(FORMATS.iter().map(|(_, name)| *name));
    let names: Vec<PossibleValue> = names.map(PossibleValue::new).collect();
    PossibleValuesParser::new(names).map(|name| {
        let mut formats = FORMATS.iter();
        let found = formats.find(|(_, known)| *known == name);
        match found {
            Some((format, _)) => Wanted::Format(*format),
            None if name == CSV => Wanted::Csv,
            None => Wanted::Auto,
        }
    })
}

fn period(text: &str) -> Result<Period, String> {
    let period = text.parse().ok().and_then(Period::new);
    period.ok_or_else(|| "15 to 300 seconds".to_owned())
}

impl TokenImport {
    /// Of a file that says itself all that is to be known of it.
    pub(super) fn of(import: Import) -> Self {
        Self {
            import,
            format: Wanted::Auto,
            key_stdin: false,
            user: None,
            link: false,
            period: None,
        }
    }

    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if self.key_stdin && self.import.file == Path::new("-") {
            return Err(CliError::usage("stdin cannot be both the file and its key")
                .remedy("name the file: oncegate token import FILE --key-stdin"));
        }
        let text = self.import.text()?;
        self.import_text(&text, context).await
    }

    /// Imports the text of the file.
    pub(super) async fn import_text(
        mut self,
        text: &[u8],
        context: &Context,
    ) -> Result<Exit, CliError> {
        self.import.link = self.link;
        let (import, name) = (&self.import, self.import.name());
        let utf8 = std::str::from_utf8(text);
        let utf8 = utf8.map_err(|_| CliError::usage(format!("{name}: the text cannot be read")))?;
        let format = match self.format {
            Wanted::Auto => known(&name, utf8)?,
            Wanted::Csv => None,
            Wanted::Format(format) => Some(format),
        };
        let Some(format) = format else {
            let source = Source::new(text);
            return import.rows(source, Make::Tokens, context).await;
        };
        context.out.note(&format!("Format: {}", format.name()));
        let ask = Ask::once("key or password of the file");
        let said = Said {
            user: self.user.clone().or_else(|| user_of(&import.file)),
            period: self.period,
            key: input::given_secret(None, self.key_stdin, ask)?,
            now: SystemClock.now(),
        };
        let mut tokens = read(utf8, format, &said).map_err(|fault| {
            let place = fault_of(&fault);
            CliError::usage(format!(
                "{name}: the file cannot be read as {}",
                format.name()
            ))
            .findings(vec![finding(&name, &place)])
            .remedy(format!("{}; nothing was imported", words(fault.remedy)))
        })?;
        let faults = sorted(std::mem::take(&mut tokens.faults));
        notes(&tokens, context);
        if !faults.is_empty() && (!import.skip_bad || tokens.found.is_empty()) {
            return Err(bad(&name, &faults));
        }
        for fault in &faults {
            let (line, what) = (fault.line, fault_of(fault).told());
            context
                .out
                .note(&format!("Left out: {name}:{line}: {what}"));
        }
        self.import.unread = faults.len() as u64;
        self.import.cautions = cautions(&tokens);
        let (text, origins) = rows(&tokens);
        let source = Source {
            text: text.as_bytes(),
            origins: &origins,
        };
        self.import.rows(source, Make::Tokens, context).await
    }
}

/// What a reader should know of the tokens beside what becomes of them.
fn notes(tokens: &Tokens, context: &Context) {
    let owned = tokens.found.iter().filter(|token| token.user.is_some());
    let known = owned.filter(|token| token.knows != Knows::default());
    let known = known.count() as u64;
    if known > 0 {
        let what = output::count(known, "token");
        context.out.note(&format!(
            "With the PIN or password of the owner, who keeps an own one: {what}"
        ));
    }
    let unknown = tokens.unknown_hashes;
    if unknown > 0 {
        context.out.note(&format!(
            "PINs and passwords left out, since their hashes are of no known form: {unknown}"
        ));
    }
    let stock = tokens.found.iter().filter(|token| token.user.is_none());
    let stock = stock.count() as u64;
    if stock > 0 {
        let what = output::count(stock, "token");
        context.out.note(&format!(
            "Into stock, since the file names no owner: {what}"
        ));
    }
}

/// What the file says of its tokens that is not taken over, one sentence for each kind.
fn cautions(tokens: &Tokens) -> Vec<String> {
    let kinds = [
        Caution::Drift,
        Caution::Ends,
        Caution::Pin,
        Caution::Password,
    ];
    let sentences = kinds.into_iter().filter_map(|kind| {
        let these = tokens.cautions.iter().filter(|(_, one)| *one == kind);
        let these = these.filter_map(|(place, _)| tokens.found.get(*place));
        let these: Vec<&Found> = these.collect();
        let (count, first) = (these.len(), these.first()?);
        let (what, next) = match kind {
            Caution::Drift => (
                "tokens with a clock that is off, which is not taken over",
                "where a code is refused, resync the token by two codes: oncegate token resync SERIAL",
            ),
            Caution::Ends => (
                "tokens with an end, which is not taken over",
                "revoke them when it has come: oncegate token revoke SERIAL",
            ),
            Caution::Pin => (
                "PINs in the file, which are not taken over",
                "have them set anew: oncegate user set NAME --pin-stdin",
            ),
            Caution::Password => (
                "passwords in the file, which are not taken over",
                "have them set anew: oncegate user set NAME --password-stdin",
            ),
        };
        let (line, which) = (first.line, first.which());
        Some(format!(
            "{what}: {count}, the first of them in line {line} ({which}); {next}"
        ))
    });
    sentences.collect()
}

/// What to do about a file of a format that is not read.
const OTHERWISE: &str = "export it in a format that the help of this command names, or write a CSV file of it: \
                         user,kind,secret";

/// What to do about XML of multiOTP: it imports tokens from other files.
const MULTIOTP: &str = "give the file that was imported there: CSV \
                        (serial;manufacturer;algorithm;seed;digits;interval), PSKC or SafeNet's XML";

/// The format of a text; `None`: CSV of one's own.
fn known(name: &str, text: &str) -> Result<Option<Format>, CliError> {
    let format = Format::of(text);
    if format.is_some() {
        return Ok(format);
    }
    let (what, next) = match text.trim_start_matches('\u{feff}').trim_start() {
        text if text.starts_with(['{', '[']) => {
            match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Err(error) => (
                    format!("JSON that is cut off or damaged in line {}", error.line()),
                    "export it again",
                ),
                Ok(_) => (
                    "JSON, and no export of Aegis, 2FAS, FreeOTP+ or Keycloak".to_owned(),
                    OTHERWISE,
                ),
            }
        }
        text if text.starts_with('<') => match xml_root(text) {
            Some(root) if root.eq_ignore_ascii_case("multiOTP") => (
                "XML of multiOTP's own, which is not read".to_owned(),
                MULTIOTP,
            ),
            _ => ("XML, and neither PSKC nor SafeNet's".to_owned(), OTHERWISE),
        },
        // Fernet, as privacyIDEA encrypts what it exports for another privacyIDEA.
        text if text.starts_with("gAAAA") => (
            "an encrypted export of privacyIDEA; it also exports YAML, PSKC and CSV".to_owned(),
            OTHERWISE,
        ),
        _ => return Ok(None),
    };
    Err(CliError::usage(format!("{name}: {what}")).remedy(format!("{next}; nothing was imported")))
}

/// What to do about a file, or a token in it, that cannot be read.
const fn words(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Correct => "correct the file, or leave these tokens out: --skip-bad",
        Remedy::NameFormat => "name its format: --format NAME",
        Remedy::NameOwner => "say it: --user NAME",
        Remedy::NamePeriod => "say it: --period 30 or --period 60",
        Remedy::GiveKey => "give the key or password: --key-stdin",
        Remedy::GiveRightKey => "give the right key or password: --key-stdin",
        Remedy::ExportAgain => "export it again",
        Remedy::ExportPlain => "export it without a password",
        Remedy::ExportOtherwise => OTHERWISE,
        Remedy::OtherFile => {
            "see that it is the whole file of tokens, or name its format: --format NAME"
        }
        Remedy::DropDtd => "take the DOCTYPE out of the file",
        Remedy::LeaveOut => {
            "leave these tokens out: --skip-bad, or change them where they come from and export again"
        }
    }
}

/// Tokens of a file that cannot be read. Where all of them want the same, that is what is advised.
fn bad(name: &str, faults: &[token_file::Fault]) -> CliError {
    let mut remedies = faults.iter().map(|fault| fault.remedy);
    let first = remedies.next().unwrap_or_default();
    let remedy = if remedies.all(|other| other == first) {
        first
    } else {
        Remedy::Correct
    };
    let count = faults.len() as u64;
    let shown: Vec<Fault> = faults.iter().take(SHOWN).map(fault_of).collect();
    refused(name, count, &shown, Exit::Usage)
        .remedy(format!("{}; nothing was imported", words(remedy)))
}

/// With the token that it is about: a line may hold several.
fn fault_of(fault: &token_file::Fault) -> Fault {
    Fault {
        token: fault.which(),
        ..Fault::new(fault.line as u64, fault.what.as_str())
    }
}

/// In the order of the file.
fn sorted(mut faults: Vec<token_file::Fault>) -> Vec<token_file::Fault> {
    faults.sort_by_key(|fault| fault.line);
    faults
}

/// The tokens as CSV of one's own, and where each comes from.
fn rows(tokens: &Tokens) -> (Zeroizing<String>, Vec<Origin>) {
    // Allocated once: a string that grows leaves copies of keys behind.
    let names = tokens.found.iter().flat_map(|token| &token.user);
    let names: usize = names.map(String::len).sum();
    let known = |token: &Found| {
        let known = [&token.knows.pin, &token.knows.password]
            .into_iter()
            .flatten();
        known.map(|hash| hash.expose().len() + 2).sum::<usize>()
    };
    let hashes: usize = tokens.found.iter().map(known).sum();
    let length = 96 + 2 * names + hashes + 512 * tokens.found.len();
    let mut text = Zeroizing::new(String::with_capacity(length));
    text.push_str(
        "user,serial,kind,algorithm,digits,period,counter,pin_hash,password_hash,secret\n",
    );
    let mut origins = Vec::with_capacity(tokens.found.len());
    for token in &tokens.found {
        let user = quoted(token.user.as_deref().unwrap_or_default());
        let serial = token.serial.as_deref().unwrap_or_default();
        let (algorithm, digits) = (token.algorithm.as_str(), token.digits.get());
        let (key, factor) = (token.key.expose(), token.moving_factor);
        push!(text, "{user},{serial},");
        match factor {
            Moves::Time(period) => {
                push!(text, "totp,{algorithm},{digits},{},,", period.as_secs());
            }
            Moves::Counter(counter) => push!(text, "hotp,{algorithm},{digits},,{counter},"),
            Moves::Presses => text.push_str("yubikey,,,,,"),
        }
        for hash in [&token.knows.pin, &token.knows.password] {
            if let Some(hash) = hash {
                push!(text, "\"{}\"", hash.expose());
            }
            text.push(',');
        }
        if factor == Moves::Presses {
            HEXLOWER.encode_append(key, &mut text);
        } else {
            text.push_str(encode_base32(key).expose());
        }
        text.push('\n');
        origins.push(Origin {
            line: token.line as u64,
            which: token.which(),
        });
    }
    (text, origins)
}

/// Whose `~/.google_authenticator` it is.
fn user_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    if let Some(user) = name.strip_prefix("google_authenticator_") {
        return Some(user.to_owned());
    }
    let directory = path.parent()?.file_name()?.to_str()?;
    (name == ".google_authenticator").then(|| directory.to_owned())
}

const AUTO: &str = "auto";
const CSV: &str = "csv";

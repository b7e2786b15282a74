//! Formats in JSON: exports of authenticators and of Keycloak.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::secret::{SecretBytes, SecretString};
use crate::token_file::{
    Fault, Format, Found, Knows, Lines, Parts, Remedy, Tokens, base32_key, key,
};

pub(super) fn format(text: &str) -> Option<Format> {
    let value: Value = serde_json::from_str(text).ok()?;
    let has = |name: &str| value.get(name).is_some();
    if has("db") && has("header") {
        Some(Format::Aegis)
    } else if has("services") || has("servicesEncrypted") {
        Some(Format::TwoFas)
    } else if has("tokens") {
        Some(Format::FreeOtp)
    } else if has("users")
        || value
            .get(0)
            .is_some_and(|realm| realm.get("users").is_some())
    {
        Some(Format::Keycloak)
    } else {
        None
    }
}

fn parse<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, Fault> {
    // The error of the library may quote a value.
    serde_json::from_str(text)
        .map_err(|error| Fault::new(error.line(), Remedy::NameFormat.of(format!("not {what}"))))
}

/// Where the `count`th occurrence of a name in quotes stands: entries have no line of their own.
fn lines_of(text: &str, name: &str) -> impl Iterator<Item = usize> {
    let quoted = format!("\"{name}\"");
    let lines = Lines::of(text);
    let places: Vec<usize> = text
        .match_indices(&quoted)
        .map(|(at, _)| lines.at(at))
        .collect();
    places.into_iter().chain(std::iter::repeat(1))
}

/// A number, written as one or as text.
fn text_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Aegis {
    db: AegisDb,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AegisDb {
    Plain {
        entries: Vec<AegisEntry>,
    },
    /// Base64.
    Encrypted(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct AegisEntry {
    r#type: String,
    name: String,
    info: AegisInfo,
}

#[derive(Deserialize)]
struct AegisInfo {
    #[serde(default)]
    secret: SecretString,
    algo: Option<String>,
    digits: Option<Value>,
    period: Option<Value>,
    counter: Option<Value>,
}

pub(super) fn aegis(text: &str) -> Result<Tokens, Fault> {
    let file: Aegis = parse(text, "an export of Aegis")?;
    let entries = match file.db {
        AegisDb::Plain { entries } => entries,
        AegisDb::Encrypted(_) => {
            return Err(Fault::new(1, Remedy::ExportPlain.of(ENCRYPTED)));
        }
    };
    let mut tokens = Tokens::default();
    for (entry, line) in entries.iter().zip(lines_of(text, "info")) {
        let info = &entry.info;
        let (digits, period) = (text_of(info.digits.as_ref()), text_of(info.period.as_ref()));
        let counter = text_of(info.counter.as_ref());
        let parts = Parts {
            user: Some(&entry.name),
            kind: &entry.r#type,
            algorithm: info.algo.as_deref(),
            digits: digits.as_deref(),
            period: period.as_deref(),
            counter: counter.as_deref(),
            ..Parts::default()
        };
        tokens.add(parts.found(line, base32_key(info.secret.expose())));
    }
    Ok(tokens)
}

#[derive(Deserialize)]
struct TwoFas {
    #[serde(default)]
    services: Vec<TwoFasService>,
    #[serde(rename = "servicesEncrypted")]
    encrypted: Option<String>,
}

#[derive(Deserialize)]
struct TwoFasService {
    name: Option<String>,
    secret: SecretString,
    #[serde(default)]
    otp: Value,
}

pub(super) fn two_fas(text: &str) -> Result<Tokens, Fault> {
    let file: TwoFas = parse(text, "an export of 2FAS")?;
    if file.encrypted.is_some_and(|text| !text.is_empty()) {
        return Err(Fault::new(1, Remedy::ExportPlain.of(ENCRYPTED)));
    }
    let mut tokens = Tokens::default();
    for (service, line) in file.services.iter().zip(lines_of(text, "secret")) {
        let part = |name: &str| text_of(service.otp.get(name)).filter(|text| !text.is_empty());
        let user = part("account")
            .or_else(|| part("label"))
            .or_else(|| service.name.clone());
        let kind = part("tokenType").unwrap_or_else(|| "totp".to_owned());
        let (digits, period, counter) = (part("digits"), part("period"), part("counter"));
        let algorithm = part("algorithm");
        let parts = Parts {
            user: user.as_deref(),
            kind: &kind,
            algorithm: algorithm.as_deref(),
            digits: digits.as_deref(),
            period: period.as_deref(),
            counter: counter.as_deref(),
            ..Parts::default()
        };
        tokens.add(parts.found(line, base32_key(service.secret.expose())));
    }
    Ok(tokens)
}

#[derive(Deserialize)]
struct FreeOtp {
    tokens: Vec<FreeOtpToken>,
}

#[derive(Deserialize)]
struct FreeOtpToken {
    label: Option<String>,
    r#type: String,
    algo: Option<String>,
    digits: Option<u8>,
    period: Option<u32>,
    counter: Option<u64>,
    /// Octets, which the app writes with a sign.
    secret: Vec<i16>,
}

pub(super) fn free_otp(text: &str) -> Result<Tokens, Fault> {
    let file: FreeOtp = parse(text, "an export of FreeOTP+")?;
    let mut tokens = Tokens::default();
    for (token, line) in file.tokens.into_iter().zip(lines_of(text, "secret")) {
        let secret = Zeroizing::new(token.secret);
        let octet = |octet: &i16| u8::try_from(octet.rem_euclid(256)).unwrap_or_default();
        let octets: Vec<u8> = secret.iter().map(octet).collect();
        let text = |number: Option<u64>| number.map(|number| number.to_string());
        let digits = text(token.digits.map(u64::from));
        let (period, counter) = (text(token.period.map(u64::from)), text(token.counter));
        let parts = Parts {
            user: token.label.as_deref(),
            kind: &token.r#type,
            algorithm: token.algo.as_deref(),
            digits: digits.as_deref(),
            period: period.as_deref(),
            counter: counter.as_deref(),
            ..Parts::default()
        };
        tokens.add(parts.found(line, key(SecretBytes::new(octets))));
    }
    Ok(tokens)
}

#[derive(Deserialize)]
struct KeycloakRealm {
    #[serde(default)]
    users: Vec<KeycloakUser>,
}

/// One realm, or all of a server.
#[derive(Deserialize)]
#[serde(untagged)]
enum Keycloak {
    One(KeycloakRealm),
    All(Vec<KeycloakRealm>),
}

#[derive(Deserialize)]
struct KeycloakUser {
    username: String,
    enabled: Option<bool>,
    #[serde(default)]
    credentials: Vec<KeycloakCredential>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeycloakCredential {
    r#type: String,
    secret_data: Option<SecretString>,
    credential_data: Option<String>,
}

impl KeycloakCredential {
    /// JSON in JSON.
    fn secret(&self) -> Option<KeycloakSecret> {
        serde_json::from_str(self.secret_data.as_ref()?.expose()).ok()
    }

    /// The same of what is no secret.
    fn data(&self) -> Option<Value> {
        serde_json::from_str(self.credential_data.as_deref()?).ok()
    }
}

#[derive(Default, Deserialize)]
struct KeycloakSecret {
    #[serde(default)]
    value: SecretString,
    salt: Option<String>,
}

/// Credentials of type `otp`, and hashes of passwords.
pub(super) fn keycloak(text: &str) -> Result<Tokens, Fault> {
    let realms = match parse(text, "a realm export of Keycloak")? {
        Keycloak::One(realm) => vec![realm],
        Keycloak::All(realms) => realms,
    };
    let mut tokens = Tokens::default();
    let mut lines = lines_of(text, "credentialData");
    for user in realms.iter().flat_map(|realm| &realm.users) {
        let password = user.credentials.iter().find_map(password_of);
        let mut password = tokens.hash(password.as_deref());
        for credential in &user.credentials {
            let line = if credential.credential_data.is_some() {
                lines.next().unwrap_or(1)
            } else {
                1
            };
            if credential.r#type != "otp" {
                continue;
            }
            if user.enabled == Some(false) {
                let what = "the user of the token is disabled there";
                let fault = Fault::new(line, Remedy::LeaveOut.of(what));
                tokens.add(Err(fault.named(None, Some(&user.username))));
                continue;
            }
            let secret = credential.secret().unwrap_or_default();
            let data = credential.data().unwrap_or_default();
            let part = |name: &str| text_of(data.get(name));
            let (digits, period, counter) = (part("digits"), part("period"), part("counter"));
            let (algorithm, kind) = (part("algorithm"), part("subType").unwrap_or_default());
            let value = secret.value.expose();
            // Without an encoding the octets of the text are the key.
            let key = match part("secretEncoding").as_deref() {
                Some("BASE32") => base32_key(value),
                None => key(SecretBytes::from(value.as_bytes())),
                Some(_) => Err("secretEncoding: BASE32 or none".to_owned()),
            };
            let parts = Parts {
                user: Some(&user.username),
                kind: &kind,
                algorithm: algorithm.as_deref(),
                digits: digits.as_deref(),
                period: period.as_deref(),
                counter: counter.as_deref(),
                ..Parts::default()
            };
            let found = parts.found(line, key);
            tokens.add(found.map(|found| Found {
                knows: Knows {
                    // With the first token of the user.
                    password: password.take(),
                    ..Knows::default()
                },
                ..found
            }));
        }
    }
    Ok(tokens)
}

/// A password's hash as PHC: PBKDF2, or argon2id (the default since Keycloak 24).
fn password_of(credential: &KeycloakCredential) -> Option<String> {
    if credential.r#type != "password" {
        return None;
    }
    let (secret, data) = (credential.secret()?, credential.data()?);
    let tag = secret.value.expose().trim_end_matches('=');
    let salt = secret.salt?;
    let salt = salt.trim_end_matches('=');
    let iterations = data.get("hashIterations")?.as_u64()?;
    match data.get("algorithm")?.as_str()? {
        scheme @ ("pbkdf2-sha256" | "pbkdf2-sha512") => {
            Some(format!("${scheme}$i={iterations}${salt}${tag}"))
        }
        "argon2" => {
            let more = |name: &str| {
                let values = data.get("additionalParameters")?.get(name)?;
                values.get(0)?.as_str().map(str::to_owned)
            };
            let known = more("type")? == "id" && more("version")? == "1.3";
            let (memory, lanes) = (more("memory")?, more("parallelism")?);
            known
                .then(|| format!("$argon2id$v=19$m={memory},t={iterations},p={lanes}${salt}${tag}"))
        }
        other => Some(other.to_owned()),
    }
}

const ENCRYPTED: &str = "the export is encrypted";

//! PSKC (RFC 6030): plain values, a pre-shared key, or a password by PBKDF2 (RFC 8018).
//!
//! Invariant: the MAC of an encrypted value is checked before it is decrypted (RFC 6030 s6.1.1); one without a MAC
//! is refused. A key whose Policy does not let it make one-time passwords now, or says what is not known, is refused
//! (RFC 6030 s5).

use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use hmac::{Hmac, KeyInit as _, Mac as _};
use roxmltree::Node;
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::{OtpKey, SecretBytes, SecretString};
use crate::time::UnixTime;
use crate::token_file::xml::{attribute, child, children, document, line, text};
use crate::token_file::{
    Caution, Fault, Found, Lines, Moves, Parts, Remedy, Said, Tokens, Wrong, ends, is_off,
    is_some_drift, key,
};

pub(super) fn read(source: &str, said: &Said) -> Result<Tokens, Fault> {
    let document = document(source)?;
    let (container, lines) = (document.root_element(), Lines::of(source));
    // The drafts before RFC 6030 have the same container.
    if let Some(device) = children(container, "Device").next() {
        let what = "a draft of PSKC (Device, not KeyPackage), which is not read: only RFC 6030 is";
        let number = line(device, &lines);
        return Err(Fault::new(number, Remedy::ExportOtherwise.of(what)));
    }
    let opening = opening(container, said, &lines)?;
    let mut tokens = Tokens::default();
    for package in children(container, "KeyPackage") {
        let found = child(package, &["Key"]);
        let (serial, user) = (serial(package, found), user(package, found));
        let Some(found) = found else {
            let fault = Fault::new(line(package, &lines), "the package has no Key");
            tokens.add(Err(fault.named(serial, user)));
            continue;
        };
        let ends = match allowed((package, found), &lines, said.now) {
            Ok(ends) => ends,
            Err(fault) => {
                tokens.add(Err(fault.named(serial, user)));
                continue;
            }
        };
        let number = line(found, &lines);
        let token = token((serial, user), (found, number), opening.as_ref());
        let token = token.map_err(|fault| fault.named(serial, user));
        let drift = text(found, &["Data", "TimeDrift", "PlainValue"]);
        let drifts = matches!((&token, drift), (Ok(token), Some(drift)) if drifts(token, drift));
        let cautions = [
            ends.then_some(Caution::Ends),
            drifts.then_some(Caution::Drift),
        ];
        tokens.add_with(token, cautions);
    }
    Ok(tokens)
}

fn serial<'a>(package: Node<'a, '_>, key: Option<Node<'a, '_>>) -> Option<&'a str> {
    let device = text(package, &["DeviceInfo", "SerialNo"]);
    device.or_else(|| attribute(key?, "Id"))
}

/// Whose key it is. `UID=alice,DC=example`: the first name.
fn user<'a>(package: Node<'a, '_>, key: Option<Node<'a, '_>>) -> Option<&'a str> {
    let user = key.and_then(|key| text(key, &["UserId"]));
    let user = user.or_else(|| text(package, &["DeviceInfo", "UserId"]))?;
    let named = user.split_once('=');
    Some(named.map_or(user, |(_, rest)| rest.split(',').next().unwrap_or(rest)))
}

/// Whether the key ends some day; or why it makes no one-time passwords now, by its Policy and the dates of its device.
fn allowed(
    (package, found): (Node<'_, '_>, Node<'_, '_>),
    lines: &Lines,
    now: UnixTime,
) -> Result<bool, Fault> {
    let mut ends = false;
    for device in children(package, "DeviceInfo") {
        for name in ["StartDate", "ExpiryDate"] {
            for date in children(device, name) {
                ends |= dated(date, lines, now)?;
            }
        }
    }
    for policy in children(found, "Policy") {
        let (mut for_codes, mut other_use) = (false, None);
        for rule in policy.children().filter(Node::is_element) {
            let number = line(rule, lines);
            let fault = |what: &str| Err(Fault::new(number, Remedy::LeaveOut.of(what)));
            match rule.tag_name().name().to_ascii_lowercase().as_str() {
                "startdate" | "expirydate" => ends |= dated(rule, lines, now)?,
                "keyusage" => {
                    let usage = rule.text().unwrap_or_default().trim();
                    if usage.eq_ignore_ascii_case("OTP") {
                        for_codes = true;
                    } else {
                        other_use = other_use.or(Some(number));
                    }
                }
                // A PIN of the device itself is no matter of the server.
                "pinpolicy" => match attribute(rule, "PINUsageMode") {
                    None => {}
                    Some(mode) if mode.eq_ignore_ascii_case("Local") => {}
                    Some(_) => return fault("Policy: the codes have a PIN of the device in them"),
                },
                "numberoftransactions" => {
                    return fault("Policy: the key is for a number of logins only");
                }
                _ => return fault("Policy: a rule that is not known; the key is not for use"),
            }
        }
        if let Some(number) = other_use.filter(|_| !for_codes) {
            let what = "Policy: the key is not for one-time passwords (KeyUsage)";
            return Err(Fault::new(number, Remedy::LeaveOut.of(what)));
        }
    }
    Ok(ends)
}

/// Whether this `StartDate` or `ExpiryDate` ends the key some day; or why the key is not for use.
fn dated(date: Node<'_, '_>, lines: &Lines, now: UnixTime) -> Result<bool, Fault> {
    let is_end = date.tag_name().name().eq_ignore_ascii_case("ExpiryDate");
    let text = date.text();
    let ends = if is_end {
        ends(None, text, now)
    } else {
        ends(text, None, now)
    };
    ends.map_err(|wrong| Fault::new(line(date, lines), wrong))
}

/// Whether a clock is off: by steps, or as privacyIDEA writes it, by seconds with a decimal point.
fn drifts(token: &Found, drift: &str) -> bool {
    if drift.contains('.') {
        return is_off(token, drift);
    }
    matches!(token.moving_factor, Moves::Time(_)) && is_some_drift(drift)
}

fn token(
    (serial, user): (Option<&str>, Option<&str>),
    (found, number): (Node<'_, '_>, usize),
    opening: Option<&Opening>,
) -> Result<Found, Fault> {
    let algorithm = attribute(found, "Algorithm").unwrap_or_default();
    let kind = algorithm.rsplit([':', '#']).next().unwrap_or_default();
    let suite = child(found, &["AlgorithmParameters", "Suite"]);
    let suite = suite.and_then(|suite| {
        let text = suite.text().map(str::trim).filter(|text| !text.is_empty());
        text.or_else(|| attribute(suite, "HashAlgo"))
    });
    let format = child(found, &["AlgorithmParameters", "ResponseFormat"]);
    let encoding = format.and_then(|format| attribute(format, "Encoding"));
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("DECIMAL")) {
        return Err(Fault::new(number, "the codes are not decimal"));
    }
    let value = |name| text(found, &["Data", name, "PlainValue"]);
    let parts = Parts {
        user,
        serial,
        kind,
        algorithm: suite,
        digits: format.and_then(|format| attribute(format, "Length")),
        period: value("TimeInterval"),
        counter: value("Counter"),
    };
    parts.found(number, secret(found, opening))
}

fn secret(found: Node<'_, '_>, opening: Option<&Opening>) -> Result<OtpKey, Wrong> {
    let secret = child(found, &["Data", "Secret"]).ok_or("the key has no Secret")?;
    if let Some(plain) = text(secret, &["PlainValue"]) {
        return Ok(key(SecretBytes::new(
            base64(plain).ok_or("secret: not base64")?,
        ))?);
    }
    let encrypted = child(secret, &["EncryptedValue"]).ok_or("the Secret has no value")?;
    let opening =
        opening.ok_or("the value is encrypted, and the file does not say with which key")?;
    let mac = text(secret, &["ValueMAC"]).and_then(base64);
    Ok(key(opening.open(encrypted, mac.as_deref())?)?)
}

/// What opens the encrypted values of a file.
struct Opening {
    key: Zeroizing<Vec<u8>>,
    mac: Option<(Hash, SecretBytes)>,
}

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha256,
}

/// `None`: the file names no key, as everything in it is plain.
fn opening(container: Node<'_, '_>, said: &Said, lines: &Lines) -> Result<Option<Opening>, Fault> {
    let Some(encryption) = child(container, &["EncryptionKey"]) else {
        return Ok(None);
    };
    let fault = |remedy: Remedy, what: &str| Fault::new(line(encryption, lines), remedy.of(what));
    let given = said.key.as_ref();
    let needed = |what: &str| given.ok_or_else(|| fault(Remedy::GiveKey, what));
    let derived = child(encryption, &["DerivedKey", "KeyDerivationMethod"]);
    let key = match derived {
        Some(method) => {
            let password = needed("the file is encrypted with a password")?;
            derive(method, password).map_err(|what| fault(Remedy::Correct, &what))?
        }
        None => {
            let given = needed("the file is encrypted with a pre-shared key")?;
            let what = "the pre-shared key is not 16, 24 or 32 octets in hex or base64";
            shared(given.expose()).ok_or_else(|| fault(Remedy::GiveRightKey, what))?
        }
    };
    let mut opening = Opening { key, mac: None };
    if let Some(method) = child(container, &["MACMethod"]) {
        let fault = |what: &str| Fault::new(line(method, lines), what);
        let hash = match algorithm_of(method) {
            "hmac-sha1" => Hash::Sha1,
            "hmac-sha256" => Hash::Sha256,
            _ => return Err(fault("the MAC is not HMAC-SHA1 or HMAC-SHA256")),
        };
        let mac_key = match child(method, &["MACKey"]) {
            // It has no MAC of its own: with a wrong key it is wrong, and so is every MAC.
            Some(wrapped) => {
                let wrong = |_| Fault::new(line(method, lines), Remedy::GiveRightKey.of(NO_FIT));
                opening.decrypt(wrapped).map_err(wrong)?
            }
            None => SecretBytes::from(opening.key.as_slice()),
        };
        opening.mac = Some((hash, mac_key));
    }
    Ok(Some(opening))
}

impl Opening {
    fn open(&self, encrypted: Node<'_, '_>, mac: Option<&[u8]>) -> Result<SecretBytes, Wrong> {
        let (Some((hash, key)), Some(mac)) = (&self.mac, mac) else {
            return Err("the encrypted value has no MAC".into());
        };
        let octets = cipher_value(encrypted)?;
        let right = match hash {
            Hash::Sha1 => Hmac::<Sha1>::new_from_slice(key.expose())
                .is_ok_and(|hmac| hmac.chain_update(&octets).verify_slice(mac).is_ok()),
            Hash::Sha256 => Hmac::<Sha256>::new_from_slice(key.expose())
                .is_ok_and(|hmac| hmac.chain_update(&octets).verify_slice(mac).is_ok()),
        };
        if !right {
            let what = "the MAC is wrong: another key or password, or the file was changed";
            return Err(Remedy::GiveRightKey.of(what));
        }
        self.decrypt(encrypted)
    }

    /// AES-CBC: 16 octets of initialisation vector, then the text.
    fn decrypt(&self, encrypted: Node<'_, '_>) -> Result<SecretBytes, Wrong> {
        let method = child(encrypted, &["EncryptionMethod"]).map_or("", algorithm_of);
        let length = match method {
            "aes128-cbc" => 16,
            "aes192-cbc" => 24,
            "aes256-cbc" => 32,
            _ => return Err("the encryption is not AES-CBC".into()),
        };
        if self.key.len() != length {
            let what = format!("the encryption takes a key of {length} octets");
            return Err(Remedy::GiveRightKey.of(what));
        }
        let octets = cipher_value(encrypted)?;
        let (iv, sealed) = octets
            .split_at_checked(16)
            .ok_or("the encrypted value is too short")?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let plain = match length {
            16 => cbc::Decryptor::<aes::Aes128>::new_from_slices(&self.key, iv)
                .ok()
                .and_then(|cipher| cipher.decrypt_padded::<Pkcs7>(&mut buffer).ok()),
            24 => cbc::Decryptor::<aes::Aes192>::new_from_slices(&self.key, iv)
                .ok()
                .and_then(|cipher| cipher.decrypt_padded::<Pkcs7>(&mut buffer).ok()),
            _ => cbc::Decryptor::<aes::Aes256>::new_from_slices(&self.key, iv)
                .ok()
                .and_then(|cipher| cipher.decrypt_padded::<Pkcs7>(&mut buffer).ok()),
        };
        let plain = plain.ok_or_else(|| Remedy::GiveRightKey.of(NO_FIT))?;
        Ok(SecretBytes::from(plain))
    }
}

fn cipher_value(encrypted: Node<'_, '_>) -> Result<Vec<u8>, String> {
    let value = text(encrypted, &["CipherData", "CipherValue"]);
    let octets = value.and_then(base64);
    octets.ok_or_else(|| "the encrypted value is not base64".to_owned())
}

/// What follows the `#` of an Algorithm.
fn algorithm_of<'a>(node: Node<'a, '_>) -> &'a str {
    let algorithm = attribute(node, "Algorithm").unwrap_or_default();
    algorithm.rsplit('#').next().unwrap_or_default()
}

/// 16, 24 or 32 octets, in hex or base64.
fn shared(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim();
    let hex = data_encoding::HEXUPPER_PERMISSIVE
        .decode(text.as_bytes())
        .ok();
    let fits = |key: &Vec<u8>| matches!(key.len(), 16 | 24 | 32);
    let key = hex.filter(fits).or_else(|| base64(text).filter(fits))?;
    Some(Zeroizing::new(key))
}

fn derive(method: Node<'_, '_>, password: &SecretString) -> Result<Zeroizing<Vec<u8>>, String> {
    if algorithm_of(method) != "pbkdf2" {
        return Err("the key is not derived by PBKDF2".to_owned());
    }
    let parameters = child(method, &["PBKDF2-params"]).ok_or("PBKDF2 has no parameters")?;
    let salt = text(parameters, &["Salt", "Specified"]).and_then(base64);
    let salt = salt.ok_or("PBKDF2 has no salt")?;
    let count = text(parameters, &["IterationCount"]).and_then(|count| count.parse().ok());
    let count = count.filter(|count| (1..=MAX_COUNT).contains(count));
    let count = count.ok_or_else(|| format!("IterationCount: 1 to {MAX_COUNT}"))?;
    let length: Option<usize> = text(parameters, &["KeyLength"]).and_then(|text| text.parse().ok());
    let length = length.filter(|length| matches!(length, 16 | 24 | 32));
    let mut key = Zeroizing::new(vec![0; length.ok_or("KeyLength: 16, 24 or 32")?]);
    let password = password.expose().as_bytes();
    match child(parameters, &["PRF"]).map(algorithm_of) {
        None | Some("" | "hmac-sha1" | "hmacWithSHA1") => {
            pbkdf2::pbkdf2_hmac::<Sha1>(password, &salt, count, &mut key);
        }
        Some("hmac-sha256" | "hmacWithSHA256") => {
            pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, count, &mut key);
        }
        Some(_) => return Err("PRF: hmac-sha1 or hmac-sha256".to_owned()),
    }
    Ok(key)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    data_encoding::BASE64.decode(text.as_bytes()).ok()
}

const NO_FIT: &str = "the key or password does not fit the file";
/// Most rounds of PBKDF2: some seconds.
const MAX_COUNT: u32 = 10_000_000;

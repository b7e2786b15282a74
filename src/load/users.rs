//! The users a load is made of: read from a file, or made up and written to one.
//!
//! The file of made-up users is one that `oncegate user import` reads, so that the server and the
//! generator know the same keys. It holds them readable: it is created for its owner alone, and
//! never overwrites another.

use std::fs::{File, OpenOptions};
use std::io;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use clap::ValueEnum;

use crate::cli::columns;
use crate::cli::columns::Factor;
use crate::cli::error::{CliError, Exit};
use crate::csv;
use crate::csv::{Fault, Row, quoted};
use crate::otp::totp::Parameters;
use crate::otp::{Algorithm, Digits};
use crate::otpauth;
use crate::secret::{Entropy, EntropyError, OtpKey, SecretBytes, random};

/// A user who logs in.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: Box<str>,
    pub(super) factor: Factor,
}

/// What made-up users carry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Kind {
    /// Codes by counter: a user can log in any number of times
    Hotp,
    /// Codes by time: a user can log in once per step
    #[default]
    Totp,
}

/// Reads a file, `-` for stdin.
pub(super) fn load(path: &Path) -> Result<Vec<User>, CliError> {
    let name = path.display();
    let users = if path == Path::new("-") {
        read(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(|error| {
            CliError::usage(format!("{name}: {error}")).remedy(
                "make a file of users with `oncegate bench users 1000 --write FILE`, \
                 and import it on the server",
            )
        })?;
        read(BufReader::new(file))
    };
    let users = users.map_err(|fault| {
        CliError::usage(format!("{name}:{}: {}", fault.line, fault.what))
            .remedy(format!("the columns are: {}", columns::NAMES.join(",")))
    })?;
    if users.is_empty() {
        return Err(CliError::usage(format!("{name}: no users")));
    }
    if u32::try_from(users.len()).is_err() {
        return Err(CliError::usage(format!("{name}: too many users")));
    }
    Ok(users)
}

fn read(from: impl BufRead) -> Result<Vec<User>, Fault> {
    let without = ["user", "password"];
    let mut rows = csv::Reader::open(from, &columns::NAMES, &without, &csv::Ignore::Nothing)?;
    if !rows.has(columns::SECRET) && !rows.has(columns::PASSWORD) {
        return Err(Fault::new(1, "neither a column `secret` nor `password`"));
    }
    let mut users = Vec::new();
    while let Some(row) = rows.next() {
        let row = row?;
        let fault = |what: String| Fault::new(row.line, what);
        let name = user_name(&row).map_err(|what| fault(what.to_owned()))?;
        let factor = columns::factor(&row).map_err(|why| fault(why.join("; ")))?;
        let factor = factor.ok_or_else(|| fault("neither a secret nor a password".to_owned()))?;
        users.push(User {
            name: name.into_boxed_str(),
            factor,
        });
    }
    Ok(users)
}

/// Users `PREFIX000000`, `PREFIX000001`, .. with random keys.
pub(super) fn generate(
    count: u32,
    prefix: &str,
    kind: Kind,
    entropy: &dyn Entropy,
) -> Result<Vec<User>, EntropyError> {
    let user = |index: u32| {
        let octets: [u8; OtpKey::GENERATED] = random(entropy)?;
        let key =
            OtpKey::new(SecretBytes::from(&octets[..])).expect("a generated key is no short one");
        let factor = match kind {
            Kind::Hotp => Factor::Hotp {
                key,
                algorithm: Algorithm::default(),
                digits: Digits::default(),
                counter: 0,
            },
            Kind::Totp => Factor::Totp {
                key,
                parameters: Parameters::default(),
            },
        };
        let name = format!("{prefix}{index:06}").into_boxed_str();
        Ok(User { name, factor })
    };
    (0..count).map(user).collect()
}

/// Writes users to a file that is not there yet; calls `done` after each thousand.
pub(super) fn save(path: &Path, users: &[User], done: impl FnMut(u64)) -> Result<(), CliError> {
    let failed = |error: io::Error| {
        let (message, exit) = (format!("{}: {error}", path.display()), error.kind());
        if exit == io::ErrorKind::AlreadyExists {
            return CliError::new(Exit::Conflict, message)
                .remedy("it may hold keys that are in use: name another file, or remove it");
        }
        CliError::usage(message)
    };
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(failed)?;
    write(BufWriter::with_capacity(1 << 16, file), users, done).map_err(failed)
}

fn write(mut to: impl Write, users: &[User], mut done: impl FnMut(u64)) -> io::Result<()> {
    // Without a column that is empty everywhere: importing has no passwords.
    let is_password = |user: &User| matches!(user.factor, Factor::Password(_));
    let passwords = users.iter().any(is_password);
    let (more, none) = if passwords {
        (",password", ",")
    } else {
        ("", "")
    };
    writeln!(to, "user,kind,secret,algorithm,digits,period,counter{more}")?;
    for chunk in users.chunks(1000) {
        for user in chunk {
            let name = quoted(&user.name);
            match &user.factor {
                Factor::Hotp {
                    key,
                    algorithm,
                    digits,
                    counter,
                } => {
                    let secret = otpauth::encode_base32(key.expose());
                    let secret = secret.expose();
                    writeln!(
                        to,
                        "{name},hotp,{secret},{algorithm},{digits},,{counter}{none}"
                    )?;
                }
                Factor::Password(password) => {
                    let password = quoted(password.expose());
                    writeln!(to, "{name},,,,,,,{password}")?;
                }
                Factor::Totp { key, parameters } => {
                    let secret = otpauth::encode_base32(key.expose());
                    let (algorithm, digits) = (parameters.algorithm, parameters.digits);
                    let (secret, period) = (secret.expose(), parameters.period.as_secs());
                    writeln!(
                        to,
                        "{name},totp,{secret},{algorithm},{digits},{period},{none}"
                    )?;
                }
            }
        }
        done(chunk.len() as u64);
    }
    to.flush()
}

/// The user's name as it is typed: `name`, or `name@realm` where the row names a realm.
fn user_name(row: &Row<'_>) -> Result<String, &'static str> {
    let name = row.get(columns::USER).ok_or("user: empty")?;
    Ok(match row.get(columns::REALM) {
        Some(realm) => format!("{name}@{realm}"),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    #[test]
    fn what_is_written_is_read() {
        let mut users = generate(2, "load", Kind::Totp, &SystemEntropy).unwrap();
        users.extend(generate(2, "h", Kind::Hotp, &SystemEntropy).unwrap());
        users.push(User {
            name: "with, comma".into(),
            factor: Factor::Password("p \"w\"".into()),
        });
        let mut file = Vec::new();
        write(&mut file, &users, |_| ()).unwrap();
        let again = read(&*file).unwrap();
        assert_eq!(format!("{again:?}"), format!("{users:?}"));
        for (one, other) in users.iter().zip(&again) {
            match (&one.factor, &other.factor) {
                (Factor::Totp { key, .. }, Factor::Totp { key: other, .. })
                | (Factor::Hotp { key, .. }, Factor::Hotp { key: other, .. }) => {
                    assert_eq!(key, other);
                }
                (Factor::Password(one), Factor::Password(other)) => assert_eq!(one, other),
                pair => panic!("{pair:?}"),
            }
        }
    }

    #[test]
    fn plain_lines_are_passwords() {
        let users = read(&b"alice,secret one\nbob,two\n"[..]).unwrap();
        assert_eq!(&*users[0].name, "alice");
        assert!(matches!(&users[1].factor, Factor::Password(word) if word.expose() == "two"));
    }

    #[test]
    fn faults_have_lines() {
        let fault = read(&b"user,secret\nalice,GEZDGNBVGY3TQOJQ\nbob,\n"[..]).unwrap_err();
        assert_eq!(fault, Fault::new(3, "neither a secret nor a password"));
        assert_eq!(read(&b"user,realm\n"[..]).unwrap_err().line, 1);
    }
}

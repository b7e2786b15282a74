//! What is written: links, QR codes and letters for people, and results without secrets.
//!
//! Invariant: a line is on disk before the next link is asked for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::api::{EnrolLinked, User};
use crate::cli::enrol::By;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::local_time;
use crate::csv::cell;
use crate::qr;

/// Links, for those who hand them on.
pub(super) struct Handouts {
    by: By,
    path: PathBuf,
    /// None where each user has a file.
    file: Option<File>,
}

impl Handouts {
    /// A new file or directory that only the user of this process can read.
    pub(super) fn open(by: By, path: &Path) -> Result<Self, CliError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                CliError::new(Exit::Conflict, format!("{} exists already", path.display()))
                    .remedy("--out names a new file or directory")
            }
            _ => CliError::usage(format!("{}: {error}", path.display())),
        };
        let path = path.to_owned();
        if by == By::QrDir {
            let made = fs::DirBuilder::new().mode(0o700).create(&path);
            made.map_err(failed)?;
            let file = None;
            return Ok(Self { by, path, file });
        }
        let mut file = secret_file(&path).map_err(failed)?;
        let head = match by {
            By::Print => LETTERS_HEAD,
            _ => "user,display_name,email,phone,link,until\n",
        };
        file.write_all(head.as_bytes()).map_err(failed)?;
        let file = Some(file);
        Ok(Self { by, path, file })
    }

    /// Adds the link of a user.
    pub(super) fn add(&mut self, user: &User, made: &EnrolLinked) -> Result<(), CliError> {
        let Some(link) = &made.link else {
            return Err(CliError::unavailable("the server's answer has no link"));
        };
        let drawn = qr::svg(link);
        let drawn = drawn.map_err(|error| CliError::usage(format!("{}: {error}", user.user)))?;
        let written = match (&mut self.file, self.by) {
            (None, _) => {
                let path = self.path.join(format!("{}.svg", file_name(&user.user)));
                secret_file(&path).and_then(|mut file| file.write_all(drawn.as_bytes()))
            }
            (Some(file), By::Print) => file.write_all(letter(user, made, link, &drawn).as_bytes()),
            (Some(file), _) => file.write_all(line(user, link, &made.until).as_bytes()),
        };
        written.map_err(|error| CliError::usage(format!("{}: {error}", self.path.display())))
    }

    /// Removes what is empty: nothing was made.
    pub(super) fn discard(self) {
        // It is of no use, and in no one's way but that of the next run.
        let _ = match self.file {
            Some(_) => fs::remove_file(&self.path),
            None => fs::remove_dir(&self.path),
        };
    }

    /// Completes the file.
    pub(super) fn close(self) -> Result<(), CliError> {
        let Some(mut file) = self.file else {
            return Ok(());
        };
        if self.by == By::Print {
            file.write_all(b"</body>\n</html>\n")?;
        }
        Ok(file.sync_all()?)
    }
}

/// Results, a line for each user, added to what is there.
pub(super) struct Results(File);

impl Results {
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let failed = |error: io::Error| CliError::usage(format!("{}: {error}", path.display()));
        let file = OpenOptions::new().append(true).create(true).open(path);
        let mut file = file.map_err(failed)?;
        if file.metadata().map_err(failed)?.len() == 0 {
            file.write_all(b"user,token,result,detail\n")
                .map_err(failed)?;
        }
        Ok(Self(file))
    }

    /// Whether it can be written; what is made for that is gone again.
    pub(super) fn try_open(path: &Path) -> Result<(), CliError> {
        let failed = |error: io::Error| CliError::usage(format!("{}: {error}", path.display()));
        if path.exists() {
            let opened = OpenOptions::new().append(true).open(path);
            return opened.map(drop).map_err(failed);
        }
        Self::open(path)?;
        fs::remove_file(path).map_err(failed)
    }

    pub(super) fn add(&mut self, fields: [&str; 4]) -> Result<(), CliError> {
        let line = format!("{}\n", fields.map(cell).join(","));
        Ok(self.0.write_all(line.as_bytes())?)
    }
}

/// The link of a user, for a spreadsheet or a program that writes letters.
fn line(user: &User, link: &str, until: &str) -> String {
    let text = |text: &Option<String>| cell(text.as_deref().unwrap_or_default()).into_owned();
    let (name, email, phone) = (
        text(&user.display_name),
        text(&user.email),
        text(&user.phone),
    );
    let (who, link, until) = (cell(&user.user), cell(link), cell(until));
    format!("{who},{name},{email},{phone},{link},{until}\n")
}

fn secret_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// The name of a file for a user: what could lead elsewhere is written as in a path of the API.
fn file_name(user: &str) -> String {
    let mut name = String::new();
    crate::wire::percent_encode(user, &mut name);
    name.replace("%40", "@")
}

/// One page.
fn letter(user: &User, made: &EnrolLinked, link: &str, drawn: &str) -> String {
    let name = user.display_name.as_deref().unwrap_or(&user.user);
    let (name, account, link) = (escaped(name), escaped(&user.user), escaped(link));
    let until = escaped(&local_time(&made.until));
    let (head, scan, type_it, end) = if user.language == "ko" {
        (KO[0], KO[1], KO[2], KO[3])
    } else {
        (
            "Set up your login code",
            "Scan this with the camera of your telephone:",
            "or type this address into its browser:",
            "The page shows your code once. This letter is for you alone; it is good until",
        )
    };
    format!(
        "<section>\n<h1>{head}</h1>\n<p>{name} ({account})</p>\n<p>{scan}</p>\n{drawn}<p>{type_it}</p>\n\
         <p><code>{link}</code></p>\n<p>{end} {until}.</p>\n</section>\n"
    )
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

const LETTERS_HEAD: &str = "<!doctype html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>Enrolment</title>\n\
    <style>section{page-break-after:always;font:12pt sans-serif;padding:2cm}svg{width:6cm}\
    code{overflow-wrap:anywhere}</style>\n</head>\n<body>\n";

/// The letter in Korean.
const KO: [&str; 4] = [
    "\u{b85c}\u{adf8}\u{c778} \u{c778}\u{c99d}\u{bc88}\u{d638} \u{b4f1}\u{b85d}",
    "\u{d734}\u{b300}\u{c804}\u{d654} \u{ce74}\u{ba54}\u{b77c}\u{b85c} \u{cd2c}\u{c601}\u{d558}\u{c138}\u{c694}.",
    "\u{b610}\u{b294} \u{c774} \u{c8fc}\u{c18c}\u{b97c} \u{c785}\u{b825}\u{d558}\u{c138}\u{c694}.",
    "\u{b4f1}\u{b85d} \u{cf54}\u{b4dc}\u{b294} \u{d55c} \u{bc88}\u{b9cc} \u{d45c}\u{c2dc}\u{b429}\u{b2c8}\u{b2e4}. \
     \u{bcf8}\u{c778}\u{b9cc} \u{c0ac}\u{c6a9}\u{d558}\u{c138}\u{c694}. \u{c720}\u{d6a8}\u{ae30}\u{ac04}:",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_directory_or_its_cell() {
        assert_eq!(file_name("alice@default"), "alice@default");
        assert_eq!(file_name("../../x@y"), "..%2F..%2Fx@y");
        assert_eq!(escaped("<b>\"&"), "&lt;b&gt;&quot;&amp;");
    }
}

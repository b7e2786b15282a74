//! What a command reads: secrets, codes, a yes or no.

use std::io;
use std::io::BufRead as _;
use std::io::IsTerminal as _;
use std::io::Read as _;

use zeroize::Zeroize as _;

use crate::cli::error::CliError;
use crate::cli::error::Exit;
use crate::cli::output;
use crate::secret::SecretString;

/// One line from stdin, asked for when a person sits there. `what` completes "Type the ...".
pub(super) fn secret(what: &str) -> Result<SecretString, CliError> {
    if io::stdin().is_terminal() {
        output::warn(&format!("Type the {what}, then Enter:"));
    }
    let line = read_line(&mut io::stdin().lock(), what)?;
    if line.expose().is_empty() {
        return Err(CliError::usage(format!("the {what} on stdin is empty")));
    }
    Ok(line)
}

/// Says why secrets do not belong into arguments: they are in the process list and in the shell's
/// history.
pub(super) fn warn_of_arguments() {
    output::warn("warning: every user of this machine can read secrets on a command line");
}

/// Asks before something is destroyed, when a person sits at stdin. A script means what it says.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), CliError> {
    if yes || !io::stdin().is_terminal() {
        return Ok(());
    }
    ask(question, &mut io::stdin().lock())
}

/// Asks for what only a person can know; where nobody can answer, `--yes` must have been given.
pub(super) fn vouch(question: &str, yes: bool) -> Result<(), CliError> {
    if yes || io::stdin().is_terminal() {
        return confirm(question, yes);
    }
    Err(
        CliError::usage("this wants a confirmation, and nobody is at the terminal to give it")
            .remedy("add --yes"),
    )
}

fn ask(question: &str, from: &mut impl io::BufRead) -> Result<(), CliError> {
    output::warn(&format!("{} [y/N]", output::printable(question)));
    let mut answer = String::new();
    from.take(16).read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::new(
            Exit::No,
            "not confirmed; nothing was changed",
        )),
    }
}

fn read_line(from: &mut impl io::BufRead, what: &str) -> Result<SecretString, CliError> {
    let failed = |error| CliError::usage(format!("cannot read the {what} from stdin: {error}"));
    // Allocated once: a buffer that grows leaves copies of the secret behind.
    let mut line = String::with_capacity(LONGEST + 2);
    if let Err(error) = from.take(LONGEST as u64 + 2).read_line(&mut line) {
        line.zeroize();
        return Err(failed(error));
    }
    let kept = line.trim_end_matches(['\r', '\n']).len();
    if kept > LONGEST {
        line.zeroize();
        return Err(CliError::usage(format!(
            "the {what} is longer than {LONGEST} octets"
        )));
    }
    line.truncate(kept);
    Ok(SecretString::new(line))
}

/// Longest secret that makes sense: a password of 128 characters, a base 32 key of 128 octets.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_end_is_cut() {
        let read = |text: &str| read_line(&mut text.as_bytes(), "key");
        assert_eq!(read(" s e \r\nmore").unwrap().expose(), " s e ");
        assert_eq!(read("bare").unwrap().expose(), "bare");
        assert_eq!(read(&"x".repeat(LONGEST)).unwrap().expose().len(), LONGEST);
        assert_eq!(
            read(&"x".repeat(LONGEST + 1)).unwrap_err().exit,
            Exit::Usage
        );
    }

    #[test]
    fn only_yes_is_yes() {
        let said = |text: &str| ask("Remove?", &mut text.as_bytes()).map_err(|error| error.exit);
        assert_eq!(said("y\n"), Ok(()));
        for text in ["", "\n", "n\n", "yesterday\n"] {
            assert_eq!(said(text), Err(Exit::No), "{text:?}");
        }
    }
}

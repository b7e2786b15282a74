//! What a command reads: secrets, codes, a yes or no.
//!
//! At a terminal a secret is not shown while it is typed, and one that is to be stored is asked for
//! twice. From a pipe or a file each secret is one line, in the order of the command's help; whatever
//! follows is refused, so that half of a wrapped key is never taken for the key.

use std::io;
use std::io::{BufRead, IsTerminal as _, Read as _, Stdin};
use std::os::fd::AsFd as _;

use nix::sys::termios;
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios};
use zeroize::Zeroizing;

use crate::cli::error::{CliError, Exit};
use crate::cli::output;
use crate::secret::SecretString;

/// A secret that a command reads.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Completes "Type the ...".
    what: &'a str,
    /// Whether it is typed a second time at a terminal.
    twice: bool,
}

impl<'a> Ask<'a> {
    /// A secret that is compared with what is known: a code, the password of a login.
    pub(crate) const fn once(what: &'a str) -> Self {
        Self { what, twice: false }
    }

    /// A secret that will be stored: a slip of the fingers would be found at the next login only.
    pub(crate) const fn twice(what: &'a str) -> Self {
        Self { what, twice: true }
    }
}

/// One secret from stdin.
pub(crate) fn secret(ask: Ask<'_>) -> Result<SecretString, CliError> {
    let [secret] = secrets([Some(ask)])?;
    secret.ok_or_else(|| missing(ask.what))
}

/// The secrets that are wanted, in their order.
pub(crate) fn secrets<const N: usize>(
    wanted: [Option<Ask<'_>>; N],
) -> Result<[Option<SecretString>; N], CliError> {
    let asked: Vec<Ask<'_>> = wanted.iter().flatten().copied().collect();
    let read = if asked.is_empty() {
        Vec::new()
    } else if io::stdin().is_terminal() {
        typed(&asked)?
    } else {
        lines(&asked, &mut io::stdin().lock())?
    };
    let mut read = read.into_iter();
    Ok(wanted.map(|ask| ask.and_then(|_| read.next())))
}

/// The first secrets from stdin, where more may be asked for: see [`next_secret`].
pub(crate) fn first_secrets(asked: &[Ask<'_>]) -> Result<Vec<SecretString>, CliError> {
    if io::stdin().is_terminal() {
        return typed(asked);
    }
    first_lines(asked, &mut io::stdin().lock())
}

/// A further secret from stdin; `None`: it has no other line, or an empty one.
pub(crate) fn next_secret(ask: Ask<'_>) -> Result<Option<SecretString>, CliError> {
    if io::stdin().is_terminal() {
        return Ok(typed(&[ask])?.pop());
    }
    line(&mut io::stdin().lock(), ask.what, &[])
}

/// Whether stdin, where it is no terminal, has more than was read.
pub(crate) fn has_more() -> Result<bool, CliError> {
    Ok(!io::stdin().is_terminal() && !ended(&mut io::stdin().lock())?)
}

/// A secret that may be an argument (in tests), wanted from stdin, or neither.
pub(crate) fn given_secret(
    argument: Option<&str>,
    from_stdin: bool,
    ask: Ask<'_>,
) -> Result<Option<SecretString>, CliError> {
    if let Some(secret) = argument {
        warn_of_arguments();
        return Ok(Some(secret.into()));
    }
    from_stdin.then(|| secret(ask)).transpose()
}

/// Asks at the terminal, without echo.
fn typed(asked: &[Ask<'_>]) -> Result<Vec<SecretString>, CliError> {
    let hidden = Hidden::begin()?;
    let mut from = io::stdin().lock();
    let mut secrets = Vec::with_capacity(asked.len());
    for Ask { what, twice } in asked {
        output::warn(&format!("Type the {what} (it is not shown), then Enter:"));
        let first = line(&mut from, what, &hidden.interrupts)?.ok_or_else(|| missing(what))?;
        if *twice {
            output::warn(&format!("Type the {what} again:"));
            let again = line(&mut from, what, &hidden.interrupts)?;
            if again.is_none_or(|again| again != first) {
                let message = format!("what was typed the second time is not the same {what}");
                return Err(CliError::usage(message).remedy("repeat the command"));
            }
        }
        secrets.push(first);
    }
    Ok(secrets)
}

/// Reads one line for each secret.
fn first_lines(asked: &[Ask<'_>], from: &mut impl BufRead) -> Result<Vec<SecretString>, CliError> {
    let mut secrets = Vec::with_capacity(asked.len());
    for Ask { what, .. } in asked {
        secrets.push(line(from, what, &[])?.ok_or_else(|| missing_of(what, asked))?);
    }
    Ok(secrets)
}

/// The same, and sees that nothing follows.
fn lines(asked: &[Ask<'_>], from: &mut impl BufRead) -> Result<Vec<SecretString>, CliError> {
    let secrets = first_lines(asked, from)?;
    let names: Vec<&str> = asked.iter().map(|ask| ask.what).collect();
    if ended(from)? {
        return Ok(secrets);
    }
    let message = match names.as_slice() {
        [one] => format!("stdin has more than one line; the {one} is one line"),
        all => format!(
            "stdin has more than {} lines; it holds {}, one line each",
            all.len(),
            all.join(", then ")
        ),
    };
    Err(CliError::usage(message)
        .remedy("write each on one line; `tr -d '\\r\\n' < FILE` joins one that is wrapped"))
}

fn missing(what: &str) -> CliError {
    CliError::usage(format!("the {what} on stdin is empty")).remedy(format!(
        "write the {what} on stdin, on one line, or run the command at a terminal and type it"
    ))
}

fn missing_of(what: &str, asked: &[Ask<'_>]) -> CliError {
    if asked.len() == 1 {
        return missing(what);
    }
    let names: Vec<&str> = asked.iter().map(|ask| ask.what).collect();
    missing(what).remedy(format!(
        "write on stdin {}, one line each",
        names.join(", then ")
    ))
}

/// Whether nothing but line ends is left.
fn ended(from: &mut impl BufRead) -> Result<bool, CliError> {
    let mut blank = 0;
    loop {
        let left = from.fill_buf()?;
        if left.is_empty() {
            return Ok(true);
        }
        blank += left.len();
        if blank > LONGEST || !left.iter().all(|octet| matches!(octet, b'\r' | b'\n')) {
            return Ok(false);
        }
        let length = left.len();
        from.consume(length);
    }
}

/// The next line without its end; `None` when it is empty. One of `interrupts` ends the command.
fn line(
    from: &mut impl BufRead,
    what: &str,
    interrupts: &[u8],
) -> Result<Option<SecretString>, CliError> {
    // Allocated once: a buffer that grows leaves copies of the secret behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST + 2));
    loop {
        let unreadable = |error| {
            CliError::usage(format!("cannot read the {what}: {error}"))
                .remedy("give it on stdin from a file or a pipe")
        };
        let buffer = from.fill_buf().map_err(unreadable)?;
        let is_end = |octet: &u8| *octet == b'\n' || interrupts.contains(octet);
        let end = buffer.iter().position(is_end);
        let piece = buffer
            .get(..end.unwrap_or(buffer.len()))
            .unwrap_or_default();
        let interrupted = end.is_some_and(|end| buffer.get(end) != Some(&b'\n'));
        let fits = text.len() + piece.len() <= LONGEST + 1;
        if fits {
            text.extend_from_slice(piece);
        }
        let (used, done) = (piece.len() + usize::from(end.is_some()), end.is_some());
        let over = done || buffer.is_empty();
        from.consume(used);
        if interrupted {
            return Err(CliError::new(Exit::No, "stopped; nothing was changed"));
        }
        if !fits {
            return Err(too_long(what));
        }
        if over {
            break;
        }
    }
    if text.last() == Some(&b'\r') {
        text.pop();
    }
    if text.len() > LONGEST {
        return Err(too_long(what));
    }
    let text = std::str::from_utf8(&text).map_err(|_| {
        CliError::usage(format!("cannot read the {what}: it is not UTF-8"))
            .remedy("write it as text in UTF-8; `iconv -t UTF-8` makes that of other text")
    })?;
    Ok(Some(text)
        .filter(|text| !text.is_empty())
        .map(SecretString::from))
}

fn too_long(what: &str) -> CliError {
    CliError::usage(format!("the {what} is longer than {LONGEST} octets"))
        .remedy("see that stdin holds that alone, on one line")
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    terminal: Stdin,
    before: Termios,
    /// Characters that would send a signal. They end the line instead, so that the terminal is put
    /// back before the process ends.
    interrupts: [u8; 2],
}

impl Hidden {
    fn begin() -> Result<Self, CliError> {
        let terminal = io::stdin();
        let failed = |error| {
            CliError::usage(format!("cannot hide what is typed: {error}"))
                .remedy("give it on stdin from a file or a pipe")
        };
        let before = termios::tcgetattr(terminal.as_fd()).map_err(failed)?;
        let of = |index: SpecialCharacterIndices| before.control_chars[index as usize];
        let interrupts = [
            of(SpecialCharacterIndices::VINTR),
            of(SpecialCharacterIndices::VQUIT),
        ];
        let mut hidden = before.clone();
        hidden
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ISIG);
        hidden.local_flags.insert(LocalFlags::ICANON);
        hidden.control_chars[SpecialCharacterIndices::VEOL as usize] = interrupts[0];
        hidden.control_chars[SpecialCharacterIndices::VEOL2 as usize] = interrupts[1];
        termios::tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &hidden).map_err(failed)?;
        Ok(Self {
            terminal,
            before,
            interrupts,
        })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The terminal is gone when this fails.
        let _ = termios::tcsetattr(self.terminal.as_fd(), SetArg::TCSADRAIN, &self.before);
    }
}

/// A secret given as an argument, with the warning it deserves.
pub(crate) fn argument(secret: String) -> SecretString {
    warn_of_arguments();
    SecretString::new(secret)
}

/// Warns of secrets in arguments: they are in the process list and in the shell's history.
pub(crate) fn warn_of_arguments() {
    output::warn("warning: every user of this machine can read secrets on a command line");
}

/// Asks at a terminal before something is removed or revoked. A program that is run by another one is not
/// asked.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), CliError> {
    if yes || !io::stdin().is_terminal() {
        return Ok(());
    }
    ask(question, &mut io::stdin().lock())
}

/// Asks before what cannot be made good by any other command. Without a terminal `--yes` must have been given: a command
/// whose input is redirected by accident destroys nothing.
pub(crate) fn vouch(question: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if io::stdin().is_terminal() {
        return ask(question, &mut io::stdin().lock());
    }
    Err(
        CliError::usage("this needs a confirmation, and stdin is not a terminal")
            .remedy("add --yes"),
    )
}

fn ask(question: &str, from: &mut impl BufRead) -> Result<(), CliError> {
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

/// Longest secret that makes sense: a password of 128 characters, a base 32 key of 128 octets.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, asked: &[Ask<'_>]) -> Result<Vec<String>, CliError> {
        let secrets = lines(asked, &mut text.as_bytes())?;
        Ok(secrets
            .iter()
            .map(|secret| secret.expose().to_owned())
            .collect())
    }

    #[test]
    fn only_the_line_end_is_cut() {
        let key = |text: &str| read(text, &[Ask::twice("key")]);
        for text in [
            " s e ",
            " s e \n",
            " s e \r\n",
            " s e \r\n\r\n",
            " s e \n\n\n",
        ] {
            assert_eq!(key(text).unwrap(), [" s e "], "{text:?}");
        }
        assert_eq!(key(&"x".repeat(LONGEST)).unwrap()[0].len(), LONGEST);
        assert_eq!(
            key(&format!("{}\r\n", "x".repeat(LONGEST))).unwrap()[0].len(),
            LONGEST
        );
        for text in ["", "\n", "\r\n", "\nkey\n"] {
            assert_eq!(key(text).unwrap_err().exit, Exit::Usage, "{text:?}");
        }
        assert_eq!(key(&"x".repeat(LONGEST + 1)).unwrap_err().exit, Exit::Usage);
        assert_eq!(
            key(&"x".repeat(99 * LONGEST)).unwrap_err().exit,
            Exit::Usage
        );
    }

    #[test]
    fn what_follows_the_last_line_is_refused() {
        let two = [Ask::twice("password"), Ask::twice("PIN")];
        assert_eq!(read("p\r\n1\r\n", &two).unwrap(), ["p", "1"]);
        for text in ["p\n1\n2\n", "p\n1\n \n", "p\n1\n\n\n2"] {
            let (message, _) = read(text, &two).unwrap_err().words();
            assert!(message.contains("password, then PIN"), "{message}");
        }
        let one = [Ask::once("code")];
        let long = "x".repeat(LONGEST + 1);
        for text in ["", "\n", long.as_str()] {
            assert!(read(text, &one).unwrap_err().words().1.is_some(), "{text}");
        }
        let binary = lines(&one, &mut &b"\xff\n"[..]).err().unwrap();
        assert!(binary.words().1.is_some_and(|next| next.contains("UTF-8")));
        let (message, _) = read("p\n", &two).unwrap_err().words();
        assert!(message.contains("PIN on stdin is empty"), "{message}");
    }

    #[test]
    fn an_interrupt_ends_the_command() {
        let error = line(&mut &b"secr\x03"[..], "key", &[3, 28]).err().unwrap();
        assert_eq!(error.exit, Exit::No);
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

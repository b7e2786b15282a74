//! Which characters may reach a terminal or a log line as they are.
//!
//! Control characters drive a terminal, marks that change the direction of text disguise a name, and
//! characters without width make two names look alike.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character could command a terminal, forge a line or hide in a name.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}')
}

/// Text as a terminal may show it: unsafe characters are written as `\u{..}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_are_written_out() {
        assert_eq!(printable("alice@default"), "alice@default");
        assert_eq!(printable("\u{c774}"), "\u{c774}");
        assert_eq!(printable("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\u{a}b");
        assert_eq!(
            printable("\u{9b}31m\u{202e}x\u{2066}"),
            "\\u{9b}31m\\u{202e}x\\u{2066}"
        );
    }
}

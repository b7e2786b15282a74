//! What is wrong in dictionary files.

/// A fault in a dictionary file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{file}:{line}: {cause}")]
pub struct ParseError {
    /// The file, as named to the resolver.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub cause: Cause,
    /// What else is wrong, as far as it was read; none of these has more.
    pub more: Vec<Self>,
}

impl ParseError {
    pub(super) fn new(file: &str, line: usize, cause: Cause) -> Self {
        Self {
            file: file.to_owned(),
            line,
            cause,
            more: Vec::new(),
        }
    }

    /// This and what else is wrong, in one sentence.
    pub fn all(&self) -> String {
        let all = std::iter::once(self).chain(&self.more);
        all.map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Cause {
    /// No such file.
    #[error("cannot read `{0}`")]
    Missing(String),
    /// Files include each other.
    #[error("files include each other more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Files include others many times over, or have more than a dictionary.
    #[error("more than {most} {what} in a dictionary and all that it includes")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        most: usize,
    },
    /// The first word of the line.
    #[error(
        "`{0}` is not ATTRIBUTE, VALUE, VENDOR, BEGIN-VENDOR, END-VENDOR, BEGIN-TLV, END-TLV, FLAGS or $INCLUDE"
    )]
    UnknownKeyword(String),
    /// Too few or too many words.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Not a number, or out of range.
    #[error("`{0}` is not a number that fits here")]
    BadNumber(String),
    /// Not a data type.
    #[error("`{0}` is not a data type")]
    UnknownType(String),
    /// Not a flag.
    #[error("`{0}` is not a flag")]
    UnknownFlag(String),
    /// Neither declared before nor built in.
    #[error("the vendor `{0}` was not declared")]
    UnknownVendor(String),
    /// A VALUE for nothing.
    #[error("the attribute `{0}` is not defined")]
    UnknownAttribute(String),
    /// An attribute in one that holds none.
    #[error("`{0}` is in no attribute of type tlv, extended, long-extended or evs")]
    NoParent(String),
    /// Two meanings for one name.
    #[error("`{0}` is defined already, differently")]
    Conflict(String),
    /// BEGIN and END do not match.
    #[error("{0} without its counterpart")]
    Unbalanced(&'static str),
}

/// Deepest nesting of includes: files that include each other end here, not on the stack.
pub(super) const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::dictionary::Dictionary;

    fn refused(text: &str) -> ParseError {
        let resolve = |name: &str| (name == "test").then(|| text.to_owned());
        Dictionary::default().with("test", resolve).unwrap_err()
    }

    /// Who corrects a file is told of all its faults, not of one a time.
    #[test]
    fn every_fault_of_a_file_is_named() {
        let text = "ATTRIBUTE a 1 strnig\nATTRIBUTE b 2 string\nATRIBUTE c 3 string\nATTRIBUTE d 4.x tlv\n\
                    ATTRIBUTE e 4.1 string\nVALUE b Two 2\nVALUE b Three x\nVALUE b Two 3\n";
        let all = refused(text).all();
        let lines: Vec<&str> = all.split("; ").collect();
        for (line, start) in lines.iter().zip([
            "test:1: `strnig` is not a data type",
            "test:3: `ATRIBUTE` is not ATTRIBUTE, VALUE",
            "test:4: `x` is not a number",
            "test:7: `x` is not a number",
            "test:8: `Two` is defined already",
        ]) {
            assert!(line.starts_with(start), "{start}: {all}");
        }
        assert_eq!(lines.len(), 5, "{all}");
        // Behind a line that says what the others are, they are not known.
        let all = refused("BEGIN-VENDOR x\nATTRIBUTE a 1 strnig\n").all();
        assert_eq!(all, "test:1: the vendor `x` was not declared");
        let many = "ATTRIBUTE x one string\n".repeat(100_000);
        assert_eq!(refused(&many).more.len(), 19);
    }
}

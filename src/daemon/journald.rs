//! Log lines as entries of systemd's journal, with their fields.
//!
//! Each is one datagram of `NAME=VALUE` lines; a value of several lines stands behind its length
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>). They are made of the JSON lines, by the log thread, which alone
//! waits where the journal does not keep up.

use std::io;
use std::io::Write;
use std::os::unix::net::UnixDatagram;

use serde_json::Value;

/// A way to the journal; takes whole JSON lines.
pub(super) struct Journald(UnixDatagram);

impl Journald {
    /// Fails where there is no journal.
    pub(super) fn new() -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(SOCKET)?;
        // Not connected: a journal whose socket was made anew is found again.
        Ok(Self(UnixDatagram::unbound()?))
    }
}

impl Write for Journald {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send_to(&entry(line), SOCKET)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The datagram of a line; one that is no JSON object is the message of an entry.
fn entry(line: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(line.len() + 128);
    let mut put = |name: &str, value: &str| {
        entry.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            entry.push(b'\n');
            entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    };
    put("SYSLOG_IDENTIFIER", "oncegate");
    let Ok(Value::Object(fields)) = serde_json::from_slice(line) else {
        put("MESSAGE", String::from_utf8_lossy(line).trim_end());
        return entry;
    };
    for (name, value) in &fields {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match name.as_str() {
            // The journal has its own.
            "timestamp" => {}
            "level" => put("PRIORITY", priority(&text)),
            "message" => put("MESSAGE", &text),
            "target" => put("TARGET", &text),
            name => put(&field(name), &text),
        }
    }
    entry
}

/// As syslog numbers it (RFC 5424 s6.2.1).
fn priority(level: &str) -> &'static str {
    match level {
        "ERROR" => "3",
        "WARN" => "4",
        "INFO" => "6",
        _ => "7",
    }
}

/// The journal's name of a field: capital letters, digits and `_`, at most 64.
fn field(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(allowed).take(64 - PREFIX.len()).collect();
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

const SOCKET: &str = "/run/systemd/journal/socket";
const PREFIX: &str = "ONCEGATE_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_fields_of_its_line() {
        let line = br#"{"timestamp":"2026-11-29T09:00:00Z","level":"WARN","message":"renew it","target":"oncegate::daemon","file":"a b\nPRIORITY=0","days.left":7}"#;
        let mut expected = b"SYSLOG_IDENTIFIER=oncegate\nPRIORITY=4\n".to_vec();
        expected.extend_from_slice(b"MESSAGE=renew it\nTARGET=oncegate::daemon\nONCEGATE_FILE\n");
        expected.extend_from_slice(&14_u64.to_le_bytes());
        expected.extend_from_slice(b"a b\nPRIORITY=0\nONCEGATE_DAYS_LEFT=7\n");
        let (mut entry, mut expected) = (entry(line), expected);
        // In whatever order the fields of an object come.
        for octets in [&mut entry, &mut expected] {
            octets.sort_unstable();
        }
        assert_eq!(entry, expected);
        assert!(field(&"x".repeat(200)).len() == 64 && field("\u{e4}-1") == "ONCEGATE___1");
        let plain = super::entry(b"no object\nPRIORITY=0\n");
        assert!(
            plain
                .starts_with(b"SYSLOG_IDENTIFIER=oncegate\nMESSAGE\n\x14\0\0\0\0\0\0\0no object\n")
        );
    }
}

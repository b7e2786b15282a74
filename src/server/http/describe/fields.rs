//! What fields of requests and parameters of routes may be, by their name.

use Bounds::{Flag, Number, Text, Words};

/// What a field may be.
pub(super) enum Bounds {
    /// Characters of a text, at least and at most.
    Text(u64, u64),
    /// A number, from and to.
    Number(u64, u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// True or false.
    Flag,
}

/// A field of requests, by its name.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) bounds: Bounds,
    /// As JSON, or as it is when that is none.
    pub(super) example: &'static str,
}

const fn field(name: &'static str, bounds: Bounds, example: &'static str) -> Field {
    Field {
        name,
        bounds,
        example,
    }
}

/// A text of any length that a body allows.
const ANY: Bounds = Text(0, 16_384);
/// A name that the server made: a round with the ticket behind it, where a page of a list ends. The longest
/// user name, the longest session and client make some 2,000 characters.
const MADE: u64 = 4096;
/// A line that is shown again: `check_text` of the administration.
const LINE: Bounds = Text(0, 256);

const STATES: &[&str] = &[
    "requested",
    "approved",
    "pending",
    "active",
    "suspended",
    "revoked",
    "expired",
    "unassigned",
];

/// Fields of requests and parameters of routes.
pub(super) const FIELDS: &[Field] = &[
    field("active", Flag, "true"),
    field("action", Text(1, 32), "user_set"),
    field("address", LINE, "+82 10-1234-5678"),
    field("actor", Text(1, 320), "uid 1001"),
    field("add_aliases", Text(1, 253), "asmith"),
    field("addresses", Text(1, 64), "203.0.113.7/32"),
    field("after", Text(1, MADE), "alice@default"),
    field("algorithm", Text(1, 32), "sha1"),
    field("aliases", Text(1, 253), "asmith"),
    field("at", Text(20, 40), "2027-01-31T08:00:00Z"),
    field("before", Number(0, i64::MAX as u64), "4711"),
    field("before", Text(20, 40), "2027-01-31T08:00:00Z"),
    field(
        "attributes",
        Text(0, 1024),
        "{\"NAS-Port-Type\":[\"Virtual\"]}",
    ),
    field("birth_date", Text(0, 10), "1990-02-28"),
    field("branch_code", ANY, "7F3K9Q2M"),
    field("by", Words(&["text", "qr", "sms", "email"]), "qr"),
    field("challenge", Flag, "true"),
    field("challenge", Text(1, MADE), "AAAAAAAAAAAAAAAA"),
    field("class", LINE, "staff"),
    field("client", Text(1, 64), "vpn"),
    field("client_ip", Text(2, 45), "203.0.113.7"),
    field("code", Text(12, 64), "7F3K-9Q2M-44XZ"),
    field("context", Text(0, 1024), "{\"app\":\"payroll\"}"),
    field("count", Number(1, 10), "10"),
    field("counter", Number(0, i64::MAX as u64), "0"),
    field(
        "decision",
        Words(&["accept", "challenge", "reject"]),
        "reject",
    ),
    field("deliver", Words(&["link", "email", "sms"]), "email"),
    field("digits", Number(6, 9), "6"),
    field("disabled", Flag, "false"),
    field("display_name", LINE, "Alice Kim"),
    field("dry_run", Flag, "true"),
    field("email", LINE, "alice@example.com"),
    field("expires", Text(20, 40), "2027-12-31T00:00:00Z"),
    field("factor", Words(&["sms", "email", "voice", "card"]), "sms"),
    field("first", Text(6, 9), "287082"),
    field("for_secs", Number(1, 86_400), "3600"),
    field("from", LINE, "uid 1000"),
    field("grace_secs", Number(0, 31_622_400), "86400"),
    field("group", LINE, "staff"),
    field("groups", Text(1, 256), "staff"),
    field("id", Text(0, MADE), "m-4711"),
    field(
        "kind",
        Words(&[
            "totp", "hotp", "server", "sms", "email", "voice", "card", "recovery", "yubikey",
        ]),
        "totp",
    ),
    field("certificate", Text(1, 253), "nas1.example.com"),
    field("disconnect_port", Number(0, 65_535), "3799"),
    field("name_rules", Text(1, 400), "strip-domain"),
    field("session", LINE, "0C9187A2"),
    field("remove_aliases", Text(1, 253), "asmith"),
    field("retry_window_secs", Number(0, 30), "10"),
    field("unsigned_replies_secs", Number(0, 31_622_400), "0"),
    field("backup", Text(1, 256), "938c578a39cf50f5c55e902b686040e6"),
    field("octets", Number(0, i64::MAX as u64), "49970"),
    field("head", Number(0, i64::MAX as u64), "4711"),
    field(
        "head_mac",
        Text(64, 64),
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ),
    field("note", LINE, "a second factor for the new gateway"),
    field("store", Text(32, 32), "fa5f5a8a241361624e893da62cb08933"),
    field("language", Words(&["en", "ko"]), "en"),
    field("limit", Number(1, 1000), "100"),
    field("make", Words(&["users", "tokens"]), "users"),
    field("medium", Words(&["sms", "email", "voice"]), "sms"),
    field("method", Text(1, 32), "pap"),
    field("methods", Text(1, 16), "pap"),
    field("name", LINE, "vpn"),
    field("nas", LINE, "vpn-1"),
    field("new_password", Text(1, 512), "correct horse battery"),
    field("new_pin", Text(6, 64), "805193"),
    field("on_conflict", Words(&["fail", "skip"]), "skip"),
    field("on_behalf", LINE, "uid 1001"),
    field("otp", ANY, "755224"),
    field("passcode", ANY, "755224"),
    field("password", ANY, "correct horse battery"),
    field("password_hash", ANY, ""),
    field("pin_hash", ANY, ""),
    field("period", Number(15, 300), "30"),
    field("phone", LINE, "+82 10-1234-5678"),
    field("pin", ANY, "805193"),
    field("policy", Text(0, 64), "default"),
    field("private_id", Text(12, 12), "8792ebfe26cc"),
    field("public_id", Text(1, 16), "vvccccfedcba"),
    field("profile", Text(1, 64), "generic"),
    field(
        "public_key",
        Text(1, 4096),
        "MCowBQYDK2VwAyEA11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    ),
    field("realm", Text(0, 253), "default"),
    field("force", Flag, "false"),
    field("for", Text(1, 253), "kim"),
    field(
        "role",
        Words(&["admin", "operator", "approver", "auditor"]),
        "operator",
    ),
    field("request", Flag, "false"),
    field("request", Text(26, 26), "01M85HXTB4DGFEQJ4KE7067NRK"),
    field("request_id", Text(26, 26), "01M85HXTB4DGFEQJ4KE7067NRK"),
    field("reason", LINE, "the telephone was lost"),
    field("remote_issue", Flag, "true"),
    field("replaces", Text(1, 40), "TOTP-7F3K9Q2M"),
    field(
        "require_message_authenticator",
        Words(&["true", "false", "auto"]),
        "true",
    ),
    field(
        "scopes",
        Words(&["verify", "admin", "operator", "approver", "auditor", "scim"]),
        "verify",
    ),
    field("search", Text(1, 256), "kim"),
    field("second", Text(6, 9), "359152"),
    field("secret", Text(0, 512), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
    field(
        "heads",
        Text(66, 90),
        "4711 0000000000000000000000000000000000000000000000000000000000000000",
    ),
    field("seq", Number(1, i64::MAX as u64), "4711"),
    field("serial", Text(1, 40), "TOTP-7F3K9Q2M"),
    field("server_url", Text(1, 512), "https://otp.example.com"),
    field("since", Text(20, 40), "2027-01-01T00:00:00Z"),
    field("sms", ANY, "755224"),
    field("state", Words(STATES), "active"),
    field("status", Words(&["1", "0"]), "1"),
    field("text", ANY, "48"),
    field("to", LINE, "uid 1001"),
    field("until", Text(20, 40), "2027-01-31T08:00:00Z"),
    field("user", Text(1, 253), "alice"),
    field("uv", Words(&["bio", "pin", "none"]), "pin"),
    field("valid_for_secs", Number(86_400, 315_360_000), "31536000"),
    field("voice", ANY, "755224"),
    field("way", Words(&["code", "inbound"]), "code"),
];

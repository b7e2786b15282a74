//! Files as spreadsheets write them and JSON as serializers write it are taken, or refused with the
//! place and the right word.

use std::os::unix::fs::PermissionsExt as _;

use oncegate::model::client::Scope;
use oncegate::server::http::openapi;
use serde_json::{Value, json};

use crate::support::app::{TestApp, ask, request};
use crate::support::daemon::Site;

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// Writes a file and imports it; the exit code, and what was said.
fn import(site: &Site, octets: &[u8], more: &[&str]) -> (Option<i32>, String) {
    let path = site.path().join("people.csv");
    std::fs::write(&path, octets).unwrap();
    let words = [&["user", "import", path.to_str().unwrap()], more].concat();
    let output = site.run(&words);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn users(site: &Site) -> Vec<String> {
    let users = site.json(&["user", "list"])["users"].clone();
    let names = users.as_array().unwrap().iter();
    names
        .map(|user| user["name"].as_str().unwrap().to_owned())
        .collect()
}

fn utf16(text: &str, mark: bool, octets: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    let text = if mark {
        format!("\u{feff}{text}")
    } else {
        text.to_owned()
    };
    text.encode_utf16().flat_map(octets).collect()
}

#[test]
fn separators_of_spreadsheets_are_understood() {
    let site = Site::new();
    for (name, text) in [
        (
            "a",
            "user;groups;kind;secret\r\na;\"vpn;staff\";totp;KEY\r\n;;;\r\n\r\n",
        ),
        (
            "b",
            "user\tgroups\tkind\tsecret\nb\tvpn;staff\ttotp\tKEY\n\t\t\t\n",
        ),
        (
            "c",
            "sep=;\r\nuser;groups;kind;secret\r\nc;\"vpn;staff\";totp;KEY\r\n",
        ),
        (
            "d",
            "\u{feff}sep=,\r\n\"user\",\"groups\",\"kind\",\"secret\"\r\n\"d\",\"vpn;staff\",\"totp\",\"KEY\"\r\n",
        ),
        (
            "e",
            "\"sep=|\"\nuser|groups|kind|secret\ne|vpn;staff|totp|KEY\n",
        ),
    ] {
        let text = text.replace("KEY", &format!("{}{name}", &KEY[1..]));
        let (exit, said) = import(&site, text.as_bytes(), &[]);
        assert_eq!(exit, Some(0), "{text}: {said}");
        let user = site.json(&["user", "show", name]);
        assert_eq!(user["groups"], json!(["vpn", "staff"]), "{text}");
        assert_eq!(user["tokens"].as_array().unwrap().len(), 1, "{text}");
    }
}

#[test]
fn encodings_are_found_or_named() {
    let site = Site::new();
    let text = |name: &str| format!("user,groups\n{name},\u{c601}\u{c5c5}\n");
    let (korean, _, bad) = encoding_rs::EUC_KR.encode("user,groups\ncp,\u{c601}\u{c5c5}\n");
    assert!(!bad);
    for (name, octets, more) in [
        ("le", utf16(&text("le"), true, u16::to_le_bytes), &[][..]),
        ("be", utf16(&text("be"), true, u16::to_be_bytes), &[]),
        ("bom", format!("\u{feff}{}", text("bom")).into_bytes(), &[]),
        ("cp", korean.to_vec(), &["--encoding", "cp949"]),
        (
            "bare",
            utf16(&text("bare"), false, u16::to_le_bytes),
            &["--encoding", "utf-16le"],
        ),
        // A mark is believed before what somebody says.
        (
            "both",
            utf16(&text("both"), true, u16::to_be_bytes),
            &["--encoding", "cp949"],
        ),
    ] {
        let (exit, said) = import(&site, &octets, more);
        assert_eq!(exit, Some(0), "{name}: {said}");
        assert_eq!(
            site.json(&["user", "show", name])["groups"],
            json!(["\u{c601}\u{c5c5}"])
        );
    }
    let before = users(&site);
    for (octets, place, word) in [
        (korean.to_vec(), "people.csv:2:4", "--encoding cp949"),
        (
            utf16("user\nx\n", false, u16::to_le_bytes),
            "people.csv:1:1",
            "--encoding utf-16le",
        ),
        (
            utf16("user\nx\n", false, u16::to_be_bytes),
            "people.csv:1:1",
            "--encoding utf-16be",
        ),
        (
            b"user\nx\xff\xfe\xff\n".to_vec(),
            "people.csv:2:2",
            "not UTF-8",
        ),
    ] {
        let (exit, said) = import(&site, &octets, &[]);
        assert_eq!(exit, Some(2), "{said}");
        assert!(
            said.contains(place) && said.contains(word),
            "{word}: {said}"
        );
    }
    let (exit, said) = import(&site, b"user\nx\xff\n", &["--encoding", "cp949"]);
    assert!(exit == Some(2) && said.contains("people.csv:2:2"), "{said}");
    let (exit, said) = import(&site, b"user\nx\n", &["--encoding", "klingon"]);
    assert!(exit == Some(2) && said.contains("cp949"), "{said}");
    assert_eq!(users(&site), before);
}

#[test]
fn unknown_columns_are_named_with_the_known_ones_or_left_out() {
    let site = Site::new();
    let text = b"user,Sekret,Department\nalice,x,sales\n";
    let (exit, said) = import(&site, text, &[]);
    assert_eq!(exit, Some(2), "{said}");
    for word in [
        "`Sekret`",
        "did you mean `secret`?",
        "`Department`",
        "known columns: user, realm",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let (exit, said) = import(&site, text, &["--ignore-columns=department"]);
    assert!(
        exit == Some(2) && said.contains("`Sekret`") && !said.contains("`Department`"),
        "{said}"
    );
    assert!(users(&site).is_empty());
    let (exit, said) = import(&site, text, &["--ignore-columns"]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("left out: Sekret, Department"), "{said}");
    assert_eq!(users(&site), ["alice"]);
    // A file without heading is not shown: its first line may be anybody's key.
    let row = format!("bob,{KEY}\n");
    let (exit, said) = import(&site, row.as_bytes(), &[]);
    assert!(
        exit == Some(2) && said.contains("known columns: user"),
        "{said}"
    );
    assert!(!said.contains(KEY) && !said.contains("bob"), "{said}");
}

#[test]
fn all_findings_are_said_at_once_with_line_and_column() {
    let site = Site::new();
    let text = format!(
        "user;email;secret\nalice;a@b;{KEY}\n\"b\"ob;;\ncarol;nobody;\ndave;;1{KEY}\nfrank;;\nalice;;\nerin\n"
    );
    let (exit, said) = import(&site, text.as_bytes(), &[]);
    assert_eq!(exit, Some(2), "{said}");
    for place in [
        "people.csv:3:4: something follows",
        "people.csv:4:7: email",
        "people.csv:5:7: secret",
        "people.csv:7:1: user: the same as in line 2",
        "people.csv:8: 1 field instead of 3",
    ] {
        assert!(said.contains(place), "{place}: {said}");
    }
    assert!(!said.contains(KEY) && users(&site).is_empty(), "{said}");
}

#[test]
fn nothing_is_half_done_when_the_server_refuses_a_late_row() {
    let site = Site::new();
    site.json(&["user", "add", "u00990"]);
    site.json(&["user", "add", "u00995"]);
    let rows: Vec<String> = (0..1000).map(|number| format!("u{number:05}\n")).collect();
    let text = format!("user\n{}", rows.concat());
    let (exit, said) = import(&site, text.as_bytes(), &[]);
    assert_eq!(exit, Some(5), "{said}");
    assert!(
        said.contains("people.csv:992") && said.contains("people.csv:997"),
        "{said}"
    );
    assert!(said.contains("nothing was imported"), "{said}");
    assert_eq!(users(&site), ["u00990", "u00995"]);
    let (exit, said) = import(&site, text.as_bytes(), &["--on-conflict", "skip"]);
    assert_eq!(exit, Some(0), "{said}");
    assert_eq!(users(&site).len(), 1000);
}

/// The schema of a request's body, where it is a JSON object.
fn bodies(document: &Value) -> Vec<(String, String, Value)> {
    let mut bodies = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            for name in named(schema) {
                let schema = document["components"]["schemas"][&name].clone();
                bodies.push((method.to_ascii_uppercase(), path.clone(), schema));
            }
        }
    }
    bodies
}

/// The names of the schemas that it refers to.
fn named(schema: &Value) -> Vec<String> {
    let inner = [&schema["oneOf"], &schema["anyOf"]];
    let inner = inner.into_iter().filter_map(Value::as_array).flatten();
    let all = std::iter::once(schema).chain(inner);
    let names = all.filter_map(|schema| schema["$ref"].as_str());
    names
        .filter_map(|name| name.rsplit('/').next())
        .map(str::to_owned)
        .collect()
}

/// Any value of a field that must be there.
fn some(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("array") => json!([]),
        Some("boolean") => json!(false),
        Some("integer") => json!(7),
        Some("object") => json!({}),
        _ => json!("x"),
    }
}

/// Every field of every request that may be left out may be `null`.
#[tokio::test]
async fn null_is_as_absent_in_every_request() {
    let document = serde_json::to_value(openapi()).unwrap();
    let app = TestApp::new();
    let admin = app.key("root", Scope::Admin, None).await;
    let verify = app.key("app", Scope::Verify, None).await;
    let mut fields = 0;
    for (method, path, schema) in bodies(&document) {
        // Signed by devices and gateways: judged before the body is read.
        if path.starts_with("/v1/device") || path.starts_with("/v1/inbound") {
            continue;
        }
        let variants = match schema["oneOf"].as_array() {
            Some(variants) => variants.clone(),
            None => vec![schema],
        };
        for schema in variants {
            let required: Vec<&str> = schema["required"]
                .as_array()
                .map(|names| names.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let Some(properties) = schema["properties"].as_object() else {
                continue;
            };
            let mut least = serde_json::Map::new();
            for name in &required {
                let property = &properties[*name];
                let word = property["enum"][0].clone();
                let value = if word.is_null() { some(property) } else { word };
                least.insert((*name).to_owned(), value);
            }
            for name in properties
                .keys()
                .filter(|name| !required.contains(&name.as_str()))
            {
                let mut body = least.clone();
                body.insert(name.clone(), Value::Null);
                let body = Value::Object(body);
                let key = if path.starts_with("/v1/admin") {
                    &admin
                } else {
                    &verify
                };
                let path = path
                    .replace("{user}", "nobody")
                    .replace("{serial}", "NONE-1");
                let path = path.replace("{name}", "none").replace("{id}", "none");
                let asked = request(&method, &path, Some(key), Some(body.clone()));
                let answer = ask(&app.keyed, asked).await;
                let answer = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(
                    !answer.contains("of the wrong type") && !answer.contains("cannot be read"),
                    "{method} {path} {body}: {answer}"
                );
                fields += 1;
            }
        }
    }
    assert!(fields > 40, "only {fields} fields were found");
}

#[tokio::test]
async fn null_lists_and_maps_do_what_their_absence_does() {
    let app = TestApp::new();
    let admin = app.key("root", Scope::Admin, None).await;
    let verify = app.key("app", Scope::Verify, None).await;
    let post = async |path: &str, body: Value| {
        let key = if path.starts_with("/v1/admin") {
            &admin
        } else {
            &verify
        };
        let asked = request("POST", path, Some(key), Some(body));
        ask(&app.keyed, asked).await.json()
    };
    let alice = json!({"user": "alice", "groups": null, "phone": null});
    let made = post("/v1/admin/users", alice).await;
    assert_eq!(
        (&made["user"], &made["groups"]),
        (&json!("alice@default"), &json!([]))
    );
    let rows = json!([{"user": "bob", "groups": null, "secret": null, "digits": null}]);
    let import = json!({"make": "users", "on_conflict": null, "dry_run": null, "rows": rows});
    assert_eq!(post("/v1/admin/import", import).await["users"], 1);
    let client = json!({"kind": "api", "name": "other", "scopes": null});
    assert_eq!(
        post("/v1/admin/clients", client).await["scopes"],
        json!(["verify"])
    );
    let token = json!({"user": "alice", "kind": "totp", "active": null, "request": null});
    assert_eq!(post("/v1/admin/tokens", token).await["state"], "pending");
    let login = json!({"user": "alice", "otp": "123456", "context": null});
    assert_eq!(post("/v1/verify", login).await["decision"], "reject");
    let explain = json!({"user": "alice", "client": "app", "attributes": null, "context": null});
    assert_eq!(
        post("/v1/admin/explain", explain).await["status"],
        Value::Null
    );
    // A list is still no map, and a misspelt field no silence.
    let list = json!({"user": "alice", "context": []});
    assert_eq!(post("/v1/verify", list).await["status"], 400);
    let misspelt = json!({"user": "carol", "grops": null});
    assert_eq!(post("/v1/admin/users", misspelt).await["status"], 400);
}

#[test]
fn a_refused_import_says_that_nothing_was_made() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    for file in ["user\nzz1\nalice\nzz2\n", "user\nalice\nzz1\n"] {
        let (code, said) = import(&site, file.as_bytes(), &[]);
        assert_eq!(code, Some(5), "{said}");
        assert!(said.contains("nothing was imported"), "{said}");
        assert!(!said.contains("were made"), "{said}");
    }
    assert_eq!(users(&site), ["alice"]);
    let (code, said) = import(&site, b"user\nzz1\nalice\n", &["--on-conflict", "skip"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(users(&site), ["alice", "zz1"]);
}

#[test]
fn a_heading_without_a_needed_column_is_one_finding() {
    let site = Site::new();
    let (exit, said) = import(&site, b"groups,phone\nvpn,\nstaff,\nit,\n", &[]);
    assert_eq!(exit, Some(2), "{said}");
    assert_eq!(said.matches("no column `user`").count(), 1, "{said}");
    assert!(
        said.contains("people.csv:1") && !said.contains("user: empty"),
        "{said}"
    );
    let path = site.path().join("people.csv");
    std::fs::write(&path, "user,serial\nalice,A-1\nbob,A-2\n").unwrap();
    let output = site.run(&["token", "import", path.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("no column `secret`").count(), 1, "{said}");
    assert!(!said.contains("ignore-columns"), "{said}");
    // After `sep=` the heading is the second line.
    let (_, said) = import(&site, b"sep=;\ngroups;phone\nvpn;\n", &[]);
    assert!(said.contains("people.csv:2"), "{said}");
    for empty in [&b""[..], b"\n\n", b"sep=;\n"] {
        let (exit, said) = import(&site, empty, &[]);
        assert_eq!(exit, Some(2), "{said}");
        assert!(!said.contains("ignore-columns"), "{said}");
        assert!(said.contains("have its first line name them"), "{said}");
    }
    let (_, said) = import(&site, b"user,Department\na,b\n", &[]);
    assert!(said.contains("--ignore-columns"), "{said}");
}

#[test]
fn what_the_server_refuses_is_said_with_what_is_malformed() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    site.json(&["user", "add", "bob@staff"]);
    let text = "user,email\nalice,\ncarol,nobody\nbob@staff,\ndave,\n";
    let (exit, said) = import(&site, text.as_bytes(), &[]);
    assert_eq!(exit, Some(2), "{said}");
    for word in [
        "people.csv:2: the user alice@default exists already",
        "people.csv:3:7: email",
        "people.csv:4: the user bob@staff exists already",
        "3 rows cannot be imported",
        "--on-conflict skip",
        "token import",
        "--skip-bad",
        "nothing was imported",
    ] {
        assert!(said.contains(word), "no {word}: {said}");
    }
    let (_, said) = import(&site, text.as_bytes(), &["--on-conflict", "skip"]);
    assert!(!said.contains("exists already"), "{said}");
    let (exit, said) = import(&site, b"user\nalice\n", &[]);
    assert_eq!(exit, Some(5), "{said}");
    assert!(
        said.contains("--on-conflict skip") && said.contains("token import"),
        "{said}"
    );
}

#[test]
fn a_token_without_a_key_and_a_key_of_another_user_are_findings() {
    let site = Site::new();
    for (row, column) in [
        ("zed,hotp,,,", "kind"),
        ("zed,,,8,", "digits"),
        ("zed,,,,A-1", "serial"),
    ] {
        let text = format!("user,kind,secret,digits,serial\n{row}\n");
        let (exit, said) = import(&site, text.as_bytes(), &[]);
        assert_eq!(exit, Some(2), "{said}");
        assert!(
            said.contains(&format!("{column}: a row without a secret")),
            "{said}"
        );
    }
    assert!(users(&site).is_empty());
    let (exit, said) = import(&site, format!("user,secret\nalice,{KEY}\n").as_bytes(), &[]);
    assert_eq!(exit, Some(0), "{said}");
    let (exit, said) = import(&site, format!("user,secret\nzed,{KEY}\n").as_bytes(), &[]);
    assert_eq!(exit, Some(5), "{said}");
    assert!(said.contains("oncegate token link"), "{said}");
    assert!(said.contains("zed@default"), "{said}");
}

#[test]
fn the_help_of_an_import_is_its_own() {
    let site = Site::new();
    let help = |noun: &str| {
        let output = site.run(&[noun, "import", "--help"]);
        String::from_utf8(output.stdout).unwrap()
    };
    let (users, tokens) = (help("user"), help("token"));
    assert!(
        users.contains("oncegate user import") && !users.contains("oncegate token import people"),
        "{users}"
    );
    assert!(
        tokens.contains("oncegate token import tokens.csv")
            && !tokens.contains("oncegate user import"),
        "{tokens}"
    );
    for column in [
        "user",
        "realm",
        "groups",
        "display_name",
        "name",
        "phone",
        "email",
        "class",
        "kind",
        "secret",
        "algorithm",
        "digits",
        "period",
        "counter",
        "serial",
    ] {
        assert!(
            users.contains(column) && tokens.contains(column),
            "{column}"
        );
    }
}

/// A configuration that names files of every kind: none of those in `none/` is there, `empty` is.
const NAMES: &str = "[radius]
dictionary = \"none/dictionary\"
[radius.eap]
certificate = \"none/eap.pem\"
key = \"none/eap.key\"
[radius.tls]
certificate = \"none/tls.pem\"
key = \"none/tls.key\"
client_ca = \"none/ca.pem\"
[http]
inbound_secret_file = \"empty\"
compat = \"vpn yubico 192.0.2.7 id=1 key_file=none/yubico\"
[http.tls]
certificate = \"none/http.pem\"
key = \"none/http.key\"
[policies]
departures = \"none/departures\"
countries = \"none/countries\"
[audit]
ship_http = \"http://127.0.0.1:9/\"
ship_token_file = \"none/token\"
ship_ca_file = \"none/ca.pem\"
[delivery.sms]
kind = \"http\"
media = \"sms\"
url = \"http://127.0.0.1:9/?to={to}&text={text}\"
allow_private = true
secret_file = \"empty\"
ca_file = \"none/ca.pem\"
[source.hr]
kind = \"sql\"
url = \"postgresql://reader@127.0.0.1:9/hr\"
query = \"SELECT 1\"
secret_file = \"empty\"
[webhook.desk]
url = \"http://127.0.0.1:9/\"
secret_file = \"none/desk\"
";

fn said(output: &std::process::Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(text).unwrap()
}

/// The lines of [`NAMES`] that name a file, each with its dotted key.
fn named_files() -> Vec<(usize, String)> {
    let mut section = "";
    let mut found = Vec::new();
    for (index, line) in NAMES.lines().enumerate() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
        } else if line.contains("none/") || line.contains("empty") {
            let key = line.split(' ').next().unwrap();
            found.push((index + 1, format!("{section}.{key}")));
        }
    }
    found
}

#[test]
fn every_file_that_is_named_is_looked_at_before_the_start() {
    let site = Site::new();
    std::fs::write(site.path().join("oncegate.toml"), NAMES).unwrap();
    std::fs::write(site.path().join("empty"), "\n").unwrap();
    // What else is wrong is said at the same time.
    let policy = "[[rule]]\nname = \"x\"\nrequire = [\"otp\"]\n[[rule]]\nnaem = \"y\"\n";
    std::fs::write(site.path().join("policies/vpn.toml"), policy).unwrap();
    assert_eq!(named_files().len(), 18);
    for (words, code) in [(&["config", "check"][..], 1), (&["serve"], 2)] {
        let output = site.run(words);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        for (line, key) in named_files() {
            let wanted = format!("oncegate.toml:{line}: `{key}`: ");
            assert!(text.contains(&wanted), "{words:?}: no {wanted} in {text}");
        }
        assert_eq!(text.matches("is empty").count(), 3, "{text}");
        assert!(!text.contains("does not hold one line"), "{text}");
    }
    assert!(!site.path().join("admin.sock").exists());
    let found = site.run(&["--json", "config", "check"]);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let findings = found["findings"].as_array().unwrap();
    let lines = findings.iter().filter(|one| one["line"].is_u64()).count();
    assert!(lines >= 18, "{found}");
    let doctor = said(&site.run(&["doctor"]));
    assert!(doctor.contains("`audit.ship_token_file`: "), "{doctor}");
    // With the dictionary, the policies are read too.
    let text = NAMES.replace("dictionary = ", "# dictionary = ");
    std::fs::write(site.path().join("oncegate.toml"), text).unwrap();
    let refused = said(&site.run(&["serve"]));
    assert!(refused.contains("vpn.toml:5"), "{refused}");
}

/// A fault of the configuration hides no fault of a file, of a policy or of the master key.
#[test]
fn all_that_refuses_a_start_is_said_at_once() {
    let site = Site::new();
    let text = "[radius]\nlisne = \"x\"\nlisten = \"nowhere\"\n[http]\ninbound_secret_file = \"nope.key\"\n\
                [policies]\ndepartures = \"nodep.csv\"\n[delivery.sms]\nkind = \"htp\"\nsecret_file = \"sms.key\"\n\
                [keys]\nmaster = \"file:nothere.key\"\n[web]\nconsole_listen = \"0.0.0.0:9443\"\n";
    std::fs::write(site.path().join("oncegate.toml"), text).unwrap();
    let policy = "[[rule]]\nname = \"x\"\nrequire = [\"opt\"]\n";
    std::fs::write(site.path().join("policies/otp.toml"), policy).unwrap();
    for (words, code) in [(&["config", "check"][..], 1), (&["serve"], 2)] {
        let output = site.run(words);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        for wanted in [
            "oncegate.toml:2:",
            "oncegate.toml:3:",
            "oncegate.toml:5: `http.inbound_secret_file`: ",
            "oncegate.toml:7: `policies.departures`: ",
            "oncegate.toml:9:",
            "oncegate.toml:10: `delivery.sms.secret_file`: ",
            "oncegate.toml:12: `keys.master`: the master key ",
            "oncegate.toml:14:",
            "otp.toml:3",
        ] {
            assert!(text.contains(wanted), "{words:?}: no {wanted} in {text}");
        }
    }
    let doctor = said(&site.run(&["doctor"]));
    for wanted in ["`delivery.sms.kind`", "`policies.departures`", "otp.toml:3"] {
        assert!(doctor.contains(wanted), "no {wanted} in {doctor}");
    }
}

/// What `serve` refuses about the master key is found by a check, with file and line.
#[test]
fn a_check_looks_for_the_master_key() {
    let site = Site::new();
    let config = site.path().join("oncegate.toml");
    let keyed = |master: &str| {
        std::fs::write(&config, format!("[keys]\nmaster = \"{master}\"\n")).unwrap();
    };
    keyed("file:nothere.key");
    for (words, code) in [(&["config", "check"][..], 1), (&["serve"], 2)] {
        let output = site.run(words);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        assert!(text.contains("oncegate.toml:2: `keys.master`: "), "{text}");
        assert!(text.contains("nothere.key is missing"), "{text}");
    }
    // Of a credential of systemd, and of a variable of the daemon's, a shell knows nothing.
    for master in ["credential:master.key", "env:OG_TEST_NO_KEY"] {
        keyed(master);
        let checked = site.run(&["config", "check"]);
        assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    }
    let served = site.run(&["serve"]);
    let text = said(&served);
    assert_eq!(served.status.code(), Some(3), "{text}");
    assert!(
        text.contains("OG_TEST_NO_KEY does not hold the master key"),
        "{text}"
    );
}

/// A webhook without its key would stay silent, and records without their token would not be taken.
#[test]
fn a_secret_that_is_missing_or_empty_refuses_the_start() {
    let site = Site::new();
    let config = site.path().join("oncegate.toml");
    let file = site.path().join("secret");
    let before = std::fs::read_to_string(&config).unwrap();
    for (table, key) in [
        (
            "[webhook.desk]\nurl = \"http://127.0.0.1:9/\"\nsecret_file = \"secret\"\n",
            "webhook.desk.secret_file",
        ),
        (
            "[audit]\nship_http = \"http://127.0.0.1:9/\"\nship_token_file = \"secret\"\n",
            "audit.ship_token_file",
        ),
    ] {
        let text = before.replace("[audit]\n", "");
        std::fs::write(&config, format!("{text}\n{table}")).unwrap();
        let line = text.lines().count() + 4;
        for content in [None, Some(" \n"), Some("two\nlines\n")] {
            let _ = std::fs::remove_file(&file);
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            let wanted = format!("oncegate.toml:{line}: `{key}`: ");
            let checked = site.run(&["config", "check"]);
            let text = said(&checked);
            assert_eq!(checked.status.code(), Some(1), "{content:?}: {text}");
            assert!(text.contains(&wanted), "no {wanted} in {text}");
            let refused = site.try_serve().map(drop).unwrap_err();
            assert_eq!(refused.code(), Some(2), "{content:?}: {}", site.log());
            assert!(site.log().contains(&wanted), "{}", site.log());
        }
        std::fs::write(&file, "k".repeat(32)).unwrap();
        let checked = site.run(&["config", "check"]);
        assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
        assert!(site.serve().terminate().success());
        std::fs::remove_file(site.path().join("log")).unwrap();
    }
}

#[test]
fn doctor_looks_at_the_modes_of_all_secrets() {
    let site = Site::new();
    let config = NAMES
        .replace("none/", "")
        .replace("dictionary = ", "# dictionary = ");
    std::fs::write(site.path().join("oncegate.toml"), config).unwrap();
    let keys = [
        "eap.key", "tls.key", "empty", "yubico", "http.key", "token", "desk",
    ];
    let others = [
        "eap.pem",
        "tls.pem",
        "ca.pem",
        "http.pem",
        "departures",
        "countries",
    ];
    let put = |name: &str, mode: u32| {
        let path = site.path().join(name);
        std::fs::write(&path, "k".repeat(32)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let found = || {
        let output = site.run(&["--json", "doctor"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().iter();
        let modes = checks.filter(|one| one["check"] == "modes" && one["state"] != "ok");
        let mut fixes: Vec<String> = modes
            .map(|one| one["fix"].as_str().unwrap().to_owned())
            .collect();
        fixes.sort();
        fixes
    };
    let fix = |name: &str| format!("chmod 600 {}", site.path().join(name).display());
    others.iter().for_each(|name| put(name, 0o644));
    for (mode, is_wide) in [(0o644, true), (0o640, true), (0o600, false)] {
        keys.iter().for_each(|name| put(name, mode));
        let mut wanted: Vec<String> = keys.iter().map(|name| fix(name)).collect();
        wanted.retain(|_| is_wide);
        wanted.sort();
        assert_eq!(found(), wanted, "{mode:o}");
    }
}

//! Users who follow a database (`PostgreSQL`) or a file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::daemon::Site;
use crate::support::postgres::{PASSWORD, Postgres};
use crate::support::skip;

fn sync(site: &Site, words: &[&str]) -> Value {
    site.json(&[&["source", "sync", "hr"], words].concat())
}

/// A run that fails changes nothing; what it says.
fn fails(site: &Site, code: i32, wanted: &str) {
    let before = site.json(&["source", "show", "hr"]);
    let output = site.run(&["source", "sync", "hr"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(wanted), "{wanted}: {text}");
    assert!(!text.contains(PASSWORD), "{text}");
    let after = site.json(&["source", "show", "hr"]);
    for field in ["users", "disabled"] {
        assert_eq!(before[field], after[field], "{text}");
    }
}

fn user(site: &Site, name: &str) -> Value {
    site.json(&["user", "show", name])
}

/// Writes the table of the source behind what `init` wrote.
fn table(site: &Site, text: &str) {
    let path = site.path().join("oncegate.toml");
    let written = fs::read_to_string(&path).unwrap();
    let before = written.split("\n[source.hr]").next().unwrap();
    fs::write(&path, format!("{before}\n[source.hr]\n{text}\n")).unwrap();
}

const QUERY: &str = "SELECT id, login AS user, full_name AS display_name, mobile AS phone, teams AS groups, \
                     other AS alias, NOT active AS disabled FROM staff ORDER BY login";

#[test]
#[allow(clippy::too_many_lines)] // one way after the other
fn row_a16_users_follow_a_database() {
    let Some(mut database) = Postgres::start() else {
        skip("PostgreSQL not found (apt install postgresql)");
        return;
    };
    database.sql(
        "CREATE TABLE staff (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), login varchar(40), full_name text, \
         mobile text, teams text[], other text, active bool DEFAULT true); \
         INSERT INTO staff (login, full_name, mobile, teams, other) SELECT 'p' || n, 'Person ' || n, \
         '010-1000-' || lpad(n::text, 4, '0'), ARRAY['staff', 'team-' || n % 3], 'nr' || n FROM generate_series(1, 200) n; \
         GRANT SELECT ON staff TO reader; \
         CREATE FUNCTION meddle() RETURNS text LANGUAGE sql AS $$ DELETE FROM staff RETURNING login $$",
    );
    let site = Site::new();
    fs::write(site.path().join("hr.password"), format!("{PASSWORD}\n")).unwrap();
    let with = |query: &str, more: &str| {
        let (port, ca) = (database.port, database.ca());
        let text = format!(
            "kind = \"sql\"\nurl = \"postgresql://reader@127.0.0.1:{port}/postgres\"\nca_file = \"{}\"\n\
             secret_file = \"hr.password\"\nevery = \"never\"\ngroups = [\"team-*\"]\nquery = '''{query}'''\n{more}",
            ca.display()
        );
        table(&site, &text);
    };
    with(QUERY, "");
    assert_eq!(sync(&site, &["--dry-run"])["counts"]["created"], 200);
    assert_eq!(sync(&site, &[])["counts"]["created"], 200);
    let person = user(&site, "p7");
    assert_eq!(
        (&person["display_name"], &person["phone"], &person["groups"]),
        (
            &json!("Person 7"),
            &json!("+821010000007"),
            &json!(["team-1"])
        ),
    );
    assert_eq!(user(&site, "nr7")["user"], "p7@default", "by the alias");
    site.json(&["user", "set", "p7", "--email", "seven@example.org"]);
    database.sql(
        "UPDATE staff SET login = 'seven', other = 'p7x' WHERE login = 'p7'; DELETE FROM staff WHERE login = 'p8'; \
         UPDATE staff SET active = false WHERE login = 'p9'",
    );
    let done = sync(&site, &[]);
    assert_eq!(
        done["renamed"],
        json!([{"before": "p7@default", "after": "seven@default"}])
    );
    assert_eq!(done["disabled"].as_array().unwrap().len(), 2, "{done}");
    let seven = user(&site, "p7x");
    assert_eq!(seven["user"], "seven@default");
    assert_eq!(
        seven["email"], "seven@example.org",
        "no column says otherwise"
    );
    let again = sync(&site, &[]);
    assert_eq!(again["counts"]["unchanged"], 199, "{again}");

    // What is not whole, late, cut off or too little changes nothing.
    for (query, wanted) in [
        (
            "SELECT login AS user, 1/(199 - row_number() OVER ()) AS id FROM staff",
            "division by zero",
        ),
        (
            "SELECT login AS user, id, pg_sleep(3)::text AS name FROM staff",
            "no answer within 1 s",
        ),
        ("SELECT meddle() AS user", "read-only transaction"),
        (
            "SELECT id, NULL AS user FROM staff",
            "row 1: `user` is missing",
        ),
        (
            "SELECT login AS user, 5 AS grups FROM staff",
            "did you mean `groups`?",
        ),
        (
            "SELECT login AS user FROM nothing",
            "\"nothing\" does not exist",
        ),
        (
            "SELECT 1) x; DELETE FROM staff; SELECT (1",
            "SQLSTATE 42601",
        ),
        (
            "SELECT repeat('x', 70000) AS user",
            "more than 65536 octets",
        ),
    ] {
        with(query, "timeout = \"1s\"");
        fails(&site, 3, wanted);
    }
    with("DELETE FROM staff RETURNING login", "");
    let output = site.run(&["config", "check"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("write one SELECT"), "{text}");
    with(
        &format!("SELECT * FROM ({QUERY}) x WHERE \"user\" > 'p2'"),
        "",
    );
    fails(&site, 5, "users are gone");
    with(QUERY, "starttls = false");
    assert_eq!(sync(&site, &[])["counts"]["unchanged"], 199);
    fs::write(site.path().join("hr.password"), "another\n").unwrap();
    fails(&site, 3, "SQLSTATE 28P01");
    fs::write(site.path().join("hr.password"), PASSWORD).unwrap();
    let text = fs::read_to_string(site.path().join("oncegate.toml")).unwrap();
    let foreign = text
        .replace("starttls = false", "")
        .replace("ca_file = ", "#ca_file = ");
    fs::write(site.path().join("oncegate.toml"), foreign).unwrap();
    fails(&site, 3, "certificate");
    with(QUERY, "");
    database.kill();
    fails(&site, 3, "Connection refused");
    database.run();
    assert_eq!(sync(&site, &[])["counts"]["unchanged"], 199);
}

#[test]
#[allow(clippy::too_many_lines)] // one way after the other
fn row_a16_users_follow_a_file() {
    let site = Site::new();
    let csv = site.path().join("people.csv");
    let json = site.path().join("people.json");
    let of_csv = "kind = \"file\"\nfile = \"people.csv\"\nencoding = \"cp949\"\nevery = \"never\"\n\
                  map = [\"No=id\", \"Login=user\", \"Full=name\", \"Teams=groups\"]\nignore_columns = [\"Notes\"]";
    let write = |rows: &[u8]| {
        fs::write(&csv, [b"No;Login;Full;Teams;Notes\n", rows].concat()).unwrap();
    };
    table(&site, of_csv);
    fails(&site, 3, "cannot be read");
    write(b"1;kim;\xb1\xe8;vpn;x\n2;lee;Lee;\"vpn;staff\";\n3;park;Park;;\n");
    site.json(&["user", "add", "chief", "--alias", "park"]);
    let done = sync(&site, &[]);
    assert_eq!(done["counts"]["created"], 2, "{done}");
    assert_eq!(
        done["skipped"][0]["why"],
        "a user has this name as an alias"
    );
    assert_eq!(user(&site, "kim")["display_name"], "\u{ae40}");
    assert_eq!(user(&site, "lee")["groups"], json!(["staff", "vpn"]));
    site.json(&[
        "user",
        "set",
        "lee",
        "--phone",
        "010-1234-5678",
        "--alias",
        "lee2",
    ]);
    write(b"1;kim;Kim;vpn;x\n2;leeh;Lee;vpn;\n3;park;Park;;\n");
    let done = sync(&site, &[]);
    assert_eq!(done["counts"]["renamed"], 1, "{done}");
    let lee = user(&site, "leeh");
    assert_eq!(
        (&lee["phone"], &lee["aliases"]),
        (&json!("+821012345678"), &json!(["lee2@default"]))
    );

    // A fault is one of the file: no one is gone because a line is not understood.
    for (rows, wanted) in [
        (
            &b"1;kim;Kim;vpn;x\n;;Lee;vpn;\n"[..],
            "people.csv:3: `user` is missing",
        ),
        (b"1;kim;Kim\n", "people.csv:2: 3 fields instead of 5"),
        (b"1;kim;\xff\xff;vpn;\n", "people.csv:2"),
        (b"1;kim;\"Kim;vpn;\n", "a double quote is not closed"),
    ] {
        write(rows);
        fails(&site, 3, wanted);
    }
    write(b"1;kim;Kim;vpn;x\n");
    fails(&site, 5, "1 of 2 users are gone");
    assert_eq!(
        sync(&site, &["--force"])["disabled"],
        json!(["leeh@default"])
    );
    fs::set_permissions(&csv, fs::Permissions::from_mode(0o666)).unwrap();
    fails(&site, 3, "chmod o-w");

    table(
        &site,
        "kind = \"file\"\nfile = \"people.json\"\nevery = \"1m\"",
    );
    fs::write(
        &json,
        r#"{"people": [{"id": 1, "user": "kim", "alias": ["k@corp.example", "chief"]},"#,
    )
    .unwrap();
    fails(&site, 3, "people.json:1:");
    fs::write(&json, "[5]").unwrap();
    fails(&site, 3, "a list of objects");
    fs::write(
        &json,
        r#"[{"id": 1, "user": "kim", "alias": ["k@corp.example", "chief"]}, {"id": "2", "user": "leeh"},
            {"id": 3, "user": "Upn@Corp.Example"}, {"id": 4, "user": "boss@console"}]"#,
    )
    .unwrap();
    // The daemon reads it by itself, soon after its start.
    let daemon = site.serve();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while site.json(&["source", "show", "hr"])["last"].is_null() {
        assert!(std::time::Instant::now() < until, "{}", site.log());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let kim = user(&site, "k@corp.example");
    assert_eq!(kim["user"], "kim@default");
    assert_eq!(
        kim["groups"],
        json!(["vpn"]),
        "the file says nothing of groups"
    );
    assert_eq!(user(&site, "leeh")["disabled"], false);
    // A name says its realm as at every front end, and no source of another realm makes an administrator.
    let upn = user(&site, "upn@corp.example");
    assert_eq!(
        (&upn["user"], &upn["realm"], &upn["source"]),
        (
            &json!("upn@corp.example"),
            &json!("corp.example"),
            &json!("hr")
        )
    );
    let dry = sync(&site, &["--dry-run"]);
    assert_eq!(
        dry["skipped"][0]["why"], "alias chief@default: a user has this name",
        "{dry}"
    );
    let why = "people of the console have names of their own";
    assert_eq!(
        dry["skipped"][1],
        json!({"entry": "boss@console", "why": why})
    );
    assert_eq!(dry["counts"]["unchanged"], 3, "{dry}");
    drop(daemon);
    table(
        &site,
        "kind = \"file\"\nfile = \"people.csv\"\nurl = \"ldap://localhost\"",
    );
    let output = site.run(&["config", "check"]);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        text.contains("a source of kind file has no `source.hr.url`"),
        "{text}"
    );
}

use proptest::prelude::*;

use super::document::Document;
use super::*;

fn source() -> Source {
    Source::new("oncegate.toml", "[radius]\nsecert = \"x\"\n")
}

#[test]
fn renders_place_caret_and_help() {
    let diagnostic = Diagnostic::error("unknown key `radius.secert`")
        .at(source().place(9..15))
        .suggest("secert", ["listen", "secret"]);
    assert_eq!(
        diagnostic.render(Colour::Plain),
        "error: unknown key `radius.secert`
 --> oncegate.toml:2:1
  |
2 | secert = \"x\"
  | ^^^^^^
  |
  = help: did you mean `secret`?"
    );
    assert_eq!(
        diagnostic.to_string(),
        "oncegate.toml:2:1: error: unknown key `radius.secert` (did you mean `secret`?)"
    );
    assert_eq!(diagnostic.file_line().as_deref(), Some("oncegate.toml:2"));
    assert!(diagnostic.render(Colour::Ansi).contains("\u{1b}["));
}

#[test]
fn renders_without_a_place() {
    let diagnostic = Diagnostic::warning("ONCEGATE__X is odd").help("unset it");
    assert_eq!(
        diagnostic.render(Colour::Plain),
        "warning: ONCEGATE__X is odd\n |\n = help: unset it"
    );
}

#[test]
fn the_machine_form_has_every_part() {
    let diagnostic = Diagnostic::error("bad")
        .at(source().place(9..15))
        .help("do");
    assert_eq!(
        serde_json::to_string(&diagnostic.finding()).unwrap(),
        "{\"severity\":\"error\",\"message\":\"bad\",\"file\":\"oncegate.toml\",\"line\":2,\
         \"column\":1,\"label\":null,\"help\":\"do\"}"
    );
}

#[test]
fn toml_errors_keep_their_span_and_suggest() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Client {
        secret: String,
        address: String,
    }
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct One {
        secret: String,
    }
    let source = Source::new("c.toml", "address = \"a\"\nsecert = \"x\"\n");
    let error = toml::from_str::<Client>(source.text()).unwrap_err();
    let diagnostic = Diagnostic::from_toml(&source, &error);
    assert_eq!(
        diagnostic.to_string(),
        "c.toml:2:1: error: unknown field `secert` (did you mean `secret`?)"
    );
    let source = Source::new("c.toml", "secert = \"x\"\n");
    let error = toml::from_str::<One>(source.text()).unwrap_err();
    assert_eq!(
        Diagnostic::from_toml(&source, &error).to_string(),
        "c.toml:1:1: error: unknown field `secert` (did you mean `secret`?)"
    );
}

#[test]
fn suggests_slips_of_the_fingers_only() {
    assert_eq!(did_you_mean("secert", ["secret", "listen"]), Some("secret"));
    assert_eq!(did_you_mean("GROUP", ["group"]), Some("group"));
    assert_eq!(did_you_mean("grup", ["group", "grape"]), Some("group"));
    assert_eq!(did_you_mean("banana", ["group", "realm"]), None);
    assert_eq!(did_you_mean(&"a".repeat(10_000), ["a"]), None);
}

#[test]
fn counts_columns_in_characters() {
    let place = Source::new("x", "a = \"\u{e9}\u{e9}\" # b").place(10..11);
    assert_eq!((place.line(), place.column()), (1, 9));
}

#[test]
fn a_document_reports_all_faults() {
    let source = Source::new("d.toml", "a = 1\nb = \"x\"\ntimout = \"3s\"\n");
    let mut findings = Findings::default();
    let document = Document::parse(&source, &mut findings).unwrap();
    let mut root = document.root();
    root.value("a").unwrap().text(&mut findings);
    root.value("b").unwrap().number::<u8>(0..=9, &mut findings);
    root.value("timeout");
    root.required("c", &mut findings);
    root.finish(&mut findings);
    let texts: Vec<String> = findings.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "d.toml:1:5: error: `a` must be a string",
            "d.toml:2:5: error: `b` must be an integer",
            "d.toml:1:1: error: `c` is missing",
            "d.toml:3:1: error: unknown key `timout` (did you mean `timeout`?)",
        ]
    );
}

/// A misspelt key may be that of a secret.
#[test]
fn an_unknown_key_is_quoted_without_its_value() {
    let quoted = |text: &str| {
        let source = Source::new("d.toml", text);
        let mut findings = Findings::default();
        let document = Document::parse(&source, &mut findings).unwrap();
        document.root().finish(&mut findings);
        render_all(&findings.0, Colour::Plain)
    };
    for (text, line) in [
        ("secert = \"hunter2\" # x", "1 | secert ="),
        ("secert.x = \"hunter2\"", "1 | secert.x ="),
        ("\"sec ret\" = \"hunter2\"", "1 | \"sec ret\" ="),
        ("[secert] # hunter2", "1 | [secert]"),
        ("[[secert]] # hunter2", "1 | [[secert]]"),
    ] {
        let said = quoted(text);
        assert!(said.lines().any(|said| said == line), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    // In an inline table, where the values before it stand in the same line.
    let source = Source::new("d.toml", "a = { b = \"hunter2\", c = 1 }\nd = { e = 1 }\n");
    let mut findings = Findings::default();
    let document = Document::parse(&source, &mut findings).unwrap();
    let mut root = document.root();
    for key in ["a", "d"] {
        let table = root.value(key).unwrap().table(&mut findings).unwrap();
        table.finish(&mut findings);
    }
    let said = render_all(&findings.0, Colour::Plain);
    assert!(!said.contains("hunter2"), "{said}");
    assert!(
        said.contains("error: d.toml:1:22: unknown key `a.c`"),
        "{said}"
    );
    assert!(said.contains("2 | d = { e =\n"), "{said}");
}

#[test]
fn what_is_not_quoted_is_placed_all_the_same() {
    let diagnostic = Diagnostic::error("`a` must be a string")
        .at(source().place(9..15))
        .label("this is a table")
        .unquoted();
    assert_eq!(
        diagnostic.render(Colour::Plain),
        "error: oncegate.toml:2:1: `a` must be a string, this is a table"
    );
    assert_eq!(diagnostic.finding().line, Some(2));
    assert_eq!(diagnostic.file_line().as_deref(), Some("oncegate.toml:2"));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let source = Source::new("x\u{1b}[31m", "a = 1 # \u{1b}[2J\n");
    let diagnostic = Diagnostic::error("bad `\u{1b}[2J`")
        .at(source.place(0..1))
        .help("\u{1b}c");
    assert!(
        !diagnostic
            .label("\u{7}")
            .render(Colour::Plain)
            .contains(['\u{1b}', '\u{7}'])
    );
}

proptest! {
    #[test]
    fn any_text_and_span_render(text in "(?s).{0,80}", start in 0_usize..100, length in 0_usize..100) {
        let place = Source::new("x", text).place(start..start + length);
        let diagnostic = Diagnostic::error("message").at(place).label("label").help("help");
        prop_assert!(!diagnostic.render(Colour::Plain).is_empty());
        prop_assert!(diagnostic.to_string().starts_with("x:"));
    }

    #[test]
    fn any_text_parses_or_is_reported(text in "(?s)[\\[\\]\"=.a-c0-9\n {}#\\PC]{0,60}") {
        let source = Source::new("x", text);
        let mut findings = Findings::default();
        let parsed = Document::parse(&source, &mut findings).is_some();
        prop_assert_eq!(parsed, !findings.has_errors());
        for one in &findings.0 {
            one.render(Colour::Plain);
        }
    }
}

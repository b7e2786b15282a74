//! The master key in a hardware security module, with softhsm2 as the module.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::codes::{hotp_of, secret_of};
use crate::support::daemon::{Site, command};
use crate::support::net::Http;
use crate::support::require;

/// Where Debian has the module.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A token called `oncegate` beside a site.
struct Module {
    config: PathBuf,
    pin: PathBuf,
}

impl Module {
    fn new(site: &Site) -> Self {
        let tokens = site.path().with_file_name("tokens");
        fs::create_dir(&tokens).unwrap();
        let config = site.path().with_file_name("softhsm2.conf");
        fs::write(
            &config,
            format!("directories.tokendir = {}\n", tokens.display()),
        )
        .unwrap();
        let pin = site.path().with_file_name("pin");
        fs::write(&pin, "123456\n").unwrap();
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "oncegate"])
            .args(["--pin", "123456", "--so-pin", "654321"])
            .env("SOFTHSM2_CONF", &config)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        Self { config, pin }
    }

    fn place(&self, object: &str) -> String {
        let pin = self.pin.display();
        format!("pkcs11:token=oncegate;object={object}?module-path={MODULE}&pin-source=file:{pin}")
    }

    fn run(&self, site: &Site, words: &[&str]) -> Output {
        let mut command = command(&site.path());
        command.args(words).env("SOFTHSM2_CONF", &self.config);
        command.output().unwrap()
    }
}

fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_module_holds_the_master_key_and_nothing_opens_without_it() {
    if !require("softhsm2-util", "softhsm2") {
        return;
    }
    let site = Site::new();
    let module = Module::new(&site);
    site.enrol("alice", "hotp", &secret_of("alice"));
    let key = site.api_client("app");
    let place = module.place("master");
    let output = module.run(&site, &["key", "rotate", "--to", &place]);
    assert!(output.status.success(), "{}", said(&output));
    // The file opens nothing any more.
    let output = module.run(&site, &["user", "list"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let config = site.path().join("oncegate.toml");
    let before = fs::read_to_string(&config).unwrap();
    let with = |place: &str| {
        let line = format!("[keys]\nmaster = \"{place}\"\n");
        fs::write(&config, before.replace("[keys]\n", &line)).unwrap();
    };
    with(&place);
    fs::remove_file(site.path().join("master.key")).unwrap();
    let env = [("SOFTHSM2_CONF", module.config.to_str().unwrap())];
    let daemon = site.serve_with(&env);
    let mut http = Http::new(daemon.http, &key);
    let (status, answer) = http.verify("alice", &hotp_of("alice", 0)).unwrap();
    assert_eq!((status, &answer["decision"]), (200, &Value::from("accept")));
    let keys = site.json(&["key", "status"]);
    assert!(
        keys["master"]
            .as_str()
            .unwrap()
            .starts_with("pkcs11:token=oncegate"),
        "{keys}"
    );
    assert!(!site.log().contains("123456"), "{}", site.log());
    // The data key is exchanged below it as below a file.
    assert_eq!(site.json(&["key", "rotate", "--data"])["number"], 1);
    let output = module.run(&site, &["key", "rotate"]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(daemon.terminate().success());

    for (place, about) in [
        (module.place("other"), "no key object called other"),
        (
            module
                .place("master")
                .replace("token=oncegate", "token=none"),
            "no token called none",
        ),
        (
            module.place("master").replace(MODULE, "/nowhere.so"),
            "cannot be loaded",
        ),
        (
            module.place("master").replace("/pin", "/nothing"),
            "PIN of the token cannot be read",
        ),
    ] {
        with(&place);
        let output = module.run(&site, &["serve"]);
        assert_eq!(output.status.code(), Some(3), "{place}: {}", said(&output));
        assert!(
            said(&output).contains(about) && said(&output).contains("next:"),
            "{}",
            said(&output)
        );
    }
    with(&place);
    fs::write(&module.pin, "999999").unwrap();
    let output = module.run(&site, &["user", "list"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said(&output).contains("does not take the PIN"),
        "{}",
        said(&output)
    );
    assert!(!said(&output).contains("999999"));
    fs::set_permissions(&module.pin, fs::Permissions::from_mode(0o644)).unwrap();
    let output = module.run(&site, &["user", "list"]);
    assert!(said(&output).contains("chmod 600"), "{}", said(&output));
    let inside = place.replace("pin-source=file:", "pin-value=");
    with(&inside);
    let output = module.run(&site, &["config", "check"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("no pin-value"), "{}", said(&output));
}

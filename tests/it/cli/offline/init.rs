//! An interrupted `init` is run again.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Site, text};
use crate::support::copy;

/// Killed at whatever moment, `init` is run again and makes a whole installation; what is whole is left
/// as it is.
#[test]
fn an_init_that_was_killed_is_run_again() {
    let (mut finished, mut killed, mut millis) = (false, 0, 0);
    while !finished {
        let site = Site::empty();
        let mut first = Command::new(env!("CARGO_BIN_EXE_oncegate"))
            .args(["init", "--dir"])
            .arg(site.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(millis));
        let _ = first.kill();
        finished = first.wait().unwrap().success();
        killed += usize::from(!finished);
        millis += 12;
        let again = site.run(&["init", "--json"]);
        let code = again.status.code().unwrap();
        // Killed after the last step but before its end it had done all.
        let whole = code == 5;
        assert!(whole || (code == 0 && !finished), "{}", text(&again.stderr));
        is_an_installation(&site);
    }
    assert!(killed > 0);
}

fn is_an_installation(site: &Site) {
    site.ok(&["user", "add", "alice"]);
    site.ok(&["policy", "check"]);
    let clients = site.ok(&["client", "list"]);
    assert_eq!(clients["clients"].as_array().unwrap().len(), 1);
    site.exits(5, &["init"], "");
    let names = std::fs::read_dir(site.path()).unwrap();
    let mut names: Vec<_> = names.map(|one| one.unwrap().file_name()).collect();
    names.sort_unstable();
    names.retain(|name| name != "admin.sock");
    assert_eq!(names, ["master.key", "oncegate.toml", "policies", "store"]);
}

/// The same for each state that lies between two steps.
#[test]
fn an_init_is_finished_from_each_of_its_steps() {
    let whole = Site::new();
    let policies = names_of(&whole.path().join("policies"));
    let mut parts: Vec<String> = policies
        .iter()
        .map(|name| format!("policies/{name}"))
        .collect();
    parts.extend(["master.key", "store", "oncegate.toml"].map(str::to_owned));
    // Not all of it is made: half of a file, no configuration yet.
    for made in 0..parts.len() {
        let site = Site::empty();
        let staged = site.path().join("init.unfinished");
        std::fs::create_dir_all(staged.join("policies")).unwrap();
        for part in &parts[..made] {
            copy(&whole.path().join(part), &staged.join(part));
        }
        if let Some(part) = parts.get(made).filter(|part| *part != "store") {
            let octets = std::fs::read(whole.path().join(part)).unwrap();
            let half = &octets[..octets.len() / 2];
            let name = part.replace("oncegate.toml", "oncegate.toml.new");
            std::fs::write(staged.join(name), half).unwrap();
        }
        let key = site.ok(&["init"])["key"].as_str().unwrap().to_owned();
        assert!(key.len() >= 32, "{made}");
        is_an_installation(&site);
    }
    // All of it is made, and some of it in its place.
    for moved in 0..=parts.len() {
        let site = Site::empty();
        let staged = site.path().join("init.unfinished");
        std::fs::create_dir_all(staged.join("policies")).unwrap();
        std::fs::create_dir_all(site.path().join("policies")).unwrap();
        let other = Site::new();
        // Without its first key, as it is before the last step.
        other.ok(&["client", "remove", "admin", "--yes"]);
        for (index, part) in parts.iter().enumerate() {
            let to = if index < moved {
                site.path()
            } else {
                staged.clone()
            };
            copy(&other.path().join(part), &to.join(part));
        }
        let key = std::fs::read(other.path().join("master.key")).unwrap();
        let made = site.ok(&["init"]);
        assert!(made["key"].as_str().unwrap().len() >= 32, "{moved}");
        assert_eq!(std::fs::read(site.path().join("master.key")).unwrap(), key);
        is_an_installation(&site);
    }
}

/// What is not of the interrupted `init` is not touched by finishing it.
#[test]
fn finishing_an_init_overwrites_nothing() {
    for there in ["master.key", "store", "policies/default.toml"] {
        let (whole, site) = (Site::new(), Site::empty());
        let staged = site.path().join("init.unfinished");
        std::fs::create_dir_all(site.path().join("policies")).unwrap();
        for part in ["master.key", "store", "oncegate.toml", "policies"] {
            copy(&whole.path().join(part), &staged.join(part));
        }
        // A copy was put back here meanwhile.
        copy(&whole.path().join(there), &site.path().join(there));
        if there.starts_with("policies") {
            std::fs::write(site.path().join(there), "# another\n").unwrap();
        }
        let before = tree(&site.path().join(there));
        let error = site.exits(5, &["init"], "");
        assert!(error.to_string().contains(there), "{error}");
        assert_eq!(tree(&site.path().join(there)), before, "{there}");
        assert!(staged.join("oncegate.toml").exists(), "{there}");
    }
    // The first key was made, and not shown.
    let site = Site::new();
    std::fs::create_dir(site.path().join("init.unfinished")).unwrap();
    site.ok(&["user", "add", "bob"]);
    let error = site.exits(5, &["init"], "");
    assert!(error.to_string().contains("client rotate admin"), "{error}");
    site.ok(&["user", "show", "bob"]);
    is_an_installation(&site);
}

fn names_of(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = names
        .map(|one| one.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// All files below, and what they hold.
fn tree(path: &Path) -> Vec<(String, Vec<u8>)> {
    if path.is_dir() {
        let names = names_of(path);
        return names
            .iter()
            .flat_map(|name| tree(&path.join(name)))
            .collect();
    }
    vec![(path.display().to_string(), std::fs::read(path).unwrap())]
}

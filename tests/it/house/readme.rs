//! The README's tour is followed word by word, and what it shows is what is printed.
//!
//! What differs from run to run (times, ids, keys, serials, ports) is compared by its shape.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use oncegate::diagnostic::Source;
use oncegate::policy::{Policies, TestOutcome, shipped};

use crate::support::require;

#[test]
fn the_tour_prints_what_the_readme_shows() {
    if !(require("radclient", "freeradius-utils") && require("curl", "curl")) {
        return;
    }
    let taken = std::net::UdpSocket::bind("127.0.0.1:1812").is_err()
        || std::net::TcpListener::bind("127.0.0.1:8080").is_err();
    if taken {
        crate::support::skip("the default ports 1812 and 8080 are taken");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let readme = include_str!("../../../README.md");
    let blocks = blocks(readme, "## Five minutes");
    assert!(
        blocks.len() >= 2,
        "the first block starts the daemon, the others ask it"
    );
    let (first, rest) = blocks.split_first().unwrap();
    let serve = first.last().expect("the first block ends with the daemon");
    assert_eq!(serve.command, "oncegate serve");
    let started = &first[..first.len() - 1];
    compare(started, &run(dir.path(), started));

    let mut daemon = shell(dir.path());
    let mut daemon = daemon
        .arg("-c")
        .arg("exec oncegate serve")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stdout = std::io::BufReader::new(daemon.stdout.take().unwrap());
    for _ in serve.output.lines() {
        std::io::BufRead::read_line(&mut stdout, &mut said).unwrap();
    }
    // The link into the console ends with a code of its own.
    let until_code = |text: &str| text.split('#').next().unwrap().to_owned();
    let outcome = std::panic::catch_unwind(|| {
        assert_eq!(
            until_code(&said),
            until_code(&serve.output),
            "ports 1812 and 8080 are free"
        );
        for block in rest {
            compare(block, &run(dir.path(), block));
        }
    });
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Backups, keys and a restore, as the manual shows them.
#[test]
fn the_exercise_prints_what_the_manual_shows() {
    let page = oncegate::manual::page("storage").unwrap().text;
    let dir = tempfile::tempdir().unwrap();
    let all = blocks(page, "## An exercise");
    let [exercise] = all.as_slice() else {
        panic!("{} blocks", all.len());
    };
    compare(exercise, &run(dir.path(), exercise));
}

#[test]
fn the_policy_that_the_manual_shows_is_one() {
    let page = oncegate::manual::page("policies").unwrap().text;
    let chapter = page.split("## Policies").nth(1).unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    let shown: Vec<Source> = chapter
        .split("```toml\n")
        .skip(1)
        .map(|block| Source::new("manual.toml", block.split("```").next().unwrap()))
        .collect();
    assert_eq!(shown.len(), 1);
    let policies = Policies::parse(&shown, &|_, _| Ok(())).unwrap();
    let outcomes = policies.run_tests();
    assert!(outcomes.iter().all(TestOutcome::passed), "{outcomes:?}");
    for policy in shipped() {
        let stem = policy.name().rsplit('/').next().unwrap();
        let stem = stem.trim_end_matches(".toml");
        assert!(
            stem == "default" || chapter.contains(&format!("`{stem}`")),
            "{stem}"
        );
    }
}

struct Step {
    command: String,
    output: String,
}

/// The console blocks of a chapter, each a list of commands with what they print.
fn blocks(page: &str, chapter: &str) -> Vec<Vec<Step>> {
    let chapter = page.split(chapter).nth(1).expect("the chapter is there");
    let chapter = chapter.split("\n## ").next().unwrap();
    let blocks = chapter.split("```console\n").skip(1);
    blocks
        .map(|block| steps(block.split("```").next().unwrap()))
        .collect()
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                output: String::new(),
            });
        } else if let Some(step) = steps.last_mut() {
            step.output.push_str(line);
            step.output.push('\n');
        }
    }
    steps
}

/// Runs the commands of a block in one shell; what each printed, in order.
fn run(dir: &Path, steps: &[Step]) -> Vec<String> {
    let mut child = shell(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut script = String::from("exec 2>&1\n");
    let after = format!("\necho; echo '{END}'\n");
    for step in steps {
        script.push_str(&step.command);
        script.push_str(&after);
    }
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut printed: Vec<String> = text
        .split(&format!("\n{END}\n"))
        .map(str::to_owned)
        .collect();
    printed.pop();
    printed
}

fn compare(steps: &[Step], printed: &[String]) {
    for (step, printed) in steps.iter().zip(printed) {
        let (mut shown, mut printed) = (shape(&step.output), shape(printed));
        if step.command.contains("radclient") {
            // It writes to two streams, whose order in a pipe is not that of a terminal.
            (shown, printed) = (sorted(&shown), sorted(&printed));
        }
        assert_eq!(printed, shown, "$ {}", step.command);
    }
    assert_eq!(steps.len(), printed.len());
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// A shell that finds the binary, in an empty directory, without our environment.
fn shell(dir: &Path) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_oncegate")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.current_dir(dir).env_clear();
    command
        .env("PATH", format!("{}:{path}", binary.display()))
        .env("TZ", "UTC");
    command
}

/// The text with everything that differs from run to run replaced by a word for its kind.
fn shape(text: &str) -> String {
    let mut shaped = String::new();
    for line in text.trim_end().lines() {
        let line = person(line);
        let mut rest = line.trim_end();
        while !rest.is_empty() {
            let wordy = |c: char| c.is_ascii_alphanumeric() || "_-:.".contains(c);
            let end = rest.find(|c| !wordy(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            shaped.push_str(kind(word));
            let end = after.find(wordy).unwrap_or(after.len());
            let (gap, after) = after.split_at(end);
            // Columns move with the width of what stands in them.
            shaped.push_str(if gap.trim().is_empty() && !gap.is_empty() {
                " "
            } else {
                gap
            });
            rest = after;
        }
        shaped.push('\n');
    }
    shaped
}

/// Who runs the tests has another name on every machine.
fn person(line: &str) -> String {
    let Some((before, after)) = line.split_once("(uid ") else {
        return line.to_owned();
    };
    let start = before.rfind(' ').map_or(0, |blank| blank + 1);
    let end = after.find("  ").unwrap_or(after.len());
    format!("{}PERSON{}", &before[..start], &after[end..])
}

fn kind(word: &str) -> &str {
    let all = |allowed: fn(char) -> bool| word.chars().all(allowed);
    let number = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
    match word.len() {
        26 if all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()) => "REQUEST",
        32 if all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()) => "SECRET",
        34 if word.starts_with("0x") => "OCTETS",
        12 if all(|c| c.is_ascii_digit() || ('A'..='F').contains(&c)) => "FINGERPRINT",
        _ if word.starts_with("og_") => "KEY",
        _ if word.contains(".before-") => "FORMER",
        _ if word.ends_with('Z') && word.contains('T') && word.starts_with("20") => "MOMENT",
        13 | 14
            if word[4..].starts_with('-') && word.starts_with(|c: char| c.is_ascii_uppercase()) =>
        {
            "SERIAL"
        }
        10 if word.as_bytes()[4] == b'-' && word.as_bytes()[7] == b'-' => "DATE",
        8 if word.as_bytes()[2] == b':' && word.as_bytes()[5] == b':' => "TIME",
        _ if number(word) => "NUMBER",
        _ if word.contains("0.0.")
            && word.contains(':')
            && !word.ends_with(":1812")
            && !word.ends_with(":8080") =>
        {
            "PORT"
        }
        _ => word,
    }
}

const END: &str = "-- end of one command --";

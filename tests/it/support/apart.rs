//! A script in a network of its own, with the real binary: gateways and the machines behind them.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::daemon::{Site, command};
use crate::support::skip;

/// What a script printed.
pub(crate) struct Ran {
    /// Standard output, by line.
    pub(crate) lines: Vec<String>,
    folder: tempfile::TempDir,
    /// Standard error.
    error: String,
}

impl Ran {
    /// All that was written, to say why a test fails.
    pub(crate) fn shown(&self, site: &Site, logs: &[&str]) -> String {
        let read = |name: &&str| {
            let text = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
            format!("--- {name}\n{}", String::from_utf8_lossy(&text))
        };
        let logs: Vec<String> = logs.iter().map(read).collect();
        format!(
            "{}\n{}\n--- log\n{}",
            self.error,
            logs.join("\n"),
            site.log()
        )
    }
}

/// Runs these files in a folder of their own, in new namespaces for network and mounts: `run` is the script, whose
/// first argument is the binary; these words follow. `None`: namespaces take root.
pub(crate) fn run_apart(
    site: &Site,
    files: &[(&str, &str)],
    words: &[&str],
    env: &[(&str, String)],
) -> Option<Ran> {
    if !nix::unistd::geteuid().is_root() {
        skip("namespaces take root");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let output = unshared(site, folder.path(), words)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .output()
        .expect("unshare (util-linux)");
    let text = String::from_utf8_lossy(&output.stdout);
    Some(Ran {
        lines: text.lines().map(str::to_owned).collect(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
        folder,
    })
}

fn unshared(site: &Site, folder: &Path, words: &[&str]) -> Command {
    let daemon = command(&site.path());
    let mut run = Command::new("unshare");
    run.args(["-n", "-m", "sh", "run"]);
    run.arg(daemon.get_program()).args(words);
    for (name, value) in daemon.get_envs() {
        match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
    }
    run.current_dir(folder).stdin(Stdio::null());
    run
}

/// Shell functions that scripts share: an installation's daemon, a certificate, waiting for a line of a file.
pub(crate) const COMMON: &str = r#"
set -e
mount -t tmpfs none /run
ip link set lo up
jobs=''
trap 'kill $jobs 2>/dev/null; wait' EXIT
waited=0
wait_for() {
    until grep -qaE "$1" "$2" 2>/dev/null; do
        waited=$((waited + 1))
        [ $waited -lt 600 ] || { echo "no $1 in $2" >&2; return 0; }
        sleep 0.05
    done
}
serve() {
    "$oncegate" serve --radius 127.0.0.1:1812 "$@" >ready 2>>"$ONCEGATE_DIR/log" &
    jobs="$jobs $!"
    wait_for ready ready
}
# Of a gateway, in gateway.pem and gateway.key: RSA, which IKEv1 needs.
certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout gateway.key -out gateway.pem -days 2 \
        -subj /CN=gateway.test -addext subjectAltName=DNS:gateway.test 2>/dev/null
}
# How many sessions of alice are open, when there are so many or after a while.
sessions() {
    tried=0
    while
        open=$("$oncegate" --json session list alice --open | grep -o '"session"' | wc -l)
        [ "$open" -ne "$1" ] && [ $tried -lt 40 ]
    do
        tried=$((tried + 1))
        sleep 0.05
    done
    echo "open $open"
}
end() {
    kill "$1" 2>/dev/null || true
    wait "$1" || true
}
oncegate=$1
"#;

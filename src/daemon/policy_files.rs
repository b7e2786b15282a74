//! Policy files that are written by the daemon, where `web.edit_policies` allows it.
//!
//! Invariant: a file is replaced as a whole and durably (written beside it, flushed, renamed, directory flushed), and
//! only after all policies were compiled with it and their tests passed; what cannot be put into force is taken back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::admin::drafts::PolicyFiles;
use crate::daemon::reload::Reloader;
use crate::daemon::{Site, StartError, load_policies, no_default, parse_policies, policy_files};
use crate::diagnostic::{Diagnostic, Source};
use crate::policy::Policies;
use crate::service::Service;

/// The files of a site.
pub(super) struct Files {
    /// As the daemon was started.
    site: Arc<Site>,
    /// It owns what owns this.
    service: Weak<Service>,
    reloader: Weak<Reloader>,
}

impl Files {
    /// Lets drafts be written, where the configuration says so.
    pub(super) fn open(site: &Arc<Site>, service: &Arc<Service>, reloader: &Arc<Reloader>) {
        if site.config.web.edit_policies {
            service.admin.set_policy_files(Arc::new(Self {
                site: Arc::clone(site),
                service: Arc::downgrade(service),
                reloader: Arc::downgrade(reloader),
            }));
        }
    }

    /// The site as it is written now: the directory of the policies may be another since the start.
    fn site(&self) -> Result<Site, StartError> {
        Site::load(&self.site.dir, Some(&self.site.file))
    }

    fn replace(&self, policy: &str, text: &str) -> Result<(), StartError> {
        let site = self.site()?;
        compiled(&site, policy, text)?;
        let path = place(&site, policy);
        let before = read(&path)?;
        put(&path, text.as_bytes()).map_err(|error| unwritable(&path, &error))?;
        let taken = load_policies(&site).and_then(|policies| {
            let service = self.service.upgrade();
            let service = service.ok_or_else(|| refused("the server is stopping".to_owned()))?;
            let replaced = service.core.replace_policies(policies);
            replaced.map_err(|error| refused(error.to_string()))
        });
        if taken.is_err() {
            let undone = match before {
                Some(before) => put(&path, before.as_bytes()),
                None => fs::remove_file(&path).and_then(|()| flush(&path)),
            };
            undone.map_err(|error| unwritable(&path, &error))?;
        }
        taken
    }
}

impl PolicyFiles for Files {
    fn text(&self, policy: &str) -> Result<Option<String>, String> {
        let site = self.site().map_err(|error| error.to_string())?;
        read(&place(&site, policy)).map_err(|error| error.to_string())
    }

    fn with(&self, policy: &str, text: &str) -> Result<Policies, Vec<Diagnostic>> {
        let with = self.site().and_then(|site| compiled(&site, policy, text));
        with.map_err(|error| match error {
            StartError::Findings(findings) => findings,
            other => vec![Diagnostic::error(other.to_string())],
        })
    }

    fn write(&self, policy: &str, text: &str) -> Result<(), String> {
        let reloader = self.reloader.upgrade();
        let reloader = reloader.ok_or_else(|| "the server is stopping".to_owned())?;
        let written = reloader.alone(|| self.replace(policy, text));
        written.map_err(|error| match error {
            StartError::Findings(findings) => {
                let first = findings.first().map(ToString::to_string);
                first.unwrap_or_default()
            }
            StartError::Failed { what, remedy } => format!("{what}; {remedy}"),
            other => other.to_string(),
        })
    }
}

/// All policies of a site with this one changed or added; the tests in them have passed.
fn compiled(site: &Site, policy: &str, text: &str) -> Result<Policies, StartError> {
    let path = place(site, policy);
    let draft = Source::new(path.to_string_lossy(), text);
    let mut sources = policy_files(&site.config.policies.dir)?;
    match sources.iter_mut().find(|one| one.name() == draft.name()) {
        Some(present) => *present = draft,
        None => sources.push(draft),
    }
    let policies = parse_policies(&sources, Some(site))?;
    let tests = policies.run_tests().into_iter();
    let mut failures: Vec<Diagnostic> = tests.filter_map(|test| test.failure).collect();
    failures.extend(no_default(&site.config.policies.dir, &policies));
    if failures.is_empty() {
        Ok(policies)
    } else {
        Err(StartError::Findings(failures))
    }
}

fn place(site: &Site, policy: &str) -> PathBuf {
    site.config.policies.dir.join(format!("{policy}.toml"))
}

fn read(path: &Path) -> Result<Option<String>, StartError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(format!(
            "{} cannot be read: {error}",
            path.display()
        ))),
    }
}

/// Puts a file in place as a whole; it is there after a power cut.
fn put(path: &Path, octets: &[u8]) -> io::Result<()> {
    // Not `*.toml`: a reload does not read what is half written.
    let half = path.with_extension("toml.new");
    let _ = fs::remove_file(&half);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&half)?;
    if let Ok(before) = fs::metadata(path) {
        file.set_permissions(before.permissions())?;
    }
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&half, path)?;
    flush(path)
}

fn flush(path: &Path) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(dir)?.sync_all()
}

fn unwritable(path: &Path, error: &io::Error) -> StartError {
    super::failed(
        format!("{} cannot be written: {error}", path.display()),
        "let the user who runs the daemon write in the policy directory (systemd: ReadWritePaths=)",
    )
}

fn refused(why: String) -> StartError {
    super::failed(why, "see the cause; the file is as it was")
}

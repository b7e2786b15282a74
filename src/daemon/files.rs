//! The files of an installation that go with a backup: configuration, policies, texts. None of them holds a secret.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::daemon::{Site, TEMPLATES};
use crate::server::http::SiteFiles;
use crate::store::backup::SiteFile;

/// The way to read them.
pub fn site_files(site: &Site) -> SiteFiles {
    let (file, dir) = (site.file.clone(), site.dir.clone());
    let policies = site.config.policies.dir.clone();
    Box::new(move || {
        let mut files = vec![(CONFIG.to_owned(), read(&file)?)];
        below(POLICIES, &policies, &mut files)?;
        below(TEMPLATES, &dir.join(TEMPLATES), &mut files)?;
        Ok(files)
    })
}

/// The files `*.toml` of a directory; none where there is no such directory.
fn below(name: &str, dir: &Path, files: &mut Vec<SiteFile>) -> Result<(), String> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| unreadable(dir, &error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(dir, &error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    for file in names {
        let named = format!("{name}/{file}");
        if is_of_site(&named) {
            files.push((named, read(&dir.join(file))?));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

/// Whether a file of this name belongs to an installation: what a backup brings goes nowhere else.
pub(super) fn is_of_site(name: &str) -> bool {
    if name == CONFIG {
        return true;
    }
    let path = PathBuf::from(name);
    let parts: Vec<Component<'_>> = path.components().collect();
    let [Component::Normal(dir), Component::Normal(file)] = parts.as_slice() else {
        return false;
    };
    let known = [POLICIES, TEMPLATES].iter().any(|known| dir == known);
    let hidden = file.as_encoded_bytes().starts_with(b".");
    known && !hidden && Path::new(file).extension().is_some_and(|ext| ext == "toml")
}

pub(super) const CONFIG: &str = "oncegate.toml";
pub(super) const POLICIES: &str = "policies";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_installation() {
        for name in [
            "oncegate.toml",
            "policies/default.toml",
            "templates/ko.toml",
        ] {
            assert!(is_of_site(name), "{name}");
        }
        for name in [
            "",
            "/etc/passwd",
            "../oncegate.toml",
            "policies/../x.toml",
            "policies/.x.toml",
            "master.key",
            "policies/x.toml/y.toml",
            "store/main.redb",
            "policies/x",
            "policies",
        ] {
            assert!(!is_of_site(name), "{name}");
        }
    }
}

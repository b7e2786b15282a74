//! The dictionary in force: what is built in, and behind it the files of the site.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::daemon::{Site, StartError, failed};
use crate::radius::dictionary::Dictionary;

/// The dictionary of a site; what is built in where there is none.
pub fn dictionary(site: Option<&Site>) -> Result<Dictionary, StartError> {
    let builtin = Dictionary::builtin();
    let builtin =
        builtin.map_err(|error| failed(error.to_string(), "this is a defect of oncegate"))?;
    match site.and_then(|site| site.config.radius.dictionary.as_deref()) {
        None => Ok(builtin),
        Some(path) => with(builtin, path),
    }
}

/// A file, which may include others beside it; or of a directory its `dictionary`, else all of its files.
fn with(known: Dictionary, path: &Path) -> Result<Dictionary, StartError> {
    let roots = roots(path).map_err(|error| unreadable(path, &error))?;
    let mut dictionary = known;
    for root in roots {
        let dir = root.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let shown = root.display().to_string();
        // Read before they are parsed, so that a file that cannot be read is named.
        let files = included(&root).map_err(|(file, error)| unreadable(&file, &error))?;
        let resolve = |name: &str| {
            let file = if name == shown {
                root.clone()
            } else {
                dir.join(name)
            };
            files.get(&file).cloned()
        };
        let parsed = dictionary.with(&shown, resolve);
        dictionary = parsed.map_err(|error| {
            failed(
                format!("radius.dictionary: {}", error.all()),
                "correct each line that is named; the format is that of FreeRADIUS dictionaries",
            )
        })?;
    }
    Ok(dictionary)
}

fn roots(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let whole = path.join("dictionary");
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let name = file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let hidden = name.is_none_or(|name| name.starts_with('.') || name.ends_with('~'));
        if !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The contents of a file and of those it includes. One that is not there is left out: only the parser knows
/// whether it must be.
fn included(root: &Path) -> Result<HashMap<PathBuf, String>, (PathBuf, io::Error)> {
    let mut files = HashMap::new();
    let mut waiting = vec![root.to_owned()];
    let dir = root.parent().unwrap_or_else(|| Path::new(""));
    while let Some(file) = waiting.pop() {
        if files.contains_key(&file) || files.len() >= FILES {
            continue;
        }
        let size = fs::metadata(&file).map_or(0, |about| about.len());
        if size > SIZE {
            let error = io::Error::other(format!("it has more than {SIZE} octets"));
            return Err((file, error));
        }
        let text = match fs::read(&file) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && file != root => continue,
            Err(error) => return Err((file, error)),
        };
        let names = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let included = matches!(words.next(), Some("$INCLUDE" | "$INCLUDE-"));
            words.next().filter(|_| included)
        });
        waiting.extend(names.map(|name| dir.join(name)));
        files.insert(file, text);
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &io::Error) -> StartError {
    failed(
        format!(
            "radius.dictionary: {} cannot be read: {error}",
            path.display()
        ),
        "let the user who runs the daemon read it, or remove the key",
    )
}

/// Most files that are included: the whole of FreeRADIUS has 250.
const FILES: usize = 2_000;
/// Octets of the longest file that is read.
const SIZE: u64 = 4 << 20;

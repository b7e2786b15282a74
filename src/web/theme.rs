//! The look and the words of one installation, over those built in: `DIR/theme/`.
//!
//! ```text
//! theme.css     a second style sheet: custom properties as --accent, --font
//! logo.svg      in the place of the mark; as an image only, so that nothing in it runs
//! theme.toml    name, call_centre, privacy_url
//! en.toml ko.toml   single texts, by their keys
//! ```
//!
//! Read at the start of the daemon; what is wrong in it is a finding of `oncegate config check`, and is left out.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::diagnostic::{Diagnostic, Source};
use crate::model::message::Language;
use crate::web::text::{self, Texts};

/// A theme.
#[derive(Debug, Default)]
pub struct Theme {
    about: About,
    css: Option<String>,
    logo: Option<String>,
    texts: BTreeMap<&'static str, Texts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    name: Option<String>,
    call_centre: Option<String>,
    privacy_url: Option<String>,
}

static CURRENT: OnceLock<Theme> = OnceLock::new();

/// The theme of this process; the built-in one where none was set.
pub(crate) fn current() -> &'static Theme {
    CURRENT.get_or_init(Theme::default)
}

impl Theme {
    /// The theme of an installation, and what is wrong with it; without a directory `theme` the built-in one.
    pub fn load(dir: &Path) -> (Self, Vec<Diagnostic>) {
        let dir = dir.join("theme");
        let mut theme = Self::default();
        let mut faults = Vec::new();
        let mut read = |name: &str| match fs::read_to_string(dir.join(name)) {
            Ok(text) if text.len() <= LONGEST => {
                let shown = dir.join(name).display().to_string();
                Some(Source::new(shown, text))
            }
            Ok(_) => {
                let error =
                    Diagnostic::error(format!("{}: longer than 256 KiB", dir.join(name).display()));
                faults.push(error);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let what = format!("{} cannot be read: {error}", dir.join(name).display());
                faults.push(Diagnostic::error(what));
                None
            }
        };
        let (css, logo, about) = (read("theme.css"), read("logo.svg"), read("theme.toml"));
        let texts = Language::ALL.map(|language| (language, read(&format!("{language}.toml"))));
        theme.logo = logo.map(|logo| logo.text().to_owned());
        if let Some(css) = css {
            faults.extend(faint(&css));
            theme.css = Some(css.text().to_owned());
        }
        if let Some(about) = about {
            match toml::from_str::<About>(about.text()) {
                Ok(read) => theme.about = read,
                Err(error) => faults.push(Diagnostic::from_toml(&about, &error)),
            }
        }
        if theme
            .about
            .privacy_url
            .as_deref()
            .is_some_and(|url| !url.starts_with("https://"))
        {
            faults.push(Diagnostic::error(
                "theme.toml: privacy_url: write https://...",
            ));
            theme.about.privacy_url = None;
        }
        for (language, source) in texts {
            if let Some(source) = source {
                let (read, wrong) = text::overrides(language, &source);
                theme.texts.insert(language.as_str(), read);
                faults.extend(wrong);
            }
        }
        (theme, faults)
    }

    /// Uses it from now on; the first one stays.
    pub fn set(mut self) {
        text::set_overrides(std::mem::take(&mut self.texts));
        let _ = CURRENT.set(self);
    }

    /// What the installation calls itself.
    pub(crate) fn name(&self) -> &str {
        self.about.name.as_deref().unwrap_or("Oncegate")
    }

    /// Where people who need help call.
    pub(crate) fn call_centre(&self) -> Option<&str> {
        self.about.call_centre.as_deref()
    }

    /// Where it is said what becomes of personal data.
    pub(crate) fn privacy_url(&self) -> Option<&str> {
        self.about.privacy_url.as_deref()
    }

    pub(crate) fn has_css(&self) -> bool {
        self.css.is_some()
    }

    pub(crate) fn has_logo(&self) -> bool {
        self.logo.is_some()
    }
}

/// `GET /assets/theme.css`
pub(crate) async fn css() -> Response {
    served(current().css.as_deref(), "text/css; charset=utf-8")
}

/// `GET /assets/logo.svg`
pub(crate) async fn logo() -> Response {
    served(current().logo.as_deref(), "image/svg+xml")
}

fn served(text: Option<&'static str>, media: &'static str) -> Response {
    let Some(text) = text else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text).into_response()
}

/// An accent on which white text cannot be read (WCAG 2.2, 1.4.3: 4.5 to 1): buttons have it.
fn faint(css: &Source) -> Option<Diagnostic> {
    let start = css.text().find("--accent:")? + "--accent:".len();
    let value = css.text().get(start..)?.split([';', '}']).next()?.trim();
    let digits = value.strip_prefix('#').filter(|digits| digits.len() == 6)?;
    let octet = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let light = |octet: u8| {
        let share = f64::from(octet) / 255.0;
        if share <= 0.04045 {
            share / 12.92
        } else {
            ((share + 0.055) / 1.055).powf(2.4)
        }
    };
    let luminance =
        0.2126 * light(octet(0)?) + 0.7152 * light(octet(2)?) + 0.0722 * light(octet(4)?);
    let contrast = 1.05 / (luminance + 0.05);
    (contrast < 4.5).then(|| {
        let what =
            format!("white text on --accent {value} has a contrast of {contrast:.1} to 1 only");
        let error = Diagnostic::warning(what).at(css.place(start..start + value.len() + 1));
        error.help("take a darker colour: 4.5 to 1 at least")
    })
}

/// Longest file of a theme.
const LONGEST: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_theme_is_read_and_what_is_wrong_in_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (none, faults) = Theme::load(dir.path());
        assert!(faults.is_empty() && none.name() == "Oncegate" && !none.has_css());
        let theme = dir.path().join("theme");
        fs::create_dir(&theme).unwrap();
        let write = |name: &str, text: &str| fs::write(theme.join(name), text).unwrap();
        write("theme.css", ":root { --accent: #8dc0ea; }");
        write(
            "theme.toml",
            "name = \"Example Bank\"\ncall_centre = \"1577-0000\"\ncolour = 1\n",
        );
        write(
            "en.toml",
            "[menu]\nnow = \"Today\"\nnever = \"x\"\n[act]\ndone = \"It is done.\"\n",
        );
        let (read, faults) = Theme::load(dir.path());
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        for what in ["contrast of 1.9", "theme.toml:3", "menu.never", "{act}"] {
            assert!(
                told.iter().any(|one| one.contains(what)),
                "{what}: {told:?}"
            );
        }
        let english = &read.texts["en"];
        assert_eq!(english.get("menu.now").map(String::as_str), Some("Today"));
        assert!(!english.contains_key("act.done"), "a place is missing");
        write("theme.toml", "name = \"Example Bank\"\n");
        assert_eq!(Theme::load(dir.path()).0.name(), "Example Bank");
    }
}

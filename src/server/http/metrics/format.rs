//! The two text formats of `/metrics`, by negotiation (RFC 9110 s12.5.1).
//!
//! The page is written as `OpenMetrics` 1.0. The text format 0.0.4 of Prometheus has the same samples, but
//! for counters it names the family as the sample, with `_total`, and knows neither units nor an end.

use std::fmt::Write as _;

use axum::http::{HeaderMap, header};

/// A text format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// `OpenMetrics` 1.0.
    Open,
    /// The text format 0.0.4 of Prometheus.
    Plain,
}

impl Format {
    /// `OpenMetrics` where it is named and the plain one is not preferred. A range is no name: who takes anything
    /// (`curl`, and with it `promtool check metrics`) gets what every reader of metrics knows.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT).iter();
        let ranges: Vec<(String, f32)> = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(range)
            .collect();
        let of = |wanted: &str| {
            let found = ranges.iter().find(|(range, _)| range == wanted);
            found.map(|(_, quality)| *quality)
        };
        let open = of("application/openmetrics-text").unwrap_or_default();
        // The most specific range that covers a type decides about it.
        let plain = of("text/plain")
            .or_else(|| of("text/*"))
            .or_else(|| of("*/*"));
        if open > 0.0 && open >= plain.unwrap_or_default() {
            Self::Open
        } else {
            Self::Plain
        }
    }

    /// The media type of the answer.
    pub(super) const fn media(self) -> &'static str {
        match self {
            Self::Open => super::MEDIA,
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A media range in lower case without parameters, and its quality.
fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value)
    });
    let quality = quality.map_or(Some(1.0), |value| value.trim().parse().ok());
    (media, quality.unwrap_or(0.0))
}

/// An `OpenMetrics` page in the text format 0.0.4.
pub(super) fn plain(page: &str) -> String {
    let mut out = String::with_capacity(page.len() + 1024);
    let mut help = None;
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), text) => {
                help = Some((name, text.unwrap_or_default()));
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                if let Some((named, text)) = help.take()
                    && named == name
                {
                    let _ = writeln!(out, "# HELP {name}{suffix} {text}");
                }
                let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
            }
            (Some("#"), ..) => {}
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_chooses() {
        let wanted = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT, line.parse().unwrap());
            }
            Format::wanted(&headers)
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
                          version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for lines in [
            &["application/openmetrics-text"][..],
            &["APPLICATION/OpenMetrics-Text; version=1.0.0, */*"],
            &[prometheus],
            &["text/plain;q=0.5", "application/openmetrics-text"],
        ] {
            assert_eq!(wanted(lines), Format::Open, "{lines:?}");
        }
        for lines in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/*"],
            &["text/html, application/xml;q=0.9, */*;q=0.8"],
            &["text/plain"],
            &["text/plain; version=0.0.4"],
            &["text/*"],
            &["text/plain, */*;q=0.1"],
            &["application/openmetrics-text;q=0.1, text/plain;q=0.9"],
            &["application/openmetrics-text;q=0, */*"],
            &["application/json"],
            &["application/openmetrics-text;q=x"],
        ] {
            assert_eq!(wanted(lines), Format::Plain, "{lines:?}");
        }
    }

    #[test]
    fn counters_are_named_as_their_samples() {
        let page = "# HELP a Some.\n# TYPE a counter\na_total{x=\"y\"} 1\n# HELP b_seconds Time of # TYPE.\n\
                    # TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2.5\n# EOF\n";
        assert_eq!(
            plain(page),
            "# HELP a_total Some.\n# TYPE a_total counter\na_total{x=\"y\"} 1\n\
             # HELP b_seconds Time of # TYPE.\n# TYPE b_seconds gauge\nb_seconds 2.5\n"
        );
    }
}

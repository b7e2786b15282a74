//! What every request for a page goes through: whose host it names, where a form comes from, who may reach the
//! console.
//!
//! Threats: a form on another site that acts with the session of a person (CSRF): an unsafe method needs
//! `Sec-Fetch-Site: same-origin`, from old browsers an `Origin` that is the host's; a name of an attacker that leads
//! to this machine (DNS rebinding): a host is the one of `http.public_url`, an address, or `localhost`; without
//! `http.public_url` also the name of this machine.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::server::http::{ConsoleListener, Origin};
use crate::web::Desk;
use crate::web::answer;

/// The layer.
pub(crate) async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let mut response = match refused(&desk, &request) {
        Some((status, why)) => (status, why).into_response(),
        None => next.run(request).await,
    };
    answer::finish(&mut response);
    response
}

fn refused(desk: &Desk, request: &Request) -> Option<(StatusCode, &'static str)> {
    let Some(host) = host(request) else {
        return Some((StatusCode::BAD_REQUEST, "one Host header is needed\n"));
    };
    let public = desk.app.info().public_url.as_deref();
    if !is_own(&host, public, machine_name) {
        return Some((StatusCode::MISDIRECTED_REQUEST, MISDIRECTED));
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_safe && !is_same_origin(request.headers(), &host) {
        return Some((StatusCode::FORBIDDEN, "the form was sent by another site\n"));
    }
    None
}

/// Whether a request may reach the console: by its listener, where it has one of its own, and from its networks; an
/// address that is not known, in this process, may.
pub(crate) fn may_reach(desk: &Desk, extensions: &Extensions) -> bool {
    let settings = &desk.web.settings;
    let elsewhere = extensions.get::<ConsoleListener>().is_none();
    if elsewhere && !settings.console_listen.is_empty() {
        return false;
    }
    let networks = &settings.console_networks;
    let origin = extensions.get::<Origin>();
    let Some(address) = origin.and_then(|origin| origin.address) else {
        return true;
    };
    let address = address.to_canonical();
    networks.is_empty() || networks.iter().any(|network| network.contains(&address))
}

/// The host that a request is for, with its port.
pub(crate) fn host(request: &Request) -> Option<String> {
    let mut values = request.headers().get_all(header::HOST).iter();
    let host = match (values.next(), values.next()) {
        (Some(host), None) => host.to_str().ok()?.to_owned(),
        (None, None) => request.uri().authority()?.as_str().to_owned(),
        _ => return None,
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// No name that leads here by another's will: who can make one point at this machine makes no address do so.
fn is_own(host: &str, public_url: Option<&str>, machine: fn() -> Option<String>) -> bool {
    let name = without_port(host);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    if name == "localhost" || address.parse::<IpAddr>().is_ok() {
        return true;
    }
    match public_url.and_then(|url| url.split_once("://")) {
        Some((_, public)) => {
            let public = public.split('/').next().unwrap_or_default();
            name == without_port(&public.to_ascii_lowercase())
        }
        None => machine().is_some_and(|machine| !name.is_empty() && name == machine),
    }
}

/// As the machine calls itself.
fn machine_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?;
    Some(name.to_str()?.to_ascii_lowercase())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok();
        value.filter(|_| values.next().is_none())
    };
    if headers.contains_key("sec-fetch-site") {
        return one("sec-fetch-site") == Some("same-origin");
    }
    let origin = one("origin").and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
}

const MISDIRECTED: &str = "this server has another name: use the one of http.public_url in oncegate.toml, or set it there to this one\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_the_own_ones() {
        let public = Some("https://OTP.example.com:8443/path");
        for host in [
            "otp.example.com",
            "otp.example.com:8443",
            "127.0.0.1:8080",
            "[::1]:1",
            "localhost:1",
        ] {
            assert!(is_own(host, public, || None), "{host}");
        }
        for host in [
            "evil.example",
            "otp.example.com.evil.example",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(!is_own(host, public, || None), "{host}");
            assert!(!is_own(host, None, || Some("otp".to_owned())), "{host}");
        }
        for host in ["127.0.0.1:8080", "[::1]:1", "localhost", "otp:8443"] {
            assert!(is_own(host, None, || Some("otp".to_owned())), "{host}");
        }
        assert!(!is_own("otp", public, || Some("otp".to_owned())));
    }

    #[test]
    fn forms_come_from_pages_of_the_same_origin() {
        let is_same = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            is_same_origin(&headers, "otp.example.com")
        };
        let own = ("origin", "https://otp.example.com");
        assert!(is_same(&[("sec-fetch-site", "same-origin")]));
        assert!(is_same(&[own]));
        for lines in [
            &[][..],
            &[("sec-fetch-site", "same-site"), own],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("origin", "https://evil.example")],
            &[("origin", "https://otp.example.com:444")],
            &[("origin", "null")],
            &[own, ("origin", "https://evil.example")],
        ] {
            assert!(!is_same(lines), "{lines:?}");
        }
    }
}

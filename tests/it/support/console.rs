//! A console with its API in this process, and a browser without scripts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use oncegate::config;
use oncegate::diagnostic::Source;
use oncegate::otp::hotp;
use oncegate::secret::SystemEntropy;
use oncegate::server::Info;
use oncegate::server::http::{App, Peer, local_router, router};
use oncegate::service::Service;
use oncegate::time::{FixedClock, UnixTime};
use oncegate::web::Web;
use serde_json::{Value, json};

use crate::support::app::{Answer, ask, request};
use crate::support::base::{Base, LIMITS};

/// A console with its API.
pub(crate) struct Console {
    pub(crate) app: Arc<App>,
    pub(crate) service: Arc<Service>,
    pub(crate) clock: FixedClock,
    pub(crate) pages: Router,
    pub(crate) local: Router,
}

pub(crate) const HOST: &str = "127.0.0.1:8080";

impl Console {
    pub(crate) fn new() -> Self {
        Self::with(Vec::new(), None)
    }

    pub(crate) fn with(networks: Vec<ipnet::IpNet>, public_url: Option<&str>) -> Self {
        let own = include_str!("../../../policies/self-service.toml");
        let own = own.replace("reject_delay = \"1s\"", "reject_delay = \"0s\"");
        Self::built(networks, public_url, &own)
    }

    /// With this policy of self-service.
    pub(crate) fn with_own(policy: &str) -> Self {
        Self::built(Vec::new(), None, policy)
    }

    fn built(networks: Vec<ipnet::IpNet>, public_url: Option<&str>, own: &str) -> Self {
        let policy = include_str!("../../../policies/console.toml");
        let policy = policy.replace("reject_delay = \"1s\"", "reject_delay = \"0s\"");
        let default = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
        let base = Base {
            policies: vec![
                Source::new("policies/default.toml", default),
                Source::new("policies/console.toml", policy),
                Source::new("policies/self-service.toml", own),
            ],
            ..Base::at(UnixTime::from_secs(1_800_000_000))
        };
        let service = base.service();
        let info = Info {
            daemon: true,
            http: vec![HOST.parse().expect("an address")],
            public_url: public_url.map(str::to_owned),
            app_url: public_url.map(str::to_owned),
            ..Info::default()
        };
        let app = App::new(Arc::clone(&service), LIMITS, info);
        let settings = config::Web {
            console: true,
            console_networks: networks,
            console_listen: Vec::new(),
            edit_policies: false,
            portal: true,
            app: true,
        };
        let web = Web::new(settings, Arc::new(SystemEntropy));
        web.serve(&app);
        let (pages, local) = (router(Arc::clone(&app)), local_router(Arc::clone(&app), 0));
        Self {
            app,
            service,
            clock: base.clock,
            pages,
            local,
        }
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = ask(&self.local, request(method, path, None, body)).await;
        assert!(answer.status.is_success(), "{path}: {}", text(&answer));
        if answer.body.is_empty() {
            Value::Null
        } else {
            answer.json()
        }
    }

    /// The key of a new API client.
    pub(crate) async fn key(&self, name: &str, scope: &str) -> oncegate::secret::SecretString {
        let body = json!({"kind": "api", "name": name, "scopes": [scope]});
        let made = self.admin("POST", "/v1/admin/clients", Some(body)).await;
        made["key"].as_str().expect("a key").into()
    }

    /// A person with these roles, and the key of their authenticator.
    pub(crate) async fn person(&self, name: &str, roles: &[&str]) -> Person {
        let body = json!({
            "user": format!("{name}@console"), "groups": roles, "password": "correct horse staple",
        });
        self.admin("POST", "/v1/admin/users", Some(body)).await;
        let body = json!({ "user": format!("{name}@console"), "kind": "totp", "active": true });
        let token = self.admin("POST", "/v1/admin/tokens", Some(body)).await;
        Person {
            name: name.to_owned(),
            uri: token["otpauth_uri"].as_str().expect("a URI").to_owned(),
        }
    }

    /// The code of the next step, which is not used yet.
    pub(crate) fn code(&self, uri: &str) -> String {
        self.clock.advance(Duration::from_secs(30));
        shown(uri, self.service.core.now().as_secs())
    }

    pub(crate) async fn sign_in(&self, person: &Person) -> String {
        let code = self.code(&person.uri);
        let form = [
            ("name", person.name.as_str()),
            ("password", "correct horse staple"),
            ("code", &code),
        ];
        let answer = self.post("/console/sign-in", &form, None).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", text(&answer));
        cookie(&answer).expect("a session")
    }

    pub(crate) async fn get(&self, path: &str, cookie: Option<&str>) -> Answer {
        ask(&self.pages, built("GET", path, cookie, None)).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        form: &[(&str, &str)],
        cookie: Option<&str>,
    ) -> Answer {
        let mut request = built("POST", path, cookie, Some(form));
        let headers = request.headers_mut();
        headers.insert("sec-fetch-site", "same-origin".parse().expect("a value"));
        ask(&self.pages, request).await
    }
}

pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) uri: String,
}

pub(crate) fn shown(uri: &str, at: u64) -> String {
    let read = oncegate::otpauth::OtpAuth::parse(uri).expect("an otpauth URI");
    let code = hotp::generate(&read.key, read.algorithm, read.digits, at / 30);
    code.expose().expose().to_owned()
}

pub(crate) fn built(
    method: &str,
    path: &str,
    cookie: Option<&str>,
    form: Option<&[(&str, &str)]>,
) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", HOST);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    let body = match form {
        None => Body::empty(),
        Some(form) => {
            request = request.header("content-type", "application/x-www-form-urlencoded");
            Body::from(serde_urlencoded::to_string(form).expect("a form"))
        }
    };
    let peer: SocketAddr = "127.0.0.1:40000".parse().expect("an address");
    let mut request = request.body(body).expect("a request");
    request.extensions_mut().insert(Peer(peer));
    request
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// The session that an answer gives, as a browser sends it.
pub(crate) fn cookie(answer: &Answer) -> Option<String> {
    let lines = answer.headers.get_all("set-cookie").iter();
    let mut found = lines.filter_map(|line| line.to_str().ok());
    let line = found.find(|line| line.contains("oncegate=") || line.contains("oncegate-me="))?;
    line.split(';').next().map(str::to_owned)
}

pub(crate) const PAGES: [&str; 9] = [
    "/console",
    "/console/users",
    "/console/users/alice@default",
    "/console/requests",
    "/console/clients",
    "/console/policies",
    "/console/audit",
    "/console/health",
    "/console/account",
];

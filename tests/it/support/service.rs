//! A service in this process: store in memory, a clock that stands still until it is moved.

use std::sync::Arc;

use oncegate::admin::{NewRadiusClient, NewToken, UserPatch};
use oncegate::diagnostic::Source;
use oncegate::model::client::Require;
use oncegate::model::kind::Kind;
use oncegate::model::token::Token;
use oncegate::model::user_key::UserKey;
use oncegate::otp::{Algorithm, Digits, Period, hotp};
use oncegate::radius::dictionary::Dictionary;
use oncegate::secret::{OtpKey, SecretBytes, SecretString};
use oncegate::service::Service;
use oncegate::store::{AuditQuery, By};
use oncegate::time::{FixedClock, UnixTime};

use crate::support::base::Base;

/// A service and its clock.
pub(crate) struct TestService {
    pub(crate) service: Arc<Service>,
    pub(crate) clock: FixedClock,
    pub(crate) dictionary: Arc<Dictionary>,
}

impl TestService {
    /// An empty service with these policies: name and text.
    pub(crate) fn new(policies: &[(&str, &str)]) -> Self {
        let sources = policies.iter();
        let base = Base {
            policies: sources
                .map(|(name, text)| Source::new(*name, *text))
                .collect(),
            ..Base::at(UnixTime::from_secs(1_767_225_600))
        };
        let dictionary = Dictionary::builtin().expect("the built-in dictionary");
        Self {
            service: base.service(),
            clock: base.clock,
            dictionary: Arc::new(dictionary),
        }
    }

    /// For the audit.
    pub(crate) fn by(&self) -> By {
        let (request, at) = self.service.core.arrival().expect("entropy");
        By {
            request,
            actor: "test".to_owned(),
            person: None,
            at,
            limited: false,
        }
    }

    /// A user.
    pub(crate) async fn user(&self, name: &str) {
        let key = UserKey::parse(name).expect("a user name");
        self.service
            .admin
            .add_user(key, UserPatch::default(), self.by())
            .await
            .expect("a new user");
    }

    /// An active token whose key follows from the user's name.
    pub(crate) async fn token(&self, user: &str, kind: Kind) -> Token {
        let new = NewToken {
            user: UserKey::parse(user).expect("a user name"),
            kind,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: Some(SecretBytes::new(key_of(user).expose().to_vec())),
            counter: 0,
            active: true,
            serial: None,
        };
        self.service
            .admin
            .add_token(new, self.by())
            .await
            .expect("a new token")
    }

    /// A RADIUS client.
    pub(crate) async fn client(
        &self,
        name: &str,
        address: &str,
        secret: &str,
        require: Require,
        policy: Option<&str>,
    ) {
        let new = NewRadiusClient {
            name: name.to_owned(),
            addresses: vec![address.parse().expect("a network")],
            secret: Some(SecretString::from(secret)),
            policy: policy.map(str::to_owned),
            realm: None,
            require,
            challenge: true,
            methods: oncegate::model::method::Allowed::default(),
            settings: oncegate::model::client::RadiusSettings::default(),
        };
        self.service
            .admin
            .add_radius_client(new, self.by())
            .await
            .expect("a new client");
    }

    /// The TOTP code of a user's token, so many steps from now.
    pub(crate) fn code(&self, user: &str, steps: i64) -> String {
        use oncegate::time::Clock as _;
        let step = (self.clock.now().as_secs() / 30).saturating_add_signed(steps);
        code_at(user, step)
    }

    /// How many decisions are on record.
    pub(crate) async fn decisions(&self) -> usize {
        let query = AuditQuery {
            limit: 10_000,
            ..AuditQuery::default()
        };
        let records = self
            .service
            .core
            .store()
            .audit(query)
            .await
            .expect("the audit");
        let decision = |record: &&oncegate::model::audit::AuditRecord| {
            matches!(record.event, oncegate::model::audit::Event::Decision(_))
        };
        records.iter().filter(decision).count()
    }
}

/// The code of a user's token at a counter or step.
pub(crate) fn code_at(user: &str, step: u64) -> String {
    let code = hotp::generate(&key_of(user), Algorithm::Sha1, Digits::SIX, step);
    code.expose().expose().to_owned()
}

fn key_of(user: &str) -> OtpKey {
    let octets: Vec<u8> = user.bytes().cycle().take(20).collect();
    OtpKey::new(SecretBytes::new(octets)).expect("20 octets")
}

//! What stands in a path for the name in braces, as the server reads it.

use crate::api::call::{
    AuditSeq, ChallengeName, ClientName, DeviceName, DraftName, GatewayName, InboundMedium, Place,
    PolicyName, RequestName, SourceName, TokenSerial, UserName,
};
use crate::diagnostic::did_you_mean;
use crate::model::device::DeviceId;
use crate::model::id::{RequestId, Serial};
use crate::model::message::Medium;
use crate::model::user_key::UserKey;
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::read::user_key;
use crate::server::http::{App, tell};
use crate::store::ADMINISTRATORS_ONLY;

/// A place of a path, as the server reads it.
pub(crate) trait Named: Place {
    /// What is read.
    type Value: Clone + Send + Sync + 'static;
    /// The record, as failures call it.
    const NOUN: &'static str;

    /// Reads it.
    fn parse(text: &str) -> Result<Self::Value, Failure>;

    /// The record that is meant.
    fn resolved(_: &App, value: Self::Value) -> Result<Self::Value, Failure> {
        Ok(value)
    }

    /// The revision of the record at present.
    fn revision(_: &App, _: &Self::Value) -> Option<u64> {
        None
    }

    /// What a caller is answered who does not see the record, whether or not there is one: nothing else is looked at.
    /// `reads`: the call changes nothing.
    fn unseen(_: &App, _: &Caller, _: &Self::Value, _reads: bool) -> Option<Failure> {
        None
    }

    /// There is no such record that the caller sees.
    fn missing(_: &App, _: &Caller, _: &Self::Value) -> Failure {
        Failure::missing(Self::NOUN)
    }
}

impl Named for () {
    type Value = ();
    const NOUN: &'static str = "";

    fn parse(_: &str) -> Result<(), Failure> {
        Ok(())
    }
}

impl Named for UserName {
    type Value = UserKey;
    const NOUN: &'static str = "user";

    fn parse(text: &str) -> Result<UserKey, Failure> {
        user_key(text)
    }

    fn resolved(app: &App, name: UserKey) -> Result<UserKey, Failure> {
        Ok(app.core().store().named(name)?)
    }

    fn revision(app: &App, user: &UserKey) -> Option<u64> {
        app.admin().user(user).ok().map(|user| user.revision)
    }

    fn unseen(app: &App, caller: &Caller, user: &UserKey, reads: bool) -> Option<Failure> {
        if caller.sees(user) {
            return None;
        }
        Some(if reads {
            tell::no_user(app, caller, user)
        } else {
            Failure::conflict(ADMINISTRATORS_ONLY)
        })
    }

    fn missing(app: &App, caller: &Caller, user: &UserKey) -> Failure {
        tell::no_user(app, caller, user)
    }
}

impl Named for TokenSerial {
    type Value = Serial;
    const NOUN: &'static str = "token";

    fn parse(text: &str) -> Result<Serial, Failure> {
        text.parse().map_err(|_| Failure::missing(Self::NOUN))
    }

    fn revision(app: &App, serial: &Serial) -> Option<u64> {
        let found = app.admin().token(serial).ok();
        found.map(|(token, _)| token.revision)
    }

    fn unseen(app: &App, caller: &Caller, serial: &Serial, _: bool) -> Option<Failure> {
        if caller.sees_console() {
            return None;
        }
        let (token, _) = app.admin().token(serial).ok()?;
        (!caller.sees(&token.user)).then(|| tell::no_token(app, caller, serial))
    }

    fn missing(app: &App, caller: &Caller, serial: &Serial) -> Failure {
        tell::no_token(app, caller, serial)
    }
}

impl Named for ClientName {
    type Value = String;
    const NOUN: &'static str = "client";

    fn parse(text: &str) -> Result<String, Failure> {
        Ok(text.to_owned())
    }

    fn revision(app: &App, name: &String) -> Option<u64> {
        let client = app.admin().client(name).ok();
        client.map(|client| client.revision)
    }

    fn missing(app: &App, _: &Caller, name: &String) -> Failure {
        tell::no_client(app, name)
    }
}

impl Named for PolicyName {
    type Value = String;
    const NOUN: &'static str = "policy";

    fn parse(text: &str) -> Result<String, Failure> {
        Ok(text.to_owned())
    }

    fn missing(app: &App, _: &Caller, name: &String) -> Failure {
        let policies = app.core().policies();
        let close = did_you_mean(name, policies.iter().map(|policy| policy.name.as_str()));
        let next = close.map_or_else(
            || "`oncegate policy list` shows those that are loaded".to_owned(),
            |close| format!("did you mean `{close}`? `oncegate policy list` shows all"),
        );
        Failure::not_found("no policy of this name is loaded").advise(next)
    }
}

impl Named for DraftName {
    type Value = String;
    const NOUN: &'static str = "policy draft";

    fn parse(text: &str) -> Result<String, Failure> {
        Ok(text.to_owned())
    }

    /// What is not there has the revision 0: who makes a draft can say that there was none.
    fn revision(app: &App, name: &String) -> Option<u64> {
        let draft = app.core().store().draft(name).ok()?;
        Some(draft.map_or(0, |draft| draft.revision))
    }

    fn missing(_: &App, _: &Caller, _: &String) -> Failure {
        Failure::missing(Self::NOUN).advise("`oncegate policy draft list` shows those that wait")
    }
}

impl Named for DeviceName {
    type Value = DeviceId;
    const NOUN: &'static str = "device";

    fn parse(text: &str) -> Result<DeviceId, Failure> {
        text.parse().map_err(|_| Failure::missing(Self::NOUN))
    }

    fn unseen(app: &App, caller: &Caller, id: &DeviceId, _: bool) -> Option<Failure> {
        if caller.sees_console() {
            return None;
        }
        let (device, _) = app.admin().device(id).ok()??;
        (!caller.sees(&device.user)).then(|| Self::missing(app, caller, id))
    }

    fn missing(_: &App, _: &Caller, id: &DeviceId) -> Failure {
        Failure::not_found(format!("there is no device {id}"))
            .advise("compare with `oncegate device list --user USER`")
    }
}

impl Named for SourceName {
    type Value = String;
    const NOUN: &'static str = "source";

    fn parse(text: &str) -> Result<String, Failure> {
        Ok(text.to_owned())
    }

    fn missing(_: &App, _: &Caller, name: &String) -> Failure {
        Failure::missing(Self::NOUN).advise(format!(
            "`oncegate source show` lists them; `[source.{name}]` in oncegate.toml makes one"
        ))
    }
}

impl Named for GatewayName {
    type Value = String;
    const NOUN: &'static str = "gateway";

    fn parse(text: &str) -> Result<String, Failure> {
        Ok(text.to_owned())
    }

    fn missing(_: &App, _: &Caller, name: &String) -> Failure {
        Failure::missing(Self::NOUN).advise(format!(
            "`oncegate delivery list` shows them; `[delivery.{name}]` in oncegate.toml makes one"
        ))
    }
}

impl Named for InboundMedium {
    type Value = Medium;
    const NOUN: &'static str = "medium; `sms` or `voice`";

    fn parse(text: &str) -> Result<Medium, Failure> {
        match text {
            "sms" => Ok(Medium::Sms),
            "voice" => Ok(Medium::Voice),
            _ => Err(Failure::missing(Self::NOUN)),
        }
    }
}

impl Named for AuditSeq {
    type Value = u64;
    const NOUN: &'static str = "audit record";

    fn parse(text: &str) -> Result<u64, Failure> {
        text.parse().map_err(|_| Failure::missing(Self::NOUN))
    }
}

impl Named for RequestName {
    type Value = RequestId;
    const NOUN: &'static str = "request";

    /// As people read it out on the telephone.
    fn parse(text: &str) -> Result<RequestId, Failure> {
        let why = "request_id: 26 characters, as answers and the audit give it";
        let id = text.to_ascii_uppercase().parse();
        id.map_err(|_| Failure::malformed(why))
    }
}

impl Named for ChallengeName {
    type Value = String;
    const NOUN: &'static str = "challenge";

    fn parse(text: &str) -> Result<String, Failure> {
        Ok(text.to_owned())
    }
}

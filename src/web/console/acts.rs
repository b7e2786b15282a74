//! All acts of the console, in one table.

use crate::api::call::{Call, Operation};
use crate::api::{
    AddClient, AddDelegation, AddToken, AddUser, ApproveDraft, ApproveToken, AssignToken,
    ConfirmToken, DeclareOutage, DenyDraft, DenyToken, DisconnectSessions, EndBypass, EndExemption,
    EndOutage, EnrolByLink, EraseUser, GrantBypass, GrantExemption, ImportUsers, LinkToken,
    NoteUser, OfferToken, PruneAudit, RecoverClock, ReloadFiles, RemoveClient, RemoveDelegation,
    RemoveDraft, RemoveToken, RemoveUser, RenameDevice, RenewToken, ResumeToken, ResyncToken,
    RevokeDevice, RevokeToken, RotateClient, SetClient, SetDraft, SetUser, SuspendToken,
    SyncSource, TestGateway, UnassignToken, UnlinkToken, UnlockUser, VerifyAudit, VerifyStore,
};
use crate::web::console::act::{Act, Kind, Wanted};
use crate::web::view::Tone;

/// The act of this word.
pub(super) fn find(id: &str) -> Option<&'static Act> {
    ACTS.iter().find(|act| act.id == id)
}

fn of<C: Call>() -> Operation {
    C::OPERATION
}

const fn must(name: &'static str, kind: Kind) -> Wanted {
    Wanted {
        name,
        kind,
        required: true,
    }
}

const fn may(name: &'static str, kind: Kind) -> Wanted {
    Wanted {
        name,
        kind,
        required: false,
    }
}

macro_rules! acts {
    ($($id:literal = $call:ty $(, $flag:ident)*: [$($wanted:expr),* $(,)?];)*) => {
        /// All of them.
        pub(super) static ACTS: &[Act] = &[$(Act {
            id: $id,
            operation: of::<$call>,
            wanted: &[$($wanted),*],
            is_dangerous: acts!(@dangerous $($flag)*),
            tone: acts!(@tone $($flag)*),
            reports: acts!(@reports $($flag)*),
        }),*];
    };
    (@dangerous) => { false };
    (@dangerous dangerous $($rest:ident)*) => { true };
    (@dangerous $other:ident $($rest:ident)*) => { acts!(@dangerous $($rest)*) };
    (@tone) => { Tone::Plain };
    (@tone bad $($rest:ident)*) => { Tone::Bad };
    (@tone main $($rest:ident)*) => { Tone::Good };
    (@tone $other:ident $($rest:ident)*) => { acts!(@tone $($rest)*) };
    (@reports) => { false };
    (@reports reports $($rest:ident)*) => { true };
    (@reports $other:ident $($rest:ident)*) => { acts!(@reports $($rest)*) };
}

acts! {
    "add_user" = AddUser, main: [
        must("user", Kind::Text),
        may("display_name", Kind::Text),
        may("groups", Kind::List),
        may("email", Kind::Text),
        may("phone", Kind::Text),
        may("class", Kind::Text),
    ];
    "set_user" = SetUser: [
        may("display_name", Kind::Clearing),
        may("groups", Kind::List),
        may("email", Kind::Clearing),
        may("phone", Kind::Clearing),
        may("class", Kind::Clearing),
    ];
    "set_password" = SetUser, dangerous: [must("password", Kind::Secret), may("must_change", Kind::Check)];
    "set_pin" = SetUser, dangerous: [must("pin", Kind::Secret), may("must_change", Kind::Check)];
    "unlock" = UnlockUser: [];
    "note" = NoteUser: [must("text", Kind::Text)];
    "disable" = SetUser, bad: [must("disabled", Kind::Yes)];
    "enable" = SetUser: [must("disabled", Kind::No)];
    "bypass" = GrantBypass, dangerous: [must("reason", Kind::Text), must("until", Kind::Hours)];
    "end_bypass" = EndBypass: [];
    "exemption" = GrantExemption, dangerous: [must("reason", Kind::Text), must("until", Kind::Days)];
    "end_exemption" = EndExemption: [];
    "remove_user" = RemoveUser, dangerous, bad: [];
    "erase_user" = EraseUser, dangerous, bad: [];
    "enrol_link" = EnrolByLink, dangerous: [must("deliver", Kind::OneOf(&["link", "email", "sms"]))];
    "add_token" = AddToken, dangerous: [
        must("user", Kind::Text),
        must("kind", Kind::Choice(&["totp", "hotp", "server", "recovery", "card", "yubikey", "sms", "email", "voice"])),
    ];
    "confirm" = ConfirmToken: [must("otp", Kind::Code)];
    "resync" = ResyncToken: [must("first", Kind::Code), must("second", Kind::Code)];
    "suspend" = SuspendToken: [];
    "freeze" = SuspendToken, bad: [];
    "resume" = ResumeToken: [];
    "revoke" = RevokeToken, bad: [
        must("reason", Kind::Choice(&["lost", "stolen", "replaced", "moved", "left", "compromised", "other"])),
    ];
    "offer" = OfferToken, dangerous: [];
    "renew" = RenewToken: [];
    "assign" = AssignToken: [
        must("user", Kind::Text),
        may("first", Kind::Code),
        may("second", Kind::Code),
    ];
    "unassign" = UnassignToken: [];
    "link" = LinkToken, dangerous: [
        must("user", Kind::Text),
        must("first", Kind::Code),
        must("second", Kind::Code),
    ];
    "unlink" = UnlinkToken: [must("user", Kind::Text)];
    "remove_token" = RemoveToken, dangerous, bad: [];
    "approve" = ApproveToken, main: [];
    "deny" = DenyToken, bad: [must("reason", Kind::Text)];
    "lend" = AddDelegation, dangerous: [
        must("to", Kind::Text),
        must("until", Kind::Days),
        must("reason", Kind::Text),
    ];
    "take_back" = RemoveDelegation: [must("from", Kind::Given), must("to", Kind::Given)];
    "rename_device" = RenameDevice: [must("name", Kind::Text)];
    "revoke_device" = RevokeDevice, bad: [];
    "disconnect" = DisconnectSessions, reports: [must("user", Kind::Text)];
    "add_radius" = AddClient, dangerous, main: [
        must("kind", Kind::Word("radius")),
        must("name", Kind::Text),
        must("addresses", Kind::List),
        must("profile", Kind::Text),
        may("policy", Kind::Text),
    ];
    "add_api" = AddClient, dangerous, main: [
        must("kind", Kind::Word("api")),
        must("name", Kind::Text),
        must("scopes", Kind::OneOf(&["verify", "operator", "approver", "auditor", "scim", "admin"])),
        may("policy", Kind::Text),
    ];
    "set_radius" = SetClient: [
        must("addresses", Kind::List),
        may("policy", Kind::Clearing),
        may("realm", Kind::Clearing),
        must("require_message_authenticator", Kind::Choice(&["true", "auto", "false"])),
        may("challenge", Kind::Switch),
        may("methods", Kind::List),
        may("retry_window_secs", Kind::Seconds),
    ];
    "set_api" = SetClient: [may("policy", Kind::Clearing), may("realm", Kind::Clearing)];
    "rotate" = RotateClient, dangerous: [may("force", Kind::Check)];
    "remove_client" = RemoveClient, dangerous, bad: [];
    "declare_outage" = DeclareOutage, dangerous: [must("for_secs", Kind::Minutes), must("reason", Kind::Text)];
    "end_outage" = EndOutage: [];
    "set_draft" = SetDraft, dangerous, main: [must("text", Kind::Lines), may("note", Kind::Text)];
    "approve_draft" = ApproveDraft, dangerous, main: [];
    "deny_draft" = DenyDraft, bad: [must("reason", Kind::Text)];
    "remove_draft" = RemoveDraft: [];
    "import" = ImportUsers, dangerous, main: [must("plan", Kind::Given)];
    "reload" = ReloadFiles, reports: [];
    "recover_clock" = RecoverClock, dangerous, reports: [];
    "sync_source" = SyncSource, dangerous, reports: [
        may("dry_run", Kind::Check),
        may("force", Kind::Check),
        may("adopt", Kind::Check),
    ];
    "verify_store" = VerifyStore, reports: [];
    "verify_audit" = VerifyAudit, reports: [];
    "prune_audit" = PruneAudit, dangerous, bad, reports: [must("before", Kind::Text), may("dry_run", Kind::Check)];
    "test_gateway" = TestGateway, reports: [must("to", Kind::Text)];
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::api::call::Access;
    use crate::model::message::Language;
    use crate::web::text::Text;

    /// The calls that the sources of pages make, by their types' names.
    fn named(dir: &Path, found: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }

    /// Every call of the administration has a page, an act, or a reason in the manual why it has none.
    #[test]
    fn every_call_has_a_page_or_a_written_reason() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut pages, mut api) = (String::new(), String::new());
        named(&sources.join("web/console"), &mut pages);
        named(&sources.join("api"), &mut api);
        let manual = include_str!("../../manual/console.md");
        let reasons: Vec<&str> = manual
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        let mut without = Vec::new();
        for operation in crate::server::http::operations() {
            if !matches!(operation.access, Access::Admin(_)) {
                continue;
            }
            let declared = format!(" = {}: ", operation.id);
            let before = api.split(&declared).next().unwrap_or_default();
            let call = before
                .rsplit(char::is_whitespace)
                .next()
                .unwrap_or_default();
            let has_page = pages.contains(&format!("::<{call}>("));
            let has_act = ACTS.iter().any(|act| (act.operation)().id == operation.id);
            let line = format!("| `{} {}` |", operation.method, operation.path);
            let has_reason = reasons.iter().any(|reason| reason.starts_with(&line));
            assert!(!(has_reason && (has_page || has_act)), "{line}: has a page");
            if !(has_page || has_act || has_reason) {
                without.push(line);
            }
        }
        assert!(without.is_empty(), "{without:?}");
    }

    #[test]
    fn every_act_has_a_name_in_every_language_and_is_a_call_of_the_administration() {
        for act in ACTS {
            let operation = (act.operation)();
            assert!(matches!(operation.access, Access::Admin(_)), "{}", act.id);
            for language in [Language::En, Language::Ko] {
                let found = Text(language).find(&format!("act.{}", act.id));
                assert!(found.is_some(), "act.{}", act.id);
                for wanted in act.wanted {
                    let key = format!("field.{}", wanted.name);
                    let asked = !matches!(
                        wanted.kind,
                        Kind::Yes | Kind::No | Kind::Word(_) | Kind::Given
                    );
                    assert!(!asked || Text(language).find(&key).is_some(), "{key}");
                }
            }
            let named = ACTS.iter().filter(|one| one.id == act.id);
            assert_eq!(named.count(), 1, "{}", act.id);
        }
    }
}

//! Asking a directory whether a password is right: a search for the identity, then a bind as the entry found.

use ldap3::{Ldap, LdapResult, Scope, SearchEntry, ldap_escape};
use tokio::time::timeout;

use crate::core::directory::PasswordAnswer;
use crate::directory::entry::Entry;
use crate::directory::ldap::{ACCOUNT, Server, late, told};
use crate::directory::people::{is_disabled, is_expired, octets_of_guid};
use crate::secret::SecretString;
use crate::time::UnixTime;

impl Server {
    /// What the directory says of the password of this identity.
    pub(super) async fn check(
        &self,
        id: &str,
        password: &SecretString,
        now: UnixTime,
    ) -> Result<PasswordAnswer, String> {
        // The connection is a bind's own: on it the person is known, not the account that reads. It is made meanwhile.
        let (entry, connected) = tokio::join!(self.entry(id), self.connect());
        let Some(entry) = entry? else {
            return Ok(PasswordAnswer::Disabled);
        };
        if is_disabled(&entry) {
            return Ok(PasswordAnswer::Disabled);
        }
        if is_expired(&entry, now) {
            return Ok(PasswordAnswer::Expired);
        }
        let mut ldap = connected?;
        let bound = self.bind(&mut ldap, &entry.dn, password).await;
        // How the connection ends is of no interest to the person.
        let patience = self.timeout;
        tokio::spawn(async move { timeout(patience, ldap.unbind()).await });
        answer(&bound?, &entry)
    }

    /// The entry of an identity; `None`: there is none any more.
    async fn entry(&self, id: &str) -> Result<Option<Entry>, String> {
        // A copy of the handle: nothing waits behind a search that hangs.
        let kept = self.reading.lock().await.clone();
        if let Some(mut ldap) = kept
            && !ldap.is_closed()
            && let Ok(found) = self.find(&mut ldap, id).await
        {
            return Ok(found);
        }
        // Servers end connections on which nothing is asked for a while.
        let mut ldap = self.session().await?;
        let found = self.find(&mut ldap, id).await?;
        *self.reading.lock().await = Some(ldap);
        Ok(found)
    }

    async fn find(&self, ldap: &mut Ldap, id: &str) -> Result<Option<Entry>, String> {
        let plan = &self.ldap;
        let value = octets_of_guid(&plan.id, id).map_or_else(
            || ldap_escape(id).into_owned(),
            |octets| {
                let mut value = String::with_capacity(octets.len() * 3);
                for octet in octets {
                    push!(value, "\\{octet:02x}");
                }
                value
            },
        );
        let filter = format!("(&{}({}={value}))", plan.filter, plan.id);
        let mut wanted = ACCOUNT.to_vec();
        wanted.push("pwdReset");
        let found = timeout(
            self.timeout,
            ldap.search(&plan.base, Scope::Subtree, &filter, wanted),
        );
        let found = found.await.map_err(|_| late(self.timeout))?;
        let found = found.map_err(|error| format!("the connection broke: {error}"))?;
        if found.1.rc != 0 {
            return Err(format!("below `{}`: {}", plan.base, told(&found.1)));
        }
        let entries = found
            .0
            .into_iter()
            .filter(|one| !one.is_ref() && !one.is_intermediate());
        let mut entries = entries.map(|one| Entry::from(SearchEntry::construct(one)));
        let first = entries.next();
        match entries.next() {
            Some(_) => Err("two entries have one identity".to_owned()),
            None => Ok(first),
        }
    }
}

/// What a bind says (RFC 4511 s4.2.2), with the causes that Active Directory adds to a refusal.
fn answer(bound: &LdapResult, entry: &Entry) -> Result<PasswordAnswer, String> {
    let cause = bound.text.split_once("data ").map(|(_, rest)| rest);
    let cause = cause.and_then(|rest| rest.split(|sign: char| !sign.is_ascii_hexdigit()).next());
    match (bound.rc, cause) {
        // A password that an administrator has set, of OpenLDAP.
        (0, _)
            if entry
                .text("pwdReset")
                .is_some_and(|text| text.eq_ignore_ascii_case("true")) =>
        {
            Ok(PasswordAnswer::MustChange)
        }
        (0, _) => Ok(PasswordAnswer::Right),
        (49, Some("533")) => Ok(PasswordAnswer::Disabled),
        (49, Some("701")) => Ok(PasswordAnswer::Expired),
        (49, Some("532" | "773")) => Ok(PasswordAnswer::MustChange),
        (49, Some("775")) => Ok(PasswordAnswer::Locked),
        (49, _) => Ok(PasswordAnswer::Wrong),
        // So does 389.
        (19, _) if bound.text.contains("retry limit") => Ok(PasswordAnswer::Locked),
        (53, _) if bound.text.contains("inactivated") => Ok(PasswordAnswer::Disabled),
        _ => Err(told(bound)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why() {
        let said = |rc: u32, text: &str| {
            let bound = LdapResult {
                rc,
                matched: String::new(),
                text: text.to_owned(),
                refs: Vec::new(),
                ctrls: Vec::new(),
            };
            answer(&bound, &Entry::default())
        };
        let ad = |cause: &str| {
            said(
                49,
                &format!(
                    "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {cause}, v2580"
                ),
            )
        };
        for (cause, wanted) in [
            ("52e", PasswordAnswer::Wrong),
            ("525", PasswordAnswer::Wrong),
            ("533", PasswordAnswer::Disabled),
            ("701", PasswordAnswer::Expired),
            ("532", PasswordAnswer::MustChange),
            ("773", PasswordAnswer::MustChange),
            ("775", PasswordAnswer::Locked),
        ] {
            assert_eq!(ad(cause), Ok(wanted), "{cause}");
        }
        assert_eq!(said(0, ""), Ok(PasswordAnswer::Right));
        assert_eq!(said(49, ""), Ok(PasswordAnswer::Wrong));
        for undecided in [1, 2, 8, 10, 13, 19, 51, 52, 53, 80] {
            assert!(said(undecided, "data 533").is_err(), "{undecided}");
        }
    }
}

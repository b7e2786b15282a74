//! From entries to people: identities, attributes, and who is in which group.

use std::collections::{BTreeSet, HashMap};

use data_encoding::HEXLOWER;

use crate::config::sources::GroupName;
use crate::config::sources::ldap::Ldap;
use crate::core::directory::{People, Person, Said, Unread};
use crate::directory::entry::{Entry, normal_dn};
use crate::directory::ldap::Entries;
use crate::time::UnixTime;

/// The people of a source, with those of their groups that are taken.
pub(super) fn people(
    ldap: &Ldap,
    taken: &[GroupName],
    entries: &Entries,
    now: UnixTime,
) -> Result<People, String> {
    let groups = Groups::new(taken, &entries.groups);
    let mut found = People {
        says: Said::ALL.to_vec(),
        ..People::default()
    };
    if ldap.aliases.is_empty() {
        found.says.retain(|said| *said != Said::Aliases);
    }
    for entry in &entries.people {
        match person(ldap, entry, &groups, now) {
            Ok(person) => found.people.push(person),
            Err(why) => found.unread.push(Unread {
                entry: entry.dn.clone(),
                why,
                id: identity_of(ldap, entry),
                login: entry.text(&ldap.login).map(str::to_owned),
            }),
        }
    }
    let none = |attribute: &str| {
        let entries = &mut entries.people.iter();
        entries.len() > 0 && entries.all(|entry| entry.octets(attribute).next().is_none())
    };
    match [&ldap.id, &ldap.login].into_iter().find(|name| none(name)) {
        Some(name) => Err(format!(
            "no entry has `{name}`: see that {} may read it",
            ldap.bind_dn
        )),
        None => Ok(found),
    }
}

fn person(
    ldap: &Ldap,
    entry: &Entry,
    groups: &Groups<'_>,
    now: UnixTime,
) -> Result<Person, String> {
    let missing = |name: &str| format!("the entry has no `{name}`");
    let id = identity_of(ldap, entry);
    let login = entry.text(&ldap.login);
    let text = |name: &str| entry.text(name).map(str::to_owned);
    let mut names = ldap.display_name.iter();
    Ok(Person {
        id: id.ok_or_else(|| missing(&ldap.id))?,
        external: None,
        login: login.ok_or_else(|| missing(&ldap.login))?.to_owned(),
        display_name: names.find_map(|name| text(name)),
        phone: text(&ldap.phone),
        email: text(&ldap.email),
        groups: groups.of(entry, login.unwrap_or_default()),
        aliases: ldap
            .aliases
            .iter()
            .flat_map(|name| entry.texts(name))
            .map(str::to_owned)
            .collect(),
        disabled: is_disabled(entry) || is_expired(entry, now),
    })
}

fn identity_of(ldap: &Ldap, entry: &Entry) -> Option<String> {
    entry.octets(&ldap.id).next().and_then(identity)
}

/// An identity as text: what is text already, and 16 other octets as Active Directory writes a GUID.
fn identity(value: &[u8]) -> Option<String> {
    let printable = |octet: &u8| octet.is_ascii_graphic();
    if value.len() != 16 && !value.is_empty() && value.len() <= 128 && value.iter().all(printable) {
        return std::str::from_utf8(value).ok().map(str::to_ascii_lowercase);
    }
    let mut octets: [u8; 16] = value.try_into().ok()?;
    // The first three parts stand with their least octet first.
    for part in [0..4, 4..6, 6..8] {
        octets.get_mut(part)?.reverse();
    }
    let hex = |part| octets.get(part).map(|part| HEXLOWER.encode(part));
    let parts = [0..4, 4..6, 6..8, 8..10, 10..16];
    Some(parts.map(|part| hex(part).unwrap_or_default()).join("-"))
}

/// The octets of a GUID that stands as text; `None` where the identity is text itself.
pub(super) fn octets_of_guid(attribute: &str, id: &str) -> Option<Vec<u8>> {
    if !attribute.eq_ignore_ascii_case("objectGUID") {
        return None;
    }
    let digits = id.replace('-', "");
    let mut octets = HEXLOWER.decode(digits.as_bytes()).ok()?;
    for part in [0..4, 4..6, 6..8] {
        octets.get_mut(part)?.reverse();
    }
    Some(octets)
}

fn number(entry: &Entry, name: &str) -> Option<u64> {
    entry.text(name)?.parse().ok()
}

/// Whether the account has expired there: `accountExpires` of Active Directory.
pub(super) fn is_expired(entry: &Entry, now: UnixTime) -> bool {
    let expires = number(entry, "accountExpires").filter(|ticks| !NEVER.contains(ticks));
    // In steps of 100 ns since 1601.
    let expires = expires.map(|ticks| (ticks / 10_000_000).saturating_sub(EPOCH_1601));
    expires.is_some_and(|seconds| UnixTime::from_secs(seconds) <= now)
}

/// Whether the account is disabled there: `userAccountControl` of Active Directory, `nsAccountLock` of 389,
/// `pwdAccountLockedTime` of `OpenLDAP` where an administrator locked it.
pub(super) fn is_disabled(entry: &Entry) -> bool {
    let control = number(entry, "userAccountControl").unwrap_or_default();
    let locked = entry.text("pwdAccountLockedTime") == Some("000001010000Z");
    let ns_locked = entry.text("nsAccountLock");
    control & ACCOUNT_DISABLED != 0
        || locked
        || ns_locked.is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

const ACCOUNT_DISABLED: u64 = 2;
const NEVER: [u64; 2] = [0, 0x7fff_ffff_ffff_ffff];
/// Seconds from 1601 to 1970.
const EPOCH_1601: u64 = 11_644_473_600;

/// The groups of a source, and which are in which.
struct Groups<'e> {
    /// Name, if its users get it; and its number by its DN.
    names: Vec<Option<&'e str>>,
    by_dn: HashMap<String, usize>,
    /// The groups that have a DN or a login name as a member.
    having: HashMap<String, Vec<usize>>,
    /// The groups that a group is in, at whatever distance; itself too.
    above: Vec<BTreeSet<usize>>,
}

impl<'e> Groups<'e> {
    fn new(taken: &[GroupName], entries: &'e [Entry]) -> Self {
        let taken = |name: &&str| taken.iter().any(|one| one.fits(name));
        let by_dn: HashMap<String, usize> = entries
            .iter()
            .enumerate()
            .map(|(number, entry)| (normal_dn(&entry.dn), number))
            .collect();
        let mut having: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, entry) in entries.iter().enumerate() {
            let members = entry.texts("member").chain(entry.texts("uniqueMember"));
            for member in members {
                having.entry(normal_dn(member)).or_default().push(number);
            }
            for login in entry.texts("memberUid") {
                let member = member_uid(login);
                having.entry(member).or_default().push(number);
            }
        }
        let mut groups = Self {
            names: entries
                .iter()
                .map(|one| one.text("cn").filter(taken))
                .collect(),
            by_dn,
            having,
            above: Vec::new(),
        };
        let above = entries.iter().enumerate().map(|(number, entry)| {
            let mut above = BTreeSet::from([number]);
            let mut open = vec![entry];
            // A group that is in itself, through others, is met once.
            while let Some(entry) = open.pop() {
                for number in groups.directly(entry, "") {
                    if above.insert(number) {
                        open.extend(entries.get(number));
                    }
                }
            }
            above
        });
        let above = above.collect();
        groups.above = above;
        groups
    }

    /// The groups that an entry is in at no distance.
    fn directly(&self, entry: &Entry, login: &str) -> Vec<usize> {
        let by_name = self.having.get(&normal_dn(&entry.dn));
        let by_login = self.having.get(&member_uid(login));
        let own = by_name.into_iter().chain(by_login).flatten().copied();
        let named = entry.texts("memberOf").map(normal_dn);
        let named = named.filter_map(|dn| self.by_dn.get(&dn).copied());
        own.chain(named).collect()
    }

    /// The names of all groups that a person is in.
    fn of(&self, entry: &Entry, login: &str) -> Vec<String> {
        let direct = self.directly(entry, login).into_iter();
        let above = direct.filter_map(|number| self.above.get(number)).flatten();
        let names = above.filter_map(|number| self.names.get(*number).copied().flatten());
        let names: BTreeSet<&str> = names.collect();
        names.into_iter().map(str::to_owned).collect()
    }
}

/// A login name among the members (RFC 2307): no DN looks so.
fn member_uid(login: &str) -> String {
    format!("\0{login}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::sources::Origin;
    use crate::diagnostic::Source;
    use std::path::Path;

    fn source(more: &str) -> (Ldap, Vec<GroupName>) {
        let text = format!(
            "[source.corp]\nkind = \"ldap\"\nurl = \"ldap://localhost\"\nbase = \"dc=eco\"\n\
             bind_dn = \"cn=reader\"\nsecret_file = \"x\"\n{more}\n"
        );
        let source = Source::new("oncegate.toml", text);
        let (config, _) = Config::load(Some(&source), [], Path::new("/data")).unwrap();
        let source = config.sources.into_iter().next().unwrap();
        let Origin::Ldap(ldap) = source.origin else {
            panic!("{source:?}");
        };
        (*ldap, source.groups)
    }

    fn read(more: &str, entries: &Entries) -> People {
        let (ldap, groups) = source(more);
        people(&ldap, &groups, entries, now()).unwrap()
    }

    fn now() -> UnixTime {
        UnixTime::from_secs(1_800_000_000)
    }

    #[test]
    fn groups_are_found_through_groups_and_cycles_end() {
        let ann = Entry::new(
            "uid=ann,ou=people,dc=eco",
            &[
                ("entryUUID", &["A-1"]),
                ("uid", &["ann"]),
                ("cn", &["Ann A"]),
                ("mail", &["Ann@example.org", "a.a@example.org"]),
            ],
        );
        let bob = Entry::new(
            "uid=bob,ou=people,dc=eco",
            &[
                ("entryUUID", &["A-2"]),
                ("uid", &["bob"]),
                ("memberOf", &["CN=Outer2, dc=eco"]),
            ],
        );
        let group = |name: &str, members: &[&str]| {
            Entry::new(
                &format!("cn={name},dc=eco"),
                &[("cn", &[name]), ("member", members)],
            )
        };
        let unix = Entry::new(
            "cn=unix,dc=eco",
            &[("cn", &["unix"]), ("memberUid", &["bob"])],
        );
        let entries = Entries {
            people: vec![ann, bob],
            groups: vec![
                group("inner", &["UID=Ann, ou=people,dc=eco"]),
                group("outer", &["cn=inner,dc=eco", "cn=outer2,dc=eco"]),
                group("outer2", &["cn=outer,dc=eco"]),
                unix,
            ],
        };
        let found = read("", &entries);
        let groups: Vec<_> = found
            .people
            .iter()
            .map(|one| one.groups.join(" "))
            .collect();
        assert_eq!(groups, ["inner outer outer2", "outer outer2 unix"]);
        let some = read("groups = [\"inner\", \"un*\"]", &entries);
        let groups: Vec<_> = some.people.iter().map(|one| one.groups.join(" ")).collect();
        assert_eq!(groups, ["inner", "unix"]);
        let ann = &found.people[0];
        assert_eq!((ann.id.as_str(), ann.login.as_str()), ("a-1", "ann"));
        assert_eq!(ann.display_name.as_deref(), Some("Ann A"));
        assert!(ann.aliases.is_empty() && !found.says.contains(&Said::Aliases));
        let named = read("aliases = [\"MAIL\"]", &entries);
        assert_eq!(
            named.people[0].aliases,
            ["Ann@example.org", "a.a@example.org"]
        );
        assert!(named.says.contains(&Said::Aliases));
    }

    #[test]
    fn an_entry_without_identity_or_name_is_left_out_and_named() {
        let entries = Entries {
            people: vec![
                Entry::new("uid=ann,dc=eco", &[("uid", &["ann"])]),
                Entry::new("cn=x,dc=eco", &[("entryUUID", &["1"])]),
            ],
            groups: Vec::new(),
        };
        let found = read("", &entries);
        assert!(found.people.is_empty());
        let why: Vec<_> = found.unread.iter().map(|one| one.why.as_str()).collect();
        assert_eq!(
            why,
            ["the entry has no `entryUUID`", "the entry has no `uid`"]
        );
        assert_eq!(found.unread[0].login.as_deref(), Some("ann"));
        assert_eq!(found.unread[1].id.as_deref(), Some("1"));
    }

    #[test]
    fn a_directory_that_hides_what_people_are_known_by_is_not_believed() {
        let entries = Entries {
            people: vec![Entry::new("uid=ann,dc=eco", &[("uid", &["ann"])])],
            groups: Vec::new(),
        };
        let (ldap, groups) = source("");
        let why = people(&ldap, &groups, &entries, now()).unwrap_err();
        assert!(why.starts_with("no entry has `entryUUID`"), "{why}");
        let none = people(&ldap, &groups, &Entries::default(), now());
        assert_eq!(none.unwrap().people, []);
    }

    #[test]
    fn a_guid_is_written_as_active_directory_writes_it() {
        let guid: Vec<u8> = (0..16).collect();
        let text = "03020100-0504-0706-0809-0a0b0c0d0e0f";
        assert_eq!(identity(&guid).as_deref(), Some(text));
        // Sixteen octets that could be read as text, too.
        let text = "44434241-4645-4847-494a-4b4c4d4e4f50";
        assert_eq!(identity(b"ABCDEFGHIJKLMNOP").as_deref(), Some(text));
        assert_eq!(
            octets_of_guid("objectguid", text).unwrap(),
            b"ABCDEFGHIJKLMNOP"
        );
        assert_eq!(octets_of_guid("entryUUID", text), None);
        assert_eq!(identity(b""), None);
    }

    #[test]
    fn accounts_are_disabled_and_expire() {
        let entry = |name: &str, value: &str| Entry::new("cn=x", &[]).with(name, value.as_bytes());
        for (name, value, disabled) in [
            ("userAccountControl", "512", false),
            ("userAccountControl", "514", true),
            ("accountExpires", "0", false),
            ("accountExpires", "9223372036854775807", false),
            ("accountExpires", "132000000000000000", true),
            ("accountExpires", "153000000000000000", false),
            ("pwdAccountLockedTime", "000001010000Z", true),
            ("pwdAccountLockedTime", "20260101000000Z", false),
            ("nsAccountLock", "TRUE", true),
        ] {
            let entry = entry(name, value);
            assert_eq!(
                is_disabled(&entry) || is_expired(&entry, now()),
                disabled,
                "{name} {value}"
            );
        }
    }
}

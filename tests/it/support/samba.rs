//! A real Active Directory: Samba as a domain controller, in a network of its own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::slapd::certificates;

/// A running domain controller of `eco.test`; it ends when this is dropped.
pub(crate) struct Samba {
    dir: tempfile::TempDir,
    process: Child,
}

pub(crate) const ADMINISTRATOR: &str = "cn=Administrator,cn=Users,dc=eco,dc=test";
pub(crate) const PASSWORD: &str = "Eco-Study-Passw0rd";

impl Samba {
    /// With the organisational unit `ou=Staff,dc=eco,dc=test`, empty; `None` where networks cannot be made.
    pub(crate) fn start() -> Option<Self> {
        let alone = Command::new("unshare").args(["-n", "-m", "true"]).output();
        if !alone.is_ok_and(|done| done.status.success()) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display().to_string();
        certificates(dir.path());
        let key = dir.path().join("ldap.key");
        fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let provision = format!(
            "ip link set lo up; exec samba-tool domain provision --server-role=dc --use-rfc2307 --dns-backend=NONE \
             --realm=ECO.TEST --domain=ECO --adminpass='{PASSWORD}' --targetdir={at}/dc --host-name=dc1 \
             --host-ip=127.0.0.1 --option='interfaces=lo' --option='bind interfaces only=yes'"
        );
        let made = Command::new("unshare")
            .args(["-n", "sh", "-c", &provision])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let run = format!(
            "ip link set lo up; mount -t tmpfs none /run; mkdir -p /run/samba; exec samba -F --no-process-group \
             -s {at}/dc/etc/smb.conf -M single --option='server services=ldap,cldap,rpc,kdc,drepl' \
             --option='ldap server require strong auth=no' \
             --option='tls cafile={at}/ca.pem' --option='tls certfile={at}/ldap.pem' --option='tls keyfile={at}/ldap.key'"
        );
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let process = Command::new("unshare")
            .args(["-n", "-m", "sh", "-c", &run])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let samba = Self { dir, process };
        let until = Instant::now() + Duration::from_mins(1);
        let unit = "dn: ou=Staff,dc=eco,dc=test\nobjectClass: organizationalUnit\nou: Staff\n\n";
        while !samba.changes(unit) {
            let log = fs::read_to_string(samba.dir.path().join("log")).unwrap();
            assert!(
                Instant::now() < until,
                "the controller does not answer: {log}"
            );
            std::thread::sleep(Duration::from_millis(250));
        }
        Some(samba)
    }

    /// What runs a program in its network.
    pub(crate) fn inside(&self) -> Vec<String> {
        let pid = self.process.id().to_string();
        ["nsenter", "-t", &pid, "-n", "--"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Whether a change, as LDIF says, was carried out.
    pub(crate) fn changes(&self, ldif: &str) -> bool {
        let file = self.dir.path().join("change.ldif");
        fs::write(&file, ldif).unwrap();
        let inside = self.inside();
        let done = Command::new(&inside[0])
            .args(&inside[1..])
            .args([
                "ldapmodify",
                "-a",
                "-x",
                "-H",
                "ldaps://127.0.0.1",
                "-D",
                ADMINISTRATOR,
                "-w",
                PASSWORD,
                "-f",
            ])
            .arg(&file)
            .env("LDAPTLS_CACERT", self.ca())
            .output()
            .unwrap();
        if !done.status.success()
            && !String::from_utf8_lossy(&done.stderr).contains("contact LDAP server")
        {
            eprintln!("{ldif}: {}", String::from_utf8_lossy(&done.stderr));
        }
        done.status.success()
    }

    /// The authority of its certificate.
    pub(crate) fn ca(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The process whose network it is in.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Makes its staff the source `corp` of an installation, asked at this URL.
    pub(crate) fn table(&self, site: &Path, url: &str, more: &str) {
        fs::write(site.join("reader.password"), PASSWORD).unwrap();
        let table = format!(
            "\n[source.corp]\nkind = \"ldap\"\nschema = \"ad\"\nurl = \"{url}\"\nca_file = \"{}\"\n\
             base = \"OU=Staff,DC=eco,DC=test\"\nbind_dn = \"Administrator@eco.test\"\nsecret_file = \"reader.password\"\n{more}\n",
            self.ca().display()
        );
        let file = site.join("oncegate.toml");
        let written = fs::read_to_string(&file).unwrap();
        let before = written.split("\n[source.corp]").next().unwrap();
        fs::write(&file, format!("{before}{table}")).unwrap();
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

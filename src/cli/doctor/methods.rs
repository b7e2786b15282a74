//! Clients whose logins come by methods that an eavesdropper breaks.

use std::collections::BTreeMap;

use crate::api::{Audit, AuditEvent, Clients};
use crate::cli::context::Context;
use crate::cli::doctor::report::Report;
use crate::model::method::is_weak;

/// Names the clients that are allowed such methods by name, or used them lately. Over plain UDP an attacker who
/// sees the packet of a login by one of them finds the code, and the PIN before it, by trying all. A client that
/// comes over TLS shows its packets to no one: there the line between user and NAS is what is left.
pub(super) fn weak(
    report: &mut Report,
    clients: &Clients,
    latest: Option<&Audit>,
    context: &Context,
) {
    let mut used: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for record in latest.iter().flat_map(|page| &page.records) {
        if let AuditEvent::Decision { client, method, .. } = &record.event
            && is_weak(method)
        {
            used.entry(client).or_default().push(method);
        }
    }
    for client in &clients.clients {
        let allowed = client.methods.iter().flatten().map(String::as_str);
        let mut weak: Vec<&str> = allowed.filter(|word| is_weak(word)).collect();
        let lately = used.get(client.name.as_str()).into_iter().flatten();
        weak.extend(lately.copied());
        weak.sort_unstable();
        weak.dedup();
        if weak.is_empty() || client.kind == "api" {
            continue;
        }
        if client.certificate.is_some() {
            report.ok(
                "clients",
                format!(
                    "client {}: logins by {}, over TLS: no one on the way sees them; they can be tried by who sees \
                     the line between user and NAS",
                    client.name,
                    weak.join(", ")
                ),
            );
            continue;
        }
        report.warning(
            "clients",
            format!(
                "client {}: logins by {} over plain UDP; an attacker who sees the packet finds the \
                 code, and a PIN before it, by trying all",
                client.name,
                weak.join(", ")
            ),
            format!(
                "set the NAS to PAP or to EAP-TTLS, then: {}",
                context.command(&format!(
                    "client set {} --method pap --method eap-ttls --method eap-peap",
                    client.name
                ))
            ),
        );
    }
}

//! Fault D10, its part about the NAS: what it says of itself and of the person's line is on record.

use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::radius::attribute::Type;

use crate::support::lab::Lab;

async fn lab() -> Lab {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
    let lab = Lab::new(&[("vpn", policy)]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    lab
}

async fn login(lab: &Lab, attributes: &[(Type, &[u8])]) -> serde_json::Value {
    let code = lab.code("alice");
    lab.send("vpn", |request, keys| {
        request.attribute(Type::UserName, b"alice").unwrap();
        request.user_password(code.as_bytes(), keys).unwrap();
        for (r#type, value) in attributes {
            request.attribute(*r#type, value).unwrap();
        }
    })
    .await;
    lab.clock.advance(std::time::Duration::from_secs(30));
    let page = lab.admin("GET", "/v1/admin/audit?limit=1").await;
    page["records"][0].clone()
}

#[tokio::test]
async fn what_the_nas_says_is_in_the_audit_and_in_explain() {
    let lab = lab().await;
    let record = login(
        &lab,
        &[
            (Type::NasIdentifier, b"fw-seoul-1"),
            (Type::NasIpAddress, &[192, 0, 2, 33]),
            (Type::CallingStationId, b"203.0.113.9"),
        ],
    )
    .await;
    assert_eq!(record["nas"], "fw-seoul-1");
    assert_eq!(record["nas_ip"], "192.0.2.33");
    assert_eq!(record["calling_station"], "203.0.113.9");
    assert_eq!(record["client_ip"], "203.0.113.9");
    let id = record["request_id"].as_str().unwrap();
    let page = lab.admin("GET", &format!("/v1/admin/explain/{id}")).await;
    assert_eq!(page["records"][0]["record"]["nas"], "fw-seoul-1");
}

#[tokio::test]
async fn records_are_listed_by_the_nas_they_came_from() {
    let lab = lab().await;
    for (name, address) in [("fw-seoul-1", 33), ("fw-busan-1", 34)] {
        let address = [192, 0, 2, address];
        let attributes = [
            (Type::NasIdentifier, name.as_bytes()),
            (Type::NasIpAddress, &address[..]),
        ];
        login(&lab, &attributes).await;
    }
    for (nas, wanted) in [
        ("fw-seoul-1", &["fw-seoul-1"][..]),
        ("FW-Seoul-1", &["fw-seoul-1"]),
        ("192.0.2.34", &["fw-busan-1"]),
        ("192.0.2.35", &[]),
        ("fw", &[]),
    ] {
        let page = lab
            .admin("GET", &format!("/v1/admin/audit?nas={nas}"))
            .await;
        let records = page["records"].as_array().unwrap().iter();
        let found: Vec<_> = records
            .map(|record| record["nas"].as_str().unwrap())
            .collect();
        assert_eq!(found, wanted, "{nas}");
    }
}

/// A NAS is found by the address that its packets come from, whatever it says of itself.
#[tokio::test]
async fn records_are_listed_by_the_address_that_packets_came_from() {
    let lab = lab().await;
    // The client of the lab has the address 127.1.0.0 and no other.
    login(&lab, &[(Type::NasIpAddress, &[192, 0, 2, 33])]).await;
    login(&lab, &[]).await;
    let found = async |nas: &str| {
        let path = format!("/v1/admin/audit?nas={nas}");
        let page = lab.admin("GET", &path).await;
        page["records"].as_array().unwrap().len()
    };
    assert_eq!(found("127.1.0.0").await, 2);
    assert_eq!(found("192.0.2.33").await, 1);
    assert_eq!(found("::ffff:127.1.0.0").await, 2);
    assert_eq!(found("127.1.0.9").await, 0);
    let page = lab.admin("GET", "/v1/admin/audit?limit=1").await;
    assert_eq!(page["records"][0]["nas_ip"], "127.1.0.0");
}

#[tokio::test]
async fn it_is_there_after_a_restart() {
    let mut lab = lab().await;
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    login(
        &lab,
        &[
            (Type::NasIpv6Address, &v6),
            (Type::CallingStationId, b"02-00-5e-10-00-01"),
        ],
    )
    .await;
    lab.restart().await;
    let record = lab.admin("GET", "/v1/admin/audit?limit=1").await["records"][0].clone();
    assert_eq!(record["nas_ip"], "2001:db8::5");
    assert_eq!(record["calling_station"], "02-00-5e-10-00-01");
    assert_eq!(record["client_ip"], serde_json::Value::Null);
    assert_eq!(record.get("nas"), None);
}

#[tokio::test]
async fn what_is_hostile_is_cut_and_made_printable() {
    let lab = lab().await;
    let record = login(
        &lab,
        &[
            (Type::NasIdentifier, b"a\x1b[2J\nroot\xff"),
            (Type::NasIpAddress, &[1, 2, 3]),
            (Type::CallingStationId, &[b'x'; 253]),
        ],
    )
    .await;
    assert_eq!(record["nas"], "a\u{fffd}[2J\u{fffd}root\u{fffd}");
    assert_eq!(record["nas_ip"], "127.1.0.0", "where the packet came from");
    assert_eq!(record["calling_station"].as_str().unwrap().len(), 128);
    // Empty is nothing.
    let record = login(&lab, &[(Type::NasIdentifier, b"")]).await;
    assert_eq!(record.get("nas"), None);
}

//! Fault C9: an attribute for each group, filtered and named by the policy, and replies by rule.

use oncegate::diagnostic::Source;
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::policy::Policies;
use oncegate::radius::attribute::Type;
use oncegate::radius::dictionary::{Dictionary, known_attribute};
use oncegate::radius::packet::Packet;
use serde_json::json;

use crate::support::lab::Lab;

const RULES: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"admins\"\n\
    when = { group = \"admins\" }\nrequire = [\"otp\"]\n\
    [rule.reply]\n\"Class\" = \"admin\"\n\"Session-Timeout\" = \"600\"\n\
    [[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";

async fn lab(reply: &str, groups: &[&str]) -> Lab {
    let lab = Lab::new(&[("vpn", &format!("{RULES}{reply}"))]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    lab.groups("alice", groups).await;
    lab
}

/// The values of an accept.
async fn reply(lab: &Lab, r#type: Type) -> Vec<String> {
    let code = lab.code("alice");
    let (reply, heard) = lab
        .send("vpn", |request, keys| {
            request.attribute(Type::UserName, b"alice").unwrap();
            request.user_password(code.as_bytes(), keys).unwrap();
        })
        .await;
    assert_eq!(heard.decision, "accept");
    lab.clock.advance(std::time::Duration::from_secs(30));
    let packet = Packet::parse(&reply).unwrap();
    let values = packet.all(r#type);
    values
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn every_group_leaves() {
    let groups = ["staff", "vpn-a", "vpn-b", "payroll"];
    let lab = lab("[reply]\n\"Filter-Id\" = \"OU={groups};\"\n", &groups).await;
    let wanted = groups.map(|group| format!("OU={group};"));
    assert_eq!(reply(&lab, Type::FilterId).await, wanted);
    lab.groups("alice", &[]).await;
    assert!(reply(&lab, Type::FilterId).await.is_empty());
}

#[tokio::test]
async fn a_filter_and_a_map_say_which_and_how() {
    let text = "[reply]\n\"Filter-Id\" = \"{groups}\"\n\"Class\" = \"{group}\"\n\
                group_filter = [\"vpn-*\", \"payroll\"]\n\
                [reply.group_map]\n\"vpn-a\" = \"ADMIN\"\n\"vpn-z\" = \"ADMIN\"\n";
    let lab = lab(text, &["staff", "vpn-a", "vpn-b", "payroll", "vpn-z"]).await;
    assert_eq!(
        reply(&lab, Type::FilterId).await,
        ["ADMIN", "vpn-b", "payroll"]
    );
    assert_eq!(reply(&lab, Type::Class).await, ["ADMIN"]);
}

#[tokio::test]
async fn a_rule_has_its_own_reply() {
    let text = "[reply]\n\"Class\" = \"user\"\n\"Filter-Id\" = \"{groups}\"\n\
                [reply.group_map]\nadmins = \"root\"\n";
    let lab = lab(text, &["admins", "staff"]).await;
    assert_eq!(reply(&lab, Type::Class).await, ["admin"]);
    assert_eq!(reply(&lab, Type::FilterId).await, ["root", "staff"]);
    assert_eq!(reply(&lab, Type::SessionTimeout).await, ["\0\0\u{2}X"]);
    lab.groups("alice", &["staff"]).await;
    assert_eq!(reply(&lab, Type::Class).await, ["user"]);
    assert!(reply(&lab, Type::SessionTimeout).await.is_empty());
}

#[tokio::test]
async fn explain_and_http_show_all_of_them() {
    let lab = lab(
        "[reply]\n\"Filter-Id\" = \"{groups}\"\n\"Class\" = \"c\"\n",
        &["a", "b"],
    )
    .await;
    let body = json!({"user": "alice", "otp": lab.code("alice")});
    let heard = lab.http("vpn", body).await;
    assert_eq!(
        heard.body["attributes"],
        json!({"Filter-Id": ["a", "b"], "Class": "c"})
    );
    let id = lab.decision("alice").await.request;
    let page = lab.admin("GET", &format!("/v1/admin/explain/{id}")).await;
    let shown = json!([
        {"name": "Filter-Id", "value": "a"},
        {"name": "Filter-Id", "value": "b"},
        {"name": "Class", "value": "c"},
    ]);
    assert_eq!(page["records"][0]["login"]["reply"], shown);
}

/// More than fits is no accept, and the code is not used up.
#[tokio::test]
async fn too_many_groups_are_refused_before_the_code_is_used() {
    let groups: Vec<String> = (0..64).map(|number| format!("{number:0>80}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let lab = lab("[reply]\n\"Filter-Id\" = \"{groups}\"\n", &groups).await;
    let code = lab.code("alice");
    let heard = lab.radius("vpn", "alice", &code, None, None).await;
    assert_eq!(heard.decision, "reject");
    assert_eq!(lab.reason("alice").await, "reply_too_long");
    lab.groups("alice", &groups[..40]).await;
    let heard = lab.radius("vpn", "alice", &code, None, None).await;
    assert_eq!(heard.decision, "accept");
}

#[test]
fn faults_in_a_reply_are_named_when_it_is_read() {
    let dictionary = Dictionary::builtin().unwrap();
    let known = known_attribute(&dictionary);
    for (reply, message) in [
        (
            "[reply]\n\"Filter-Id\" = \"{gruops}\"\n",
            "did you mean `{groups}`",
        ),
        ("[reply]\ngroup_filter = []\n", "group_filter"),
        ("[reply]\ngroup_filter = [\"a*b*c\"]\n", "more than one `*`"),
        ("[reply.group_map]\na = \"\"\n", "not empty"),
        ("[reply]\ngroup_fliter = [\"a\"]\n", "group_fliter"),
        ("[rule.reply]\n\"Filter-Idd\" = \"a\"\n", "Filter-Id"),
    ] {
        let source = Source::new("policies/vpn.toml", format!("{RULES}{reply}"));
        let found = Policies::parse(&[source], &known).unwrap_err();
        let text = found[0].to_string();
        assert!(text.contains(message), "{reply}: {text}");
    }
}

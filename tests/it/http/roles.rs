//! Every role against every route of the admin API.

use crate::support::app::{TestApp, request, send};
use oncegate::api::call::{Access, Operation};
use oncegate::model::client::Scope;
use oncegate::server::http::{openapi, operations};
use std::collections::BTreeSet;

/// What all paths of the administration begin with.
const PREFIX: &str = "/v1/admin/";

/// A call of the administration: method, path below the prefix, and the scopes that open it beside `admin`.
struct Route {
    method: String,
    path: &'static str,
    scopes: &'static [Scope],
}

fn routes() -> Vec<Route> {
    let route = |operation: Operation| match operation.access {
        Access::Admin(scopes) => Some(Route {
            method: operation.method.to_string(),
            path: operation.path.strip_prefix(PREFIX).expect("the prefix"),
            scopes,
        }),
        _ => None,
    };
    operations().into_iter().filter_map(route).collect()
}

#[test]
fn every_route_of_the_administration_and_no_other_is_for_roles() {
    let document = openapi();
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let Some(path) = path.strip_prefix(PREFIX) else {
            continue;
        };
        for method in operations.as_object().expect("operations").keys() {
            described.insert((method.to_ascii_uppercase(), path.to_owned()));
        }
    }
    let routes = routes();
    assert!(routes.len() > 50);
    let declared = routes
        .iter()
        .map(|route| (route.method.clone(), route.path.to_owned()));
    assert_eq!(declared.collect::<BTreeSet<_>>(), described);
}

#[tokio::test]
async fn every_role_opens_its_own_routes_and_no_other() {
    let app = TestApp::new();
    for scope in &Scope::ALL {
        let key = app.key(scope.as_str(), *scope, None).await;
        let bound = app
            .key(&format!("{scope}-bound"), *scope, Some("staff"))
            .await;
        for route in &routes() {
            let path = format!("{PREFIX}{}", route.path);
            let path = path
                .replace("{user}", "nobody")
                .replace("{serial}", "NONE-1")
                .replace("{name}", "none")
                .replace("{request_id}", "01M85J3KY28Q1C9WJCP9C5VPRY");
            let answer = send(&app.keyed, request(&route.method, &path, Some(&key), None)).await;
            let answer = answer.status();
            // In the name of another only: without one the handler refuses.
            let lent = *scope == Scope::Operator && route.path == "tokens/{serial}/approve";
            let open = *scope == Scope::Admin || (route.scopes.contains(scope) && !lent);
            assert_eq!(
                answer != 403,
                open,
                "{scope} {} {}: {}",
                route.method,
                route.path,
                answer
            );
            let bound = request(&route.method, &path, Some(&bound), None);
            let bound = send(&app.keyed, bound).await.status();
            assert_eq!(bound, 403, "a bound that does not hold is none");
        }
    }
}

#[test]
fn roles_are_what_they_are_called() {
    for route in routes() {
        let of = |scope| route.scopes.contains(&scope);
        let (method, path) = (route.method.as_str(), route.path);
        assert!(!of(Scope::Verify), "{path}");
        if of(Scope::Auditor) {
            let writes_nothing = method == "GET"
                || ["explain", "audit/compare", "audit/verify", "store/verify"].contains(&path);
            assert!(writes_nothing, "auditors read: {method} {path}");
        }
        if of(Scope::Operator) {
            let foreign = path.starts_with("clients") || path.starts_with("audit");
            assert!(!foreign && !path.ends_with("/deny"), "{method} {path}");
            assert!(method == "GET" || !path.starts_with("policies"));
        }
        if of(Scope::Approver) && method != "GET" {
            let decides = path.ends_with("/approve") || path.ends_with("/deny");
            assert!(decides || path == "delegations", "{method} {path}");
        }
    }
}

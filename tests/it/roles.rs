//! Every role against every route of the admin API.

use crate::support::app::{TestApp, request, send};
use oncegate::model::client::Scope;
use oncegate::server::http::openapi;
use oncegate::server::http::roles::{PREFIX, ROUTES};
use std::collections::BTreeSet;

/// The routes below `/v1/admin` as the API describes itself: method and path.
fn described() -> BTreeSet<(String, String)> {
    let document = openapi();
    let mut routes = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let Some(path) = path.strip_prefix(PREFIX) else {
            continue;
        };
        for method in operations.as_object().expect("operations").keys() {
            routes.insert((method.to_ascii_uppercase(), path.to_owned()));
        }
    }
    routes
}

#[test]
fn the_table_of_roles_knows_every_route_and_no_other() {
    let table = ROUTES
        .iter()
        .map(|route| (route.method.to_owned(), route.path.to_owned()));
    assert_eq!(table.clone().count(), ROUTES.len());
    assert_eq!(table.collect::<BTreeSet<_>>(), described());
}

#[tokio::test]
async fn every_role_opens_its_own_routes_and_no_other() {
    let app = TestApp::new();
    for scope in Scope::ALL {
        let key = app.key(scope.as_str(), *scope, None).await;
        let bound = app
            .key(&format!("{scope}-bound"), *scope, Some("staff"))
            .await;
        for route in ROUTES {
            let path = format!("{PREFIX}{}", route.path);
            let path = path
                .replace("{user}", "nobody")
                .replace("{serial}", "NONE-1")
                .replace("{name}", "none")
                .replace("{request_id}", "01M85J3KY28Q1C9WJCP9C5VPRY");
            let answer = send(&app.keyed, request(route.method, &path, Some(&key), None)).await;
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
            let bound = request(route.method, &path, Some(&bound), None);
            let bound = send(&app.keyed, bound).await.status();
            assert_eq!(bound, 403, "a bound that does not hold is none");
        }
    }
}

#[test]
fn roles_are_what_they_are_called() {
    for route in ROUTES {
        let of = |scope| route.scopes.contains(&scope);
        let (method, path) = (route.method, route.path);
        assert!(!of(Scope::Verify), "{path}");
        if of(Scope::Auditor) {
            let writes_nothing =
                method == "GET" || ["explain", "audit/verify", "store/verify"].contains(&path);
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

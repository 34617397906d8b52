//! The table of permissions against the real router: each of its routes has a row, and each row is a route.

use std::collections::BTreeSet;

use axum::body::Body;
use tower::ServiceExt as _;

use super::auth::permissions::{self, Right};
use super::tests::{parts, request};
use super::{AppState, router};

/// The patterns of all routes, as the router itself names them.
fn patterns() -> BTreeSet<String> {
    let names = format!("{:?}", router(AppState::new(parts())));
    let quoted = names.split('"').skip(1).step_by(2);
    let patterns: BTreeSet<String> =
        quoted.filter(|text| text.starts_with('/') && !text.contains("axum")).map(str::to_owned).collect();
    assert!(patterns.contains("/healthz") && patterns.contains("/servers/{server}"), "{patterns:?}");
    patterns
}

/// A path of that pattern.
fn path_of(pattern: &str) -> String {
    let parts = pattern.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Every method of every route: what it says to a method that it does not take.
async fn routes() -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    for pattern in patterns() {
        let asked = request("OPTIONS", &path_of(&pattern)).body(Body::empty()).unwrap();
        let answer = router(AppState::new(parts())).oneshot(asked).await.unwrap();
        let allowed = answer.headers().get("allow").unwrap_or_else(|| panic!("{pattern}: {answer:?}"));
        let methods = allowed.to_str().unwrap().split(',').map(str::trim);
        routes.extend(
            methods.filter(|method| *method != "HEAD").map(|method| (method.to_owned(), pattern.clone())),
        );
    }
    routes
}

#[tokio::test]
async fn every_route_of_the_router_has_a_row_in_the_table_of_permissions_and_every_row_is_a_route() {
    let rows: BTreeSet<(String, String)> =
        permissions::all().map(|row| (row.method.to_owned(), row.path.to_owned())).collect();
    let routes = routes().await;
    let missing: Vec<_> = routes.difference(&rows).collect();
    assert!(missing.is_empty(), "these routes have no row in permissions.rs: {missing:#?}");
    let gone: Vec<_> = rows.difference(&routes).collect();
    assert!(gone.is_empty(), "these rows of permissions.rs are no routes: {gone:#?}");
}

#[tokio::test]
async fn strangers_are_refused_by_every_route_that_is_not_open_without_asking_redis() {
    for row in permissions::all().filter(|row| row.right != Right::Open) {
        let asked = request(row.method, &path_of(row.path)).body(Body::empty()).unwrap();
        let answer = router(AppState::new(parts())).oneshot(asked).await.unwrap();
        assert_eq!(answer.status(), 401, "{} {}", row.method, row.path);
    }
}

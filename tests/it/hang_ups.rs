//! A client that hangs up does not affect the change that it requested: a change that was made has its audit entry, its line in the
//! access log and its place in the metrics, at whatever step of the change the client hung up.
//!
//! Clients hang up on each changing route after every 50 ms, with a slow Redis and, where sessions end, with a near cache that is
//! silent, so that hang-ups come in the middle. A new route needs a row in one of the lists that the tests go through.

mod accounts;
mod factors;
mod hosts;
mod observed;
mod people;

use std::collections::BTreeSet;

/// A changing route.
struct Route {
    method: &'static str,
    /// As the OpenAPI document has it, perhaps with a query.
    path: &'static str,
    /// What the audit calls the change.
    what: &'static str,
}

impl Route {
    const fn new(method: &'static str, path: &'static str, what: &'static str) -> Self {
        Self { method, path, what }
    }

    fn method(&self) -> reqwest::Method {
        self.method.parse().unwrap()
    }

    /// Without the query.
    fn route(&self) -> &'static str {
        self.path.split('?').next().unwrap()
    }
}

#[test]
fn every_changing_route_of_the_openapi_document_is_left_by_a_client_in_these_tests() {
    let document = serde_json::to_value(bangui::http::document()).unwrap();
    let mut changing = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let methods = operations.as_object().unwrap().keys().map(|method| method.to_ascii_uppercase());
        let changes = |method: &String| ["POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str());
        changing.extend(methods.filter(changes).map(|method| (method, path.clone())));
    }
    let left = accounts::ENDING
        .iter()
        .chain(accounts::ROUTES)
        .chain(people::ROUTES)
        .chain(factors::ROUTES)
        .chain(factors::PROPOSALS)
        .chain(factors::PASSKEYS)
        .chain(hosts::ROUTES)
        .chain(hosts::OTHERS);
    let left = left.map(|route| (route.method.to_owned(), route.route().to_owned()));
    assert_eq!(left.collect::<BTreeSet<_>>(), changing);
}

//! The document has every route, and is complete.

use std::collections::BTreeSet;

use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(crate::http::document()).unwrap()
}

/// Every operation of the document, with its description.
fn operations() -> Vec<(String, Value)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, about)| (format!("{} {path}", method.to_uppercase()), about.clone()))
    });
    operations.collect()
}

#[test]
fn every_route_is_stated_by_its_handler_alone() {
    let table = include_str!("../mod.rs");
    assert!(!table.contains(".route("), "a route that is no handler's own is in no document");
    let documented: BTreeSet<String> = operations().into_iter().map(|(route, _)| route).collect();
    let handlers =
        table.split("routes!(").skip(1).map(|rest| rest.split(')').next().unwrap().split(',').count());
    assert_eq!(handlers.sum::<usize>(), documented.len());
    assert!(documented.len() > 20 && documented.contains("PATCH /api/v1/settings"), "{documented:?}");
}

#[test]
fn the_document_is_of_version_3_1_and_every_operation_has_a_summary() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut ids = BTreeSet::new();
    for (route, about) in operations() {
        assert!(!about["summary"].as_str().unwrap_or_default().is_empty(), "{route}");
        assert_eq!(about["tags"].as_array().map(Vec::len), Some(1), "{route}");
        assert!(ids.insert(about["operationId"].as_str().unwrap().to_owned()), "{route}: its id is taken");
    }
}

/// What `npx @redocly/cli lint` once found; it needs Node.js, so it is not run here.
#[test]
fn generated_clients_get_short_names_and_one_type_for_one_thing() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let lists: Vec<_> = schemas.iter().filter(|(name, _)| name.starts_with("List_")).collect();
    assert!(lists.len() >= 3, "{lists:?}");
    for (name, list) in lists {
        let item = format!("#/components/schemas/{}", name.trim_start_matches("List_"));
        assert_eq!(list["properties"]["items"]["items"]["$ref"], item.as_str(), "{name}");
    }
    let text = document.to_string();
    for name in schemas.keys() {
        let used = text.contains(&format!("\"#/components/schemas/{name}\""));
        assert!(used, "{name} is in no answer and no request");
    }
    for (route, about) in operations() {
        let id = about["operationId"].as_str().unwrap();
        assert!(id.len() <= 20 && id != "unnamed", "{route}: {id}");
        assert!(
            about["responses"].as_object().unwrap().keys().any(|status| status.starts_with('4')),
            "{route}"
        );
    }
    assert_eq!(document["servers"][0]["url"], "/");
    let events = &document["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"];
    let schema = &events["text/event-stream"]["schema"];
    assert_eq!(schema["items"]["$ref"], "#/components/schemas/EventView", "{schema}");
    for request in ["BansRequest", "UnbansRequest"] {
        assert_eq!(schemas[request]["properties"]["ips"]["items"]["examples"][0], "203.0.113.7");
    }
}

#[test]
fn the_answers_that_follow_from_a_handlers_arguments_are_documented() {
    let statuses = |route: &str| {
        let (_, about) = operations().into_iter().find(|(found, _)| found == route).unwrap();
        about["responses"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(statuses("GET /healthz"), "200 431");
    assert_eq!(statuses("GET /api/v1/servers/{server}"), "200 401 404 421 500 503");
    assert_eq!(statuses("POST /api/v1/session"), "201 400 401 403 408 409 413 415 421 422 429 500 503");
    assert_eq!(statuses("PATCH /api/v1/settings"), "200 400 401 403 408 412 413 415 421 422 428 500 503");
    for (route, about) in operations() {
        for (status, response) in about["responses"].as_object().unwrap() {
            let described = response["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described, "{route} {status}: {response}");
            let problem = response["content"].get("application/problem+json").is_some();
            let empty = status == "431";
            assert_eq!(problem, status.as_str() >= "400" && !empty, "{route} {status}: {response}");
        }
    }
}

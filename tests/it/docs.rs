//! The OpenAPI document and its page. What the document says is compared with the router in `src/http/openapi_tests.rs`,
//! and with the answers of a live cluster by `make test-api`.

use serde_json::Value;

use crate::support::process::{Child, bangui};
use crate::support::{Cluster, SOON};

#[tokio::test]
async fn a_worker_serves_the_document_that_the_command_prints_to_anybody() {
    let (code, printed) = Child::run("bangui openapi", bangui("openapi"), SOON).await;
    assert_eq!(code, Some(0), "{printed}");
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let cluster = Cluster::bare(1).start().await;
    let served = cluster.client(0).get("/openapi.json").await;
    assert_eq!(served.expect(200).headers["content-type"], "application/json");
    assert_eq!(served.body, printed);
    assert!(served.body["openapi"].as_str().unwrap().starts_with("3.1."));
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere_and_may_not() {
    let cluster = Cluster::bare(1).start().await;
    let client = cluster.client(0);
    for (path, kind) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/page.js", "text/javascript; charset=utf-8"),
        ("/docs/page.css", "text/css; charset=utf-8"),
    ] {
        let file = client.get(path).await;
        assert_eq!(file.expect(200).headers["content-type"], kind);
        let policy = file.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        for source in policy.split([' ', ';']).filter(|word| word.starts_with('\'')) {
            assert!(["'none'", "'self'"].contains(&source), "{policy}");
        }
        for elsewhere in ["http://", "https://", "url(", "@import", "innerHTML", " style=", "onclick"] {
            assert!(!file.text.contains(elsewhere), "{path} has {elsewhere}");
        }
    }
    // What it loads is there.
    let page = client.get("/docs").await.text;
    for reference in page.split(['"']).filter(|part| part.starts_with('/')) {
        client.get(reference).await.expect(200);
    }
}

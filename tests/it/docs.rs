//! The OpenAPI document and its page. `src/http/api/openapi_tests.rs` compares the document with the router,
//! and `make test-api` with the answers of a live cluster.

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
async fn the_page_loads_nothing_from_elsewhere_and_its_looser_policy_is_its_own_alone() {
    let cluster = Cluster::bare(1).start().await;
    let client = cluster.client(0);
    let page = client.get("/docs").await;
    assert_eq!(page.expect(200).headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "),
        "{policy}"
    );
    for source in policy.split([' ', ';']).filter(|word| word.contains([':', '*'])) {
        assert_eq!(source, "data:", "{policy}");
    }
    for elsewhere in ["http://", "https://", "<script>", " style=", "onclick"] {
        assert!(!page.text.contains(elsewhere), "{elsewhere}: {}", page.text);
    }
    // The files that it loads exist, and may do nothing if a browser takes them for a page.
    let loaded: Vec<&str> = page.text.split('"').filter(|part| part.starts_with("/docs/")).collect();
    assert!(loaded.len() >= 5, "{}", page.text);
    for file in loaded {
        let file = client.get(file).await;
        let policy = file.expect(200).headers["content-security-policy"].to_str().unwrap();
        assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'"), "{policy}");
    }
    let begins = client.get("/docs/start.js").await.text;
    assert!(
        begins.contains("url: \"/openapi.json\"") && begins.contains("validatorUrl: \"none\""),
        "{begins}"
    );
    for none in
        ["/docs/oauth2-redirect.html", "/docs/index.html", "/docs/page.js", "/docs/%2e%2e%2fCargo.toml"]
    {
        client.get(none).await.expect(404);
    }
}

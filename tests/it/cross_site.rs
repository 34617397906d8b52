//! Requests that a page of another site makes a user's browser send, at two workers behind one public address.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HOST};
use serde_json::json;

use crate::support::{Cluster, PASSWORD, SETUP_TOKEN};

const PUBLIC: &str = "https://bangui.example";

/// Headers of one request, and whether it is let through.
type Case = (&'static [(&'static str, &'static str)], bool);

/// As a browser sends them that came to the public address.
const CASES: [Case; 12] = [
    (&[("sec-fetch-site", "same-origin"), ("origin", PUBLIC)], true),
    (&[("sec-fetch-site", "none")], true),
    (&[("sec-fetch-site", "same-site"), ("origin", "https://other.example")], false),
    (&[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")], false),
    (&[("sec-fetch-site", "cross-site"), ("origin", PUBLIC)], false),
    (&[("origin", PUBLIC)], true),
    (&[("origin", "http://bangui.example")], false),
    (&[("origin", "https://bangui.example:444")], false),
    (&[("origin", "https://bangui.example.evil.example")], false),
    (&[("origin", "null")], false),
    (&[("origin", "https://evil.example"), ("referer", PUBLIC)], false),
    (&[], true),
];

#[tokio::test]
async fn with_a_cookie_only_our_own_pages_change_anything_on_any_worker() {
    let cluster = Cluster::bare(2).env("BANGUI_PUBLIC_URL", PUBLIC).set_up().await;
    let token = cluster.client(0).log_in().await;
    let list = async |n: usize| {
        let answer = cluster.client(n).with_bearer(&token).get("/api/v1/sessions").await;
        answer.expect(200).body["items"].as_array().unwrap().len()
    };
    for n in 0..2 {
        for (headers, passes) in CASES {
            let victim = cluster.client(n).log_in().await;
            let before = list(1 - n).await;
            let request = cluster.client(n).request(Method::DELETE, "/api/v1/session");
            let request =
                request.header("cookie", format!("__Host-bangui={victim}")).header(HOST, "bangui.example");
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let answer = cluster.client(n).send(request).await;
            if passes {
                answer.expect(204);
            } else {
                assert_eq!(answer.problem(403), "cross-site", "{headers:?}");
                assert!(answer.cookies().is_empty(), "{answer:?}");
            }
            assert_eq!(list(1 - n).await, before - usize::from(passes), "{headers:?}");
        }
    }
}

#[tokio::test]
async fn nobody_sets_up_or_logs_in_for_a_user_from_another_site() {
    let cluster = Cluster::bare(2).start().await;
    let setup = json!({ "password": PASSWORD, "token": SETUP_TOKEN });
    let login = json!({ "password": PASSWORD });
    for (path, body) in [("/api/v1/setup", setup), ("/api/v1/session", login)] {
        let send = async |n: usize, headers: &[(&str, &str)]| {
            let client = cluster.client(n);
            let request = client.request(Method::POST, path).json(&body);
            client
                .send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
                .await
        };
        // Plain http to a name of the local network: a browser sends only the origin.
        let own = format!("http://{}", cluster.workers[1].address);
        let neighbour = format!("http://{}", cluster.workers[0].address);
        assert_eq!(send(0, &[("sec-fetch-site", "cross-site")]).await.problem(403), "cross-site");
        assert_eq!(send(1, &[("origin", "http://evil.example")]).await.problem(403), "cross-site");
        assert_eq!(send(1, &[("origin", &neighbour)]).await.problem(403), "cross-site");
        send(1, &[("origin", &own)]).await.expect(201);
    }
}

#[tokio::test]
async fn a_form_cannot_be_json_and_what_is_not_json_changes_nothing() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0);
    let body = json!({ "password": PASSWORD }).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        let request = client.request(Method::POST, "/api/v1/session").header(CONTENT_TYPE, kind);
        client.send(request.body(body.clone())).await.problem(415);
    }
    let request = client.request(Method::POST, "/api/v1/session");
    client.send(request.body(body)).await.problem(415);
}

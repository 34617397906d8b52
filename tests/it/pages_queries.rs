//! Queries with mistakes, of every page and every list of the API: refused in our words, with the parameter and what it accepts, or
//! harmless. The rule is at the top of `src/http/query.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use bangui::domain::access::{Access, Role};
use bangui::http::auth::permissions;

use crate::support::access::{access, session_of};
use crate::support::browser::Browser;
use crate::support::cluster::{SERVER, server_is};
use crate::support::{Client, Cluster};

/// What serde and the parsers of the standard library say.
const NOT_OURS: [&str; 9] = [
    "invalid digit",
    "integer from empty",
    "target type",
    "provided string",
    "deserialize",
    "unknown variant",
    "unknown field",
    "duplicate field",
    "invalid type",
];

/// Each query that is refused, and the sentence that says so.
const REFUSED: [(&str, &str); 18] = [
    ("/?page=-1", "`page` must be a whole number from 1 on"),
    ("/?page=abc", "`page` must be a whole number from 1 on"),
    ("/?condition=well", "`condition` must be `down`, `unreachable`, `degraded`, `busy`, `unknown` or `up`"),
    ("/?group=x", "`group` must be `condition` or `none`"),
    ("/?attention=some", "`attention` must be `all`"),
    ("/?q=a&q=b", "the parameter `q` is there more than once"),
    ("/diagnosis?page=0", "`page` must be a whole number from 1 on"),
    ("/diagnosis?severity=bad", "`severity` must be `error`, `warning` or `info`"),
    ("/activity?before=yesterday", "`before` must be the one in a link to older lines"),
    ("/activity?kind=all", "`kind` must be `bans`, `servers`, `recoveries`, `bangui` or `people`"),
    ("/jobs?cursor=-1", "`cursor` must be the one in a link to the next page"),
    ("/account?cursor=-1", "`cursor` must be the one in a link to the next page"),
    ("/users?cursor=-1", "`cursor` must be the one in a link to the next page"),
    ("/servers/web-1/jails/web?part=first", "`part` must be `bans`, `ban`, `settings` or `all`"),
    ("/api/v1/sessions?limit=-1", "`limit` must be a whole number"),
    ("/api/v1/sessions?limit=99999999999999999999", "`limit` must be a smaller number"),
    ("/api/v1/sessions?cursor=garbage", "`cursor` must be the `next_cursor` of the previous page"),
    ("/api/v1/users?limits=5", "there is no parameter `limits` here, only `cursor` or `limit`"),
];

/// Every parameter of every query, as the structs have them that handlers name.
fn parameters() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let files = ["pages", "api"].into_iter().flat_map(|folder| {
        let files = std::fs::read_dir(source.join(folder)).unwrap();
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "rs"))
    });
    let texts: Vec<String> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let queries: BTreeSet<&str> = texts
        .iter()
        .flat_map(|text| text.split(": Query<").skip(1).filter_map(|rest| rest.split_once('>')))
        .map(|(name, _)| name)
        .collect();
    let mut found = BTreeSet::new();
    for query in queries {
        let head = format!("pub struct {query} {{");
        for body in texts.iter().filter_map(|text| text.split_once(&head)?.1.split_once("\n}")) {
            let fields = body.0.lines().filter(|line| !line.trim_start().starts_with(['/', '#']));
            let names = fields.filter_map(|line| line.split(':').next()?.split_whitespace().last());
            found.extend(names.map(str::to_owned));
        }
    }
    found
}

/// Every page and every call that reads, with names that there are where a path takes one.
fn routes() -> Vec<String> {
    let forms: BTreeSet<&str> =
        permissions::ROUTES.iter().filter(|row| row.form).map(|row| row.path).collect();
    // A stream that does not end, and the files of others.
    let others =
        ["/api/v1/events", "/metrics", "/openapi.json", "/docs", "/docs/{file}", "/assets/{hash}/{name}"];
    permissions::ROUTES
        .iter()
        .filter(|row| row.method == "GET" && !forms.contains(row.path) && !others.contains(&row.path))
        .map(|row| {
            let path = row.path.replace("{server}", SERVER).replace("{jail}", "web");
            path.replace("{ip}", "203.0.113.7").replace("{id}", "x").replace("{code}", "x")
        })
        .collect()
}

fn ours(text: &str) -> bool {
    NOT_OURS.iter().all(|words| !text.contains(words))
}

async fn cluster() -> (Cluster, Client, Browser) {
    let cluster =
        Cluster::with_fail2ban(1).jails(&["web"]).env("BANGUI_PROBE_INTERVAL_SECONDS", 300).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let mut user = Browser::new(cluster.workers[0].address);
    user.log_in().await;
    (cluster, client, user)
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused_in_our_words_with_its_parameter_by_every_page_and_call() {
    let (_cluster, client, mut user) = cluster().await;
    let parameters = parameters();
    for known in ["page", "cursor", "limit", "q", "part", "before", "kind", "condition", "keep_current"] {
        assert!(parameters.contains(known), "{known} is not among {parameters:?}");
    }
    let routes = routes();
    assert!(routes.len() > 40, "{routes:?}");
    let mut refused = 0;
    for route in &routes {
        for parameter in &parameters {
            for value in ["-1", "99999999999999999999"] {
                let path = format!("{route}?{parameter}={value}");
                let named = format!("`{parameter}`");
                let (status, text) = if route.starts_with("/api/") {
                    let answer = client.get(&path).await;
                    let detail = answer.body["detail"].as_str().unwrap_or_default().to_owned();
                    (answer.status.as_u16(), detail)
                } else {
                    let seen = user.get(&path).await;
                    let refused = seen.status.as_u16() == 400;
                    let lead = if refused { seen.texts(".lead").concat() } else { String::new() };
                    assert!(
                        !refused || seen.html.contains(&format!("<code>{parameter}</code>")),
                        "{path}: {lead}"
                    );
                    // Its markup has no backquotes.
                    (seen.status.as_u16(), if refused { format!("{named} {lead}") } else { lead })
                };
                assert!(status < 500, "{path}: {status} {text}");
                assert!(ours(&text), "{path}: {text}");
                if [400, 422].contains(&status) {
                    assert!(text.contains(&named), "{path}: {text}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 200, "{refused} refusals");
}

#[tokio::test]
async fn a_refused_query_names_what_is_accepted_and_the_page_leads_to_itself_without_it() {
    let (_cluster, client, mut user) = cluster().await;
    for (path, says) in REFUSED {
        if path.starts_with("/api/") {
            let answer = client.get(path).await;
            answer.problem(400);
            assert_eq!(answer.body["detail"], says, "{path}");
            continue;
        }
        let seen = user.get(path).await;
        seen.expect(400);
        assert_eq!(seen.text("h1"), "The address of this page has a mistake");
        let plain = says.replace('`', "");
        let lead = seen.text(".lead");
        assert!(lead.to_lowercase().contains(&plain.to_lowercase()), "{path}: {lead}");
        let without = path.split('?').next().unwrap();
        assert_eq!(seen.attribute("main p a", "href").as_deref(), Some(without), "{path}");
        user.get(without).await.expect(200);
    }
    // After the last page there is the last one; what others add to a link, and what nothing is found by, is no mistake.
    for path in [
        "/?page=99999999999999999999",
        "/?utm_source=mail&page=1",
        "/?q=%00%ff&open=nothing",
        "/?condition=&group=&page=",
        "/diagnosis?page=7",
        "/activity?server=nowhere&jail=-&address=x",
        "/servers/web-1/jails/web?q=%00&cursor=zzz&job=gone",
        "/jobs?cursor=",
    ] {
        user.get(path).await.expect(200);
    }
}

#[tokio::test]
async fn the_page_of_a_refusal_has_the_menu_of_whoever_asked() {
    let cluster = Cluster::bare(1).set_up().await;
    let store = cluster.connected_store().await;
    let places = async |user: &mut Browser, path: &str, status: u16| {
        let seen = user.get(path).await;
        seen.expect(status).texts("nav.places a")
    };
    let common = ["Servers", "Activity", "Jobs", "Diagnosis", "Cluster"];
    for (access, more) in [
        (Access::everything(), &["Users", "Settings"][..]),
        (access(Role::Operator, &[]), &[]),
        (access(Role::Viewer, &["web-*"]), &[]),
    ] {
        let mut user = Browser::new(cluster.workers[0].address);
        user.set_cookie("bangui", &session_of(&store, &access).await);
        let expected = [&common[..], more].concat();
        for (path, status) in [("/none", 404), ("/servers/none", 404), ("/?page=x", 400)] {
            let seen = places(&mut user, path, status).await;
            let names: Vec<&str> = seen.iter().map(|name| name.split(' ').next().unwrap()).collect();
            assert_eq!(names, expected, "{path} of {access:?}");
        }
    }
    // Whose session is not known gets what every role may see, and whoever has none no menu.
    let mut user = Browser::new(cluster.workers[0].address);
    assert_eq!(places(&mut user, "/none", 404).await, [""; 0]);
    user.set_cookie("bangui", &"A".repeat(43));
    assert_eq!(places(&mut user, "/none", 404).await, common);
}

//! `bangui login --token`: a token instead of a password, for accounts that have none, kept as a session is, and only forgotten by a logout.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::people::create_token;
use crate::support::person::Person;
use crate::support::provider::Provider;
use crate::support::{Cluster, PASSWORD};

fn url(cluster: &Cluster) -> String {
    format!("http://{}", cluster.workers[0].address)
}

#[tokio::test]
async fn a_token_is_checked_and_kept_for_its_owner_alone_and_a_logout_only_forgets_it() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (secret, id) = create_token(&admin, json!({ "name": "terminal" })).await;
    let at_other = cluster.client(1);
    let person = Person::logged_in(&url(&cluster)).await;
    let session = person.token();
    // What the server does not know is not kept, and what was kept stays.
    let other = if secret.ends_with('0') { "1" } else { "0" };
    let mistyped = format!("{}{other}", &secret[..secret.len() - 1]);
    for (wrong, code) in
        [(&*mistyped, 3), ("bgt_x", 3), ("x", 3), ("\n", 2), ("", 2), ("ä", 3), ("a\u{1}b", 2)]
    {
        let refused = person.run(&["login", "--token", &url(&cluster)], wrong).await;
        assert_eq!(refused.code, Some(code), "{wrong:?}: {refused:?}");
        assert_eq!(person.token(), session, "{wrong:?}");
    }
    assert!(
        person.run(&["login", "--token"], &mistyped).await.err.contains("/account"),
        "it says where another one is made"
    );
    let kept = person.run(&["login", "--token", &url(&cluster)], &format!(" {secret}\n")).await;
    assert!(kept.expect(0).out.contains("as admin") && kept.out.contains("The token is kept"), "{kept:?}");
    assert!(!kept.out.contains(&secret) && !kept.err.contains(&secret), "{kept:?}");
    assert_eq!(person.token(), secret);
    let mode = std::fs::metadata(person.login()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    person.run(&["servers"], "").await.expect(0);
    // The session that was kept has ended, as with another login.
    at_other.with_bearer(&session).get("/api/v1/session").await.problem(401);
    // A token is not: neither by another login, nor by a logout.
    person.run(&["login"], PASSWORD).await.expect(0);
    at_other.with_bearer(&secret).get("/api/v1/session").await.expect(200);
    person.run(&["login", "--token"], &secret).await.expect(0);
    let forgotten = person.run(&["logout"], "").await;
    assert!(forgotten.expect(0).out.contains("stays valid until you revoke it"), "{forgotten:?}");
    assert!(!person.login().exists());
    at_other.with_bearer(&secret).get("/api/v1/session").await.expect(200);
    person.run(&["login", "--token", &url(&cluster)], &secret).await.expect(0);
    admin.delete(&format!("/api/v1/tokens/{id}")).await.expect(204);
    person.run(&["servers"], "").await.expect(3);
    let (code, shown) = person.on_terminal(&["login", "--token"], &secret).await;
    assert_eq!(code, Some(3), "{shown}");
    assert!(shown.contains("Token for http://") && !shown.contains(&secret), "{shown}");
}

#[tokio::test]
async fn where_passwords_are_switched_off_a_login_says_what_to_do_and_takes_a_token_on_the_terminal() {
    let provider = Provider::start().await;
    let builder = provider.for_workers(Cluster::bare(1));
    let cluster = builder.env("BANGUI_PASSWORD_LOGIN", "only:admin").set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (secret, _) = create_token(&admin, json!({ "name": "terminal" })).await;
    let person = Person::new();
    let login = ["login", &*url(&cluster), "--username", "anna"];
    let refused = person.run(&login, "whatever").await;
    assert!(refused.expect(1).err.contains("`bangui login --token`"), "{refused:?}");
    assert!(!person.login().exists());
    let (code, shown) = person.on_terminal(&login, &format!("whatever\n{secret}")).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("/account") && !shown.contains(&secret), "{shown}");
    assert_eq!(person.token(), secret);
    // A wrong password may be one that there is none of.
    let wrong = person.run(&["login", &url(&cluster)], "not the password at all").await;
    assert!(wrong.expect(1).err.contains("`bangui login --token`"), "{wrong:?}");
}

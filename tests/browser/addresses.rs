//! A list of addresses is checked while it is typed: how many there are, which words the server would refuse and why. The server then
//! says the same.

use serde_json::json;

use crate::chrome::WIDE;
use crate::site::{cluster, logged_in, url};
use crate::support::{Client, SOON, eventually};

const JAIL: &str = "/servers/web-1/jails/sshd";
const SAYS: &str = "#ips ~ .hint[role=status]";
/// What is typed, how many addresses that are, and what is wrong with the first word that the server would refuse.
const TYPED: [(&str, usize, &str); 20] = [
    ("203.0.113.7", 1, ""),
    ("203.0.113.7\n203.0.113.8,203.0.113.9; 2001:db8::1", 4, ""),
    ("203.0.113.7 203.0.113.7", 1, ""),
    ("203.0.113.7\n203.0.113.7/32", 1, ""),
    ("2001:db8::1\n2001:DB8:0:0::1", 1, ""),
    ("203.0.113.0/24", 1, ""),
    ("198.51.100.0/7", 1, "is so large that it contains ordinary users"),
    ("2001:db8::/15", 1, "is so large that it contains ordinary users"),
    ("203.0.113.7/33", 0, "is not a network: after the slash is a number up to 32"),
    ("2001:db8::/129", 0, "is not a network: after the slash is a number up to 128"),
    ("203.0.113.7/", 0, "is not a network: after the slash is a number up to 32"),
    ("203.0.113.7/24/5", 0, "is not an address"),
    ("203.0.113.300", 0, "is not an address"),
    ("203.0.113.07", 0, "is not an address"),
    ("203.0.113", 0, "is not an address"),
    ("203.0.113.7.", 0, "is not an address"),
    ("1:2:3", 0, "is not an address"),
    ("::1::2", 0, "is not an address"),
    ("[2001:db8::1]", 0, "is not an address"),
    ("a.host", 0, "is not an address"),
];

fn counted(number: usize) -> String {
    if number == 1 { "1 address".to_owned() } else { format!("{number} addresses") }
}

/// Whether the server takes these, and how many it takes them for.
async fn taken(client: &Client, typed: &str) -> Option<usize> {
    let ips: Vec<&str> = typed.split([',', ';', ' ', '\n']).filter(|word| !word.is_empty()).collect();
    let answer = client.post(&format!("/api/v1{JAIL}/bans"), json!({ "ips": ips })).await;
    answer.status.is_success().then(|| answer.body["results"].as_array().unwrap().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_judged_while_they_are_typed_as_the_server_judges_them() {
    let cluster = cluster().await;
    let client = cluster.client(0).logged_in().await;
    let chrome = logged_in(&cluster, WIDE).await;
    chrome.goto(&url(&cluster, 0, &format!("{JAIL}?part=ban"))).await;
    for (typed, good, wrong) in TYPED {
        chrome.run("const field = document.getElementById('ips'); field.focus(); field.select()").await;
        // The last word of a text counts as unfinished.
        chrome.devtools("Input.insertText", json!({ "text": format!("{typed}\n") })).await;
        let words = typed.split([',', ';', ' ', '\n']).filter(|word| !word.is_empty()).count();
        let twice = if wrong.is_empty() { words - good } else { 0 };
        let again = if twice > 0 { format!(", {twice} more than once") } else { String::new() };
        let line = if wrong.is_empty() { String::new() } else { format!(" Line 1: {typed} {wrong}.") };
        let expected = format!("{}{again}.{line}", counted(good));
        eventually(&expected, SOON, || async { (chrome.text(SAYS).await == expected).then_some(()) }).await;
        let taken = taken(&client, typed).await;
        assert_eq!(taken, wrong.is_empty().then_some(good), "{typed:?}");
    }
    // A word is judged once it is complete.
    chrome.run("document.getElementById('ips').select()").await;
    chrome.keys("203.0.113.7\n203.0.11").await;
    chrome.until(SAYS, "1 address.").await;
    assert!(!chrome.text(SAYS).await.contains("Line"), "it is still being typed");
    chrome.keys("3.300\n").await;
    chrome.until(SAYS, "Line 2: 203.0.113.300 is not an address.").await;
    // The server names the same lines, in the same words.
    chrome.run("document.getElementById('ips').select()").await;
    chrome
        .devtools("Input.insertText", json!({ "text": "198.51.100.1\n203.0.113.300\n203.0.113.7/33\n" }))
        .await;
    chrome.until(SAYS, "Line 3: 203.0.113.7/33 is not a network").await;
    let says = chrome.text(SAYS).await;
    chrome.press_in("#ban", "Ban").await;
    for line in [
        "Line 2: 203.0.113.300 is not an address.",
        "Line 3: 203.0.113.7/33 is not a network: after the slash is a number up to 32.",
    ] {
        chrome.until("#ips-error", line).await;
        assert!(says.contains(line), "{says}");
    }
    let listed = client.get(&format!("/api/v1{JAIL}/bans?q=198.51.100.1")).await;
    assert_eq!(listed.body["items"], json!([]), "nothing of a list with a mistake is banned");
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

//! Markup and marks that change the direction of text, typed into every field of every form, are shown as text.

use std::collections::HashSet;

use serde_json::json;

use crate::chrome::{Chrome, Look, PHONE, WIDE};
use crate::site::{furnished, logged_in, open};
use crate::support::{Cluster, SOON, eventually};

const TYPED: &str =
    "\"'><img src=x onerror=\"window.hurt=1\"><script>window.hurt=1</script>\u{202e}txt.exe\u{2066}{{x}}";

/// For each form its address, then its text fields. The checks of the browser are switched off, so that everything is sent.
const FORMS: &str = "return Array.from(document.forms, (form) => { \
    form.noValidate = true; \
    const fields = Array.from(form.elements).filter((field) => field.id && field.matches('textarea, \
        input:not([type=hidden], [type=checkbox], [type=radio])') && field.checkVisibility()); \
    for (const field of fields) { field.removeAttribute('maxlength'); field.removeAttribute('pattern'); } \
    return [form.getAttribute('action'), ...fields.map((field) => field.id)]; })";
/// Presses the first button of a form of the page, or sends it.
const SEND: &str = "const form = document.forms[arguments[0]]; window.sent = 1; \
    const button = Array.from(form.elements).find((button) => button.matches('button:not([type=button])')); \
    if (button?.ariaDisabled === 'true') return false; \
    if (button) button.click(); else form.requestSubmit(); \
    return true;";
/// Whether the form was answered, and whether markup became an element or ran.
const CAME: &str = "const place = document.querySelector('p.error:not([hidden]), .empty'); \
    return [document.readyState === 'complete' && (!window.sent || Boolean(place)), \
        window.hurt === undefined && !document.querySelector('img')]";

/// Types [`TYPED`] into all fields of each form of a page, except for forms that an earlier page had.
async fn page(chrome: &Chrome, cluster: &Cluster, path: &str, known: &mut HashSet<String>) {
    open(chrome, cluster, path).await;
    let forms = chrome.run(FORMS).await;
    for (n, form) in forms.as_array().unwrap().iter().enumerate() {
        let fields = &form.as_array().unwrap()[1..];
        if fields.is_empty() || !known.insert(form.to_string()) {
            continue;
        }
        open(chrome, cluster, path).await;
        chrome.run(FORMS).await;
        for field in fields {
            let id = field.as_str().unwrap();
            chrome.run(&format!("document.getElementById('{id}').value = ''")).await;
            chrome.paste(id, TYPED).await;
        }
        // A button may be disabled now, and says why.
        if chrome.client.execute(SEND, vec![json!(n)]).await.unwrap() == false {
            continue;
        }
        let what = format!("an answer to form {n} of {path}");
        let unharmed = eventually(&what, SOON, || async {
            let came = chrome.client.execute(CAME, Vec::new()).await.ok()?;
            came[0].as_bool()?.then(|| came[1] == true)
        })
        .await;
        assert!(unharmed, "markup ran or became an element: form {n} of {path}");
        // A refused field keeps what was typed, unless it is a password.
        for field in fields {
            let kept = format!(
                "const field = document.getElementById('{}'); return field?.matches('[aria-invalid]:not([type=password])') \
                 ? field.value : null",
                field.as_str().unwrap()
            );
            let kept = chrome.run(&kept).await;
            assert!(kept.is_null() || kept.as_str().unwrap().contains(TYPED), "{field} of {path} has {kept}");
        }
    }
}

async fn every_page(look: Look) {
    let (site, fresh) = (furnished().await, Cluster::bare(1).start().await);
    let (stranger, chrome) = (Chrome::start(look).await, logged_in(&site.cluster, look).await);
    let mut known = HashSet::new();
    page(&stranger, &fresh, "/setup", &mut known).await;
    for (_, path, inside) in &site.pages {
        page(if *inside { &chrome } else { &stranger }, &site.cluster, path, &mut known).await;
    }
    // Login, setup, search, account, settings, and the forms of jails.
    assert!(known.len() > 10, "{known:?}");
    for browser in [stranger, chrome] {
        assert_eq!(browser.complaints().await, Vec::<String>::new());
        browser.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_typed_into_any_field_is_shown_as_text() {
    every_page(WIDE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_typed_into_any_field_is_shown_as_text_without_javascript() {
    every_page(PHONE.without_scripts()).await;
}

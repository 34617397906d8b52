//! A browser without JavaScript: it keeps cookies, sends the headers that browsers send, follows no redirect by itself, reads the
//! HTML it gets, and fills in forms as a person would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Method, StatusCode, redirect};
use scraper::{ElementRef, Html, Selector};

use super::{PASSWORD, http};

/// A browser.
#[derive(Clone)]
pub struct Browser {
    address: SocketAddr,
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// An answer to the browser.
#[derive(Debug, Clone)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub html: String,
    pub asked: String,
}

impl Browser {
    pub fn new(address: SocketAddr) -> Self {
        let http =
            http().timeout(Duration::from_secs(20)).redirect(redirect::Policy::none()).build().unwrap();
        Self { address, http, cookies: BTreeMap::new() }
    }

    /// The same browser, whose next requests go to another worker.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    /// Asks for a page.
    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, None, &[]).await
    }

    /// Asks for a page, and follows redirects as browsers do.
    pub async fn open(&mut self, path: &str) -> Page {
        let mut seen = self.get(path).await;
        for _ in 0..5 {
            let Some(to) = seen.to() else { return seen };
            seen = self.get(&to).await;
        }
        panic!("{path} leads from page to page: {seen:?}");
    }

    /// Posts a form with these fields, without a page before it.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(Method::POST, path, Some(fields), &[("sec-fetch-site", "same-origin")]).await
    }

    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        fields: Option<&[(&str, &str)]>,
        headers: &[(&str, &str)],
    ) -> Page {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self.http.request(method.clone(), format!("http://{}{path}", self.address));
        if !headers.iter().any(|(name, _)| *name == "accept") {
            request = request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        }
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(fields) = fields {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
            }
        }
        Page { status, headers, html: response.text().await.unwrap(), asked: format!("{method} {path}") }
    }

    /// Fills in the form that `selector` finds, with what is in it already, and presses the button whose text begins with
    /// `button`.
    pub async fn submit(
        &mut self,
        seen: &Page,
        selector: &str,
        typed: &[(&str, &str)],
        button: &str,
    ) -> Page {
        let (action, fields) = seen.form(selector, typed, button);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.post(&action, &fields).await
    }

    /// Types the password on the page that asks for it again, and presses the button that sends the original form again.
    pub async fn confirm(&mut self, asked: &Page) -> Page {
        loop {
            let seen = self
                .submit(asked.expect(403), "main form", &[("password", PASSWORD)], "Confirm password")
                .await;
            // Too many passwords at once for this machine.
            if seen.status != StatusCode::SERVICE_UNAVAILABLE {
                let page = self.get(&seen.expect(303).to().unwrap()).await;
                return self.submit(page.expect(200), "#messages form", &[], "End").await;
            }
        }
    }

    /// Confirms the password, as if one of its forms had asked for it, for the next five minutes.
    pub async fn confirm_beforehand(&mut self) {
        let fields = [("password", PASSWORD), ("what", "x"), ("to", "/users/invite"), ("back", "/users")];
        loop {
            let seen = self.post("/confirm", &fields).await;
            if seen.status != StatusCode::SERVICE_UNAVAILABLE {
                seen.expect(303);
                return;
            }
        }
    }

    /// Logs in through the login form.
    pub async fn log_in(&mut self) -> Page {
        loop {
            let page = self.get("/login").await;
            let seen = self.submit(page.expect(200), "main form", &[("password", PASSWORD)], "Log in").await;
            // Too many passwords at once for this machine.
            if seen.status != StatusCode::SERVICE_UNAVAILABLE {
                seen.expect(303);
                return seen;
            }
        }
    }
}

impl Page {
    #[track_caller]
    pub fn expect(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.asked, self.html);
        self
    }

    /// Where it redirects to.
    pub fn to(&self) -> Option<String> {
        self.headers.get(LOCATION).map(|to| to.to_str().unwrap().to_owned())
    }

    pub fn document(&self) -> Html {
        Html::parse_document(&self.html)
    }

    /// The text of the first element that `selector` finds, with runs of white space as one space.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        self.texts(selector)
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("no {selector} in {}: {}", self.asked, self.html))
    }

    pub fn texts(&self, selector: &str) -> Vec<String> {
        self.document().select(&Selector::parse(selector).unwrap()).map(text_of).collect()
    }

    /// An attribute of the first element that `selector` finds.
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        self.document()
            .select(&Selector::parse(selector).unwrap())
            .next()?
            .value()
            .attr(name)
            .map(str::to_owned)
    }

    /// The sentence beside a field, if there is one.
    pub fn error_at(&self, field: &str) -> Option<String> {
        let place = format!("#{field}-error");
        let hidden = self.attribute(&place, "hidden").is_some();
        (!hidden).then(|| self.texts(&place).into_iter().next()).flatten()
    }

    #[track_caller]
    fn form(&self, selector: &str, typed: &[(&str, &str)], button: &str) -> (String, Vec<(String, String)>) {
        let document = self.document();
        let (form, control) =
            (Selector::parse(selector).unwrap(), Selector::parse("input, textarea, select, button").unwrap());
        let forms = document.select(&form);
        let (form, pressed) = forms
            .filter(|form| form.value().attr("method") == Some("post"))
            .find_map(|form| Some((form, pressed(form, &control, button)?)))
            .unwrap_or_else(|| panic!("no form {selector} with a button {button} in {}", self.html));
        let mut fields = Vec::new();
        for control in form.select(&control) {
            let attribute = |name| control.value().attr(name);
            let Some(name) = attribute("name") else { continue };
            let value = match control.value().name() {
                "button" if control.id() != pressed.id() => continue,
                "textarea" => control.text().collect::<String>(),
                "select" => chosen(control),
                _ => attribute("value").unwrap_or_default().to_owned(),
            };
            if attribute("type") == Some("checkbox") && attribute("checked").is_none() {
                continue;
            }
            let value = typed
                .iter()
                .find(|(typed, _)| *typed == name)
                .map_or(value, |(_, value)| (*value).to_owned());
            fields.push((name.to_owned(), value));
        }
        (form.value().attr("action").unwrap().to_owned(), fields)
    }
}

/// The button of a form whose text begins with these words.
fn pressed<'a>(form: ElementRef<'a>, control: &Selector, words: &str) -> Option<ElementRef<'a>> {
    form.select(control)
        .find(|control| control.value().name() == "button" && text_of(*control).starts_with(words))
}

/// The value of a list of choices.
fn chosen(list: ElementRef<'_>) -> String {
    let choices = Selector::parse("option").unwrap();
    let chosen = list.select(&choices).find(|choice| choice.value().attr("selected").is_some());
    let chosen =
        chosen.or_else(|| list.select(&choices).next()).and_then(|choice| choice.value().attr("value"));
    chosen.unwrap_or_default().to_owned()
}

fn text_of(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

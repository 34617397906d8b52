//! The calls of the API that the commands for people make. A test holds each against the API's own document.

use reqwest::Method;
use serde_json::Value;

/// A call: its method, and its path as the API's document has it.
#[derive(Debug)]
pub struct Call {
    method: Method,
    path: &'static str,
}

macro_rules! calls {
    ($($name:ident = $method:ident $path:literal;)*) => {
        $(
            #[doc = concat!("`", stringify!($method), " ", $path, "`")]
            pub const $name: Call = Call { method: Method::$method, path: $path };
        )*
        #[cfg(test)]
        const ALL: &[Call] = &[$($name),*];
    };
}

calls! {
    LOG_IN = POST "/api/v1/session";
    SECOND_FACTOR = POST "/api/v1/session/factor";
    SESSION = GET "/api/v1/session";
    LOG_OUT = DELETE "/api/v1/session";
    CONFIRM = POST "/api/v1/session/confirm";
    SERVERS = GET "/api/v1/servers";
    JAILS = GET "/api/v1/servers/{server}/jails";
    BANS = GET "/api/v1/servers/{server}/jails/{jail}/bans";
    BAN = POST "/api/v1/servers/{server}/jails/{jail}/bans";
    UNBAN = POST "/api/v1/servers/{server}/jails/{jail}/unban";
    IGNORE = POST "/api/v1/servers/{server}/jails/{jail}/ignore";
    CHANGE = GET "/api/v1/jail-changes/{id}";
    LOOK_UP = GET "/api/v1/bans/{ip}";
    EVENTS = GET "/api/v1/events";
    JOBS = GET "/api/v1/ban-jobs";
    JOB = GET "/api/v1/ban-jobs/{id}";
    CANCEL_JOB = POST "/api/v1/ban-jobs/{id}/cancel";
    AUDIT = GET "/api/v1/audit";
    DIAGNOSIS = GET "/api/v1/diagnosis";
}

/// A request, which may be sent more than once.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path with its parts filled in.
    pub path: String,
    /// What follows the `?`.
    pub query: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Option<Value>,
    /// Its `Idempotency-Key`: it is carried out once, however often it is sent.
    pub key: Option<String>,
}

impl Call {
    /// The request with these parts in its path, in order; each as a path may have it (`JailName::to_segment`).
    #[must_use]
    pub fn of(&self, parts: &[&str]) -> Request {
        let mut parts = parts.iter();
        let filled = self.path.split('/').map(|part| match part.starts_with('{') {
            true => parts.next().copied().unwrap_or_default(),
            false => part,
        });
        let path = filled.collect::<Vec<_>>().join("/");
        Request { method: self.method.clone(), path, query: Vec::new(), body: None, key: None }
    }
}

impl Request {
    /// With this in its query, if there is such a value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// With this body.
    #[must_use]
    pub fn sending(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// To be carried out once.
    #[must_use]
    pub fn once(self) -> Self {
        Self { key: Some(format!("{:032x}", rand::random::<u128>())), ..self }
    }

    /// Whether it may be sent again without being carried out again.
    #[must_use]
    pub fn may_be_repeated(&self) -> bool {
        self.method == Method::GET || self.key.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_has_every_call() {
        let document = serde_json::to_value(crate::http::document()).unwrap();
        for Call { method, path } in ALL {
            let method = method.as_str().to_lowercase();
            assert!(document["paths"][*path][&method].is_object(), "{method} {path}");
        }
    }

    #[test]
    fn the_parts_of_a_path_are_filled_in_in_order() {
        assert_eq!(BANS.of(&["web-1", "a%2Fb"]).path, "/api/v1/servers/web-1/jails/a%2Fb/bans");
        assert_eq!(SERVERS.of(&[]).path, "/api/v1/servers");
        assert_eq!(
            JOBS.of(&[]).with("limit", Some(3)).with("cursor", None::<&str>).query,
            [("limit", "3".to_owned())]
        );
    }
}

//! An identity provider: OpenID Connect with the code flow, small, honest, and on request a liar in one point.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::KeyPair as _;
use ring::{digest, hmac};
use serde_json::{Value, json};
use url::Url;

use super::cluster::Builder;
pub use super::provider_lies::Lie;
use super::provider_lies::{Key, unsigned};

/// What this installation is called at the provider.
pub const CLIENT: &str = "bangui";
/// Its secret there.
pub const CLIENT_SECRET: &str = "a secret of & and = and %";

/// Somebody whom the provider knows.
#[derive(Debug, Clone)]
pub struct User {
    pub sub: String,
    pub name: String,
    pub groups: Vec<String>,
    pub sid: Option<String>,
}

impl User {
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Self { sub: format!("id-of-{name}"), name: name.to_owned(), groups, sid: None }
    }

    pub fn in_session(self, sid: &str) -> Self {
        Self { sid: Some(sid.to_owned()), ..self }
    }
}

struct Grant {
    user: User,
    nonce: Option<String>,
    challenge: String,
    redirect: String,
    proven_at: Option<i64>,
}

struct Inner {
    issuer: String,
    key: Key,
    codes: HashMap<String, Grant>,
    tokens: HashMap<String, User>,
    next: u64,
    lie: Lie,
    /// Whether groups are only at the userinfo endpoint.
    userinfo_only: bool,
    /// Whether nothing is answered.
    hangs: bool,
    asked: HashMap<&'static str, u32>,
}

/// A running provider.
#[derive(Clone)]
pub struct Provider {
    inner: Arc<Mutex<Inner>>,
    pub issuer: String,
}

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

impl Provider {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let inner = Inner {
            issuer: issuer.clone(),
            key: Key::fresh("one"),
            codes: HashMap::new(),
            tokens: HashMap::new(),
            next: 0,
            lie: Lie::None,
            userinfo_only: false,
            hangs: false,
            asked: HashMap::new(),
        };
        let provider = Self { inner: Arc::new(Mutex::new(inner)), issuer };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Workers that know this provider.
    pub fn for_workers(&self, builder: Builder) -> Builder {
        builder
            .env("BANGUI_PUBLIC_URL", "http://127.0.0.1:8080")
            .env("BANGUI_OIDC_ISSUER", &self.issuer)
            .env("BANGUI_OIDC_CLIENT_ID", CLIENT)
            .env("BANGUI_OIDC_CLIENT_SECRET", CLIENT_SECRET)
            .env("BANGUI_OIDC_NAME", "Example ID")
            .env("BANGUI_OIDC_ROLES", "admins=admin,web=operator@web-*,looks=viewer,db=operator@db-1+db-2")
    }

    pub fn lie(&self, lie: Lie) {
        self.lock().lie = lie;
    }

    pub fn hang(&self, hangs: bool) {
        self.lock().hangs = hangs;
    }

    pub fn groups_only_at_userinfo(&self) {
        self.lock().userinfo_only = true;
    }

    /// Signs with another key from now on, which it publishes in place of the old one.
    pub fn change_key(&self, id: &str) {
        self.lock().key = Key::fresh(id);
    }

    /// How often this was asked for.
    pub fn asked(&self, what: &str) -> u32 {
        self.lock().asked.get(what).copied().unwrap_or_default()
    }

    /// What the user's consent at this address leads back to: path and query at this installation.
    pub fn approve(&self, address: &str, user: &User) -> String {
        let url = Url::parse(address).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let mut inner = self.lock();
        assert!(address.starts_with(&format!("{}/authorize?", inner.issuer)), "{address}");
        assert_eq!((&*query["response_type"], &*query["client_id"]), ("code", CLIENT), "{address}");
        assert_eq!(query["code_challenge_method"], "S256", "{address}");
        assert!(query["scope"].split(' ').any(|scope| scope == "openid"), "{address}");
        inner.next += 1;
        let code = format!("code-{}", inner.next);
        let grant = Grant {
            user: user.clone(),
            nonce: query.get("nonce").cloned(),
            challenge: query["code_challenge"].clone(),
            redirect: query["redirect_uri"].clone(),
            proven_at: (query.get("prompt").map(String::as_str) == Some("login")).then(now),
        };
        inner.codes.insert(code.clone(), grant);
        let back = Url::parse(&query["redirect_uri"]).unwrap();
        let answer = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("code", &code), ("state", &query["state"]), ("iss", &inner.issuer)])
            .finish();
        format!("{}?{answer}", back.path())
    }

    /// Removes the trace of a proof: the provider asked nobody.
    pub fn forget_proofs(&self) {
        for grant in self.lock().codes.values_mut() {
            grant.proven_at = None;
        }
    }

    /// A token that says that something ended; `change` may spoil it.
    pub fn logout_token(&self, user: &User, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut inner = self.lock();
        inner.next += 1;
        let mut header = json!({ "alg": "ES256", "kid": inner.key.id, "typ": "logout+jwt" });
        let mut claims = json!({
            "iss": inner.issuer, "aud": CLIENT, "iat": now(), "exp": now() + 120, "jti": format!("logout-{}", inner.next),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} }, "sub": user.sub,
        });
        if let Some(sid) = &user.sid {
            claims["sid"] = sid.clone().into();
        }
        change(&mut header, &mut claims);
        inner.key.sign(&header, &claims)
    }
}

impl Inner {
    fn id_token(&self, grant: &Grant, access: &str) -> String {
        let lie = self.lie;
        let mut header = json!({ "alg": "ES256", "kid": self.key.id, "typ": "JWT" });
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "sub": grant.user.sub, "iat": now(), "exp": now() + 300,
            "nonce": grant.nonce, "preferred_username": grant.user.name, "at_hash": hash_of(access),
        });
        if let Some(at) = grant.proven_at {
            claims["auth_time"] = at.into();
        }
        if let Some(sid) = &grant.user.sid {
            claims["sid"] = sid.clone().into();
        }
        if !self.userinfo_only {
            claims["groups"] = grant.user.groups.clone().into();
        }
        match lie {
            Lie::Nonce => claims["nonce"] = "another".into(),
            Lie::NoNonce => drop(claims.as_object_mut().unwrap().remove("nonce")),
            Lie::Issuer => claims["iss"] = "http://127.0.0.1:1".into(),
            Lie::Audience => claims["aud"] = "another".into(),
            Lie::NoAudience => claims["aud"] = json!([]),
            Lie::AnotherAudienceToo => claims["aud"] = json!([CLIENT, "another"]),
            Lie::AuthorizedParty => claims["azp"] = "another".into(),
            Lie::Expired => (claims["iat"], claims["exp"]) = ((now() - 300).into(), (now() - 120).into()),
            Lie::IssuedLongAgo => claims["iat"] = (now() - 7200).into(),
            Lie::IssuedInFuture => claims["iat"] = (now() + 7200).into(),
            Lie::AnotherAccessToken => claims["at_hash"] = hash_of("another").into(),
            Lie::NoSubject => claims["sub"] = "".into(),
            _ => {}
        }
        let mac = |header: &Value, secret: &[u8]| {
            let signed = unsigned(header, &claims);
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
        };
        match lie {
            Lie::Signature => {
                let token = self.key.sign(&header, &claims);
                let (signed, signature) = token.rsplit_once('.').unwrap();
                let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
                signature[40] ^= 1;
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
            }
            Lie::NoSignature => format!("{}.", unsigned(&header, &claims)),
            Lie::AlgorithmNone => {
                header = json!({ "alg": "none" });
                format!("{}.", unsigned(&header, &claims))
            }
            Lie::Hs256OfPublicKey => {
                header["alg"] = "HS256".into();
                mac(&header, self.key.pair.public_key().as_ref())
            }
            Lie::Hs256OfSecret => {
                header["alg"] = "HS256".into();
                mac(&header, CLIENT_SECRET.as_bytes())
            }
            Lie::StrangersKey => {
                Key::fresh("stranger").sign(&json!({ "alg": "ES256", "kid": "stranger" }), &claims)
            }
            _ => self.key.sign(&header, &claims),
        }
    }
}

fn hash_of(access: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, access.as_bytes()).as_ref()[..16])
}

async fn begin(provider: &Provider, what: &'static str) -> Option<Response> {
    let (hangs, lie) = {
        let mut inner = provider.lock();
        *inner.asked.entry(what).or_default() += 1;
        (inner.hangs, inner.lie)
    };
    if hangs {
        // Longer than anybody waits; the test's runtime ends it.
        std::future::pending::<()>().await;
    }
    match lie {
        Lie::HugeAnswer => Some((StatusCode::OK, " ".repeat(2_000_000)).into_response()),
        Lie::Redirects => Some(Redirect::temporary("http://127.0.0.1:1/").into_response()),
        Lie::NoJson => Some((StatusCode::OK, "<html>maintenance</html>").into_response()),
        _ => None,
    }
}

async fn metadata(State(provider): State<Provider>) -> Response {
    if let Some(lie) = begin(&provider, "metadata").await {
        return lie;
    }
    let issuer = &provider.issuer;
    axum::Json(json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"), "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/keys"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        "scopes_supported": ["openid", "profile", "groups"],
    }))
    .into_response()
}

async fn keys(State(provider): State<Provider>) -> Response {
    if let Some(lie) = begin(&provider, "keys").await {
        return lie;
    }
    let key = provider.lock().key.jwk();
    axum::Json(json!({ "keys": [key] })).into_response()
}

async fn token(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    if let Some(lie) = begin(&provider, "token").await {
        return lie;
    }
    let refused =
        |error: &str| (StatusCode::BAD_REQUEST, axum::Json(json!({ "error": error }))).into_response();
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = STANDARD.encode(format!("{}:{}", encoded(CLIENT), encoded(CLIENT_SECRET)));
    if headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
        != Some(&format!("Basic {basic}"))
    {
        return refused("invalid_client");
    }
    let mut inner = provider.lock();
    // A code counts once.
    let Some(grant) = inner.codes.remove(&form["code"]) else { return refused("invalid_grant") };
    let challenge = digest::digest(&digest::SHA256, form["code_verifier"].as_bytes());
    if URL_SAFE_NO_PAD.encode(challenge.as_ref()) != grant.challenge || form["redirect_uri"] != grant.redirect
    {
        return refused("invalid_grant");
    }
    inner.next += 1;
    let access = format!("access-{}", inner.next);
    inner.tokens.insert(access.clone(), grant.user.clone());
    let mut answer = json!({ "access_token": access, "token_type": "Bearer", "expires_in": 60 });
    if inner.lie != Lie::NoIdToken {
        answer["id_token"] = inner.id_token(&grant, &access).into();
    }
    axum::Json(answer).into_response()
}

async fn userinfo(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    if let Some(lie) = begin(&provider, "userinfo").await {
        return lie;
    }
    let inner = provider.lock();
    let token =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(user) = token.and_then(|token| inner.tokens.get(token)) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let sub = if inner.lie == Lie::SubjectOfUserinfo { "another" } else { &user.sub };
    axum::Json(json!({ "sub": sub, "preferred_username": user.name, "groups": user.groups })).into_response()
}

//! The identity provider: what this installation asks it by the rules of OpenID Connect, and how its answers are checked.
//!
//! It knows no routes, no Redis and no accounts: `http/pages/login_provider.rs` and `actions/log_in_with_provider.rs` have those.
//!
//! ```text
//! begin() ─▶ the address at the provider, with state, nonce and PKCE challenge      browser ─▶ provider ─▶ browser
//! redeem(code, verifier, nonce) ─▶ token endpoint ─▶ ID token ─▶ checked ─▶ Identity { subject, name, groups, sid }
//! check_logout(token) ─▶ checked ─▶ LogoutToken { subject, sid }                    the provider itself
//! ```
//!
//! Each worker keeps the provider's metadata and keys (`found.rs`): it reads them at the start and every hour, and once more when a token
//! is signed with a key that it does not know, which strangers can cause at most twice a minute. A provider that is away hinders nobody
//! else: passwords, sessions and tokens for programs do not ask it.
//!
//! Only signatures with a private key count (`RS`, `PS`, `ES`, `EdDSA`): never `none`, and no `HS`, for which a public key, or the secret of
//! this installation, would be enough. Nothing that a token says is used before its signature, issuer, audience, times and nonce are
//! checked.

mod error;
mod found;
mod http;
mod identity;
mod logout;
mod rules;
mod types;

pub use error::ProviderError;
pub use identity::Identity;
pub use logout::LogoutToken;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use openidconnect::core::{CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod, CoreGenderClaim};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, SignatureVerificationError, TokenResponse as _, UserInfoClaims,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::ProviderConfig;
use crate::config::provider::is_this_machine;
use crate::domain::Timestamp;
use crate::domain::access::Access;
use error::{causes, quoted};
use found::{Found, Keeper};
use http::ProviderHttp;
use identity::MoreClaims;
use rules::{ALGORITHMS, SKEW};
use types::{Claims, ProviderClient, Signed};

/// How old an ID token may be that the provider hands out for a code.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);
/// How long somebody may take to prove themselves once more at the provider.
const MAX_REPEAT: TimeDelta = TimeDelta::minutes(10);

/// For everything that one login asks of the provider.
const OVERALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The provider. Cheap to clone.
#[derive(Clone)]
pub struct Provider(Arc<Inner>);

struct Inner {
    config: ProviderConfig,
    http: ProviderHttp,
    keeper: Keeper,
}

/// A login that has begun: what the browser is sent to, and what is kept until it comes back.
pub struct Begun {
    /// The address at the provider.
    pub url: Url,
    /// What the ID token must repeat.
    pub nonce: String,
    /// What the code is redeemed with.
    pub verifier: SecretString,
}

/// A code that came back with a browser.
pub struct Redeem<'a> {
    /// The code.
    pub code: &'a str,
    /// The verifier of [`Begun`].
    pub verifier: &'a SecretString,
    /// The nonce of [`Begun`].
    pub nonce: &'a str,
    /// When it began, if somebody was to prove themselves once more.
    pub again_since: Option<Timestamp>,
    /// Now, on Redis's clock.
    pub now: Timestamp,
}

impl Provider {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// If the system has no certificate authorities.
    pub fn new(config: ProviderConfig) -> anyhow::Result<Self> {
        let this_machine = Url::parse(&config.issuer).is_ok_and(|url| is_this_machine(&url));
        let http = ProviderHttp::new(this_machine)?;
        let keeper = Keeper::new(config.issuer.clone());
        Ok(Self(Arc::new(Inner { config, http, keeper })))
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.config.name
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.config.issuer
    }

    /// What somebody in these groups may do here.
    #[must_use]
    pub fn access_of(&self, groups: &[String]) -> Option<Access> {
        self.0.config.roles.access_of(groups)
    }

    /// Whether it answered when it was asked last.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.keeper.is_there()
    }

    /// Keeps metadata and keys current until `stop`.
    pub async fn keep_current(&self, stop: CancellationToken) {
        self.0.keeper.run(&self.0.http, stop).await;
    }

    /// Asks it what it is, now; how many keys it has.
    ///
    /// # Errors
    /// [`ProviderError::Away`].
    pub async fn discover(&self) -> Result<usize, ProviderError> {
        Ok(self.in_time(self.found()).await?.metadata.jwks().keys().len())
    }

    /// Gives up once the provider has had its time, over all requests together.
    async fn in_time<T>(
        &self,
        asking: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let late = |_| ProviderError::Away(format!("it took longer than {} s", OVERALL_TIMEOUT.as_secs()));
        tokio::time::timeout(OVERALL_TIMEOUT, asking).await.map_err(late)?
    }

    async fn found(&self) -> Result<Arc<Found>, ProviderError> {
        self.0.keeper.found(&self.0.http).await
    }

    /// Begins a login; `state` comes back with the browser. With `again`, the provider is to ask for a proof though there is a session.
    ///
    /// # Errors
    /// [`ProviderError::Away`].
    pub async fn begin(&self, state: &str, again: bool) -> Result<Begun, ProviderError> {
        let found = self.in_time(self.found()).await?;
        let client = self.client(&found)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = state.to_owned();
        let mut request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                Nonce::new_random,
            )
            .set_pkce_challenge(challenge);
        for scope in found.scopes() {
            request = request.add_scope(Scope::new(scope.to_owned()));
        }
        if again {
            request = request.set_max_age(Duration::ZERO).add_prompt(CoreAuthPrompt::Login);
        }
        let (url, _, nonce) = request.url();
        if !self.0.http.admits(&url) {
            return Err(ProviderError::Away("its authorization endpoint is not https://".to_owned()));
        }
        Ok(Begun { url, nonce: nonce.secret().clone(), verifier: verifier.into_secret().into() })
    }

    /// Redeems a code, and checks what comes for it.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn redeem(&self, redeem: Redeem<'_>) -> Result<Identity, ProviderError> {
        self.in_time(self.redeem_at_leisure(redeem)).await
    }

    async fn redeem_at_leisure(&self, redeem: Redeem<'_>) -> Result<Identity, ProviderError> {
        let mut found = self.found().await?;
        let client = self.client(&found)?;
        let away = |error: &dyn std::error::Error| ProviderError::Away(quoted(&causes(error)));
        let tokens = client
            .exchange_code(AuthorizationCode::new(redeem.code.to_owned()))
            .map_err(|error| away(&error))?
            .set_pkce_verifier(PkceCodeVerifier::new(redeem.verifier.expose_secret().to_owned()))
            .request_async(&self.0.http)
            .await;
        let tokens = tokens.map_err(|error| match &error {
            RequestTokenError::ServerResponse(said) => ProviderError::Code(quoted(&said.to_string())),
            // Its text has what was received, which may be a token.
            RequestTokenError::Parse(reason, _) => {
                ProviderError::Away(format!("its answer to the code cannot be read: {reason}"))
            }
            _ => away(&error),
        })?;
        let token = tokens
            .id_token()
            .ok_or(ProviderError::Lacks("an ID token: allow this client the scope `openid`"))?;
        let mut checked = self.check(&found, token, tokens.access_token(), &redeem).cloned();
        if let Err(CheckError::Key(_)) = &checked {
            // Keys change.
            if let Some(newer) = self.0.keeper.newer_keys(&self.0.http).await {
                found = newer;
                checked = self.check(&found, token, tokens.access_token(), &redeem).cloned();
            }
        }
        let claims = checked.map_err(CheckError::into_error)?;
        self.identity(&found, &claims, tokens.access_token()).await
    }

    /// The claims of an ID token, if everything about it is right.
    fn check<'t>(
        &self,
        found: &Found,
        token: &'t Signed,
        access: &AccessToken,
        redeem: &Redeem<'_>,
    ) -> Result<&'t Claims, CheckError> {
        let invalid = |what: String| CheckError::Other(ProviderError::Token(quoted(&what)));
        let client = self.client(found).map_err(CheckError::Other)?;
        let now = redeem.now;
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || now - SKEW)
            .set_issue_time_verifier_fn(move |issued| {
                let fits = issued <= now + SKEW && issued >= now - MAX_AGE - SKEW;
                fits.then_some(()).ok_or_else(|| format!("it was issued at {issued}, and it is {now}"))
            });
        let claims =
            token.claims(&verifier, &Nonce::new(redeem.nonce.to_owned())).map_err(|error| match &error {
                ClaimsVerificationError::SignatureVerification(
                    SignatureVerificationError::NoMatchingKey
                    | SignatureVerificationError::CryptoError(_)
                    | SignatureVerificationError::AmbiguousKeyId(_),
                ) => CheckError::Key(causes(&error)),
                _ => invalid(causes(&error)),
            })?;
        // The library leaves this one to us.
        if claims.authorized_party().is_some_and(|party| party.as_str() != self.0.config.client_id) {
            return Err(invalid("it was made for another client (`azp`)".to_owned()));
        }
        if let Some(expected) = claims.access_token_hash() {
            let hash =
                token.signing_alg().and_then(|algorithm| Ok((algorithm, token.signing_key(&verifier)?)));
            let hash = hash.map_err(|error| invalid(error.to_string())).and_then(|(algorithm, key)| {
                AccessTokenHash::from_token(access, algorithm, key)
                    .map_err(|error| invalid(error.to_string()))
            })?;
            if hash != *expected {
                return Err(invalid("it belongs to another access token (`at_hash`)".to_owned()));
            }
        }
        if let Some(since) = redeem.again_since {
            let proven = claims.auth_time();
            if proven.is_none_or(|at| at < since - SKEW || at > since + MAX_REPEAT + SKEW) {
                return Err(invalid(
                    "the provider did not have the user log in again, or does not say when (`auth_time`)"
                        .to_owned(),
                ));
            }
        }
        Ok(claims)
    }

    /// Who it is. What the token does not say, the userinfo endpoint may.
    async fn identity(
        &self,
        found: &Found,
        claims: &Claims,
        access: &AccessToken,
    ) -> Result<Identity, ProviderError> {
        let groups_claim = &self.0.config.groups_claim;
        let mut groups = claims.additional_claims().groups(groups_claim);
        let mut name = claims.preferred_username().map(|name| name.to_string());
        if (groups.is_none() || name.is_none()) && found.metadata.userinfo_endpoint().is_some() {
            let client = self.client(found)?;
            let away = |error: &dyn std::error::Error| ProviderError::Away(quoted(&causes(error)));
            // The answer must be about the same subject.
            let request = client.user_info(access.clone(), Some(claims.subject().clone()));
            let answer: Result<UserInfoClaims<MoreClaims, CoreGenderClaim>, _> =
                request.map_err(|error| away(&error))?.request_async(&self.0.http).await;
            let said = answer.map_err(|error| away(&error))?;
            groups = groups.or_else(|| said.additional_claims().groups(groups_claim));
            name = name.or_else(|| said.preferred_username().map(|name| name.to_string()));
        }
        Ok(Identity {
            subject: identity::subject(claims.subject().as_str())?,
            name,
            groups: groups.unwrap_or_default(),
            sid: claims.additional_claims().sid()?,
            issued_at: claims.issue_time(),
        })
    }

    /// Checks a token with which the provider says that a session has ended there.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn check_logout(&self, token: &str, now: Timestamp) -> Result<LogoutToken, ProviderError> {
        let parsed = logout::parse(token)?;
        // What costs nothing comes first: anybody may send these.
        let claims = parsed.check_claims(self.issuer(), &self.0.config.client_id, now)?;
        let found = self.in_time(self.found()).await?;
        if parsed.is_signed_by(found.metadata.jwks()) {
            return Ok(claims);
        }
        let newer = self.in_time(async { Ok(self.0.keeper.newer_keys(&self.0.http).await) }).await?;
        if newer.is_some_and(|found| parsed.is_signed_by(found.metadata.jwks())) {
            return Ok(claims);
        }
        Err(ProviderError::Token("no key of the provider that this worker knows has signed it".to_owned()))
    }

    fn client(&self, found: &Found) -> Result<ProviderClient, ProviderError> {
        let config = &self.0.config;
        let secret =
            config.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose_secret().into()));
        let metadata = found.metadata.clone();
        let methods = metadata.token_endpoint_auth_methods_supported();
        let only_in_body = methods.is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let how = if only_in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
        let client =
            ProviderClient::from_provider_metadata(metadata, ClientId::new(config.client_id.clone()), secret);
        Ok(client.set_auth_type(how).set_redirect_uri(RedirectUrl::from_url(config.callback.clone())))
    }
}

/// Why an ID token was refused.
enum CheckError {
    /// It may be signed with a newer key.
    Key(String),
    Other(ProviderError),
}

impl CheckError {
    fn into_error(self) -> ProviderError {
        match self {
            Self::Key(why) => ProviderError::Token(quoted(&why)),
            Self::Other(error) => error,
        }
    }
}

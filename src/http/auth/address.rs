//! Where a request comes from: the peer's address, or what a trusted proxy reports (`proxies.rs`).

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, header};

use crate::domain::address::host_behind;
use crate::http::state::AppState;
use crate::store::LoginOrigin;

/// The client's address, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerAddress(pub IpAddr);

impl FromRequestParts<AppState> for CallerAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self(of(&parts.extensions, &parts.headers, state)))
    }
}

/// The client's address, as far as it can be known.
#[must_use]
pub fn of(extensions: &Extensions, headers: &HeaderMap, state: &AppState) -> IpAddr {
    let peer = peer(extensions).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    state.proxies().client(peer, headers)
}

/// The other end of the connection; none in tests that have no connection.
#[must_use]
pub fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(address) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(host_behind(address.ip()))
}

/// Where a login from that address comes from: with what the browser or the program calls itself.
#[must_use]
pub fn login_origin(ip: IpAddr, headers: &HeaderMap) -> LoginOrigin {
    let bytes = headers.get(header::USER_AGENT).map_or(&[][..], |value| value.as_bytes());
    LoginOrigin { ip, user_agent: String::from_utf8_lossy(bytes).into_owned() }
}

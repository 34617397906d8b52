//! Both ends of the listener that `up` binds once and its workers share.
//!
//! One listener means one queue of connections: a free worker takes the next, and the connections that wait in the
//! queue when a worker dies go to another. Each worker inherits it as standard input, the one descriptor that safe Rust
//! can name on both sides.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, bail};

/// Binds the address for all workers.
///
/// # Errors
/// If it is in use, or this user may not bind it.
pub fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("{address} is in use by another program: stop it, or choose another address with --listen")
        }
        Err(error) => Err(error)
            .with_context(|| format!("failed to listen on {address}: choose another address with --listen")),
    }
}

/// The worker's end: the inherited listener, ready for tokio.
///
/// # Errors
/// If standard input is not a listening socket: only `bangui up` sets `BANGUI_LISTEN=inherited`.
pub fn inherited() -> io::Result<TcpListener> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.local_addr().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("standard input is not a listening socket ({error}): set BANGUI_LISTEN to an address"),
        )
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_reported_as_such() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let refusal = bind(first.local_addr().unwrap()).unwrap_err().to_string();
        assert!(refusal.contains("is in use by another program"), "{refusal}");
    }
}

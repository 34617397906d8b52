//! A stream that is not closed while its client is still sending.
//!
//! A request may be answered before its body was read: nobody is logged in, or there is no such server. If the connection were closed
//! then, the kernel would answer the rest of the body with a reset, and the client might see that and not the answer. So the
//! stream first ends only its own direction, and reads and drops what still comes, for a while:
//!
//! ```text
//! answer written ─▶ shut down for writing ─▶ read and drop ─┬─ the client has read the answer and closes ─▶ closed
//!                                                           └─ LONGEST or MOST reached ──────────────────▶ closed
//! ```
//!
//! The connection counts as idle while it lingers, so it is let go as soon as places run short.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::places::ConnectionSlot;

/// How long the rest of a body is read.
const LONGEST: Duration = Duration::from_secs(5);
/// How much of it is read: more than any body may have.
const MOST: usize = 4 * 1024 * 1024;
/// Read at once.
const CHUNK: usize = 4 * 1024;

/// See the head of this file.
pub(super) struct Lingering<S> {
    stream: S,
    place: Arc<ConnectionSlot>,
    rest: Option<Rest>,
}

/// What still comes after the answer.
struct Rest {
    until: Pin<Box<Sleep>>,
    dropped: usize,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, place: Arc<ConnectionSlot>) -> Self {
        Self { stream, place, rest: None }
    }
}

impl<S: AsyncRead + Unpin> Lingering<S> {
    /// Reads and drops until the client closes, or until it is enough.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let rest = self.rest.get_or_insert_with(|| Rest { until: Box::pin(sleep(LONGEST)), dropped: 0 });
        let mut chunk = [0; CHUNK];
        while rest.dropped < MOST && rest.until.as_mut().poll(cx).is_pending() {
            let mut read = ReadBuf::new(&mut chunk);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => rest.dropped += read.filled().len(),
                // The client has closed, or is gone.
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.place.has_unread() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_rest(cx).map(Ok)
    }

    // Headers and body leave in one call, as without this wrapper.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

//! Bodies that mark their connection as idle or busy: reading a request's body waits for the client, and an answer's body is this
//! program's work.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};

use super::places::ConnectionSlot;

/// The body of a request: while more of it is awaited, its connection is idle.
pub(super) struct Received {
    body: Incoming,
    /// Whether its last part was read; one without a length does not know it.
    ended: bool,
    place: Arc<ConnectionSlot>,
}

impl Received {
    pub(super) fn new(body: Incoming, place: Arc<ConnectionSlot>) -> Self {
        place.note_unread(false);
        Self { body, ended: false, place }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match polled {
            Poll::Pending => self.place.waits(),
            Poll::Ready(ref frame) => {
                self.ended = frame.is_none();
                self.place.busy();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Received {
    /// The rest of it is no longer awaited.
    fn drop(&mut self) {
        self.place.note_unread(!self.ended && !self.body.is_end_stream());
        self.place.busy();
    }
}

/// The body of an answer: once all of it has been handed over, its connection waits for the next request.
pub(super) struct Sent {
    body: Body,
    place: Arc<ConnectionSlot>,
}

impl Sent {
    pub(super) fn new(body: Body, place: Arc<ConnectionSlot>) -> Self {
        Self { body, place }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.place.idle();
    }
}

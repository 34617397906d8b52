//! Reads a jail's list of bans as it comes: piece by piece, off the async threads, and no further than [`MAX_LIST`].
//!
//! ```text
//! the agent ─▶ pieces of its answer ─▶ a queue of a few ─▶ the parser's thread ─▶ each ban, at once in the form it is kept in
//! ```
//!
//! An agent may be in a stranger's hands: it must not take the memory of the worker that asks it, whatever it answers. So a list is
//! cut off at the weight that it may have (`domain/long_lists.rs`), and at a text that is longer than any of a ban.

use std::io::{BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use reqwest::{Method, StatusCode};
use serde::Deserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::call::AgentClient;
use super::error::{AgentError, RefusedKind};
use crate::agent::wire::{self, Ban, BanList, MarkBan};
use crate::domain::long_lists::{MAX_LIST, weight};
use crate::domain::{JailName, UnreachableKind};

/// Pieces that wait for the parser.
const PIECES: usize = 2;
/// What is in memory of an answer before it is parsed, at most: the pieces that wait, the one that is parsed and the one that
/// arrives, each as large as the HTTP client reads at once.
pub const UNPARSED_BYTES: usize = (PIECES + 2) * 408 * 1024;
/// The longest text in an answer: a mark of 1,024 bytes, each of them escaped, has 6 KiB.
const MAX_TEXT: usize = 8 * 1024;

/// The longest tag of a list.
const MAX_TAG: usize = 100;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It is longer than this list may be.
    #[error("the list of bans is larger than {0} bans")]
    TooLong(usize),
    /// The agent was not asked, or did not answer.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// What a list becomes. A ban that is kept says how many bytes of text are kept with it.
trait Keep: Default + Send + 'static {
    fn ban(&mut self, ban: Ban) -> usize;
    fn mark(&mut self, ban: MarkBan) -> usize;
    fn others(&mut self, count: usize);
}

impl Keep for BanList {
    fn ban(&mut self, ban: Ban) -> usize {
        self.bans.push(ban);
        0
    }
    fn mark(&mut self, ban: MarkBan) -> usize {
        let text = ban.0.as_str().len();
        self.marks.push(ban);
        text
    }
    fn others(&mut self, count: usize) {
        self.others = count;
    }
}

/// A ban in the form that the caller keeps it in.
pub trait FromBan: Send + 'static {
    /// What is banned, since when and until when.
    fn from_ban(what: String, since: Option<i64>, until: Option<i64>) -> Self;
}

struct Kept<T>(Vec<T>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FromBan> Kept<T> {
    fn push(&mut self, what: String, since: Option<i64>, until: Option<i64>) -> usize {
        let text = what.len();
        self.0.push(T::from_ban(what, since, until));
        text
    }
}

impl<T: FromBan> Keep for Kept<T> {
    fn ban(&mut self, Ban(network, since, until): Ban) -> usize {
        self.push(network.into(), since, until)
    }
    fn mark(&mut self, MarkBan(mark, since, until): MarkBan) -> usize {
        self.push(mark.into(), since, until)
    }
    fn others(&mut self, _: usize) {}
}

impl AgentClient {
    /// All bans of a jail, by address.
    ///
    /// # Errors
    /// See [`AgentError`]; `Refused` too if the list is too long.
    pub async fn bans(&self, jail: &JailName) -> Result<BanList, AgentError> {
        self.list(jail, MAX_LIST).await.map(|(list, _)| list).map_err(|error| match error {
            ListError::Agent(error) => error,
            long @ ListError::TooLong(_) => {
                AgentError::Refused { kind: RefusedKind::Failed, reason: long.to_string() }
            }
        })
    }

    /// All bans of a jail, each in the form that the caller keeps it in, and the tag of this list, if the agent gives it one. Together
    /// they may weigh `bound` at most, and never more than [`MAX_LIST`].
    ///
    /// # Errors
    /// [`ListError`].
    pub async fn bans_as<T: FromBan>(
        &self,
        jail: &JailName,
        bound: usize,
    ) -> Result<(Vec<T>, Option<String>), ListError> {
        let (kept, tag) = self.list::<Kept<T>>(jail, bound.min(MAX_LIST)).await?;
        Ok((kept.0, tag))
    }

    async fn list<K: Keep>(&self, jail: &JailName, bound: usize) -> Result<(K, Option<String>), ListError> {
        let (deadline, path) = (wire::LIST_DEADLINE, format!("/v1/jails/{}/bans", jail.to_segment()));
        let request = self.within(self.request(Method::GET, &path), deadline);
        let listed = timeout(deadline, async {
            let response = self.respond(&request).await?;
            if response.status() != StatusCode::OK {
                self.read::<IgnoredAny>(response, wire::MAX_ANSWER).await?;
                return Err(self.unreachable(UnreachableKind::Protocol, "it answered without a list").into());
            }
            let tag = response.headers().get(wire::LIST_TAG_HEADER).and_then(|tag| tag.to_str().ok());
            // Kept beside each list: whoever answers must not choose how much that is.
            let tag = tag.filter(|tag| (1..=MAX_TAG).contains(&tag.len()) && !tag.contains(' '));
            let tag = tag.map(str::to_owned);
            Ok((self.parse(response, bound).await?, tag))
        });
        listed.await.unwrap_or_else(|_| Err(self.too_late(deadline).into()))
    }

    async fn parse<K: Keep>(&self, mut response: reqwest::Response, bound: usize) -> Result<K, ListError> {
        let (pieces, arrived) = mpsc::channel(PIECES);
        let too_long = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&too_long);
        // Ends with the last piece, or with this future, which drops the sender.
        let parsing = tokio::task::spawn_blocking(move || {
            let texts = Texts { too_long: Arc::clone(&seen), ..Texts::default() };
            let pieces = Pieces { arrived, piece: Vec::new(), at: 0, texts };
            let mut kept = K::default();
            let mut reader = serde_json::Deserializer::from_reader(BufReader::new(pieces));
            let list = List { kept: &mut kept, length: 0, text: 0, bound, too_long: &seen };
            list.deserialize(&mut reader).and_then(|()| reader.end()).map(|()| kept)
        });
        let mut length = 0;
        while let Some(piece) = response.chunk().await.map_err(|error| self.network(error))? {
            length += piece.len();
            if length > wire::MAX_BAN_LIST {
                return Err(ListError::TooLong(bound));
            }
            // The parser has seen enough.
            if pieces.send(piece.to_vec()).await.is_err() {
                break;
            }
        }
        drop(pieces);
        match parsing.await {
            Ok(Ok(kept)) => Ok(kept),
            _ if too_long.load(Relaxed) => Err(ListError::TooLong(bound)),
            Ok(Err(error)) => {
                let reason = format!("its answer cannot be read ({error})");
                Err(self.unreachable(UnreachableKind::Protocol, &reason).because(error).into())
            }
            Err(_) => Err(self.unreachable(UnreachableKind::Protocol, "its answer cannot be read").into()),
        }
    }
}

/// The pieces of an answer, for a parser that waits for each.
struct Pieces {
    arrived: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    texts: Texts,
}

/// Where in a text of JSON the pieces are. The parser reads a whole text, however long it is, before it looks at it.
#[derive(Default)]
struct Texts {
    length: Option<usize>,
    escaped: bool,
    too_long: Arc<AtomicBool>,
}

impl Texts {
    fn follow(&mut self, piece: &[u8]) -> std::io::Result<()> {
        for byte in piece {
            match (self.length, byte) {
                (None, b'"') => self.length = Some(0),
                (None, _) => {}
                (Some(_), b'"') if !self.escaped => self.length = None,
                (Some(MAX_TEXT..), _) => {
                    self.too_long.store(true, Relaxed);
                    return Err(std::io::Error::other("a text in it is too long"));
                }
                (Some(length), byte) => {
                    self.escaped = !self.escaped && *byte == b'\\';
                    self.length = Some(length + 1);
                }
            }
        }
        Ok(())
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.piece.len() {
            let Some(piece) = self.arrived.blocking_recv() else { return Ok(0) };
            self.texts.follow(&piece)?;
            (self.piece, self.at) = (piece, 0);
        }
        let rest = &self.piece[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

/// Reads the body of the answer, a [`BanList`], into `kept`.
struct List<'a, K> {
    kept: &'a mut K,
    length: usize,
    /// Bytes of the texts that are kept.
    text: usize,
    bound: usize,
    too_long: &'a AtomicBool,
}

impl<'de, K: Keep> DeserializeSeed<'de> for List<'_, K> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, K: Keep> Visitor<'de> for List<'_, K> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of bans")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "bans" => map.next_value_seed(Items { list: &mut self, keep: K::ban })?,
                "marks" => map.next_value_seed(Items { list: &mut self, keep: K::mark })?,
                "others" => self.kept.others(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Items<'a, 'b, K, T> {
    list: &'a mut List<'b, K>,
    keep: fn(&mut K, T) -> usize,
}

impl<'de, K: Keep, T: DeserializeOwned> DeserializeSeed<'de> for Items<'_, '_, K, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, K: Keep, T: DeserializeOwned> Visitor<'de> for Items<'_, '_, K, T> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bans")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            self.list.length += 1;
            self.list.text += (self.keep)(self.list.kept, item);
            if weight(self.list.length, self.list.text) > self.list.bound {
                self.list.too_long.store(true, Relaxed);
                return Err(A::Error::custom("too long"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(pieces: &[&[u8]]) -> bool {
        let mut texts = Texts::default();
        pieces.iter().all(|piece| texts.follow(piece).is_ok())
    }

    #[test]
    fn a_text_that_is_longer_than_any_of_a_ban_ends_the_reading_and_many_short_ones_do_not() {
        let (fits, long) = ("x".repeat(MAX_TEXT), "x".repeat(MAX_TEXT + 1));
        assert!(follow(&[format!("[\"{fits}\",1]").as_bytes(); 3]));
        assert!(!follow(&[format!("[\"{long}\",1]").as_bytes()]));
        // In pieces, and with quotation marks and backslashes in it.
        assert!(!follow(&[b"[\"", fits.as_bytes(), b"x\"]"]));
        assert!(!follow(&[&[b"[\"".as_slice(), &br#"\""#.repeat(MAX_TEXT)].concat()]));
        assert!(follow(&[&br#"["\\",5,"\\"],"#.repeat(MAX_TEXT)]));
    }
}

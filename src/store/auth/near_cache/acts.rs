//! What may happen to near caches (`model.rs`), and what a Redis does for them.

use proptest::prelude::*;

use super::state::OfAccount;
use super::wait::{Listed, Looked};

/// Sessions are numbers; a new login takes the next one.
pub type Session = u32;

/// The accounts: each has every other session.
pub const ACCOUNTS: [&str; 2] = ["admin", "Anna0001"];

/// Which of the accounts a session belongs to.
pub fn account_of(session: Session) -> usize {
    session as usize % ACCOUNTS.len()
}

/// What a cache keeps of a session: whose it is.
#[derive(Clone)]
pub struct Kept(pub usize);

impl OfAccount for Kept {
    fn is_of(&self, account: &str) -> bool {
        ACCOUNTS[self.0] == account
    }
}

/// What the scripts do.
pub trait Redis {
    /// All that a Redis has in memory.
    type Memory;
    fn login(&mut self, session: Session);
    /// Whether the session is alive.
    fn read(&mut self, session: Session) -> bool;
    fn join(&mut self, id: &str) -> (String, u64);
    fn renew(&mut self, id: &str, incarnation: &str, number: u64) -> i64;
    fn leave(&mut self, id: &str);
    /// Ends one, all of an account, or no sessions; returns the message for the holders, and the answer.
    fn revoke(&mut self, ends: Revoked) -> (Vec<u8>, Listed);
    fn behind(&mut self) -> Listed;
    fn look(&mut self, holders: &[String]) -> Looked;
    fn settle(&mut self, listed: &Listed);
    fn memory(&mut self) -> Self::Memory;
    /// Another Redis: with this memory, or with nothing but the sessions.
    fn restart(&mut self, memory: Option<&Self::Memory>);
}

/// What a revocation ends.
#[derive(Debug, Clone, Copy)]
pub enum Revoked {
    One(Session),
    /// Of this account.
    All(usize),
    Nothing,
}

/// Rules of the workers that can be taken away.
#[derive(Clone, Copy)]
pub struct Rules {
    pub waits_for_the_lease: bool,
    pub fills_are_marked: bool,
}

/// All of them.
pub const ALL: Rules = Rules { waits_for_the_lease: true, fills_are_marked: true };

/// Something that happens, to the worker or revocation of that number.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    Pass(u64),
    Login,
    Revoke(usize),
    RevokeAll(usize),
    Sweep,
    EndAgain,
    /// Join or renew in one go; or in steps: ask, serve, take the answer.
    Renew(usize),
    Ask(usize),
    Serve(usize),
    Take(usize),
    /// A request arrives after all, although the worker that sent it has given up.
    ServeLate,
    /// The next message is applied, and confirmed if it wants to be.
    Hear(usize),
    Lose(usize),
    Disconnect(usize),
    Leave(usize),
    /// A session is read and kept in one go; or in steps.
    ReadAndFill(usize, usize),
    Read(usize, usize),
    ServeRead(usize),
    Fill(usize),
    /// Who has confirmed is read and heard in one go; or in steps.
    LookAndHear(usize),
    Look(usize),
    HearLook(usize),
    /// The answer, and what follows once a lease was waited for; or in steps.
    AnswerAndSettle(usize),
    Answer(usize),
    Settle(usize),
    Remember,
    GoBack,
    Forget,
}

/// Histories, as numbers: a number is an act and the worker or revocation it happens to.
pub fn histories() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..100_u32 << 16, 50..400)
}

/// The act behind a number of [`histories`].
pub fn act_of(number: u32) -> Act {
    let (a, b) = ((number >> 8 & 0xff) as usize, (number & 0xff) as usize);
    match number >> 16 {
        0..10 => Act::Pass(b as u64 / 8),
        10..14 => Act::Pass(200 + 2 * b as u64),
        14 => Act::Pass(1_500 + 4 * b as u64),
        15..20 => Act::Login,
        20..24 => Act::Revoke(a),
        24 => [Act::RevokeAll(b), Act::Sweep, Act::EndAgain][a % 3],
        25..34 => Act::Renew(a),
        34 => Act::Ask(a),
        35..38 => Act::Serve(a),
        38..41 => Act::Take(a),
        41 => Act::ServeLate,
        42..61 => Act::Hear(a),
        61 => [Act::Lose(a), Act::Disconnect(a), Act::Leave(a)][b % 3],
        62..70 => Act::ReadAndFill(a, b),
        70..73 => Act::Read(a, b),
        73..76 => Act::ServeRead(a),
        76..78 => Act::Fill(a),
        78..84 => Act::LookAndHear(a),
        84 => Act::Look(a),
        85 => Act::HearLook(a),
        86..94 => Act::AnswerAndSettle(a),
        94..96 => Act::Answer(a),
        96..98 => Act::Settle(a),
        98 => Act::Remember,
        _ => [Act::GoBack, Act::Forget, Act::Pass(0)][(a % 6).min(2)],
    }
}

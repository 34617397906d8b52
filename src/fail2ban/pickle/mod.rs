//! Python's pickle, as far as fail2ban uses it: a writer for commands, a reader for replies.
//!
//! A pickle is a program for a small stack machine, and Python runs it, calls included. The reader here runs
//! only the instructions that build data. Where Python would call something (`REDUCE`), it keeps the name
//! and the arguments as [`Value::Reduced`]; the one exception is `str(text)`, the form in which
//! fail2ban sends addresses, which is the text itself. Anything else is refused.

mod limits;
mod machine;
mod read;
mod write;

pub use limits::{Limits, MEMORY_FACTOR};
pub use read::{read, read_within};
pub use write::{ArgumentError, write_command};

/// What a reply is made of.
///
/// Text is shared, so that a pickle which names one long text a million times stays small.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`
    None,
    /// `True` or `False`
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text; bytes that are not UTF-8 (fail2ban passes file names on as they are) are replaced by U+FFFD.
    Str(std::sync::Arc<str>),
    /// Bytes.
    Bytes(std::sync::Arc<[u8]>),
    /// A list.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A dict, in its order.
    Dict(Vec<(Value, Value)>),
    /// A set.
    Set(Vec<Value>),
    /// The name of a class or function.
    Global(Box<Name>),
    /// A call that Python would make: here it is only data.
    Reduced(Box<Call>),
}

/// The name of a class or function.
#[derive(Debug, Clone, PartialEq)]
pub struct Name {
    /// Its module.
    pub module: std::sync::Arc<str>,
    /// Its name.
    pub name: std::sync::Arc<str>,
}

/// A call that Python would make.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The name of what would be called.
    pub name: Name,
    /// The arguments.
    pub args: Vec<Value>,
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    #[must_use]
    pub fn items(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// A number that counts something.
    #[must_use]
    pub fn as_count(&self) -> Option<u64> {
        match self {
            Self::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

/// Why bytes are not a pickle that this reader accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// It ends in the middle.
    #[error("the pickle is cut off at byte {at}")]
    Truncated {
        /// Where.
        at: usize,
    },
    /// An instruction outside the closed set.
    #[error("the pickle has the unsupported instruction {opcode:#04x} at byte {at}")]
    Opcode {
        /// The opcode.
        opcode: u8,
        /// Where.
        at: usize,
    },
    /// An instruction does not find on the stack what it needs.
    #[error("the pickle is malformed at byte {at}: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// Larger than allowed in some respect.
    #[error("the pickle has more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
}

#[cfg(test)]
mod tests;

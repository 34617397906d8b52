//! The stack machine behind the reader: stack, marks, memo, and the bytes still to be read.
//!
//! Instructions put nodes into an arena, and stack and memo hold indexes into it. Sharing is thus free
//! while reading (Python's memo refers to lists before they are filled), and nothing is copied until the end: a text is a
//! range of the reply, and a call is its name and its arguments, both by index. The tree is built at the end, under separate
//! limits: a pickle of a hundred bytes can describe a tree of a billion nodes, or one that contains itself.
//!
//! All memory is counted before it is allocated, so that no reply needs more than [`MEMORY_FACTOR`] times its own size, or
//! [`Limits::memory`] if that is more.

mod tree;

use std::collections::HashMap;
use std::sync::Arc;

use super::PickleError;
use super::limits::{Limits, MEMORY_FACTOR};

/// Index of a node in the arena.
pub(super) type Id = u32;

/// A part of the reply, or of [`Machine::parts`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    from: u32,
    length: u32,
}

impl Range {
    fn of<T>(self, all: &[T]) -> &[T] {
        let from = self.from as usize;
        all.get(from..from + self.length as usize).unwrap_or_default()
    }
}

/// A node of the arena: 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Range),
    Bytes(Range),
    Global {
        module: Id,
        name: Id,
    },
    Tuple(Range),
    /// The index of its items in [`Machine::lists`], as for a set and a dict; a dict's items are keys and values in turn.
    List(u32),
    Set(u32),
    Dict(u32),
    /// A call, as data.
    Reduced {
        callable: Id,
        args: Id,
    },
}

pub(super) struct Machine<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) limits: Limits,
    pub(super) nodes: Vec<Node>,
    parts: Vec<Id>,
    lists: Vec<Vec<Id>>,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack at each open MARK; nothing below the last one may be popped.
    marks: Vec<u32>,
    memo: Vec<Id>,
    /// Texts that the memo was asked for: each is allocated once.
    texts: HashMap<Id, Option<Arc<str>>>,
    /// The stack and the marks at their highest.
    highest: usize,
    memory: usize,
    left: usize,
}

/// The three values that need no separate node.
const CONSTANTS: [Node; 3] = [Node::None, Node::Bool(true), Node::Bool(false)];

/// No node has this index.
const NEVER_MADE: Id = Id::MAX;

/// Grows a vector by a quarter: one that doubles would take twice the memory that is counted.
fn make_room<T>(items: &mut Vec<T>, more: usize) {
    if items.capacity() - items.len() < more {
        items.reserve_exact(more.max(items.len() / 4));
    }
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: Limits) -> Self {
        let memory = limits.memory.max(bytes.len().saturating_mul(MEMORY_FACTOR));
        Self {
            bytes,
            at: 0,
            limits,
            nodes: CONSTANTS.to_vec(),
            parts: vec![],
            lists: vec![],
            stack: vec![],
            marks: vec![],
            memo: vec![],
            texts: HashMap::new(),
            highest: 0,
            memory,
            left: memory,
        }
    }

    /// Counts what is about to be allocated.
    fn charge(&mut self, bytes: usize) -> Result<(), PickleError> {
        let limit = self.memory;
        self.left =
            self.left.checked_sub(bytes).ok_or(PickleError::TooMuch { what: "bytes of memory", limit })?;
        Ok(())
    }

    fn charge_height(&mut self) -> Result<(), PickleError> {
        let height = self.stack.len() + self.marks.len();
        if height > self.highest {
            self.charge((height - self.highest) * size_of::<Id>())?;
            self.highest = height;
        }
        Ok(())
    }

    /// Adds items to a list or a set, or pairs to a dict.
    pub(super) fn extend(&mut self, items: &[Id], pairs: bool) -> Result<(), PickleError> {
        let list = match self.nodes.get(self.top_id()? as usize) {
            Some(Node::List(list) | Node::Set(list)) if !pairs => *list,
            Some(Node::Dict(dict)) if pairs && items.len().is_multiple_of(2) => *dict,
            _ => return Err(self.malformed("items for something that takes none of them")),
        };
        self.charge(size_of_val(items))?;
        if let Some(list) = self.lists.get_mut(list as usize) {
            list.extend_from_slice(items);
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, index: usize) -> Result<(), PickleError> {
        if index >= self.limits.memo {
            return Err(PickleError::TooMuch { what: "memo entries", limit: self.limits.memo });
        }
        let top = self.top_id()?;
        if index >= self.memo.len() {
            let more = index + 1 - self.memo.len();
            self.charge(more * size_of::<Id>())?;
            make_room(&mut self.memo, more);
            self.memo.resize(index + 1, NEVER_MADE);
        }
        self.memo[index] = top;
        Ok(())
    }

    /// The index of the next memo entry without a number.
    pub(super) fn remembered(&self) -> usize {
        self.memo.len()
    }

    pub(super) fn recall(&mut self, index: usize) -> Result<(), PickleError> {
        let Some(id) = self.memo.get(index).copied().filter(|id| *id != NEVER_MADE) else {
            return Err(self.malformed("a memo entry that was never made"));
        };
        if matches!(self.node(id), Node::Str(_)) && !self.texts.contains_key(&id) {
            self.charge(2 * size_of::<(Id, Option<Arc<str>>)>())?;
            self.texts.insert(id, None);
        }
        self.push_id(id)
    }

    pub(super) fn push_id(&mut self, id: Id) -> Result<(), PickleError> {
        self.stack.push(id);
        self.charge_height()
    }

    /// Adds a node without pushing it.
    pub(super) fn add(&mut self, node: Node) -> Result<Id, PickleError> {
        self.charge(size_of::<Node>())?;
        let id = Id::try_from(self.nodes.len()).ok().filter(|id| *id != NEVER_MADE);
        let id = id.ok_or(self.malformed("too many nodes"))?;
        make_room(&mut self.nodes, 1);
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn push(&mut self, node: Node) -> Result<(), PickleError> {
        let id = self.add(node)?;
        self.push_id(id)
    }

    /// Pushes one of [`CONSTANTS`].
    pub(super) fn push_constant(&mut self, node: Node) -> Result<(), PickleError> {
        let id = match node {
            Node::Bool(true) => 1,
            Node::Bool(false) => 2,
            _ => 0,
        };
        self.push_id(id)
    }

    /// Pushes an empty list, set or dict.
    pub(super) fn push_list(&mut self, node: fn(u32) -> Node) -> Result<(), PickleError> {
        self.charge(size_of::<Vec<Id>>())?;
        let list = u32::try_from(self.lists.len()).map_err(|_| self.malformed("too many lists"))?;
        self.lists.push(vec![]);
        self.push(node(list))
    }

    pub(super) fn push_tuple(&mut self, items: &[Id]) -> Result<(), PickleError> {
        self.charge(size_of_val(items))?;
        let range = self.range(self.parts.len(), items.len())?;
        make_room(&mut self.parts, items.len());
        self.parts.extend_from_slice(items);
        self.push(Node::Tuple(range))
    }

    fn range(&self, from: usize, length: usize) -> Result<Range, PickleError> {
        match (u32::try_from(from), u32::try_from(length)) {
            (Ok(from), Ok(length)) => Ok(Range { from, length }),
            _ => Err(self.malformed("it is too long")),
        }
    }

    pub(super) fn mark(&mut self) -> Result<(), PickleError> {
        self.marks.push(u32::try_from(self.stack.len()).unwrap_or(u32::MAX));
        self.charge_height()
    }

    fn floor(&self) -> usize {
        self.marks.last().map_or(0, |mark| *mark as usize)
    }

    pub(super) fn top_id(&self) -> Result<Id, PickleError> {
        self.stack[self.floor()..].last().copied().ok_or(self.malformed("the stack is empty"))
    }

    pub(super) fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top_id()?;
        self.stack.pop();
        Ok(top)
    }

    pub(super) fn node(&self, id: Id) -> Node {
        self.nodes.get(id as usize).copied().unwrap_or(Node::None)
    }

    pub(super) fn items_of(&self, tuple: Range) -> &[Id] {
        tuple.of(&self.parts)
    }

    pub(super) fn text_at(&self, range: Range) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(range.of(self.bytes))
    }

    /// Pops a name, which must be a text; returns its index.
    pub(super) fn pop_text(&mut self) -> Result<Id, PickleError> {
        let top = self.pop()?;
        if matches!(self.node(top), Node::Str(_)) {
            Ok(top)
        } else {
            Err(self.malformed("a name that is not text"))
        }
    }

    pub(super) fn pop_from(&mut self, first: Option<usize>) -> Result<Vec<Id>, PickleError> {
        match first {
            Some(first) if first >= self.floor() => Ok(self.stack.split_off(first)),
            _ => Err(self.malformed("the stack is empty")),
        }
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or(self.malformed("no mark"))?;
        Ok(self.stack.split_off(mark as usize))
    }

    pub(super) fn take(&mut self, length: usize) -> Result<Range, PickleError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return Err(PickleError::Truncated { at: self.bytes.len() }) };
        let taken = self.range(self.at, length)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let at = self.bytes.len();
        self.take(N)?.of(self.bytes).first_chunk().copied().ok_or(PickleError::Truncated { at })
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Bytes that follow their length, which has 1, 4 or 8 bytes.
    pub(super) fn sized(&mut self, opcode: u8) -> Result<Range, PickleError> {
        let length = match opcode {
            0x8c | b'U' | b'C' => self.byte()?.into(),
            0x8d | 0x8e => u64::from_le_bytes(self.array()?),
            _ => u32::from_le_bytes(self.array()?).into(),
        };
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// LONG1: little-endian two's complement of any length; more than 64 bits are refused.
    pub(super) fn long(&mut self) -> Result<i64, PickleError> {
        let length = self.byte()?.into();
        let bytes = self.take(length)?.of(self.bytes);
        let negative = bytes.last().is_some_and(|last| *last >= 0x80);
        let mut number = if negative { [0xff; 8] } else { [0; 8] };
        match number.get_mut(..length) {
            Some(low) => low.copy_from_slice(bytes),
            None => return Err(self.malformed("an integer of more than 64 bits")),
        }
        Ok(i64::from_le_bytes(number))
    }

    /// A name up to the end of its line; returns its index.
    pub(super) fn line(&mut self) -> Result<Id, PickleError> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().take(256).position(|byte| *byte == b'\n') else {
            return Err(self.malformed("a name without an end"));
        };
        let range = self.range(self.at, length)?;
        self.at += length + 1;
        self.add(Node::Str(range))
    }

    pub(super) fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { what, at: self.at }
    }
}

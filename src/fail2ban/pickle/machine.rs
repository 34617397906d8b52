//! The stack machine behind the reader: stack, marks, memo, and the bytes still to be read.
//!
//! Shape: instructions put nodes into an arena, and stack and memo hold indexes into it. Sharing is thus free
//! while reading (Python's memo refers to lists before they are filled), and nothing is copied until the end,
//! where the tree is written out under separate limits: a pickle of a hundred bytes can describe a
//! tree of a billion nodes, or one that holds itself.

use std::sync::Arc;

use super::limits::Limits;
use super::{PickleError, Value};

/// Index of a node in the arena.
pub(super) type Id = usize;

pub(super) enum Node {
    /// Complete and without parts.
    Leaf(Value),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Set(Vec<Id>),
    Reduced {
        module: Arc<str>,
        name: Arc<str>,
        args: Vec<Id>,
    },
}

pub(super) struct Machine<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) limits: Limits,
    pub(super) nodes: Vec<Node>,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack at each open MARK; nothing below the last one may be popped.
    pub(super) marks: Vec<usize>,
    pub(super) memo: Vec<Option<Id>>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Self { bytes, at: 0, limits, nodes: vec![], stack: vec![], marks: vec![], memo: vec![] }
    }

    pub(super) fn extend(&mut self, items: &[Id]) -> Result<(), PickleError> {
        match self.top()? {
            Node::List(list) | Node::Set(list) => list.extend_from_slice(items),
            _ => return Err(self.malformed("items for something that is no list")),
        }
        Ok(())
    }

    pub(super) fn set_items(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let (pairs, rest) = items.as_chunks::<2>();
        match self.top()? {
            Node::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)))
            }
            _ => return Err(self.malformed("pairs for something that is no dict")),
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, index: usize) -> Result<(), PickleError> {
        if index >= self.limits.memo {
            return Err(PickleError::TooMuch { what: "memo entries", limit: self.limits.memo });
        }
        let top = self.top_id()?;
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(top);
        Ok(())
    }

    pub(super) fn recall(&mut self, index: usize) -> Result<(), PickleError> {
        match self.memo.get(index) {
            Some(Some(id)) => self.stack.push(*id),
            _ => return Err(self.malformed("a memo entry that was never made")),
        }
        Ok(())
    }

    pub(super) fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    pub(super) fn leaf(&mut self, value: Value) {
        self.push(Node::Leaf(value));
    }

    pub(super) fn top_id(&self) -> Result<Id, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or(self.malformed("the stack is empty"))
    }

    pub(super) fn top(&mut self) -> Result<&mut Node, PickleError> {
        let top = self.top_id()?;
        Ok(&mut self.nodes[top])
    }

    pub(super) fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top_id()?;
        self.stack.pop();
        Ok(top)
    }

    pub(super) fn pop_text(&mut self) -> Result<Arc<str>, PickleError> {
        let top = self.pop()?;
        match &self.nodes[top] {
            Node::Leaf(Value::Str(text)) => Ok(text.clone()),
            _ => Err(self.malformed("a name that is no text")),
        }
    }

    pub(super) fn pop_from(&mut self, first: Option<usize>) -> Result<Vec<Id>, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match first {
            Some(first) if first >= floor => Ok(self.stack.split_off(first)),
            _ => Err(self.malformed("the stack is empty")),
        }
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or(self.malformed("no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return Err(PickleError::Truncated { at: self.bytes.len() }) };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let at = self.bytes.len();
        self.take(N)?.first_chunk().copied().ok_or(PickleError::Truncated { at })
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Bytes behind their length, which has 1, 4 or 8 bytes.
    pub(super) fn sized(&mut self, opcode: u8) -> Result<&'a [u8], PickleError> {
        let length = match opcode {
            0x8c | b'U' | b'C' => self.byte()?.into(),
            0x8d | 0x8e => u64::from_le_bytes(self.array()?),
            _ => u32::from_le_bytes(self.array()?).into(),
        };
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// LONG1: little-endian two's complement of any length, of which 64 bits are taken.
    pub(super) fn long(&mut self) -> Result<i64, PickleError> {
        let length = self.byte()?.into();
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|last| *last >= 0x80);
        let mut number = if negative { [0xff; 8] } else { [0; 8] };
        match number.get_mut(..length) {
            Some(low) => low.copy_from_slice(bytes),
            None => return Err(self.malformed("an integer of more than 64 bits")),
        }
        Ok(i64::from_le_bytes(number))
    }

    pub(super) fn line(&mut self) -> Result<Arc<str>, PickleError> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().take(256).position(|byte| *byte == b'\n') else {
            return Err(self.malformed("a name without an end"));
        };
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into())
    }

    pub(super) fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { what, at: self.at }
    }

    pub(super) fn write_out(&self, id: Id, depth: usize, left: &mut usize) -> Result<Value, PickleError> {
        if depth >= self.limits.depth {
            return Err(PickleError::TooMuch { what: "levels", limit: self.limits.depth });
        }
        *left =
            left.checked_sub(1).ok_or(PickleError::TooMuch { what: "values", limit: self.limits.values })?;
        Ok(match &self.nodes[id] {
            Node::Leaf(value) => value.clone(),
            Node::List(items) => Value::List(self.write_all(items, depth, left)?),
            Node::Tuple(items) => Value::Tuple(self.write_all(items, depth, left)?),
            Node::Set(items) => Value::Set(self.write_all(items, depth, left)?),
            Node::Dict(pairs) => {
                let mut dict = Vec::new();
                for (key, value) in pairs {
                    let pair =
                        (self.write_out(*key, depth + 1, left)?, self.write_out(*value, depth + 1, left)?);
                    dict.push(pair);
                }
                Value::Dict(dict)
            }
            Node::Reduced { module, name, args } => Value::Reduced {
                module: module.clone(),
                name: name.clone(),
                args: self.write_all(args, depth, left)?,
            },
        })
    }

    pub(super) fn write_all(
        &self,
        ids: &[Id],
        depth: usize,
        left: &mut usize,
    ) -> Result<Vec<Value>, PickleError> {
        ids.iter().map(|id| self.write_out(*id, depth + 1, left)).collect()
    }
}

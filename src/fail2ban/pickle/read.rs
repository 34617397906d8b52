//! The stack machine that builds a [`Value`] from a pickle.
//!
//! Shape: instructions put nodes into an arena, and stack and memo hold indexes into it. Sharing is thus free
//! while reading (Python's memo refers to lists before they are filled), and nothing is copied until the end,
//! where the tree is written out under limits of its own: a pickle of a hundred bytes can describe a
//! tree of a billion nodes, or one that holds itself.

use std::sync::Arc;

use super::{PickleError, Value};

/// How large a pickle may become.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the pickle.
    pub bytes: usize,
    /// Instructions. 100,000 addresses take about 700,000.
    pub ops: usize,
    /// Entries of the memo. 100,000 addresses make 300,026.
    pub memo: usize,
    /// Values in the tree that comes out.
    pub values: usize,
    /// How deep values lie in each other.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: crate::fail2ban::codec::MAX_REPLY,
            ops: 4_000_000,
            memo: 1_000_000,
            values: 2_000_000,
            depth: 64,
        }
    }
}

/// Reads a whole pickle.
///
/// # Errors
/// If it is malformed, larger than [`Limits::default`], or uses an instruction outside the closed set.
pub fn read(bytes: &[u8]) -> Result<Value, PickleError> {
    read_within(bytes, Limits::default())
}

/// Reads a whole pickle within `limits`.
///
/// # Errors
/// As [`read`].
pub fn read_within(bytes: &[u8], limits: Limits) -> Result<Value, PickleError> {
    if bytes.len() > limits.bytes {
        return Err(PickleError::TooMuch { what: "bytes", limit: limits.bytes });
    }
    let mut machine =
        Machine { bytes, at: 0, limits, nodes: vec![], stack: vec![], marks: vec![], memo: vec![] };
    let root = machine.run()?;
    let mut left = limits.values;
    machine.write_out(root, 0, &mut left)
}

const PROTO: u8 = 0x80;

/// Index of a node in the arena.
type Id = usize;

enum Node {
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

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: Limits,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at each open MARK; nothing below the last one may be popped.
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, PickleError> {
        // Protocols 0 and 1 do not begin with PROTO. fail2ban never sends them.
        if self.bytes.first().is_some_and(|first| *first != PROTO) {
            return Err(self.malformed("it is of no protocol from 2 to 5"));
        }
        for _ in 0..self.limits.ops {
            let opcode = self.byte()?;
            if opcode == b'.' {
                if self.at != self.bytes.len() {
                    return Err(self.malformed("there are bytes behind its end"));
                }
                return self.pop();
            }
            self.step(opcode)?;
        }
        Err(PickleError::TooMuch { what: "instructions", limit: self.limits.ops })
    }

    /// One instruction. The names are those of Python's `pickletools`.
    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            PROTO => match self.byte()? {
                2..=5 if self.at == 2 => {}
                _ => return Err(self.malformed("it is of no protocol from 2 to 5")),
            },
            // FRAME: a hint for buffered readers.
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.leaf(Value::None),
            0x88 => self.leaf(Value::Bool(true)),
            0x89 => self.leaf(Value::Bool(false)),
            // BININT, BININT1, BININT2, LONG1, BINFLOAT
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.leaf(Value::Int(number.into()));
            }
            b'K' => {
                let number = self.byte()?;
                self.leaf(Value::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.leaf(Value::Int(number.into()));
            }
            0x8a => {
                let number = self.long()?;
                self.leaf(Value::Int(number));
            }
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.leaf(Value::Float(number));
            }
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8; SHORT_BINSTRING, BINSTRING are Python 2's texts
            0x8c | b'X' | 0x8d | b'U' | b'T' => {
                let text: Arc<str> = String::from_utf8_lossy(self.sized(opcode)?).into();
                self.leaf(Value::Str(text));
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8
            b'C' | b'B' | 0x8e => {
                let bytes: Arc<[u8]> = self.sized(opcode)?.into();
                self.leaf(Value::Bytes(bytes));
            }
            // EMPTY_LIST, EMPTY_DICT, EMPTY_SET, EMPTY_TUPLE, TUPLE1 to TUPLE3, TUPLE
            b']' => self.push(Node::List(vec![])),
            b'}' => self.push(Node::Dict(vec![])),
            0x8f => self.push(Node::Set(vec![])),
            b')' => self.push(Node::Tuple(vec![])),
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                let items = self.pop_from(first)?;
                self.push(Node::Tuple(items));
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Node::Tuple(items));
            }
            // APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.extend(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            // MEMOIZE, BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
            0x94 => self.remember(self.memo.len())?,
            b'q' => {
                let index = self.byte()?.into();
                self.remember(index)?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?) as usize;
                self.remember(index)?;
            }
            b'h' => {
                let index = self.byte()?.into();
                self.recall(index)?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?) as usize;
                self.recall(index)?;
            }
            // GLOBAL, STACK_GLOBAL: names only
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.leaf(Value::Global { module, name });
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.leaf(Value::Global { module, name });
            }
            b'R' => self.reduce()?,
            // BUILD: the attributes of an exception say nothing that its arguments do not.
            b'b' => {
                self.pop()?;
                match self.top()? {
                    Node::Reduced { .. } => {}
                    _ => return Err(self.malformed("attributes for something that is no object")),
                }
            }
            opcode => return Err(PickleError::Opcode { opcode, at: self.at - 1 }),
        }
        Ok(())
    }

    /// REDUCE: `str(text)` is the text, anything else stays a description of the call.
    fn reduce(&mut self) -> Result<(), PickleError> {
        let (args, callable) = (self.pop()?, self.pop()?);
        let (Node::Tuple(args), Node::Leaf(Value::Global { module, name })) =
            (&self.nodes[args], &self.nodes[callable])
        else {
            return Err(self.malformed("a call of something that has no name"));
        };
        if let ("builtins" | "__builtin__", "str" | "unicode", [text]) = (&**module, &**name, &args[..])
            && matches!(self.nodes[*text], Node::Leaf(Value::Str(_)))
        {
            self.stack.push(*text);
        } else {
            let node = Node::Reduced { module: module.clone(), name: name.clone(), args: args.clone() };
            self.push(node);
        }
        Ok(())
    }

    fn extend(&mut self, items: &[Id]) -> Result<(), PickleError> {
        match self.top()? {
            Node::List(list) | Node::Set(list) => list.extend_from_slice(items),
            _ => return Err(self.malformed("items for something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let (pairs, rest) = items.as_chunks::<2>();
        match self.top()? {
            Node::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)))
            }
            _ => return Err(self.malformed("pairs for something that is no dict")),
        }
        Ok(())
    }

    fn remember(&mut self, index: usize) -> Result<(), PickleError> {
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

    fn recall(&mut self, index: usize) -> Result<(), PickleError> {
        match self.memo.get(index) {
            Some(Some(id)) => self.stack.push(*id),
            _ => return Err(self.malformed("a memo entry that was never made")),
        }
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn leaf(&mut self, value: Value) {
        self.push(Node::Leaf(value));
    }

    fn top_id(&self) -> Result<Id, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or(self.malformed("the stack is empty"))
    }

    fn top(&mut self) -> Result<&mut Node, PickleError> {
        let top = self.top_id()?;
        Ok(&mut self.nodes[top])
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top_id()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_text(&mut self) -> Result<Arc<str>, PickleError> {
        let top = self.pop()?;
        match &self.nodes[top] {
            Node::Leaf(Value::Str(text)) => Ok(text.clone()),
            _ => Err(self.malformed("a name that is no text")),
        }
    }

    fn pop_from(&mut self, first: Option<usize>) -> Result<Vec<Id>, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match first {
            Some(first) if first >= floor => Ok(self.stack.split_off(first)),
            _ => Err(self.malformed("the stack is empty")),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or(self.malformed("no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return Err(PickleError::Truncated { at: self.bytes.len() }) };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let at = self.bytes.len();
        self.take(N)?.first_chunk().copied().ok_or(PickleError::Truncated { at })
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Bytes behind their length, which has 1, 4 or 8 bytes.
    fn sized(&mut self, opcode: u8) -> Result<&'a [u8], PickleError> {
        let length = match opcode {
            0x8c | b'U' | b'C' => self.byte()?.into(),
            0x8d | 0x8e => u64::from_le_bytes(self.array()?),
            _ => u32::from_le_bytes(self.array()?).into(),
        };
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// LONG1: little-endian two's complement of any length, of which 64 bits are taken.
    fn long(&mut self) -> Result<i64, PickleError> {
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

    fn line(&mut self) -> Result<Arc<str>, PickleError> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().take(256).position(|byte| *byte == b'\n') else {
            return Err(self.malformed("a name without an end"));
        };
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into())
    }

    fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { what, at: self.at }
    }

    fn write_out(&self, id: Id, depth: usize, left: &mut usize) -> Result<Value, PickleError> {
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

    fn write_all(&self, ids: &[Id], depth: usize, left: &mut usize) -> Result<Vec<Value>, PickleError> {
        ids.iter().map(|id| self.write_out(*id, depth + 1, left)).collect()
    }
}

//! The instructions: what each one does to the stack machine, under [`Limits`].
//!
//! The set is closed. A new one goes into `step`, with its name in `pickletools`, if a fail2ban was seen to send it;
//! never one that calls something, or looks something up outside the pickle.

use super::limits::Limits;
use super::machine::{Id, Machine, Node};
use super::{PickleError, Value};

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
    let mut machine = Machine::new(bytes, limits);
    let root = machine.run()?;
    let mut left = limits.values;
    machine.write_out(root, 0, &mut left)
}

const PROTO: u8 = 0x80;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, PickleError> {
        // Protocols 0 and 1 do not begin with PROTO. fail2ban never sends them.
        if self.bytes.first().is_some_and(|first| *first != PROTO) {
            return Err(self.malformed("its protocol is not one of 2 to 5"));
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
                _ => return Err(self.malformed("its protocol is not one of 2 to 5")),
            },
            // FRAME: a hint for buffered readers.
            0x95 => drop(self.take(8)?),
            b'(' => self.mark()?,
            b'N' => self.push_constant(Node::None)?,
            0x88 => self.push_constant(Node::Bool(true))?,
            0x89 => self.push_constant(Node::Bool(false))?,
            // BININT, BININT1, BININT2, LONG1, BINFLOAT
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(number.into()))?;
            }
            b'K' => {
                let number = self.byte()?;
                self.push(Node::Int(number.into()))?;
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Node::Int(number.into()))?;
            }
            0x8a => {
                let number = self.long()?;
                self.push(Node::Int(number))?;
            }
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(number))?;
            }
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8; SHORT_BINSTRING, BINSTRING are Python 2's texts
            0x8c | b'X' | 0x8d | b'U' | b'T' => {
                let text = self.sized(opcode)?;
                self.push(Node::Str(text))?;
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8
            b'C' | b'B' | 0x8e => {
                let bytes = self.sized(opcode)?;
                self.push(Node::Bytes(bytes))?;
            }
            // EMPTY_LIST, EMPTY_DICT, EMPTY_SET, EMPTY_TUPLE, TUPLE1 to TUPLE3, TUPLE
            b']' => self.push_list(Node::List)?,
            b'}' => self.push_list(Node::Dict)?,
            0x8f => self.push_list(Node::Set)?,
            b')' => self.push_tuple(&[])?,
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                let items = self.pop_from(first)?;
                self.push_tuple(&items)?;
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_tuple(&items)?;
            }
            // APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item], false)?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.extend(&items, false)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(&[key, value], true)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend(&items, true)?;
            }
            // MEMOIZE, BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
            0x94 => self.remember(self.remembered())?,
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
                self.push(Node::Global { module, name })?;
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.push(Node::Global { module, name })?;
            }
            b'R' => self.reduce()?,
            // BUILD: the attributes of an exception say nothing that its arguments do not.
            b'b' => {
                self.pop()?;
                match self.node(self.top_id()?) {
                    Node::Reduced { .. } => {}
                    _ => return Err(self.malformed("attributes for something that is no object")),
                }
            }
            opcode => return Err(PickleError::Opcode { opcode, at: self.at - 1 }),
        }
        Ok(())
    }

    /// REDUCE: `str(text)` becomes the text, anything else stays a description of the call.
    fn reduce(&mut self) -> Result<(), PickleError> {
        let (args, callable) = (self.pop()?, self.pop()?);
        let (Node::Tuple(items), Node::Global { module, name }) = (self.node(args), self.node(callable))
        else {
            return Err(self.malformed("a call of something that has no name"));
        };
        match self.items_of(items) {
            &[text] if matches!(self.node(text), Node::Str(_)) && self.is_str(module, name) => {
                self.push_id(text)
            }
            _ => self.push(Node::Reduced { callable, args }),
        }
    }

    fn is_str(&self, module: Id, name: Id) -> bool {
        let (Node::Str(module), Node::Str(name)) = (self.node(module), self.node(name)) else { return false };
        let (module, name) = (self.text_at(module), self.text_at(name));
        matches!((&*module, &*name), ("builtins" | "__builtin__", "str" | "unicode"))
    }
}

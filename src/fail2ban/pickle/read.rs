//! The instructions: what each one does to the stack machine, under [`Limits`].
//!
//! The set is closed. One more goes into `step`, with its name in `pickletools`, if a fail2ban was seen to send it;
//! one that calls something, or looks something up outside the pickle, never does.

use std::sync::Arc;

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
}

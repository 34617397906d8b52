//! The last step of reading: builds the tree that the nodes describe, under separate limits.

use std::sync::Arc;

use super::{Id, Machine, Node, Range};
use crate::fail2ban::pickle::{Call, Name, PickleError, Value};

impl Machine<'_> {
    fn text(&mut self, id: Id, range: Range) -> Result<Arc<str>, PickleError> {
        if let Some(Some(text)) = self.texts.get(&id) {
            return Ok(Arc::clone(text));
        }
        let text = self.text_at(range);
        // An `Arc` has two counters in front of its content.
        self.charge(2 * size_of::<usize>() + text.len())?;
        let text: Arc<str> = text.into();
        if let Some(known) = self.texts.get_mut(&id) {
            *known = Some(Arc::clone(&text));
        }
        Ok(text)
    }

    fn name(&mut self, module: Id, name: Id) -> Result<Name, PickleError> {
        let mut text = |id| match self.node(id) {
            Node::Str(range) => self.text(id, range),
            _ => Err(self.malformed("a name that is not text")),
        };
        Ok(Name { module: text(module)?, name: text(name)? })
    }

    pub(in crate::fail2ban::pickle) fn write_out(
        &mut self,
        id: Id,
        depth: usize,
        left: &mut usize,
    ) -> Result<Value, PickleError> {
        if depth >= self.limits.depth {
            return Err(PickleError::TooMuch { what: "levels", limit: self.limits.depth });
        }
        *left =
            left.checked_sub(1).ok_or(PickleError::TooMuch { what: "values", limit: self.limits.values })?;
        self.charge(size_of::<Value>())?;
        Ok(match self.node(id) {
            Node::None => Value::None,
            Node::Bool(truth) => Value::Bool(truth),
            Node::Int(number) => Value::Int(number),
            Node::Float(number) => Value::Float(number),
            Node::Str(range) => Value::Str(self.text(id, range)?),
            Node::Bytes(range) => {
                self.charge(2 * size_of::<usize>() + range.length as usize)?;
                Value::Bytes(range.of(self.bytes).into())
            }
            Node::Global { module, name } => {
                self.charge(size_of::<Name>())?;
                Value::Global(Box::new(self.name(module, name)?))
            }
            Node::Tuple(range) => Value::Tuple(self.write_tuple(range, depth, left)?),
            Node::List(list) => Value::List(self.write_list(list, depth, left)?),
            Node::Set(list) => Value::Set(self.write_list(list, depth, left)?),
            Node::Dict(list) => {
                let mut items = self.write_list(list, depth, left)?.into_iter();
                let mut dict = Vec::with_capacity(items.len() / 2);
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    dict.push((key, value));
                }
                Value::Dict(dict)
            }
            Node::Reduced { callable, args } => {
                let (Node::Global { module, name }, Node::Tuple(args)) =
                    (self.node(callable), self.node(args))
                else {
                    return Err(self.malformed("a call of something that has no name"));
                };
                self.charge(size_of::<Call>())?;
                let name = self.name(module, name)?;
                Value::Reduced(Box::new(Call { name, args: self.write_tuple(args, depth, left)? }))
            }
        })
    }

    fn write_tuple(
        &mut self,
        range: Range,
        depth: usize,
        left: &mut usize,
    ) -> Result<Vec<Value>, PickleError> {
        let mut items = Vec::with_capacity(range.length as usize);
        for at in 0..range.length as usize {
            let Some(id) = range.of(&self.parts).get(at).copied() else { break };
            items.push(self.write_out(id, depth + 1, left)?);
        }
        Ok(items)
    }

    fn write_list(&mut self, list: u32, depth: usize, left: &mut usize) -> Result<Vec<Value>, PickleError> {
        let mut items = Vec::with_capacity(self.lists.get(list as usize).map_or(0, Vec::len));
        let mut at = 0;
        while let Some(id) = self.lists.get(list as usize).and_then(|list| list.get(at)).copied() {
            items.push(self.write_out(id, depth + 1, left)?);
            at += 1;
        }
        Ok(items)
    }
}

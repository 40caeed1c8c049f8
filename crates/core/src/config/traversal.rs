//! Evaluates `local.hosts[0].name`, `host.rack1`, `vm.web[1]`.

use std::ops::Range;

use hcl_edit::{
    Decorated, Ident, Span,
    expr::{Expression, Traversal, TraversalOperator},
};

use super::{
    evaluate::Scope,
    problem::{Reported, did_you_mean},
    value::Value,
    world::REFERABLE,
};

impl Scope<'_> {
    /// Returns what `root.name[index]…` comes to.
    pub(super) fn traversal(self, traversal: &Traversal) -> Result<Value, Reported> {
        let operators: Vec<_> = traversal.operators.iter().map(Decorated::value).collect();
        let Expression::Variable(root) = &traversal.expr else {
            let value = self.evaluate(&traversal.expr)?;
            return self.walk(value, &operators);
        };
        let root_span = traversal.expr.span().unwrap_or_default();
        let root = root.as_str();
        if let Some(value) = self.bound(root) {
            return self.walk(value.clone(), &operators);
        }
        if self.closed {
            return Err(self.not_given(root, root_span));
        }
        let Some((TraversalOperator::GetAttr(name), rest)) = operators.split_first() else {
            return self.bare(&Ident::new_sanitized(root), root_span);
        };
        let span = root_span.start..name.span().map_or(root_span.end, |span| span.end);
        let name = name.as_str();
        match root {
            "var" => self.walk(self.world.named(self.source, &span, "var", name)?, rest),
            "local" => self.walk(self.world.named(self.source, &span, "local", name)?, rest),
            "count" => self.walk(self.count(name, span)?, rest),
            _ => match REFERABLE.iter().find(|kind| **kind == root) {
                Some(kind) => self.reference(kind, name, rest, span),
                None => Err(self.unknown_root(root, root_span)),
            },
        }
    }

    fn unknown_root(self, root: &str, span: Range<usize>) -> Reported {
        let later = ["each", "self", "module", "data", "path", "record", "output", "pool", "fleet"];
        if later.contains(&root) {
            let message = format!("`{root}.…` is not supported yet");
            return self.world.report.add(self.source.problem(span, message));
        }
        let problem = self.source.problem(span, format!("there is no `{root}` to refer to"));
        let roots = REFERABLE.into_iter().chain(["var", "local", "count"]);
        self.world.report.add(problem.maybe_hint(did_you_mean(root, roots)))
    }

    fn count(self, name: &str, span: Range<usize>) -> Result<Value, Reported> {
        let add = |message: String| Err(self.world.report.add(self.source.problem(span, message)));
        match (name, self.count) {
            ("index", Some(count)) => {
                count.asked.set(true);
                Ok(Value::Number(count.index.into()))
            }
            ("index", None) => add("`count.index` is known in a vm with `count` only".to_owned()),
            _ => add(format!("there is no `count.{name}`, only `count.index`")),
        }
    }

    fn reference(
        self,
        kind: &'static str,
        name: &str,
        rest: &[&TraversalOperator],
        span: Range<usize>,
    ) -> Result<Value, Reported> {
        let (index, rest) = match rest.split_first() {
            Some((TraversalOperator::LegacyIndex(index), rest)) => (Some(*index.value()), rest),
            Some((TraversalOperator::Index(expression), rest)) => {
                match self.evaluate(expression)? {
                    Value::Number(number) if number.as_u64().is_some() => (number.as_u64(), rest),
                    other => {
                        let message = format!("expected an index, got {}", other.what());
                        return Err(self.fail(expression, message));
                    }
                }
            }
            _ => (None, rest),
        };
        let value = self.world.reference(self.source, span.clone(), kind, name, index)?;
        let Some(operator) = rest.first() else {
            return Ok(value);
        };
        let end = operator.span().map_or(span.end, |span| span.end);
        let what = match operator {
            TraversalOperator::GetAttr(attribute) => format!("`{kind}.{name}.{attribute}`"),
            _ => format!("a part of `{kind}.{name}`"),
        };
        let message = format!("{what} cannot be used here: only `{kind}.{name}` itself can");
        let hint = match kind {
            "vm" => {
                "what is decided in the plan is not known while the text is read: give the \
                     nic an `address`, and use the same value in both places by `locals`"
            }
            _ => "put the value into `locals` and use it in both places",
        };
        let problem = self.source.problem(span.start..end, message);
        Err(self.world.report.add(problem.hint(hint)))
    }

    /// Follows `.name`, `[index]` and splats into a value.
    fn walk(self, mut value: Value, operators: &[&TraversalOperator]) -> Result<Value, Reported> {
        let mut operators = operators.iter();
        while let Some(operator) = operators.next() {
            value = match operator {
                TraversalOperator::GetAttr(name) => self.member(value, name.as_str(), *operator)?,
                TraversalOperator::LegacyIndex(index) => {
                    self.element(value, Some(*index.value()), *operator)?
                }
                TraversalOperator::Index(expression) => match self.evaluate(expression)? {
                    Value::Number(number) => self.element(value, number.as_u64(), *operator)?,
                    Value::Text(key) if key.outside => match value {
                        Value::Object(mut object) => object.remove(&key.text).ok_or_else(|| {
                            self.fail(*operator, "there is no such key in this object")
                        })?,
                        other => {
                            let message = format!("expected an object, got {}", other.what());
                            return Err(self.fail(*operator, message));
                        }
                    },
                    Value::Text(key) => self.member(value, &key.text, *operator)?,
                    other => {
                        let message = format!("expected an index, got {}", other.what());
                        return Err(self.fail(expression, message));
                    }
                },
                TraversalOperator::AttrSplat(_) => {
                    // It takes the attributes that follow; an index is for the whole list again.
                    let rest = operators.as_slice();
                    let attribute =
                        |o: &&&TraversalOperator| matches!(**o, TraversalOperator::GetAttr(_));
                    let taken = rest.iter().take_while(attribute).count();
                    operators = rest[taken..].iter();
                    self.splat(value, &rest[..taken])?
                }
                TraversalOperator::FullSplat(_) => {
                    let rest = operators.as_slice();
                    operators = [].iter();
                    self.splat(value, rest)?
                }
            };
        }
        Ok(value)
    }

    fn splat(self, value: Value, rest: &[&TraversalOperator]) -> Result<Value, Reported> {
        let list = match value {
            Value::List(list) => list,
            Value::Null => Vec::new(),
            one => vec![one],
        };
        let each = list.into_iter().map(|value| self.walk(value, rest));
        each.collect::<Result<_, _>>().map(Value::List)
    }

    fn member(self, value: Value, name: &str, at: &impl Span) -> Result<Value, Reported> {
        let Value::Object(mut object) = value else {
            let message = format!("expected an object with `{name}`, got {}", value.what());
            return Err(self.fail(at, message));
        };
        object.remove(name).ok_or_else(|| {
            let problem = self.problem(at, format!("there is no `{name}` in this object"));
            let hint = did_you_mean(name, object.keys().map(String::as_str));
            self.world.report.add(problem.maybe_hint(hint))
        })
    }

    fn element(self, value: Value, index: Option<u64>, at: &impl Span) -> Result<Value, Reported> {
        let Value::List(mut list) = value else {
            return Err(self.fail(at, format!("expected a list, got {}", value.what())));
        };
        match index.and_then(|index| usize::try_from(index).ok()) {
            Some(index) if index < list.len() => Ok(list.swap_remove(index)),
            _ => Err(self.fail(at, format!("the list has {} elements", list.len()))),
        }
    }
}

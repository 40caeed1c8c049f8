//! Evaluates expressions. We do it ourselves on the parser's tree, since every mistake has to point
//! at its own place and no message may show what the environment holds.

use std::{cell::Cell, collections::BTreeMap, ops::Range};

use hcl_edit::{
    Ident, Span,
    expr::{Array, Conditional, Expression, ForExpr, FuncCall, Object, ObjectKey},
};

use super::{
    functions,
    operation::{binary, unary},
    problem::{Problem, Reported, did_you_mean},
    source::Source,
    value::Value,
    world::World,
};

/// What an expression of one place can see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'s> {
    pub(super) world: &'s World<'s>,
    pub(super) source: &'s Source,
    pub(super) count: Option<&'s Count>,
    bindings: Option<&'s Binding<'s>>,
    /// Whether it sees nothing but its bindings, as a template file does.
    pub(super) closed: bool,
}

/// `count.index`, and whether anybody asked for it.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) index: usize,
    pub(super) asked: Cell<bool>,
}

/// A name bound by `for` or given to a template.
#[derive(Debug)]
pub(super) struct Binding<'s> {
    pub(super) name: &'s str,
    pub(super) value: Value,
    pub(super) outer: Option<&'s Self>,
}

impl<'s> Scope<'s> {
    /// Makes the scope of a file's text; `count` within a VM that has one.
    pub(super) fn new(world: &'s World<'s>, source: &'s Source, count: Option<&'s Count>) -> Self {
        Self { world, source, count, bindings: None, closed: false }
    }

    /// Makes the scope of a template file, which sees what it was given.
    pub(super) fn closed(self, source: &'s Source, bindings: Option<&'s Binding<'s>>) -> Self {
        Self { source, bindings, count: None, closed: true, ..self }
    }

    /// Returns the value, or reports why there is none.
    pub(super) fn evaluate(self, expression: &Expression) -> Result<Value, Reported> {
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(value) => Ok(Value::Bool(*value.value())),
            Expression::Number(number) => Ok(Value::Number(*number.value())),
            Expression::String(text) => Ok(Value::text(text.value())),
            Expression::Array(array) => self.list(array),
            Expression::Object(object) => self.object(object),
            Expression::StringTemplate(template) => self.template(template),
            Expression::HeredocTemplate(heredoc) => self.template(&heredoc.template),
            Expression::Parenthesis(inner) => self.evaluate(inner.inner()),
            Expression::Variable(name) => self.bare(name, expression.span().unwrap_or_default()),
            Expression::Conditional(conditional) => self.conditional(conditional),
            Expression::FuncCall(call) => self.call(call),
            Expression::Traversal(traversal) => self.traversal(traversal),
            Expression::UnaryOp(operation) => {
                let value = self.evaluate(&operation.expr)?;
                unary(*operation.operator.value(), &value)
                    .map_err(|message| self.fail(expression, message))
            }
            Expression::BinaryOp(operation) => {
                let left = self.evaluate(&operation.lhs_expr);
                let right = self.evaluate(&operation.rhs_expr);
                binary(&left?, *operation.operator.value(), &right?)
                    .map_err(|message| self.fail(expression, message))
            }
            Expression::ForExpr(expression) => self.for_expression(expression),
        }
    }

    /// Reports a mistake of an expression.
    pub(super) fn fail(self, at: &impl Span, message: impl Into<String>) -> Reported {
        self.world.report.add(self.problem(at, message))
    }

    /// Makes a problem of an expression.
    pub(super) fn problem(self, at: &impl Span, message: impl Into<String>) -> Problem {
        self.source.problem(at.span().unwrap_or_default(), message)
    }

    fn list(self, array: &Array) -> Result<Value, Reported> {
        // All elements are looked at before the first mistake counts.
        let values: Vec<_> = array.iter().map(|element| self.evaluate(element)).collect();
        values.into_iter().collect::<Result<_, _>>().map(Value::List)
    }

    fn object(self, object: &Object) -> Result<Value, Reported> {
        let mut values = BTreeMap::new();
        let mut failed = None;
        for (key, value) in object {
            let name = match key {
                ObjectKey::Ident(ident) => Ok(ident.as_str().to_owned()),
                ObjectKey::Expression(expression) => self.key(expression),
            };
            match (name, self.evaluate(value.expr())) {
                (Ok(name), Ok(value)) => {
                    if values.insert(name, value).is_some() {
                        failed = Some(self.fail(key, "this key is given twice in the object"));
                    }
                }
                (Err(reported), _) | (_, Err(reported)) => failed = Some(reported),
            }
        }
        failed.map_or(Ok(Value::Object(values)), Err)
    }

    fn key(self, expression: &Expression) -> Result<String, Reported> {
        let value = self.evaluate(expression)?;
        match value.in_text() {
            Some(text) => Ok(text.text),
            None => Err(self.fail(expression, format!("expected a text, got {}", value.what()))),
        }
    }

    fn conditional(self, conditional: &Conditional) -> Result<Value, Reported> {
        if self.condition(&conditional.cond_expr)? {
            self.evaluate(&conditional.true_expr)
        } else {
            self.evaluate(&conditional.false_expr)
        }
    }

    /// Returns whether a condition holds.
    pub(super) fn condition(self, expression: &Expression) -> Result<bool, Reported> {
        match self.evaluate(expression)? {
            Value::Bool(value) => Ok(value),
            other => {
                Err(self.fail(expression, format!("expected true or false, got {}", other.what())))
            }
        }
    }

    fn call(self, call: &FuncCall) -> Result<Value, Reported> {
        let mut arguments = Vec::new();
        let mut failed = None;
        let last = call.args.len().saturating_sub(1);
        for (index, argument) in call.args.iter().enumerate() {
            match self.evaluate(argument) {
                Ok(Value::List(list)) if index == last && call.args.expand_final() => {
                    arguments.extend(list);
                }
                Ok(value) => arguments.push(value),
                Err(reported) => failed = Some(reported),
            }
        }
        let name = call.name.name.as_str();
        let known = if call.name.is_namespaced() { None } else { functions::named(name) };
        let Some(function) = known else {
            let problem = self.problem(&call.name.name, format!("there is no function `{name}`"));
            let hint = did_you_mean(name, functions::FUNCTIONS.iter().map(|f| f.name));
            return Err(self.world.report.add(problem.maybe_hint(hint)));
        };
        match failed {
            Some(reported) => Err(reported),
            None => function.call(self, call, &arguments),
        }
    }

    fn for_expression(self, expression: &ForExpr) -> Result<Value, Reported> {
        let intro = &expression.intro;
        let items = self.items(&intro.collection_expr)?;
        let mut list = Vec::new();
        let mut object = BTreeMap::new();
        for (key, value) in items {
            let key_name = intro.key_var.as_ref().map_or("", |name| name.as_str());
            let outer = Binding { name: key_name, value: key, outer: self.bindings };
            let binding = Binding { name: intro.value_var.as_str(), value, outer: Some(&outer) };
            let scope = Scope { bindings: Some(&binding), ..self };
            if let Some(condition) = &expression.cond
                && !scope.condition(&condition.expr)?
            {
                continue;
            }
            let value = scope.evaluate(&expression.value_expr)?;
            let Some(key_expression) = &expression.key_expr else {
                list.push(value);
                continue;
            };
            let key = scope.key(key_expression)?;
            if expression.grouping {
                let group = object.entry(key).or_insert_with(|| Value::List(Vec::new()));
                if let Value::List(group) = group {
                    group.push(value);
                }
            } else if object.insert(key, value).is_some() {
                return Err(self.fail(key_expression, "this `for` gives a key twice"));
            }
        }
        let is_object = expression.key_expr.is_some();
        Ok(if is_object { Value::Object(object) } else { Value::List(list) })
    }

    /// Returns what a `for` walks over.
    pub(super) fn items(self, collection: &Expression) -> Result<Vec<(Value, Value)>, Reported> {
        match self.evaluate(collection)? {
            Value::List(list) => {
                let number = |index: usize| Value::Number(index.into());
                Ok(list.into_iter().enumerate().map(|(i, value)| (number(i), value)).collect())
            }
            Value::Object(object) => {
                Ok(object.into_iter().map(|(key, value)| (Value::text(key), value)).collect())
            }
            other => {
                let message = format!("expected a list or an object, got {}", other.what());
                Err(self.fail(collection, message))
            }
        }
    }

    /// Returns the scope with `for`'s names bound.
    pub(super) fn with(self, binding: &'s Binding<'s>) -> Self {
        Scope { bindings: Some(binding), ..self }
    }

    /// Returns the innermost binding.
    pub(super) fn bindings(self) -> Option<&'s Binding<'s>> {
        self.bindings
    }

    /// Returns the value bound to a name.
    pub(super) fn bound(self, name: &str) -> Option<&'s Value> {
        let mut binding = self.bindings;
        while let Some(here) = binding {
            if here.name == name {
                return Some(&here.value);
            }
            binding = here.outer;
        }
        None
    }

    /// Returns what a name by itself comes to.
    pub(super) fn bare(self, name: &Ident, span: Range<usize>) -> Result<Value, Reported> {
        let name = name.as_str();
        if let Some(value) = self.bound(name) {
            return Ok(value.clone());
        }
        if self.closed {
            return Err(self.not_given(name, span));
        }
        let problem = self.source.problem(span, format!("`{name}` is no value"));
        let hint = match self.world.meant_by(name) {
            Some(reference) => format!("did you mean `{reference}`?"),
            None => "a text stands in quotes".to_owned(),
        };
        Err(self.world.report.add(problem.hint(hint)))
    }

    /// Reports that a template lacks a name.
    pub(super) fn not_given(self, name: &str, span: Range<usize>) -> Reported {
        let problem = self.source.problem(span, format!("the template is not given `{name}`"));
        let hint = format!("add it to the second argument: `{name} = …`");
        self.world.report.add(problem.hint(hint))
    }

    /// Runs an evaluation and says whether it asked for `count.index`.
    pub(super) fn asks_for_index<T>(self, evaluate: impl FnOnce() -> T) -> (T, bool) {
        let Some(count) = self.count else { return (evaluate(), false) };
        let before = count.asked.replace(false);
        let value = evaluate();
        let asked = count.asked.get();
        count.asked.set(before || asked);
        (value, asked)
    }
}

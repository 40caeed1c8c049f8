//! Templates: `"${…}"`, heredocs, and the files of `templatefile`.

use hcl_edit::template::{Directive, Element, ForDirective, IfDirective, Strip, Template};

use super::{
    evaluate::{Binding, Scope},
    problem::Reported,
    value::{Text, Value},
};

impl Scope<'_> {
    /// Returns what a quoted template comes to. One that is a single `${…}` keeps its type.
    pub(super) fn template(self, template: &Template) -> Result<Value, Reported> {
        match template.as_single_element() {
            Some(Element::Interpolation(only)) => self.evaluate(&only.expr),
            _ => self.text(template).map(Value::Text),
        }
    }

    /// Returns the text of a template.
    pub(super) fn text(self, template: &Template) -> Result<Text, Reported> {
        let mut text = Text::default();
        self.write(&mut text, template, Strip::None, Strip::None)?;
        Ok(text)
    }

    fn write(
        self,
        text: &mut Text,
        template: &Template,
        before: Strip,
        after: Strip,
    ) -> Result<(), Reported> {
        let mut failed = None;
        let mut elements = template.iter().peekable();
        let mut previous = before;
        while let Some(element) = elements.next() {
            let next = elements.peek().map_or(after, |element| strip(element).0);
            let written = match element {
                Element::Literal(literal) => {
                    text.text.push_str(stripped(literal, previous, next));
                    Ok(())
                }
                Element::Interpolation(inner) => self.interpolate(text, &inner.expr),
                Element::Directive(directive) => match directive.as_ref() {
                    Directive::If(directive) => self.write_if(text, directive),
                    Directive::For(directive) => self.write_for(text, directive),
                },
            };
            failed = written.err().or(failed);
            previous = strip(element).1;
        }
        failed.map_or(Ok(()), Err)
    }

    fn interpolate(
        self,
        text: &mut Text,
        expression: &hcl_edit::expr::Expression,
    ) -> Result<(), Reported> {
        let value = self.evaluate(expression)?;
        let Some(part) = value.in_text() else {
            let message = format!("{} cannot be part of a text", value.what());
            return Err(self.fail(expression, message));
        };
        text.push(&part);
        Ok(())
    }

    fn write_if(self, text: &mut Text, directive: &IfDirective) -> Result<(), Reported> {
        let first = &directive.if_expr;
        let last = directive.endif_expr.strip;
        if self.condition(&first.cond_expr)? {
            let after = directive.else_expr.as_ref().map_or(last, |other| other.strip);
            self.write(text, &first.template, first.strip, after)
        } else if let Some(other) = &directive.else_expr {
            self.write(text, &other.template, other.strip, last)
        } else {
            Ok(())
        }
    }

    fn write_for(self, text: &mut Text, directive: &ForDirective) -> Result<(), Reported> {
        let head = &directive.for_expr;
        for (key, value) in self.items(&head.collection_expr)? {
            let name = head.key_var.as_ref().map_or("", |name| name.as_str());
            let outer = Binding { name, value: key, outer: self.bindings() };
            let binding = Binding { name: head.value_var.as_str(), value, outer: Some(&outer) };
            let scope = self.with(&binding);
            scope.write(text, &head.template, head.strip, directive.endfor_expr.strip)?;
        }
        Ok(())
    }
}

/// Returns how an element strips the text before it, and the text after it.
fn strip(element: &Element) -> (Strip, Strip) {
    match element {
        Element::Literal(_) => (Strip::None, Strip::None),
        Element::Interpolation(inner) => (inner.strip, inner.strip),
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(directive) => (directive.if_expr.strip, directive.endif_expr.strip),
            Directive::For(directive) => (directive.for_expr.strip, directive.endfor_expr.strip),
        },
    }
}

/// Takes away blanks up to and including a line end, where a `~` beside the text says so.
fn stripped(mut text: &str, before: Strip, after: Strip) -> &str {
    let blank = |c: char| c.is_whitespace() && c != '\r' && c != '\n';
    if before.strip_end() {
        text = text.trim_start_matches(blank);
        text = text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n')).unwrap_or(text);
    }
    if after.strip_start() {
        text = text.trim_end_matches(blank);
        text = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text);
    }
    text
}

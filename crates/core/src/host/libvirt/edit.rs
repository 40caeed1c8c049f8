//! Changes an XML document in places; whatever is not named stays byte for byte.
//!
//! A tree that is written anew would not do: `xmltree` forgets the namespaces of attributes and the
//! white space between elements, and both may be another tool's business.

use std::{borrow::Cow, fmt::Display, ops::Range};

use roxmltree::{Attribute, Node};

use super::xml::Tag;
use crate::host::trouble::Trouble;

/// What is to be changed in a document.
pub(super) struct Edits<'a> {
    text: &'a str,
    splices: Vec<(Range<usize>, String)>,
}

impl<'a> Edits<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, splices: Vec::new() }
    }

    fn splice(&mut self, range: Range<usize>, with: impl Into<String>) {
        self.splices.push((range, with.into()));
    }

    /// Sets an attribute, there or not, unless it has that value.
    pub(super) fn set(&mut self, node: Node<'_, '_>, name: &str, value: impl Display) {
        let value = value.to_string();
        let text = format!("{name}='{}'", escaped(&value));
        match own_attribute(node, name) {
            Some(there) if there.value() == value => {}
            Some(there) => self.splice(there.range(), text),
            None => {
                let at = self.end_of_name(node);
                self.splice(at..at, format!(" {text}"));
            }
        }
    }

    /// Drops an attribute, there or not.
    pub(super) fn unset(&mut self, node: Node<'_, '_>, name: &str) {
        if let Some(there) = own_attribute(node, name) {
            let Range { start, end } = there.range();
            let before = self.text[..start].trim_end().len();
            self.splice(before..end, "");
        }
    }

    /// Sets the text of an element that has some, unless it is that.
    pub(super) fn set_text(&mut self, node: Node<'_, '_>, value: impl Display) {
        let value = value.to_string();
        if node.text().is_some_and(|text| text.trim() == value) {
            return;
        }
        let (Some(first), Some(last)) = (node.first_child(), node.last_child()) else { return };
        self.splice(first.range().start..last.range().end, escaped(&value));
    }

    /// Puts another element in an element's place.
    pub(super) fn replace(&mut self, node: Node<'_, '_>, tag: &Tag) -> Result<(), Trouble> {
        self.splice(node.range(), tag.xml()?);
        Ok(())
    }

    /// Takes an element away, with the white space before it.
    pub(super) fn remove(&mut self, node: Node<'_, '_>) {
        let Range { start, end } = node.range();
        let before = self.text[..start].trim_end().len();
        self.splice(before..end, "");
    }

    /// Puts an element right behind another.
    pub(super) fn put_after(&mut self, node: Node<'_, '_>, tag: &Tag) -> Result<(), Trouble> {
        let at = node.range().end;
        self.splice(at..at, format!("\n{}", tag.xml()?));
        Ok(())
    }

    /// Puts an element behind the last one in a parent.
    pub(super) fn append(&mut self, parent: Node<'_, '_>, tag: &Tag) -> Result<(), Trouble> {
        if let Some(last) = parent.last_element_child() {
            return self.put_after(last, tag);
        }
        let end = parent.range().end;
        let whole = &self.text[parent.range()];
        if whole.ends_with("/>") {
            let name = &self.text[parent.range().start + 1..self.end_of_name(parent)];
            let (close, new) = (format!("\n</{name}>"), format!("\n{}", tag.xml()?));
            let opened = self.splices.iter_mut().find(|(range, _)| *range == (end - 2..end));
            match opened {
                // It is empty no more.
                Some((_, with)) => with.insert_str(with.len() - close.len(), &new),
                None => self.splice(end - 2..end, format!(">{new}{close}")),
            }
        } else {
            let at = parent.range().start + whole.rfind("</").unwrap_or(whole.len());
            self.splice(at..at, format!("\n{}\n", tag.xml()?));
        }
        Ok(())
    }

    fn end_of_name(&self, node: Node<'_, '_>) -> usize {
        let start = node.range().start + 1;
        let name = self.text[start..].find(|c: char| c.is_whitespace() || "/>".contains(c));
        start + name.unwrap_or_default()
    }

    /// Returns the document as changed; `None` when there is nothing to change.
    pub(super) fn written(mut self) -> Option<String> {
        if self.splices.is_empty() {
            return None;
        }
        // What is put in one place keeps its order.
        self.splices.sort_by_key(|(range, _)| range.start);
        let mut written = String::with_capacity(self.text.len());
        let mut done = 0;
        for (range, with) in self.splices {
            written.push_str(&self.text[done..range.start.max(done)]);
            written.push_str(&with);
            done = range.end.max(done);
        }
        written.push_str(&self.text[done..]);
        Some(written)
    }
}

/// Finds an attribute that is in no namespace.
fn own_attribute<'x, 'a>(node: Node<'x, 'a>, name: &str) -> Option<Attribute<'x, 'a>> {
    node.attributes().find(|there| there.namespace().is_none() && there.name() == name)
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '\'', '"']) {
        return Cow::Borrowed(text);
    }
    let written = text.chars().map(|c| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '\'' => "&apos;".to_owned(),
        '"' => "&quot;".to_owned(),
        c => c.to_string(),
    });
    Cow::Owned(written.collect())
}

#[cfg(test)]
mod tests {
    use super::{
        super::xml::{parsed, tag},
        *,
    };

    const TEXT: &str = "<a x='1' n:y='2' xmlns:n='urn:n'>\n  <b>one</b>\n  <!-- c --><c/>\n</a>";

    fn edited(edit: impl FnOnce(&mut Edits<'_>, Node<'_, '_>)) -> String {
        let document = parsed(TEXT).unwrap();
        let mut edits = Edits::of(TEXT);
        edit(&mut edits, document.root_element());
        edits.written().unwrap_or_else(|| TEXT.to_owned())
    }

    fn child<'a, 'b>(root: Node<'a, 'b>, name: &str) -> Node<'a, 'b> {
        root.children().find(|node| node.has_tag_name(name)).unwrap()
    }

    #[test]
    fn only_what_is_named_changes() {
        let text = edited(|edits, root| {
            edits.set(root, "x", "1");
            edits.set(root, "z", "<&'");
            edits.unset(root, "none");
            edits.set_text(child(root, "b"), "one");
        });
        assert_eq!(text, TEXT.replace("<a x", "<a z='&lt;&amp;&apos;' x"));
    }

    #[test]
    fn elements_come_and_go() {
        let text = edited(|edits, root| {
            edits.unset(root, "x");
            edits.set_text(child(root, "b"), 2);
            edits.put_after(child(root, "b"), &tag("d")).unwrap();
            edits.put_after(child(root, "b"), &tag("e")).unwrap();
            edits.append(child(root, "c"), &tag("f")).unwrap();
            edits.append(child(root, "c"), &tag("g")).unwrap();
        });
        let body = "<b>2</b>\n<d />\n<e />\n  <!-- c --><c>\n<f />\n<g />\n</c>";
        assert_eq!(text, format!("<a n:y='2' xmlns:n='urn:n'>\n  {body}\n</a>"));
        let text = edited(|edits, root| {
            edits.remove(child(root, "b"));
            edits.replace(child(root, "c"), &tag("g").with("h", "i")).unwrap();
        });
        assert_eq!(text, "<a x='1' n:y='2' xmlns:n='urn:n'>\n  <!-- c --><g h=\"i\" />\n</a>");
    }

    #[test]
    fn nothing_to_change_is_nothing() {
        let document = parsed(TEXT).unwrap();
        let mut edits = Edits::of(TEXT);
        edits.set(document.root_element(), "x", 1);
        edits.unset(document.root_element(), "y");
        assert_eq!(edits.written(), None);
    }
}

//! Builds and reads XML as trees, never as text, and knows our mark.
//!
//! What libvirt says is read where it lies (`roxmltree`): a plan reads thousands of definitions, and a
//! tree of copies (`xmltree`, which builds ours) takes six times as long.

use std::{collections::BTreeMap, fmt::Display};

use roxmltree::{Document, ExpandedName, Node, TextPos};
use xmltree::{Element, Namespace, XMLNode};

use crate::{
    host::trouble::Trouble,
    model::{Digest, DiskName, Mark},
};

/// The XML namespace of our mark.
pub(super) const MARK: &str = "urn:freehold:mark:1";
pub(super) const PREFIX: &str = "freehold";

/// The attribute of a domain's mark that names the MACs of the interfaces that are ours.
pub(super) const NICS: &str = "nics";

/// An element being built.
pub(super) struct Tag(Element);

pub(super) fn tag(name: &str) -> Tag {
    Tag(Element::new(name))
}

impl Tag {
    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.attributes.insert(name.to_owned(), format!("{value}"));
        self
    }

    pub(super) fn text(mut self, text: impl Display) -> Self {
        self.0.children.push(XMLNode::Text(format!("{text}")));
        self
    }

    pub(super) fn child(mut self, child: Self) -> Self {
        self.0.children.push(XMLNode::Element(child.0));
        self
    }

    pub(super) fn children(self, children: impl IntoIterator<Item = Self>) -> Self {
        children.into_iter().fold(self, Self::child)
    }

    /// Declares a namespace for this element and those in it.
    pub(super) fn namespace(mut self, prefix: &str, uri: &str) -> Self {
        let mut namespaces = self.0.namespaces.take().unwrap_or_else(Namespace::empty);
        namespaces.put(prefix, uri);
        self.0.namespaces = Some(namespaces);
        self
    }

    /// Puts this element itself into a namespace.
    pub(super) fn within(mut self, prefix: &str) -> Self {
        self.0.prefix = Some(prefix.to_owned());
        self
    }

    /// Takes this element out of its namespace.
    pub(super) fn bare(mut self) -> Self {
        (self.0.prefix, self.0.namespaces) = (None, None);
        self
    }

    /// Says whether an element has the same attributes, and no others.
    pub(super) fn has_attributes_of(&self, there: Node<'_, '_>) -> bool {
        let wanted = self.0.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let there: BTreeMap<_, _> =
            there.attributes().map(|attribute| (attribute.name(), attribute.value())).collect();
        wanted.eq(there)
    }

    pub(super) fn xml(&self) -> Result<String, Trouble> {
        let config =
            xmltree::EmitterConfig::new().perform_indent(true).write_document_declaration(false);
        let mut bytes = Vec::new();
        self.0.write_with_config(&mut bytes, config).map_err(Trouble::failed)?;
        String::from_utf8(bytes).map_err(Trouble::failed)
    }
}

/// Returns our mark, for `<metadata>`.
pub(super) fn mark(mark: &Mark) -> Tag {
    let keep: Vec<_> = mark.keep.iter().map(ToString::to_string).collect();
    tag("mark")
        .within(PREFIX)
        .namespace(PREFIX, MARK)
        .with("fleet", mark.fleet)
        .with("name", &mark.name)
        .with("incarnation", mark.incarnation)
        .with("digest", &mark.digest)
        .with("network", &mark.network)
        .with("protect", mark.protect)
        .with("keep", keep.join(" "))
}

/// Returns XML without the blanks between tags: nearly half of what a parser would make nodes of.
pub(super) fn compact(xml: &str) -> String {
    let mut compact = String::with_capacity(xml.len());
    let mut rest = xml;
    while let Some((before, after)) = rest.split_once('>') {
        compact.push_str(before);
        compact.push('>');
        let next = after.trim_ascii_start();
        rest = if next.starts_with('<') || next.is_empty() { next } else { after };
    }
    compact.push_str(rest);
    compact
}

/// Reads XML as it stands, to change it in places.
pub(super) fn parsed(xml: &str) -> Result<Document<'_>, Trouble> {
    Document::parse(xml).map_err(|error| unreadable(error.pos()))
}

/// Says where, and quotes nothing: passwords of consoles stand in it.
fn unreadable(at: TextPos) -> Trouble {
    Trouble::failed(format!("libvirt's XML cannot be read: line {}, column {}", at.row, at.col))
}

/// Returns the mark that an object bears by its XML.
pub(super) fn mark_in(xml: &str) -> Result<Option<Mark>, Trouble> {
    Ok(mark_of(parsed(xml)?.root_element()))
}

/// Returns an element's children of a name, in no namespace: what lies in others' metadata is theirs,
/// however it is called.
pub(super) fn children<'x, 'a>(
    parent: Node<'x, 'a>,
    name: &'x str,
) -> impl Iterator<Item = Node<'x, 'a>> {
    parent.children().filter(move |node| is_called(*node, name))
}

/// Returns an element's first child of a name.
pub(super) fn child<'x, 'a>(parent: Node<'x, 'a>, name: &str) -> Option<Node<'x, 'a>> {
    parent.children().find(|node| is_called(*node, name))
}

fn is_called(node: Node<'_, '_>, name: &str) -> bool {
    // `has_tag_name("x")` would be true of another's `<y:x>`, too.
    node.is_element() && node.tag_name() == ExpandedName::from(name)
}

/// Returns the mark of an object of libvirt, as it stands in its XML.
pub(super) fn mark_element<'x, 'a>(root: Node<'x, 'a>) -> Option<Node<'x, 'a>> {
    child(root, "metadata")?.children().find(|node| node.has_tag_name((MARK, "mark")))
}

/// Returns the mark that an object of libvirt bears.
pub(super) fn mark_of(root: Node<'_, '_>) -> Option<Mark> {
    let mark = mark_element(root)?;
    let value = |name: &str| mark.attribute(name);
    Some(Mark {
        fleet: value("fleet")?.parse().ok()?,
        name: value("name")?.to_owned(),
        incarnation: value("incarnation")?.parse().ok()?,
        digest: Digest::from_text(value("digest")?),
        network: Digest::from_text(value("network").unwrap_or_default()),
        protect: value("protect") == Some("true"),
        keep: value("keep").map(names_of).unwrap_or_default(),
    })
}

/// A name that is none was written by hand: nothing is kept for it.
fn names_of(keep: &str) -> Vec<DiskName> {
    keep.split_whitespace().filter_map(|name| name.parse().ok()).collect()
}

/// Returns an attribute of the element at the end of a path of children.
pub(super) fn attribute<'x>(root: Node<'x, '_>, path: &[&str], name: &str) -> Option<&'x str> {
    path.iter().try_fold(root, |element, step| child(element, step))?.attribute(name)
}

/// Returns the text of the element at the end of a path of children.
pub(super) fn text<'x>(root: Node<'x, '_>, path: &[&str]) -> Option<&'x str> {
    Some(path.iter().try_fold(root, |element, step| child(element, step))?.text()?.trim())
}

/// Returns a number of libvirt's with its unit, in bytes.
pub(super) fn bytes(root: Node<'_, '_>, path: &[&str]) -> Option<u64> {
    let number: u64 = text(root, path)?.parse().ok()?;
    let factor = match attribute(root, path, "unit").unwrap_or("KiB") {
        "b" | "bytes" => 1,
        "KB" => 1000,
        "k" | "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "M" | "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

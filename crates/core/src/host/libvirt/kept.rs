//! Domains of the past: the XML that was kept when one was undefined.

use super::{domain_shape::shape_in, xml};
use crate::{host::trouble::Trouble, model::KeptDomain};

/// Reads the XML of a domain that may be there no more.
pub(crate) fn kept_domain(text: &str) -> Result<KeptDomain, Trouble> {
    let document = xml::parsed(text)?;
    let root = document.root_element();
    let (shape, mark) = shape_in(&document, &|_| None)?;
    let lacks = |what: &str| Trouble::input(format!("the XML that was kept has no {what}"));
    let uuid = xml::text(root, &["uuid"]).and_then(|uuid| uuid.parse().ok());
    Ok(KeptDomain {
        name: xml::text(root, &["name"]).ok_or_else(|| lacks("name"))?.to_owned(),
        uuid: uuid.ok_or_else(|| lacks("UUID"))?,
        mark,
        shape,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_libvirt_said_of_a_domain() {
        let kept = kept_domain(include_str!("fixtures/uefi-inactive.xml")).unwrap();
        assert!(!kept.name.is_empty() && kept.shape.uefi, "{kept:?}");
        assert!(kept_domain("<domain type='kvm'/>").is_err());
        assert!(kept_domain("half of a fi").is_err());
    }

    #[test]
    fn what_was_kept_is_in_no_error() {
        let damaged = "<domain><graphics passwd='a&geheim;'/></domain>";
        let opened = "<domain><graphics passwd='geheim'><geheim></domain>";
        for text in [damaged, opened, "<geheim", "geheim"] {
            let trouble = kept_domain(text).unwrap_err();
            assert!(!format!("{trouble:?}").contains("geheim"), "{trouble:?}");
            let trouble = xml::parsed(text).unwrap_err();
            assert!(!format!("{trouble:?}").contains("geheim"), "{trouble:?}");
        }
    }
}

//! Whatever the text, there is a fleet or there are problems.

use proptest::prelude::*;

use super::{BASE, Bed, vm};

/// Words that bring random text further than random letters would.
const WORDS: &[&str] = &[
    "fleet",
    "host",
    "vm",
    "network",
    "locals",
    "variable",
    "\"a\"",
    "{",
    "}",
    "\n",
    "=",
    "id",
    "count",
    "host.rack1",
    "local.a",
    "var.a",
    "[",
    "]",
    "(",
    ")",
    ",",
    "\"${",
    "}\"",
    "%{ for x in",
    "<<-E\n",
    "\nE\n",
    "env(\"X\")",
    "1",
    "-1",
    "1e400",
    "99999999999999999999",
    "/",
    "%",
    "*",
    "~",
    "? :",
    "for",
    "if",
    "=>",
    "...",
    "null",
    "true",
    "templatefile(\"x\", {})",
    "cidrhost(",
    "ü",
    "\t",
    "disk \"root\" {",
    "size",
    "\"20GiB\"",
    "nic \"lan\" {",
    "address",
    "a",
    "a.b[0].*.c",
    "[*]",
    "\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_text_never_panics(text in any::<String>()) {
        Bed::new().file("a.hcl", &text).load().map_err(|problems| problems.render()).ok();
    }

    #[test]
    fn random_words_never_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        let text = words.join(" ");
        Bed::with(&text).load().map_err(|problems| problems.render()).ok();
        Bed::with(&vm(&text)).load().map_err(|problems| problems.render()).ok();
        Bed::with(&format!("locals {{\n a = {text}\n}}\n")).load().map_err(|p| p.render()).ok();
    }

    #[test]
    fn a_damaged_file_never_panics(at in 0..BASE.len(), insert in "\\PC{0,3}", cut in 0_usize..9) {
        let mut text = BASE.to_owned();
        text.replace_range(at..(at + cut).min(BASE.len()), &insert);
        Bed::new().file("a.hcl", &text).load().map_err(|problems| problems.render()).ok();
    }

    #[test]
    fn random_expressions_never_panic(words in prop::collection::vec(
        prop::sample::select(&["1", "18446744073709551615", "-", "+", "*", "/", "%", "(", ")", "1e308", "0.5"][..]), 1..12,
    )) {
        let text = format!("locals {{\n a = {}\n}}\n", words.join(" "));
        Bed::with(&text).load().map_err(|problems| problems.render()).ok();
    }
}

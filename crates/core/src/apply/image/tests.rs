use super::*;

#[test]
fn a_query_is_not_shown() {
    assert_eq!(without_query("https://x.org/a.qcow2?key=poison"), "https://x.org/a.qcow2?…");
    assert_eq!(without_query("https://x.org/a.qcow2"), "https://x.org/a.qcow2");
}

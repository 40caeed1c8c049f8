//! Where the state is kept.

use super::Bed;
use crate::model::StateStore;

fn state(kind: &str, lines: &str) -> String {
    format!("state \"{kind}\" {{\n{lines}\n}}\n")
}

#[test]
fn reads_each_kind_of_store() {
    let store = |text: &str| {
        let url = "postgres://freehold:poison@db.example.org/freehold";
        Bed::with(text).env("FREEHOLD_STATE_URL", url).fleet().state
    };
    assert_eq!(store(""), StateStore::Folder);
    let (rack1, rack2) = ("rack1".parse().unwrap(), "rack2".parse().unwrap());
    assert_eq!(
        store(&state("ssh", "host = host.rack1\ncopy = host.rack2\npath = \"/srv/state\"")),
        StateStore::Ssh { host: rack1, copy: Some(rack2), path: Some("/srv/state".to_owned()) }
    );
    let store = store(&state("postgres", "url = env(\"FREEHOLD_STATE_URL\")"));
    let StateStore::Postgres { url } = &store else { panic!("{store:?}") };
    assert!(url.expose().ends_with("/freehold"));
    assert!(!format!("{store:?}").contains("poison"));
}

#[test]
fn each_mistake_is_told_once_at_its_place() {
    let ssh = |lines: &str| state("ssh", lines);
    let postgres = |lines: &str| state("postgres", lines);
    for (text, fragments) in [
        (state("shh", ""), ["kept in \"shh\"", "did you mean `ssh`?"]),
        (state("s3", ""), ["kept in \"s3\"", "there is `ssh`, `postgres`"]),
        (ssh(""), ["state \"ssh\" needs `host`", "`host = host.rack1`"]),
        (ssh("hots = host.rack1"), ["unknown key `hots`", "did you mean `host`?"]),
        (ssh("host = host.rack7"), ["rack7", "rack1"]),
        (ssh("host = \"rack1\""), ["this is a text", "write `host.rack1`, without quotes"]),
        (ssh("host = host.rack1\ncopy = host.rack1"), ["`copy` is host \"rack1\"", "another"]),
        (ssh("host = host.rack1\npath = \"x\""), ["`x` is no absolute path", "fleet.hcl:37:8"]),
        (ssh("host = host.rack1\nurl = \"postgres://x/y\""), ["`url` is not about", "`path`"]),
        (postgres(""), ["state \"postgres\" needs `url`", "env("]),
        (postgres("url = \"mysql://x:poison@y/z\""), ["no URL of a PostgreSQL", "postgres://USER"]),
        (postgres("url = \"postgres://x:poison@y/z \""), ["no URL", "trimspace"]),
        (
            format!("{}{}", ssh("host = host.rack1"), postgres("url = \"postgres://x/y\"")),
            ["there is more than one `state`", "first at"],
        ),
    ] {
        let problems = Bed::with(&text).problems();
        let shown = problems.render().replace("\n      ", " ");
        for fragment in fragments {
            assert!(shown.contains(fragment), "{fragment:?} is missing for\n{text}\nin\n{shown}");
        }
        assert_eq!(problems.list.len(), 1, "for\n{text}\n{shown}");
        assert!(!shown.contains("poison"), "{shown}");
    }
}

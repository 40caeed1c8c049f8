//! Secrets never leave their type.

use crate::bed::{Bed, Text, Trick, VmText, all};

const POISON: &str = "hunter2-arsenic";

/// A fleet with a secret wherever a text can have one.
fn text() -> Text {
    let cloud_init = format!(
        "  cloud_init {{\n    user_data = \"#cloud-config\\npassword: {POISON}\\n\"\n  }}\n"
    );
    let mut text = Text::new(1, vec![VmText::new("web").more(&cloud_init)]);
    text.more = format!(
        "\ndns \"main\" {{\n  kind    = \"powerdns\"\n  url     = \"http://127.0.0.1:1\"\n  \
         api_key = \"{POISON}\"\n}}\n"
    );
    text
}

#[tokio::test]
async fn a_poison_secret_is_in_the_seed_and_nowhere_else() {
    let bed = Bed::new(&text());
    bed.fate.spoil(4, Trick::Fail);
    let failed = bed.apply(&all()).await;
    let again = bed.apply(&all()).await;
    let journal = std::fs::read_to_string(bed.store().path("journal.jsonl")).unwrap();
    assert!(journal.contains("web"), "there is something to look through");
    let mut changed = text();
    changed.vms[0].more = changed.vms[0].more.replace("password", "passwd");
    bed.write(&changed);
    let changed = bed.apply(&all()).await;
    assert!(changed.plan.text().contains("± vm web"), "the digest shows the change");

    let mut said = vec![journal, format!("{:?}", bed.fleet().dns_servers)];
    for file in ["state.json", "apply.json"] {
        said.push(std::fs::read_to_string(bed.store().path(file)).unwrap());
    }
    for entry in std::fs::read_dir(bed.store().path("history")).unwrap() {
        said.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    said.push(std::fs::read_to_string(bed.path("freehold.lock")).unwrap());
    for ran in [&failed, &again, &changed] {
        said.extend([ran.drafted.text(), ran.plan.text(), ran.plan.summary()]);
        said.push(format!("{:?}", ran.drafted));
        said.push(format!("{:?}", ran.report));
        said.push(serde_json::to_string(&ran.events).unwrap());
    }
    let rack = bed.hosts.values().next().unwrap();
    said.extend(rack.calls());
    let seeded = rack
        .world()
        .contents
        .values()
        .any(|content| content.windows(POISON.len()).any(|window| window == POISON.as_bytes()));
    assert!(seeded, "the guest is told");
    for text in &said {
        assert!(!text.contains(POISON), "{text}");
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
}

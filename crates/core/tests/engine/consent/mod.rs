//! The table of consent: what each word on the command line lets through, and nothing else.

mod commands;

use freehold_core::{
    model::Impact,
    plan::{Allowance, Consent, Plan, Withheld},
};

use crate::bed::{Bed, Text, VmText, vm};

/// One VM for each way a change can hurt; each is named for it.
const KINDS: [&str; 7] =
    ["create", "live", "restart", "rebuild", "data-loss", "unprotect", "unkeep"];

fn before() -> Text {
    let mut vms = Vec::new();
    for kind in &KINDS[1..] {
        let mut vm = VmText::new(kind).data(*kind == "unkeep");
        if *kind == "unprotect" {
            vm.more = "  protect = true\n".into();
        }
        vms.push(vm);
    }
    vms.extend((0..2).map(|n| VmText::new(&format!("gone-{n}"))));
    Text::new(1, vms)
}

fn after() -> Text {
    let mut text = before();
    text.vms.retain(|vm| !vm.name.starts_with("gone"));
    for vm in &mut text.vms {
        match vm.name.as_str() {
            "live" => vm.more = "  autostart = false\n".into(),
            "restart" => vm.memory = "512MiB",
            "rebuild" => vm.more = "  firmware = \"uefi\"\n".into(),
            "data-loss" => vm.data = None,
            "unprotect" => vm.more = String::new(),
            "unkeep" => vm.data = vm.data.map(|data| crate::bed::Data { keep: false, ..data }),
            kind => unreachable!("{kind}"),
        }
    }
    text.vms.push(VmText::new("create"));
    text
}

/// The VMs of a plan that its consent lets through, by name.
fn through(plan: &Plan) -> Vec<String> {
    let mut names: Vec<_> =
        plan.changes.iter().filter_map(|change| change.vm()).map(ToString::to_string).collect();
    names.sort();
    names
}

fn consent(words: &str) -> Consent {
    let mut consent = Consent::default();
    for word in words.split_whitespace() {
        match word.split_once(':') {
            Some(("allow", allowance)) => {
                consent.allowances.push(allowance.parse::<Allowance>().unwrap());
            }
            Some(("deletes", number)) => consent.deletes = Some(number.parse().unwrap()),
            Some(("unprotect", name)) => {
                consent.unprotect.insert(vm(name));
            }
            None if word == "all" => consent.all = true,
            _ => panic!("{word}"),
        }
    }
    consent
}

#[tokio::test]
async fn each_word_lets_through_what_it_says_and_nothing_else() {
    let bed = Bed::new(&before());
    bed.converges(2, "before").await;
    bed.write(&after());
    let drafted = bed.plan().await;
    let table: &[(&str, &[&str])] = &[
        ("", &["create", "live"]),
        ("allow:disconnect", &["create", "live"]),
        ("allow:restart", &["create", "live", "restart"]),
        ("allow:restart=restart", &["create", "live", "restart"]),
        ("allow:restart=live", &["create", "live"]),
        ("allow:rebuild", &["create", "live", "rebuild"]),
        ("allow:rebuild=rebuild,restart", &["create", "live", "rebuild"]),
        // Two vanish, one may: none does.
        ("allow:data-loss", &["create", "data-loss", "live"]),
        ("allow:data-loss=data-loss", &["create", "data-loss", "live"]),
        ("allow:data-loss=gone-0", &["create", "gone-0", "live"]),
        ("allow:data-loss deletes:2", &["create", "data-loss", "gone-0", "gone-1", "live"]),
        ("deletes:9", &["create", "live"]),
        ("unprotect:unprotect", &["create", "live", "unprotect"]),
        ("unprotect:unkeep", &["create", "live", "unkeep"]),
        ("unprotect:live", &["create", "live"]),
        ("all", &["create", "data-loss", "live", "rebuild", "restart"]),
        ("all deletes:1", &["create", "data-loss", "live", "rebuild", "restart"]),
        (
            "all deletes:2",
            &["create", "data-loss", "gone-0", "gone-1", "live", "rebuild", "restart"],
        ),
        (
            "all deletes:2 unprotect:unprotect unprotect:unkeep",
            &[
                "create",
                "data-loss",
                "gone-0",
                "gone-1",
                "live",
                "rebuild",
                "restart",
                "unkeep",
                "unprotect",
            ],
        ),
    ];
    let all = 9;
    for (words, expected) in table {
        let plan = drafted.clone().permitted(&consent(words));
        assert_eq!(through(&plan), *expected, "{words:?}");
        // Nothing gets lost: what is not let through is held back, by a reason that says what
        // would.
        let held = plan.held.iter().filter(|held| held.why.is_consent()).count();
        assert_eq!(held + expected.len(), all, "{words:?}: {:?}", plan.held);
        assert!(plan.held.iter().all(|held| held.why.hint().is_some()), "{words:?}");
    }
}

#[tokio::test]
async fn what_is_held_back_says_which_word_lets_it_through() {
    let bed = Bed::new(&before());
    bed.converges(2, "before").await;
    bed.write(&after());
    let plan = bed.plan().await.permitted(&Consent::default());
    let why = |name: &str| {
        let object = format!("vm {name}");
        let held = plan.held.iter().find(|held| held.object.to_string() == object);
        held.map(|held| held.why.clone())
    };
    assert_eq!(why("restart"), Some(Withheld::Consent(Impact::Restart)));
    assert_eq!(why("rebuild"), Some(Withheld::Consent(Impact::Rebuild)));
    assert_eq!(why("data-loss"), Some(Withheld::Consent(Impact::DataLoss)));
    assert_eq!(why("unprotect"), Some(Withheld::Unprotect(vm("unprotect"))));
    assert_eq!(why("unkeep"), Some(Withheld::Unprotect(vm("unkeep"))));
}

#[tokio::test]
async fn a_zone_does_not_lose_most_of_our_records_at_once() {
    let text = |named: bool| {
        let mut text = Text::new(1, vec![VmText::new("web").count(12)]);
        text.addresses = "127.77.0.100-127.77.0.199";
        if !named {
            // Whatever hides an address from outsiders takes its name away.
            text.vms[0].lan = Some(" publish = false ");
        }
        text
    };
    let bed = Bed::new(&text(true));
    bed.converges(2, "before").await;
    assert_eq!(bed.server.records().len(), 12);
    bed.write(&text(false));
    for held in [Consent::default(), consent("all"), consent("deletes:11")] {
        let ran = bed.apply(&held).await;
        let why = ran.why("dns main");
        assert!(matches!(why, Some(Withheld::Records { wanted: 12, of: 12, .. })), "{why:?}");
        assert_eq!(bed.server.records().len(), 12);
    }
    bed.apply(&consent("deletes:12")).await;
    assert_eq!(bed.server.records().len(), 0);
    // Removing the VMs takes their names along.
    bed.write(&text(true));
    bed.converges(1, "named again").await;
    bed.write(&Text::new(1, vec![VmText::new("web").count(2)]));
    let ran = bed.apply(&consent("allow:data-loss deletes:10")).await;
    assert!(ran.why("dns main").is_none(), "{:?}", ran.plan.held);
    assert_eq!(bed.server.records().len(), 2);
}

//! Random fleets under random trouble converge.

use proptest::prelude::*;

use crate::bed::{Bed, Text, Trick, VmText, all};

/// Which VMs are declared from now on, and what goes wrong on the way there.
type Change = (Vec<bool>, Vec<(usize, Trick)>);

fn fleets() -> impl Strategy<Value = Text> {
    let vm = (1..=2_usize, prop::option::of(any::<bool>()), any::<bool>(), any::<bool>());
    (1..=2_usize, prop::collection::vec(vm, 1..=6)).prop_map(|(hosts, vms)| {
        let vms = vms.into_iter().enumerate().map(|(n, (host, data, lan, nat))| {
            let mut vm = VmText::new(&format!("vm-{n}")).on(&[host.min(hosts)]);
            vm.nat = nat;
            vm.lan = vm.lan.filter(|_| lan);
            if let Some(keep) = data {
                vm = vm.data(keep);
            }
            vm
        });
        Text::new(hosts, vms.collect())
    })
}

fn tricks() -> impl Strategy<Value = Vec<(usize, Trick)>> {
    let trick = prop::sample::select(Trick::ALL.to_vec());
    prop::collection::vec((0..40_usize, trick), 2..=3)
}

fn lives() -> impl Strategy<Value = (Text, Vec<Change>)> {
    let declared = prop::collection::vec(prop::bool::weighted(0.7), 6);
    (fleets(), prop::collection::vec((declared, tricks()), 1..=2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_fleet_converges_within_four_runs((text, steps) in lives()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bed = Bed::new(&text);
            for (declared, tricks) in steps {
                let mut now = text.clone();
                let mut wanted = declared.into_iter();
                now.vms.retain(|_| wanted.next().unwrap_or(true));
                bed.write(&now);
                let context = format!("{tricks:?}");
                for (at, trick) in tricks {
                    bed.fate.spoil(at, trick);
                    bed.apply(&all()).await;
                    bed.hosts.values().for_each(|host| host.set_down(false));
                    bed.server.set_down(false);
                }
                bed.converges(3, &context).await;
            }
        });
    }
}

//! One thing goes wrong, at every step there is.

use crate::bed::{Bed, Exit, Text, Trick, VmText, all};

/// Spoils every changing call of a run in turn; `text` after `before` was applied.
async fn at_every_step(before: Option<&Text>, text: &Text, trick: Trick, runs: usize) -> usize {
    let base = Bed::among_strangers(before.unwrap_or(text));
    if before.is_some() {
        base.converges(2, "before").await;
        base.write(text);
    }
    for k in 0.. {
        let bed = base.fork();
        let fired = bed.fate.fired();
        bed.fate.spoil(k, trick);
        let ran = bed.apply(&all()).await;
        if bed.fate.fired() == fired {
            assert_eq!(ran.exit(), Exit::Done, "nothing was spoiled");
            bed.check("unspoiled").await;
            return k;
        }
        // A pool that is full is noticed by whoever writes into it next, if anybody does.
        let noticed = ran.exit() != Exit::Done || trick == Trick::DiskFull;
        assert!(noticed, "{trick:?} at {k} goes unnoticed");
        bed.converges(runs, &format!("{trick:?} at {k}")).await;
    }
    unreachable!("a run has an end")
}

/// A fleet of which one VM vanishes and one comes in the same run.
fn changed() -> Text {
    let mut text = Text::usual().without("db");
    text.vms.push(VmText::new("mail").on(&[2]).data(true));
    text
}

#[tokio::test]
async fn a_new_fleet_converges_after_any_single_fault_at_every_step() {
    for trick in Trick::ALL {
        let steps = at_every_step(None, &Text::usual(), trick, 2).await;
        assert!(steps == 26, "{steps} steps");
        println!("{trick:?}: {steps} steps");
    }
}

#[tokio::test]
async fn a_change_with_removals_converges_after_any_single_fault_at_every_step() {
    for trick in Trick::ALL {
        let steps = at_every_step(Some(&Text::usual()), &changed(), trick, 2).await;
        assert!(steps == 19, "{steps} steps");
        println!("{trick:?}: {steps} steps");
    }
}

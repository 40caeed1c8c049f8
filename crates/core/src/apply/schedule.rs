//! Which steps can begin, told by counting what each still waits for.

use std::collections::BTreeSet;

use crate::plan::Step;

/// The steps of a run, as they begin and end.
#[derive(Debug)]
pub(super) struct Schedule {
    marks: Vec<Mark>,
    /// By step: how many that it needs or comes after did not end yet.
    open: Vec<usize>,
    /// By step: those that need it.
    needed_by: Vec<Vec<usize>>,
    /// By step: those that come after it.
    before: Vec<Vec<usize>>,
    /// Steps that wait for nothing any more, or in vain.
    turn: BTreeSet<usize>,
}

/// What becomes of a step whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It can begin.
    Begin(usize),
    /// One that it needs failed, or nothing new begins.
    Skip(usize),
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    /// Failed or skipped.
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Waiting,
    /// Waiting, and one that it needs did not succeed.
    Lost,
    /// Running or ended.
    Over,
}

impl Schedule {
    pub(super) fn of(steps: &[Step]) -> Self {
        let count = steps.len();
        let mut schedule = Self {
            marks: vec![Mark::Waiting; count],
            open: Vec::with_capacity(count),
            needed_by: vec![Vec::new(); count],
            before: vec![Vec::new(); count],
            turn: BTreeSet::new(),
        };
        for (index, step) in steps.iter().enumerate() {
            for need in &step.needs {
                schedule.needed_by[*need].push(index);
            }
            for other in &step.after {
                schedule.before[*other].push(index);
            }
            let open = step.needs.len() + step.after.len();
            schedule.open.push(open);
            if open == 0 {
                schedule.turn.insert(index);
            }
        }
        schedule
    }

    /// Returns whose turn it is since it was last asked, in the steps' order; a step that is skipped
    /// counts as ended. Once a run is `stopped`, all that wait are skipped.
    pub(super) fn turns(&mut self, stopped: bool) -> Vec<Turn> {
        if stopped {
            let waits = |index: &usize| self.marks[*index] != Mark::Over;
            self.turn = (0..self.marks.len()).filter(waits).collect();
        }
        let mut turns = Vec::new();
        while let Some(index) = self.turn.pop_first() {
            let lost = self.marks[index] == Mark::Lost;
            self.marks[index] = Mark::Over;
            if lost || stopped {
                turns.push(Turn::Skip(index));
                self.ended(index, Ending::Not);
            } else {
                turns.push(Turn::Begin(index));
            }
        }
        turns
    }

    /// Notes how a step ended.
    pub(super) fn ended(&mut self, step: usize, ending: Ending) {
        for index in std::mem::take(&mut self.needed_by[step]) {
            if ending == Ending::Not && self.marks[index] == Mark::Waiting {
                self.marks[index] = Mark::Lost;
                // It is skipped at once, whatever else it waits for.
                self.turn.insert(index);
            }
            self.one_less(index);
        }
        for index in std::mem::take(&mut self.before[step]) {
            self.one_less(index);
        }
    }

    fn one_less(&mut self, index: usize) {
        self.open[index] -= 1;
        if self.open[index] == 0 && self.marks[index] != Mark::Over {
            self.turn.insert(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::plan::Act;

    fn step(needs: Vec<usize>, after: Vec<usize>) -> Step {
        let (claims, settles) = (Vec::new(), Vec::new());
        Step { host: None, vm: None, act: Act::Note, needs, after, claims, settles }
    }

    /// Looks at all steps anew each time: what a schedule must say, without counting.
    struct Rescan<'a> {
        steps: &'a [Step],
        /// By step: nothing while it waits.
        marks: Vec<Option<Told>>,
    }

    #[derive(Clone, Copy)]
    enum Told {
        Runs,
        Ended(Ending),
    }

    impl Rescan<'_> {
        fn turns(&mut self, stopped: bool) -> Vec<Turn> {
            let mut turns = Vec::new();
            for (index, step) in self.steps.iter().enumerate() {
                if self.marks[index].is_some() {
                    continue;
                }
                let ending = |other: &usize| match self.marks[*other] {
                    Some(Told::Ended(ending)) => Some(ending),
                    Some(Told::Runs) | None => None,
                };
                if stopped || step.needs.iter().any(|need| ending(need) == Some(Ending::Not)) {
                    self.marks[index] = Some(Told::Ended(Ending::Not));
                    turns.push(Turn::Skip(index));
                } else if step.needs.iter().all(|need| ending(need) == Some(Ending::Done))
                    && step.after.iter().all(|other| ending(other).is_some())
                {
                    self.marks[index] = Some(Told::Runs);
                    turns.push(Turn::Begin(index));
                }
            }
            turns
        }
    }

    /// Steps that come after those they need, and how each ends when it runs.
    fn graph() -> impl Strategy<Value = Vec<(Vec<usize>, Vec<usize>, bool)>> {
        let edges = || vec(any::<usize>(), 0..4);
        let steps = vec((edges(), edges(), prop::bool::weighted(0.8)), 1..24);
        steps.prop_map(|mut steps| {
            for (index, (needs, after, _)) in steps.iter_mut().enumerate() {
                for edges in [needs, after] {
                    edges.retain(|_| index > 0);
                    for edge in edges.iter_mut() {
                        *edge %= index;
                    }
                }
            }
            steps
        })
    }

    proptest! {
        #[test]
        fn counting_says_what_looking_at_all_steps_says(
            graph in graph(),
            picks in vec(any::<usize>(), 24),
            stop_at in 0..40_usize,
        ) {
            let steps: Vec<Step> =
                graph.iter().map(|(needs, after, _)| step(needs.clone(), after.clone())).collect();
            let mut rescan = Rescan { steps: &steps, marks: vec![None; steps.len()] };
            let mut schedule = Schedule::of(&steps);
            let mut running = Vec::new();
            let mut seen = 0;
            for (round, pick) in picks.iter().enumerate() {
                let turns = schedule.turns(round >= stop_at);
                prop_assert_eq!(&turns, &rescan.turns(round >= stop_at), "round {}", round);
                seen += turns.len();
                running.extend(turns.into_iter().filter_map(|turn| match turn {
                    Turn::Begin(index) => Some(index),
                    Turn::Skip(_) => None,
                }));
                if running.is_empty() {
                    break;
                }
                let index = running.swap_remove(pick % running.len());
                let ending = if graph[index].2 { Ending::Done } else { Ending::Not };
                rescan.marks[index] = Some(Told::Ended(ending));
                schedule.ended(index, ending);
            }
            prop_assert!(!running.is_empty() || seen == steps.len(), "a step was never told");
        }
    }

    #[test]
    fn a_skipped_step_takes_what_needs_it_along_and_lets_go_what_comes_after() {
        let steps = [
            step(vec![], vec![]),
            step(vec![0], vec![]),
            step(vec![1], vec![]),
            step(vec![], vec![2]),
        ];
        let mut schedule = Schedule::of(&steps);
        assert_eq!(schedule.turns(false), [Turn::Begin(0)]);
        schedule.ended(0, Ending::Not);
        assert_eq!(schedule.turns(false), [Turn::Skip(1), Turn::Skip(2), Turn::Begin(3)]);
    }
}

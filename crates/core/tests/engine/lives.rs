//! Random fleets, random edits of their texts, random trouble.

use proptest::prelude::*;

use crate::bed::{Data, Hand, Text, Trick, VmText};

/// A change of the text; the number says of which block.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edit {
    /// The block is there, or is not.
    Toggle(usize),
    Count(usize, usize),
    Keep(usize),
    AddDisk(usize),
    DropDisk(usize),
    GrowDisk(usize),
    Memory(usize),
    Autostart(usize),
    Running(usize),
    Nat(usize),
    Protect(usize),
    /// Its VMs are called otherwise, or as before.
    Rename(usize),
    /// Its guests are told something else: they are made again.
    Guest(usize),
}

/// What a run is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask {
    Converge,
    /// Make one VM of the state again.
    Replace(usize),
    /// Take one VM of the state away.
    Destroy(usize),
}

/// What happens to a fleet between two times of peace.
#[derive(Debug, Clone)]
pub(super) struct Chapter {
    pub(super) edits: Vec<Edit>,
    /// Each spoils one changing call of a run of its own.
    pub(super) troubles: Vec<(usize, Trick, Ask)>,
}

/// A fleet from its first apply on.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) text: Text,
    pub(super) chapters: Vec<Chapter>,
    pub(super) destroyed: bool,
    /// Whether it is agreed to that what was kept is kept no more.
    pub(super) lets_go: bool,
}

fn blocks() -> impl Strategy<Value = Vec<VmText>> {
    let count = prop::option::weighted(0.4, 1..=2_usize);
    let nics =
        prop::sample::select(vec![(true, false), (true, false), (true, true), (false, true)]);
    let disk = prop::option::of(any::<bool>());
    let block = (count, 0..6_usize, nics, disk, prop::bool::weighted(0.2));
    prop::collection::vec(block, 1..=4).prop_map(|blocks| {
        let blocks = blocks.into_iter().enumerate().map(|(n, (count, at, nics, data, uefi))| {
            // One host, or spread over two.
            let hosts = [&[1][..], &[2], &[3], &[1, 2], &[2, 3], &[1, 3]][at];
            let mut vm = VmText::new(&format!("vm-{n}")).on(hosts);
            (vm.count, vm.nat, vm.uefi) = (count, nics.1, uefi);
            vm.lan = vm.lan.filter(|_| nics.0);
            if let Some(keep) = data {
                vm = vm.data(keep);
            }
            vm
        });
        blocks.collect()
    })
}

/// A fleet of at most six VMs on one to three hosts.
fn fleets() -> impl Strategy<Value = Text> {
    (1..=3_usize, blocks()).prop_map(|(hosts, mut blocks)| {
        let mut vms = 0;
        for block in &mut blocks {
            for host in &mut block.hosts {
                *host = (*host).min(hosts);
            }
            block.hosts.dedup();
            vms += block.count.unwrap_or(1);
        }
        while vms > 6 {
            vms -= blocks.pop().map_or(vms, |block| block.count.unwrap_or(1));
        }
        Text::new(hosts, blocks)
    })
}

fn edits() -> impl Strategy<Value = Edit> {
    (0..4_usize, 0..=3_usize, 0..16_usize).prop_map(|(block, count, kind)| match kind {
        0..=2 => Edit::Toggle(block),
        3 => Edit::Count(block, count),
        4 => Edit::Keep(block),
        5 => Edit::AddDisk(block),
        6 => Edit::DropDisk(block),
        7 => Edit::GrowDisk(block),
        8 => Edit::Memory(block),
        9 => Edit::Autostart(block),
        10 => Edit::Running(block),
        11 => Edit::Nat(block),
        12 => Edit::Protect(block),
        13 | 14 => Edit::Rename(block),
        _ => Edit::Guest(block),
    })
}

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        8 => Just(Ask::Converge),
        1 => (0..6_usize).prop_map(Ask::Replace),
        1 => (0..6_usize).prop_map(Ask::Destroy),
    ]
}

fn tricks() -> impl Strategy<Value = Trick> {
    let by_itself = prop::sample::select(Trick::ALL.to_vec());
    let by_hand = (prop::sample::select(Hand::ALL.to_vec()), any::<u8>());
    prop_oneof![3 => by_itself, 1 => by_hand.prop_map(|(hand, which)| Trick::Hand(hand, which))]
}

pub(super) fn lives() -> impl Strategy<Value = Life> {
    let edits = prop::collection::vec(edits(), 1..=3);
    let troubles = prop::collection::vec((0..24_usize, tricks(), asks()), 1..=3);
    let chapter = (edits, troubles).prop_map(|(edits, troubles)| Chapter { edits, troubles });
    let chapters = prop::collection::vec(chapter, 1..=2);
    (fleets(), chapters, prop::bool::weighted(0.2), any::<bool>()).prop_map(
        |(text, chapters, destroyed, lets_go)| Life { text, chapters, destroyed, lets_go },
    )
}

/// The text as it is now, and the blocks that are not in it.
pub(super) struct Writer {
    blocks: Vec<Block>,
    text: Text,
}

/// One block and what is written about it elsewhere.
struct Block {
    vm: VmText,
    declared: bool,
    protected: bool,
    /// What its guests are told.
    guest: usize,
    /// What it was called before.
    before: Option<String>,
}

impl Block {
    fn edit(&mut self, edit: Edit) {
        let vm = &mut self.vm;
        match edit {
            Edit::Toggle(_) => self.declared = !self.declared,
            Edit::Count(_, count) => vm.count = vm.count.map(|_| count),
            Edit::Keep(_) => {
                if let Some(data) = &mut vm.data {
                    data.keep = !data.keep;
                }
            }
            Edit::AddDisk(_) => {
                vm.data = vm.data.or(Some(Data { size: "2GiB", keep: false }));
            }
            Edit::DropDisk(_) => vm.data = None,
            Edit::GrowDisk(_) => {
                vm.data = vm.data.map(|data| Data { size: "3GiB", ..data });
            }
            Edit::Memory(_) => {
                vm.memory = if vm.memory == "256MiB" { "512MiB" } else { "256MiB" };
            }
            Edit::Autostart(_) => vm.autostart = !vm.autostart,
            Edit::Running(_) => vm.running = !vm.running,
            Edit::Nat(_) => vm.nat = !vm.nat || vm.lan.is_none(),
            Edit::Protect(_) => self.protected = !self.protected,
            Edit::Rename(n) => {
                let name = format!("{}-{n}", if vm.name.starts_with("vm") { "re" } else { "vm" });
                self.before = Some(std::mem::replace(&mut vm.name, name));
            }
            Edit::Guest(_) => self.guest += 1,
        }
    }

    fn text(&self) -> VmText {
        let mut vm = self.vm.clone();
        if self.protected {
            vm.more += "  protect = true\n";
        }
        if self.guest > 0 {
            vm.more += &format!(
                "  cloud_init {{\n    user_data = \"#cloud-config\\nx: {}\\n\"\n  }}\n",
                self.guest
            );
        }
        vm
    }

    /// Says what its VMs were called.
    fn moved(&self) -> String {
        let Some(before) = &self.before else { return String::new() };
        let moved =
            |from: &str, to: &str| format!("moved {{\n  from = \"{from}\"\n  to = \"{to}\"\n}}\n");
        let to = &self.vm.name;
        match self.vm.count {
            None => moved(before, to),
            Some(count) => {
                (0..count).map(|n| moved(&format!("{before}-{n}"), &format!("{to}-{n}"))).collect()
            }
        }
    }
}

impl Writer {
    pub(super) fn new(text: &Text) -> Self {
        let block = |vm: &VmText| Block {
            vm: vm.clone(),
            declared: true,
            protected: false,
            guest: 0,
            before: None,
        };
        Self { blocks: text.vms.iter().map(block).collect(), text: text.clone() }
    }

    /// Changes one block and returns the whole text.
    pub(super) fn edit(&mut self, edit: Edit) -> &Text {
        let (Edit::Toggle(n)
        | Edit::Count(n, _)
        | Edit::Keep(n)
        | Edit::AddDisk(n)
        | Edit::DropDisk(n)
        | Edit::GrowDisk(n)
        | Edit::Memory(n)
        | Edit::Autostart(n)
        | Edit::Running(n)
        | Edit::Nat(n)
        | Edit::Protect(n)
        | Edit::Rename(n)
        | Edit::Guest(n)) = edit;
        let last = self.blocks.len();
        let n = n % last;
        let edit = if let Edit::Rename(_) = edit { Edit::Rename(n) } else { edit };
        self.blocks[n].edit(edit);
        let there = || self.blocks.iter().filter(|block| block.declared);
        self.text.vms = there().map(Block::text).collect();
        self.text.more = there().map(Block::moved).collect();
        &self.text
    }
}

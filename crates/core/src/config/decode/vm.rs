//! `vm`, spread out by its `count`.

use std::{cell::Cell, collections::BTreeMap, net::Ipv4Addr, time::Duration};

use super::{guest, nic::FixedAddress, nic::nic, seconds::seconds};
use crate::{
    config::{
        block::Block,
        evaluate::{Count, Scope},
        fields::{Field, Fields, Given, One, required},
        problem::Reported,
        world::World,
    },
    model::{Disk, Firmware, HostName, NameError, Network, NetworkName, Nic, NicAddress, Size, Vm},
    model::{VmName, Wait},
};

/// A VM and what the text fixed for it.
#[derive(Debug)]
pub(in crate::config) struct VmDraft<'a> {
    pub(in crate::config) vm: Vm,
    pub(in crate::config) block: &'a Block<'a>,
    pub(in crate::config) fixed: Vec<FixedAddress<'a>>,
}

/// The least memory a guest can do anything with.
const LEAST_MEMORY: Size = Size::from_mib(16);
const MOST_VMS: u64 = 1000;
const LONGEST_WAIT: u64 = 24 * 3600;

/// Reads the VMs of a block; `networks` are those without mistakes.
pub(in crate::config) fn vms<'a>(
    world: &'a World<'a>,
    block: &'a Block<'a>,
    networks: &BTreeMap<NetworkName, Network>,
) -> Result<Vec<VmDraft<'a>>, Reported> {
    let fields = Fields { block, scope: Scope::new(world, block.source, None) };
    let name: Result<VmName, _> = fields.label();
    let count = fields.whole("count", 0..=MOST_VMS);
    if !fields.has("count") {
        let parts = one(fields, networks, false);
        return Ok(vec![parts?.draft(block, &name?, None)?]);
    }
    let number = usize::try_from(required(count).unwrap_or(1)).unwrap_or(0);
    // The last name is the longest.
    let last = name.clone().and_then(|name| final_name(fields, &name, number.saturating_sub(1)));
    let look = |asked: &Count| {
        let scope = Scope::new(world, block.source, Some(asked));
        one(Fields { block, scope }, networks, number > 1)
    };
    // With a count of 0 the block is looked at all the same.
    let first = Count { index: 0, asked: Cell::new(false) };
    let common = look(&first)?;
    let (name, _) = (name?, last?);
    count?;
    let draft = |index| {
        // What does not ask for its index is the same for all.
        let parts = if index == 0 || !first.asked.get() {
            common.clone()
        } else {
            look(&Count { index, asked: Cell::new(false) })?
        };
        parts.draft(block, &name, Some(index))
    };
    (0..number).map(draft).collect()
}

/// What a block says about one VM.
#[derive(Debug, Clone)]
struct Parts {
    /// All but the names.
    vm: Vm,
    fixed: Vec<Given<Ipv4Addr>>,
}

impl Parts {
    fn draft<'a>(
        self,
        block: &'a Block<'a>,
        base: &VmName,
        index: Option<usize>,
    ) -> Result<VmDraft<'a>, Reported> {
        let name = match index {
            Some(index) => format!("{base}-{index}").parse().map_err(|_| Reported)?,
            None => base.clone(),
        };
        let fix = |Given { value: address, span }| FixedAddress {
            address,
            vm: VmName::clone(&name),
            source: block.source,
            span,
        };
        let fixed = self.fixed.into_iter().map(fix).collect();
        let index = index.unwrap_or(0);
        let vm = Vm { name, block: base.clone(), index, ..self.vm };
        Ok(VmDraft { vm, block, fixed })
    }
}

fn one(
    fields: Fields<'_>,
    networks: &BTreeMap<NetworkName, Network>,
    several: bool,
) -> Result<Parts, Reported> {
    let name: Result<VmName, _> = fields.label();
    let hosts = hosts(fields);
    let image = required(fields.named("image", "image"));
    let cpus = fields.whole("cpus", 1..=1024);
    let memory = memory(fields);
    let firmware =
        fields.word("firmware", &[("bios", Firmware::Bios), ("uefi", Firmware::Uefi)], &[]);
    let autostart = fields.boolean("autostart");
    let running = fields.boolean("running");
    let protect = fields.boolean("protect");
    let timeout = wait_timeout(fields);
    let labels = fields.labels("labels");
    let disks = disks(fields);
    let nics = nics(fields, networks, several);
    let wait = wait(fields, nics.as_ref().ok().map(|(nics, _)| nics.as_slice()));
    let cloud_init = fields.block.inner("cloud_init").next();
    let cloud_init = cloud_init.map(|block| guest::cloud_init(fields.within(block))).transpose();
    let dns = guest::zones(fields);
    let metrics = guest::exporters(fields);
    let groups = guest::groups(fields);
    let (nics, fixed) = nics?;
    let name = name?;
    let vm = Vm {
        block: name.clone(),
        name,
        index: 0,
        hosts: hosts?,
        image: image?,
        cpus: u32::try_from(cpus?.unwrap_or(1)).map_err(|_| Reported)?,
        memory: memory?,
        firmware: firmware?.map_or(Firmware::Bios, |given| given.value),
        autostart: autostart?.unwrap_or(true),
        running: running?.unwrap_or(true),
        wait: wait?,
        wait_timeout: timeout?,
        disks: disks?,
        nics,
        cloud_init: cloud_init?.unwrap_or_default(),
        dns: dns?,
        metrics: metrics?,
        groups: groups?,
        labels: labels?,
        protect: protect?.unwrap_or(false),
    };
    Ok(Parts { vm, fixed })
}

/// Checks that the VM's whole name is a DNS label, since it is the guest's host name.
fn final_name(fields: Fields<'_>, base: &VmName, index: usize) -> Result<VmName, Reported> {
    format!("{base}-{index}")
        .parse()
        .map_err(|error: NameError| fields.fail(&fields.block.label_span, error.to_string()))
}

fn hosts(fields: Fields<'_>) -> Result<Vec<HostName>, Reported> {
    let mut hosts: Vec<HostName> = Vec::new();
    let mut failed = None;
    for given in required(fields.list("host", One::CountsAsList))? {
        let host = match fields.refers("host", &["host"], given) {
            Ok(host) => host,
            Err(reported) => {
                failed = Some(reported);
                continue;
            }
        };
        let Ok(name) = host.value.name.parse() else {
            failed = Some(Reported);
            continue;
        };
        if hosts.contains(&name) {
            failed = Some(fields.fail(&host.span, format!("host \"{name}\" stands twice")));
        }
        hosts.push(name);
    }
    if hosts.is_empty() && failed.is_none() {
        let span = fields.key_span("host");
        failed = Some(fields.fail(&span, "`host` names no host to run on"));
    }
    failed.map_or(Ok(hosts), Err)
}

fn memory(fields: Fields<'_>) -> Result<Size, Reported> {
    let given = required(fields.parsed::<Size>("memory"))?;
    if given.value < LEAST_MEMORY {
        let message = format!("`memory` must be at least {LEAST_MEMORY}, this is {}", given.value);
        return Err(fields.fail(&given.span, message));
    }
    Ok(given.value)
}

fn wait_timeout(fields: Fields<'_>) -> Result<Duration, Reported> {
    let Some(given) = fields.parsed_by("wait_timeout", seconds)? else {
        return Ok(Duration::from_mins(5));
    };
    if !(1..=LONGEST_WAIT).contains(&given.value) {
        let message = "`wait_timeout` must be from 1s to 24h";
        return Err(fields.fail(&given.span, message));
    }
    Ok(Duration::from_secs(given.value))
}

/// Reads what `apply` waits for; `nics` is `None` when they have mistakes.
fn wait(fields: Fields<'_>, nics: Option<&[Nic]>) -> Result<Wait, Reported> {
    let asked = asked_wait(fields);
    let known = nics.map(|nics| nics.iter().any(|nic| nic.address != NicAddress::Dhcp));
    match (asked?, known) {
        (Some(Given { value: Wait::None, .. }), _) => Ok(Wait::None),
        (Some(given), Some(false)) => {
            let message =
                format!("nobody can be asked for `{}`: no nic has a known address", given.value);
            let hint = "give a nic an `address`, or take `wait = \"none\"`";
            Err(fields.add(fields.problem(&given.span, message).hint(hint)))
        }
        (Some(given), _) => Ok(given.value),
        (None, Some(true)) => Ok(Wait::Ssh),
        (None, _) => Ok(Wait::None),
    }
}

fn asked_wait(fields: Fields<'_>) -> Field<Given<Wait>> {
    fields.parsed_by("wait", |text| match text {
        "none" => Ok(Wait::None),
        "ssh" => Ok(Wait::Ssh),
        "address" | "cloud-init" => Err(format!("`wait = \"{text}\"` is not supported yet")),
        text => match text.strip_prefix("port:").map(str::parse::<u16>) {
            Some(Ok(port)) if port > 0 => Ok(Wait::Port(port)),
            _ => Err(format!("`wait` cannot be \"{text}\": it is `none`, `ssh` or `port:N`")),
        },
    })
}

fn disks(fields: Fields<'_>) -> Result<Vec<Disk>, Reported> {
    let mut disks = Vec::new();
    let mut failed = None;
    let mut rooted = false;
    for block in fields.block.inner("disk") {
        rooted |= block.label == "root";
        match disk(fields.within(block)) {
            Ok(disk) if disk.name.as_str() == "root" => disks.insert(0, disk),
            Ok(disk) => disks.push(disk),
            Err(reported) => failed = Some(reported),
        }
    }
    if !rooted {
        let title = fields.block.title();
        let problem = fields.block.problem(format!("{title} has no `disk \"root\"`"));
        failed = Some(fields.add(problem.hint("write `disk \"root\" { size = \"20GiB\" }`")));
    }
    failed.map_or(Ok(disks), Err)
}

fn disk(fields: Fields<'_>) -> Result<Disk, Reported> {
    let name = fields.label();
    let size = required(fields.parsed::<Size>("size"));
    let keep = fields.boolean("keep")?.unwrap_or(false);
    let size = size?;
    if fields.block.label == "seed" {
        let message = "a disk cannot be called \"seed\": ours is called so";
        return Err(fields.fail(&fields.block.label_span, message));
    }
    if fields.block.label == "root" && keep {
        let span = fields.key_span("keep");
        return Err(fields.fail(&span, "`keep` on the root disk is not supported yet"));
    }
    // QEMU counts disks in sectors.
    if size.value.bytes() < 1 << 20 || size.value.bytes() % 512 != 0 {
        let message = format!("{} is no size of a disk: at least 1MiB, in 512B", size.value);
        return Err(fields.fail(&size.span, message));
    }
    Ok(Disk { name: name?, size: size.value, keep })
}

type Nics = (Vec<Nic>, Vec<Given<Ipv4Addr>>);

fn nics(
    fields: Fields<'_>,
    networks: &BTreeMap<NetworkName, Network>,
    several: bool,
) -> Result<Nics, Reported> {
    let mut nics = Vec::new();
    let mut fixed = Vec::new();
    let mut failed = None;
    for block in fields.block.inner("nic") {
        match nic(fields.within(block), networks, several) {
            Ok((nic, address)) => {
                nics.push(nic);
                fixed.extend(address);
            }
            Err(reported) => failed = Some(reported),
        }
    }
    failed.map_or(Ok((nics, fixed)), Err)
}

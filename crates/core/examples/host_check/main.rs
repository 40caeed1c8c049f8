//! Walks through everything a host can do, against a real one, and fails loudly.
//!
//! `host_check TARGET SSH_CONFIG [COUNT]`: TARGET is `[user@]host[:port]` or `local`; COUNT is how
//! many domains the measured part makes (default 20). The host must have no pool `freehold`; all
//! that is made is removed again but for the pool itself, which lies in `/var/lib/libvirt/freehold`.
#![allow(clippy::print_stdout, reason = "it is a program for the terminal")]
#![allow(clippy::unwrap_used, reason = "it is a test")]

mod parts;

use std::{
    collections::BTreeMap,
    error::Error,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use freehold_core::{
    host::{
        ConnectOptions, Fetched, Host, HostError, HostErrorKind, Progress, connect, guest_host_key,
    },
    model::{
        Accel, Checksum, Connection, DaemonMode, DomainShape, DomainSpec, DomainState, Firmware,
        Host as HostBlock, HostCard, HostView, ImageSpec, NetworkSpec, Size, VolumeSpec,
    },
};
use uuid::Uuid;

use parts::{make_big, make_image, mark, spec, volume};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

struct Check {
    host: Arc<dyn Host>,
    start: Instant,
}

impl Check {
    fn step(&mut self, what: &str) {
        println!("{:>7} ms  {what}", self.start.elapsed().as_millis());
        self.start = Instant::now();
    }

    async fn view(&self) -> Outcome<HostView> {
        Ok(self.host.observe(&["br0".to_owned(), "no-such".to_owned()]).await?)
    }
}

fn must(holds: bool, claim: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("does not hold: {claim}").into()) }
}

fn refused<T>(result: Result<T, HostError>, kind: HostErrorKind, why: &str) -> Outcome {
    match result {
        Ok(_) => Err(format!("should be refused: {why}").into()),
        Err(error) if error.kind == kind => {
            println!("            refused: {error}: {}", error.source);
            Ok(())
        }
        Err(error) => Err(format!("{why}: wrong kind {:?}: {}", error.kind, error.source).into()),
    }
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.as_slice() {
        [target, config] => run(target, config, 20).await,
        [target, config, count] => run(target, config, count.parse().unwrap()).await,
        _ => Err("usage: host_check TARGET SSH_CONFIG [COUNT]".into()),
    };
    if let Err(error) = result {
        println!("FAILED: {error}");
        let mut cause = error.source();
        while let Some(why) = cause {
            println!("  {why}");
            cause = why.source();
        }
        std::process::exit(1);
    }
    println!("all steps passed");
}

async fn run(target: &str, config: &str, count: usize) -> Outcome {
    let connection = match target {
        "local" => Connection::Local,
        target => Connection::Ssh(target.parse()?),
    };
    let block = HostBlock {
        name: "checked".parse()?,
        connection,
        libvirt: DaemonMode::System,
        pool: None,
        accel: Accel::Tcg,
        labels: BTreeMap::new(),
    };
    let options = ConnectOptions { ssh_config: Some(config.into()), ..ConnectOptions::default() };
    let start = Instant::now();
    let host = connect(&block, &options).await?;
    let mut check = Check { host, start };
    check.step("connect");
    let pool = block.pool_path();
    let work = tempfile::tempdir()?;
    let (image, file) = make_image(work.path())?;
    pool_and_files(&mut check).await?;
    images(&mut check, &image, &file, work.path()).await?;
    network(&mut check).await?;
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        domain(&mut check, pool, &image, firmware).await?;
    }
    dialling(&mut check, target).await?;
    many(&mut check, pool, &image, count).await?;
    check.host.remove_volume(&image.volume).await?;
    check.step("remove the image");
    let left = check.view().await?;
    must(left.pool.is_some_and(|pool| pool.volumes.is_empty()), "the pool is empty again")?;
    Ok(())
}

async fn pool_and_files(check: &mut Check) -> Outcome {
    let host = Arc::clone(&check.host);
    let before = check.view().await?;
    check.step("observe");
    must(before.bridges == ["br0"], "the bridge that is there is seen, and only that")?;
    host.create_pool().await?;
    check.step("create pool");
    host.create_pool().await?;
    check.step("create pool again");
    let pool = check.view().await?.pool.ok_or("no pool")?;
    must(pool.active && pool.volumes.is_empty() && pool.free > Size::default(), "an empty pool")?;
    let card = HostCard {
        format: HostCard::FORMAT,
        host: Uuid::new_v4(),
        libvirt: DaemonMode::System,
        fleets: BTreeMap::from([("f".to_owned(), 3)]),
        volumes: BTreeMap::new(),
    };
    host.write_card(mark("card").fleet, &card).await?;
    check.step("write card");
    let pool = check.view().await?.pool.ok_or("no pool")?;
    must(pool.card == Some(card), "the card is read back")?;

    let path = &format!("/tmp/freehold host_check's {}", Uuid::new_v4());
    must(host.read_file(path).await?.is_none(), "no file there")?;
    host.write_file(path, b"one\n").await?;
    host.write_file(path, b"two\n").await?;
    must(host.read_file(path).await?.as_deref() == Some(b"two\n"), "the file is read back")?;
    check.step("write and read a file");
    Ok(())
}

async fn images(check: &mut Check, image: &ImageSpec, file: &Path, work: &Path) -> Outcome {
    let host = Arc::clone(&check.host);
    let progress: Progress = Arc::new(|_, _| {});
    host.store_image(image, file, &progress).await?;
    check.step("store image");
    host.store_image(image, file, &progress).await?;
    check.step("store image again");

    let wrong = ImageSpec {
        volume: "wrong.qcow2".to_owned(),
        checksum: Checksum::sha256(&"0".repeat(64))?,
        ..image.clone()
    };
    let kind = HostErrorKind::Input;
    refused(host.store_image(&wrong, file, &progress).await, kind, "a wrong checksum")?;
    let odd = work.join("odd");
    std::fs::write(&odd, "<html>404</html>")?;
    refused(host.store_image(&wrong, &odd, &progress).await, kind, "a web page")?;
    let nowhere = "http://127.0.0.1:9/image.qcow2";
    let fetched = host.fetch_image(&wrong, nowhere, &progress).await?;
    must(matches!(fetched, Fetched::Not(_)), "nothing is fetched from nowhere")?;
    let volumes = check.view().await?.pool.ok_or("no pool")?.volumes;
    must(volumes.len() == 1 && volumes.contains_key(&image.volume), "only the image is there")?;
    check.step("refuse bad images");

    let big = work.join("big");
    let (bytes, size) = (make_big(&big)?, std::fs::metadata(&big)?.len());
    let big_image = ImageSpec {
        volume: "big.qcow2".to_owned(),
        checksum: Checksum::sha256(&bytes)?,
        ..image.clone()
    };
    check.start = Instant::now();
    let sent = Arc::new(std::sync::Mutex::new(Instant::now()));
    let last = Arc::clone(&sent);
    let progress: Progress = Arc::new(move |_, _| *last.lock().unwrap() = Instant::now());
    let start = check.start;
    host.store_image(&big_image, &big, &progress).await?;
    let speed = |time: Duration| u128::from(size) / time.as_micros().max(1);
    let (sending, all) = (*sent.lock().unwrap() - start, start.elapsed());
    println!(
        "            upload of {} MB: {} MB/s; with digest and sync {} MB/s",
        size / 1_000_000,
        speed(sending),
        speed(all)
    );
    check.step("store a big image");
    host.remove_volume("big.qcow2").await?;
    host.remove_volume("big.qcow2").await?;
    host.refresh_pool().await?;
    check.step("remove it, refresh");
    Ok(())
}

async fn network(check: &mut Check) -> Outcome {
    let host = Arc::clone(&check.host);
    let spec = NetworkSpec {
        uuid: Uuid::new_v4(),
        name: "hostcheck".to_owned(),
        mark: mark("hostcheck"),
        subnet: "10.214.7.0/24".parse()?,
        gateway: "10.214.7.1".parse()?,
        dns: vec!["9.9.9.9".parse()?],
        dhcp: vec!["10.214.7.100-10.214.7.110".parse()?],
    };
    host.define_network(&spec).await?;
    host.define_network(&spec).await?;
    check.step("define network, twice");
    let seen = check.view().await?.networks;
    let seen = seen.iter().find(|network| network.uuid == spec.uuid).ok_or("no network")?;
    must(seen.active && seen.autostart && seen.mark == Some(spec.mark.clone()), "it runs, marked")?;
    let other = NetworkSpec { uuid: Uuid::new_v4(), ..spec.clone() };
    refused(host.define_network(&other).await, HostErrorKind::Conflict, "a network's name taken")?;
    host.remove_network(&spec.ours()).await?;
    host.remove_network(&spec.ours()).await?;
    check.step("remove network, twice");
    Ok(())
}

async fn domain(check: &mut Check, pool: &str, image: &ImageSpec, firmware: Firmware) -> Outcome {
    let host = Arc::clone(&check.host);
    let spec = spec(&format!("check-{firmware:?}").to_lowercase(), image, firmware);
    let (disk, seed) = (spec.disks[0].volume.clone(), spec.seed.clone().unwrap());
    let volume = volume(&disk, image);
    host.create_volume(&volume).await?;
    host.create_volume(&volume).await?;
    let other = VolumeSpec { size: Size::from_mib(9), ..volume.clone() };
    refused(host.create_volume(&other).await, HostErrorKind::Conflict, "another volume")?;
    host.write_volume(&seed, &[7; 4096]).await?;
    check.step("create volume, write seed");
    host.define_domain(&spec).await?;
    host.define_domain(&spec).await?;
    check.step("define domain, twice");
    let stranger = DomainSpec { uuid: Uuid::new_v4(), ..spec.clone() };
    refused(host.define_domain(&stranger).await, HostErrorKind::Conflict, "a domain's name taken")?;
    let renamed = DomainSpec { mark: mark("other"), ..spec.clone() };
    refused(host.define_domain(&renamed).await, HostErrorKind::Conflict, "a domain's UUID taken")?;
    check.start = Instant::now();
    seen_as(check, &spec, pool, DomainState::Off).await?;

    host.start_domain(&spec.ours()).await?;
    host.start_domain(&spec.ours()).await?;
    check.step("start domain, twice");
    seen_as(check, &spec, pool, DomainState::Running).await?;
    console(check, &spec).await?;
    let conflict = HostErrorKind::Conflict;
    refused(host.undefine_domain(&spec.ours()).await, conflict, "undefining while it runs")?;
    refused(host.rename_volume(&disk, "trash.x").await, conflict, "renaming a disk in use")?;
    refused(host.remove_volume(&seed).await, conflict, "removing a seed in use")?;
    check.start = Instant::now();
    host.stop_domain(&spec.ours(), Duration::from_secs(1)).await?;
    host.stop_domain(&spec.ours(), Duration::from_secs(1)).await?;
    check.step("stop domain, twice");
    host.set_autostart(&spec.ours(), false).await?;
    refused(host.remove_volume(&image.volume).await, conflict, "removing an image under a disk")?;
    let last = host.domain_xml(spec.uuid).await?;
    must(last.is_some_and(|xml| xml.contains(&spec.name)), "its last XML comes back")?;
    if let Some(nvram) = &spec.nvram {
        refused(host.rename_volume(nvram, "trash.nvram").await, conflict, "renaming NVRAM in use")?;
    }
    host.undefine_domain(&spec.ours()).await?;
    host.undefine_domain(&spec.ours()).await?;
    must(host.domain_xml(spec.uuid).await?.is_none(), "it is gone")?;
    check.step("undefine domain, twice");
    if let Some(nvram) = &spec.nvram {
        host.rename_volume(nvram, "trash.nvram").await?;
        host.remove_volume("trash.nvram").await?;
        check.step("its NVRAM is kept, to the trash");
    }
    cleared(check, &disk, &seed, image).await
}

async fn seen_as(check: &mut Check, spec: &DomainSpec, pool: &str, state: DomainState) -> Outcome {
    let view = check.view().await?;
    check.step("observe");
    let seen = view.domains.iter().find(|domain| domain.uuid == spec.uuid).ok_or("no domain")?;
    let want = DomainShape::of(spec, pool);
    let live = (state == DomainState::Running).then_some(&want);
    must(seen.state == state, "its state")?;
    must(seen.defined == want, &format!("{:?} is {want:?}", seen.defined))?;
    must(seen.live.as_ref() == live, &format!("{:?} is {live:?}", seen.live))?;
    must(seen.mark.as_ref() == Some(&spec.mark), "its mark")?;
    must(seen.persistent && seen.autostart == spec.autostart, "persistent, autostart")?;
    let volumes = view.pool.ok_or("no pool")?.volumes;
    let disk = volumes.get(&spec.disks[0].volume).ok_or("no disk")?;
    let backing = spec.disks[0].backing.as_ref().map(|name| format!("{pool}/{name}"));
    must(disk.backing == backing && disk.capacity == Size::from_mib(64), "the disk's shape")?;
    must(volumes.contains_key(spec.seed.as_ref().unwrap()), "the seed is there")
}

async fn console(check: &mut Check, spec: &DomainSpec) -> Outcome {
    let want = if spec.firmware == Firmware::Bios { "freehold boots" } else { "Shell>" };
    for _ in 0..300 {
        let tail = check.host.console_tail(spec.uuid, 5).await?;
        if tail.contains(want) {
            check.step(&format!("console: {}", tail.lines().last().unwrap_or_default()));
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("the console does not say {want}").into())
}

async fn cleared(check: &mut Check, disk: &str, seed: &str, image: &ImageSpec) -> Outcome {
    let host = Arc::clone(&check.host);
    host.rename_volume(disk, "trash.disk").await?;
    refused(host.rename_volume(seed, "trash.disk").await, HostErrorKind::Conflict, "a taken name")?;
    host.rename_volume("trash.disk", disk).await?;
    check.step("rename volume, and back");
    // libvirt does not know of the renames: the file must not be made anew over the old one.
    host.create_volume(&volume(disk, image)).await?;
    host.refresh_pool().await?;
    host.remove_volume(disk).await?;
    host.remove_volume(seed).await?;
    host.refresh_pool().await?;
    check.step("remove volumes, refresh");
    Ok(())
}

async fn dialling(check: &mut Check, target: &str) -> Outcome {
    let Some(name) = target.rsplit('@').next().filter(|_| target != "local") else { return Ok(()) };
    let address = std::env::var("HOST_CHECK_SSHD").unwrap_or_else(|_| name.to_owned());
    let Ok(address) = address.parse() else { return Ok(()) };
    let key = guest_host_key(check.host.dial(address, 22).await?).await?;
    must(key.starts_with("ssh-ed25519 AAAA"), &key)?;
    check.step("dial an sshd, read its key");
    let closed = check.host.dial(address, 9).await.map(drop);
    refused(closed, HostErrorKind::Unreachable, "a port where nobody listens")
}

async fn many(check: &mut Check, pool: &str, image: &ImageSpec, count: usize) -> Outcome {
    let specs: Vec<DomainSpec> =
        (0..count).map(|n| spec(&format!("many-{n}"), image, Firmware::Bios)).collect();
    check.start = Instant::now();
    each(&specs, |spec| async {
        let (disk, seed) = (&spec.disks[0].volume, spec.seed.as_ref().unwrap());
        check.host.create_volume(&volume(disk, image)).await?;
        check.host.write_volume(seed, &vec![7; 300 << 10]).await?;
        check.host.define_domain(spec).await
    })
    .await?;
    check.step(&format!("make {count} domains"));
    for _ in 0..3 {
        let view = check.view().await?;
        check.step(&format!("observe {} domains", view.domains.len()));
        let made = |spec: &&DomainSpec| view.domains.iter().any(|seen| seen.uuid == spec.uuid);
        must(specs.iter().filter(made).count() == count, "all are seen")?;
    }
    must(specs[0].disks[0].backing.is_some() && !pool.is_empty(), "clones")?;
    each(&specs, |spec| async {
        check.host.undefine_domain(&spec.ours()).await?;
        check.host.rename_volume(&spec.disks[0].volume, &format!("t.{}", spec.name)).await?;
        check.host.remove_volume(spec.seed.as_ref().unwrap()).await
    })
    .await?;
    check.step(&format!("undefine {count} domains, disks to the trash, seeds removed"));
    check.host.refresh_pool().await?;
    each(&specs, |spec| async { check.host.remove_volume(&format!("t.{}", spec.name)).await })
        .await?;
    check.host.refresh_pool().await?;
    check.step("empty the trash");
    Ok(())
}

async fn each<'a, F: Future<Output = Result<(), HostError>>>(
    specs: &'a [DomainSpec],
    act: impl Fn(&'a DomainSpec) -> F,
) -> Result<(), HostError> {
    futures::future::try_join_all(specs.iter().map(act)).await.map(drop)
}

//! What is done with our pool and its volumes.

mod others;

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};
use virt::{
    connect::Connect, error::Error, storage_pool::StoragePool, storage_vol::StorageVol,
    stream::Stream,
};
use virt_sys as sys;

use super::{
    CallError, Libvirt, found, has_code, is_lost,
    storage_xml::{pool_path, pool_xml, volume_view, volume_xml},
};
use crate::{
    host::trouble::Trouble,
    model::{VolumeSpec, VolumeView},
};

/// The name of our pool in libvirt.
pub(super) const POOL: &str = "freehold";

/// How much of a file is read through libvirt at once.
const MOST_AT_ONCE: u64 = 4 << 20;

/// Who owns our directory and files: the SSH user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Our pool as libvirt knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolState {
    pub(crate) path: String,
    pub(crate) active: bool,
    /// Whether making it went through: autostart is set last.
    pub(crate) finished: bool,
}

impl Libvirt {
    pub(crate) async fn pool(&self) -> Result<Option<PoolState>, Trouble> {
        self.read(|connect| {
            let Some(pool) = pool_of(connect)? else { return Ok(None) };
            let path = pool_path(&pool.xml_desc(0)?)?;
            let (active, finished) = (pool.is_active()?, pool.autostart()?);
            Ok(Some(PoolState { path, active, finished }))
        })
        .await
    }

    /// Makes and starts our pool. Autostart is set last: a pool without it was never finished, and
    /// only such a one gets a directory.
    pub(crate) async fn create_pool(&self, path: &str, owner: Owner) -> Result<(), Trouble> {
        let definition = pool_xml(POOL, path, owner)?;
        let path = path.to_owned();
        self.change(move |connect| {
            let pool = match pool_of(connect)? {
                None => connect.define_storage_pool_xml(&definition, 0)?,
                Some(pool) => {
                    let there = pool_path(&pool.xml_desc(0)?)?;
                    if there != path {
                        let why = format!("libvirt has a pool {POOL} in {there}, not in {path}");
                        let hint = "set `pool` in the host's block, or undefine that pool";
                        return Err(Trouble::conflict(why).hint(hint).into());
                    }
                    pool
                }
            };
            if !pool.is_active()? {
                if !pool.autostart()? {
                    pool.build(0)?;
                }
                pool.create(0)?;
            }
            Ok(pool.set_autostart(true)?)
        })
        .await
    }

    /// Reads the pool's directory anew into libvirt.
    pub(crate) async fn refresh_pool(&self) -> Result<(), Trouble> {
        let _alone = self.pool_jobs.write().await;
        self.when_pool_is_quiet(|| self.change(|connect| busy(our_pool(connect)?.refresh(0)))).await
    }

    /// Makes a volume; one of that name that is the same is left alone.
    pub(crate) async fn create_volume(
        &self,
        spec: &VolumeSpec,
        path: &str,
        owner: Owner,
    ) -> Result<(), Trouble> {
        let definition = volume_xml(spec, path, owner)?;
        if self.made_volume(&definition).await? {
            return Ok(());
        }
        // libvirt does not see what was written past it, and still sees what was renamed past it.
        self.refresh_pool().await?;
        let wanted = std::slice::from_ref(&spec.name);
        let Some(there) = self.volumes(wanted).await?.remove(&spec.name) else {
            let made = self.made_volume(&definition).await?;
            return if made { Ok(()) } else { Err(Trouble::failed("it came and went")) };
        };
        let backing = spec.backing.as_ref().map(|backing| format!("{path}/{backing}"));
        if there.capacity == spec.size && there.backing == backing {
            return Ok(());
        }
        let under = there.backing.as_deref().unwrap_or("nothing");
        let capacity = there.capacity;
        let why = format!("a volume of that name is there: {capacity}, on {under}");
        Err(Trouble::conflict(why))
    }

    async fn made_volume(&self, definition: &str) -> Result<bool, Trouble> {
        let _with_others = self.pool_jobs.read().await;
        self.when_pool_is_quiet(|| {
            let definition = definition.to_owned();
            self.change(move |connect| {
                match StorageVol::create_xml(&our_pool(connect)?, &definition, 0) {
                    Err(error) if is_there(&error) => Ok(Some(false)),
                    made => Ok(busy(made)?.map(|_| true)),
                }
            })
        })
        .await
    }

    /// Returns how libvirt sees these volumes; one unknown to it is left out.
    pub(crate) async fn volumes(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, VolumeView>, Trouble> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names = names.to_vec();
        self.read(move |connect| {
            let pool = our_pool(connect)?;
            let mut views = BTreeMap::new();
            for name in &names {
                let volume = pool.lookup_storage_vol_by_name(name);
                if let Some(volume) = found(volume, sys::VIR_ERR_NO_STORAGE_VOL)? {
                    views.insert(name.clone(), volume_view(&volume.xml_desc(0)?)?);
                }
            }
            Ok(views)
        })
        .await
    }

    /// Returns what lies under volumes of whatever pools, each named by its path or as
    /// `pool:NAME/VOLUME`. One that libvirt does not know, or cannot read, is left out.
    pub(crate) async fn backings(
        &self,
        files: &[String],
    ) -> Result<BTreeMap<String, Option<String>>, Trouble> {
        if files.is_empty() {
            return Ok(BTreeMap::new());
        }
        let files = files.to_vec();
        self.read(move |connect| {
            let mut backings = BTreeMap::new();
            for file in &files {
                match volume_at(connect, file).and_then(|volume| volume.xml_desc(0)) {
                    Ok(xml) => drop(backings.insert(file.clone(), volume_view(&xml)?.backing)),
                    Err(error) if is_lost(connect, &error) => return Err(error.into()),
                    Err(error) => tracing::debug!(file, %error, "unknown to libvirt"),
                }
            }
            Ok(backings)
        })
        .await
    }

    /// Returns the end of a file in our pool that only libvirt may read.
    pub(crate) async fn volume_tail(
        &self,
        name: &str,
        most: u64,
        since: Option<u64>,
    ) -> Result<(Vec<u8>, u64), Trouble> {
        let known = name.to_owned();
        let is_known = self.read(move |connect| Ok(volume_called(connect, &known)?.is_some()));
        if !is_known.await? {
            self.refresh_pool().await?;
        }
        let name = name.to_owned();
        self.read(move |connect| {
            let Some(volume) = volume_called(connect, &name)? else {
                return Ok((Vec::new(), 0));
            };
            // As it is now: libvirt looks at the file itself.
            let size = volume.info()?.capacity;
            let offset = match since {
                Some(since) if since == size => return Ok((Vec::new(), size)),
                // A shorter file is another one.
                Some(since) => {
                    if since < size {
                        since
                    } else {
                        0
                    }
                }
                None => size.saturating_sub(most),
            };
            // The rest is for the next time.
            let size = size.min(offset + MOST_AT_ONCE);
            let stream = Stream::new(connect, 0)?;
            volume.download(&stream, offset, size - offset, 0)?;
            let mut tail = Vec::new();
            let mut piece = vec![0; 64 << 10];
            loop {
                match usize::try_from(stream.recv(&mut piece)?) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => tail.extend_from_slice(&piece[..read]),
                }
            }
            stream.finish()?;
            Ok((tail, size))
        })
        .await
    }

    /// Repeats a job that libvirt refuses while another client's job is going on.
    async fn when_pool_is_quiet<T, F>(&self, mut job: impl FnMut() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<Option<T>, Trouble>>,
    {
        let end = Instant::now() + self.long_deadline;
        loop {
            if let Some(value) = job().await? {
                return Ok(value);
            }
            if Instant::now() >= end {
                return Err(Trouble::failed("the pool is busy with jobs of another client"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Makes "the pool is busy" a value: nothing was done, and it may be tried again.
fn busy<T>(result: Result<T, Error>) -> Result<Option<T>, CallError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.message().contains("has asynchronous jobs running") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// libvirt knows the volume, or found a file in its place.
fn is_there(error: &Error) -> bool {
    has_code(error, sys::VIR_ERR_STORAGE_VOL_EXIST)
        || error.message().contains("already exists")
        || error.message().contains("already in use")
}

fn volume_at(connect: &Connect, file: &str) -> Result<StorageVol, Error> {
    match file.strip_prefix("pool:").and_then(|named| named.split_once('/')) {
        Some((pool, name)) => {
            connect.lookup_storage_pool_by_name(pool)?.lookup_storage_vol_by_name(name)
        }
        None => connect.lookup_storage_vol_by_path(file),
    }
}

fn pool_of(connect: &Connect) -> Result<Option<StoragePool>, CallError> {
    found(connect.lookup_storage_pool_by_name(POOL), sys::VIR_ERR_NO_STORAGE_POOL)
}

/// Returns a volume of our pool, as far as libvirt knows it.
fn volume_called(connect: &Connect, name: &str) -> Result<Option<StorageVol>, CallError> {
    found(our_pool(connect)?.lookup_storage_vol_by_name(name), sys::VIR_ERR_NO_STORAGE_VOL)
}

pub(super) fn our_pool(connect: &Connect) -> Result<StoragePool, CallError> {
    pool_of(connect)?.ok_or_else(|| Trouble::failed("libvirt has no pool of ours").into())
}

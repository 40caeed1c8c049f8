//! Looks at a host: all of it, or not at all.

use super::{
    card::refuse_other_daemon,
    libvirt::{Offer, PoolState, RawDomain},
    listing::{self, CHANGED, Listing, NO_DIRECTORY, NO_FIND},
    real::RealHost,
    ssh::Stdin,
    trouble::Trouble,
};
use crate::model::{DomainView, HostView, PoolView};

impl RealHost {
    /// Reads everything at the same time; a part that fails spoils the whole.
    pub(super) async fn look(&self, bridges: &[String]) -> Result<HostView, Trouble> {
        let (listing, pool, domains, networks, offer) = tokio::try_join!(
            self.list(bridges),
            self.libvirt.pool(),
            self.libvirt.domains(),
            self.libvirt.networks(),
            self.libvirt.offer(),
        )?;
        if let Ok(Listing { card: Some(card), .. }) = &listing {
            refuse_other_daemon(card, self.mode, &self.pool)?;
        }
        self.refuse_other_place(pool.as_ref())?;
        let (pool, found) = match (pool, listing) {
            (Some(pool), Ok(listing)) if pool.active => {
                let listing = self.complete(listing).await?;
                let bridges = listing.bridges.clone();
                (Some(pool_view(pool, listing)), bridges)
            }
            (Some(pool), Err(trouble)) if pool.active => return Err(trouble),
            (pool, Ok(listing)) => (pool.map(shut_pool), listing.bridges),
            (pool, Err(_)) => (pool.map(shut_pool), self.bridges(bridges).await?),
        };
        // On a thread of its own: whoever reads many hosts reads them on one.
        let shaped = tokio::task::spawn_blocking(move || {
            let domains = views(&domains, pool.as_ref())?;
            let Offer { kvm, memory } = offer;
            Ok(HostView { kvm, memory, pool, networks, domains, bridges: found })
        });
        shaped.await.map_err(Trouble::failed)?
    }

    fn refuse_other_place(&self, pool: Option<&PoolState>) -> Result<(), Trouble> {
        let Some(other) = pool.filter(|pool| pool.path != self.pool) else { return Ok(()) };
        let why = format!("its pool `freehold` lies in {}, not in {}", other.path, self.pool);
        Err(Trouble::conflict(why).hint("set `pool` in the host's block"))
    }

    /// Reads the pool's directory; `Ok(Err)` when the directory itself cannot be read, which is no
    /// trouble where there is no pool yet.
    pub(super) async fn list(
        &self,
        bridges: &[String],
    ) -> Result<Result<Listing, Trouble>, Trouble> {
        const TRIES: u64 = 10;
        let command = listing::command(&self.pool, bridges)?;
        let mut why = String::new();
        for again in 0..TRIES {
            // Other fleets may be at work in the same pool.
            tokio::time::sleep(std::time::Duration::from_millis(20 * again)).await;
            let output = self.transport.run(&command, Stdin::Nothing, self.deadlines.call).await?;
            match output.code {
                0 => {
                    if let Some(listing) = listing::read(&output.stdout, &self.pool)? {
                        return Ok(Ok(listing));
                    }
                    "a file grew or shrank".clone_into(&mut why);
                }
                CHANGED => why = output.complaint(),
                NO_DIRECTORY => return Ok(Err(output.trouble())),
                NO_FIND => return Err(no_find()),
                _ => {
                    let hint = format!("the SSH user must own {}", self.pool);
                    return Ok(Err(output.trouble().hint(hint)));
                }
            }
        }
        let changed = "the pool's directory changed all the time while it was read";
        Ok(Err(Trouble::failed(format!("{changed}: {why}"))))
    }

    async fn bridges(&self, bridges: &[String]) -> Result<Vec<String>, Trouble> {
        let command = listing::bridges_command(bridges)?;
        let output = self.transport.run(&command, Stdin::Nothing, self.deadlines.call).await?;
        Ok(listing::bridges_of(&output.good()?))
    }

    /// Adds what libvirt has to tell: disks of running domains belong to QEMU's user.
    pub(super) async fn complete(&self, mut listing: Listing) -> Result<Listing, Trouble> {
        let mut missing = std::mem::take(&mut listing.untold);
        for refreshed in [false, true] {
            if missing.is_empty() {
                break;
            }
            if refreshed {
                self.libvirt.refresh_pool().await?;
            }
            listing.volumes.extend(self.libvirt.volumes(&missing).await?);
            missing.retain(|name| !listing.volumes.contains_key(name));
        }
        match missing.first() {
            None => Ok(listing),
            Some(name) => Err(Trouble::failed(format!("{}/{name} cannot be read", self.pool))
                .hint("let the SSH user read it, or move it out of the pool")),
        }
    }
}

/// That of busybox prints no sizes.
pub(super) fn no_find() -> Trouble {
    Trouble::failed("its `find` is not GNU's").hint("install findutils on the host")
}

fn views(domains: &[RawDomain], pool: Option<&PoolView>) -> Result<Vec<DomainView>, Trouble> {
    let under = |file: &str| {
        let pool = pool?;
        let name = file.strip_prefix(pool.path.as_str())?.strip_prefix('/')?;
        pool.volumes.get(name)?.backing.clone()
    };
    domains.iter().map(|raw| raw.view(&under)).collect()
}

fn pool_view(pool: PoolState, listing: Listing) -> PoolView {
    PoolView {
        path: pool.path,
        active: true,
        card: listing.card,
        volumes: listing.volumes,
        free: listing.free,
    }
}

fn shut_pool(pool: PoolState) -> PoolView {
    PoolView { path: pool.path, active: false, ..PoolView::default() }
}

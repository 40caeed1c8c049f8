//! Who uses a file, asked right before it is moved or removed.
//!
//! Others' disks may stand on ours from outside of our pool, and name it by another way: libvirt's
//! XML of a domain that is off does not say so, their headers do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    backing::backing_file,
    libvirt::RawDomain,
    listing::{Listing, UNREADABLE},
    outside::{self, Content},
    qcow2::Header,
    real::RealHost,
    trouble::Trouble,
};

/// Who uses which file, as of a moment.
#[derive(Debug)]
pub(super) struct Uses {
    since: Instant,
    by: Users,
    /// A disk of somebody's, of which nobody can tell on what it stands.
    dark: Option<String>,
    /// Whether other pools were looked at, too.
    everywhere: bool,
}

/// A file, and who names it.
type Users = BTreeMap<String, String>;

/// What becomes of a file that is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It can be put back, or made again.
    Mended,
    /// It is gone for good.
    Final,
}

/// Files outside of the pool, on the way to whatever they stand on.
#[derive(Debug, Default)]
struct Trail {
    by: Users,
    /// Those not looked at yet.
    next: BTreeSet<String>,
    known: BTreeSet<String>,
    /// Files that are no disks, or raw ones: they stand on nothing.
    plain: BTreeSet<String>,
    /// Files that merely lie in other pools, and which: nobody names them.
    found: Users,
    dark: Option<String>,
}

impl Trail {
    /// Adds a file of another pool, for what it stands on.
    fn find(&mut self, file: String, place: &str, pool: &Pool<'_>) {
        if !pool.is_plainly_in(&file) && !self.by.contains_key(&file) {
            self.next.insert(file.clone());
            self.found.insert(file, format!("pool {place}"));
        }
    }

    /// Says whose a file is, for what it stands on.
    fn user(&self, file: &str) -> String {
        match (self.by.get(file), self.found.get(file)) {
            (Some(user), _) => user.clone(),
            (None, Some(place)) => format!("{file} of {place}"),
            (None, None) => String::new(),
        }
    }

    fn cannot_tell(&mut self, file: &str) {
        let user = self.user(file);
        let found = self.found.contains_key(file) && !self.by.contains_key(file);
        self.dark = Some(if found { user } else { format!("{file} of {user}") });
    }

    fn add(&mut self, file: String, user: &str, pool: &Pool<'_>) {
        if !pool.is_plainly_in(&file) && !self.known.contains(&file) {
            self.next.insert(file.clone());
        }
        self.by.entry(file).or_insert_with(|| user.to_owned());
    }

    /// Follows what a file's first bytes say.
    fn read(&mut self, file: &str, head: &[u8], user: &str, pool: &Pool<'_>) {
        let Ok(header) = Header::read(head) else { return };
        let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
        match (header.backing, header.backing_name(head)) {
            (None, _) => {}
            (Some(_), Some(name)) => self.add(backing_file(name, directory), user, pool),
            (Some(_), None) => self.cannot_tell(file),
        }
    }
}

/// Our pool, as far as names tell what lies in it.
struct Pool<'a> {
    path: &'a str,
    /// Names of links in it.
    links: &'a BTreeSet<String>,
}

impl Pool<'_> {
    /// Says whether a path is a file of the pool under its own name: the pool's list has it.
    fn is_plainly_in(&self, file: &str) -> bool {
        let name = file.strip_prefix(self.path).and_then(|rest| rest.strip_prefix('/'));
        name.is_some_and(|name| !name.contains('/') && !self.links.contains(name))
    }
}

impl RealHost {
    /// Refuses when a domain names the file or a disk stands on it, by a look that began after
    /// this call did. Calls that wait together share one look.
    pub(super) async fn refuse_if_used(&self, path: &str, loss: Loss) -> Result<(), Trouble> {
        let asked = Instant::now();
        let mut last = self.uses.lock().await;
        let everywhere = loss == Loss::Final;
        let serves = |uses: &&Arc<Uses>| uses.since >= asked && uses.everywhere >= everywhere;
        let fresh = last.as_ref().filter(serves).map(Arc::clone);
        let uses = match fresh {
            Some(uses) => uses,
            None => Arc::new(self.uses(everywhere).await?),
        };
        *last = Some(Arc::clone(&uses));
        drop(last);
        if let Some(user) = uses.by.get(path) {
            return Err(Trouble::conflict(format!("{user} uses it")));
        }
        match &uses.dark {
            Some(disk) if loss == Loss::Final => {
                let hint = "let the SSH user read that file, or make a libvirt pool of its directory, \
                            or read that pool anew (`virsh pool-refresh`)";
                let why = format!("it may lie under {disk}, which cannot be read");
                Err(Trouble::conflict(why).hint(hint))
            }
            _ => Ok(()),
        }
    }

    async fn uses(&self, everywhere: bool) -> Result<Uses, Trouble> {
        let since = Instant::now();
        let (listing, domains) = tokio::try_join!(self.list(&[]), self.libvirt.domains())?;
        let listing = self.complete(listing?).await?;
        let mut trail = self.trail(&listing, &domains)?;
        let pool = Pool { path: &self.pool, links: &listing.links };
        if everywhere {
            self.find_elsewhere(&mut trail, &pool).await?;
        }
        let trail = self.followed(trail, &pool).await?;
        Ok(Uses { since, by: trail.by, dark: trail.dark, everywhere })
    }

    /// Adds what lies in libvirt's other active pools: a disk that no domain names stands on something,
    /// too. libvirt knows of a directory what was there when it last read it.
    async fn find_elsewhere(&self, trail: &mut Trail, pool: &Pool<'_>) -> Result<(), Trouble> {
        let others = self.libvirt.other_pools().await?;
        if let Some(name) = others.unread {
            trail.dark = Some(format!("a volume of pool {name}"));
        }
        let directories = others.directories.keys();
        let deadline = self.deadlines.call;
        for file in outside::files_in(&self.transport, directories, deadline).await? {
            let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
            let place = others.directories.get(directory).map_or("", String::as_str);
            trail.find(file.clone(), place, pool);
        }
        for (file, place) in others.files {
            trail.find(file, &place, pool);
        }
        Ok(())
    }

    /// Returns where to begin: what domains name, and what volumes of the pool stand on.
    fn trail(&self, listing: &Listing, domains: &[RawDomain]) -> Result<Trail, Trouble> {
        let pool = Pool { path: &self.pool, links: &listing.links };
        let mut trail = Trail::default();
        for domain in domains {
            let user = format!("domain {}", domain.name());
            let layered = domain.layered_disks()?;
            let files = domain.files(&self.pool)?;
            trail.plain.extend(files.difference(&layered).cloned());
            for file in files.into_iter().chain(layered) {
                trail.add(file, &user, &pool);
            }
        }
        for (name, volume) in &listing.volumes {
            if let Some(under) = &volume.backing {
                trail.plain.remove(under);
                if under == UNREADABLE {
                    trail.dark = Some(format!("volume {name}"));
                }
                trail.add(under.clone(), &format!("volume {name}"), &pool);
            }
        }
        Ok(trail)
    }

    /// Follows disks down to what they stand on, until everything left lies in the pool.
    async fn followed(&self, mut trail: Trail, pool: &Pool<'_>) -> Result<Trail, Trouble> {
        // Longer chains are made by a loop, which `known` ends as well.
        const MOST: usize = 200;
        /// One command looks at so many.
        const AT_ONCE: usize = 200;
        for _ in 0..MOST {
            let files: Vec<String> = std::mem::take(&mut trail.next).into_iter().collect();
            if files.is_empty() {
                break;
            }
            trail.known.extend(files.iter().cloned());
            for files in files.chunks(AT_ONCE) {
                self.follow(&mut trail, files, pool).await?;
            }
        }
        Ok(trail)
    }

    /// Follows these files by one step.
    async fn follow(
        &self,
        trail: &mut Trail,
        files: &[String],
        pool: &Pool<'_>,
    ) -> Result<(), Trouble> {
        let looks = outside::look(&self.transport, pool.path, files, self.deadlines.call).await?;
        let mut shut = Vec::new();
        for (file, look) in looks {
            let user = trail.user(&file);
            if trail.by.contains_key(&file) {
                // Whoever names it otherwise means this file.
                trail.by.entry(look.real).or_insert_with(|| user.clone());
            }
            match look.content {
                Content::Nothing => {}
                Content::Head(head) => trail.read(&file, &head, &user, pool),
                Content::Shut => shut.push(file),
            }
        }
        shut.extend(files.iter().filter(|file| file.starts_with("pool:")).cloned());
        let told = self.libvirt.backings(&shut).await?;
        for file in shut {
            match told.get(&file) {
                Some(Some(under)) => {
                    let user = trail.user(&file);
                    trail.add(under.clone(), &user, pool);
                }
                Some(None) => {}
                None if trail.plain.contains(&file) => {}
                None => trail.cannot_tell(&file),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "uses_tests.rs"]
mod tests;

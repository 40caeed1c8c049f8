//! The pool of a simulated host, and who is in the way of its files.

use std::collections::BTreeSet;

use super::{World, WorldDomain};
use crate::{
    host::trouble::Trouble,
    model::{DomainShape, ImageSpec, Ours, Size, VolumeSpec, VolumeView},
};

impl World {
    pub(super) fn started_pool(&self) -> Result<(), Trouble> {
        match self.pool {
            Some(true) => Ok(()),
            Some(false) => Err(Trouble::failed("the pool is not active")),
            None => Err(Trouble::failed("libvirt has no pool of ours")),
        }
    }

    /// Refuses what needs room. Nothing half made gets its name: files come by staging names, and
    /// libvirt removes a volume that it could not make.
    pub(super) fn roomy_pool(&self) -> Result<(), Trouble> {
        self.started_pool()?;
        if self.full { Err(Trouble::failed("No space left on device")) } else { Ok(()) }
    }

    pub(super) fn create_volume(&mut self, spec: &VolumeSpec) -> Result<(), Trouble> {
        self.started_pool()?;
        let backing = spec.backing.as_ref().map(|name| self.path(name));
        if let Some(image) = &spec.backing {
            let absent = || Trouble::failed("the image under it is not there");
            let size = self.volumes.get(image).ok_or_else(absent)?.capacity;
            if size > spec.size {
                let why = format!("the disk has {}, its image {size}", spec.size);
                return Err(Trouble::input(why));
            }
        }
        if let Some(there) = self.volumes.get(&spec.name) {
            return if there.capacity == spec.size && there.backing == backing {
                Ok(())
            } else {
                Err(Trouble::conflict("a volume of that name is there"))
            };
        }
        self.roomy_pool()?;
        let volume = VolumeView { capacity: spec.size, backing, used: Size::from_mib(1) };
        self.volumes.insert(spec.name.clone(), volume);
        Ok(())
    }

    /// Brings an image; one that is there is left alone.
    pub(super) fn store_image(&mut self, spec: &ImageSpec) -> Result<(), Trouble> {
        self.started_pool()?;
        if self.volumes.contains_key(&spec.volume) {
            return Ok(());
        }
        self.put_file(&spec.volume, Size::from_mib(64))
    }

    /// Puts a file into the pool; nothing stands on it or under it.
    pub(super) fn put_file(&mut self, name: &str, capacity: Size) -> Result<(), Trouble> {
        self.roomy_pool()?;
        let file = VolumeView { capacity, backing: None, used: capacity };
        self.volumes.insert(name.to_owned(), file);
        Ok(())
    }

    /// Refuses a volume that is used: by a domain, or by a volume that stands on it.
    pub(super) fn unused(&self, name: &str) -> Result<(), Trouble> {
        let path = self.path(name);
        for domain in self.domains.values() {
            if self.files_of(domain).contains(&path) {
                return Err(Trouble::conflict(format!("domain {} uses it", domain.spec.name)));
            }
        }
        match self.volumes.iter().find(|(_, over)| over.backing.as_ref() == Some(&path)) {
            None => Ok(()),
            Some((over, _)) => Err(Trouble::conflict(format!("volume {over} uses it"))),
        }
    }

    /// Returns every file that a domain's definition or its machine names.
    fn files_of(&self, domain: &WorldDomain) -> BTreeSet<String> {
        let runs = domain.runs.as_ref().filter(|_| domain.is_active());
        let mut files = BTreeSet::new();
        for spec in std::iter::once(&domain.spec).chain(runs) {
            let DomainShape { disks, beneath, cdroms, .. } = self.shape(domain, spec);
            files.extend(disks.into_iter().chain(beneath).chain(cdroms));
            files.extend(spec.nvram.as_ref().map(|name| self.path(name)));
        }
        files
    }

    pub(super) fn rename_volume(&mut self, from: &str, to: &str) -> Result<(), Trouble> {
        self.started_pool()?;
        self.unused(from)?;
        if self.volumes.contains_key(to) {
            return Err(Trouble::conflict(format!("{to} is there already")));
        }
        let volume = self.volumes.remove(from).ok_or_else(|| Trouble::failed("no such volume"))?;
        self.volumes.insert(to.to_owned(), volume);
        if let Some(content) = self.contents.remove(from) {
            self.contents.insert(to.to_owned(), content);
        }
        Ok(())
    }

    pub(super) fn grow_volume(
        &mut self,
        ours: &Ours,
        name: &str,
        size: Size,
    ) -> Result<(), Trouble> {
        let overlay = self.domain(ours)?.overlays.get(name).cloned();
        if let Some(overlay) = overlay {
            return Err(Trouble::conflict(format!("{overlay} stands on it")));
        }
        let absent = || Trouble::failed(format!("no volume {name}"));
        let volume = self.volumes.get_mut(name).ok_or_else(absent)?;
        if size < volume.capacity {
            return Err(Trouble::conflict("a volume is never made smaller"));
        }
        volume.capacity = size;
        Ok(())
    }

    /// Refuses to start what lacks a file, under its disks too.
    pub(super) fn has_files(&self, domain: &WorldDomain) -> Result<(), Trouble> {
        let DomainShape { disks, cdroms, .. } = self.shape(domain, &domain.spec);
        for file in disks.into_iter().chain(cdroms) {
            let mut next = Some(file);
            while let Some(file) = next.take() {
                let name = file.strip_prefix(&format!("{}/", self.pool_path));
                let Some(volume) = name.and_then(|name| self.volumes.get(name)) else {
                    return Err(Trouble::failed(format!("cannot access storage file '{file}'")));
                };
                next.clone_from(&volume.backing);
            }
        }
        Ok(())
    }
}

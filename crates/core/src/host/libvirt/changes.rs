//! Changes of a domain that is there: its inactive XML is patched, never made anew.

use uuid::Uuid;
use virt::{connect::Connect, domain::Domain, storage_vol::StorageVol};
use virt_sys as sys;

use super::{
    CallError, Libvirt,
    domain_shape::{Place, place_of},
    domain_xml::domain_mark,
    domains::{WHOLE, absent, another, lookup, proved, refuse_changed, there},
    found,
    patch::patched,
    storage::our_pool,
    xml::{
        self, MARK, NICS, PREFIX, Tag, mark as mark_tag, mark_element, mark_in, mark_of, parsed,
    },
};
use crate::{
    host::trouble::Trouble,
    model::{DomainSpec, Mark, Ours, Size},
};

impl Libvirt {
    /// Patches a domain's definition. One that is as the spec says already is left alone, whoever
    /// made it so.
    pub(crate) async fn update_domain(
        &self,
        domain: &Ours,
        spec: &DomainSpec,
        pool: &str,
    ) -> Result<(), Trouble> {
        let (wanted, spec, pool) = (domain.clone(), spec.clone(), pool.to_owned());
        self.change(move |connect| {
            let Some((domain, definition)) = proved(connect, &wanted)? else {
                return Err(absent(wanted.uuid).into());
            };
            let Some(patched) = patched(&domain.xml_desc(WHOLE)?, &spec, &pool)? else {
                return Ok(());
            };
            refuse_changed(&wanted, &domain, &definition)?;
            if !domain.is_persistent()? {
                let why = format!("domain {wanted} is not defined: it is gone when it goes off");
                return Err(Trouble::conflict(why).into());
            }
            connect.define_domain_xml(&patched)?;
            Ok(())
        })
        .await
    }

    /// Writes our mark on a domain of that name that bears ours, or none.
    pub(crate) async fn mark_domain(
        &self,
        uuid: Uuid,
        name: &str,
        mark: &Mark,
    ) -> Result<(), Trouble> {
        let (name, mark) = (name.to_owned(), mark.clone());
        self.change(move |connect| {
            let domain = lookup(connect, uuid)?.ok_or_else(|| absent(uuid))?;
            let definition = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
            let borne = mark_in(&definition)?;
            let is_ours = |borne: &Mark| borne.fleet == mark.fleet && borne.name == mark.name;
            let called = domain.name()?;
            if called != name || !borne.as_ref().is_none_or(is_ours) {
                let why = format!("domain {called} with UUID {uuid} is another's");
                return Err(Trouble::conflict(why).into());
            }
            let nics = nics_of(&definition)?;
            let tag = nics.into_iter().fold(mark_tag(&mark), |tag, nics| tag.with(NICS, nics));
            write_mark(&domain, tag)
        })
        .await
    }

    /// Renames a domain that is off, then marks it: a name without its mark is a rename that was
    /// cut short, and is finished.
    pub(crate) async fn rename_domain(
        &self,
        domain: &Ours,
        spec: &DomainSpec,
    ) -> Result<(), Trouble> {
        let (wanted, spec) = (domain.clone(), spec.clone());
        self.change(move |connect| {
            let uuid = wanted.uuid;
            let domain = lookup(connect, uuid)?.ok_or_else(|| absent(uuid))?;
            let definition = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
            let borne = mark_in(&definition)?;
            let renamed = domain.name()? == spec.name;
            if renamed && borne.as_ref() == Some(&spec.mark) {
                return Ok(());
            }
            if !wanted.is_proved_by(borne.as_ref()) {
                return Err(another(&domain, &wanted)?.into());
            }
            if !renamed {
                refuse_changed(&wanted, &domain, &definition)?;
                rename(connect, &domain, &spec.name)?;
            }
            write_mark(&domain, domain_mark(&spec))
        })
        .await
    }

    /// Makes a volume larger: by its running machine, or by the pool.
    pub(crate) async fn grow_volume(
        &self,
        domain: &Ours,
        path: &str,
        size: Size,
    ) -> Result<(), Trouble> {
        let (wanted, file) = (domain.clone(), path.to_owned());
        // QEMU counts in sectors.
        let bytes = size.bytes().next_multiple_of(512);
        let by_machine = self.change(move |connect| {
            let domain = there(connect, &wanted)?;
            let runs = domain.is_active()?;
            match place_of(&domain.xml_desc(0)?, &file)? {
                Place::Beneath(top) => {
                    let why = format!("{top} stands on it: somebody made an external snapshot");
                    Err(Trouble::conflict(why).into())
                }
                Place::Disk(target) if runs => {
                    if larger(domain.block_info(&target, 0)?.capacity, bytes)? {
                        domain.block_resize(&target, bytes, sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES)?;
                    }
                    Ok(true)
                }
                Place::Disk(_) | Place::Nowhere => Ok(false),
            }
        });
        if by_machine.await? {
            return Ok(());
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        if self.resized(name, bytes).await? {
            return Ok(());
        }
        // libvirt does not see what was written past it.
        self.refresh_pool().await?;
        if self.resized(name, bytes).await? {
            return Ok(());
        }
        Err(Trouble::failed(format!("{path} is not there")))
    }

    async fn resized(&self, name: &str, bytes: u64) -> Result<bool, Trouble> {
        let _with_others = self.pool_jobs().await;
        let name = name.to_owned();
        self.change(move |connect| {
            let volume = our_pool(connect)?.lookup_storage_vol_by_name(&name);
            let Some(volume) = found(volume, sys::VIR_ERR_NO_STORAGE_VOL)? else {
                return Ok(false);
            };
            resize(&volume, bytes)?;
            Ok(true)
        })
        .await
    }

    /// Defines a domain from what was kept of it. It does not start with its host: that is no part
    /// of its XML.
    pub(crate) async fn restore_domain(&self, domain: &Ours, xml: &str) -> Result<(), Trouble> {
        if !is_of(xml, domain)? {
            return Err(Trouble::input(format!("what was kept is no definition of {domain}")));
        }
        let (wanted, xml) = (domain.clone(), xml.to_owned());
        self.change(move |connect| {
            if let Some((domain, definition)) = proved(connect, &wanted)? {
                return refuse_changed(&wanted, &domain, &definition);
            }
            connect.define_domain_xml(&xml)?;
            Ok(())
        })
        .await
    }
}

/// Says whether XML is of this domain and bears its mark.
fn is_of(xml: &str, domain: &Ours) -> Result<bool, Trouble> {
    let document = parsed(xml)?;
    let root = document.root_element();
    let uuid = xml::text(root, &["uuid"]);
    Ok(uuid == Some(&*domain.uuid.to_string()) && domain.is_proved_by(mark_of(root).as_ref()))
}

/// Gives a domain another name, and says in our words why libvirt would not.
fn rename(connect: &Connect, domain: &Domain, name: &str) -> Result<(), CallError> {
    let now = domain.name()?;
    let conflict = |why: String| Err(Trouble::conflict(why).into());
    if domain.is_active()? {
        return conflict(format!("domain {now} runs"));
    }
    if domain.has_managed_save(0)? {
        let hint = format!("start it, or let go of that: virsh managedsave-remove {now}");
        let why = format!("domain {now} is saved to disk: its memory has the old name");
        return Err(Trouble::conflict(why).hint(hint).into());
    }
    if found(connect.lookup_domain_by_name(name), sys::VIR_ERR_NO_DOMAIN)?.is_some() {
        return conflict(format!("another domain is called {name}"));
    }
    Ok(domain.rename(name, 0)?)
}

/// Returns the interfaces that the mark on a domain names, if it does.
fn nics_of(definition: &str) -> Result<Option<String>, Trouble> {
    let document = parsed(definition)?;
    let mark = mark_element(document.root_element());
    Ok(mark.and_then(|mark| mark.attribute(NICS)).map(str::to_owned))
}

/// Writes a mark into the definition and, where one runs, into the machine's own.
fn write_mark(domain: &Domain, mark: Tag) -> Result<(), CallError> {
    let runs = domain.is_active()?;
    let live = if runs { sys::VIR_DOMAIN_AFFECT_LIVE } else { 0 };
    let flags = sys::VIR_DOMAIN_AFFECT_CONFIG | live;
    let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).map_err(Trouble::failed)?;
    // The call itself puts the element into the namespace.
    let mark = mark.bare().xml()?;
    domain.set_metadata(kind, Some(&mark), Some(PREFIX), Some(MARK), flags)?;
    Ok(())
}

/// Says whether a disk has to become larger; it never becomes smaller.
fn larger(there: u64, wanted: u64) -> Result<bool, Trouble> {
    if there > wanted {
        let (there, wanted) = (Size::from_bytes(there), Size::from_bytes(wanted));
        return Err(Trouble::conflict(format!("it has {there}, which is more than {wanted}")));
    }
    Ok(there < wanted)
}

fn resize(volume: &StorageVol, bytes: u64) -> Result<(), CallError> {
    if larger(volume.info()?.capacity, bytes)? {
        volume.resize(bytes, 0)?;
    }
    Ok(())
}

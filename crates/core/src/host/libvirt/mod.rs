//! The conversation with a host's libvirt: the only place with blocking calls.
//!
//! Every call has a deadline. Past it the tunnel is cut, which makes the C call return, and the
//! next call connects anew. `virConnectGetHostname` is never called: it may take ten seconds in the
//! host's resolver.

mod changes;
mod console;
mod domain_shape;
mod domain_xml;
mod domains;
mod edit;
mod inspect;
mod kept;
mod network_xml;
mod networks;
#[cfg(test)]
mod odd_tests;
mod patch;
mod raw_domain;
mod storage;
mod storage_xml;
mod xml;

use std::{
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use tokio::{
    sync::{Mutex, RwLock, RwLockReadGuard, Semaphore},
    time::timeout,
};
use virt::connect::Connect;

pub(crate) use self::{
    console::OpenConsole,
    domain_xml::console_file,
    inspect::{Capabilities, TinyGuest},
    kept::kept_domain,
    raw_domain::RawDomain,
    storage::{Owner, PoolState},
};
use super::{HostErrorKind, transport::Transport, trouble::Trouble, tunnel::Tunnel};

/// libvirtd answers five requests of a connection at a time, keepalives included.
const CALLS: usize = 4;

/// What freehold asks of libvirt (firmware chosen by libvirt, 5.2; whole backing chains in XML) is there, and
/// no distribution that is still maintained has an older one.
const OLDEST: u32 = 6_000_000;

/// Whether a call that got lost may have done something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    Changes,
}

/// A connection to libvirt that is made again on the next use after it was lost.
pub(crate) struct Libvirt {
    transport: Arc<Transport>,
    deadline: Duration,
    long_deadline: Duration,
    open: Mutex<Option<Arc<Open>>>,
    calls: Arc<Semaphore>,
    /// A refresh and the making of a volume exclude each other in libvirt.
    pool_jobs: RwLock<()>,
}

impl fmt::Debug for Libvirt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Libvirt").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

struct Open {
    /// `None` only while it is dropped.
    connect: Option<Connect>,
    tunnel: Tunnel,
}

impl Open {
    fn is_alive(&self) -> bool {
        self.connect.as_ref().is_some_and(|connect| connect.is_alive().unwrap_or(false))
    }
}

impl Drop for Open {
    /// `virConnectClose` waits for an answer, and the runtime's thread may be the one to bring it.
    fn drop(&mut self) {
        self.tunnel.cut();
        if let Some(connect) = self.connect.take() {
            std::thread::spawn(move || drop(connect));
        }
    }
}

/// Ends the process at once with this exit code: nothing is closed or run any more.
///
/// The exit handlers of libvirt and the libraries under it free what its threads, also those that
/// only end, still use: a process with open connections that leaves by them ends in SIGABRT now and
/// then (glibc tells of a corrupt heap; seen with libvirt 9.0).
pub(super) fn leave(code: u8) -> ! {
    #[expect(unsafe_code, reason = "std ends a process by its exit handlers, or with a signal")]
    // SAFETY: it takes a number and does not return.
    unsafe {
        libc::_exit(code.into())
    }
}

impl Libvirt {
    pub(crate) fn over(
        transport: Arc<Transport>,
        deadline: Duration,
        long_deadline: Duration,
    ) -> Self {
        static SILENT: Once = Once::new();
        // libvirt prints every error on stderr otherwise.
        SILENT.call_once(virt::error::clear_error_callback);
        Self {
            transport,
            deadline,
            long_deadline,
            open: Mutex::new(None),
            calls: Arc::new(Semaphore::new(CALLS)),
            pool_jobs: RwLock::new(()),
        }
    }

    /// Connects now rather than on the first call.
    pub(crate) async fn connect(&self) -> Result<(), Trouble> {
        self.opened().await.map(drop)
    }

    async fn opened(&self) -> Result<Arc<Open>, Trouble> {
        let mut slot = self.open.lock().await;
        if let Some(open) = slot.as_ref() {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(self.dial().await?);
        *slot = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Opens another connection.
    async fn dial(&self) -> Result<Open, Trouble> {
        let stream = self.transport.libvirt(self.deadline).await?;
        let mut tunnel = Tunnel::to(stream)?;
        let uri = tunnel.uri();
        // Whatever is dropped is dropped there, too: closing waits for an answer.
        let opening = tokio::task::spawn_blocking(move || {
            let connect = Connect::open(Some(&uri)).map_err(|error| unopened(&error))?;
            refuse_old(connect.lib_version().map_err(|error| unopened(&error))?)?;
            Ok::<_, Trouble>(connect)
        });
        let Ok(opened) = timeout(self.deadline, opening).await else {
            tunnel.cut();
            let seconds = self.deadline.as_secs();
            return Err(Trouble::unreachable(format!("libvirt did not answer within {seconds} s"))
                .hint("is libvirtd frozen? try `systemctl restart libvirtd` on the host"));
        };
        let connect = opened.map_err(Trouble::failed)??;
        tunnel.shut_door();
        Ok(Open { connect: Some(connect), tunnel })
    }

    async fn forget(&self, lost: &Arc<Open>) {
        let mut slot = self.open.lock().await;
        if slot.as_ref().is_some_and(|open| Arc::ptr_eq(open, lost)) {
            *slot = None;
        }
    }

    /// Waits until nobody refreshes the pool; others' jobs go on.
    async fn pool_jobs(&self) -> RwLockReadGuard<'_, ()> {
        self.pool_jobs.read().await
    }

    async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Connect) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.call(Effect::Reads, self.deadline, call).await
    }

    async fn change<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Connect) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.call(Effect::Changes, self.long_deadline, call).await
    }

    async fn call<T: Send + 'static>(
        &self,
        effect: Effect,
        deadline: Duration,
        call: impl FnOnce(&Connect) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let permit = Arc::clone(&self.calls).acquire_owned().await.map_err(Trouble::failed)?;
        let open = self.opened().await?;
        let for_call = Arc::clone(&open);
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connect = for_call.connect.as_ref().ok_or(CallError::Lost)?;
            call(connect).map_err(|error| match error {
                CallError::Virt(why) if is_lost(connect, &why) => CallError::Lost,
                error => error,
            })
        });
        let lost = |why: String| {
            let trouble = Trouble::unreachable(why);
            if effect == Effect::Changes { trouble.unknown() } else { trouble }
        };
        match timeout(deadline, work).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(CallError::Lost))) => {
                self.forget(&open).await;
                Err(lost("the connection to libvirt was lost".to_owned()))
            }
            Ok(Ok(Err(CallError::Virt(why)))) => Err(translated(&why)),
            Ok(Ok(Err(CallError::Told(trouble)))) => Err(trouble),
            Ok(Err(panicked)) => Err(Trouble::failed(panicked)),
            Err(_) => {
                open.tunnel.cut();
                self.forget(&open).await;
                Err(lost(format!("libvirt did not answer within {} s", deadline.as_secs())))
            }
        }
    }
}

/// Returns a version as people write it; libvirt counts 9.0.0 as 9,000,000.
pub(super) fn version_text(number: u32) -> String {
    let (major, minor, release) = (number / 1_000_000, number / 1_000 % 1_000, number % 1_000);
    format!("libvirt {major}.{minor}.{release}")
}

/// Says why libvirt did not let us in. Where its socket is open to all, polkit decides.
fn unopened(error: &virt::error::Error) -> Trouble {
    let text = error.message().to_owned();
    if is_denied(error) {
        return Trouble::new(HostErrorKind::Login, text)
            .hint("put the login's user into group libvirt there: usermod -aG libvirt USER");
    }
    Trouble::unreachable(text).hint(
        "see `systemctl status libvirtd virtqemud` on the host, and whether sshd has \
         AllowStreamLocalForwarding yes",
    )
}

fn is_denied(error: &virt::error::Error) -> bool {
    let denied = [
        virt_sys::VIR_ERR_ACCESS_DENIED,
        virt_sys::VIR_ERR_AUTH_FAILED,
        virt_sys::VIR_ERR_AUTH_UNAVAILABLE,
        virt_sys::VIR_ERR_AUTH_CANCELLED,
    ];
    denied.iter().any(|code| has_code(error, *code))
}

fn refuse_old(version: u32) -> Result<(), Trouble> {
    if version >= OLDEST {
        return Ok(());
    }
    let (have, want) = (version_text(version), version_text(OLDEST));
    Err(Trouble::failed(format!("the host has {have}; freehold needs {want} or newer"))
        .hint("install a newer release of its system, or libvirt from its backports"))
}

/// Why a call did not go well.
#[derive(Debug)]
enum CallError {
    Virt(virt::error::Error),
    Told(Trouble),
    Lost,
}

impl From<virt::error::Error> for CallError {
    fn from(error: virt::error::Error) -> Self {
        Self::Virt(error)
    }
}

impl From<Trouble> for CallError {
    fn from(trouble: Trouble) -> Self {
        Self::Told(trouble)
    }
}

fn is_lost(connect: &Connect, error: &virt::error::Error) -> bool {
    error.domain().to_raw() == virt_sys::VIR_FROM_RPC || !connect.is_alive().unwrap_or(false)
}

fn has_code(error: &virt::error::Error, code: virt_sys::virErrorNumber) -> bool {
    error.code().to_raw() == code
}

/// Makes "not there" a value.
fn found<T>(
    result: Result<T, virt::error::Error>,
    absent: virt_sys::virErrorNumber,
) -> Result<Option<T>, CallError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if has_code(&error, absent) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn translated(error: &virt::error::Error) -> Trouble {
    let detail = has_code(error, virt_sys::VIR_ERR_XML_DETAIL);
    let text = if detail { unquoted(error.message()) } else { error.message() }.to_owned();
    let held = [
        "already exists with uuid",
        "already defined with uuid",
        "conflict with pool",
        // … with 2 checkpoints: of what we do not count ourselves.
        "cannot delete inactive domain with",
    ];
    let kind = if held.iter().any(|words| text.contains(words)) {
        HostErrorKind::Conflict
    } else if is_denied(error) {
        HostErrorKind::Login
    } else {
        HostErrorKind::Failed
    };
    Trouble::new(kind, text)
}

/// Drops the line of XML that libvirt shows under an error in it: there may be a password in it.
fn unquoted(detail: &str) -> &str {
    detail.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_xml_is_in_no_error() {
        let said = "(domain_definition):2: Opening and ending tag mismatch: graphics line 2\n\
                    <graphics passwd='geheim'></devices>\n---------^";
        let told = "(domain_definition):2: Opening and ending tag mismatch: graphics line 2";
        assert_eq!(unquoted(said), told);
    }
}

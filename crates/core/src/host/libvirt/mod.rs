//! The conversation with a host's libvirt: the only place with blocking calls.
//!
//! Every call has a deadline. Past it the tunnel is cut, which makes the C call return, and the
//! next call connects anew. `virConnectGetHostname` is never called: it may take ten seconds in the
//! host's resolver.

pub(crate) mod advice;
mod changes;
mod console;
mod domain_shape;
mod domain_xml;
mod domains;
mod edit;
mod inspect;
mod kept;
mod lines;
mod network_xml;
mod networks;
#[cfg(test)]
mod odd_tests;
mod opening;
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

use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{RwLock, RwLockReadGuard},
    time::{Instant, sleep, timeout},
};
use virt::connect::Connect;

use self::lines::{Line, Lines};
pub(crate) use self::{
    console::OpenConsole,
    domain_xml::console_file,
    inspect::{Capabilities, Offer, TinyGuest},
    kept::kept_domain,
    opening::version_text,
    raw_domain::RawDomain,
    storage::{Owner, PoolState},
};
use super::{HostErrorKind, transport::Transport, trouble::Trouble, tunnel::Tunnel, way::Way};
use crate::model::DaemonMode;

/// How long is waited before a lost connection is made again, for a question that is asked once more:
/// longer each time, as a libvirtd that crashed is started again within a second or two.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(600), Duration::from_millis(1800)];

/// Connections to libvirt that are made again on the next use after they were lost.
pub(crate) struct Libvirt {
    transport: Arc<Transport>,
    mode: DaemonMode,
    deadline: Duration,
    long_deadline: Duration,
    lines: Lines<Open>,
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
        mode: DaemonMode,
        deadline: Duration,
        long_deadline: Duration,
    ) -> Self {
        static SILENT: Once = Once::new();
        // libvirt prints every error on stderr otherwise.
        SILENT.call_once(virt::error::clear_error_callback);
        let (lines, pool_jobs) = (Lines::one(), RwLock::new(()));
        Self { transport, mode, deadline, long_deadline, lines, pool_jobs }
    }

    /// Connects now rather than on the first call.
    pub(crate) async fn connect(&self) -> Result<(), Trouble> {
        self.opened(&self.lines.first()).await.map(drop)
    }

    /// Opens a connection where it is not, or was lost meanwhile.
    async fn opened(&self, line: &Line<Open>) -> Result<Arc<Open>, Trouble> {
        let mut slot = line.open.lock().await;
        if let Some(open) = slot.as_ref().filter(|open| open.tunnel.leads_there()) {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(self.dial().await?);
        *slot = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Opens another connection.
    async fn dial(&self) -> Result<Open, Trouble> {
        let mode = self.mode;
        let Way { stream, said } = self.transport.libvirt(mode, self.deadline).await?;
        let mut tunnel = Tunnel::to(stream)?;
        let uri = tunnel.uri(mode);
        let opening = tokio::task::spawn_blocking(move || opening::open(&uri, mode));
        let Ok(opened) = timeout(self.deadline, opening).await else {
            tunnel.cut();
            let seconds = self.deadline.as_secs();
            return Err(Trouble::unreachable(format!("libvirt did not answer within {seconds} s"))
                .hint(advice::frozen(mode)));
        };
        let connect = match (opened.map_err(Trouble::failed)?, said) {
            (Err(trouble), Some(said)) => {
                tunnel.cut();
                return Err(trouble.after(&said.last().await));
            }
            (opened, _) => opened?,
        };
        tunnel.shut_door();
        Ok(Open { connect: Some(connect), tunnel })
    }

    /// Waits until nobody refreshes the pool; others' jobs go on.
    async fn pool_jobs(&self) -> RwLockReadGuard<'_, ()> {
        self.pool_jobs.read().await
    }

    /// Asks; once more where the connection was lost meanwhile, since a question changes nothing.
    async fn read<T: Send + 'static>(
        &self,
        call: impl Fn(&Connect) -> Result<T, CallError> + Send + Sync + 'static,
    ) -> Result<T, Trouble> {
        let call = Arc::new(call);
        let ask = || {
            let call = Arc::clone(&call);
            self.call(None, self.deadline, move |connect| call(connect)).boxed()
        };
        self.until_answered(ask).await
    }

    /// Asks, and again after a while where the connection was lost under the question.
    async fn until_answered<'a, T>(
        &self,
        ask: impl Fn() -> BoxFuture<'a, Result<T, Unanswered>> + Send + Sync,
    ) -> Result<T, Trouble> {
        let begun = Instant::now();
        let mut was_lost = false;
        for pause in PAUSES {
            match ask().await {
                Ok(value) => return Ok(value),
                Err(Unanswered::Lost) => was_lost = true,
                // It is not there again yet.
                Err(Unanswered::Told(trouble))
                    if was_lost && trouble.kind == HostErrorKind::Unreachable => {}
                Err(unanswered) => return Err(unanswered.told(self.mode)),
            }
            if begun.elapsed() + pause > self.deadline {
                break;
            }
            tracing::info!(?pause, "the connection to libvirt was lost; asking once more");
            sleep(pause).await;
        }
        ask().await.map_err(|error| error.told(self.mode))
    }

    /// Changes something: never tried again, as nobody knows what came of it.
    async fn change<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Connect) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.call(None, self.long_deadline, call).await.map_err(|error| match error {
            Unanswered::Lost => lost(self.mode).unknown(),
            Unanswered::Late(trouble) => trouble.unknown(),
            Unanswered::Told(trouble) => trouble,
        })
    }

    /// Calls over this connection, else over the one that has most to spare.
    async fn call<T: Send + 'static>(
        &self,
        over: Option<(Arc<Line<Open>>, Arc<Open>)>,
        deadline: Duration,
        call: impl FnOnce(&Connect) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Unanswered> {
        let line = over.as_ref().map(|(line, _)| line);
        let place = self.lines.place(line, || self.dial().boxed()).await?;
        let open = match over {
            Some((_, open)) => open,
            None => self.opened(&place.line).await?,
        };
        let for_call = Arc::clone(&open);
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            let connect = for_call.connect.as_ref().ok_or(CallError::Lost)?;
            call(connect).map_err(|error| match error {
                CallError::Virt(why) if is_lost(connect, &why) => CallError::Lost,
                error => error,
            })
        });
        match timeout(deadline, work).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(CallError::Lost))) => {
                // Whoever comes next connects anew.
                open.tunnel.cut();
                Err(Unanswered::Lost)
            }
            Ok(Ok(Err(CallError::Virt(why)))) => Err(translated(&why).into()),
            Ok(Ok(Err(CallError::Told(trouble)))) => Err(trouble.into()),
            Ok(Err(panicked)) => Err(Trouble::failed(panicked).into()),
            Err(_) => {
                open.tunnel.cut();
                let why = format!("libvirt did not answer within {} s", deadline.as_secs());
                Err(Unanswered::Late(Trouble::unreachable(why)))
            }
        }
    }
}

fn lost(mode: DaemonMode) -> Trouble {
    Trouble::unreachable("the connection to libvirt was lost").hint(advice::ended(mode))
}

/// Why a call has no answer.
enum Unanswered {
    /// The connection was lost under it.
    Lost,
    /// Its time was over.
    Late(Trouble),
    /// It was not asked, or refused.
    Told(Trouble),
}

impl Unanswered {
    fn told(self, mode: DaemonMode) -> Trouble {
        match self {
            Self::Lost => lost(mode),
            Self::Late(trouble) | Self::Told(trouble) => trouble,
        }
    }
}

impl From<Trouble> for Unanswered {
    fn from(trouble: Trouble) -> Self {
        Self::Told(trouble)
    }
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
    } else if opening::is_denied(error) {
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
    use crate::host::Certainty;

    #[test]
    fn a_line_of_the_xml_is_in_no_error() {
        let said = "(domain_definition):2: Opening and ending tag mismatch: graphics line 2\n\
                    <graphics passwd='geheim'></devices>\n---------^";
        let told = "(domain_definition):2: Opening and ending tag mismatch: graphics line 2";
        assert_eq!(unquoted(said), told);
    }

    /// Asks what has these answers, one after the other; returns what came of it and how many are left.
    async fn asked(answers: Vec<Result<u32, Unanswered>>) -> (Result<u32, Trouble>, usize) {
        let limit = Duration::from_secs(30);
        let libvirt = Libvirt::over(Arc::new(Transport::Local), DaemonMode::System, limit, limit);
        let left = std::sync::Mutex::new(answers);
        let next = || {
            let mut left = left.lock().unwrap();
            futures::future::ready(left.remove(0)).boxed()
        };
        let came = libvirt.until_answered(next).await;
        (came, left.into_inner().unwrap().len())
    }

    #[tokio::test]
    async fn a_question_whose_connection_was_lost_is_asked_again() {
        let away = || Err(Unanswered::Told(Trouble::unreachable("libvirt does not listen there")));
        let denied = || Err(Unanswered::Told(Trouble::new(HostErrorKind::Login, "denied")));
        let late = || Err(Unanswered::Late(Trouble::unreachable("no answer")));
        let (restarted, refused, slow, away, gone) = tokio::join!(
            asked(vec![Err(Unanswered::Lost), away(), Ok(7)]),
            asked(vec![Err(Unanswered::Lost), denied(), Ok(7)]),
            asked(vec![late(), Ok(7)]),
            asked(vec![away(), Ok(7)]),
            asked((0..4).map(|_| Err(Unanswered::Lost)).collect()),
        );
        assert_eq!((restarted.0.unwrap(), restarted.1), (7, 0));
        assert_eq!(refused.0.unwrap_err().kind, HostErrorKind::Login);
        assert_eq!((refused.1, slow.1, away.1), (1, 1, 1), "not asked again");
        let gone = gone.0.unwrap_err();
        assert_eq!((gone.kind, gone.certainty), (HostErrorKind::Unreachable, Certainty::DidNot));
    }
}

//! Passphrases of private keys: each is asked for once, whoever needs it, and never kept.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use russh::keys::PrivateKey;
use tokio::sync::{Mutex, OnceCell};

use super::{
    keyfile::{self, Kept, Shut},
    patience::Patience,
};
use crate::model::Secret;

/// How many answers may be wrong.
const TRIES: u8 = 3;

/// Asks a person; it may block.
pub trait AskPassphrase: Send + Sync {
    /// Asks for the passphrase of a key file; `again` says that the last answer was wrong.
    fn ask(&self, key: &Path, again: bool) -> Result<Secret<String>, NoAnswer>;
}

/// Says why no passphrase was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// There is no terminal, and no program to ask with; the words say what would help.
    #[error("nobody is there to ask for its passphrase{0}")]
    NobodyThere(String),
    /// The answer was empty, or the program that asks was cancelled.
    #[error("no passphrase was given")]
    Declined,
}

/// The keys unlocked so far, and whom to ask for others; clones share them.
#[derive(Clone, Default)]
pub struct Passphrases {
    asker: Option<Arc<dyn AskPassphrase>>,
    keys: Arc<std::sync::Mutex<BTreeMap<PathBuf, Key>>>,
    /// One question at a time.
    turn: Arc<Mutex<()>>,
}

type Key = Arc<OnceCell<Result<Arc<PrivateKey>, String>>>;

impl fmt::Debug for Passphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrases").field("asks", &self.asker.is_some()).finish_non_exhaustive()
    }
}

impl Passphrases {
    /// Asks with this.
    pub fn asked_by(asker: impl AskPassphrase + 'static) -> Self {
        Self { asker: Some(Arc::new(asker)), ..Self::default() }
    }

    /// The same, asking nobody (`BatchMode yes`).
    pub(super) fn asking_nobody(&self) -> Self {
        Self { keys: Arc::default(), asker: None, ..self.clone() }
    }

    /// Returns the private key of a file. The deadline stands still while somebody is asked, or waits
    /// for the answer that another was asked for.
    pub(super) async fn unlocked(
        &self,
        file: &Path,
        patience: &Patience,
    ) -> Result<Arc<PrivateKey>, String> {
        let key = {
            let mut keys = self.keys.lock().expect("no holder panics");
            Arc::clone(keys.entry(file.to_owned()).or_default())
        };
        let _asking = patience.asking();
        key.get_or_init(|| self.unlock(file)).await.clone()
    }

    async fn unlock(&self, file: &Path) -> Result<Arc<PrivateKey>, String> {
        let kept = keyfile::read(file)?.map(|file| file.kept);
        if kept != Some(Kept::UnderPassphrase) {
            return keyfile::open(file, None).map(Arc::new).map_err(|shut| match shut {
                Shut::ForGood(why) => why,
                Shut::WrongPassphrase => "it takes a passphrase".to_owned(),
            });
        }
        keyfile::refuse_strange_locks(file)?;
        let asker = self.asker.clone().ok_or_else(|| NoAnswer::NobodyThere(String::new()));
        let asker = asker.map_err(|why| why.to_string())?;
        let _turn = self.turn.lock().await;
        for attempt in 0..TRIES {
            let (asker, file) = (Arc::clone(&asker), file.to_owned());
            // It reads a terminal, and deriving the key takes its time.
            let answered = tokio::task::spawn_blocking(move || {
                let passphrase = asker.ask(&file, attempt > 0).map_err(|why| why.to_string())?;
                if passphrase.expose().is_empty() {
                    return Err(NoAnswer::Declined.to_string());
                }
                match keyfile::open(&file, Some(passphrase.expose())) {
                    Ok(key) => Ok(Some(key)),
                    Err(Shut::WrongPassphrase) => Ok(None),
                    Err(Shut::ForGood(why)) => Err(why),
                }
            });
            match answered.await.map_err(|error| error.to_string())? {
                Ok(Some(key)) => return Ok(Arc::new(key)),
                Ok(None) => {}
                Err(why) => return Err(why),
            }
        }
        Err(format!("the passphrase was wrong {TRIES} times"))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt as _,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        time::Duration,
    };

    use super::*;

    struct Answers(&'static [&'static str], Arc<AtomicUsize>);

    impl AskPassphrase for Answers {
        fn ask(&self, _: &Path, again: bool) -> Result<Secret<String>, NoAnswer> {
            let asked = self.1.fetch_add(1, SeqCst);
            assert_eq!(again, asked > 0);
            Ok(Secret::new(self.0[asked].to_owned()))
        }
    }

    /// A key file under the passphrase `hunter2`.
    fn locked() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let make = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-a", "1", "-N", "hunter2", "-f"])
            .arg(&file)
            .status();
        assert!(make.unwrap().success());
        (folder, file)
    }

    fn asked(answers: &'static [&'static str]) -> (Passphrases, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        (Passphrases::asked_by(Answers(answers, Arc::clone(&count))), count)
    }

    #[tokio::test]
    async fn asks_once_for_all_who_need_a_key() {
        let (_folder, file) = locked();
        let (passphrases, count) = asked(&["wrong", "hunter2"]);
        let patience = Patience::of(Duration::from_secs(1));
        let both = tokio::join!(
            passphrases.unlocked(&file, &patience),
            passphrases.unlocked(&file, &patience)
        );
        assert!(both.0.is_ok() && both.1.is_ok());
        assert_eq!(count.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn takes_three_wrong_answers_and_says_nothing_of_them() {
        let (_folder, file) = locked();
        let (passphrases, count) = asked(&["hunter1", "hunter3", "hunter4"]);
        let patience = Patience::of(Duration::from_secs(1));
        for _ in 0..2 {
            let why = passphrases.unlocked(&file, &patience).await.unwrap_err();
            assert_eq!(why, "the passphrase was wrong 3 times");
        }
        assert_eq!(count.load(SeqCst), 3);
        assert!(!format!("{passphrases:?}").contains("hunter"));
    }

    #[tokio::test]
    async fn a_lock_that_no_passphrase_opens_is_told_at_once() {
        let patience = Patience::of(Duration::from_secs(1));
        for (make, asks) in [
            ("openssl genrsa -traditional -aes256 -passout pass:hunter2 -out \"$0\" 2048", 0),
            ("openssl genrsa -traditional -aes128 -passout pass:hunter2 -out \"$0\" 2048", 1),
            (
                "openssl genrsa 2048 | openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES \
                 -passout pass:hunter2 -out \"$0\"",
                0,
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("key");
            let run =
                ["-c", &format!("({make}) 2>/dev/null && chmod 600 \"$0\"")].map(str::to_owned);
            let made = std::process::Command::new("sh").args(run).arg(&file).status();
            assert!(made.unwrap().success(), "{make}");
            let (passphrases, count) = asked(&["hunter2", "", ""]);
            let unlocked = passphrases.unlocked(&file, &patience).await;
            assert_eq!(count.load(SeqCst), asks, "{make}");
            let Err(why) = unlocked else {
                assert!(make.contains("-aes128"), "{make}");
                continue;
            };
            assert!(why.contains("not supported"), "{make}: {why}");
            assert!(why.contains("ssh-keygen -p -f /"), "{make}: {why}");
        }
    }

    #[tokio::test]
    async fn without_an_answer_says_so() {
        let (_folder, file) = locked();
        let patience = Patience::of(Duration::from_secs(1));
        let (passphrases, _) = asked(&[""]);
        let why = passphrases.unlocked(&file, &patience).await.unwrap_err();
        assert_eq!(why, "no passphrase was given");
        let why = passphrases.asking_nobody().unlocked(&file, &patience).await.unwrap_err();
        assert_eq!(why, "nobody is there to ask for its passphrase");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let (_folder, file) = locked();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(keyfile::read(&file).unwrap_err().contains("0640"));
    }
}

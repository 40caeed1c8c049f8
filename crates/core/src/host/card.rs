//! Writes `freehold-host.json`, which several fleets share: each changes its own entries only.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{
    command::Command,
    files::{self, done},
    listing::card_of,
    real::strange_card,
    ssh::Stdin,
    transport::Transport,
    trouble::Trouble,
};
use crate::model::{DaemonMode, FleetId, HostCard, hex_of};

/// `$1` temporary, `$2` final name, `$3` length, `$4` digest of the file that is to be replaced.
const REPLACE: &str = r#"
    exec 9< "$(dirname -- "$2")" && flock -w 20 9 || exit 1;
    have=; if [ -e "$2" ]; then have=$(sha256sum < "$2") || exit 1; fi;
    if [ "${have%% *}" != "$4" ]; then cat > /dev/null; exit 75; fi;
    trap 'rm -f -- "$1"' EXIT; trap 'exit 1' HUP TERM PIPE;
    cat > "$1" || exit 1;
    if [ "$(wc -c < "$1")" -ne "$3" ]; then echo 'the input ended early' >&2; exit 1; fi;
    chmod 0644 -- "$1" && sync -- "$1" && mv -T -- "$1" "$2" && sync -- "$(dirname -- "$2")"
"#;

/// Two daemons over one pool would each take the other's guests for gone.
pub(crate) fn refuse_other_daemon(
    card: &HostCard,
    mode: DaemonMode,
    pool: &str,
) -> Result<(), Trouble> {
    if card.libvirt == mode {
        return Ok(());
    }
    let why = format!("{pool} is the pool of its {}", card.libvirt.uri());
    Err(Trouble::conflict(why).hint("set `libvirt` in the host's block, or another `pool`"))
}

const CHANGED: u32 = 75;
const TRIES: usize = 20;

/// Puts a fleet's entries into the card at `path`; those of other fleets stay.
pub(crate) async fn write(
    to: &Transport,
    path: &str,
    fleet: FleetId,
    card: &HostCard,
    deadline: Duration,
) -> Result<(), Trouble> {
    let temporary = format!("{path}.freehold-tmp");
    for _ in 0..TRIES {
        let there = files::read(to, path, deadline).await?;
        let known = there.as_deref().map(card_of).transpose()?;
        let whole = card.merged_into(known, fleet).ok_or_else(strange_card)?;
        let json = serde_json::to_string_pretty(&whole).map_err(Trouble::failed)? + "\n";
        let (length, digest) = (
            json.len().to_string(),
            there.map(|bytes| hex_of(&Sha256::digest(bytes))).unwrap_or_default(),
        );
        let command = Command::new(REPLACE, [temporary.as_str(), path, &length, &digest])?;
        let output = to.run(&command, Stdin::Bytes(json.as_bytes()), deadline).await?;
        if output.code != CHANGED {
            return done(&output);
        }
    }
    Err(Trouble::conflict("other fleets keep changing it").hint("run it again"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[tokio::test(flavor = "multi_thread")]
    async fn fleets_at_once_lose_nothing_of_one_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(HostCard::FILE).to_str().unwrap().to_owned();
        let host = uuid::Uuid::from_u128(7);
        let id = |fleet: u8| FleetId::from_bytes([fleet; 16]);
        let card = |fleet: u8| HostCard {
            format: HostCard::FORMAT,
            host,
            libvirt: DaemonMode::System,
            fleets: BTreeMap::from([(id(fleet).to_string(), 1)]),
            volumes: BTreeMap::from([(id(fleet).to_string(), vec![format!("{fleet}.root")])]),
        };
        let writes = (0..6).map(|fleet| {
            let (path, card) = (path.clone(), card(fleet));
            tokio::spawn(
                async move { write(&Transport::Local, &path, id(fleet), &card, SOON).await },
            )
        });
        for write in futures::future::join_all(writes).await {
            write.unwrap().unwrap();
        }
        let written: HostCard = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(written.volumes.len(), 6, "{written:?}");
        let stranger = HostCard { host: uuid::Uuid::from_u128(8), ..card(9) };
        assert!(write(&Transport::Local, &path, id(9), &stranger, SOON).await.is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

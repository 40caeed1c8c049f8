//! `state.json` as bytes: written whole, read with all doubt.

use sha2::{Digest as _, Sha256};

use super::{
    Snapshot,
    wire::{BodyWire, STATE_FORMAT, StateWire},
};
use crate::model::{FleetId, hex_of};

/// What is wrong with the bytes of a state.
pub(super) enum Bad {
    Damaged(String),
    Newer(u32),
    Other(FleetId),
}

/// Returns a state as it is written.
pub(super) fn bytes_of(snapshot: &Snapshot) -> Vec<u8> {
    let body = BodyWire::from(snapshot);
    let wire = StateWire { format: STATE_FORMAT, checksum: checksum_of(&body), body };
    let mut text = serde_json::to_vec_pretty(&wire).expect("a state is plain JSON");
    text.push(b'\n');
    text
}

/// Reads the state of a fleet.
pub(super) fn parse(bytes: &[u8], fleet: FleetId) -> Result<Snapshot, Bad> {
    if bytes.is_empty() {
        return Err(Bad::Damaged("it is empty".into()));
    }
    let damaged = |error: serde_json::Error| Bad::Damaged(error.to_string());
    let wire = serde_json::from_slice::<StateWire>(bytes);
    let format = if let Ok(wire) = &wire {
        u64::from(wire.format)
    } else {
        // What this version cannot read may be a later one's.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        value["format"].as_u64().unwrap_or(0)
    };
    if format > u64::from(STATE_FORMAT) {
        return Err(Bad::Newer(u32::try_from(format).unwrap_or(u32::MAX)));
    }
    if format == 0 {
        return Err(Bad::Damaged("it names no format".into()));
    }
    let wire = wire.map_err(damaged)?;
    if wire.checksum != checksum_of(&wire.body) {
        return Err(Bad::Damaged("its checksum does not match".into()));
    }
    let snapshot = Snapshot::from(wire.body);
    if snapshot.fleet == fleet { Ok(snapshot) } else { Err(Bad::Other(snapshot.fleet)) }
}

fn checksum_of(body: &BodyWire) -> String {
    let text = serde_json::to_vec(body).expect("a state is plain JSON");
    hex_of(&Sha256::digest(&text))
}

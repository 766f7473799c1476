//! The connector with a transport that only takes notes.

use super::core::Core;
use super::parts::{Codec, Observer, Parts, Settings};
use super::peer::Met;
use crate::transfer::transport::{
    BlockPair, PeerId, ReadId, ReadStats, Transport, TransportError, TransportEvent,
};
use crate::types::{
    BlockId, Clock, KvPlace, KvRegion, Pull, RemoteBlocks, RequestId, TransferEvent,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was done, in words.
type Notes = Arc<Mutex<Vec<String>>>;

struct Quiet(Notes);

impl Transport for Quiet {
    fn metadata(&self) -> &[u8] {
        b""
    }

    fn connect(&mut self, _: &[u8], _: &[KvRegion]) -> Result<PeerId, TransportError> {
        Ok(PeerId(1))
    }

    fn disconnect(&mut self, _: PeerId) {}

    fn read(
        &mut self,
        _: PeerId,
        _: &[BlockPair],
        notification: &[u8],
    ) -> Result<ReadId, TransportError> {
        let mut notes = self.0.lock().unwrap();
        notes.push(format!("read {}", String::from_utf8_lossy(notification)));
        Ok(ReadId(notes.len() as u64))
    }

    fn cancel(&mut self, _: ReadId) {}

    fn notify(&mut self, _: PeerId, _: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }

    fn poll(&mut self, _: &mut Vec<TransportEvent>) {}

    fn poll_interval(&self, _: bool) -> Option<Duration> {
        None
    }
}

struct Nothing;

impl Codec for Nothing {
    fn export(&mut self, _: &[BlockId]) {}

    fn import(&mut self, _: &[BlockId]) {}

    fn checksum(&mut self, _: BlockId) -> Result<u64, String> {
        Ok(0)
    }
}

impl Observer for Nothing {
    fn transferred(&self, _: &ReadStats) {}

    fn failed_transfer(&self) {}

    fn failed_notification(&self) {}

    fn expired(&self) {}

    fn late(&self) {}
}

fn core(clock: &Clock, notes: &Notes) -> Core {
    let (told, meets) = (notes.clone(), notes.clone());
    let settings =
        Settings { lease: Duration::from_secs(30), engine_ttl: Duration::MAX, checksums: false };
    let parts = Parts {
        transport: Box::new(Quiet(notes.clone())),
        codec: Box::new(Nothing),
        clock: clock.clone(),
        stats: Box::new(Nothing),
        tell: Box::new(move |event| {
            let TransferEvent::Pulled { id, result } = event else { return };
            let how = if result.is_ok() { "pulled" } else { "failed" };
            told.lock().unwrap().push(format!("{how} {}", id.0));
        }),
        meet: Box::new(move |address| {
            meets.lock().unwrap().push(format!("meet {}:{}", address.host, address.port));
        }),
    };
    Core::new(settings, parts)
}

/// A request whose blocks are with the engine `e`, said to be at `port`.
fn start(core: &mut Core, clock: &Clock, id: u64, port: u16) {
    let remote = Arc::new(RemoteBlocks {
        engine_id: "e".into(),
        request_id: format!("r{id}").into(),
        host: "h".into(),
        port,
        blocks: vec![0],
        num_tokens: None,
        expiry: None,
        told: clock.now(),
        checksums: Vec::new(),
    });
    let id = RequestId(id);
    core.announce(id, remote.clone());
    core.pull(Pull { id, remote, skipped: 0, local: vec![id.0 as BlockId], tokens: 1 });
}

fn found() -> Met {
    let place = KvPlace::Main;
    let region = KvRegion { place, address: 4096, block_len: 64, stride: 64, num_blocks: 8 };
    Met { agent: Vec::new(), regions: vec![region], clock_offset: 0.0 }
}

#[test]
fn a_wrong_address_fails_only_those_who_were_told_of_it() {
    let (clock, notes) = (Clock::manual(), Notes::default());
    let mut core = core(&clock, &notes);
    let engine = "e".into();
    let take = || std::mem::take(&mut *notes.lock().unwrap());
    start(&mut core, &clock, 1, 1);
    start(&mut core, &clock, 2, 2);
    start(&mut core, &clock, 3, 1);
    assert_eq!(take(), ["meet h:1"]);
    core.met(&engine, Err("nobody is there".to_owned()));
    assert_eq!(take(), ["failed 1", "failed 3", "meet h:2"]);
    core.met(&engine, Ok(found()));
    assert_eq!(take(), ["read r2:1"]);
}

#[test]
fn every_address_is_tried_once() {
    let (clock, notes) = (Clock::manual(), Notes::default());
    let mut core = core(&clock, &notes);
    let engine = "e".into();
    let take = || std::mem::take(&mut *notes.lock().unwrap());
    for port in 1..4 {
        start(&mut core, &clock, u64::from(port), port);
    }
    assert_eq!(take(), ["meet h:1"]);
    for port in 1..3 {
        core.met(&engine, Err("nobody is there".to_owned()));
        assert_eq!(take(), [format!("failed {port}"), format!("meet h:{}", port + 1)]);
    }
    core.met(&engine, Err("nobody is there".to_owned()));
    assert_eq!(take(), ["failed 3"]);
    assert!(core.is_idle());
}

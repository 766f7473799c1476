//! KV transfer as requests and replies speak of it: what a request takes part in, and the
//! `kv_transfer_params` that a peer will bring along.

use super::fanout::Fanout;
use super::frontend::Frontend;
use super::json;
use super::request::{KvTransfer, RemotePrompt};
use crate::engine::{EngineHandle, Transfer};
use crate::telemetry::request::RemoteSource;
use crate::types::{BlockId, LeasedBlocks, Moment, RemoteBlocks, SpanRef, uuid4};
use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// How peers find this server.
#[derive(Clone, Debug)]
pub struct KvIdentity {
    pub engine_id: String,
    /// Of the side channel.
    pub host: String,
    pub port: u16,
}

/// A request's part in transfer, which one generation takes. What nobody took by the time that it
/// is dropped was refused: a peer that keeps blocks for it is told.
pub struct Share {
    transfer: Option<KvTransfer>,
    is_taken: AtomicBool,
    engine: OnceLock<EngineHandle>,
}

impl Share {
    /// Of the request's parameters.
    pub fn new(transfer: Option<KvTransfer>) -> Self {
        let (is_taken, engine) = (AtomicBool::new(false), OnceLock::new());
        Self { transfer, is_taken, engine }
    }

    /// Of a body whatever else is in it; of none when there are none to be read.
    pub fn of_body(body: &[u8]) -> Self {
        let document = json::parse(body).ok();
        let fields = document.as_ref().and_then(|document| document.root.as_dict());
        Self::new(fields.and_then(KvTransfer::of_body))
    }

    /// The request goes on with this engine, which transfers KV.
    pub fn engage(&self, engine: &EngineHandle) {
        // The same engine each time.
        let _ = self.engine.set(engine.clone());
    }

    /// Takes it for a generation that the engine knows as `id`, of a request that came at `told`.
    pub fn take(&self, id: &str, told: Moment) -> Transfer {
        if self.engine.get().is_none() || self.is_taken.swap(true, Relaxed) {
            return Transfer::None;
        }
        match &self.transfer {
            None => Transfer::None,
            Some(KvTransfer::Lease) => {
                let unique = uuid4();
                Transfer::Lease(format!("{id}-{}", &unique[..8]).into())
            }
            Some(KvTransfer::Pull(prompt)) => {
                Transfer::Pull(Arc::new(RemoteBlocks { told, ..prompt.blocks.clone() }))
            }
        }
    }

    /// What a client is told of cached tokens, instead of what is cached here.
    pub fn cached(&self) -> Option<u32> {
        self.engine.get()?;
        self.remote().and_then(|prompt| prompt.cached)
    }

    /// Where the prompt was computed, as spans tell it.
    pub fn source(&self) -> Option<RemoteSource> {
        let RemotePrompt { blocks, span, .. } = self.remote()?;
        Some(RemoteSource {
            engine_id: blocks.engine_id.to_string(),
            request_id: blocks.request_id.to_string(),
            span: *span,
        })
    }

    fn remote(&self) -> Option<&RemotePrompt> {
        match &self.transfer {
            Some(KvTransfer::Pull(prompt)) => Some(prompt),
            _ => None,
        }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transfer.fmt(f)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let (Some(engine), Some(prompt), false) =
            (self.engine.get(), self.remote(), self.is_taken.load(Relaxed))
        {
            engine.discard(Arc::new(prompt.blocks.clone()));
        }
    }
}

/// `kv_transfer_params` of a reply: vLLM's keys, and checksums if they are wanted.
#[derive(Serialize)]
pub struct KvTransferReply<'a> {
    do_remote_prefill: bool,
    do_remote_decode: bool,
    /// By KV group: there is one.
    remote_block_ids: [&'a [BlockId]; 1],
    remote_engine_id: &'a str,
    remote_request_id: &'a str,
    remote_host: &'a str,
    remote_port: u16,
    tp_size: u32,
    dcp_size: u32,
    pp_size: u32,
    remote_num_tokens: usize,
    /// vLLM leaves it null here; a peer that reads it knows when it is too late.
    remote_blocks_expiry_time: f64,
    transfer_mode: &'static str,
    remote_prefill_cached_tokens: u32,
    /// P's span, when the request is traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    glassbox_traceparent: Option<String>,
    /// As text: 64 bits do not survive every JSON library.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    glassbox_block_checksums: Vec<String>,
}

impl Frontend {
    /// The blocks that are kept of a request, as its reply names them.
    pub fn shown_transfer<'a>(&'a self, fanout: &'a Fanout) -> Option<KvTransferReply<'a>> {
        let identity = self.options.kv_transfer.as_ref()?;
        Some(KvTransferReply::new(identity, fanout.leased()?, fanout.span()))
    }
}

impl<'a> KvTransferReply<'a> {
    fn new(
        identity: &'a KvIdentity,
        (leased, cached): (&'a LeasedBlocks, u32),
        span: Option<SpanRef>,
    ) -> Self {
        Self {
            do_remote_prefill: true,
            do_remote_decode: false,
            remote_block_ids: [&leased.blocks],
            remote_engine_id: &identity.engine_id,
            remote_request_id: &leased.request_id,
            remote_host: &identity.host,
            remote_port: identity.port,
            tp_size: 1,
            dcp_size: 1,
            pp_size: 1,
            remote_num_tokens: leased.num_tokens,
            remote_blocks_expiry_time: leased.granted.expiry,
            transfer_mode: "pull",
            remote_prefill_cached_tokens: cached,
            glassbox_traceparent: span.map(|span| span.traceparent()),
            glassbox_block_checksums: leased.granted.checksums.iter().map(u64::to_string).collect(),
        }
    }
}

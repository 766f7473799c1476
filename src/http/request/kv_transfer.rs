//! `kv_transfer_params` of a request: whether its prompt is computed for another server, or was by
//! one.

use super::super::json::{Dict, Int, Json};
use super::fields::Fields;
use crate::types::{BlockId, Moment, RemoteBlocks, SpanRef};
use std::sync::Arc;

/// A request's part in KV transfer.
#[derive(Clone, Debug)]
pub enum KvTransfer {
    /// `do_remote_decode`: the blocks of the prompt are kept for a peer.
    Lease,
    /// `do_remote_prefill`: they are on a peer.
    Pull(Arc<RemotePrompt>),
}

/// Where a prompt's KV is.
#[derive(Debug)]
pub struct RemotePrompt {
    pub blocks: RemoteBlocks,
    /// Prompt tokens that the peer found in its cache: what clients are told of theirs.
    pub cached: Option<u32>,
    /// The peer's span of the request that computed it.
    pub span: Option<SpanRef>,
}

impl KvTransfer {
    /// Whether the parameters ask for [`KvTransfer::Lease`].
    pub fn is_lease(data: Fields<'_>) -> bool {
        data.dict("kv_transfer_params").is_some_and(|dict| Fields(dict).truthy("do_remote_decode"))
    }

    /// Reads the parameters. `None` when they ask for nothing, or for what cannot be: vLLM warns
    /// then, and so does this.
    pub fn read(data: Fields<'_>) -> Option<Self> {
        if Self::is_lease(data) {
            return Some(Self::Lease);
        }
        let params = Fields(data.dict("kv_transfer_params")?);
        if !params.truthy("do_remote_prefill") {
            return None;
        }
        let blocks = remote_blocks(params);
        if blocks.is_none() {
            log::warn!("invalid kv_transfer_params: the prompt is computed here");
        }
        let cached = params.int("remote_prefill_cached_tokens");
        let cached = cached.and_then(|cached| u32::try_from(cached.as_i64()?).ok());
        let span = params.str("glassbox_traceparent").and_then(SpanRef::of_traceparent);
        Some(Self::Pull(Arc::new(RemotePrompt { blocks: blocks?, cached, span })))
    }

    /// The same of a body that nobody has checked.
    pub fn of_body(body: &Dict) -> Option<Self> {
        Self::read(Fields(body))
    }
}

fn remote_blocks(params: Fields<'_>) -> Option<RemoteBlocks> {
    let text = |name| params.str(name).filter(|text| !text.is_empty()).map(Arc::from);
    // An old peer does not say how it is cut up; one that is, cannot be read from here.
    let is_whole = |name| params.int(name).is_none_or(|size| size == 1);
    if !["tp_size", "dcp_size", "pp_size"].into_iter().all(is_whole) {
        return None;
    }
    let checksums = params.get("glassbox_block_checksums").and_then(Json::as_list);
    let number = |item: &Json| item.as_str()?.parse().ok();
    Some(RemoteBlocks {
        engine_id: text("remote_engine_id")?,
        request_id: text("remote_request_id")?,
        host: text("remote_host")?,
        port: u16::try_from(params.int("remote_port")?.as_i64()?).ok()?,
        blocks: block_ids(params.get("remote_block_ids")?)?,
        num_tokens: params
            .int("remote_num_tokens")
            .and_then(|tokens| usize::try_from(tokens.as_i64()?).ok()),
        expiry: params.float("remote_blocks_expiry_time").filter(|time| time.is_finite()),
        told: Moment::default(),
        checksums: checksums.into_iter().flatten().map(number).collect::<Option<Vec<u64>>>()?,
    })
}

/// A list of ids, or (in newer versions) a list of such lists by KV group, of which there is one.
fn block_ids(value: &Json) -> Option<Vec<BlockId>> {
    let items = value.as_list()?;
    let items = match items {
        [Json::List(group)] => group,
        _ => items,
    };
    let id = |item: &Json| match item {
        Json::Int(Int::Small(id)) => BlockId::try_from(*id).ok(),
        _ => None,
    };
    items.iter().map(id).collect::<Option<Vec<_>>>().filter(|ids| !ids.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::super::json;
    use super::*;

    fn read(params: &str) -> Option<KvTransfer> {
        let body = format!(r#"{{"kv_transfer_params": {params}}}"#);
        let body = json::parse(body.as_bytes()).unwrap();
        KvTransfer::read(Fields(body.root.as_dict().unwrap()))
    }

    const WHOLE: &str = r#""do_remote_prefill": true, "remote_engine_id": "e",
        "remote_request_id": "r", "remote_host": "h", "remote_port": 5600, "tp_size": 1"#;

    #[test]
    fn blocks_may_be_flat_or_grouped() {
        for ids in ["[3, 1, 2]", "[[3, 1, 2]]"] {
            let params = format!("{{{WHOLE}, \"remote_block_ids\": {ids}}}");
            let Some(KvTransfer::Pull(prompt)) = read(&params) else { panic!("{params}") };
            assert_eq!(prompt.blocks.blocks, [3, 1, 2]);
            assert_eq!((prompt.blocks.port, prompt.blocks.expiry), (5600, None));
        }
    }

    #[test]
    fn what_cannot_be_pulled_is_computed() {
        let bad = ["[]", "[[1], [2]]", "[-1]", "[\"1\"]", "null", "[4294967296]", "7", "[[]]"];
        for ids in bad {
            let params = format!("{{{WHOLE}, \"remote_block_ids\": {ids}}}");
            assert!(read(&params).is_none(), "{ids}");
        }
        for params in ["{}", r#"{"do_remote_prefill": true}"#, r#"{"do_remote_prefill": false}"#] {
            assert!(read(params).is_none(), "{params}");
        }
        let cut = format!("{{{WHOLE}, \"remote_block_ids\": [1], \"pp_size\": 2}}");
        assert!(read(&cut).is_none());
        let lease = r#"{"do_remote_decode": true, "do_remote_prefill": false}"#;
        assert!(matches!(read(lease), Some(KvTransfer::Lease)));
    }
}

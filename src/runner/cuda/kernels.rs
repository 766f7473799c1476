//! The kernels of a step, found once.

use super::attention::{TILES_SHARED, singles_shared};
use super::driver::Function;
use super::error::CudaError;
use super::gemm::Products;
use super::gpu::Gpu;
use super::images::Images;
use std::path::Path;

/// Every kernel by what it does. The images must outlive them.
#[derive(Debug)]
pub(super) struct Kernels {
    pub pack_rows: Function,
    pub feed: Function,
    pub embed: Function,
    pub rms_norm: Function,
    pub heads: Function,
    pub attend_decode: Function,
    pub attend_combine: Function,
    pub attend_prefill: Function,
    pub attend_prefill_split: Function,
    pub sample_groups: Function,
    pub sample_rows: Function,
    pub logprobs_groups: Function,
    pub logprobs_rows: Function,
    pub products: Products,
    _images: Images,
}

impl Kernels {
    pub fn load(gpu: &Gpu, folder: Option<&Path>) -> Result<Self, CudaError> {
        let images = Images::load(gpu.device(), folder)?;
        let find = |name| images.kernel(name, 0);
        Ok(Self {
            pack_rows: find(c"gb_pack_rows")?,
            feed: find(c"gb_feed")?,
            embed: find(c"gb_embed")?,
            rms_norm: find(c"gb_rms_norm")?,
            heads: find(c"gb_heads")?,
            attend_decode: images
                .kernel(c"gb_attend_decode", singles_shared(gpu.block_shared()))?,
            attend_combine: find(c"gb_attend_combine")?,
            attend_prefill: images.kernel(c"gb_attend_prefill", TILES_SHARED)?,
            attend_prefill_split: images.kernel(c"gb_attend_prefill_split", TILES_SHARED)?,
            sample_groups: find(c"gb_sample_groups")?,
            sample_rows: find(c"gb_sample_rows")?,
            logprobs_groups: find(c"gb_logprobs_groups")?,
            logprobs_rows: find(c"gb_logprobs_rows")?,
            products: Products::find(&images, gpu)?,
            _images: images,
        })
    }
}

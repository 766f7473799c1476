//! The kernels of a step, found once.

use super::attention::{SINGLES_SHARED, TILES_SHARED};
use super::driver::{Device, Function};
use super::error::CudaError;
use super::gemm::Products;
use super::images::Images;
use std::sync::Arc;

/// Every kernel by what it does. The images must outlive them.
#[derive(Debug)]
pub(super) struct Kernels {
    pub pack_rows: Function,
    pub embed: Function,
    pub rms_norm: Function,
    pub heads: Function,
    pub attend_decode: Function,
    pub attend_combine: Function,
    pub attend_prefill: Function,
    pub sample_groups: Function,
    pub sample_rows: Function,
    pub products: Products,
    _images: Images,
}

impl Kernels {
    pub fn load(device: &Arc<Device>, processors: usize) -> Result<Self, CudaError> {
        let images = Images::load(device)?;
        let find = |name| images.kernel(name, 0);
        Ok(Self {
            pack_rows: find(c"gb_pack_rows")?,
            embed: find(c"gb_embed")?,
            rms_norm: find(c"gb_rms_norm")?,
            heads: find(c"gb_heads")?,
            attend_decode: images.kernel(c"gb_attend_decode", SINGLES_SHARED)?,
            attend_combine: find(c"gb_attend_combine")?,
            attend_prefill: images.kernel(c"gb_attend_prefill", TILES_SHARED)?,
            sample_groups: find(c"gb_sample_groups")?,
            sample_rows: find(c"gb_sample_rows")?,
            products: Products::find(&images, processors)?,
            _images: images,
        })
    }
}

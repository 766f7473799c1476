//! The CUDA backend, whole: on a `libcuda.so` whose device is the emulator of `kernels/emu`, or
//! with GLASSBOX_TEST_GPU=1 and the feature `cuda` on a GPU. The emulated device is as late as a
//! device may be: what nobody waits for is not done.

mod at_once;
mod capabilities;
mod copies;
#[path = "../cpu_support/mod.rs"]
mod cpu_support;
mod edges;
#[path = "../kernels/emulator.rs"]
mod emulator;
mod failures;
mod gpu;
mod graphs;
mod invariance;
mod logits;
#[path = "../transfer/memory.rs"]
#[allow(dead_code)] // Made for another test crate.
mod memory;
mod pair;
mod probe;
mod same;
mod sampling;
mod serve;
mod sleep;

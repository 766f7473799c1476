//! The kernels, through CUDA's driver API: on the emulator of `kernels/emu`, or with
//! GLASSBOX_TEST_GPU=1 and the feature `cuda` on a GPU.

mod attend;
mod attend_world;
mod device;
mod driver;
mod embed;
mod emulator;
mod gemm;
mod heads;
mod late;
#[path = "../../kernels/loads/ptx.rs"]
mod loads;
mod logprobs;
mod mutants;
mod norm;
mod pack;
mod probes;
mod sample;
mod values;

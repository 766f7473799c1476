//! What a GPU can do wrong, and what is said then. Each check has a process of its own: a device
//! that has failed stays so.

use crate::cpu_support::{Collected, Tensors, limits};
use crate::gpu::{apart, backend, configure, dims, open, options, random};
use glassbox::model::Dims;
use glassbox::runner::cuda::{CudaBackend, Gpu, Options};
use glassbox::runner::{Backend, StepBatch};

fn one_token(backend: &mut CudaBackend) -> Result<(), String> {
    let mut batch = StepBatch::new(backend.limits());
    batch.push(&[1], 0, &[0], 1, None);
    backend.submit(&batch).map_err(|error| error.to_string())?;
    backend.collect(&mut Collected::default()).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_machine_without_a_gpu() {
    apart("failures::a_machine_without_a_gpu", "no_device", || {
        let error = Gpu::open().expect_err("no device").to_string();
        assert_eq!(error, "there is no GPU");
    });
}

#[test]
fn an_old_driver() {
    apart("failures::an_old_driver", "driver=12040", || {
        let error = Gpu::open().expect_err("too old").to_string();
        assert!(error.starts_with("the NVIDIA driver supports CUDA 12.4"), "{error}");
        assert!(error.contains("update the driver"), "{error}");
    });
}

#[test]
fn too_little_memory_names_what_to_change() {
    apart("failures::too_little_memory_names_what_to_change", "memory=1000000", || {
        let dims = dims();
        let weights = Tensors::random(&dims, 1);
        let limits = limits(&dims, 64, 16, 4);
        let made = CudaBackend::new(&open(), &dims, &weights, limits, options(true));
        let error = made.err().expect("too little memory").to_string();
        assert!(error.starts_with("no memory on the GPU for the weights"), "{error}");
        assert!(error.contains("--gpu-memory-utilization"), "{error}");
    });
}

#[test]
fn a_device_that_fails_in_a_step() {
    apart("failures::a_device_that_fails_in_a_step", "", || {
        let dims = dims();
        let mut backend = random(&dims, limits(&dims, 64, 16, 4), true);
        one_token(&mut backend).expect("it works");
        configure("fail=cuLaunchKernelEx:3:700");
        let error = one_token(&mut backend).expect_err("it fails");
        assert!(error.starts_with("the CUDA backend failed: gb_"), "{error}");
        assert!(error.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{error}");
        one_token(&mut backend).expect_err("it stays failed");
    });
}

#[test]
fn a_program_without_kernels() {
    let dims = dims();
    let weights = Tensors::random(&dims, 1);
    let limits = limits(&dims, 64, 16, 4);
    let empty = tempfile::tempdir().expect("a folder");
    let options = Options { kernels: Some(empty.path().to_owned()), ..options(true) };
    let made = CudaBackend::new(&open(), &dims, &weights, limits, options);
    let error = made.err().expect("no kernels").to_string();
    assert!(error.starts_with("this program has no kernels for"), "{error}");
}

#[test]
fn shapes_that_the_kernels_do_not_know() {
    let refused = |dims: Dims, block_size: usize| {
        let weights = Tensors::random(&dims, 1);
        let limits = limits(&dims, 64, block_size, 4);
        let made = CudaBackend::new(&open(), &dims, &weights, limits, options(true));
        made.err().expect("refused").to_string()
    };
    let of_heads = refused(Dims { head_dim: 64, ..dims() }, 16);
    assert_eq!(of_heads, "the CUDA backend cannot run this model: head_dim is not 128");
    let of_blocks = refused(dims(), 48);
    assert!(of_blocks.contains("block size is not 16, 32 or 64"), "{of_blocks}");
}

#[test]
fn the_table_of_memory_is_what_is_taken() {
    apart("failures::the_table_of_memory_is_what_is_taken", "", || {
        let dims = dims();
        let limits = limits(&dims, 64, 16, 4);
        let table = CudaBackend::memory(&dims, &limits);
        let gpu = open();
        let (before, _) = gpu.memory().unwrap();
        let weights = Tensors::random(&dims, 1);
        let _backend = backend(&dims, &weights, limits, true);
        let (after, _) = gpu.memory().unwrap();
        assert_eq!(before - after, table.total() as u64);
    });
}

//! The driver whose device is the emulator: what it refuses, records, and how it fails.

use std::ffi::c_void;

use cudarc::driver::sys::CUresult;
use cudarc::driver::{DriverError, result, sys};

use crate::args;
use crate::device::{Argument, Device, Shape, configure, on_gpu};
use crate::mutants::run_test;
use crate::values::assert_same;

fn code<T: std::fmt::Debug>(result: Result<T, DriverError>) -> CUresult {
    result.expect_err("an error").0
}

#[test]
fn impossible_launches_are_refused() {
    let device = Device::open();
    let out = device.zeros::<f32>(4);
    let launch = |shape: Shape| {
        device.try_launch("gb_widen", shape, args![&out, &out, 0_i32]).map_err(|e| e.0)
    };
    let shape = Shape::line(1, 32);
    assert_eq!(launch(shape), Ok(()));
    let invalid = Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(launch(Shape { grid: (0, 1, 1), ..shape }), invalid);
    assert_eq!(launch(Shape { grid: (1, 65_536, 1), ..shape }), invalid);
    assert_eq!(launch(Shape { block: 0, ..shape }), invalid);
    assert_eq!(launch(Shape { block: 1025, ..shape }), invalid);
    assert_eq!(launch(Shape { shared: 300 << 10, ..shape }), invalid);
}

#[test]
fn more_shared_memory_must_be_asked_for() {
    let device = Device::open();
    let function = device.function("gb_probe_stages");
    let buffer = device.zeros::<f32>(512);
    let arguments: &mut [Argument] = args![&buffer, &buffer, 1_i32];
    let mut pointers: Vec<*mut c_void> =
        arguments.iter_mut().map(|argument| std::ptr::from_mut(argument).cast()).collect();
    // SAFETY: what the kernel takes, of which nothing is run.
    let refused = unsafe {
        let (stream, shared) = (std::ptr::null_mut(), (48 << 10) + 1);
        result::launch_kernel(function, (1, 1, 1), (256, 1, 1), shared, stream, &mut pointers)
    };
    assert_eq!(code(refused), CUresult::CUDA_ERROR_INVALID_VALUE);
}

/// Run in a process of its own, whose device has so many bytes for a block.
#[test]
fn a_block_has_the_bytes_of_the_environment() {
    let Ok(bytes) = std::env::var("GLASSBOX_TEST_SHARED") else { return };
    let bytes: i32 = bytes.parse().expect("a number");
    let device = Device::open();
    use sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN as MOST;
    use sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as DYNAMIC;
    let function = device.function("gb_widen");
    // SAFETY: the first device and a function that is loaded.
    unsafe {
        let most = result::device::get_attribute(0, MOST);
        assert_eq!(most, Ok(bytes));
        let more = result::function::set_function_attribute(function, DYNAMIC, bytes + 1);
        assert_eq!(code(more), CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let out = device.zeros::<f32>(4);
    let shape = Shape { shared: bytes as u32, ..Shape::line(1, 32) };
    assert_eq!(device.try_launch("gb_widen", shape, args![&out, &out, 0_i32]), Ok(()));
}

#[test]
fn a_block_has_the_shared_memory_of_its_device() {
    if on_gpu() {
        return;
    }
    let of = [("8.0", 163), ("8.6", 99), ("8.9", 99), ("9.0", 227), ("10.0", 227), ("12.0", 99)];
    for (capability, kib) in of {
        let words = format!("capability={capability}");
        let bytes = (kib << 10).to_string();
        let environment = [("GLASSBOX_TEST_SHARED", &*bytes), ("GLASSBOX_FAKE_CUDA", &*words)];
        let output = run_test("driver::a_block_has_the_bytes_of_the_environment", &environment);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{capability}: {said}");
    }
}

#[test]
fn memory_and_functions_that_are_not_there() {
    let device = Device::open();
    let buffer = device.zeros::<u8>(256);
    // SAFETY: it is refused.
    let too_much = unsafe { result::malloc_sync(1 << 45) };
    assert_eq!(code(too_much), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    // A GPU's driver hands memory out in larger pieces, and looks for more than a first word.
    if !on_gpu() {
        let mut host = [0_u8; 257];
        // SAFETY: it is refused.
        let beyond = unsafe { result::memcpy_dtoh_sync(&mut host, buffer.address) };
        assert_eq!(code(beyond), CUresult::CUDA_ERROR_INVALID_VALUE);
        // SAFETY: the image is read only up to its first words.
        let wrong = unsafe { result::module::load_data(c"wrong GPU".as_ptr().cast()) };
        assert_eq!(code(wrong), CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
    }
}

/// A kernel that widens `n` values, without waiting for it.
fn widen(device: &Device, stream: sys::CUstream, arguments: &mut [Argument]) {
    let mut pointers: Vec<*mut c_void> =
        arguments.iter_mut().map(|argument| std::ptr::from_mut(argument).cast()).collect();
    let function = device.function("gb_widen");
    // SAFETY: buffers outlive the stream's work.
    unsafe {
        result::launch_kernel(function, (1, 1, 1), (32, 1, 1), 0, stream, &mut pointers)
            .expect("a launch");
    }
}

#[test]
fn what_is_recorded_runs_when_it_is_launched() {
    let device = Device::open();
    let source = device.upload(&[0x3f80_u16; 32]);
    let out = device.zeros::<f32>(32);
    // SAFETY: handles are used while they live, buffers outlive all.
    unsafe {
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        let stream = stream.expect("a stream");
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        result::stream::begin_capture(stream, mode).expect("a capture");
        widen(&device, stream, args![&out, &source, 31_i32]);
        let graph = result::stream::end_capture(stream).expect("a graph");
        assert_same(&device.download(&out), &[0.0; 32], "before the launch");
        let flags = sys::CUgraphInstantiate_flags(0);
        let exec = result::graph::instantiate(graph, flags).expect("an executable graph");
        result::graph::destroy(graph).expect("a graph that goes");
        for _ in 0..2 {
            result::graph::launch(exec, stream).expect("a launch");
            result::stream::synchronize(stream).expect("an end");
            let mut want = [1.0; 32];
            want[31] = 0.0;
            assert_same(&device.download(&out), &want, "after a launch");
            result::memset_d8_async(out.address, 0, 128, stream).expect("zeros");
        }
        result::graph::exec_destroy(exec).expect("a graph that goes");
        result::stream::destroy(stream).expect("a stream that goes");
    }
}

#[test]
fn streams_that_wait_for_a_recorded_one_are_recorded_too() {
    let device = Device::open();
    let source = device.upload(&[0x3f80_u16; 32]);
    let out = device.zeros::<f32>(32);
    // SAFETY: handles are used while they live, buffers outlive all.
    unsafe {
        use result::stream::StreamKind::NonBlocking;
        let [main, side] = [(); 2].map(|()| result::stream::create(NonBlocking));
        let (main, side) = (main.expect("a stream"), side.expect("a stream"));
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let [fork, join] = [(); 2].map(|()| result::event::create(flags).expect("an event"));
        let wait = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        result::stream::begin_capture(main, mode).expect("a capture");
        result::event::record(fork, main).expect("a fork");
        result::stream::wait_event(side, fork, wait).expect("a fork");
        widen(&device, side, args![&out, &source, 16_i32]);
        result::event::record(join, side).expect("a join");
        result::stream::wait_event(main, join, wait).expect("a join");
        result::memset_d8_async(out.address, 0, 4, main).expect("zeros");
        let graph = result::stream::end_capture(main).expect("a graph");
        let status = result::stream::is_capturing(side).expect("a status");
        assert_eq!(status, sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE);
        let flags = sys::CUgraphInstantiate_flags(0);
        let exec = result::graph::instantiate(graph, flags).expect("an executable graph");
        assert_same(&device.download(&out), &[0.0; 32], "before the launch");
        result::graph::launch(exec, main).expect("a launch");
        result::stream::synchronize(main).expect("an end");
        let want: [f32; 32] = std::array::from_fn(|i| f32::from(i > 0 && i < 16));
        assert_same(&device.download(&out), &want, "after the launch");
        result::graph::exec_destroy(exec).expect("a graph that goes");
        result::graph::destroy(graph).expect("a graph that goes");
        for event in [fork, join] {
            result::event::destroy(event).expect("an event that goes");
        }
        for stream in [main, side] {
            result::stream::destroy(stream).expect("a stream that goes");
        }
    }
}

#[test]
fn events_tell_the_time() {
    let device = Device::open();
    let out = device.zeros::<f32>(32);
    // SAFETY: handles are used while they live.
    unsafe {
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        let stream = stream.expect("a stream");
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT;
        let [start, end] = [(); 2].map(|()| result::event::create(flags).expect("an event"));
        let never = result::event::elapsed(start, end);
        assert_eq!(code(never), CUresult::CUDA_ERROR_INVALID_HANDLE);
        result::event::record(start, stream).expect("a start");
        widen(&device, stream, args![&out, &out, 0_i32]);
        result::event::record(end, stream).expect("an end");
        result::event::synchronize(end).expect("an end");
        let milliseconds = result::event::elapsed(start, end).expect("a time");
        assert!(milliseconds > 0.0 && milliseconds < 10_000.0, "{milliseconds}");
        for event in [start, end] {
            result::event::destroy(event).expect("an event that goes");
        }
        result::stream::destroy(stream).expect("a stream that goes");
    }
}

#[test]
fn waiting_spoils_what_is_recorded() {
    let device = Device::open();
    // SAFETY: handles are used while they live.
    unsafe {
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        let stream = stream.expect("a stream");
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        result::stream::begin_capture(stream, mode).expect("a capture");
        let refused = result::stream::synchronize(stream);
        assert_eq!(code(refused), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        let spoilt = result::stream::end_capture(stream);
        assert_eq!(code(spoilt), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        result::stream::destroy(stream).expect("a stream that goes");
    }
    drop(device);
}

/// What fails is the whole process's device: these run in one of their own.
#[test]
fn fail_as_the_environment_says() {
    let Ok(what) = std::env::var("GLASSBOX_TEST_FAILURE") else { return };
    let device = Device::open();
    let out = device.zeros::<f32>(4);
    let launch = || device.try_launch("gb_widen", Shape::line(1, 32), args![&out, &out, 0_i32]);
    match what.as_str() {
        "lasting" => {
            assert_eq!(launch(), Ok(()));
            assert_eq!(code(launch()), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
            assert_eq!(code(result::ctx::synchronize()), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
            configure("");
            assert_eq!(launch(), Ok(()));
        }
        "passing" => {
            assert_eq!(code(launch()), CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
            assert_eq!(launch(), Ok(()));
        }
        "memory" => {
            let (free, total) = result::mem_get_info().expect("figures");
            assert_eq!((free, total), (1_000_000 - 16, 1_000_000));
            // SAFETY: nothing is allocated.
            let refused = unsafe { result::malloc_sync(1_000_000) };
            assert_eq!(code(refused), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        }
        // SAFETY: never written to.
        "kept" => drop(unsafe { result::malloc_sync(1000) }.expect("memory")),
        other => panic!("no such failure: {other}"),
    }
}

#[test]
fn failures_can_be_had() {
    if on_gpu() {
        return;
    }
    let cases = [
        ("lasting", "fail=cuLaunchKernel:2:700"),
        ("passing", "fail=cuLaunchKernel:1:701"),
        ("memory", "memory=1000000"),
    ];
    for (what, words) in cases {
        let environment = [("GLASSBOX_TEST_FAILURE", what), ("GLASSBOX_FAKE_CUDA", words)];
        let output = run_test("driver::fail_as_the_environment_says", &environment);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{what}: {said}");
    }
    let environment = [("GLASSBOX_TEST_FAILURE", "lasting"), ("GLASSBOX_FAKE_CUDA", "no_device")];
    let output = run_test("driver::fail_as_the_environment_says", &environment);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("NO_DEVICE"), "no device: {said}");
    let environment = [("GLASSBOX_TEST_FAILURE", "kept"), ("GLASSBOX_FAKE_CUDA", "strict_end")];
    let output = run_test("driver::fail_as_the_environment_says", &environment);
    let said = String::from_utf8_lossy(&output.stderr);
    let kept = "fake CUDA: the process ends with ";
    assert!(!output.status.success() && said.contains(kept), "memory that is kept: {said}");
}

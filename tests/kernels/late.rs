//! The driver whose device is late (`deferred` in kernels/emu/driver/control.cc): work is done when
//! somebody waits for it, so that a host that does not wait sees what it should not.

use std::ffi::c_void;

use cudarc::driver::sys::{self, CUdeviceptr, CUevent, CUresult, CUstream};
use cudarc::driver::{DriverError, result};

use crate::args;
use crate::device::{Buffer, Device, on_gpu};
use crate::mutants::run_test;

const LEN: usize = 64;
const POISON: u8 = 0xff;

/// Runs `check`, which is all of test `name`, in a process of its own, whose device is late.
fn apart(name: &str, check: impl FnOnce(&Device)) {
    const VARIABLE: &str = "GLASSBOX_TEST_LATE";
    if on_gpu() {
        return;
    }
    if std::env::var_os(VARIABLE).is_some() {
        return check(&Device::open());
    }
    let output = run_test(name, &[(VARIABLE, "1"), ("GLASSBOX_FAKE_CUDA", "deferred")]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(" 1 passed"), "{said}");
}

/// Bytes of the host that the device reads and writes by itself.
fn pinned() -> &'static mut [u8] {
    // SAFETY: the bytes stay until the process ends, and all are written.
    unsafe {
        let at = result::malloc_host(LEN, 0).expect("memory").cast::<u8>();
        at.write_bytes(0, LEN);
        std::slice::from_raw_parts_mut(at, LEN)
    }
}

fn stream() -> CUstream {
    result::stream::create(result::stream::StreamKind::NonBlocking).expect("a stream")
}

fn event() -> CUevent {
    result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).expect("an event")
}

fn record(event: CUevent, stream: CUstream) {
    // SAFETY: handles that live.
    unsafe { result::event::record(event, stream) }.expect("a point");
}

fn wait_event(stream: CUstream, event: CUevent) {
    let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
    // SAFETY: handles that live.
    unsafe { result::stream::wait_event(stream, event, flags) }.expect("a wait");
}

fn fill(to: CUdeviceptr, value: u8, stream: CUstream) {
    // SAFETY: a buffer of `LEN` bytes.
    unsafe { result::memset_d8_async(to, value, LEN, stream) }.expect("a fill");
}

fn send(to: &Buffer<u8>, from: &[u8], stream: CUstream) {
    // SAFETY: a buffer of `LEN` bytes; what the host does with its own is what is tested.
    unsafe { result::memcpy_htod_async(to.address, from, stream) }.expect("a copy");
}

fn fetch(to: &mut [u8], from: &Buffer<u8>, stream: CUstream) {
    // SAFETY: as above.
    unsafe { result::memcpy_dtoh_async(to, from.address, stream) }.expect("a copy");
}

fn copy(to: &Buffer<u8>, from: &Buffer<u8>, stream: CUstream) {
    // SAFETY: both are of `LEN` bytes.
    unsafe { result::memcpy_dtod_async(to.address, from.address, LEN, stream) }.expect("a copy");
}

fn wait(stream: CUstream) {
    // SAFETY: a stream that lives.
    unsafe { result::stream::synchronize(stream) }.expect("an end");
}

/// What the device holds by now; other streams than the default one are not waited for.
fn now(device: &Device, buffer: &Buffer<u8>) -> u8 {
    let all = device.download(buffer);
    assert!(all.iter().all(|&byte| byte == all[0]), "{all:?}");
    all[0]
}

#[test]
fn what_is_read_too_early_is_poison() {
    apart("late::what_is_read_too_early_is_poison", |device| {
        let (stream, home) = (stream(), pinned());
        let buffer = device.zeros::<u8>(LEN);
        fill(buffer.address, 3, stream);
        fetch(home, &buffer, stream);
        assert_eq!(*home, [POISON; LEN]);
        assert_eq!(now(device, &buffer), 0);
        wait(stream);
        assert_eq!(*home, [3; LEN]);
        // To memory that is not pinned the driver copies before it returns.
        fill(buffer.address, 4, stream);
        let mut home = [0; LEN];
        fetch(&mut home, &buffer, stream);
        assert_eq!(home, [4; LEN]);
    });
}

#[test]
fn what_is_written_too_early_arrives() {
    apart("late::what_is_written_too_early_arrives", |device| {
        let (stream, source) = (stream(), pinned());
        let buffer = device.zeros::<u8>(LEN);
        source.fill(1);
        send(&buffer, source, stream);
        source.fill(2);
        wait(stream);
        assert_eq!(now(device, &buffer), 2);
        // Memory that is not pinned was read when the driver returned.
        let mut source = [3; LEN];
        send(&buffer, &source, stream);
        source.fill(4);
        wait(stream);
        assert_eq!((now(device, &buffer), source[0]), (3, 4));
    });
}

/// A buffer may go there and back in one stream without a wait.
#[test]
fn poison_does_not_arrive() {
    apart("late::poison_does_not_arrive", |device| {
        let (stream, host) = (stream(), pinned());
        let [there, other] = [(); 2].map(|()| device.zeros::<u8>(LEN));
        host.fill(1);
        fill(other.address, 2, stream);
        send(&there, host, stream);
        fetch(host, &other, stream);
        wait(stream);
        assert_eq!((now(device, &there), host[0]), (1, 2));
    });
}

#[test]
fn streams_wait_for_events_and_for_nothing_else() {
    apart("late::streams_wait_for_events_and_for_nothing_else", |device| {
        let [first, second, third] = [(); 3].map(|()| stream());
        let [from, to] = [(); 2].map(|()| device.zeros::<u8>(LEN));
        let done = event();
        fill(from.address, 1, first);
        record(done, first);
        fill(from.address, 2, first);
        copy(&to, &from, second);
        wait(second);
        assert_eq!(now(device, &to), 0, "nobody waited for the first stream");
        wait_event(second, done);
        copy(&to, &from, second);
        // Recorded again, it is another point for who waits from now on.
        record(done, third);
        wait(second);
        assert_eq!(now(device, &to), 1);
        assert_eq!(now(device, &from), 1, "what comes behind the event was not waited for");
        wait(first);
        assert_eq!(now(device, &from), 2);
    });
}

#[test]
fn the_default_stream_waits_for_streams_that_ask_for_it() {
    apart("late::the_default_stream_waits_for_streams_that_ask_for_it", |device| {
        let blocking = result::stream::create(result::stream::StreamKind::Default);
        let blocking = blocking.expect("a stream");
        let buffer = device.zeros::<u8>(LEN);
        fill(buffer.address, 1, blocking);
        assert_eq!(now(device, &buffer), 1);
        fill(buffer.address, 2, std::ptr::null_mut());
        let home = pinned();
        fetch(home, &buffer, blocking);
        wait(blocking);
        assert_eq!(*home, [2; LEN]);
    });
}

#[test]
fn who_asks_often_enough_gets_there() {
    apart("late::who_asks_often_enough_gets_there", |device| {
        let (stream, [begin, end]) = (stream(), [(); 2].map(|()| event()));
        let buffer = device.zeros::<u8>(LEN);
        let not_ready = Err(CUresult::CUDA_ERROR_NOT_READY);
        // SAFETY: handles that live.
        let query = |event| unsafe { result::event::query(event) }.map_err(|e: DriverError| e.0);
        // SAFETY: as above.
        let elapsed = || unsafe { result::event::elapsed(begin, end) }.map_err(|e| e.0);
        record(begin, stream);
        fill(buffer.address, 1, stream);
        record(end, stream);
        fill(buffer.address, 2, stream);
        assert_eq!(elapsed().map(drop), not_ready);
        assert_eq!(query(end), not_ready);
        while query(end) == not_ready {}
        assert_eq!(query(end), Ok(()));
        assert!(elapsed().expect("a time") >= 0.0);
        assert_eq!(now(device, &buffer), 1);
        // SAFETY: as above.
        let query = || unsafe { sys::cuStreamQuery(stream) };
        assert_eq!(query(), CUresult::CUDA_ERROR_NOT_READY);
        assert_eq!(query(), CUresult::CUDA_SUCCESS);
        assert_eq!(now(device, &buffer), 2);
    });
}

/// A graph, of one kernel that widens ones; the stream stays.
fn graph(device: &Device, out: &Buffer<f32>, ones: &Buffer<u16>) -> sys::CUgraphExec {
    let stream = stream();
    let arguments = args![out, ones, 32_i32];
    let mut pointers: Vec<*mut c_void> =
        arguments.iter_mut().map(|argument| std::ptr::from_mut(argument).cast()).collect();
    // SAFETY: what the kernel takes.
    unsafe {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        result::stream::begin_capture(stream, mode).expect("a capture");
        let (kernel, one) = (device.function("gb_widen"), (1, 1, 1));
        result::launch_kernel(kernel, one, (32, 1, 1), 0, stream, &mut pointers).expect("a launch");
        let graph = result::stream::end_capture(stream).expect("a graph");
        let flags = sys::CUgraphInstantiate_flags(0);
        result::graph::instantiate(graph, flags).expect("an executable graph")
    }
}

#[test]
fn what_is_destroyed_is_done_nevertheless() {
    apart("late::what_is_destroyed_is_done_nevertheless", |device| {
        let (first, second, done) = (stream(), stream(), event());
        let (out, ones) = (device.zeros::<f32>(32), device.upload(&[0x3f80_u16; 32]));
        let seen = device.zeros::<f32>(32);
        let exec = graph(device, &out, &ones);
        // SAFETY: each handle is used until it is destroyed.
        unsafe {
            result::graph::launch(exec, first).expect("a launch");
            result::graph::exec_destroy(exec).expect("a graph that goes");
            record(done, first);
            wait_event(second, done);
            result::event::destroy(done).expect("an event that goes");
            result::stream::destroy(first).expect("a stream that goes");
            let (to, from) = (seen.address, out.address);
            result::memcpy_dtod_async(to, from, 128, second).expect("a copy");
            result::stream::destroy(second).expect("a stream that goes");
        }
        assert_eq!(device.download(&seen), [0.0; 32]);
        result::ctx::synchronize().expect("an end");
        assert_eq!(device.download(&seen), [1.0; 32]);
    });
}

#[test]
fn memory_goes_when_nobody_uses_it() {
    apart("late::memory_goes_when_nobody_uses_it", |device| {
        let (stream, home) = (stream(), pinned());
        let buffer = device.zeros::<u8>(LEN);
        fill(buffer.address, 1, stream);
        fetch(home, &buffer, stream);
        drop(buffer);
        assert_eq!(*home, [1; LEN]);
        let buffer = device.zeros::<u8>(LEN);
        let source = pinned();
        source.fill(2);
        send(&buffer, source, stream);
        // SAFETY: nobody looks at it any more but the copy.
        unsafe { result::free_host(source.as_mut_ptr().cast()) }.expect("memory that goes");
        assert_eq!(now(device, &buffer), 2);
    });
}

#[test]
fn failures_are_told_to_who_waits() {
    apart("late::failures_are_told_to_who_waits", |device| {
        let (stream, home) = (stream(), pinned());
        let (out, buffer) = (device.zeros::<f32>(32), device.zeros::<u8>(LEN));
        let arguments = args![&out, 1_i32];
        let mut pointers: Vec<*mut c_void> =
            arguments.iter_mut().map(|argument| std::ptr::from_mut(argument).cast()).collect();
        let (kernel, one) = (device.function("gb_probe_crime"), (1, 1, 1));
        // SAFETY: what the kernel takes; handles that live.
        unsafe {
            result::launch_kernel(kernel, one, (32, 1, 1), 0, stream, &mut pointers)
                .expect("a launch");
            fetch(home, &buffer, stream);
            for _ in 0..2 {
                let failed = result::stream::synchronize(stream).expect_err("it failed");
                assert_eq!(failed.0, CUresult::CUDA_ERROR_LAUNCH_TIMEOUT);
            }
        }
        assert_eq!(*home, [POISON; LEN], "a device that has failed does nothing any more");
        let tried = result::ctx::synchronize().expect_err("it stays so");
        assert_eq!(tried.0, CUresult::CUDA_ERROR_LAUNCH_TIMEOUT);
    });
}

/// Threads that ask, wait, and wait for each other: a ring in which each copies from the one before
/// it, at once for all.
#[test]
fn threads_have_streams_of_their_own() {
    apart("late::threads_have_streams_of_their_own", |device| {
        const ROUNDS: u8 = 50;
        let streams: [usize; 4] = std::array::from_fn(|_| stream() as usize);
        let events: [usize; 4] = std::array::from_fn(|_| event() as usize);
        let buffers: [Buffer<u8>; 4] = std::array::from_fn(|_| device.zeros::<u8>(LEN));
        let turns = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for own in 0..4 {
                let (streams, events, buffers, turns) = (&streams, &events, &buffers, &turns);
                scope.spawn(move || {
                    let before = (own + 3) % 4;
                    let stream = streams[own] as CUstream;
                    for round in 0..ROUNDS {
                        fill(buffers[own].address, round, stream);
                        record(events[own] as CUevent, stream);
                        turns.wait();
                        wait_event(stream, events[before] as CUevent);
                        let home = pinned();
                        fetch(home, &buffers[before], stream);
                        // Half of them are waited for by others only.
                        if (own + usize::from(round)) % 2 == 0 {
                            wait(stream);
                            assert_eq!(*home, [round; LEN], "{own} of {before}");
                        }
                        turns.wait();
                        wait(stream);
                        turns.wait();
                    }
                });
            }
        });
    });
}

//! What NIXL is told of a GPU's memory: by a library that notes it, since UCX wants a GPU for more.

use glassbox::transfer::nixl::{NixlError, NixlOptions, NixlTransport};
use glassbox::transfer::transport::{BlockPair, Transport, TransportError, TransportEvent};
use glassbox::types::{KvCopies, KvLane, KvMemory, KvPlace, KvRegion};
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// A library of its own for each test, so that its notes are the test's.
struct Fake {
    _folder: tempfile::TempDir,
    path: PathBuf,
    library: libloading::Library,
}

impl Fake {
    fn new() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transfer/fake_nixl.c");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("libnixl_capi.so");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let mut command = Command::new(compiler);
        command.args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
        let output = command.arg(&path).arg(source).output().expect("a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // SAFETY: our own library; what it does when it is loaded asks nothing of us.
        let library = unsafe { libloading::Library::new(&path) };
        Self { _folder: folder, path, library: library.expect("the library that was built") }
    }

    fn transport(&self, memory: KvMemory) -> Result<NixlTransport, NixlError> {
        let options = NixlOptions { library: Some(self.path.clone()), ..NixlOptions::default() };
        NixlTransport::new(memory, options, Arc::new(|| {}))
    }

    fn notes(&self) -> Vec<String> {
        // SAFETY: the function has this type; nothing else is called meanwhile.
        let notes = unsafe {
            let notes =
                self.library.get::<unsafe extern "C" fn() -> *const c_char>("gb_fake_notes");
            CStr::from_ptr(notes.expect("the fake's function")())
        };
        notes.to_str().expect("ASCII").lines().map(str::to_owned).collect()
    }
}

/// A device that cannot be reached by other means than NIXL.
#[derive(Default)]
struct Device {
    bound: AtomicUsize,
    is_broken: bool,
}

impl KvCopies for Device {
    fn bind(&self) -> Result<(), String> {
        self.bound.fetch_add(1, Relaxed);
        if self.is_broken { Err("it is broken".to_owned()) } else { Ok(()) }
    }

    fn lane(self: Arc<Self>, _: Duration) -> Result<Box<dyn KvLane>, String> {
        Err("the host must not look at it".to_owned())
    }
}

/// Two layers of two blocks; no memory is there, and nobody may look.
fn regions(place: KvPlace) -> Vec<KvRegion> {
    let region = |address| KvRegion { place, address, block_len: 96, stride: 128, num_blocks: 2 };
    vec![region(0x7f00_0000_0000), region(0x7f00_0000_0100)]
}

const START: u64 = 0x7f00_0000_0000;

/// The blocks of an agent, as they are noted.
fn prepared(name: &str, kind: i32, device: u32) -> Vec<String> {
    let block = |i: u64| format!("prepare {name} {kind} {} 96 {device}", START + 128 * i);
    (0..4).map(block).collect()
}

#[test]
fn a_gpus_memory_is_vram_of_its_number() {
    let fake = Fake::new();
    let device = Arc::new(Device::default());
    let memory = KvMemory {
        regions: regions(KvPlace::Gpu(3)),
        copies: Some(device.clone()),
        owner: Arc::new(()),
    };
    let mut transport = fake.transport(memory).expect("a transport");
    assert_eq!(device.bound.load(Relaxed), 1, "before anything is registered");
    // What serves, what reads, and what reads are into.
    let registered = format!("register 1 {START} 512 3");
    let mut wanted = vec![registered.clone(), registered];
    wanted.extend(prepared("here", 1, 3));
    assert_eq!(fake.notes(), wanted);
    // A peer's memory is where the peer says.
    let peer = transport.connect(b"gpu", &regions(KvPlace::Gpu(5))).expect("a peer");
    wanted.extend(prepared("gpu", 1, 5));
    transport.connect(b"cpu", &regions(KvPlace::Main)).expect("a peer");
    wanted.extend(prepared("cpu", 0, 0));
    assert_eq!(fake.notes(), wanted);
    assert_eq!(device.bound.load(Relaxed), 3);
    let mixed = [regions(KvPlace::Main), regions(KvPlace::Gpu(0))].map(|all| all[0]);
    let refused = transport.connect(b"both", &mixed).expect_err("two kinds of memory");
    assert!(matches!(refused, TransportError::Failed(_)), "{refused}");
    // Nothing of a read looks at the memory.
    transport.read(peer, &[BlockPair { local: 1, remote: 0 }], b"a:1").expect("a read");
    let mut events = Vec::new();
    transport.poll(&mut events);
    assert!(matches!(events[..], [TransportEvent::Read { result: Ok(_), .. }]), "{events:?}");
}

#[test]
fn main_memory_is_dram() {
    let fake = Fake::new();
    let memory = KvMemory::of_host(regions(KvPlace::Main), Arc::new(()));
    let mut transport = fake.transport(memory).expect("a transport");
    transport.connect(b"gpu", &regions(KvPlace::Gpu(0))).expect("a peer");
    let registered = format!("register 0 {START} 512 0");
    let mut wanted = vec![registered.clone(), registered];
    wanted.extend(prepared("here", 0, 0));
    wanted.extend(prepared("gpu", 1, 0));
    assert_eq!(fake.notes(), wanted);
}

#[test]
fn a_gpu_that_cannot_be_bound_is_an_error() {
    let fake = Fake::new();
    let device = Device { is_broken: true, ..Device::default() };
    let memory = KvMemory {
        regions: regions(KvPlace::Gpu(0)),
        copies: Some(Arc::new(device)),
        owner: Arc::new(()),
    };
    let error = fake.transport(memory).err().expect("no transport").to_string();
    assert_eq!(error, "NIXL: it is broken");
    assert_eq!(fake.notes(), Vec::<String>::new());
}

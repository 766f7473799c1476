//! A NIXL agent and what belongs to it, behind a safe face: who lives longer than whom is kept by
//! reference counts, and every call is made by one thread.

use super::NixlError;
use super::library::Telemetry;
use super::library::{
    AgentConfig, DRAM, Handle, IN_PROGRESS, Library, READ, SUCCESS, Status, VRAM,
};
use crate::types::KvPlace;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::null_mut;
use std::rc::Rc;

/// How long NIXL's own thread may wait for news before it looks all the same, in microseconds. It
/// is woken by news; with 0 it does not wait, but takes a whole processor for each agent.
const LOOK_ANYWAY: u64 = 10_000;

/// An error of NIXL's, which says no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {}", explain(*.status))]
pub(super) struct Failed {
    call: &'static str,
    status: Status,
}

fn explain(status: Status) -> String {
    let text = match status {
        -1 => "an invalid parameter",
        -2 => "the backend failed, or the peer is gone",
        -3 => "an invalid state",
        -4 => "an exception",
        -5 => "no telemetry",
        -6 => "not found: unknown memory, or an unknown agent",
        other => return format!("status {other}"),
    };
    text.to_owned()
}

fn check(call: &'static str, status: Status) -> Result<(), Failed> {
    if status == SUCCESS { Ok(()) } else { Err(Failed { call, status }) }
}

/// A thing that is destroyed when it goes.
struct Owned {
    handle: Handle,
    destroy: unsafe extern "C" fn(Handle) -> Status,
}

impl Owned {
    /// What `create` makes.
    fn new(
        call: &'static str,
        destroy: unsafe extern "C" fn(Handle) -> Status,
        create: impl FnOnce(*mut Handle) -> Status,
    ) -> Result<Self, Failed> {
        let mut handle = null_mut();
        check(call, create(&mut handle))?;
        Ok(Self { handle, destroy })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it was made by the function that belongs to `destroy`, and is destroyed once.
        unsafe { (self.destroy)(self.handle) };
    }
}

/// A stretch of memory of some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub address: usize,
    pub len: usize,
}

/// NIXL's kind of memory and number of the device, as vLLM gives them.
fn segment(place: KvPlace) -> (c_int, u64) {
    match place {
        KvPlace::Main => (DRAM, 0),
        KvPlace::Gpu(number) => (VRAM, number.into()),
    }
}

/// One agent, with its backends.
pub(super) struct Agent {
    library: &'static Library,
    // In the order of their ends.
    backends: Vec<Owned>,
    agent: Owned,
}

impl Agent {
    /// An agent, and backends by name with their parameters; `threads` as in the options.
    pub fn new(
        library: &'static Library,
        name: &str,
        backends: &[String],
        threads: bool,
        parameters: &[(&CStr, CString)],
    ) -> Result<Rc<Self>, NixlError> {
        let name = c_string(name);
        let config = AgentConfig {
            enable_prog_thread: threads,
            enable_listen_thread: false,
            listen_port: 0,
            // All calls are made by one thread.
            thread_sync: 0,
            num_workers: 1,
            pthr_delay_us: LOOK_ANYWAY,
            lthr_delay_us: 100_000,
            capture_telemetry: true,
        };
        let l = library;
        // SAFETY: here and below: valid pointers, for as long as the call.
        let agent = Owned::new("create an agent", l.destroy_agent, |out| unsafe {
            (l.create_configured_agent)(name.as_ptr(), &config, out)
        })?;
        let made = backends.iter().map(|backend| {
            let backend_name = c_string(backend);
            let params = Owned::new("create parameters", l.destroy_params, |out| unsafe {
                (l.create_params)(out)
            })?;
            for (key, value) in parameters {
                let added = unsafe { (l.params_add)(params.handle, key.as_ptr(), value.as_ptr()) };
                check("add a parameter", added)?;
            }
            Owned::new("create the backend", l.destroy_backend, |out| unsafe {
                (l.create_backend)(agent.handle, backend_name.as_ptr(), params.handle, out)
            })
            .map_err(|e| NixlError::Backend { name: backend.clone(), why: e.to_string() })
        });
        let backends = made.collect::<Result<Vec<_>, NixlError>>()?;
        Ok(Rc::new(Self { library, backends, agent }))
    }

    fn options(&self) -> Result<Owned, Failed> {
        let l = self.library;
        // SAFETY: a valid pointer.
        Owned::new("create options", l.destroy_opt_args, |out| unsafe { (l.create_opt_args)(out) })
    }

    /// What peers must know; complete once memory is registered.
    pub fn metadata(&self) -> Result<Vec<u8>, Failed> {
        let (mut data, mut len) = (null_mut(), 0);
        // SAFETY: on success `data` is `len` bytes that `malloc` made for us.
        unsafe {
            let status = (self.library.get_local_md)(self.agent.handle, &mut data, &mut len);
            check("get the metadata", status)?;
            let copy = std::slice::from_raw_parts(data.cast::<u8>(), len).to_vec();
            libc::free(data);
            Ok(copy)
        }
    }

    /// Learns of a peer; its name.
    pub fn load(&self, metadata: &[u8]) -> Result<CString, Failed> {
        let mut name: *mut c_char = null_mut();
        let (data, len) = (metadata.as_ptr().cast(), metadata.len());
        // SAFETY: the bytes live through the call; on success `name` is a string that `malloc`
        // made for us.
        unsafe {
            let status = (self.library.load_remote_md)(self.agent.handle, data, len, &mut name);
            check("load the peer's metadata", status)?;
            let copy = CStr::from_ptr(name).to_owned();
            libc::free(name.cast());
            Ok(copy)
        }
    }

    /// Forgets a peer and closes what leads to it.
    pub fn forget(&self, name: &CStr) -> Result<(), Failed> {
        // SAFETY: a string.
        let status =
            unsafe { (self.library.invalidate_remote_md)(self.agent.handle, name.as_ptr()) };
        check("forget the peer", status)
    }

    pub fn notify(&self, name: &CStr, message: &[u8]) -> Result<(), Failed> {
        let (data, len) = (message.as_ptr().cast(), message.len());
        // SAFETY: a string, and bytes that are copied.
        let status = unsafe {
            (self.library.gen_notif)(self.agent.handle, name.as_ptr(), data, len, null_mut())
        };
        check("notify the peer", status)
    }

    /// What peers said since the last time.
    pub fn notifications(&self, mut take: impl FnMut(Vec<u8>)) -> Result<(), Failed> {
        let l = self.library;
        // SAFETY: here and below: valid pointers, for as long as the call. What is given out
        // belongs to the map, and is copied while that lives.
        let map = Owned::new("create a map", l.destroy_notif_map, |out| unsafe {
            (l.create_notif_map)(out)
        })?;
        let (map, mut agents) = (map.handle, 0);
        let got = unsafe { (l.get_notifs)(self.agent.handle, map, null_mut()) };
        check("get notifications", got)?;
        check("count agents", unsafe { (l.notif_map_size)(map, &mut agents) })?;
        for at in 0..agents {
            let (mut name, mut count) = (std::ptr::null(), 0);
            check("name an agent", unsafe { (l.notif_map_get_agent_at)(map, at, &mut name) })?;
            check("count notifications", unsafe {
                (l.notif_map_get_notifs_size)(map, name, &mut count)
            })?;
            for i in 0..count {
                let (mut data, mut len) = (std::ptr::null(), 0);
                check("get a notification", unsafe {
                    (l.notif_map_get_notif)(map, name, i, &mut data, &mut len)
                })?;
                let bytes = match len {
                    0 => &[],
                    _ => unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) },
                };
                take(bytes.to_vec());
            }
        }
        Ok(())
    }

    /// Lets memory be read and written.
    ///
    /// # Safety
    /// The ranges stay mapped until what is returned is dropped.
    pub unsafe fn register(
        self: &Rc<Self>,
        place: KvPlace,
        ranges: &[Range],
    ) -> Result<Registered, Failed> {
        let (l, (kind, device)) = (self.library, segment(place));
        // SAFETY: here and below: valid pointers, for as long as the call.
        let list = Owned::new("create a list", l.destroy_reg_dlist, |out| unsafe {
            (l.create_reg_dlist)(kind, out)
        })?;
        for Range { address, len } in ranges {
            check("add to a list", unsafe {
                (l.reg_dlist_add_desc)(list.handle, *address, *len, device, std::ptr::null(), 0)
            })?;
        }
        let options = self.options()?;
        for backend in &self.backends {
            let added = unsafe { (l.opt_args_add_backend)(options.handle, backend.handle) };
            check("add a backend", added)?;
        }
        let registered =
            unsafe { (l.register_mem)(self.agent.handle, list.handle, options.handle) };
        check("register the KV pool", registered)?;
        Ok(Registered { list, options, agent: self.clone() })
    }

    /// Prepares descriptors of memory: of a peer, or of this side.
    pub fn prepare(
        self: &Rc<Self>,
        peer: Option<&CStr>,
        place: KvPlace,
        blocks: impl Iterator<Item = Range>,
    ) -> Result<Descriptors, Failed> {
        let (l, (kind, device)) = (self.library, segment(place));
        // SAFETY: here and below: valid pointers, for as long as the call.
        let list = Owned::new("create a list", l.destroy_xfer_dlist, |out| unsafe {
            (l.create_xfer_dlist)(kind, out)
        })?;
        for Range { address, len } in blocks {
            check("add to a list", unsafe {
                (l.xfer_dlist_add_desc)(list.handle, address, len, device)
            })?;
        }
        let mut handle = null_mut();
        // This side's own name is the empty one.
        let name = peer.unwrap_or(c"");
        check("prepare blocks", unsafe {
            let (agent, list) = (self.agent.handle, list.handle);
            (l.prep_xfer_dlist)(agent, name.as_ptr(), list, &mut handle, null_mut())
        })?;
        Ok(Descriptors { handle, agent: self.clone() })
    }

    /// Begins to read the remote descriptors into the local ones, pair by pair.
    pub fn read(
        self: &Rc<Self>,
        local: (&Descriptors, &[c_int]),
        remote: (&Descriptors, &[c_int]),
        notification: &[u8],
    ) -> Result<Transfer, Failed> {
        let (l, options) = (self.library, self.options()?);
        let (data, len) = (notification.as_ptr().cast(), notification.len());
        let mut handle = null_mut();
        // SAFETY: here and below: valid pointers, for as long as the call; numbers and the
        // notification are copied.
        check("set a notification", unsafe {
            (l.opt_args_set_notif_msg)(options.handle, data, len)
        })?;
        check("set a notification", unsafe { (l.opt_args_set_has_notif)(options.handle, true) })?;
        check("make a read", unsafe {
            (l.make_xfer_req)(
                self.agent.handle,
                READ,
                local.0.handle,
                local.1.as_ptr(),
                local.1.len(),
                remote.0.handle,
                remote.1.as_ptr(),
                remote.1.len(),
                &mut handle,
                options.handle,
            )
        })?;
        let transfer = Transfer { handle, agent: self.clone() };
        match unsafe { (l.post_xfer_req)(self.agent.handle, handle, null_mut()) } {
            SUCCESS | IN_PROGRESS => Ok(transfer),
            status => {
                // Nothing was begun.
                let _ = transfer.release();
                Err(Failed { call: "begin a read", status })
            }
        }
    }
}

/// Memory that is known to NIXL until this is dropped.
pub(super) struct Registered {
    list: Owned,
    options: Owned,
    agent: Rc<Agent>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let (agent, list, options) = (&self.agent, self.list.handle, self.options.handle);
        // SAFETY: what was given to `register_mem`.
        let status = unsafe { (agent.library.deregister_mem)(agent.agent.handle, list, options) };
        if let Err(e) = check("deregister the KV pool", status) {
            log::warn!("[transfer] {e}");
        }
    }
}

/// Prepared descriptors.
pub(super) struct Descriptors {
    handle: Handle,
    agent: Rc<Agent>,
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        let agent = &self.agent;
        // SAFETY: made by `prep_xfer_dlist`, and released once.
        unsafe { (agent.library.release_xfer_dlist_handle)(agent.agent.handle, self.handle) };
    }
}

/// A read that was begun. Not released when dropped: that may fail, and then NIXL still uses it.
pub(super) struct Transfer {
    handle: Handle,
    agent: Rc<Agent>,
}

impl Transfer {
    /// Whether all bytes are there.
    pub fn is_done(&self) -> Result<bool, Failed> {
        let agent = &self.agent;
        // SAFETY: a transfer that was not released.
        let status = unsafe { (agent.library.get_xfer_status)(agent.agent.handle, self.handle) };
        match status {
            IN_PROGRESS => Ok(false),
            status => check("read", status).map(|()| true),
        }
    }

    /// What NIXL measured of it, once it is done.
    pub fn telemetry(&self) -> Option<Telemetry> {
        let (agent, mut telemetry) = (&self.agent, Telemetry::default());
        // SAFETY: a transfer that was not released, and room for the result.
        let status = unsafe {
            (agent.library.get_xfer_telemetry)(agent.agent.handle, self.handle, &mut telemetry)
        };
        (status == SUCCESS).then_some(telemetry)
    }

    /// Gives it back; or it goes on living when NIXL still uses it.
    pub fn release(self) -> Result<(), Self> {
        let agent = &self.agent;
        // SAFETY: a transfer that was not released; destroyed only after it was.
        unsafe {
            match (agent.library.release_xfer_req)(agent.agent.handle, self.handle) {
                SUCCESS => drop((agent.library.destroy_xfer_req)(self.handle)),
                _ => return Err(self),
            }
        }
        Ok(())
    }
}

fn c_string(text: &str) -> CString {
    // Names come from settings; NIXL's end at a NUL.
    CString::new(text.split('\0').next().unwrap_or_default()).expect("no NUL is left")
}

//! NIXL's C interface (`libnixl_capi.so`), found and opened at run time: nothing of NIXL is needed
//! to build, and a process that does not ask for it never sees it.

use super::NixlError;
use std::env;
use std::error::Error;
use std::ffi::{c_char, c_int, c_void};
use std::path::{Path, PathBuf};

/// A thing of NIXL's.
pub(super) type Handle = *mut c_void;

/// What a call came to.
pub(super) type Status = c_int;

pub(super) const SUCCESS: Status = 0;
pub(super) const IN_PROGRESS: Status = 1;

/// `nixl_capi_mem_type_t`: host memory, and that of a GPU.
pub(super) const DRAM: c_int = 0;
pub(super) const VRAM: c_int = 1;
/// `nixl_capi_xfer_op_t`: from there to here.
pub(super) const READ: c_int = 0;

/// `nixl_capi_agent_config_s`.
#[repr(C)]
pub(super) struct AgentConfig {
    pub enable_prog_thread: bool,
    pub enable_listen_thread: bool,
    pub listen_port: c_int,
    pub thread_sync: c_int,
    pub num_workers: u32,
    pub pthr_delay_us: u64,
    pub lthr_delay_us: u64,
    pub capture_telemetry: bool,
}

/// `nixl_capi_xfer_telemetry_s`.
#[repr(C)]
#[derive(Default)]
pub(super) struct Telemetry {
    pub start_time_us: u64,
    pub post_duration_us: u64,
    pub xfer_duration_us: u64,
    pub total_bytes: u64,
    pub desc_count: u64,
}

/// The functions that are used, by their names without `nixl_capi_`.
macro_rules! functions {
    ($($name:ident ( $($argument:ty),* );)*) => {
        pub(super) struct Library {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> Status,)*
        }

        impl Library {
            /// # Safety
            /// `library` is NIXL's C interface, and stays loaded.
            unsafe fn of(library: &libloading::Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    // SAFETY: the types are those of NIXL's header (nixl-sys 1.5.2, `wrapper.h`).
                    $($name: unsafe {
                        *library.get(concat!("nixl_capi_", stringify!($name), "\0").as_bytes())?
                    },)*
                })
            }
        }
    };
}

functions! {
    create_configured_agent(*const c_char, *const AgentConfig, *mut Handle);
    destroy_agent(Handle);
    get_local_md(Handle, *mut Handle, *mut usize);
    load_remote_md(Handle, *const c_void, usize, *mut *mut c_char);
    invalidate_remote_md(Handle, *const c_char);
    create_params(*mut Handle);
    params_add(Handle, *const c_char, *const c_char);
    destroy_params(Handle);
    create_backend(Handle, *const c_char, Handle, *mut Handle);
    destroy_backend(Handle);
    create_opt_args(*mut Handle);
    destroy_opt_args(Handle);
    opt_args_add_backend(Handle, Handle);
    opt_args_set_notif_msg(Handle, *const c_void, usize);
    opt_args_set_has_notif(Handle, bool);
    create_reg_dlist(c_int, *mut Handle);
    reg_dlist_add_desc(Handle, usize, usize, u64, *const c_void, usize);
    destroy_reg_dlist(Handle);
    register_mem(Handle, Handle, Handle);
    deregister_mem(Handle, Handle, Handle);
    create_xfer_dlist(c_int, *mut Handle);
    xfer_dlist_add_desc(Handle, usize, usize, u64);
    destroy_xfer_dlist(Handle);
    prep_xfer_dlist(Handle, *const c_char, Handle, *mut Handle, Handle);
    release_xfer_dlist_handle(Handle, Handle);
    make_xfer_req(
        Handle, c_int, Handle, *const c_int, usize, Handle, *const c_int, usize, *mut Handle, Handle
    );
    post_xfer_req(Handle, Handle, Handle);
    get_xfer_status(Handle, Handle);
    get_xfer_telemetry(Handle, Handle, *mut Telemetry);
    release_xfer_req(Handle, Handle);
    destroy_xfer_req(Handle);
    gen_notif(Handle, *const c_char, *const c_void, usize, Handle);
    create_notif_map(*mut Handle);
    destroy_notif_map(Handle);
    get_notifs(Handle, Handle, Handle);
    notif_map_size(Handle, *mut usize);
    notif_map_get_agent_at(Handle, usize, *mut *const c_char);
    notif_map_get_notifs_size(Handle, *const c_char, *mut usize);
    notif_map_get_notif(Handle, *const c_char, usize, *mut *const c_void, *mut usize);
}

const NAME: &str = "libnixl_capi.so";

/// The variable that names the library, or its folder.
const VARIABLE: &str = "GLASSBOX_NIXL_LIB";

/// Where installations put it.
const ROOTS: [&str; 5] = [
    "/opt/nixl",
    "/opt/nvidia/nvda_nixl/lib64",
    "/opt/nvidia/nvda_nixl/lib/x86_64-linux-gnu",
    "/opt/nvidia/nvda_nixl/lib/aarch64-linux-gnu",
    "/usr/local/nixl",
];

/// Where it is under one of these.
const FOLDERS: [&str; 5] =
    ["", "lib", "lib64", ".nixl_cu13.mesonpy.libs", ".nixl_cu12.mesonpy.libs"];

/// Where to look, in order: what was asked for alone, or else all usual places.
fn candidates(asked: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = asked {
        return vec![if path.is_dir() { path.join(NAME) } else { path.to_owned() }];
    }
    let under = |root| FOLDERS.map(|folder| Path::new(root).join(folder).join(NAME));
    let mut found: Vec<PathBuf> = ROOTS.into_iter().flat_map(under).collect();
    found.retain(|path| path.exists());
    // By the loader's own search path.
    found.push(NAME.into());
    found
}

/// An error with what the loader says.
fn whole(e: &libloading::Error) -> String {
    e.source().map_or_else(|| e.to_string(), |why| why.to_string())
}

impl Library {
    /// Opens the library at `path`, a file or a folder, or else at GLASSBOX_NIXL_LIB, or else where
    /// there is one. It stays open: it has threads, and handlers that run at the process's end.
    pub fn open(path: Option<&Path>) -> Result<&'static Self, NixlError> {
        let variable = env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut tried = Vec::new();
        for path in candidates(path.or(variable.as_deref())) {
            // SAFETY: opening runs the library's initialisers; it is the operator who says what
            // library that is.
            match unsafe { libloading::Library::new(&path) } {
                Ok(library) => {
                    // It is never closed.
                    let library = Box::leak(Box::new(library));
                    // SAFETY: as far as its names tell, it is NIXL's, and it stays loaded.
                    return match unsafe { Self::of(library) } {
                        Ok(functions) => Ok(Box::leak(Box::new(functions))),
                        Err(e) => Err(NixlError::Symbols { path, why: whole(&e) }),
                    };
                }
                Err(e) => tried.push(format!("{}: {}", path.display(), whole(&e))),
            }
        }
        Err(NixlError::Missing { tried: tried.join("; ") })
    }
}

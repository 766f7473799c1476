//! The wall clock for templates (`strftime_now`).

use std::ffi::CString;

/// The longest text that a format may print.
const LONGEST: usize = 1024;

/// The local time as C's `strftime` prints it, which is what Python's does; `None` where the
/// format holds a NUL or prints too much.
pub(super) fn local_time(format: &str) -> Option<String> {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as libc::time_t);
    if format.is_empty() {
        return Some(String::new());
    }
    let format = CString::new(format).ok()?;
    let mut buffer = vec![0u8; LONGEST];
    // SAFETY: `tm` is plain data, for which all zeros are valid; `localtime_r` fills it or returns
    // null; `strftime` writes at most LONGEST bytes into a buffer of that size, and both strings
    // live through the call.
    let written = unsafe {
        let mut time: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&seconds, &mut time).is_null() {
            return None;
        }
        libc::strftime(buffer.as_mut_ptr().cast(), LONGEST, format.as_ptr(), &time)
    };
    buffer.truncate(written);
    String::from_utf8(buffer).ok().filter(|text| !text.is_empty())
}

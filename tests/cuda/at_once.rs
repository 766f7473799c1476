//! The same on a device that does everything in the call that asks for it. A late one does not see
//! when the host goes on writing to what it has given away, as long as that is in time for it.

use crate::gpu::{AT_ONCE, on_gpu};
use std::process::Command;

/// Those in which the host gives the device something.
const TESTS: [&str; 5] = ["copies::", "logits::", "same::", "sampling::", "sleep::"];

#[test]
fn a_device_that_is_never_late() {
    if on_gpu() || std::env::var_os(AT_ONCE).is_some() {
        return;
    }
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new(this);
    let output = command.args(TESTS).env(AT_ONCE, "1").output().expect("the same program again");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !out.contains(" 0 passed"), "{out}");
}

//! How many files, and so connections, the process may have open.

use std::io;

/// What vLLM asks for.
const WANTED: libc::rlim_t = 65_535;

/// Raises the limit on open files as far as the system lets this process, at most to vLLM's. Says
/// so when that fails: clients would then be refused at a few hundred connections.
pub fn raise_limit() {
    if let Err(error) = raise() {
        log::warn!(
            "the limit on open files stays as it is ({error}); with many connections raise it \
             yourself (ulimit -n)"
        );
    }
}

fn raise() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the struct, which lives until they return.
    let check = |code: libc::c_int| match code {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    if limit.rlim_cur >= WANTED {
        return Ok(());
    }
    limit.rlim_cur = WANTED.min(limit.rlim_max);
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_as_high_as_may_be() {
        raise().unwrap();
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: as above.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        assert!(limit.rlim_cur >= WANTED.min(limit.rlim_max));
    }
}

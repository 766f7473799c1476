//! Spans on their way out: a real export thread against collectors that are well, slow, unwilling
//! or gone.

mod collector;
mod delivery;
mod support;
mod tls;
mod trouble;

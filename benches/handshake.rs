//! What meeting a peer of KV transfer costs, and what it costs to lay its blocks out.
//!
//! `--serve` instead runs a side channel, and `--ask PORT..` asks those at these ports of loopback:
//! the other end of `tests/peers/handshake.py`.

use glassbox::config::{AttnBackend, CpuAttnIsa};
use glassbox::transfer::checksum::checksum;
use glassbox::transfer::layout::{BlockShape, pack, unpack};
use glassbox::transfer::peer::Local;
use glassbox::transfer::side_channel::{Listener, query};
use glassbox::types::{Clock, KvPlace, KvRegion};
use std::hint::black_box;
use std::io::Read;
use std::time::{Duration, Instant};

const HOST: &str = "127.0.0.1";
const PATIENCE: Duration = Duration::from_secs(5);

/// A server of Qwen3-0.6B: 28 layers of 8 heads of 128, blocks of 64 tokens.
fn local() -> Local {
    let block_len = 8 * 64 * 2 * 128 * 2;
    let region = |layer: u64| KvRegion {
        place: KvPlace::Main,
        address: 0x7f00_0000_0000 + layer * (1 << 30),
        block_len,
        stride: block_len,
        num_blocks: 4096,
    };
    Local {
        engine_id: "prefill".to_owned(),
        regions: (0..28).map(region).collect(),
        block_size: 64,
        attn_backend: AttnBackend::FlashAttn,
        compatibility_hash: "5e".repeat(32),
        enforce_hash: true,
    }
}

fn listen(clock: &Clock) -> Listener {
    let payload = local().payload(&[7; 486]).encode();
    Listener::bind(HOST, 0, payload.into(), clock.clone()).expect("a free port")
}

/// Until standard input ends.
fn serve() {
    let listener = listen(&Clock::system());
    println!("ready {}", listener.port());
    std::io::stdin().read_to_end(&mut Vec::new()).expect("standard input");
}

fn ask(ports: &[String]) {
    let clock = Clock::system();
    for port in ports {
        let port = port.parse().expect("a port");
        match query(HOST, port, (0, 0), PATIENCE, &clock) {
            Ok(answer) => {
                match local().check(&answer.payload, "prefill") {
                    Ok(peer) => print!("Ok({} regions)", peer.regions.len()),
                    Err(mismatch) => print!("Err({mismatch})"),
                }
                println!(" offset {}", answer.clock_offset);
            }
            Err(error) => println!("Err({error})"),
        }
    }
}

/// The mean of many runs, in seconds.
fn time(runs: u32, mut run: impl FnMut()) -> f64 {
    run();
    let since = Instant::now();
    (0..runs).for_each(|_| run());
    since.elapsed().as_secs_f64() / f64::from(runs)
}

fn handshake() {
    let clock = Clock::system();
    let listener = listen(&clock);
    let asked = time(500, || {
        query(HOST, listener.port(), (0, 0), PATIENCE, &clock).expect("an answer");
    });
    let payload = local().payload(&[7; 486]);
    let checked = time(2000, || {
        black_box(local().check(&payload, "prefill").expect("a peer"));
    });
    println!("query, connection included {:>8.1} us", asked * 1e6);
    println!("metadata read and checked  {:>8.1} us", checked * 1e6);
}

fn layouts() {
    let shape = BlockShape { kv_heads: 8, tokens: 64, head_dim: 128 };
    let block: Vec<u16> = (0..shape.len()).map(|i| i as u16).collect();
    let (mut packed, mut again) = (vec![0; shape.len()], vec![0; shape.len()]);
    let bytes = (2 * shape.len()) as f64;
    let rate = |seconds: f64| bytes / seconds / 1e9;
    for isa in [CpuAttnIsa::Vec, CpuAttnIsa::Amx] {
        let packing = time(2000, || pack(isa, shape, black_box(&block), &mut packed));
        let unpacking = time(2000, || unpack(isa, shape, black_box(&packed), &mut again));
        assert_eq!(again, block);
        let (to, from) = (rate(packing), rate(unpacking));
        println!("{:<4} pack {to:>6.2} GB/s, unpack {from:>6.2} GB/s", isa.name());
    }
    let copying = time(2000, || again.copy_from_slice(black_box(&block)));
    println!("copy      {:>6.2} GB/s", rate(copying));
    let plain: Vec<u8> = block.iter().flat_map(|value| value.to_le_bytes()).collect();
    let summing = time(2000, || {
        black_box(checksum([black_box(&plain[..])]));
    });
    println!("checksum  {:>6.2} GB/s", rate(summing));
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("--serve") => serve(),
        Some("--ask") => ask(&args[1..]),
        _ => {
            handshake();
            layouts();
        }
    }
}

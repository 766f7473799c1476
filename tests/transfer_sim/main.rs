//! Two servers of which one computes prompts and the other goes on from there, with a network
//! between them that loses, delays and stalls, and deaths, aborts and shortages drawn from a seed.
//!
//! Whatever happens, a client gets exactly what its request gives alone, or (where that is the
//! policy) an error: never text that other KV led to. When it is over, no block is held.
//! `GLASSBOX_SIM_SEED=<seed> cargo test --release --test transfer_sim` replays one life.

mod dice;
mod net;
mod node;

use dice::Dice;
use glassbox::engine::{Generation, NewRequest, Transfer, Turn};
use glassbox::runner::Limits;
use glassbox::runner::sim::{context_hash, fill_logits};
use glassbox::types::{
    Clock, FinishReason, Generated, LeasedBlocks, RemoteBlocks, SamplingParams, SharedTimeline,
    TimelineRoom, Token,
};
use net::{Net, SharedNet};
use node::{Node, Shape};
use std::sync::Arc;
use std::time::Duration;

const VOCAB: usize = 50;

/// What came of a life, to see that the interesting things happened.
#[derive(Debug, Default)]
struct Tally {
    pulled: u64,
    failed: u64,
    recomputed: u64,
    leased: u64,
    done: u64,
}

/// A client of two legs.
struct Client {
    prompt: Arc<[Token]>,
    tokens: usize,
    leg: Leg,
    heard: Vec<Token>,
}

enum Leg {
    Prefill { generation: Generation, by: u64, leased: Option<LeasedBlocks> },
    Decode { generation: Generation, by: u64 },
}

struct World {
    dice: Dice,
    clock: Clock,
    net: SharedNet,
    shapes: [Shape; 2],
    /// Prefill, decode.
    nodes: [Node; 2],
    clients: Vec<Client>,
    next_id: u64,
    tally: Tally,
    deaths: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let block_size = dice.pick(&[1, 2, 4, 16]);
        let recomputes = dice.chance(50);
        let mut shape = || {
            let num_blocks = dice.range(4, 32).max(32usize.div_ceil(block_size));
            let max_seqs = dice.range(1, 6);
            Shape {
                limits: Limits {
                    max_tokens: dice.range(max_seqs, 40),
                    max_seqs,
                    max_blocks_per_seq: num_blocks,
                    num_blocks,
                    block_size,
                    vocab_size: VOCAB,
                },
                caches: dice.chance(80),
                recomputes,
                checksums: dice.chance(30),
            }
        };
        let shapes = [shape(), shape()];
        let clock = Clock::manual();
        let losses = dice.pick(&[0, 0, 3, 20]);
        let net = Net::new(seed ^ 1, clock.clone(), dice.chance(50), losses);
        let node = |id| Node::new(id, shapes[id as usize - 1], net.clone(), clock.clone());
        let nodes = [node(1), node(2)];
        let (clients, tally, deaths) = (Vec::new(), Tally::default(), dice.chance(30));
        Self { dice, clock, net, shapes, nodes, clients, next_id: 3, tally, deaths }
    }

    fn request(&self, client: &Client, transfer: Transfer, max_tokens: usize) -> NewRequest {
        NewRequest {
            prompt: client.prompt.clone(),
            params: Arc::new(SamplingParams::greedy(max_tokens as u32)),
            number: 0,
            priority: 0,
            cache_salt: None,
            session: None,
            reports_prefix: false,
            transfer,
            constraint: None,
            timeline: SharedTimeline::new(self.clock.now(), TimelineRoom::default()),
        }
    }

    fn arrive(&mut self) {
        let most = self.shapes.iter().map(|s| s.limits.num_blocks * s.limits.block_size).min();
        let len = self.dice.range(1, most.expect("two").min(64) - 2);
        let tokens = self.dice.range(1, (most.expect("two").min(64) - len - 1).min(12));
        let (family, own_from) = (self.dice.range(0, 1) as u64, self.dice.range(0, len));
        let prompt = (0..len).map(|at| match at < own_from {
            true => (context_hash(family, at as Token) % 50) as Token,
            false => (self.dice.next() % 50) as Token,
        });
        let prompt: Arc<[Token]> = prompt.collect();
        self.next_id += 1;
        let name: Arc<str> = format!("cmpl-{}", self.next_id).into();
        let new = NewRequest {
            prompt: prompt.clone(),
            params: Arc::new(SamplingParams::greedy(1)),
            number: 0,
            priority: 0,
            cache_salt: None,
            session: None,
            reports_prefix: false,
            transfer: Transfer::Lease(name),
            constraint: None,
            timeline: SharedTimeline::new(self.clock.now(), TimelineRoom::default()),
        };
        let node = &self.nodes[0];
        let generation = node.handle.reserve(1).unwrap().start(new).unwrap();
        let leg = Leg::Prefill { generation, by: node.id, leased: None };
        self.clients.push(Client { prompt, tokens, leg, heard: Vec::new() });
    }

    /// Hears what a client is told. False when it is done.
    fn listen(&mut self, client: &mut Client) -> bool {
        let (Leg::Prefill { by, .. } | Leg::Decode { by, .. }) = client.leg;
        let is_decode = by == self.nodes[1].id;
        if !self.nodes.iter().any(|node| node.id == by) {
            // Its server is dead: so is its connection.
            return false;
        }
        loop {
            let (Leg::Prefill { generation, .. } | Leg::Decode { generation, .. }) =
                &mut client.leg;
            let Some(event) = generation.try_next() else { return true };
            match (event, &mut client.leg) {
                (Generated::Leased(blocks), Leg::Prefill { leased, .. }) => {
                    *leased = Some(*blocks);
                }
                (Generated::Token { token, finish, .. }, Leg::Decode { .. }) => {
                    client.heard.push(token);
                    if finish.is_some() {
                        assert_eq!(client.heard, alone(&client.prompt, client.tokens));
                        self.tally.done += 1;
                        return false;
                    }
                }
                (Generated::End(finish), _) => {
                    let may_fail = !self.shapes[1].recomputes && is_decode;
                    assert!(may_fail && finish.reason == FinishReason::Error, "{finish:?}");
                    self.tally.failed += 1;
                    return false;
                }
                (Generated::Token { finish, .. }, Leg::Prefill { leased, .. }) => {
                    assert!(finish.is_some(), "one token");
                    let leased = leased.take().expect("leased before the end");
                    self.tally.leased += 1;
                    return self.decode(client, leased, by);
                }
                (Generated::Prompt { .. }, _) => {}
                (Generated::Leased(_), Leg::Decode { .. }) => panic!("a decode keeps nothing"),
            }
        }
    }

    /// Goes on with the second leg, as a sidecar does; or does not.
    fn decode(&mut self, client: &mut Client, leased: LeasedBlocks, by: u64) -> bool {
        if self.dice.chance(10) {
            return false;
        }
        let exact = self.dice.chance(50);
        let remote = Arc::new(RemoteBlocks {
            engine_id: by.to_string().into(),
            request_id: leased.request_id,
            host: "host".into(),
            port: 1,
            blocks: leased.blocks,
            num_tokens: Some(leased.num_tokens),
            expiry: exact.then_some(leased.granted.expiry),
            told: self.clock.now(),
            checksums: leased.granted.checksums,
        });
        let node = &self.nodes[1];
        if self.dice.chance(5) {
            node.handle.discard(remote);
            return false;
        }
        let new = self.request(client, Transfer::Pull(remote), client.tokens);
        let node = &self.nodes[1];
        let generation = node.handle.reserve(1).unwrap().start(new).unwrap();
        client.leg = Leg::Decode { generation, by: node.id };
        true
    }

    fn turn(&mut self) {
        let pass = match self.dice.range(0, 20) {
            0 => Duration::from_secs(self.dice.range(1, 12) as u64),
            _ => Duration::from_millis(self.dice.range(0, 20) as u64),
        };
        self.clock.advance(pass);
        self.net.lock().unwrap().turn();
        self.nodes.iter_mut().for_each(Node::turn);
        let mut clients = std::mem::take(&mut self.clients);
        clients.retain_mut(|client| self.listen(client));
        self.clients = clients;
    }

    fn misfortune(&mut self) {
        if !self.clients.is_empty() && self.dice.chance(4) {
            let gone = self.dice.range(0, self.clients.len() - 1);
            self.clients.swap_remove(gone);
        }
        if self.dice.chance(3) {
            let node = self.dice.range(0, 1);
            self.nodes[node].is_asleep ^= true;
        }
        if self.deaths && self.dice.chance(2) {
            let at = self.dice.range(0, 1);
            self.next_id += 1;
            self.net.lock().unwrap().kill(self.nodes[at].id);
            let (net, clock) = (self.net.clone(), self.clock.clone());
            self.nodes[at] = Node::new(self.next_id, self.shapes[at], net, clock);
        }
    }

    fn live(&mut self) {
        let (turns, arrivals) = (self.dice.range(20, 200), self.dice.range(5, 50) as u64);
        for _ in 0..turns {
            if self.clients.len() < 16 && self.dice.chance(arrivals) {
                self.arrive();
            }
            self.misfortune();
            self.turn();
        }
        self.settle();
    }

    /// From here on nothing goes wrong: everyone ends, and within two leases all is free.
    fn settle(&mut self) {
        self.net.lock().unwrap().calm();
        self.nodes.iter_mut().for_each(|node| node.is_asleep = false);
        for _ in 0..20_000 {
            self.turn();
            if self.clients.is_empty() && self.nodes.iter().all(is_at_rest) {
                let counters = &self.nodes[1].handle.status().counters;
                let load = |counter: &std::sync::atomic::AtomicU64| {
                    counter.load(std::sync::atomic::Ordering::Relaxed)
                };
                self.tally.pulled = load(&counters.prompt_tokens_pulled);
                self.tally.recomputed = load(&counters.prompt_tokens) - self.tally.pulled;
                return;
            }
        }
        let ids = self.nodes.iter().map(|node| (node.id, node.connector.is_idle()));
        let clients = self.clients.len();
        panic!(
            "{clients} clients wait after 20,000 turns, or not all is free: {:?}",
            ids.collect::<Vec<_>>()
        );
    }
}

/// Whether it holds nothing.
fn is_at_rest(node: &Node) -> bool {
    let gauges = &node.handle.status().gauges;
    let used = gauges.kv_used_blocks.load(std::sync::atomic::Ordering::Relaxed);
    node.connector.is_idle() && used == 0
}

/// What the prompt gives alone.
fn alone(prompt: &[Token], tokens: usize) -> Vec<Token> {
    let mut context = prompt.iter().fold(0, |context, &token| context_hash(context, token));
    let mut logits = [0.0; VOCAB];
    let next = |_| {
        fill_logits(context, &mut logits);
        let best = (0..VOCAB).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        let token = best.expect("a vocabulary") as Token;
        context = context_hash(context, token);
        token
    };
    (0..tokens).map(next).collect()
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn blocks_that_nobody_heard_of_are_not_kept() {
    let mut world = World::new(0);
    world.arrive();
    let prefiller = &mut world.nodes[0];
    while prefiller.core.turn().expect("the device works") == Turn::Stepped {}
    assert!(!is_at_rest(prefiller), "the connector has not heard of them yet");
    world.clients.clear();
    prefiller.turn();
    prefiller.turn();
    assert!(is_at_rest(prefiller));
}

#[test]
fn whatever_happens_a_client_gets_its_own_text_or_an_error() {
    let seeds = match from_env("GLASSBOX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("GLASSBOX_SIM_SEEDS").unwrap_or(3_000),
    };
    let mut all = Tally::default();
    for seed in seeds.clone() {
        let life = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.live();
            world.tally
        });
        let Ok(tally) = life else {
            panic!("replay: GLASSBOX_SIM_SEED={seed} cargo test --release --test transfer_sim");
        };
        all.pulled += tally.pulled;
        all.failed += tally.failed;
        all.recomputed += tally.recomputed;
        all.leased += tally.leased;
        all.done += tally.done;
    }
    println!("{all:?}");
    if seeds.end - seeds.start >= 1000 {
        assert!(all.pulled > 1000 && all.failed > 100 && all.done > 1000, "{all:?}");
    }
}

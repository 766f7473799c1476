//! Whatever a prompt is, and however it is cut up: a pair says what one server says, to the bit.

use super::super::support::{Reply, Server};
use super::{
    COMPLETIONS, alone, choices, decoder, first_leg, kept, prefill, prefiller, tokens_from,
    wait_until_free, with_params,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Steps of fewer tokens than most prompts have.
const CHUNKED: [&str; 4] = ["--max-num-batched-tokens", "48", "--max-num-seqs", "40"];

struct Trio {
    prefiller: Server,
    decoder: Server,
    alone: Server,
}

fn trio(flags: &[&str]) -> Trio {
    let config = json!({"kv_connector_extra_config": {"block_checksums": true}});
    Trio {
        prefiller: prefiller(flags, &config),
        decoder: decoder(flags, &config),
        alone: alone(flags),
    }
}

impl Trio {
    fn compare(&self, body: &Value) {
        let params = prefill(&self.prefiller, COMPLETIONS, body);
        let cached = params["remote_prefill_cached_tokens"].clone();
        let reply = self.decoder.post(COMPLETIONS, &with_params(body, params));
        let right = self.alone.post(COMPLETIONS, body);
        assert_eq!(choices(&reply), choices(&right), "{body}");
        let usage = &reply.json()["usage"];
        assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], cached, "{body}");
    }

    /// Nothing is kept, nothing ran out or failed, and most came from afar.
    fn check_end(&self) {
        for (server, name) in [(&self.prefiller, "P"), (&self.decoder, "D")] {
            wait_until_free(server, name);
            for count in ["kv_expired_reqs", "failed_transfers", "failed_notifications"] {
                assert_eq!(server.metric(&format!("vllm:nixl_num_{count}_total")), 0.0, "{name}");
            }
        }
        let sources = ["local_compute", "local_cache_hit", "external_kv_transfer"];
        let [computed, hit, external] = sources.map(|source| tokens_from(&self.decoder, source));
        let all = self.decoder.metric("vllm:prompt_tokens_total");
        assert_eq!(computed + hit + external, all);
        assert!(external > all / 2.0, "{computed} {hit} {external}");
        assert!(hit > 0.0, "{computed} {hit} {external}");
        assert_eq!(tokens_from(&self.prefiller, "external_kv_transfer"), 0.0);
        let reads = self.decoder.metric("vllm:nixl_xfer_time_seconds_count");
        assert!(reads > 0.0);
        for family in ["post_time_seconds", "bytes_transferred", "num_descriptors"] {
            assert_eq!(self.decoder.metric(&format!("vllm:nixl_{family}_count")), reads);
        }
    }
}

fn tokens(dice: &mut StdRng, len: usize) -> Vec<u32> {
    (0..len).map(|_| dice.random_range(20..500)).collect()
}

fn body(dice: &mut StdRng, prompt: &[u32]) -> Value {
    let temperature = if dice.random() { 0.0 } else { 0.9 };
    json!({"prompt": prompt, "max_tokens": dice.random_range(1..10), "ignore_eos": true,
        "logprobs": 3, "return_token_ids": true, "temperature": temperature, "seed": 7})
}

/// Prompts of every length around those of blocks, some of which begin as others do.
fn prompts(dice: &mut StdRng, block: usize) -> Vec<Vec<u32>> {
    let lens = [1, 2, block - 1, block, block + 1, 2 * block, 2 * block + 1, 4 * block - 1];
    let mut prompts: Vec<Vec<u32>> = lens.iter().map(|&len| tokens(dice, len)).collect();
    for _ in 0..8 {
        let begins_as = dice.random_range(0..prompts.len());
        let mut prompt = prompts[begins_as].clone();
        prompt.truncate(dice.random_range(0..=300));
        let len = dice.random_range(1..200);
        prompt.extend(tokens(dice, len));
        prompts.push(prompt);
    }
    prompts
}

fn says_the_same(block: usize, flags: &[&str]) {
    let text = block.to_string();
    let flags = [flags, &["--block-size", &text]].concat();
    let trio = trio(&flags);
    let mut dice = StdRng::seed_from_u64(block as u64);
    for prompt in prompts(&mut dice, block) {
        trio.compare(&body(&mut dice, &prompt));
    }
    trio.check_end();
}

#[test]
fn blocks_of_16_in_small_steps() {
    says_the_same(16, &CHUNKED);
}

#[test]
fn blocks_of_64() {
    says_the_same(64, &[]);
}

#[test]
fn one_region_of_made_up_kv() {
    says_the_same(16, &["--device", "sim"]);
}

fn post_all(server: &Server, bodies: &[Value]) -> Vec<Reply> {
    let send = |body: &Value| server.send("POST", COMPLETIONS, &body.to_string());
    let streams: Vec<_> = bodies.iter().map(send).collect();
    streams.into_iter().map(Reply::read).collect()
}

#[test]
fn thirty_two_at_once() {
    let trio = trio(&[&CHUNKED[..], &["--block-size", "16"]].concat());
    let mut dice = StdRng::seed_from_u64(32);
    let bodies: Vec<Value> = (0..32)
        .map(|i| {
            let mut prompt = vec![30 + i % 3; 40];
            let len = dice.random_range(1..160);
            prompt.extend(tokens(&mut dice, len));
            body(&mut dice, &prompt)
        })
        .collect();
    // Nothing of it is known to D before: a prefix is found there only once it was pulled.
    trio.compare(&bodies[0]);
    let legs: Vec<Value> = bodies.iter().map(|body| first_leg(COMPLETIONS, body)).collect();
    let params: Vec<Value> = post_all(&trio.prefiller, &legs).iter().map(kept).collect();
    let second: Vec<Value> =
        bodies.iter().zip(params).map(|(body, params)| with_params(body, params)).collect();
    let replies = post_all(&trio.decoder, &second);
    for (body, reply) in bodies.iter().zip(&replies) {
        assert_eq!(choices(reply), choices(&trio.alone.post(COMPLETIONS, body)), "{body}");
    }
    trio.check_end();
}

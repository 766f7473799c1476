//! The real program on the device: `glassbox serve --device cuda`.

#[path = "../serve/support.rs"]
#[allow(dead_code)] // Made for another test crate.
pub mod support;

use crate::gpu::{images, late, library, on_gpu};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use support::{Server, command, spawn, wait_until};

/// A folder in which the dynamic linker finds the emulated driver.
fn folder() -> PathBuf {
    let (path, _) = library();
    let folder = path.with_extension("d");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let link = folder.join("libcuda.so");
    if !link.exists() {
        // Another test may have been faster.
        let _ = std::os::unix::fs::symlink(path, &link);
    }
    folder
}

/// The program on the device, which does as `words` say.
fn serve(args: &[&str], words: &str) -> Command {
    let mut command = command(args);
    emulate(&mut command, words);
    command
}

/// Gives a command the device, which does as `words` say, late.
pub fn emulate(command: &mut Command, words: &str) {
    if !on_gpu() {
        command.env("LD_LIBRARY_PATH", folder());
        command.env("GLASSBOX_KERNELS", images()).env("GLASSBOX_FAKE_CUDA", late(words));
    }
}

const LIMITS: [&str; 6] =
    ["--max-model-len", "256", "--max-num-batched-tokens", "256", "--max-num-seqs", "4"];

fn ask(server: &Server, question: &str) -> Value {
    let body = json!({"messages": [{"role": "user", "content": question}], "temperature": 0,
        "max_tokens": 6, "chat_template_kwargs": {"enable_thinking": false}});
    let reply = server.post("/v1/chat/completions", &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["choices"][0]["message"]["content"].clone()
}

#[test]
fn it_says_what_the_cpu_says() {
    let gpu = spawn(serve(&[&LIMITS[..], &["--device", "cuda"]].concat(), ""));
    let cpu = spawn(serve(&[&LIMITS[..], &["--device", "cpu"]].concat(), ""));
    let questions = ["What is the capital of France?", "Who are you?"];
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            questions.map(|question| scope.spawn(|| ask(&gpu, question))).into_iter().collect();
        for (asked, question) in asked.into_iter().zip(questions) {
            assert_eq!(asked.join().expect("an answer"), ask(&cpu, question), "{question}");
        }
    });
}

#[test]
fn a_device_that_fails_ends_the_server() {
    if on_gpu() {
        return;
    }
    let args = [&LIMITS[..], &["--device", "cuda"]].concat();
    let server = spawn(serve(&args, "fail=cuGraphLaunch:2:700"));
    assert_eq!(server.get("/health").status, 200);
    let body = json!({"prompt": [5, 6], "max_tokens": 20, "temperature": 0, "ignore_eos": true});
    let reply = server.post("/v1/completions", &body);
    assert_eq!(reply.status, 500, "{}", reply.body);
    // As a vLLM whose engine died, it ends, so that its pod is started anew.
    let (status, log) = server.wait();
    assert!(!status.success());
    assert!(log.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{log}");
}

/// A reply that does not end by itself for a long time.
fn endless(server: &Server) -> TcpStream {
    let body = json!({"prompt": [5, 6], "max_tokens": 200, "ignore_eos": true, "stream": true});
    let stream = server.send("POST", "/v1/completions", &body.to_string());
    wait_until("it runs", || server.metric("vllm:num_requests_running") >= 1.0);
    stream
}

#[test]
fn the_device_is_left_before_the_process_ends() {
    let args = [&LIMITS[..], &["--device", "cuda"]].concat();
    let server = spawn(serve(&args, "strict_end"));
    let _open = endless(&server);
    server.signal(libc::SIGTERM);
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("[shutdown] API server: engine stopped"), "{log}");
    // Asked twice it waits for nothing, and meets no exit handler.
    let server = spawn(serve(&[&args[..], &["--shutdown-timeout", "600"]].concat(), "strict_end"));
    let _open = endless(&server);
    server.signal(libc::SIGTERM);
    server.signal(libc::SIGINT);
    let (status, _) = server.wait();
    assert!([Some(130), Some(143)].contains(&status.code()), "{status}");
}

#[test]
fn the_device_is_left_by_what_fails_beside_it() {
    let (code, said) = batch(&["-o", "/nowhere/at/all"], "strict_end");
    assert!(code == Some(1) && said.contains("/nowhere/at/all"), "{code:?} {said}");
    let args = ["bench", "latency", "--input-len", "999", "--output-len", "1"];
    let (code, said) = run(&args, "strict_end");
    assert!(code == Some(1) && said.contains("do not fit in max_model_len"), "{code:?} {said}");
}

/// Runs another command than `serve` on the device; gives its exit code and all that it said.
fn run(args: &[&str], words: &str) -> (Option<i32>, String) {
    let mut command = support::program();
    command.args(args).args(["--model", "models/qwen3-tiny", "--device", "cuda"]);
    command.args(["--max-model-len", "256", "--max-num-batched-tokens", "256"]);
    emulate(&mut command, words);
    let output = command.output().expect("the program runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// The same for `run-batch` of nothing.
fn batch(args: &[&str], words: &str) -> (Option<i32>, String) {
    let nothing = ["run-batch", "-i", "/dev/null", "-o", "/dev/null"];
    run(&[&nothing[..], args].concat(), words)
}

#[test]
fn a_device_that_hangs_does_not_keep_the_process() {
    if on_gpu() {
        return;
    }
    let args = [&LIMITS[..], &["--device", "cuda"]].concat();
    let server = spawn(serve(&args, "hang=cuMemFree:1,strict_end"));
    server.signal(libc::SIGTERM);
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("[shutdown] the engine did not stop in 5 s"), "{log}");
}

/// The rows of the table of memory, by their names.
fn table(log: &str) -> HashMap<String, u64> {
    let rows = log.lines().filter_map(|line| {
        let (name, bytes) = line.split_once(" bytes ")?.0.rsplit_once("  ")?;
        let name = name.rsplit_once("]   ")?.1.trim().to_owned();
        Some((name, bytes.trim().replace(',', "").parse().ok()?))
    });
    rows.collect()
}

#[test]
fn a_share_of_the_gpu_holds_its_driver_too() {
    if on_gpu() {
        return;
    }
    // Of 4 GiB.
    let args = ["--gpu-memory-utilization", "0.2", "--max-num-seqs", "16"];
    let (code, said) = batch(&args, "");
    assert_eq!(code, Some(0), "{said}");
    let rows = table(&said);
    // Graphs of 1, 2, 4, 8 and 16 sequences.
    assert_eq!(rows["driver and CUDA graphs"], (512 + 5) << 20, "{said}");
    let share = (0.2 * (4_u64 << 30) as f64).ceil() as u64;
    // All but what is less than a block.
    assert!((share - (1 << 20)..=share).contains(&rows["in all"]), "{said}");
    let eager = table(&batch(&[&args[..], &["--enforce-eager"]].concat(), "").1);
    assert_eq!(eager["driver and CUDA graphs"], 512 << 20);
    let outright = [&args[..], &["--kv-cache-memory-bytes", "64M"]].concat();
    assert_eq!(table(&batch(&outright, "").1)["KV cache"], 64 << 20);
    // Where it does not fit it is named.
    let (code, said) = batch(&["--gpu-memory-utilization", "0.1", "--max-num-seqs", "16"], "");
    let kept = " GiB of weights and buffers and the 0.5 GiB that are kept for the driver";
    assert!(code == Some(1) && said.contains(kept), "{code:?} {said}");
    // vLLM's words, whatever the KV cache is to be.
    let (code, said) = batch(&["--kv-cache-memory-bytes", "64M"], "used=400000000");
    let free = "Free memory on device cuda:0 (3.63/4.0 GiB) on startup is less than desired GPU \
                memory utilization (0.92, 3.68 GiB).";
    assert!(code == Some(1) && said.contains(free), "{code:?} {said}");
}

#[test]
fn a_gpu_that_cannot_be_used_is_refused() {
    let refused = |args: &[&str], words: &str| {
        let output = serve(args, words).output().expect("the program runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    if !on_gpu() {
        let said = refused(&["--device", "cuda"], "no_device");
        assert!(said.contains("--device cuda: there is no GPU. To run on the CPU"), "{said}");
        // Where a GPU is, but not one that can be used, nothing else is chosen instead.
        let said = refused(&["--device", "auto"], "driver=12040");
        assert!(said.contains("--device auto: the NVIDIA driver supports CUDA 12.4"), "{said}");
    }
}

//! The real program on the device: `glassbox serve --device cuda`.

#[path = "../serve/support.rs"]
#[allow(dead_code)] // Made for another test crate.
pub mod support;

use crate::gpu::{images, late, library, on_gpu};
use serde_json::{Value, json};
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
    let batch = std::env::temp_dir().join(format!("glassbox-batch-{}", std::process::id()));
    std::fs::write(&batch, "").expect("a file");
    let from = batch.to_str().expect("UTF-8");
    let model = ["--model", "models/qwen3-tiny", "--device", "cuda", "--max-model-len", "256"];
    let run = |args: &[&str]| {
        let mut command = support::program();
        command.args(args).args(model).args(["--kv-cache-memory-bytes", "64M"]);
        emulate(&mut command, "strict_end");
        let output = command.output().expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&["run-batch", "-i", from, "-o", "/nowhere/at/all"]);
    assert!(code == Some(1) && said.contains("/nowhere/at/all"), "{code:?} {said}");
    let (code, said) = run(&["bench", "latency", "--input-len", "999", "--output-len", "1"]);
    assert!(code == Some(1) && said.contains("do not fit in max_model_len"), "{code:?} {said}");
    std::fs::remove_file(batch).expect("the file");
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

//! From settings to a running engine: open the model, size the memory, load, start.

use super::device::Device;
use super::stop::Running;
use crate::config::limits::{StepLimits, max_model_len};
use crate::config::memory::{self, KvPlan, KvRequest};
use crate::config::{
    BucketFamily, ContextRequest, CpuIsa, KvMemory as MemoryRequest, LoadFailurePolicy, Settings,
};
use crate::engine::{
    self, Core, EngineConfig, EngineHandle, ModelCosts, Observation, PrefixCaching, ResidencySample,
};
use crate::events::{Publisher, Source};
use crate::model::{Dims, Model, OpenOptions};
use crate::runner::cpu::{CpuBackend, Isa};
use crate::runner::cuda::{CudaBackend, Options};
use crate::runner::sim::{Samples, SimBackend, SimConfig};
use crate::runner::{Backend, Limits};
use crate::scheduler::SchedulerConfig;
use crate::transfer::{self, Transfers};
use crate::types::{Clock, KvMemory};
use std::time::Instant;

/// A running engine.
pub struct Engine {
    pub handle: EngineHandle,
    pub running: Running,
    /// Of its KV events, when it publishes them.
    pub publisher: Option<Publisher>,
    /// What moves its KV between servers, when it does.
    pub transfers: Option<Transfers>,
}

/// Opens the model's files.
///
/// # Errors
/// One sentence.
pub fn open_model(settings: &Settings) -> Result<Model, String> {
    let from = &settings.model;
    let model = Model::open(&OpenOptions {
        revision: from.revision.clone(),
        tokenizer_revision: from.tokenizer_revision.clone(),
        config_path: from.hf_config_path.clone(),
        hf_overrides: from.hf_overrides.clone(),
        tokenizer: from.tokenizer.clone(),
        skip_tokenizer: from.skip_tokenizer,
        chat_template: from.chat_template.clone(),
        load_format: from.load_format,
        seed: from.seed,
        generation_config: from.generation_config.clone(),
        override_generation_config: from.override_generation_config.clone(),
        ..OpenOptions::new(&from.model, from.hub.clone())
    })
    .map_err(|error| error.to_string())?;
    for phase in &model.phases {
        log::info!("{} took {:.3} s", phase.name, phase.took.as_secs_f64());
    }
    Ok(model)
}

/// How much of everything there will be.
pub struct Sizes {
    pub device: Device,
    pub kv: KvPlan,
    pub step: StepLimits,
}

/// Settles context, step and KV cache, and says where the memory goes.
///
/// # Errors
/// One sentence: settings that contradict each other or the machine.
pub fn size(settings: &Settings, model: &Model) -> Result<Sizes, String> {
    let dims = &model.config.dims;
    let context = max_model_len(settings.model.context, model.config.max_model_len)?;
    log::info!("Using max model len {context}");
    let device = Device::open(settings)?;
    let step = settings.scheduler.step_limits(context, device.step_defaults()?)?;
    let cache = &settings.cache;
    let available = device.memory()?;
    if let Device::Cuda(_) = device {
        memory::check_free(cache.memory_utilization, available).map_err(|e| e.to_string())?;
    }
    let mut limits = limits(settings, model, &step, context, 0);
    let fixed = parts(&device, settings, dims, &limits);
    let driver_bytes = driver_bytes(&device, settings, &limits)?;
    let request = KvRequest {
        memory: memory_request(&device, settings),
        num_blocks_override: cache.num_blocks_override,
        bytes_per_token: dims.kv_bytes_per_token() as u64,
        block_size: cache.block_size,
        fixed_bytes: fixed.iter().map(|(_, bytes)| bytes).sum(),
        driver_bytes,
        max_model_len: context,
        fit: settings.model.context == ContextRequest::Fit,
    };
    let bytes = memory::kv_bytes(&request, available).map_err(|error| error.to_string())?;
    let kv = memory::plan(&request, bytes).map_err(|error| error.to_string())?;
    limits.num_blocks = kv.num_blocks;
    let mut parts = parts(&device, settings, dims, &limits).to_vec();
    if driver_bytes > 0 {
        parts.push(("driver and CUDA graphs", driver_bytes));
    }
    memory::table(&parts, available).iter().for_each(|line| log::info!("{line}"));
    log::info!("{}", kv.summary(device.name()));
    Ok(Sizes { device, kv, step })
}

/// What the backend will take, exactly.
fn parts(
    device: &Device,
    settings: &Settings,
    dims: &Dims,
    limits: &Limits,
) -> [(&'static str, u64); 3] {
    let (weights, kv_cache, workspace) = match device {
        Device::Cpu => {
            let memory = CpuBackend::memory(dims, limits, threads(settings));
            (memory.weights, memory.kv_cache, memory.workspace)
        }
        Device::Cuda(_) => {
            let memory = CudaBackend::memory(dims, limits);
            (memory.weights, memory.kv_cache, memory.workspace)
        }
        Device::Sim => (0, 0, 0),
    };
    [("weights", weights as u64), ("KV cache", kv_cache as u64), ("workspace", workspace as u64)]
}

/// What comes beside that on a GPU, as far as it can be told before.
fn driver_bytes(device: &Device, settings: &Settings, limits: &Limits) -> Result<u64, String> {
    let Device::Cuda(_) = device else { return Ok(0) };
    Ok(memory::driver_bytes(CudaBackend::graphs(&settings.graphs.sizes()?, limits)))
}

/// A GPU is there for this process alone: unless told otherwise it is used up to vLLM's share.
fn memory_request(device: &Device, settings: &Settings) -> MemoryRequest {
    let cache = &settings.cache;
    match (device, cache.memory) {
        (Device::Cuda(_), MemoryRequest::Default) => MemoryRequest::Share(cache.memory_utilization),
        (_, request) => request,
    }
}

fn limits(
    settings: &Settings,
    model: &Model,
    step: &StepLimits,
    context: usize,
    num_blocks: usize,
) -> Limits {
    Limits {
        max_tokens: step.max_num_batched_tokens,
        max_seqs: step.max_num_seqs,
        max_blocks_per_seq: context.div_ceil(settings.cache.block_size),
        num_blocks,
        block_size: settings.cache.block_size,
        vocab_size: model.config.dims.vocab,
    }
}

/// Threads of a step.
pub fn threads(settings: &Settings) -> usize {
    let usable = || std::thread::available_parallelism().map_or(1, |threads| threads.get());
    settings.device.threads.unwrap_or_else(usable)
}

fn isa(chosen: CpuIsa) -> Isa {
    match chosen {
        CpuIsa::Avx512Bf16 => Isa::Avx512Bf16,
        CpuIsa::Avx2 => Isa::Avx2,
        CpuIsa::Neon => Isa::Neon,
        CpuIsa::Portable => Isa::Portable,
    }
}

/// Loads the weights and starts the engine.
///
/// # Errors
/// One sentence.
pub fn start_engine(
    settings: &Settings,
    model: &Model,
    sizes: &Sizes,
    clock: Clock,
) -> Result<Engine, String> {
    let context = sizes.kv.max_model_len;
    let limits = limits(settings, model, &sizes.step, context, sizes.kv.num_blocks);
    let backend = load(&sizes.device, settings, model, limits)?;
    let scheduler = &settings.scheduler;
    let config = EngineConfig {
        scheduler: SchedulerConfig {
            max_num_batched_tokens: sizes.step.max_num_scheduled_tokens,
            max_num_seqs: sizes.step.max_num_active_seqs,
            policy: scheduler.policy,
            chunked_prefill: scheduler.chunked_prefill,
            long_prefill_token_threshold: scheduler.long_prefill_token_threshold,
            adaptive_long_prefill: scheduler.adaptive_long_prefill,
            reserve_full_prompt: scheduler.reserve_full_isl,
            watermark: scheduler.watermark,
        },
        max_model_len: context,
        prefix_caching: settings.cache.prefix_caching.then(|| PrefixCaching {
            algo: settings.cache.hash_algo,
            hash_seed: settings.cache.hash_seed.clone(),
        }),
        max_in_flight: scheduler.max_num_queued_reqs.unwrap_or(usize::MAX),
        max_queued_tokens: scheduler.max_num_queued_tokens.unwrap_or(usize::MAX),
        seed: settings.model.seed,
        iteration_buckets: settings.metrics.buckets(BucketFamily::IterationTokens, context),
        logprobs: settings.model.logprobs_mode,
        observation: observation(&sizes.device, settings, model, context),
    };
    let memory = backend.kv_memory();
    let (mut core, handle) = Core::new(config, backend, clock.clone());
    if let Some(config) = &settings.kv_transfer {
        config.check_buffer(sizes.device.kind())?;
    }
    let transfers = transfers(settings, model, memory, (&handle, &clock))?;
    if let (Some(transfers), Some(config)) = (&transfers, &settings.kv_transfer) {
        let recomputes = config.load_failure_policy == LoadFailurePolicy::Recompute;
        core.transfer_by(Box::new(transfers.link()), recomputes);
    }
    let publisher = settings.kv_events.clone().map(|events| {
        let (block_size, hash_algo) = (settings.cache.block_size, settings.cache.hash_algo);
        Publisher::start(events, Source { block_size, hash_algo, clock })
    });
    let publisher = publisher.transpose().map_err(|error| error.to_string())?;
    if let Some(publisher) = &publisher {
        core.tell_kv_events(Box::new(publisher.sink()));
    }
    let thread =
        engine::spawn(core).map_err(|error| format!("no thread for the engine: {error}"))?;
    let running = Running::new(handle.clone(), thread);
    Ok(Engine { handle, running, publisher, transfers })
}

/// What moves KV between servers, if anything is to.
fn transfers(
    settings: &Settings,
    model: &Model,
    memory: Option<KvMemory>,
    (handle, clock): (&EngineHandle, &Clock),
) -> Result<Option<Transfers>, String> {
    let Some(config) = &settings.kv_transfer else { return Ok(None) };
    let memory = memory.ok_or("--kv-transfer-config: this device's KV cache has no address")?;
    let engine = handle.clone();
    let engine = transfer::Engine {
        dims: &model.config.dims,
        memory,
        block_size: settings.cache.block_size,
        clock: clock.clone(),
        tell: Box::new(move |event| engine.transferred(event)),
    };
    Transfers::start(config, engine).map(Some)
}

/// Without statistics nothing is measured on demand either, as in vLLM.
fn observation(device: &Device, settings: &Settings, model: &Model, context: usize) -> Observation {
    let metrics = &settings.metrics;
    let buckets = || metrics.buckets(BucketFamily::KvCacheResidency, context);
    let wanted = |is_wanted: bool| is_wanted && settings.logging.stats;
    Observation {
        residency: metrics
            .residency_sample
            .filter(|_| settings.logging.stats)
            .map(|share| ResidencySample { share, buckets: buckets() }),
        costs: wanted(metrics.estimates_costs).then(|| ModelCosts::new(&model.config.dims)),
        log_steps: wanted(settings.logging.steps).then_some(device.name()),
    }
}

fn load(
    device: &Device,
    settings: &Settings,
    model: &Model,
    limits: Limits,
) -> Result<Box<dyn Backend>, String> {
    let since = Instant::now();
    match device {
        Device::Cpu => {
            let (threads, isa) = (threads(settings), settings.device.isa.map(isa));
            let backend =
                CpuBackend::new(&model.config.dims, model.weights.as_ref(), limits, threads, isa)
                    .map_err(|error| error.to_string())?;
            let seconds = since.elapsed().as_secs_f64();
            let (isa, threads) = (backend.isa(), backend.threads());
            log::info!("load weights took {seconds:.3} s ({isa} kernels, {threads} threads)");
            Ok(match settings.device.sleep_mode {
                true => Box::new(backend.sleeping(model.weights.clone())),
                false => Box::new(backend),
            })
        }
        Device::Cuda(gpu) => {
            let dims = &model.config.dims;
            let graph_sizes = settings.graphs.sizes()?;
            let options = Options { graph_sizes, kernels: None };
            let backend = CudaBackend::new(gpu, dims, model.weights.as_ref(), limits, options)
                .map_err(|error| error.to_string())?;
            log::info!("load weights took {:.3} s", since.elapsed().as_secs_f64());
            Ok(match settings.device.sleep_mode {
                true => Box::new(backend.sleeping(model.weights.clone())),
                false => Box::new(backend),
            })
        }
        Device::Sim => {
            let step_time = settings.device.sim_step;
            let config = SimConfig { limits, step_time, samples: Samples::Cheaply, fails_at: None };
            Ok(Box::new(SimBackend::new(config)))
        }
    }
}

//! Flags that several of the benchmarks have.

use super::Kind::*;
use super::*;

pub(super) const NUM_PROMPTS: Flag =
    flag("--num-prompts", Int, int(1000)).help("How many requests are sent.");
pub(super) const DATASET_PATH: Flag =
    flag("--dataset-path", Text, NONE).help("The file of a data set.");
pub(super) const NO_OVERSAMPLE: Flag = flag("--no-oversample", Switch, OFF).help(
    "Do not repeat prompts of a file that has \
         too few.",
);
pub(super) const ENABLE_MULTIMODAL_CHAT: Flag =
    later("--enable-multimodal-chat", Switch, OFF, MEDIA_DATA);
pub(super) const INPUT_LEN: Flag =
    flag("--input-len", Int, NONE).help("Tokens in a prompt, whatever the data set.");
pub(super) const OUTPUT_LEN: Flag =
    flag("--output-len", Int, NONE).help("Tokens in a reply, whatever the data set.");
pub(super) const USE_BEAM_SEARCH: Flag = later("--use-beam-search", Switch, OFF, NOT_YET);
pub(super) const NUM_WARMUPS: Flag =
    flag("--num-warmups", Int, int(0)).help("Requests before the measurement.");
pub(super) const PROFILE: Flag = later("--profile", Switch, OFF, PYTHON);
pub(super) const LORA_ASSIGNMENT: Flag =
    hint("--lora-assignment", Text, text("random"), LORA_ADAPTERS)
        .choices(&["random", "round-robin"]);
pub(super) const ASR_MAX_AUDIO_LEN_SEC: Flag =
    hint("--asr-max-audio-len-sec", Float, float(f64::INFINITY), MEDIA_DATA);
pub(super) const ASR_MIN_AUDIO_LEN_SEC: Flag =
    hint("--asr-min-audio-len-sec", Float, float(0.0), MEDIA_DATA);
pub(super) const RANDOM_INPUT_LEN: Flag =
    flag("--random-input-len", Int, int(1024)).help("Tokens in a random prompt.");
pub(super) const RANDOM_OUTPUT_LEN: Flag =
    flag("--random-output-len", Int, int(128)).help("Tokens in a reply to a random prompt.");
pub(super) const RANDOM_RANGE_RATIO: Flag = flag("--random-range-ratio", Text, text("0.0"))
    .help("How far lengths stray from these, in [0, 1), or a JSON object with input and output.");
pub(super) const RANDOM_PREFIX_LEN: Flag =
    flag("--random-prefix-len", Int, int(0)).help("Tokens that all random prompts begin with.");
pub(super) const RANDOM_BATCH_SIZE: Flag = hint("--random-batch-size", Int, int(1), MEDIA_DATA);
pub(super) const NO_RERANKER: Flag = hint("--no-reranker", Switch, OFF, MEDIA_DATA);
pub(super) const RANDOM_MM_BASE_ITEMS_PER_REQUEST: Flag =
    hint("--random-mm-base-items-per-request", Int, int(1), MEDIA_DATA);
pub(super) const RANDOM_MM_NUM_MM_ITEMS_RANGE_RATIO: Flag =
    hint("--random-mm-num-mm-items-range-ratio", Float, float(0.0), MEDIA_DATA);
pub(super) const RANDOM_MM_LIMIT_MM_PER_PROMPT: Flag =
    hint("--random-mm-limit-mm-per-prompt", Json, NONE, MEDIA_DATA);
pub(super) const RANDOM_MM_BUCKET_CONFIG: Flag =
    hint("--random-mm-bucket-config", Text, NONE, MEDIA_DATA);
pub(super) const HF_SUBSET: Flag = hint("--hf-subset", Text, NONE, DOWNLOADS);
pub(super) const HF_SPLIT: Flag = hint("--hf-split", Text, NONE, DOWNLOADS);
pub(super) const HF_NAME: Flag = hint("--hf-name", Text, NONE, DOWNLOADS);
pub(super) const N: Flag = flag("--n", Int, int(1)).help("Replies to each prompt.");
pub(super) const OUTPUT_JSON: Flag =
    flag("--output-json", Text, NONE).help("Write the results to this JSON file.");
pub(super) const DISABLE_DETOKENIZE: Flag = hint("--disable-detokenize", Switch, OFF, ENGINE_ALONE);

//! Choices of the command line that rooms below the command line act on.

use std::str::FromStr;

/// vLLM's `--prefix-caching-hash-algo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgo {
    /// SHA-256 over CPython's pickle: vLLM's default.
    Sha256,
    /// SHA-256 over canonical CBOR: what other languages can compute too.
    Sha256Cbor,
    /// XXH3-128 over pickle.
    Xxhash,
    /// XXH3-128 over canonical CBOR.
    XxhashCbor,
}

impl HashAlgo {
    /// All names, in vLLM's order.
    pub const NAMES: [&'static str; 4] = ["sha256", "sha256_cbor", "xxhash", "xxhash_cbor"];

    /// vLLM's name for it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Bytes of a digest.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha256 | Self::Sha256Cbor => 32,
            Self::Xxhash | Self::XxhashCbor => 16,
        }
    }
}

impl FromStr for HashAlgo {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "sha256_cbor" => Ok(Self::Sha256Cbor),
            "xxhash" => Ok(Self::Xxhash),
            "xxhash_cbor" => Ok(Self::XxhashCbor),
            _ => Err(format!("no hash algorithm {name:?}; choose from {:?}", Self::NAMES)),
        }
    }
}

/// vLLM's `--scheduling-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// First come, first served.
    Fcfs,
    /// Lower priority values first, then first come.
    Priority,
}

/// How a model writes its reasoning: vLLM's `--reasoning-parser`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningFormat {
    Qwen3,
    DeepSeekR1,
}

impl ReasoningFormat {
    /// vLLM's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qwen3 => "qwen3",
            Self::DeepSeekR1 => "deepseek_r1",
        }
    }
}

/// How much a model is to think: `reasoning_effort` of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningEffort {
    None,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl ReasoningEffort {
    /// All of them, in vLLM's order.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];

    /// vLLM's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }
}

/// The form in which a chat template takes content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentFormat {
    String,
    /// A list of `{"type", "text"}`, as OpenAI's API has it.
    OpenAi,
}

/// How much of a tool call is held to its form: vLLM's `--tool-strict-level`, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToolStrictLevel {
    /// What `tool_choice` and the `strict` of each tool ask for.
    Auto,
    /// The envelope and the name, for every request with tools.
    Function,
    /// Arguments too, as if every tool were strict.
    Parameter,
}

/// How a model writes calls of tools: vLLM's `--tool-call-parser`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolFormat {
    /// JSON between tags.
    Hermes,
    /// Tags all the way: Qwen3-Coder's.
    Qwen3Xml,
}

impl ToolFormat {
    /// vLLM's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hermes => "hermes",
            Self::Qwen3Xml => "qwen3_coder",
        }
    }
}

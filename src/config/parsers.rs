//! The flags of output parsers: `--reasoning-parser`, `--tool-call-parser` and what goes with them.

use super::grammar::Raw;
use crate::types::{ReasoningFormat, ToolFormat, ToolStrictLevel};

/// What finds reasoning and tool calls in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserSettings {
    pub reasoning: Option<ReasoningFormat>,
    /// `None` unless models may call tools of their own accord, as in vLLM.
    pub tools: Option<ToolFormat>,
    pub tool_strict_level: ToolStrictLevel,
    /// A parser of tools was named, in use or not: metrics have a family for it.
    pub counts_tool_calls: bool,
}

/// All names that vLLM 0.32 knows, ascending.
const REASONING: [&str; 38] = [
    "cohere_command3",
    "cohere_command4",
    "deepseek_r1",
    "deepseek_v3",
    "deepseek_v4",
    "deepseek_v41",
    "ernie45",
    "gemma4",
    "glm45",
    "glm47",
    "granite",
    "granite_thinking_parser",
    "hf",
    "holo2",
    "hunyuan_a13b",
    "hy_v3",
    "hy_v4",
    "inkling",
    "k2_horizon",
    "kimi_k2",
    "kimi_k3",
    "ling3",
    "mimo",
    "minicpmv",
    "minimax_m2",
    "minimax_m2_append_think",
    "minimax_m3",
    "mistral",
    "muse_glimmer",
    "nemotron_v3",
    "olmo3",
    "openai_gptoss",
    "plamo3",
    "poolside_v1",
    "qwen3",
    "seed_oss",
    "step3",
    "step3p5",
];
const TOOLS: [&str; 54] = [
    "apertus",
    "cohere_command3",
    "cohere_command4",
    "deepseek_v3",
    "deepseek_v31",
    "deepseek_v32",
    "deepseek_v4",
    "deepseek_v41",
    "dots",
    "ernie45",
    "functiongemma",
    "gemma4",
    "gigachat3",
    "glm45",
    "glm47",
    "granite",
    "granite-20b-fc",
    "granite4",
    "hermes",
    "hf",
    "hunyuan_a13b",
    "hy_v3",
    "hy_v4",
    "inkling",
    "internlm",
    "jamba",
    "k2_horizon",
    "kimi_k2",
    "kimi_k3",
    "lfm2",
    "ling3",
    "llama3_json",
    "llama4_json",
    "llama4_pythonic",
    "longcat",
    "mimo",
    "minicpm5",
    "minimax_m2",
    "minimax_m3",
    "mistral",
    "muse_glimmer",
    "olmo3",
    "openai",
    "phi4_mini_json",
    "plamo3",
    "poolside_v1",
    "pythonic",
    "qwen3_coder",
    "qwen3_json",
    "qwen3_xml",
    "seed_oss",
    "step3",
    "step3p5",
    "xlam",
];

/// Reads the flags, with vLLM's checks in its order.
pub(super) fn read(raw: &Raw) -> Result<ParserSettings, String> {
    let given = |name: &str| raw.text(name).filter(|value| !value.is_empty());
    let tools = given("--tool-call-parser");
    let is_auto = raw.is_on("--enable-auto-tool-choice");
    if is_auto && tools.is_none() {
        return Err("Error: --enable-auto-tool-choice requires --tool-call-parser".to_owned());
    }
    let format = match tools.as_deref().filter(|_| is_auto) {
        None => None,
        Some("hermes" | "qwen3_json") => Some(ToolFormat::Hermes),
        Some("qwen3_coder" | "qwen3_xml") => Some(ToolFormat::Qwen3Xml),
        Some(name) => return Err(unusable("tool call parser", "--tool-call-parser", name, &TOOLS)),
    };
    let reasoning = match given("--reasoning-parser").as_deref() {
        None => None,
        Some("qwen3") => Some(ReasoningFormat::Qwen3),
        Some("deepseek_r1") => Some(ReasoningFormat::DeepSeekR1),
        Some(name) => {
            return Err(unusable("reasoning parser", "--reasoning-parser", name, &REASONING));
        }
    };
    Ok(ParserSettings {
        reasoning,
        tools: format,
        tool_strict_level: match raw.text("--tool-strict-level").as_deref() {
            Some("function") => ToolStrictLevel::Function,
            Some("parameter") => ToolStrictLevel::Parameter,
            _ => ToolStrictLevel::Auto,
        },
        counts_tool_calls: tools.is_some(),
    })
}

/// Why a parser cannot be had: vLLM has none of this name, or one for other models.
fn unusable(what: &str, flag: &str, name: &str, known: &[&str]) -> String {
    match known.contains(&name) {
        true => format!(
            "argument {flag}: {name} is not supported: it is for models that Glassbox does not \
             serve (only dense Qwen3)"
        ),
        false => format!("invalid {what}: {name} (chose from {{ {} }})", known.join(",")),
    }
}

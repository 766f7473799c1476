//! The ways in which reading the command line ends the process.

use super::table::Command;

/// Something to print before the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// 0 for help and version, 1 for settings that cannot be, 2 for flags that cannot be read.
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
}

impl Exit {
    /// Prints `text` and ends well.
    pub(super) fn printing(text: String) -> Self {
        Self { code: 0, stdout: text, stderr: String::new() }
    }
}

/// Why the arguments of a subcommand cannot be used, without the frame around the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// argparse's own errors about one argument.
    Usage(String),
    /// Arguments that no flag takes; argparse leaves these to the outer parser.
    Unrecognized(Vec<String>),
    /// Flags that can be read but not be followed.
    Invalid(String),
}

impl Failure {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// The message as the program `program` prints it, with its exit code.
    pub fn into_exit(self, program: &str, command: &Command) -> Exit {
        let name = command.name;
        let (code, stderr) = match self {
            Self::Usage(message) => {
                let usage = super::help::usage(program, command);
                (2, format!("{usage}{program} {name}: error: {message}\n"))
            }
            Self::Unrecognized(args) => (
                2,
                format!(
                    "{}{program}: error: unrecognized arguments: {}{}\n",
                    super::help::program_usage(program),
                    args.join(" "),
                    task_hint(&args)
                ),
            ),
            Self::Invalid(message) => (1, format!("{program} {name}: error: {message}\n")),
        };
        Exit { code, stdout: String::new(), stderr }
    }
}

/// `--task` is gone from vLLM; old manifests still have it.
fn task_hint(args: &[String]) -> &'static str {
    if args.iter().any(|arg| arg == "--task" || arg.starts_with("--task=")) {
        "\n\nHint: --task is not a vllm serve option. Glassbox generates text; it has no \
         embedding, reranking or reward models."
    } else {
        ""
    }
}

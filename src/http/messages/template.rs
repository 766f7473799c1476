//! What the chat template can do, as far as messages depend on it.

use super::super::frontend::Frontend;
use super::super::json::Json;
use super::super::request::ChatRequest;
use super::conversation::{object, string};
use crate::model::ChatTemplate;
use crate::types::ReasoningEffort;

/// Whether messages of the system that stand between others have to go to the front: the template
/// refuses them there, or there is none.
pub fn merges_systems(template: Option<&ChatTemplate>) -> bool {
    let merges = template.is_none_or(|template| {
        // There may be one template for conversations with tools and one for those without.
        [false, true].into_iter().any(|tools| !template.takes_systems_anywhere(tools))
    });
    if merges && template.is_some() {
        log::warn!(
            "The chat template takes messages of the system only at the start. In /v1/messages \
             those from between go there too; each new one changes the start of the prompt, so \
             that the prefix cache finds less. A --chat-template without that limit avoids it."
        );
    }
    merges
}

impl Frontend {
    /// The `reasoning_effort` that stands for `thinking: disabled`.
    pub(super) fn effort_of_no_thinking(&self) -> ReasoningEffort {
        *self.disabled_effort.get_or_init(|| {
            let effort = match self.can_stop_thinking() {
                true => ReasoningEffort::None,
                false => ReasoningEffort::Low,
            };
            let name = effort.name();
            log::info!("Disabled thinking in /v1/messages is the reasoning_effort {name:?}");
            effort
        })
    }

    /// Whether the template knows the effort `none`: any other one gives another prompt.
    fn can_stop_thinking(&self) -> bool {
        let prompt = |effort: ReasoningEffort| {
            let message = object([("role", string("user")), ("content", string("Hi"))]);
            let chat = object([
                ("messages", Json::List(vec![message])),
                ("reasoning_effort", string(effort.name())),
            ]);
            let chat = ChatRequest::new(chat).ok()?;
            self.render(&chat.conversation, None).ok().map(|(text, _)| text)
        };
        let [none, others @ ..] = ReasoningEffort::ALL.map(prompt);
        none.is_some() && !others.contains(&none)
    }
}

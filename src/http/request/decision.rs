//! The request of `/v1/systemone`: questions about a state, each answered by one token.

use super::super::json::{Dict, Json, repr, str_repr, to_str};
use super::super::schema::{ObjectKind, STRS, Schema, optional, required};
use super::fields::Fields;
use super::generate::{NULLABLE_OBJECT, NULLABLE_STR};
use super::labels::{CACHE_SALT, LabelFields, MODEL, PRIORITY, REQUEST_ID};
use crate::error::ApiError;

const NULLABLE_STRS: Schema = Schema::Nullable(&STRS);
const QUESTION: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        required("type", &Schema::Str),
        optional("instructions", &Schema::Any),
        optional("criteria", &Schema::Any),
    ],
};
pub const SCHEMA: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        MODEL,
        required("state", &Schema::Any),
        required("questions", &Schema::Map(&QUESTION)),
        optional("instructions", &NULLABLE_STR),
        optional("images", &NULLABLE_STRS),
        optional("audio", &NULLABLE_STRS),
        optional("videos", &NULLABLE_STRS),
        optional("chat_template_kwargs", &NULLABLE_OBJECT),
        CACHE_SALT,
        PRIORITY,
        REQUEST_ID,
    ],
};
const MAX_QUESTIONS: usize = 64;

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// By the letter of an option.
    Choice,
    /// By yes or no.
    Noul,
    /// By the number of a level.
    Score,
}

impl QuestionKind {
    /// All kinds, in vLLM's order.
    pub const ALL: [Self; 3] = [Self::Choice, Self::Noul, Self::Score];

    pub fn name(self) -> &'static str {
        match self {
            Self::Choice => "choice",
            Self::Noul => "noul",
            Self::Score => "score",
        }
    }

    /// What a reply may be, option by option.
    pub fn labels(self) -> Vec<String> {
        match self {
            Self::Choice => ('A'..='Z').map(String::from).collect(),
            Self::Noul => vec!["yes".to_owned(), "no".to_owned()],
            Self::Score => ('0'..='9').map(String::from).collect(),
        }
    }

    fn reply_instruction(self) -> &'static str {
        match self {
            Self::Choice => "Answer with the letter of one option only.",
            Self::Noul => "Answer with yes or no only.",
            Self::Score => "Answer with the number of one level only.",
        }
    }
}

/// One of the answers to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub name: String,
    description: Option<String>,
}

/// A question with its options.
#[derive(Clone, Debug)]
pub struct Question {
    pub id: String,
    pub kind: QuestionKind,
    instructions: String,
    pub options: Vec<Choice>,
}

/// A checked request, but for the questions, which vLLM looks at later.
#[derive(Clone, Debug)]
pub struct DecisionRequest {
    pub common: LabelFields,
    pub state: Json,
    questions: Dict,
    pub instructions: Option<String>,
    /// The kinds of media that were given.
    media: Vec<&'static str>,
    pub chat_template_kwargs: Dict,
}

impl DecisionRequest {
    /// Checks a body.
    pub fn new(body: Json) -> Result<Self, ApiError> {
        let (data, common) = LabelFields::checked(&SCHEMA, body)?;
        let fields = Fields(&data);
        let kinds = [("audio", "audio"), ("images", "image"), ("videos", "video")];
        let given = kinds.into_iter().filter(|(field, _)| fields.truthy(field));
        Ok(Self {
            common,
            state: data.get("state").cloned().unwrap_or(Json::Null),
            questions: fields.dict("questions").cloned().unwrap_or_default(),
            instructions: fields.string("instructions").filter(|text| !text.is_empty()),
            media: given.map(|(_, kind)| kind).collect(),
            chat_template_kwargs: fields.dict("chat_template_kwargs").cloned().unwrap_or_default(),
        })
    }

    /// The questions, as far as they can be asked.
    pub fn questions(&self) -> Result<Vec<Question>, ApiError> {
        let refuse = |message: &str| Err(ApiError::bad_request(message));
        if self.questions.is_empty() {
            return refuse("questions: needs at least one question");
        }
        if self.questions.len() > MAX_QUESTIONS {
            return refuse(&format!("questions: at most {MAX_QUESTIONS} for this model"));
        }
        let all: Result<Vec<Question>, ApiError> = self
            .questions
            .iter()
            .filter_map(|(id, spec)| Some(Question::new(id, Fields(spec.as_dict()?))))
            .collect();
        let all = all?;
        if !self.media.is_empty() {
            let kinds = self.media.join(", ");
            return refuse(&format!("this model does not take {kinds} inputs"));
        }
        if self.chat_template_kwargs.get("enable_thinking").is_some_and(Json::truthy) {
            return refuse("a read is the reply's first token, so thinking must be off");
        }
        Ok(all)
    }
}

impl Question {
    fn new(id: &str, spec: Fields<'_>) -> Result<Self, ApiError> {
        let refuse = |message: String| Err(ApiError::bad_request(message));
        let shown = str_repr(id);
        let known = ["type", "instructions", "criteria"];
        let mut unknown: Vec<&String> =
            spec.0.keys().filter(|name| !known.contains(&name.as_str())).collect();
        unknown.sort();
        if !unknown.is_empty() {
            let unknown = Json::List(unknown.into_iter().cloned().map(Json::Str).collect());
            return refuse(format!("question {shown}: unknown field(s) {}", repr(&unknown)));
        }
        if id.is_empty() {
            return refuse("question ids must be non-empty".to_owned());
        }
        let name = spec.str("type").unwrap_or_default();
        let Some(kind) = QuestionKind::ALL.into_iter().find(|kind| kind.name() == name) else {
            return refuse(format!(
                "unknown question type {}; supported: ['choice', 'noul', 'score']",
                str_repr(name)
            ));
        };
        let options = options(kind, &shown, spec.get("criteria"))?;
        let twice = |at: usize| options[..at].iter().any(|option| option.name == options[at].name);
        if (0..options.len()).any(twice) {
            return refuse(format!("question {shown}: duplicate option names"));
        }
        let limit = kind.labels().len();
        if options.len() > limit {
            return refuse(format!("question {shown}: at most {limit} options for this model"));
        }
        let instructions = spec.get("instructions").map(to_str).unwrap_or_default();
        Ok(Self { id: id.to_owned(), kind, instructions, options })
    }

    /// The question as the model reads it.
    pub fn prompt(&self) -> String {
        let mut lines = Vec::with_capacity(self.options.len() + 2);
        if !self.instructions.is_empty() {
            lines.push(format!("Question: {}", self.instructions));
        }
        for (label, Choice { name, description }) in self.kind.labels().iter().zip(&self.options) {
            let description = description.as_ref().filter(|text| !text.is_empty());
            lines.push(match (self.kind, description) {
                (QuestionKind::Noul, Some(description)) => format!("{label}: {description}"),
                (QuestionKind::Noul, None) => label.clone(),
                (_, Some(description)) => format!("{label}: {name} - {description}"),
                (_, None) => format!("{label}: {name}"),
            });
        }
        lines.push(self.kind.reply_instruction().to_owned());
        lines.join("\n")
    }
}

/// The options that the criteria of a question name.
fn options(
    kind: QuestionKind,
    question: &str,
    criteria: Option<&Json>,
) -> Result<Vec<Choice>, ApiError> {
    let refuse = |rule: &str| Err(ApiError::bad_request(format!("question {question}: {rule}")));
    let text = |value: Option<&Json>| value.filter(|value| !value.is_null()).map(to_str);
    match (kind, criteria) {
        (QuestionKind::Choice, Some(Json::Dict(options))) if !options.is_empty() => {
            let option = |(name, value): (&String, &Json)| Choice {
                name: name.clone(),
                description: text(Some(value)),
            };
            Ok(options.iter().map(option).collect())
        }
        (QuestionKind::Choice, _) => {
            refuse("choice criteria must map option names to a description or null")
        }
        (QuestionKind::Noul, None) => noul(&Dict::new(), text),
        (QuestionKind::Noul, Some(Json::Dict(sides)))
            if sides.keys().all(|side| side == "true" || side == "false") =>
        {
            noul(sides, text)
        }
        (QuestionKind::Noul, _) => refuse("noul criteria must be an object with true and false"),
        (QuestionKind::Score, Some(Json::List(levels))) if levels.len() > 1 => {
            let level = |level| Choice { name: to_str(level), description: None };
            Ok(levels.iter().map(level).collect())
        }
        (QuestionKind::Score, _) => refuse("score criteria must be an ordered list of levels"),
    }
}

fn noul(
    sides: &Dict,
    text: impl Fn(Option<&Json>) -> Option<String>,
) -> Result<Vec<Choice>, ApiError> {
    let side = |name: &str, member: &str| Choice {
        name: name.to_owned(),
        description: text(sides.get(member)),
    };
    Ok(vec![side("yes", "true"), side("no", "false")])
}

//! Request schemas and their check, with the coercions and the messages of pydantic's lax mode.
//!
//! A schema says what a value may be; [`check`] walks it and collects every misfit, in order. The
//! values themselves stay as they are: whoever reads a checked field applies the same coercion
//! ([`coerce`]) and cannot fail.

mod check;
pub mod coerce;
mod describe;
mod errors;
mod messages;
mod openai;
mod scalars;
mod tagged;
#[cfg(test)]
mod tests;

pub use check::{Fit, best_choice, check, validate};
pub use describe::describe;
pub use errors::{Errors, Path};
pub use messages::{
    MESSAGE, MessageKind, check_image, check_parts, check_tool_calls, message_kind,
};

use super::json::{Dict, Json};
use crate::error::ApiError;

/// What a value may be.
#[derive(Debug)]
pub enum Schema {
    Any,
    Str,
    /// A string of so many characters.
    Sized {
        min: usize,
        max: usize,
    },
    /// An integer within optional bounds, both inclusive.
    Int {
        ge: Option<i64>,
        le: Option<i64>,
    },
    Float,
    /// A number within bounds, both inclusive.
    FloatIn {
        ge: f64,
        le: f64,
    },
    Bool,
    /// A string, where pydantic wants bytes.
    Bytes,
    /// One of these strings.
    Literal(&'static [&'static str]),
    /// A list, at most so long.
    List {
        item: &'static Schema,
        /// Looked up when a list is checked: it may come from the environment.
        max: Option<fn() -> usize>,
    },
    /// A list that is not empty, or a value of another kind.
    NonEmpty(&'static Schema),
    /// What a validator of its own looks at once it fits; `Some` is what is wrong.
    Valid(&'static Schema, fn(&Json) -> Option<String>),
    /// A list where any sequence will do.
    Sequence(&'static Schema),
    /// Whatever can be iterated over; its items are looked at only when they are used.
    Iterable,
    /// An object with values of one kind.
    Map(&'static Schema),
    /// The same with integers as keys.
    IntMap(&'static Schema),
    /// This boolean.
    Exactly(bool),
    /// One of these integers, under the names that messages list.
    Enum {
        values: &'static [i64],
        expected: &'static str,
    },

    Nullable(&'static Schema),
    /// The first that fits best. Labels appear in the paths of errors; empty ones do not.
    Union(&'static [(&'static str, &'static Schema)]),
    /// An object whose member `type` says which of these it is.
    Tagged(&'static [(&'static str, &'static Schema)]),
    Object {
        kind: ObjectKind,
        fields: &'static [Field],
    },
    /// An instance of a class, which no JSON value is.
    InstanceOf(&'static str),
    /// An object with a check before its schema, which raises instead of collecting.
    Hooked(fn(&Dict) -> Result<(), ApiError>, &'static Schema),
    /// A check that raises instead of collecting; what it lets pass fits.
    Hook(fn(&Json) -> Result<(), ApiError>),
}

/// How pydantic names an object, and what else it checks.
#[derive(Debug)]
pub enum ObjectKind {
    Model,
    /// A model without members of other names.
    Closed,
    TypedDict,
    /// A dataclass of this name, with the check that runs once its fields fit.
    Dataclass(&'static str, fn(&Dict) -> Result<(), ApiError>),
}

/// A member of an object. Members that are not listed may be there and mean nothing.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub required: bool,
    pub schema: &'static Schema,
}

/// A member that may be absent.
pub const fn optional(name: &'static str, schema: &'static Schema) -> Field {
    Field { name, required: false, schema }
}

/// A member that has to be there.
pub const fn required(name: &'static str, schema: &'static Schema) -> Field {
    Field { name, required: true, schema }
}

/// Any integer.
pub const INT: Schema = Schema::Int { ge: None, le: None };
/// An integer of 64 bits.
pub const INT64: Schema = Schema::Int { ge: Some(i64::MIN), le: Some(i64::MAX) };
/// A list of integers.
pub const INTS: Schema = Schema::List { item: &INT, max: None };
/// A list of strings.
pub const STRS: Schema = Schema::List { item: &Schema::Str, max: None };
/// An object of anything.
pub const OBJECT: Schema = Schema::Map(&Schema::Any);

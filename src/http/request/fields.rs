//! Reading the members of an object that has passed its schema.

use super::super::json::{Dict, Int, Json};
use super::super::schema::coerce;

/// The members of a checked object. A member that is absent, null or (which the schema rules out)
/// of the wrong type reads as `None`.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a Dict);

impl<'a> Fields<'a> {
    /// The member, unless it is null.
    pub fn get(self, name: &str) -> Option<&'a Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub fn has(self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Python's `bool(data.get(name))`.
    pub fn truthy(self, name: &str) -> bool {
        self.0.get(name).is_some_and(Json::truthy)
    }

    pub fn int(self, name: &str) -> Option<Int> {
        coerce::int(self.get(name)?).ok()
    }

    pub fn float(self, name: &str) -> Option<f64> {
        coerce::float(self.get(name)?).ok()
    }

    pub fn bool(self, name: &str) -> Option<bool> {
        coerce::bool(self.get(name)?).ok()
    }

    /// A flag that is off by default.
    pub fn flag(self, name: &str) -> bool {
        self.bool(name).unwrap_or(false)
    }

    pub fn str(self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    pub fn string(self, name: &str) -> Option<String> {
        self.str(name).map(str::to_owned)
    }

    pub fn dict(self, name: &str) -> Option<&'a Dict> {
        self.get(name)?.as_dict()
    }

    pub fn ints(self, name: &str) -> Option<Vec<Int>> {
        let items = self.get(name)?.as_list()?;
        Some(items.iter().filter_map(|item| coerce::int(item).ok()).collect())
    }

    pub fn strings(self, name: &str) -> Option<Vec<String>> {
        let items = self.get(name)?.as_list()?;
        Some(items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
    }
}

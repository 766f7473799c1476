//! Free text in which certain words, or tokens, begin a format.

use super::{Format, Reader, all_tokens_but, one_of, unreadable};
use crate::grammar::compile::GrammarError;
use crate::grammar::lark::Expr;
use crate::types::Token;
use serde_json::Value;

/// Text, what begins in it, and what has to follow there.
struct Dispatch {
    rules: Vec<(String, Expr)>,
    excludes: Vec<String>,
    /// After a format comes text again.
    loops: bool,
}

impl Reader<'_> {
    pub(super) fn triggered_tags(
        &mut self,
        format: &Format<'_>,
        ends: Option<&[String]>,
    ) -> Result<Expr, GrammarError> {
        let triggers = format.texts("triggers")?;
        let tags = format.list("tags")?;
        if triggers.is_empty() || triggers.iter().any(String::is_empty) {
            return Err(unreadable());
        }
        let mut rules: Vec<(String, Vec<Expr>)> =
            triggers.into_iter().map(|trigger| (trigger, Vec::new())).collect();
        let mut whole = Vec::new();
        for tag in tags {
            let tag = Format::of(tag)?;
            let begin = tag.text("begin")?;
            let mut matching =
                rules.iter_mut().filter(|(trigger, _)| begin.starts_with(&**trigger));
            let (Some((trigger, bodies)), None) = (matching.next(), matching.next()) else {
                return Err(unreadable());
            };
            let body = self.tag_body(&tag)?;
            let rest = Expr::Text(begin[trigger.len()..].to_owned());
            bodies.push(Expr::Seq(vec![rest, body.clone()]));
            whole.push(Expr::Seq(vec![Expr::Text(begin), body]));
        }
        let rules = rules.into_iter().map(|(trigger, bodies)| (trigger, Expr::Or(bodies)));
        let dispatch = Dispatch {
            rules: rules.filter(|(_, body)| *body != Expr::Or(Vec::new())).collect(),
            excludes: format.texts("excludes")?,
            loops: !format.flag("stop_after_first"),
        };
        if !format.flag("at_least_one") {
            return Ok(dispatch.expr(ends));
        }
        if whole.is_empty() {
            return Err(unreadable());
        }
        // The first one comes at once.
        let mut parts = vec![Expr::Or(whole)];
        match (dispatch.loops, ends) {
            (true, _) => parts.push(dispatch.expr(ends)),
            (false, Some(ends)) => parts.push(one_of(ends)),
            (false, None) => {}
        }
        Ok(Expr::Seq(parts))
    }

    pub(super) fn dispatch(
        &mut self,
        format: &Format<'_>,
        ends: Option<&[String]>,
    ) -> Result<Expr, GrammarError> {
        let mut rules = Vec::new();
        for rule in format.list("rules")? {
            let (pattern, content) = pair(rule)?;
            let pattern = pattern.as_str().filter(|p| !p.is_empty()).ok_or_else(unreadable)?;
            rules.push((pattern.to_owned(), self.format(content)?));
        }
        let loops = format.members.get("loop").is_none_or(|value| *value != Value::Bool(false));
        Ok(Dispatch { rules, excludes: format.texts("excludes")?, loops }.expr(ends))
    }

    pub(super) fn token_triggered_tags(
        &mut self,
        format: &Format<'_>,
    ) -> Result<Expr, GrammarError> {
        let triggers = format.list("trigger_tokens")?;
        let triggers: Result<Vec<Token>, _> = triggers.iter().map(|t| self.token(t)).collect();
        let triggers = triggers?;
        let mut tags = Vec::new();
        for tag in format.list("tags")? {
            let tag = Format::of(tag)?;
            let begin = Format::of(tag.get("begin")?)?;
            if !triggers.contains(&self.token(begin.get("token")?)?) {
                return Err(unreadable());
            }
            tags.push(self.tag(&tag)?);
        }
        let first = format.flag("at_least_one");
        let stops = format.flag("stop_after_first");
        self.token_text(format, triggers, Expr::Or(tags), first, !stops)
    }

    pub(super) fn token_dispatch(&mut self, format: &Format<'_>) -> Result<Expr, GrammarError> {
        let (mut patterns, mut rules) = (Vec::new(), Vec::new());
        for rule in format.list("rules")? {
            let (token, content) = pair(rule)?;
            let token = self.token(token)?;
            patterns.push(token);
            let begin = Expr::Tokens(format!("<[{token}]>"));
            rules.push(Expr::Seq(vec![begin, self.format(content)?]));
        }
        let loops = format.members.get("loop").is_none_or(|value| *value != Value::Bool(false));
        self.token_text(format, patterns, Expr::Or(rules), false, loops)
    }

    /// Tokens but for those that begin something, and what they begin.
    fn token_text(
        &self,
        format: &Format<'_>,
        mut begins: Vec<Token>,
        begun: Expr,
        first: bool,
        loops: bool,
    ) -> Result<Expr, GrammarError> {
        let excluded = format.members.get("exclude_tokens").and_then(Value::as_array);
        for token in excluded.into_iter().flatten() {
            begins.push(self.token(token)?);
        }
        let text = Expr::star(all_tokens_but(&begins));
        let unit = Expr::Seq(vec![text.clone(), begun.clone()]);
        Ok(match (first, loops) {
            (false, true) => Expr::Seq(vec![Expr::star(unit), text]),
            (true, true) => Expr::Seq(vec![begun, Expr::star(unit), text]),
            (false, false) => Expr::Or(vec![unit, text]),
            (true, false) => begun,
        })
    }
}

/// A pair as a list of two.
fn pair(rule: &Value) -> Result<(&Value, &Value), GrammarError> {
    match rule.as_array().map(Vec::as_slice) {
        Some([pattern, content]) => Ok((pattern, content)),
        _ => Err(unreadable()),
    }
}

impl Dispatch {
    /// As an expression that ends with one of `ends`, if there are any.
    fn expr(self, ends: Option<&[String]>) -> Expr {
        let excludes = &self.excludes;
        let alone = self.rules.len() == 1 && ends.is_none();
        let until = |ends| Expr::Until { excludes: excludes.clone(), ends, alone };
        // What begins a format is no text; so the text behind the last format has none of it.
        let tail = match ends {
            Some(ends) => until(ends.to_vec()),
            None => {
                let begins = self.rules.iter().map(|(begin, _)| begin.clone());
                let excludes = excludes.iter().cloned().chain(begins).collect();
                Expr::Free { excludes, max_tokens: None }
            }
        };
        let unit = |(begin, body): &(String, Expr)| {
            Expr::Seq(vec![until(vec![begin.clone()]), body.clone()])
        };
        let units: Vec<Expr> = self.rules.iter().map(unit).collect();
        if units.is_empty() {
            return tail;
        }
        let unit = Expr::Or(units);
        match (self.loops, ends) {
            (true, _) => Expr::Seq(vec![Expr::star(unit), tail]),
            (false, None) => Expr::Or(vec![unit, tail]),
            (false, Some(ends)) => Expr::Or(vec![Expr::Seq(vec![unit, one_of(ends)]), tail]),
        }
    }
}

//! How long a lexeme gets when the names in it are replaced by what they stand for.
//!
//! llguidance makes one expression of a lexeme, whatever it is put together from. Sixty lines that
//! each name the next twice would be 2^60 parts, and no limit of its own stops it.

/// Parts that a lexeme may have.
pub const MAX_PARTS: u64 = 1_000_000;

/// Whether every definition stays within bounds; each has parts of its own, and names others by
/// their place, as often as it uses them. Names on a cycle count once: they are refused elsewhere.
pub fn is_bounded(definitions: &[(u64, Vec<usize>)]) -> bool {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); definitions.len()];
    let mut open: Vec<usize> = definitions.iter().map(|(_, names)| names.len()).collect();
    let mut sizes: Vec<u64> = definitions.iter().map(|(own, _)| *own).collect();
    for (place, (_, names)) in definitions.iter().enumerate() {
        names.iter().for_each(|&name| users[name].push(place));
    }
    let mut ready: Vec<usize> = (0..definitions.len()).filter(|&place| open[place] == 0).collect();
    while let Some(place) = ready.pop() {
        if sizes[place] > MAX_PARTS {
            return false;
        }
        for &user in &users[place] {
            sizes[user] = sizes[user].saturating_add(sizes[place]);
            open[user] -= 1;
            if open[user] == 0 {
                ready.push(user);
            }
        }
    }
    true
}

/// The same for the lexemes of a Lark grammar: names of capitals. Texts, patterns and comments are
/// passed over.
pub fn is_bounded_lark(source: &str) -> bool {
    let words = words(source);
    let mut places = std::collections::HashMap::new();
    for pair in words.windows(2) {
        if pair[1] == ":" && is_lexeme(pair[0]) {
            let next = places.len();
            places.entry(pair[0]).or_insert(next);
        }
    }
    let mut definitions: Vec<(u64, Vec<usize>)> = vec![(1, Vec::new()); places.len()];
    let mut current = None;
    for (at, word) in words.iter().enumerate() {
        if words.get(at + 1) == Some(&":") {
            current = places.get(word).copied();
            continue;
        }
        let Some(place) = current else { continue };
        let (own, names): &mut (u64, Vec<usize>) = &mut definitions[place];
        *own += 1;
        names.extend(places.get(word).copied());
    }
    is_bounded(&definitions)
}

fn is_lexeme(word: &str) -> bool {
    word.trim_start_matches('_').starts_with(|c: char| c.is_ascii_uppercase())
}

/// Names and colons of a Lark grammar.
fn words(source: &str) -> Vec<&str> {
    let bytes = source.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let taken = match bytes[at] {
            b'#' => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            quote @ (b'"' | b'/') => quoted(rest.as_bytes(), quote),
            b':' => {
                words.push(&rest[..1]);
                1
            }
            c if c.is_ascii_alphanumeric() || c == b'_' => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                words.push(&rest[..end]);
                end
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += taken;
    }
    words
}

/// The length of what begins with a quote, to the next one that no backslash precedes or the end of
/// the line.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote && rest[at] != b'\n' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    let mut end = (at + 1).min(rest.len());
    // Never within a character: a backslash may have jumped into one.
    while end < rest.len() && rest[end] & 0xc0 == 0x80 {
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubling(lines: usize) -> String {
        let lexemes: String = (0..lines).map(|i| format!("A{i}: A{0} A{0}\n", i + 1)).collect();
        format!("start: A0\n{lexemes}A{lines}: \"a\"\n")
    }

    #[test]
    fn doubling_is_found() {
        assert!(is_bounded_lark(&doubling(10)));
        assert!(!is_bounded_lark(&doubling(60)));
    }

    #[test]
    fn texts_patterns_and_comments_are_no_names() {
        let source = "start: A\nA: \"A A \\\" A\" | /A\\/A/ // A A\n  | B # A\nB: \"é\\é\" /é/ A";
        let names = words(source);
        let expected = ["start", ":", "A", "A", ":", "B", "B", ":", "A"];
        assert_eq!(names, expected);
    }
}

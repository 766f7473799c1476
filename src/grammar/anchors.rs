//! A pattern that matches a whole text needs no anchors.

/// Removes `^` where nothing can come before it, and `$` where nothing can follow: the whole text
/// has to match anyway, and llguidance knows no anchors. Others stay, for it to refuse.
pub fn without_anchors(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len());
    // For each open group: whether it began where the pattern begins.
    let mut groups = vec![true];
    let mut at_start = true;
    let mut in_class = false;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let taken = match c {
            '\\' => 2,
            '(' if !in_class => group_head(&chars[at..]),
            '[' if !in_class => class_head(&chars[at..]),
            _ => 1,
        };
        let end = (at + taken).min(chars.len());
        let is_anchor = !in_class
            && (c == '^' && at_start || c == '$' && ends_here(&chars[end..], groups.len()));
        if !is_anchor {
            out.extend(&chars[at..end]);
        }
        at = end;
        match c {
            _ if in_class => in_class = c != ']',
            '^' if is_anchor => {}
            '(' => groups.push(at_start),
            ')' => {
                groups.pop();
                at_start = false;
                if groups.is_empty() {
                    groups.push(false);
                }
            }
            '|' => at_start = *groups.last().unwrap_or(&false),
            _ => {
                in_class = c == '[';
                at_start = false;
            }
        }
    }
    out
}

/// Whether nothing can follow: only groups close, or at the outside another branch begins.
fn ends_here(rest: &[char], depth: usize) -> bool {
    let closing = rest.iter().take_while(|c| **c == ')').count();
    match rest.get(closing) {
        None => true,
        Some('|') => closing + 1 >= depth,
        Some(_) => false,
    }
}

/// `(`, `(?:`, `(?P<name>` or `(?<name>`.
fn group_head(chars: &[char]) -> usize {
    match chars {
        ['(', '?', ':', ..] => 3,
        ['(', '?', 'P', '<', ..] | ['(', '?', '<', ..] => {
            chars.iter().position(|c| *c == '>').map_or(1, |end| end + 1)
        }
        _ => 1,
    }
}

/// `[`, `[^`, `[]` or `[^]`: a bracket that comes first is a member.
fn class_head(chars: &[char]) -> usize {
    let negated = usize::from(chars.get(1) == Some(&'^'));
    1 + negated + usize::from(chars.get(1 + negated) == Some(&']'))
}

#[cfg(test)]
mod tests {
    use super::without_anchors;

    #[test]
    fn anchors_at_the_ends_go_and_others_stay() {
        for (pattern, expected) in [
            ("^abc$", "abc"),
            ("^a$|^b$", "a|b"),
            ("^(a|b)$", "(a|b)"),
            ("(^a|^b)$", "(a|b)"),
            ("(?:^a$|b)", "(?:a$|b)"),
            ("(a$)b|c", "(a$)b|c"),
            ("a^b", "a^b"),
            ("a$b", "a$b"),
            (r"\^a\$", r"\^a\$"),
            ("[^a$]", "[^a$]"),
            ("[]^$]$", "[]^$]"),
            ("(?P<x>^a)", "(?P<x>a)"),
            ("x(^a|b)", "x(^a|b)"),
            ("", ""),
            ("^", ""),
            ("$", ""),
            ("\\", "\\"),
            (")^", ")^"),
        ] {
            assert_eq!(without_anchors(pattern), expected, "{pattern}");
        }
    }
}

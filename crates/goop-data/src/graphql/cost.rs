//! What a document asks for, known before anything runs.
//!
//! Fragments make a short document long, so each is measured once and its figures are added where it is used.

use std::collections::HashMap;

use async_graphql::Name;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};

/// Deepest brackets of a text. The parser goes down with each of them.
pub const MAX_NESTING: usize = 64;
/// Deepest selection. The introspection of common tools goes down 15.
pub const MAX_DEPTH: usize = 16;
/// Most fields, with those of fragments where they are used.
pub const MAX_FIELDS: usize = 1_000;
/// Most fields at the top: each is a question or a change.
pub const MAX_QUERIES: usize = 30;
/// Most lists that the introspection of one document walks through; common tools ask for nine.
pub const MAX_LISTS: usize = 20;
/// Deepest lists in lists of an introspection: types, their fields, the arguments of those.
const MAX_LIST_DEPTH: usize = 3;

/// Fields of the introspection that answer lists.
const LISTS: [&str; 8] = [
    "types",
    "fields",
    "inputFields",
    "args",
    "enumValues",
    "interfaces",
    "possibleTypes",
    "directives",
];

/// Refuses texts with brackets deeper than [`MAX_NESTING`], without parsing them.
pub(super) fn nesting(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                if depth > MAX_NESTING {
                    return Err(format!(
                        "brackets are nested too deep: at most {MAX_NESTING}"
                    ));
                }
            }
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            b'#' => at += line(&bytes[at..]),
            b'"' if bytes[at..].starts_with(b"\"\"\"") => at += block(&bytes[at..]),
            b'"' => at += string(&bytes[at..]),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Bytes until the end of a line.
fn line(bytes: &[u8]) -> usize {
    let end = bytes
        .iter()
        .position(|byte| matches!(byte, b'\n' | b'\r'))
        .unwrap_or(bytes.len());
    end.saturating_sub(1)
}

/// Bytes of a string before its last one. One that does not end goes to the end of its line, where the parser stops.
fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' | b'\n' | b'\r' => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn block(bytes: &[u8]) -> usize {
    let mut at = 3;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"\\\"\"\"") {
            at += 4;
        } else if bytes[at..].starts_with(b"\"\"\"") {
            return at + 2;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// Figures of a selection.
#[derive(Debug, Clone, Copy, Default)]
struct Measure {
    fields: usize,
    top: usize,
    depth: usize,
    lists: usize,
    list_depth: usize,
}

impl Measure {
    fn beside(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            top: self.top.saturating_add(other.top),
            depth: self.depth.max(other.depth),
            lists: self.lists.saturating_add(other.lists),
            list_depth: self.list_depth.max(other.list_depth),
        }
    }
}

/// A fragment that is being measured, or was.
enum Known {
    Open,
    Done(Measure),
}

/// Refuses documents that ask for more than the limits of this module.
pub(super) fn measure(document: &ExecutableDocument) -> Result<(), String> {
    let mut known = HashMap::new();
    let mut fields = 0_usize;
    for (_, operation) in document.operations.iter() {
        let found = of_set(&operation.node.selection_set.node, document, &mut known, 0)?;
        fields = fields.saturating_add(found.fields);
        for (is, most, what) in [
            (fields, MAX_FIELDS, "fields"),
            (found.top, MAX_QUERIES, "fields at the top"),
            (found.depth, MAX_DEPTH, "levels"),
            (found.lists, MAX_LISTS, "lists of the introspection"),
            (
                found.list_depth,
                MAX_LIST_DEPTH,
                "lists of the introspection in each other",
            ),
        ] {
            if is > most {
                return Err(format!(
                    "the document asks for too much: at most {most} {what}"
                ));
            }
        }
    }
    Ok(())
}

fn of_set<'d>(
    set: &'d SelectionSet,
    document: &'d ExecutableDocument,
    known: &mut HashMap<&'d Name, Known>,
    level: usize,
) -> Result<Measure, String> {
    // The parser's own depth holds this; a chain of fragments does not end there.
    if level > MAX_NESTING {
        return Err(format!(
            "the document asks for too much: at most {MAX_DEPTH} levels"
        ));
    }
    let mut sum = Measure::default();
    for selection in &set.items {
        let one = match &selection.node {
            Selection::Field(field) => {
                let inner = of_set(&field.node.selection_set.node, document, known, level + 1)?;
                let is_list = usize::from(
                    !field.node.selection_set.node.items.is_empty()
                        && LISTS.contains(&field.node.name.node.as_str()),
                );
                Measure {
                    fields: inner.fields.saturating_add(1),
                    top: 1,
                    depth: inner.depth + 1,
                    lists: inner.lists.saturating_add(is_list),
                    list_depth: inner.list_depth + is_list,
                }
            }
            Selection::InlineFragment(fragment) => of_set(
                &fragment.node.selection_set.node,
                document,
                known,
                level + 1,
            )?,
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                match known.get(name) {
                    Some(Known::Done(measure)) => *measure,
                    Some(Known::Open) => {
                        return Err(format!("the fragment {name} is a part of itself"));
                    }
                    // One that is not there is named when the document is checked.
                    None => match document.fragments.get_key_value(name) {
                        None => Measure::default(),
                        Some((name, fragment)) => {
                            known.insert(name, Known::Open);
                            let set = &fragment.node.selection_set.node;
                            let measure = of_set(set, document, known, level + 1)?;
                            known.insert(name, Known::Done(measure));
                            measure
                        }
                    },
                }
            }
        };
        sum = sum.beside(one);
    }
    Ok(sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = nesting(text).and_then(|()| {
            let document = async_graphql::parser::parse_query(text).map_err(|e| e.to_string())?;
            measure(&document)
        });
        match (found, expected) {
            (Ok(()), None) => {}
            (Err(text), Some(part)) => assert!(text.contains(part), "{text}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn what_is_too_much_is_refused_before_it_runs() {
        check("{ a { b c } }", None);
        check(&"{a".repeat(16).clone(), Some("expected"));
        let deep = |levels| format!("{}{}", "{a".repeat(levels), "}".repeat(levels));
        check(&deep(MAX_DEPTH), None);
        check(&deep(MAX_DEPTH + 1), Some("16 levels"));
        check(&deep(5_000), Some("nested too deep"));
        check(
            &format!("{{a(b:{}{})}}", "[".repeat(9_000), "]".repeat(9_000)),
            Some("nested too deep"),
        );
        let many = |count: usize| format!("{{ a {{ {} }} }}", "b ".repeat(count));
        check(&many(MAX_FIELDS - 1), None);
        check(&many(MAX_FIELDS), Some("1000 fields"));
        let top = |count: usize| format!("{{ {} }}", "a ".repeat(count));
        check(&top(MAX_QUERIES), None);
        check(&top(MAX_QUERIES + 1), Some("at the top"));
    }

    /// Ten fragments, each twice the one before: a thousand fields; a hundred of them: more than there are atoms.
    #[test]
    fn fragments_count_where_they_are_used() {
        let bomb = |levels: usize| {
            let mut text = "{ x { ...f0 } } ".to_owned();
            for level in 0..levels {
                let next = level + 1;
                text += &format!("fragment f{level} on T {{ ...f{next} ...f{next} }} ");
            }
            text + &format!("fragment f{levels} on T {{ a }}")
        };
        check(&bomb(9), None);
        check(&bomb(10), Some("1000 fields"));
        check(&bomb(60), Some("1000 fields"));
        check(&bomb(600), Some("levels"));
        check(
            "{ ...a } fragment a on T { ...b } fragment b on T { ...a }",
            Some("part of itself"),
        );
        check(
            "query a { ...f } query b { ...f } fragment f on Query { x }",
            None,
        );
    }

    #[test]
    fn the_introspection_of_common_tools_is_small_enough() {
        check(include_str!("../../tests/introspection.graphql"), None);
        check(
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
            Some("in each other"),
        );
        let wide = "a: types { name } ".repeat(21);
        check(&format!("{{ __schema {{ {wide} }} }}"), Some("20 lists"));
    }

    #[test]
    fn brackets_in_texts_do_not_count() {
        let many = "[".repeat(100);
        check(&format!("{{ a(b: \"{many}\") }}"), None);
        check(&format!("{{ a(b: \"\\\"{many}\") }}"), None);
        check(
            &format!("{{ a(b: \"\"\"{many} \\\"\"\" {many}\"\"\") }}"),
            None,
        );
        check(&format!("{{ # {many}\n a }}"), None);
        check(
            &format!("{{ a(b: \"x\") # \"\n {many} }}"),
            Some("nested too deep"),
        );
        check(
            &format!("{{ a(b: \"\"\"x\"\"\") {many} }}"),
            Some("nested too deep"),
        );
    }
}

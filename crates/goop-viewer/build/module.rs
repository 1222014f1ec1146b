//! A module's imports and exports: what joining has to know of it, and to change in it.

use std::collections::BTreeSet;

use super::lex::{Kind, Token, Wrong, line_of, tokens};

/// A module as it was read.
#[derive(Debug)]
pub(crate) struct Module<'a> {
    /// Its text.
    pub(crate) source: &'a str,
    /// Its static imports, in order.
    pub(crate) imports: Vec<Import>,
    /// Exported name, and what stands for it inside.
    pub(crate) exports: Vec<(String, String)>,
    /// Text that is left out or replaced: from, to, instead.
    pub(crate) edits: Vec<(usize, usize, Edit)>,
}

/// What stands instead of a piece of text.
#[derive(Debug)]
pub(crate) enum Edit {
    /// Nothing: joining does what it said.
    Nothing,
    /// The specifier of a lazy import.
    Lazy(String),
}

/// A static import, or names that are passed on.
#[derive(Debug)]
pub(crate) struct Import {
    /// The path of the module it is from.
    pub(crate) from: String,
    /// Where it stands, counted from 1.
    pub(crate) line: usize,
    /// What it brings.
    pub(crate) names: Names,
}

/// What an import brings.
#[derive(Debug)]
pub(crate) enum Names {
    /// `* as x`.
    All(String),
    /// Name there, name here.
    Some(Vec<(String, String)>),
}

/// Reads a module.
///
/// # Errors
/// It says something that joining does not know.
pub(crate) fn parse<'a>(path: &str, source: &'a str) -> Result<Module<'a>, Wrong> {
    let tokens = tokens(source)?;
    let mut reader = Reader {
        path,
        source,
        tokens: &tokens,
        at: 0,
        module: Module {
            source,
            imports: Vec::new(),
            exports: Vec::new(),
            edits: Vec::new(),
        },
    };
    while reader.at < tokens.len() {
        reader.step()?;
    }
    let module = reader.module;
    let mut names = BTreeSet::new();
    match module.exports.iter().find(|(name, _)| !names.insert(name)) {
        Some((twice, _)) => Err(Wrong {
            line: 1,
            what: format!("`{twice}` is exported twice"),
        }),
        None => Ok(module),
    }
}

struct Reader<'a, 't> {
    path: &'t str,
    source: &'a str,
    tokens: &'t [Token<'a>],
    at: usize,
    module: Module<'a>,
}

impl<'a> Reader<'a, '_> {
    fn step(&mut self) -> Result<(), Wrong> {
        let token = self.tokens[self.at];
        let is_member = self.at > 0 && self.tokens[self.at - 1].is(".");
        let next = self.tokens.get(self.at + 1);
        let is_key = token.depth > 0 && next.is_some_and(|next| next.is(":"));
        if token.kind != Kind::Word || is_member || is_key {
            self.at += 1;
            return Ok(());
        }
        match token.text {
            "import" if next.is_some_and(|next| next.is("(")) => self.lazy(),
            "import" | "export" if token.depth > 0 => {
                Err(self.wrong(format!("`{}` inside something else", token.text)))
            }
            "import" => self.import(),
            "export" => self.export(),
            "await" if token.depth == 0 => {
                Err(self.wrong("`await` outside of a function".to_owned()))
            }
            _ => {
                self.at += 1;
                Ok(())
            }
        }
    }

    fn wrong(&self, what: String) -> Wrong {
        let last = self.tokens.len().saturating_sub(1);
        let at = self
            .tokens
            .get(self.at.min(last))
            .map_or(0, |token| token.start);
        Wrong {
            line: line_of(self.source, at),
            what,
        }
    }

    /// The token here, then the next one's turn.
    fn take(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn expect(&mut self, text: &str) -> Result<Token<'a>, Wrong> {
        match self.tokens.get(self.at) {
            Some(token) if token.is(text) => {
                self.at += 1;
                Ok(*token)
            }
            other => {
                let found = other.map_or("the end", |token| token.text);
                Err(self.wrong(format!("`{text}` is expected where {found} stands")))
            }
        }
    }

    fn word(&mut self) -> Result<&'a str, Wrong> {
        match self.tokens.get(self.at) {
            Some(token) if token.kind == Kind::Word => {
                self.at += 1;
                Ok(token.text)
            }
            _ => Err(self.wrong("a name is expected here".to_owned())),
        }
    }

    /// A relative specifier as a path.
    fn specifier(&mut self) -> Result<String, Wrong> {
        let Some(token) = self
            .tokens
            .get(self.at)
            .filter(|token| token.kind == Kind::Text)
        else {
            return Err(self.wrong("the name of a module as a literal is expected here".to_owned()));
        };
        let text = &token.text[1..token.text.len() - 1];
        let Some(path) = resolve(self.path, text) else {
            return Err(self.wrong(format!(
                "'{text}' must begin with ./ or ../ and stay inside"
            )));
        };
        self.at += 1;
        Ok(path)
    }

    /// `import('./x.js')`
    fn lazy(&mut self) -> Result<(), Wrong> {
        self.at += 2;
        let from = self.tokens.get(self.at).map_or(0, |token| token.start);
        let path = self.specifier()?;
        let to = self.tokens[self.at - 1].end();
        self.expect(")")?;
        self.module.edits.push((from, to, Edit::Lazy(path)));
        Ok(())
    }

    /// Leaves out the text from `start` to the end of the last token.
    fn leave_out(&mut self, start: usize) {
        let end = self.tokens[self.at - 1].end();
        self.module.edits.push((start, end, Edit::Nothing));
    }

    /// `import { a, b as c } from './x.js';` or `import * as x from './x.js';`
    fn import(&mut self) -> Result<(), Wrong> {
        let start = self.tokens[self.at].start;
        let line = line_of(self.source, start);
        self.at += 1;
        let names = match self.tokens.get(self.at) {
            Some(token) if token.is("{") => Names::Some(self.names()?),
            Some(token) if token.is("*") => {
                self.at += 1;
                self.expect("as")?;
                Names::All(self.word()?.to_owned())
            }
            _ => {
                return Err(self.wrong(
                    "only `import { … } from`, `import * as … from` and `import('…')` are known here".to_owned(),
                ));
            }
        };
        self.expect("from")?;
        let from = self.specifier()?;
        self.expect(";")?;
        self.leave_out(start);
        self.module.imports.push(Import { from, line, names });
        Ok(())
    }

    /// `{ a, b as c }`
    fn names(&mut self) -> Result<Vec<(String, String)>, Wrong> {
        self.expect("{")?;
        let mut names = Vec::new();
        while !self.tokens.get(self.at).is_some_and(|token| token.is("}")) {
            let first = self.word()?;
            let mut second = first;
            if self.tokens.get(self.at).is_some_and(|token| token.is("as")) {
                self.at += 1;
                second = self.word()?;
            }
            names.push((first.to_owned(), second.to_owned()));
            if !self.tokens.get(self.at).is_some_and(|token| token.is("}")) {
                self.expect(",")?;
            }
        }
        self.expect("}")?;
        Ok(names)
    }

    fn export(&mut self) -> Result<(), Wrong> {
        let token = self.tokens[self.at];
        self.at += 1;
        if self.tokens.get(self.at).is_some_and(|token| token.is("{")) {
            return self.export_list(token.start);
        }
        let keyword = self.tokens.get(self.at).copied();
        let after_export = keyword.map_or(token.end(), |keyword| keyword.start);
        match self.word().unwrap_or_default() {
            "const" => {}
            "class" => {}
            "function" => self.skip_star(),
            "async" => {
                self.expect("function")?;
                self.skip_star();
            }
            "let" | "var" => {
                return Err(self.wrong(
                    "`export let` is not known here: importers would not see its changes; export a signal or a function"
                        .to_owned(),
                ));
            }
            "default" => {
                return Err(
                    self.wrong("`export default` is not known here: give it a name".to_owned())
                );
            }
            _ => {
                return Err(self.wrong(
                    "only `export const | function | async function | class | { … }` are known here".to_owned(),
                ));
            }
        }
        let name = self.word()?.to_owned();
        if keyword.is_some_and(|keyword| keyword.is("const")) {
            self.only_one_name()?;
        }
        self.module
            .edits
            .push((token.start, after_export, Edit::Nothing));
        self.module.exports.push((name.clone(), name));
        Ok(())
    }

    fn skip_star(&mut self) {
        if self.tokens.get(self.at).is_some_and(|token| token.is("*")) {
            self.at += 1;
        }
    }

    /// `export const a = 1, b = 2` would hide `b`.
    fn only_one_name(&self) -> Result<(), Wrong> {
        let statement = self.tokens[self.at..]
            .iter()
            .take_while(|token| !(token.depth == 0 && token.is(";")));
        for token in statement {
            if token.depth == 0 && token.is(",") {
                return Err(self
                    .wrong("export each name in a statement of its own, ended by `;`".to_owned()));
            }
        }
        Ok(())
    }

    /// `export { a, b as c };` or the same `from './x.js'`
    fn export_list(&mut self, start: usize) -> Result<(), Wrong> {
        let line = line_of(self.source, start);
        let names = self.names()?;
        if !self
            .tokens
            .get(self.at)
            .is_some_and(|token| token.is("from"))
        {
            self.expect(";")?;
            self.leave_out(start);
            let pairs = names.into_iter().map(|(here, there)| (there, here));
            self.module.exports.extend(pairs);
            return Ok(());
        }
        self.take();
        let from = self.specifier()?;
        self.expect(";")?;
        self.leave_out(start);
        // Not visible inside, so under names that nobody writes.
        let hidden = |index: usize| format!("$from{start}_{index}");
        let mut imported = Vec::new();
        for (index, (there, outside)) in names.into_iter().enumerate() {
            imported.push((there, hidden(index)));
            self.module.exports.push((outside, hidden(index)));
        }
        self.module.imports.push(Import {
            from,
            line,
            names: Names::Some(imported),
        });
        Ok(())
    }
}

/// The path that `specifier` names in the module `from`.
fn resolve(from: &str, specifier: &str) -> Option<String> {
    if !specifier.starts_with("./") && !specifier.starts_with("../") {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in specifier.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

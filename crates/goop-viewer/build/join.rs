//! Joins our own JavaScript modules into few files, so that a page needs few requests.
//!
//! A file is made for each **entry**: the first module, and every module that somebody imports lazily (`import('…')`).
//! It holds the modules that only this entry needs; what several need lies in the **shell**, from where the others import
//! it. In a file each module is a function of its own that runs once, in the order in which a browser would run the
//! modules, and gives back what it exports. Modules of others ("vendored") stay files and are imported as they are.
//!
//! The sources use a part of the module syntax, and what is outside of it is refused with the line where it stands:
//! named and namespace imports, `export const | function | async function | class`, `export { … }`, `export { … } from`,
//! `import('a literal')`. There is no `export let`, whose changes importers would have to see (signals do that), no default
//! export, no `export *`, no cycle, no `import.meta`, no `await` outside functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::module::{Edit, Import, Module, Names, parse};

/// What is joined.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// Our modules by path (`js/app.js`).
    pub(crate) modules: &'a BTreeMap<String, String>,
    /// Paths of modules that stay files.
    pub(crate) vendored: &'a BTreeSet<String>,
    /// The module that runs first.
    pub(crate) first: &'a str,
    /// The entry whose file holds what several entries need.
    pub(crate) shell: &'a str,
}

/// Joins: the files by path.
///
/// # Errors
/// A text that names the module, the line and the reason.
pub(crate) fn join(sources: &Sources<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut parsed = BTreeMap::new();
    let mut entries = vec![sources.first.to_owned()];
    let mut at = 0;
    while let Some(entry) = entries.get(at).cloned() {
        at += 1;
        for path in read(sources, &entry, &mut parsed)? {
            if !entries.contains(&path) {
                entries.push(path);
            }
        }
    }
    if let Some(unused) = sources
        .modules
        .keys()
        .find(|path| !parsed.contains_key(*path))
    {
        return Err(format!("{unused}: nobody imports it"));
    }
    let plan = Plan::new(sources, &entries, &parsed)?;
    entries
        .iter()
        .map(|entry| Ok((entry.clone(), plan.file(entry)?)))
        .collect()
}

/// Reads a module and what it imports; gives the lazily imported ones.
fn read<'a>(
    sources: &Sources<'a>,
    entry: &str,
    parsed: &mut BTreeMap<String, Module<'a>>,
) -> Result<Vec<String>, String> {
    let mut lazy = Vec::new();
    let mut waiting = vec![entry.to_owned()];
    while let Some(path) = waiting.pop() {
        if parsed.contains_key(&path) || sources.vendored.contains(&path) {
            continue;
        }
        let source = sources
            .modules
            .get(&path)
            .ok_or_else(|| format!("{path} is imported and not there"))?;
        let module = parse(&path, source).map_err(|wrong| format!("{path}: {wrong}"))?;
        waiting.extend(module.imports.iter().map(|import| import.from.clone()));
        lazy.extend(module.edits.iter().filter_map(|(_, _, edit)| match edit {
            Edit::Lazy(path) => Some(path.clone()),
            Edit::Nothing => None,
        }));
        parsed.insert(path, module);
    }
    Ok(lazy)
}

/// Which module lies in which file, and in which order.
struct Plan<'a, 'p> {
    sources: &'p Sources<'a>,
    parsed: &'p BTreeMap<String, Module<'a>>,
    /// The file of a module.
    files: BTreeMap<String, String>,
    /// All modules, each after those that it imports.
    order: Vec<String>,
}

impl<'a, 'p> Plan<'a, 'p> {
    fn new(
        sources: &'p Sources<'a>,
        entries: &[String],
        parsed: &'p BTreeMap<String, Module<'a>>,
    ) -> Result<Self, String> {
        if !entries.iter().any(|entry| entry == sources.shell) {
            return Err(format!("{}: nobody imports it lazily", sources.shell));
        }
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let mut order = Vec::new();
        for entry in entries {
            let mut needed = Vec::new();
            visit(entry, parsed, &mut Vec::new(), &mut needed)?;
            for path in needed {
                if path != *entry && entries.contains(&path) {
                    return Err(format!(
                        "{path} is imported lazily, and at once by way of {entry}"
                    ));
                }
                files
                    .entry(path.clone())
                    .and_modify(|file| sources.shell.clone_into(file))
                    .or_insert_with(|| entry.clone());
                if !order.contains(&path) {
                    order.push(path);
                }
            }
        }
        Ok(Self {
            sources,
            parsed,
            files,
            order,
        })
    }

    /// What a module is called in every file.
    fn name(&self, path: &str) -> String {
        let place = self.order.iter().position(|found| found == path);
        format!("${}", place.unwrap_or_default())
    }

    /// The text of an entry's file.
    fn file(&self, entry: &str) -> Result<String, String> {
        let is_here = |path: &str| self.files.get(path).is_some_and(|file| file == entry);
        let mut vendored: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut shared = BTreeSet::new();
        let mut body = String::new();
        for path in self.order.iter().filter(|path| is_here(path)) {
            let module = &self.parsed[path];
            for import in &module.imports {
                if self.sources.vendored.contains(&import.from) {
                    let Names::Some(names) = &import.names else {
                        return Err(format!(
                            "{path}: line {}: import names from {}",
                            import.line, import.from
                        ));
                    };
                    let names = names.iter().map(|(there, _)| there.as_str());
                    vendored.entry(&import.from).or_default().extend(names);
                } else if !is_here(&import.from) {
                    shared.insert(self.name(&import.from));
                }
            }
            self.write(entry, path, module, &mut body)?;
        }
        let mut text = String::new();
        for (from, names) in &vendored {
            let key = key_of(from);
            let list = |form: &dyn Fn(&str) -> String| {
                names
                    .iter()
                    .map(|name| form(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let imported = list(&|name| format!("{name} as {key}_{name}"));
            let named = list(&|name| format!("{name}: {key}_{name}"));
            let from = relative(entry, from);
            line(
                &mut text,
                &format!("import {{ {imported} }} from '{from}';\nconst {key} = {{ {named} }};"),
            );
        }
        if !shared.is_empty() {
            let names = shared.into_iter().collect::<Vec<_>>().join(", ");
            let from = relative(entry, self.sources.shell);
            line(&mut text, &format!("import {{ {names} }} from '{from}';"));
        }
        text.push_str(&body);
        let exports: Vec<&str> = self.parsed[entry]
            .exports
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        if !exports.is_empty() {
            line(
                &mut text,
                &format!(
                    "export const {{ {} }} = {};",
                    exports.join(", "),
                    self.name(entry)
                ),
            );
        }
        if entry == self.sources.shell {
            let names: Vec<String> = self
                .order
                .iter()
                .filter(|path| is_here(path))
                .map(|path| self.name(path))
                .collect();
            line(&mut text, &format!("export {{ {} }};", names.join(", ")));
        }
        Ok(text)
    }

    /// A module as a function that gives back its exports.
    fn write(
        &self,
        file: &str,
        path: &str,
        module: &Module<'_>,
        out: &mut String,
    ) -> Result<(), String> {
        line(
            out,
            &format!("// {path}\nconst {} = (() => {{", self.name(path)),
        );
        for import in &module.imports {
            line(out, &self.bindings(path, import)?);
        }
        let mut edits: Vec<_> = module.edits.iter().collect();
        edits.sort_by_key(|(from, _, _)| *from);
        let mut at = 0;
        for (from, to, edit) in edits {
            out.push_str(&module.source[at..*from]);
            if let Edit::Lazy(path) = edit {
                out.push_str(&format!("'{}'", relative(file, path)));
            }
            at = *to;
        }
        out.push_str(module.source[at..].trim_end());
        let exports: Vec<String> = module
            .exports
            .iter()
            .map(|(name, inside)| format!("{name}: {inside}"))
            .collect();
        line(
            out,
            &format!(
                "\nreturn Object.freeze({{ __proto__: null, {} }});\n}})();",
                exports.join(", ")
            ),
        );
        Ok(())
    }

    /// The names that an import makes.
    fn bindings(&self, path: &str, import: &Import) -> Result<String, String> {
        let is_vendored = self.sources.vendored.contains(&import.from);
        let from = if is_vendored {
            key_of(&import.from)
        } else {
            self.name(&import.from)
        };
        let names = match &import.names {
            Names::All(name) => return Ok(format!("const {name} = {from};")),
            Names::Some(names) => names,
        };
        // What vendored modules export the browser checks.
        let exported = |name: &String| {
            is_vendored
                || self.parsed[&import.from]
                    .exports
                    .iter()
                    .any(|(found, _)| found == name)
        };
        if let Some((missing, _)) = names.iter().find(|(there, _)| !exported(there)) {
            let (line, from) = (import.line, &import.from);
            return Err(format!(
                "{path}: line {line}: {from} exports no `{missing}`"
            ));
        }
        let pairs: Vec<String> = names
            .iter()
            .map(|(there, here)| {
                if there == here {
                    here.clone()
                } else {
                    format!("{there}: {here}")
                }
            })
            .collect();
        Ok(format!("const {{ {} }} = {from};", pairs.join(", ")))
    }
}

/// Lists a module after everything that it imports.
fn visit(
    path: &str,
    parsed: &BTreeMap<String, Module<'_>>,
    above: &mut Vec<String>,
    done: &mut Vec<String>,
) -> Result<(), String> {
    if done.iter().any(|found| found == path) {
        return Ok(());
    }
    if let Some(at) = above.iter().position(|found| found == path) {
        let circle = above[at..].join(" → ");
        return Err(format!(
            "modules import each other in a circle: {circle} → {path}"
        ));
    }
    // A vendored module imports nothing of ours.
    let Some(module) = parsed.get(path) else {
        return Ok(());
    };
    above.push(path.to_owned());
    for import in &module.imports {
        visit(&import.from, parsed, above, done)?;
    }
    above.pop();
    done.push(path.to_owned());
    Ok(())
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

/// What a vendored module is called in a file.
fn key_of(path: &str) -> String {
    let name: String = path
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    format!("${name}")
}

/// How the file `from` names the file `to`.
fn relative(from: &str, to: &str) -> String {
    let folder = |path: &'_ str| {
        path.rsplit_once('/')
            .map_or(String::new(), |(folder, _)| folder.to_owned())
    };
    let (here, there) = (folder(from), folder(to));
    let here: Vec<&str> = here.split('/').filter(|part| !part.is_empty()).collect();
    let there: Vec<&str> = there.split('/').filter(|part| !part.is_empty()).collect();
    let common = here.iter().zip(&there).take_while(|(a, b)| a == b).count();
    let up = match here.len() - common {
        0 => "./".to_owned(),
        steps => "../".repeat(steps),
    };
    let down: String = there[common..]
        .iter()
        .map(|part| format!("{part}/"))
        .collect();
    let name = to.rsplit('/').next().unwrap_or(to);
    format!("{up}{down}{name}")
}

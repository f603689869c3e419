//! Compares the dependencies between the crate's modules with the table of arrows in ARCHITECTURE.md.
use crate::{cargo, step};
use anyhow::{Context, Result, bail, ensure};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "ARCHITECTURE.md";
const FENCE: &str = "```arrows";

/// Fails if a module names another one against the table, or if the table lists an arrow that no module needs.
pub(crate) fn check() -> Result<()> {
    step(format_args!("arrows: `use` lines of src and the table in {PAGE}"));
    let root = cargo::workspace();
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("reading {PAGE}"))?;
    let table = Table::parse(&page)?;
    let mut source = Source::default();
    source.load(&root.join("src/lib.rs"), &root.join("src"), &[])?;
    let problems = table.problems(&source);
    ensure!(problems.is_empty(), "the modules and the table in {PAGE} differ:\n  {}", problems.join("\n  "));
    Ok(())
}

/// The table of arrows. Every module is a row, with its parents' path if it is not at the root.
#[derive(Debug, Default)]
struct Table {
    allowed: BTreeMap<String, BTreeSet<String>>,
    /// Arrows that are to be removed.
    exceptions: BTreeSet<(String, String)>,
    /// Modules that must not name each other.
    apart: BTreeSet<String>,
}

impl Table {
    /// Reads `MODULE -> MODULE…`, `exception MODULE -> MODULE` and `apart MODULE…` in the fenced block of a page.
    fn parse(page: &str) -> Result<Self> {
        let mut table = Self::default();
        let block = page.lines().skip_while(|line| line.trim_end() != FENCE).skip(1);
        let lines: Vec<_> = block.take_while(|line| !line.starts_with("```")).collect();
        ensure!(!lines.is_empty(), "{PAGE} has no block {FENCE}");
        for line in lines {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(modules) = line.strip_prefix("apart ") {
                table.apart.extend(modules.split_whitespace().map(str::to_owned));
                continue;
            }
            let (exception, arrow) = match line.strip_prefix("exception ") {
                Some(arrow) => (true, arrow),
                None => (false, line),
            };
            let Some((from, to)) = arrow.split_once("->") else {
                ensure!(line.is_empty(), "{PAGE}: not a row of arrows: {line}");
                continue;
            };
            let (from, mut to) = (from.trim().to_owned(), to.split_whitespace().map(str::to_owned));
            if exception {
                table.exceptions.extend(to.map(|to| (from.clone(), to)));
            } else {
                let known = table.allowed.insert(from, to.by_ref().collect());
                ensure!(known.is_none(), "{PAGE}: two rows for one module: {line}");
            }
        }
        Ok(table)
    }

    fn problems(&self, source: &Source) -> Vec<String> {
        let mut problems = self.own_problems();
        let mut used = BTreeSet::new();
        for module in source.modules.iter().filter(|module| !module.is_empty()) {
            if self.row(module).is_none() {
                problems.push(format!("the module {} has no row", module.join("::")));
            }
        }
        for name in &source.names {
            // The root re-exports, and may name every module.
            let Some(from) = self.row(&name.from) else { continue };
            let Some(to) = self.row(&name.to) else {
                let path = name.to.join("::");
                problems.push(format!("{}: `crate::{path}` is named through the root: name its module", name.place));
                continue;
            };
            if from == to {
                continue;
            }
            let arrow = (from.to_owned(), to.to_owned());
            let allowed = self.allowed.get(from).is_some_and(|all| all.contains(to));
            if !allowed && !self.exceptions.contains(&arrow) {
                problems.push(format!("{}: {from} must not name {to}", name.place));
            }
            used.insert(arrow);
        }
        for (from, all) in &self.allowed {
            let unused = all.iter().filter(|to| !used.contains(&(from.clone(), (*to).clone())));
            problems.extend(unused.map(|to| format!("{from} does not name {to}: remove that arrow")));
        }
        let unused = self.exceptions.iter().filter(|arrow| !used.contains(*arrow));
        problems.extend(unused.map(|(from, to)| format!("the exception {from} -> {to} is not needed: remove it")));
        problems
    }

    /// Returns the faults of the table itself: unknown modules, arrows between modules that are apart, circles.
    fn own_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let arrows = self.allowed.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
        for (from, to) in arrows.chain(self.exceptions.iter().map(|(from, to)| (from, to))) {
            if !self.allowed.contains_key(from) || !self.allowed.contains_key(to) {
                problems.push(format!("{from} -> {to}: a module without a row"));
            }
            if self.apart.contains(from) && self.apart.contains(to) {
                problems.push(format!("{from} -> {to}: these modules must not name each other"));
            }
        }
        // Rows without arrows are removed again and again: rows that stay are in a circle, or depend on one.
        let mut left = self.allowed.clone();
        while let Some(free) = left.iter().find(|(_, all)| !all.iter().any(|to| left.contains_key(to))) {
            let free = free.0.clone();
            left.remove(&free);
        }
        if !left.is_empty() {
            problems.push(format!("a circle: {}", left.into_keys().collect::<Vec<_>>().join(", ")));
        }
        problems
    }

    /// Returns the row of a path: its longest part that has one.
    fn row(&self, path: &[String]) -> Option<&str> {
        let parts = (1..=path.len()).rev().filter_map(|length| path.get(..length));
        let rows = parts.filter_map(|part| self.allowed.get_key_value(&part.join("::")));
        rows.map(|(row, _)| row.as_str()).next()
    }
}

/// One path in the code.
#[derive(Debug)]
struct Name {
    from: Vec<String>,
    /// Absolute, without `crate`.
    to: Vec<String>,
    place: String,
}

/// Modules and paths of a crate, without those of its tests.
#[derive(Debug, Default)]
struct Source {
    modules: BTreeSet<Vec<String>>,
    names: Vec<Name>,
}

impl Source {
    /// Reads a file and the files of its modules, which are in `folder`.
    fn load(&mut self, file: &Path, folder: &Path, module: &[String]) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let tokens: TokenStream = match text.parse() {
            Ok(tokens) => tokens,
            Err(error) => bail!("{}: {error}", file.display()),
        };
        let place = file.strip_prefix(cargo::workspace()).unwrap_or(file).display().to_string();
        for child in self.read(tokens, module, &place) {
            let Some(name) = child.last() else { continue };
            let inner: PathBuf = folder.join(name);
            let (flat, own) = (folder.join(format!("{name}.rs")), inner.join("mod.rs"));
            self.load(if flat.exists() { &flat } else { &own }, &inner, &child)?;
        }
        Ok(())
    }

    /// Reads the tokens of a module; returns its modules in files of their own.
    fn read(&mut self, tokens: TokenStream, module: &[String], place: &str) -> Vec<Vec<String>> {
        let tokens = without_tests(tokens);
        self.modules.insert(module.to_vec());
        let mut files = Vec::new();
        let mut scan = Scan { module, children: children(&tokens), place, found: &mut self.names };
        scan.level(&tokens);
        for (index, token) in tokens.iter().enumerate() {
            let (Some(name), true) = (tokens.get(index + 1).and_then(ident), is(token, "mod")) else { continue };
            let path = [module, &[name]].concat();
            match tokens.get(index + 2) {
                Some(TokenTree::Group(body)) => files.extend(self.read(body.stream(), &path, place)),
                _ => files.push(path),
            }
        }
        files
    }
}

/// Search for paths in one module.
struct Scan<'a> {
    module: &'a [String],
    children: BTreeSet<String>,
    place: &'a str,
    found: &'a mut Vec<Name>,
}

impl Scan<'_> {
    fn level(&mut self, tokens: &[TokenTree]) {
        let mut rest = tokens;
        while let [token, after @ ..] = rest {
            let length = path_length(rest);
            rest = match (token, after) {
                (TokenTree::Ident(word), [TokenTree::Ident(_), TokenTree::Group(_), after @ ..]) if word == "mod" => {
                    after
                }
                (TokenTree::Ident(word), [TokenTree::Group(scope), after @ ..])
                    if word == "pub" && scope.delimiter() == Delimiter::Parenthesis =>
                {
                    after
                }
                (TokenTree::Ident(word), after) if word == "use" => {
                    let end = after.iter().position(|token| is_punct(token, ';')).unwrap_or(after.len());
                    let (tree, after) = after.split_at(end);
                    self.tree(&[], tree);
                    after
                }
                (TokenTree::Group(group), after) => {
                    self.level(&without_tests(group.stream()));
                    after
                }
                (_, after) if length < 2 => after,
                _ => {
                    let (path, after) = rest.split_at(length * 3 - 2);
                    self.add(path.iter().filter_map(ident).collect(), token);
                    after
                }
            };
        }
    }

    /// Adds the paths of a `use` tree below a prefix.
    fn tree(&mut self, prefix: &[String], tokens: &[TokenTree]) {
        for branch in tokens.split(|token| is_punct(token, ',')) {
            let named: Vec<_> = branch.iter().take_while(|token| !is(token, "as")).collect();
            let mut path = prefix.to_vec();
            path.extend(
                named.iter().filter_map(|token| ident(token)).filter(|name| prefix.is_empty() || name != "self"),
            );
            match branch.last() {
                Some(TokenTree::Group(group)) => self.tree(&path, &group.stream().into_iter().collect::<Vec<_>>()),
                Some(token) => self.add(path, token),
                None => {}
            }
        }
    }

    /// Adds a path as it is written, unless it is of another crate.
    fn add(&mut self, path: Vec<String>, token: &TokenTree) {
        let mut to = self.module.to_vec();
        let mut rest = path.as_slice();
        match rest.first().map(String::as_str) {
            Some("crate") => to.clear(),
            Some("self" | "super") => {}
            Some(name) if self.children.contains(name) => {}
            _ => return,
        }
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" | "self" => {}
                "super" => drop(to.pop()),
                _ => break,
            }
            rest = after;
        }
        to.extend_from_slice(rest);
        let place = format!("{}:{}", self.place, token.span().start().line);
        self.found.push(Name { from: self.module.to_vec(), to, place });
    }
}

/// Number of segments of the path at the start: 2 for `crate::ipvs`, 1 for `name`, 0 for anything else.
fn path_length(tokens: &[TokenTree]) -> usize {
    let mut length = 0;
    let mut rest = tokens;
    while let [TokenTree::Ident(_), after @ ..] = rest {
        length += 1;
        match after {
            [first, second, next @ ..] if is_punct(first, ':') && is_punct(second, ':') => rest = next,
            _ => return length,
        }
    }
    length
}

fn children(tokens: &[TokenTree]) -> BTreeSet<String> {
    let names = tokens.iter().zip(tokens.iter().skip(1)).filter(|(word, _)| is(word, "mod"));
    names.filter_map(|(_, name)| ident(name)).collect()
}

/// Removes the items with `#[cfg(test)]`.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_test = is_punct(&token, '#')
            && matches!(tokens.peek(), Some(TokenTree::Group(group)) if is_cfg_test(group.stream()));
        if !is_test {
            kept.push(token);
            continue;
        }
        tokens.next();
        // A `use` ends at its semicolon; other items at their body, or at a semicolon.
        let mut is_use = false;
        for token in tokens.by_ref() {
            is_use |= is(&token, "use");
            let body = matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
            if is_punct(&token, ';') || (body && !is_use) {
                break;
            }
        }
    }
    kept
}

fn is_cfg_test(attribute: TokenStream) -> bool {
    attribute.to_string().replace(' ', "") == "cfg(test)"
}

fn ident(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

fn is(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The absolute paths that a module names, in the order of the code.
    fn names(module: &str, code: &str) -> Vec<String> {
        let mut source = Source::default();
        let module: Vec<_> = module.split("::").map(str::to_owned).collect();
        source.read(code.parse().unwrap(), &module, "x.rs");
        source.names.iter().map(|name| name.to.join("::")).collect()
    }

    #[test]
    fn nested_groups_are_read() {
        let code = "pub use crate::{error::{Error, self as e}, wire::*, name::Name as N,}; use std::{fs, io};";
        assert_eq!(names("ipvs", code), ["error::Error", "error", "wire", "name::Name"]);
    }

    #[test]
    fn relative_paths_are_resolved() {
        let code = "use super::kind::Kind; use super::super::wire; use self::inner::A; fn f() { super::g() }";
        assert_eq!(names("ipset::entry", code), ["ipset::kind::Kind", "wire", "ipset::entry::inner::A", "ipset::g"]);
        let code =
            "mod load; pub use load::load; mod inner { use super::super::error; } fn f() { load::g(); other::g() }";
        assert_eq!(names("ready", code), ["ready::load::load", "ready::load::g", "error"]);
    }

    #[test]
    fn paths_in_code_and_macros_are_read() {
        let code =
            "macro_rules! m { ($a:ident) => { impl $crate::wire::Kind for $a {} }; } fn f(x: crate::name::Name) {}";
        assert_eq!(names("ipvs", code), ["wire::Kind", "name::Name"]);
        assert_eq!(names("ipvs", "pub(in crate::vip) fn f() { a::crate_name::b() }"), [""; 0]);
    }

    #[test]
    fn comments_texts_and_tests_are_not_code() {
        let code = "/// [`A`](crate::vip::A)\nfn f() { g(\"crate::vip\") } // crate::vip
            #[cfg(test)] use crate::vip::{A, B};
            #[cfg(test)] mod tests { use crate::vip; }
            #[cfg(test)] mod properties;
            #[cfg(feature = \"testing\")] use crate::testing::Port;";
        assert_eq!(names("ipvs", code), ["testing::Port"]);
    }

    fn problems(table: &str, code: &[(&str, &str)]) -> Vec<String> {
        let table = Table::parse(&format!("{FENCE}\n{table}\n```\n")).unwrap();
        let mut source = Source::default();
        for (module, code) in code {
            source.read(code.parse().unwrap(), &[(*module).to_owned()], "x.rs");
        }
        table.problems(&source)
    }

    #[test]
    fn the_table_and_the_code_must_be_equal() {
        let table = "error ->\nwire -> error # bytes\nipvs -> wire\nexception error -> wire";
        let error = ("error", "use crate::wire::A;");
        let wire = ("wire", "use crate::error::A;");
        assert_eq!(problems(table, &[error, wire, ("ipvs", "use crate::wire;")]), [""; 0]);
        let forbidden = problems(table, &[error, wire, ("ipvs", "use crate::wire;\nuse crate::error;")]);
        assert_eq!(forbidden, ["x.rs:2: ipvs must not name error"]);
        let unused = problems(table, &[("error", ""), wire, ("ipvs", "")]);
        let expected =
            ["ipvs does not name wire: remove that arrow", "the exception error -> wire is not needed: remove it"];
        assert_eq!(unused, expected);
        let unknown = problems("error ->", &[("error", "use crate::Result;"), ("vip", "")]);
        let expected =
            ["the module vip has no row", "x.rs:1: `crate::Result` is named through the root: name its module"];
        assert_eq!(unknown, expected);
    }

    #[test]
    fn the_table_has_no_circle_and_keeps_modules_apart() {
        let code = [("a", "use crate::b;"), ("b", "use crate::a;")];
        assert_eq!(problems("a -> b\nb -> a", &code), ["a circle: a, b"]);
        let apart = problems("a -> b\nb ->\napart a b", &[("a", "use crate::b;"), ("b", "")]);
        assert_eq!(apart, ["a -> b: these modules must not name each other"]);
        assert!(Table::parse("no block").is_err());
        assert!(Table::parse(&format!("{FENCE}\na => b\n```")).is_err());
    }
}

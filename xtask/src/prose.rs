//! Checks the grammar of comments and Markdown pages: how sentences begin, and their length.
use crate::{cargo, step};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::{fs, iter};

/// First words of sentences that avoid naming their subject. A question may begin with them.
const OPENINGS: [&str; 6] = ["What", "Who", "Whose", "Which", "Of", "To"];
/// The largest number of words in a sentence. A code span is one word.
const LONGEST: usize = 30;
/// Folders whose Rust files and pages are read, besides the pages of the root.
const FOLDERS: [&str; 7] = ["src", "examples", "benches", "tests", "xtask", "fuzz", "docs"];

/// Fails if a comment or a page has a sentence that begins with one of `OPENINGS`, or is too long.
pub(crate) fn check() -> Result<()> {
    step("prose: sentences of comments and pages");
    let root = cargo::workspace();
    let mut files = Vec::new();
    add_files(root, false, &mut files)?;
    for folder in FOLDERS {
        add_files(&root.join(folder), true, &mut files)?;
    }
    let mut problems = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let text = fs::read_to_string(&file).with_context(|| format!("reading {name}"))?;
        let found = if name.ends_with(".rs") { rust_problems(&text) } else { page_problems(&text) };
        problems.extend(found.into_iter().map(|(line, problem)| format!("{name}:{line}: {problem}")));
    }
    ensure!(problems.is_empty(), "{} sentences to mend:\n  {}", problems.len(), problems.join("\n  "));
    Ok(())
}

/// Adds the Rust files and Markdown pages of a folder, sorted.
fn add_files(folder: &Path, deep: bool, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if deep && entry.file_name() != "target" {
                add_files(&path, deep, files)?;
            }
        } else if path.extension().is_some_and(|kind| kind == "md" || deep && kind == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// A line number, and the fault of a sentence that begins there.
type Problem = (usize, String);

/// Returns the problems in the comments of a Rust file that stand on lines of their own.
fn rust_problems(text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut block = Vec::new();
    let mut marker = "";
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim_start();
        let marks =
            |marker: &&str| line.strip_prefix(*marker).is_some_and(|text| text.is_empty() || text.starts_with(' '));
        let found = ["///", "//!", "//"].into_iter().find(marks).unwrap_or("");
        if found != marker {
            problems.extend(markdown_problems(&std::mem::take(&mut block), marker != "//"));
            marker = found;
        }
        if !found.is_empty() {
            block.push((number, line.strip_prefix(found).unwrap_or(line)));
        }
    }
    problems.extend(markdown_problems(&block, marker != "//"));
    problems
}

fn page_problems(text: &str) -> Vec<Problem> {
    markdown_problems(&(1..).zip(text.lines()).collect::<Vec<_>>(), true)
}

/// Returns the problems of numbered lines. In `fenced` text, code between fences is left out, but for its comments.
fn markdown_problems(lines: &[(usize, &str)], fenced: bool) -> Vec<Problem> {
    let mut paragraphs: Vec<Vec<(usize, &str)>> = Vec::new();
    let mut code = false;
    // Whether the last line can continue in the next one, and whether it is a comment inside code.
    let mut open = None;
    for &(number, line) in lines {
        let line = line.trim();
        if fenced && line.starts_with("```") {
            code = !code;
            open = None;
            continue;
        }
        let comment = line.strip_prefix("// ").filter(|_| code);
        let plain = !code && !line.is_empty() && !line.starts_with(['#', '<']) && !is_definition(line);
        let Some(text) = comment.or_else(|| plain.then_some(line)) else {
            open = None;
            continue;
        };
        if text.starts_with('|') {
            paragraphs.extend(cells(text).map(|cell| vec![(number, cell)]));
            open = None;
            continue;
        }
        let (item, text) = without_bullet(text);
        match paragraphs.last_mut() {
            Some(paragraph) if !item && open == Some(code) => paragraph.push((number, text)),
            _ => paragraphs.push(vec![(number, text)]),
        }
        open = Some(code);
    }
    paragraphs.iter().flat_map(|paragraph| sentences(paragraph)).filter_map(Sentence::problem).collect()
}

/// Whether a line gives a link its target.
fn is_definition(line: &str) -> bool {
    line.starts_with('[') && line.split_once("]: ").is_some_and(|(name, _)| !name.contains(' ') || !name.contains('.'))
}

fn cells(row: &str) -> impl Iterator<Item = &str> {
    row.split('|').map(str::trim).filter(|cell| !cell.is_empty())
}

/// Removes the mark of a list's item. Returns whether the line had one.
fn without_bullet(line: &str) -> (bool, &str) {
    let text = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
    let text = text.or_else(|| line.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(". "));
    text.map_or((false, line), |text| (true, text))
}

#[derive(Debug, Default)]
struct Sentence {
    line: usize,
    first: String,
    words: usize,
    question: bool,
}

impl Sentence {
    fn problem(self) -> Option<Problem> {
        let Self { line, first, words, question } = self;
        if OPENINGS.contains(&first.as_str()) && !question {
            Some((line, format!("a sentence begins with `{first}`")))
        } else {
            (words > LONGEST).then(|| (line, format!("a sentence of {words} words, more than {LONGEST}")))
        }
    }
}

/// Splits a paragraph into its sentences.
fn sentences(paragraph: &[(usize, &str)]) -> Vec<Sentence> {
    let words: Vec<_> = words(paragraph).collect();
    let mut sentences = Vec::new();
    let mut sentence = Sentence::default();
    let next = words.iter().skip(1).map(Some).chain(iter::once(None));
    for ((line, word), next) in words.iter().zip(next) {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        if !bare.is_empty() {
            if sentence.words == 0 {
                sentence = Sentence { line: *line, first: bare.to_owned(), ..Sentence::default() };
            }
            sentence.words += 1;
        }
        let end = word.trim_end_matches(['"', '”', ')', '*', '_', ']']);
        let ends = end.ends_with(['.', '?', '!']) && next.is_none_or(|(_, next)| can_begin(next));
        if ends || next.is_none() {
            sentence.question = end.ends_with('?');
            sentences.push(std::mem::take(&mut sentence));
        }
    }
    sentences
}

fn can_begin(word: &str) -> bool {
    !word.trim_start_matches(['"', '“', '(', '*', '_', '[']).starts_with(char::is_lowercase)
}

/// Splits a paragraph into words, with the line of each. A code span is one word, a link's target is none.
fn words<'a>(paragraph: &[(usize, &'a str)]) -> impl Iterator<Item = (usize, String)> + use<'a> {
    let mut words = Vec::new();
    let (mut code, mut target) = (false, false);
    for &(line, text) in paragraph {
        let mut word = String::new();
        let mut last = ' ';
        for c in text.chars().chain(iter::once(' ')) {
            match c {
                '`' => {
                    code = !code;
                    word.push(if code { 'X' } else { '`' });
                }
                _ if code => {}
                '(' if last == ']' => target = true,
                ')' if target => target = false,
                _ if target => {}
                _ if c.is_whitespace() => words.extend((!word.is_empty()).then(|| (line, std::mem::take(&mut word)))),
                _ => word.push(c),
            }
            last = c;
        }
        words.extend((!word.is_empty()).then_some((line, word)));
    }
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(problems: &[Problem]) -> Vec<usize> {
        problems.iter().map(|(line, _)| *line).collect()
    }

    #[test]
    fn openings_are_found_at_each_beginning_of_a_sentence() {
        let page = "What is read.\nIt stands. Of these\none. (To bind is fine.)\n\n- Who asks\n- **Which** one\n\n| a | Whose |";
        assert_eq!(lines(&page_problems(page)), [1, 2, 3, 5, 6, 8]);
        let fine = "What is this? Whatever.\n# What it is\nIt is what it says, of e.g. Toulouse, to `To`.\n[a]: What";
        assert_eq!(page_problems(fine), []);
    }

    #[test]
    fn long_sentences_are_found_and_a_code_span_is_one_word() {
        let words = "Word ".repeat(LONGEST);
        assert_eq!(page_problems(&format!("A sentence. {words}\n")), []);
        assert_eq!(lines(&page_problems(&format!("A sentence.\n{words} end.\n"))), [2]);
        let code = "`a b c`, [text](../a/page.md#part)\n".repeat(LONGEST / 2);
        assert_eq!(page_problems(&code), []);
        let table = format!("| {words} | {words} |\n|---|---|\n| {words} | {words} more |");
        assert_eq!(lines(&page_problems(&table)), [3]);
    }

    #[test]
    fn comments_are_read_and_code_is_not() {
        let code = "//! Title.\n//!\n//! ```\n//! What is code\n//! // Of a comment\n//! ```\n/// Who.\nfn f() {\n    // To do.\n    let what = 1; // What\n}\n";
        assert_eq!(lines(&rust_problems(code)), [5, 7, 9]);
    }
}

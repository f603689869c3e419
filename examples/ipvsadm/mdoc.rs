//! Reader of manual pages in the macros of `mdoc(7)`, for the tests that compare them with the programs.

/// Callable macros that the pages use.
const MACROS: [&str; 20] = [
    "Ar", "Bc", "Bo", "Cm", "Ev", "Fl", "Ic", "It", "Nm", "No", "Ns", "Oc", "Oo", "Op", "Pa", "Pc", "Po", "Ql", "Sy",
    "Xr",
];

/// Returns the lines of a section (`.Sh`) or subsection (`.Ss`), without its heading.
pub(crate) fn section<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let is_section = heading.starts_with(".Sh");
    let ends = |line: &str| line.starts_with(".Sh ") || (!is_section && line.starts_with(".Ss "));
    let mut lines = page.lines();
    assert!(lines.any(|line| line == heading), "{heading} is missing");
    lines.take_while(|line| !ends(line)).collect()
}

/// Returns the arguments of the macros of a line, each with its macro, without delimiters.
pub(crate) fn arguments(line: &str) -> Vec<(&str, String)> {
    let Some(line) = line.strip_prefix('.') else { return Vec::new() };
    let mut last = "";
    let mut arguments = Vec::new();
    for word in line.split_whitespace() {
        if MACROS.contains(&word) {
            last = word;
        } else if word == "-" || !word.chars().all(|c| ",.:;|()[]=/".contains(c)) {
            arguments.push((last, word.replace("\\&", "").replace("\\-", "-")));
        }
    }
    arguments
}

/// Returns the arguments of one macro in these lines.
pub(crate) fn arguments_of<'a>(lines: impl IntoIterator<Item = &'a str>, wanted: &str) -> Vec<String> {
    let all = lines.into_iter().flat_map(arguments);
    all.filter(|(name, _)| *name == wanted).map(|(_, argument)| argument).collect()
}

/// Returns the heads of the items of lists in these lines.
pub(crate) fn items<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    lines.iter().copied().filter(|line| line.starts_with(".It")).collect()
}

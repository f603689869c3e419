//! Messages of the compiler for mistakes that are easily made with this crate.
//!
//! Each file of `mistakes/` is a program with one mistake. Its lines `//~ TEXT` are parts of the message: the error code, and the
//! text that this crate decides about. All other text belongs to the compiler and changes with it. A file without such lines compiles,
//! without a warning.
#![expect(clippy::unwrap_used, reason = "in a test, a failed step is a failed test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Programs by name, with the expected parts of their messages.
fn mistakes(root: &Path) -> BTreeMap<String, Vec<String>> {
    let files = fs::read_dir(root.join("tests/messages/mistakes")).unwrap().map(|file| file.unwrap().path());
    files
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            let expected = text.lines().filter_map(|line| line.strip_prefix("//~ ")).map(str::to_owned).collect();
            (file.file_stem().unwrap().to_str().unwrap().to_owned(), expected)
        })
        .collect()
}

/// Writes a package that has each mistake as a program, and depends on this crate.
fn write_package(root: &Path, package: &Path, names: impl Iterator<Item = impl AsRef<str>>) {
    fs::create_dir_all(package).unwrap();
    let mut manifest = format!(
        "[package]\nname = \"mistakes\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nlvs = {{ path = {root:?} }}\n"
    );
    for name in names {
        let name = name.as_ref();
        let file = root.join(format!("tests/messages/mistakes/{name}.rs"));
        write!(manifest, "[[bin]]\nname = \"{name}\"\npath = {file:?}\n").unwrap();
    }
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // The same versions, which were fetched to build this test.
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
}

/// Returns all messages about each program.
fn check(package: &Path) -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet", "--keep-going", "--bins", "--message-format=json"])
        .arg("--target-dir")
        .arg(package.join("target"))
        .current_dir(package)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    let mut messages = BTreeMap::<_, String>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |place| line.pointer(place).and_then(Value::as_str);
        if let Some(name) = text("/target/name") {
            // A program that compiles has an artifact, and no message.
            messages.entry(name.to_owned()).or_default().push_str(text("/message/rendered").unwrap_or_default());
        }
    }
    assert!(messages.contains_key("lvs"), "{}", String::from_utf8_lossy(&output.stderr));
    messages
}

#[test]
fn the_compiler_names_the_correction_of_a_mistake() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages");
    let mistakes = mistakes(root);
    write_package(root, &package, mistakes.keys());
    let messages = check(&package);
    let mut wrong = String::new();
    for (name, expected) in &mistakes {
        let message = messages.get(name).unwrap_or_else(|| panic!("{name} was not compiled"));
        let missing: Vec<_> = expected.iter().filter(|part| !message.contains(part.as_str())).collect();
        if !missing.is_empty() || expected.is_empty() && !message.is_empty() {
            writeln!(wrong, "{name}: expected {missing:#?} in\n{message}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

//! The inputs of a fuzz target that are kept.

use std::fs;
use std::path::Path;

/// Gives every input in `fuzz/corpus` of this target to what is fuzzed.
pub(crate) fn each(target: &str, run: impl Fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        // The package of the registry has none.
        return;
    }
    let folder = fuzz.join("corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for file in files {
        let path = file.unwrap().path();
        #[expect(clippy::print_stdout, reason = "shown for a test that fails")]
        {
            println!("{}", path.display());
        }
        run(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

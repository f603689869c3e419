//! The programs' output where it cannot be written: to a full disk, to a reader that is gone.
#![cfg(feature = "host")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::process::{Command, Stdio};

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn gone() -> Stdio {
    let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let pipe = reader.stdin.take().unwrap();
    reader.wait().unwrap();
    pipe.into()
}

#[test]
fn lost_output_is_a_failure_and_no_panic() {
    let (xtask, guest) = (env!("CARGO_BIN_EXE_xtask"), env!("CARGO_BIN_EXE_guest"));
    for lost in [full, gone] {
        // The status of what goes to standard output, and of what goes to standard error.
        for (program, words, to_output, to_errors) in [
            (xtask, &["--help"][..], 1, 0),
            (xtask, &["help", "vm"], 1, 0),
            (xtask, &[], 2, 1),
            (xtask, &["nonsense"], 2, 1),
            (xtask, &["test", "--kernel", "nonsense"], 2, 2),
            (xtask, &["vm", "--file", "/no/such/file", "--", "true"], 2, 2),
            (guest, &[], 2, 2),
        ] {
            let status = |out: Stdio, errors: Stdio| {
                Command::new(program).args(words).stdout(out).stderr(errors).status().unwrap().code()
            };
            assert_eq!(status(lost(), Stdio::null()), Some(to_output), "{program} {words:?}");
            assert_eq!(status(Stdio::null(), lost()), Some(to_errors), "{program} {words:?}");
        }
    }
}

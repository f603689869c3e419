//! Tests on a real kernel.
use libtest_mimic::{Arguments, Completion, Trial};
use std::path::Path;

fn main() {
    let tests = vec![
        Trial::ignorable_test("ipvs::the_family_is_there", || {
            if Path::new("/proc/net/ip_vs").exists() {
                Ok(Completion::Completed)
            } else {
                Ok(Completion::ignored_with("this kernel has no IPVS"))
            }
        }),
        Trial::test("vip::nothing_yet", || Ok(())),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}

//! Tests on a real kernel. Each has a network namespace of its own, and nothing of the machine is touched.
//!
//! A requirement of a test may be missing: the IPVS module, a privilege, a program to compare with. Then the test is
//! reported as ignored, with the reason. `cargo xtask test` runs all tests where nothing is missing.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![expect(clippy::print_stdout, reason = "the harness shows the output of a test that fails, and figures")]

mod asynchronous;
mod cluster;
mod concurrency;
mod conntrack;
mod differential;
mod director;
mod errors;
mod examples;
mod failover;
mod forwarding;
mod ipset;
mod ipset_rs;
mod ipvs;
mod ipvsadm;
mod kernels;
mod kill;
mod lab;
mod long_run;
mod lost;
mod memory;
#[cfg(feature = "testing")]
mod model;
mod module;
mod names;
mod netns;
mod network;
mod peers;
mod persistence;
mod privilege;
mod procfs;
mod proxy_rules;
mod random;
mod read_back;
mod ready;
mod saved;
mod scale;
mod schedulers;
mod service_proxy;
mod settings;
mod traffic;
mod unchecked;
mod vip;
mod vip_traffic;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// It passes everything on to the system's until a test starts counting.
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() -> ExitCode {
    if let Some(exit) = lab::run_as_child() {
        return exit;
    }
    let mut arguments = Arguments::from_args();
    // Up to Linux 6.12 the services of all namespaces are in one table, and a list that is read while another test
    // changes that table may lack some.
    arguments.test_threads.get_or_insert(1);
    let tests = [
        asynchronous::tests(),
        concurrency::tests(),
        conntrack::tests(),
        differential::tests(),
        director::tests(),
        errors::tests(),
        examples::tests(),
        failover::tests(),
        forwarding::tests(),
        ipset::tests(),
        ipset_rs::tests(),
        ipvs::tests(),
        ipvsadm::tests(),
        kernels::tests(),
        kill::tests(),
        long_run::tests(),
        lost::tests(),
        memory::tests(),
        #[cfg(feature = "testing")]
        model::tests(),
        module::tests(),
        netns::tests(),
        persistence::tests(),
        privilege::tests(),
        procfs::tests(),
        proxy_rules::tests(),
        read_back::tests(),
        ready::tests(),
        scale::tests(),
        schedulers::tests(),
        service_proxy::tests(),
        settings::tests(),
        traffic::tests(),
        names::tests(),
        vip::tests(),
        vip_traffic::tests(),
    ];
    libtest_mimic::run(&arguments, tests.into_iter().flatten().collect()).exit_code()
}

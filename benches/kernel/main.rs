//! Measures this crate beside the kernel's own cost and beside the usual programs. `cargo xtask bench` runs it in a virtual
//! machine: it changes the machine's network and its sets, and does nothing when it is called otherwise.
//!
//! Everybody does the same work in the same run, by turns, and the results are the times alone: who compares them is
//! `xtask/src/bench.rs`. Where guest time is a count of instructions, so are they.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement that fails has no result"
)]
#![expect(clippy::print_stderr, reason = "likewise where nobody reads its progress")]

mod claims;
mod cold;
mod director;
mod firewall;
mod floor;
mod ours;
mod peers;
mod results;
mod services;
mod sets;
mod vips;

use std::process::Command;

use lvs::netns::Namespace;
use results::{Plan, Results};

type Work = fn(&Plan, &mut Results);

/// Works of `cargo xtask bench claims`.
const CLAIMS: [&str; 4] = ["short connections", "nftables", "kube-proxy", "refreshes"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` and `cargo test --all-targets` start it with other arguments, or none.
    let ["measure", to, size, rounds, wanted @ ..] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    else {
        return;
    };
    let mut results = Results::create(to, rounds.parse().unwrap());
    let plan = if *size == "quick" { Plan::QUICK } else { Plan::FULL };
    let works: [(&str, Work); 18] = [
        ("memory", firewall::memory),
        ("services", services::tables),
        ("datagrams", services::datagrams),
        ("inboxes", services::inboxes),
        ("programs", services::programs),
        ("table", services::lists),
        ("sets", sets::fill_and_list),
        ("set programs", sets::restore_and_list),
        ("vips", vips::bind),
        ("cold starts", cold::starts),
        ("director", director::director_and_parts),
        ("firewall", firewall::rules_of_all),
        ("connections", firewall::connections),
        ("destinations", services::destinations),
        ("nftables", claims::nftables),
        ("short connections", claims::short_connections),
        ("refreshes", claims::refreshes),
        ("kube-proxy", claims::replay),
    ];
    for (name, work) in works {
        // Those of the claims are measured on demand only.
        if wanted.contains(&name) || wanted.is_empty() && !CLAIMS.contains(&name) {
            eprintln!("{name}");
            in_a_namespace(|| work(&plan, &mut results));
        }
    }
}

/// Works in a network namespace of its own, in which addresses are local.
fn in_a_namespace(work: impl FnOnce() + Send) {
    let namespace = Namespace::create().unwrap();
    let inside = namespace.run(|| {
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        work();
    });
    inside.unwrap();
}

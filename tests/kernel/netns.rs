//! Clients in other namespaces.

use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use lvs::ipvs::{Ipvs, Scheduler, Service};
use lvs::netns::Namespace;

use crate::lab::{Lab, Need, address, tests};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[]; the_calling_thread_stays_where_it_is, a_path_that_is_no_namespace_cannot_be_entered,);
    all.extend(tests!(&[Need::Ipvs]; a_client_sees_the_table_of_its_namespace,));
    all
}

fn own() -> std::path::PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").unwrap()
}

fn the_calling_thread_stays_where_it_is(lab: &Lab) {
    let before = own();
    let inside = lab.run(own);
    assert_ne!(inside, before);
    assert_eq!(own(), before);
    let by_path = format!("/proc/self/fd/{}", lab.namespace().as_fd().as_raw_fd());
    assert_eq!(Namespace::open(by_path).unwrap().run(own).unwrap(), inside);
    assert_eq!(lab.run(Namespace::current).unwrap().run(own).unwrap(), inside);
    assert_eq!(Namespace::of_process(std::process::id()).unwrap().run(own).unwrap(), before);
    // Another process, inside; it ends with its input.
    let mut process = lab.run(|| Command::new("cat").stdin(Stdio::piped()).spawn()).unwrap();
    assert_eq!(Namespace::of_process(process.id()).unwrap().run(own).unwrap(), inside);
    drop(process.stdin.take());
    process.wait().unwrap();
    let descriptor = lab.namespace().as_fd().try_clone_to_owned().unwrap();
    assert_eq!(Namespace::from(descriptor).run(own).unwrap(), inside);
}

fn a_path_that_is_no_namespace_cannot_be_entered(_: &Lab) {
    let error = Namespace::open("/proc/self/status").unwrap().run(own).unwrap_err();
    assert_eq!(error.errno(), Some(22), "{error}");
    let error = Namespace::open("/nowhere").unwrap_err();
    assert!(error.to_string().starts_with("open network namespace /nowhere: "), "{error}");
}

fn a_client_sees_the_table_of_its_namespace(lab: &Lab) {
    let web = Service::tcp(address("10.96.0.10:443"), Scheduler::RR);
    lab.ipvs().add_service(web).unwrap();
    let other = Namespace::create().unwrap();
    assert!(other.run(Ipvs::connect).unwrap().unwrap().services().unwrap().is_empty());
    assert_eq!(lab.ipvs().services().unwrap().len(), 1);
}

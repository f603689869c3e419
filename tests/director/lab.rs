//! A director on the model kernel, and the objects of its tests.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lvs::director::{BatchError, Desired, Director, End, Owner, Plan, Report};
use lvs::ipset::SetName;
use lvs::ipvs::{Destination, Ipvs, Scheduler, Service};
use lvs::testing::{Fault, Kernel};
use lvs::vip::{Binder, Vips};

pub(crate) const ENOMEM: i32 = 12;
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn web() -> Service {
    Service::tcp("10.96.0.10:443".parse().unwrap(), Scheduler::WRR)
}

pub(crate) fn pod(number: u8) -> Destination {
    Destination::new(SocketAddr::from(([10, 244, 1, number], 6443)))
}

pub(crate) fn vip0() -> Binder {
    Binder::dummy("vip0").unwrap()
}

pub(crate) fn vip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) struct Lab {
    pub(crate) kernel: Kernel,
    pub(crate) director: Director,
    pub(crate) ipvs: Ipvs,
    pub(crate) vips: Vips,
    binder: Binder,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::of(Owner::registered("web").unwrap().sets("web-"))
    }

    pub(crate) fn of(owner: Owner) -> Self {
        Self::with(owner, vip0())
    }

    pub(crate) fn with(owner: Owner, binder: Binder) -> Self {
        let kernel = Kernel::new();
        let director = Director::over(kernel.ipvs().unwrap(), kernel.ipset(), kernel.vips(), owner, binder);
        let (ipvs, vips) = (kernel.ipvs().unwrap(), kernel.vips());
        Self { kernel, director, ipvs, vips, binder }
    }

    /// The plan of a director without drains.
    pub(crate) fn plan(&mut self, desired: &Desired) -> Plan {
        let snapshot = self.director.snapshot().unwrap();
        lvs::director::plan(desired, &snapshot, &Default::default(), Instant::now())
    }

    pub(crate) fn bound(&mut self) -> Vec<String> {
        self.vips.virtual_ips(&self.binder).unwrap().iter().map(ToString::to_string).collect()
    }

    pub(crate) fn members(&self, name: SetName) -> Vec<String> {
        let mut ipset = self.kernel.ipset();
        let set = ipset.header(name).unwrap();
        let mut members: Vec<_> = ipset.members(&set).unwrap().iter().map(ToString::to_string).collect();
        members.sort_unstable();
        members
    }

    /// The destinations of the service with their weights.
    pub(crate) fn weights(&mut self, service: Service) -> Vec<(u8, u32)> {
        let last = |address: SocketAddr| match address.ip() {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(_) => 0,
        };
        let found = self.ipvs.destinations(service).unwrap();
        let mut weights: Vec<_> = found.iter().map(|info| (last(info.address()), info.destination.weight)).collect();
        weights.sort_unstable();
        weights
    }
}

/// The texts of the steps that ended so.
pub(crate) fn texts(report: &Report, end: End) -> Vec<String> {
    report.steps().filter(|(_, ended)| *ended == end).map(|(step, _)| step.to_string()).collect()
}

/// Applies a plan with the first fault that makes this step fail, in a lab of its own for each attempt.
pub(crate) fn fail(step: &str, desired: &Desired, prepare: impl Fn() -> Lab) -> (Lab, BatchError) {
    for skip in 0.. {
        let mut lab = prepare();
        let plan = lab.plan(desired);
        assert!(plan.to_string().contains(step), "{plan}");
        lab.kernel.disturb(skip, Fault::Refused(ENOMEM));
        match lab.director.apply(plan) {
            Err(error) if error.failures.iter().any(|failure| failure.change.to_string() == step) => {
                return (lab, error);
            }
            _ => assert_eq!(lab.kernel.faults_left(), 0, "{step} is no request"),
        }
    }
    unreachable!()
}

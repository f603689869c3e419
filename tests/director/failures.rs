//! Steps that fail, that are withheld, and that another program overtakes.

use std::net::SocketAddr;

use lvs::director::{Conflict, Desired, Drain, End, Pace, Role};
use lvs::ipset::{HashIp, HashIpPort, ListMember, ListSet, Member, NewSet, ProtocolPorts};
use lvs::ipvs::{Scheduler, Service};
use lvs::testing::Fault;

use crate::lab::{ENOMEM, Lab, fail, pod, texts, vip, web};

/// So many IPv4 services, and one of IPv6.
fn services(number: u8) -> Desired {
    let mut desired = Desired::default();
    for number in 1..=number {
        let service = Service::tcp(SocketAddr::from(([10, 96, 1, number], 80)), Scheduler::RR);
        desired.service(service, [pod(7)]).unwrap();
    }
    let service = Service::tcp("[fd00:96::1]:80".parse().unwrap(), Scheduler::RR);
    desired.service(service, [lvs::ipvs::Destination::new("[fd00:244::7]:80".parse().unwrap())]).unwrap();
    desired
}

#[test]
fn a_service_that_fails_takes_only_its_own_virtual_ip_with_it() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    let odd = Scheduler::new("odd").unwrap();
    desired.service(web().scheduler(odd), [pod(7), pod(8)]).unwrap();
    desired.service(Service::tcp("10.96.0.11:80".parse().unwrap(), Scheduler::RR), [pod(7)]).unwrap();
    // One of two services of an address is enough for it.
    desired.service(Service::tcp("10.96.0.12:80".parse().unwrap(), Scheduler::RR), [pod(7)]).unwrap();
    desired.service(Service::tcp("10.96.0.12:443".parse().unwrap(), odd), [pod(7)]).unwrap();

    let error = lab.director.sync(&desired).unwrap_err();
    let failed: Vec<_> = error.failures.iter().map(|failure| failure.change.to_string()).collect();
    assert_eq!(failed, ["+ service 10.96.0.10:443/tcp odd", "+ service 10.96.0.12:443/tcp odd"]);
    assert_eq!(
        texts(&error.done, End::Withheld),
        [
            "+ destination 10.244.1.7:6443 masq weight 1 of service 10.96.0.10:443/tcp",
            "+ destination 10.244.1.8:6443 masq weight 1 of service 10.96.0.10:443/tcp",
            "+ destination 10.244.1.7:6443 masq weight 1 of service 10.96.0.12:443/tcp",
            "+ virtual IP 10.96.0.10 on vip0",
        ]
    );
    assert_eq!(lab.bound(), ["10.96.0.11", "10.96.0.12"]);
    let error = lvs::Error::from(error);
    assert!(error.to_string().contains("no scheduler odd"), "{error}");

    // Mended, it is all there.
    desired.service(web(), [pod(7)]).unwrap();
    desired.service(Service::tcp("10.96.0.12:443".parse().unwrap(), Scheduler::RR), [pod(7)]).unwrap();
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.bound().len(), 3);
}

#[test]
fn a_virtual_ip_that_another_interface_has_fails_alone() {
    let mut lab = Lab::new();
    lab.kernel.add_interface("eth0", [(vip("10.96.0.11"), 24)]);
    let mut desired = Desired::default();
    desired.service(web(), [pod(7)]).unwrap();
    desired.vip(vip("10.96.0.11"));
    let error = lab.director.sync(&desired).unwrap_err();
    assert_eq!(error.failures.len(), 1);
    assert!(error.failures[0].error.is_conflict());
    assert_eq!(lab.bound(), ["10.96.0.10"]);
}

#[test]
fn a_service_that_another_program_adds_first_stays_its_own() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7)]).unwrap();
    let plan = lab.plan(&desired);
    lab.ipvs.add_service(web()).unwrap();
    let report = lab.director.apply(plan).unwrap();
    assert_eq!(report.count(End::Overtaken), 1);
    assert_eq!(lab.weights(web()), []);
    // Its key was taken back.
    let report = lab.director.sync(&desired).unwrap();
    assert_eq!(report.conflicts, [Conflict::Foreign(web().key)]);
}

#[test]
fn what_another_program_deletes_comes_back() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7), pod(8)]).unwrap();
    lab.director.sync(&desired).unwrap();
    // The rolling audit sees it.
    lab.ipvs.delete_destination(web(), pod(8).address).unwrap();
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.weights(web()), [(7, 1), (8, 1)]);
    lab.ipvs.delete_service(web()).unwrap();
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.weights(web()), [(7, 1), (8, 1)]);
}

#[test]
fn the_last_destination_stays_if_its_successors_cannot_be_added() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7)]).unwrap();
    lab.director.sync(&desired).unwrap();
    desired.service(web(), [pod(8)]).unwrap();
    let plan = lab.plan(&desired);
    // The first request is the new destination.
    lab.kernel.disturb(0, Fault::Refused(ENOMEM));
    let error = lab.director.apply(plan).unwrap_err();
    assert_eq!(error.failures.len(), 1);
    assert_eq!(error.done.count(End::Withheld), 1);
    assert_eq!(lab.weights(web()), [(7, 1)]);
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.weights(web()), [(7, 0), (8, 1)]);
}

#[test]
fn keys_are_withheld_if_their_registry_set_cannot_be_created() {
    let mut lab = Lab::new();
    let desired = services(20);
    let plan = lab.plan(&desired);
    lab.kernel.disturb(0, Fault::Refused(ENOMEM));
    let error = lab.director.apply(plan).unwrap_err();
    assert!(error.interruption.is_none(), "{error}");
    let failed: Vec<_> = error.failures.iter().map(|failure| failure.change.to_string()).collect();
    assert_eq!(failed, ["+ set web-4 hash:ip,port family inet maxelem 1048576"]);
    // Key, service, destination and virtual IP of each.
    assert_eq!(error.done.count(End::Withheld), 4 * 20);
    assert_eq!(lab.bound(), ["fd00:96::1"]);
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.bound().len(), 21);
}

#[test]
fn keys_are_withheld_if_their_registry_set_is_full() {
    let mut lab = Lab::new();
    let small = NewSet::<HashIpPort>::ipv4().maxelem(2);
    lab.kernel.ipset().create("web-4".parse().unwrap(), &small).unwrap();
    let desired = services(20);
    let error = lab.director.sync(&desired).unwrap_err();
    let failed: Vec<_> = error.failures.iter().map(|failure| failure.change.to_string()).collect();
    assert_eq!(failed, ["+ key 10.96.1.3:80/tcp"]);
    assert_eq!(error.done.count(End::Withheld), 4 * 18 - 1);
    assert_eq!(lab.bound(), ["10.96.1.1", "10.96.1.2", "fd00:96::1"]);

    // A key that is deleted makes room for another one.
    let mut fewer = services(3);
    fewer.drain = Drain::NONE;
    fewer.remove_service(Service::tcp("10.96.1.1:80".parse().unwrap(), Scheduler::RR)).unwrap();
    lab.director.sync(&fewer).unwrap_err();
    lab.director.sync(&fewer).unwrap();
    assert_eq!(lab.bound(), ["10.96.1.2", "10.96.1.3", "fd00:96::1"]);
}

#[test]
fn a_virtual_ip_is_not_bound_if_the_set_of_its_guard_could_not_be_replaced() {
    let guard = "web-vips".parse().unwrap();
    let desired = |maxelem: u32| {
        let mut desired = Desired::default();
        desired.service(web(), [pod(7)]).unwrap();
        let new = NewSet::<HashIp>::ipv4().maxelem(maxelem);
        desired.set(guard, &new, [Member::new(vip("10.96.0.10"))]).unwrap().role = Role::Guard;
        desired
    };
    let prepare = || {
        let lab = Lab::new();
        lab.kernel.ipset().create(guard, &NewSet::<HashIp>::ipv4().maxelem(4)).unwrap();
        lab
    };
    let step = "~ set web-vips: replaced by hash:ip family inet maxelem 8 with 1 members";
    let (mut lab, error) = fail(step, &desired(8), prepare);
    assert_eq!(texts(&error.done, End::Withheld), ["+ virtual IP 10.96.0.10 on vip0"]);
    lab.director.sync(&desired(8)).unwrap();
    assert_eq!(lab.bound(), ["10.96.0.10"]);
}

#[test]
fn a_list_is_not_filled_with_a_set_that_could_not_be_created() {
    let mut desired = Desired::default();
    let [inner, list] = ["web-inner", "web-list"].map(|name| name.parse().unwrap());
    desired.set(inner, &NewSet::<HashIp>::ipv4(), [Member::new(vip("10.96.0.10"))]).unwrap();
    desired.set(list, &NewSet::<ListSet>::new(), [Member::new(ListMember::from(inner))]).unwrap();
    let (mut lab, error) = fail("+ set web-inner hash:ip family inet", &desired, Lab::new);
    let withheld = ["+ member 10.96.0.10 of set web-inner", "+ member web-inner of set web-list"];
    assert_eq!(texts(&error.done, End::Withheld), withheld);
    assert_eq!(error.failures.len(), 1);
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.members(list), ["web-inner"]);
}

#[test]
fn members_stay_if_their_service_could_not_be_deleted_or_their_virtual_ip_unbound() {
    let [allow, guard] = ["web-keys", "web-vips"].map(|name| name.parse().unwrap());
    let sets = |desired: &mut Desired, has: bool| {
        let key = has.then(|| Member::new((vip("10.96.0.10"), ProtocolPorts::tcp(443))));
        let vips = ["10.96.0.10", "10.96.0.20"].into_iter().filter(|_| has).map(|text| Member::new(vip(text)));
        desired.set(allow, &NewSet::<HashIpPort>::ipv4(), key).unwrap();
        desired.set(guard, &NewSet::<HashIp>::ipv4(), vips).unwrap().role = Role::Guard;
    };
    let prepare = || {
        let mut lab = Lab::new();
        let mut desired = Desired::default();
        desired.service(web(), [pod(7).weight(0)]).unwrap();
        desired.vip(vip("10.96.0.20"));
        sets(&mut desired, true);
        lab.director.sync(&desired).unwrap();
        lab
    };
    let mut nothing = Desired::default();
    sets(&mut nothing, false);
    let key = "- key 10.96.0.10:443/tcp".to_owned();
    let service = "- service 10.96.0.10:443/tcp".to_owned();
    let member = |text: &str| format!("- member {text}");
    let [first, second] = ["10.96.0.10 of set web-vips", "10.96.0.20 of set web-vips"].map(member);
    let of_allow = member("10.96.0.10,tcp:443 of set web-keys");
    for (failed, withheld) in [
        (&service, vec![key.clone(), first.clone(), of_allow.clone()]),
        (&"- virtual IP 10.96.0.10 on vip0".to_owned(), vec![service.clone(), key, first, of_allow]),
        (&"- virtual IP 10.96.0.20 on vip0".to_owned(), vec![second]),
    ] {
        let (mut lab, error) = fail(failed, &nothing, prepare);
        assert_eq!(texts(&error.done, End::Withheld), withheld, "{failed}");
        lab.director.sync(&nothing).unwrap();
        assert_eq!((lab.members(allow).len(), lab.members(guard).len()), (0, 0));
    }
}

/// A director that remembers a destination which another program deleted, and is to change it.
fn overtaken() -> (Lab, Desired) {
    let mut lab = Lab::new();
    lab.director = lab.director.pace(Pace::default().audited(0));
    let mut desired = Desired::default();
    desired.service(web(), [pod(7), pod(8)]).unwrap();
    lab.director.sync(&desired).unwrap();
    lab.ipvs.delete_destination(web(), pod(8).address).unwrap();
    desired.service(web(), [pod(7).weight(3), pod(8).weight(2)]).unwrap();
    (lab, desired)
}

const FIRST: [&str; 2] = [
    "~ destination 10.244.1.7:6443 of service 10.96.0.10:443/tcp: weight 1 -> 3",
    "~ destination 10.244.1.8:6443 of service 10.96.0.10:443/tcp: weight 1 -> 2",
];
const SECOND: &str = "+ destination 10.244.1.8:6443 masq weight 2 of service 10.96.0.10:443/tcp";

#[test]
fn the_steps_of_an_overtaken_plan_are_reported_with_those_of_the_next() {
    let (mut lab, desired) = overtaken();
    let report = lab.director.sync(&desired).unwrap();
    assert_eq!(texts(&report, End::Overtaken), [FIRST[1]]);
    assert_eq!(texts(&report, End::Done), [FIRST[0], SECOND]);
    assert_eq!(report.steps().len(), 3);
    assert_eq!(report.durations.len(), 2);

    // The director remembers the state that the second plan read.
    lab.kernel.sent();
    assert!(lab.director.sync(&desired).unwrap().is_empty());
    assert_eq!(lab.kernel.sent().queries, [""; 0]);
}

#[test]
fn an_error_after_an_overtaken_plan_has_its_steps() {
    let (mut of_reading, mut of_a_step) = (0, 0);
    for skip in 0.. {
        let (mut lab, desired) = overtaken();
        lab.kernel.disturb(skip, Fault::Refused(ENOMEM));
        let ended = lab.director.sync(&desired);
        if lab.kernel.faults_left() > 0 {
            break;
        }
        let Err(error) = ended else { continue };
        let steps: Vec<_> = error.done.steps().map(|(step, end)| (step.to_string(), end)).collect();
        let [first, second] = FIRST.map(str::to_owned);
        let overtaken = [(first, End::Done), (second, End::Overtaken)];
        match &steps[..] {
            // The first plan failed.
            steps if steps.len() == 2 && steps != overtaken => {}
            steps if steps == overtaken => of_reading += usize::from(error.interruption.is_some()),
            steps => {
                assert_eq!(steps, [&overtaken[..], &[(SECOND.to_owned(), End::Failed)]].concat());
                let failed: Vec<_> = error.failures.iter().map(|failure| failure.position()).collect();
                assert_eq!(failed, [Some(2)]);
                of_a_step += 1;
            }
        }
    }
    assert!(of_reading > 0);
    assert_eq!(of_a_step, 1);
}

#[test]
fn an_interrupted_plan_reports_the_sets_that_were_created() {
    let mut desired = Desired::default();
    let members = [Member::new(vip("10.96.0.10")), Member::new(vip("10.96.0.11"))];
    desired.set("web-vips".parse().unwrap(), &NewSet::<HashIp>::ipv4(), members).unwrap();
    let interrupted = |skip| {
        let mut lab = Lab::new();
        let plan = lab.plan(&desired);
        lab.kernel.disturb(skip, Fault::Lost);
        lab.director.apply(plan).err().filter(|error| error.interruption.is_some())
    };
    let mut done: Vec<_> = (0..9).filter_map(interrupted).map(|error| texts(&error.done, End::Done)).collect();
    done.dedup();
    // The lost answer to the set, and that to the members.
    assert_eq!(done, [vec![], vec!["+ set web-vips hash:ip family inet".to_owned()]]);
}

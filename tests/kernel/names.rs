//! Names are bytes: each place that takes or shows one, with bytes that are not UTF-8, beside the original programs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};

use libtest_mimic::Trial;
use lvs::Interface;
use lvs::ipset::{
    Addresses, AnyType, Comment, Entry, HashNet, HashNetIface, InterfaceMatch, InterfaceName, Kind, ListMember,
    ListSet, Listed, Member, NewSet, SetName,
};
use lvs::ipvs::{SyncDaemon, SyncState};
use lvs::netns::Namespace;

use crate::lab::{Lab, Need, tests};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipset(Kind::HashNetIface), Need::Ipset(Kind::ListSet)];
        sets_entries_and_comments_keep_their_bytes,
    );
    all.extend(tests!(&[Need::Ipset(Kind::HashNetIface), Need::Program("ipset"), Need::Program("ipset-rs")];
        ipset_rs_takes_and_shows_the_bytes_of_ipset,
    ));
    all.extend(tests!(&[Need::Ipvs, Need::Dummy]; daemons_keep_the_bytes_of_their_interface,));
    all.extend(tests!(&[Need::Ipvs, Need::Dummy, Need::Program("ipvsadm"), Need::Program("ipvsadm-rs")];
        ipvsadm_rs_takes_and_shows_the_bytes_of_ipvsadm,
    ));
    all
}

/// Names of at most 15 bytes that no text, no interface, or no file could have.
const ODD: [&[u8]; 6] = [b"caf\xe9", b"\xff\xfe", b"a b/\xc3", b"\x01\x7f\xe9", b"caf\xc3\xa9", b"\xf4\x8f\xbf\xa9"];

fn sets_entries_and_comments_keep_their_bytes(lab: &Lab) {
    let mut sets = lab.ipset();
    let list = sets.create(SetName::any(b"\xe9").unwrap(), &NewSet::<ListSet>::default()).unwrap();
    let options = NewSet::<HashNetIface>::ipv4().comment();
    let net = Addresses::from(std::net::Ipv4Addr::new(192, 0, 2, 1));
    for odd in ODD {
        let set = sets.create(SetName::any(odd).unwrap(), &options).unwrap();
        let mut member = Member::new((net, InterfaceMatch::new(InterfaceName::any(odd).unwrap())));
        member.comment = Some(Comment::any(odd).unwrap());
        sets.add(&set, &member).unwrap();
        assert!(sets.test(&set, &member).unwrap());
        sets.add(&list, &Member::new(ListMember::new(set.name()))).unwrap();
        assert_eq!(sets.header(set.name()).unwrap().name().as_bytes(), odd);
        assert_eq!(sets.set(set.name()).unwrap().set.name().as_bytes(), odd);
    }
    let expected: BTreeSet<_> = ODD.iter().copied().chain([&b"\xe9"[..]]).collect();
    let names = sets.names().unwrap();
    assert_eq!(names.iter().map(SetName::as_bytes).collect::<BTreeSet<_>>(), expected);
    let infos = sets.sets().unwrap();
    assert_eq!(infos.len(), expected.len());
    let listed: Vec<_> = sets.stream_contents(None).unwrap().map(Result::unwrap).collect();
    let mut seen = Vec::new();
    for item in &listed {
        let Listed::Member(member) = item else { continue };
        seen.push(match &member.entry {
            Entry::IpInterface(_, interface) => interface.name.as_bytes(),
            Entry::Set(member) => member.set.as_bytes(),
            other => panic!("{other:?}"),
        });
        if let Some(comment) = &member.comment {
            assert_eq!(Some(&comment.as_bytes()), seen.last());
        }
    }
    assert_eq!(seen.len(), 2 * ODD.len());
    assert!(ODD.iter().all(|odd| seen.iter().filter(|name| *name == odd).count() == 2), "{listed:?}");
    let [one, other] = [ODD[0], b"\xe8\xe9"].map(|name| SetName::any(name).unwrap());
    assert!(sets.rename(one, other).unwrap_err().is_in_use(), "it is in a list");
    sets.clear(list.name()).unwrap();
    sets.rename(one, other).unwrap();
    sets.destroy(other).unwrap();
    let again = sets.create(one, &NewSet::<HashNet>::ipv4()).unwrap();
    assert_eq!(sets.open::<AnyType>(one).unwrap().kind(), again.kind());
}

fn add_interface(namespace: &Namespace, name: &[u8]) {
    let ip = |words: &[&[u8]]| {
        let words: Vec<_> = words.iter().map(|word| OsStr::from_bytes(word)).collect();
        assert!(namespace.run(|| Command::new("ip").args(&words).status()).unwrap().unwrap().success(), "{words:?}");
    };
    ip(&[b"link", b"add", name, b"type", b"dummy"]);
    ip(&[b"link", b"set", name, b"up"]);
    ip(&[b"address", b"add", b"192.0.2.200/24", b"dev", name]);
    ip(&[b"link", b"property", b"add", b"dev", name, b"altname", b"\xe9:1"]);
}

/// Runs a script whose first argument is `name`.
fn shell(namespace: &Namespace, script: &str, name: &[u8]) -> Output {
    let name = OsStr::from_bytes(name);
    namespace.run(|| Command::new("sh").args(["-c", script, "sh"]).arg(name).output()).unwrap().unwrap()
}

fn daemons_keep_the_bytes_of_their_interface(lab: &Lab) {
    add_interface(lab.namespace(), b"caf\xe9");
    let mut ipvs = lab.ipvs();
    for name in [&b"caf\xe9"[..], b"\xe9:1"] {
        let daemon = SyncDaemon::new(SyncState::Backup, Interface::any(name).unwrap(), 7);
        ipvs.start_daemon(&daemon).unwrap();
        let daemons = ipvs.daemons().unwrap();
        assert_eq!(daemons.iter().map(|daemon| daemon.interface.as_bytes()).collect::<Vec<_>>(), [name]);
        ipvs.stop_daemon(SyncState::Backup).unwrap();
    }
    let unknown = SyncDaemon::new(SyncState::Backup, Interface::any(b"caf\xe8").unwrap(), 7);
    assert!(ipvs.start_daemon(&unknown).unwrap_err().is_not_found());
}

/// The same script with each program in a namespace and a folder of its own.
fn both(programs: [&str; 2], prepare: impl Fn(&Namespace), script: &str) -> [String; 2] {
    programs.map(|program| {
        let namespace = Namespace::create().unwrap();
        prepare(&namespace);
        let script = format!("cd \"$(mktemp -d)\" || exit 1; P={program}; exec 2>&1\n{script}\nls");
        let output = shell(&namespace, &script, b"");
        let text = output.stdout.escape_ascii().to_string().replace("\\n", "\n");
        // The versions differ, and newer kernels send the initial value of the hash.
        let text = text.replace("ipset v7.17", "ipset v7.24").replace("line 1: ", "");
        text.replace("Try `ipset", "Try `PROGRAM")
            .replace("ipset v", "PROGRAM v")
            .replace(program, "PROGRAM")
            .lines()
            .filter(|line| !line.contains("initval"))
            .collect::<Vec<_>>()
            .join("\n")
    })
}

fn ipset_rs_takes_and_shows_the_bytes_of_ipset(_: &Lab) {
    let script = r#"
        for n in "$(printf 'caf\351')" "$(printf '\377\376')" "$(printf 'a b\303')" "$(printf 'caf\303\251')" \
            "$(printf '\364\217\277\251')" "$(printf 'sixteen bytes \351\351')"
        do
            $P create "$n" hash:net,iface comment initval 0x1; echo $?
            $P add "$n" 192.0.2.0/24,"$n" comment "$n"; echo $?
            $P add "$n" 192.0.3.0/24,"physdev:$n"; echo $?
            $P test "$n" 192.0.2.0/24,"$n"; echo $?
            $P test "$n" 192.0.9.0/24,"$n"; echo $?
            $P add "$n" 192.0.2.0/24,"$n"; echo $?
            $P list "$n" -t; $P save "$n" > "$n.save"; $P save "$n" -f "$n.other"
            od -c "$n.save"; cmp "$n.save" "$n.other"; echo $?
            $P create lists list:set size 8 2>&1; $P add lists "$n"; $P test lists "$n"; $P test lists "$n",before,x
            $P list lists -t; $P save lists; $P list -n; $P destroy "$n"; $P flush lists
            $P rename "$n" "new$n"; $P swap "new$n" "$n"; $P destroy "new$n"; $P rename lists "$n"; $P rename "$n" lists; $P destroy
            $P restore -f "$n.save"; echo $?; $P restore < "$n.other"; echo $?; $P list | sort; $P list -n | sort; $P save | sort
            $P destroy; echo "create \"$n\" hash:ip" | $P restore; echo $?; $P save; $P destroy
            printf 'bad %s\n' "$n" | $P restore; echo $?; $P restore -f "no $n"; echo $?; $P list "no $n"; echo $?
            $P add x "$n"; $P create x hash:ip; $P add x "$n"; echo $?; $P create x hash:ip "$n"; $P create y "$n"; $P "$n"; $P destroy
        done"#;
    let [theirs, ours] = both(["ipset", "ipset-rs"], |_| (), script);
    assert!(theirs.contains("caf\\xe9") && theirs.lines().count() > 200, "{theirs}");
    differ(&theirs, &ours);
}

fn ipvsadm_rs_takes_and_shows_the_bytes_of_ipvsadm(_: &Lab) {
    let script = r#"
        for n in "$(printf 'caf\351')" "$(printf '\351:1')" "$(printf 'caf\303\251')" "$(printf 'x\240')" a/b "" . "$(printf '\351\351\351\351\351\351\351\351\351\351\351\351\351\351\351\351')"
        do
            $P --start-daemon master --mcast-interface "$n" --syncid 3; echo $?
            $P -l --daemon; echo $?; $P --stop-daemon master; echo $?
            $P -A -t 192.0.2.1:80 -s "$n"; echo $?; $P -A -f 1 -s rr --pe "$n"; echo $?; $P -Ln; $P -Sn; $P -C
            $P -A -t "$n":80; $P -A -f "$n"; $P "$n"; $P -A -f 1 -b "$n"; printf -- "-A -f 1 -s $n\n" | $P -R; echo $?
        done"#;
    let [theirs, ours] = both(["ipvsadm", "ipvsadm-rs"], |namespace| add_interface(namespace, b"caf\xe9"), script);
    assert!(theirs.contains("mcast=caf\\xe9") && theirs.lines().count() > 100, "{theirs}");
    differ(&theirs, &ours);
}

fn differ(theirs: &str, ours: &str) {
    let other: Vec<_> = theirs.lines().zip(ours.lines()).filter(|(theirs, ours)| theirs != ours).take(20).collect();
    assert!(theirs == ours, "{} and {} lines: {other:#?}", theirs.lines().count(), ours.lines().count());
}

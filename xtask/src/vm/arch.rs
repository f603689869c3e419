//! Architectures of the virtual machine. Everything that differs between them is named here.

/// An architecture, with its names in Rust, Debian and QEMU.
pub(crate) struct Arch {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// The host's own architecture: the guest gets the host's tools, and KVM may run it.
    pub(crate) native: bool,
    /// The name in Debian's archive.
    pub(crate) debian: &'static str,
    /// End of the names of Debian's kernels.
    pub(crate) flavour: &'static str,
    /// Folder of shared libraries, below `lib`.
    pub(crate) triplet: &'static str,
    /// Rust's name. Programs for it are linked statically, so that they run in the guest as they are.
    pub(crate) target: &'static str,
    /// Linker, if it is not the host's own.
    pub(crate) linker: Option<&'static str>,
    /// Programs of the host that building needs, and the Debian packages that have them.
    pub(crate) build_tools: &'static [(&'static str, &'static str)],
    /// Programs of the host that booting needs, likewise.
    pub(crate) boot_tools: &'static [(&'static str, &'static str)],
    pub(crate) emulator: &'static str,
    /// QEMU's name of the machine.
    pub(crate) machine: &'static str,
    /// QEMU's name of the emulated processor.
    pub(crate) processor: &'static str,
    /// Firmware in QEMU's folder that starts quicker than the default.
    pub(crate) firmware: Option<&'static str>,
    /// Device of the channels to the guest.
    pub(crate) channels: &'static str,
    /// Options that connect the console to the character device `serial`.
    pub(crate) serial: [&'static str; 2],
    /// The guest's name of the console.
    pub(crate) console: &'static str,
    /// Kernel options that make an emulated machine quick; none of them touches the network code. `norandmaps`: the
    /// emulator translates a program that is at the same addresses once, and otherwise at each start, which makes the
    /// original programs three times as slow.
    pub(crate) quick: &'static str,
}

impl Arch {
    /// Reads a name of the command line.
    pub(crate) fn parse(name: &str) -> Result<&'static Self, String> {
        let names = ARCHES.map(|arch| arch.name).join(", ");
        let found = ARCHES.into_iter().find(|arch| arch.name == name);
        found.ok_or_else(|| format!("no such architecture; known: {names}"))
    }
}

const ARCHES: [&Arch; 2] = [&X86_64, &S390X];

pub(crate) static X86_64: Arch = Arch {
    name: "x86_64",
    native: true,
    debian: "amd64",
    flavour: "-cloud-amd64",
    triplet: "x86_64-linux-gnu",
    target: "x86_64-unknown-linux-gnu",
    linker: None,
    build_tools: &[],
    boot_tools: &[
        ("busybox", "busybox-static"),
        ("ip", "iproute2"),
        ("ipset", "ipset"),
        ("iptables", "iptables"),
        ("ipvsadm", "ipvsadm"),
        ("qemu-system-x86_64", "qemu-system-x86"),
    ],
    emulator: "qemu-system-x86_64",
    machine: "q35",
    // `rdrand` because the guest would wait for random numbers without it.
    processor: "Nehalem,+rdrand,-spec-ctrl",
    firmware: Some("qboot.rom"),
    channels: "virtio-serial-pci",
    serial: ["-serial", "chardev:serial"],
    console: "ttyS0",
    quick: "nokaslr mitigations=off cryptomgr.notests initcall_blacklist=crypto_kdf108_init tsc=reliable no_timer_check \
            audit=0 selinux=0 apparmor=0 random.trust_cpu=on norandmaps",
};

/// The big-endian one.
pub(crate) static S390X: Arch = Arch {
    name: "s390x",
    native: false,
    debian: "s390x",
    flavour: "-s390x",
    triplet: "s390x-linux-gnu",
    target: "s390x-unknown-linux-gnu",
    linker: Some("s390x-linux-gnu-gcc"),
    build_tools: &[("s390x-linux-gnu-gcc", "gcc-s390x-linux-gnu libc6-dev-s390x-cross")],
    boot_tools: &[("busybox", "busybox-static"), ("qemu-system-s390x", "qemu-system-s390x")],
    emulator: "qemu-system-s390x",
    machine: "s390-ccw-virtio",
    // QEMU 7.2 gets the vector instruction for checksums wrong, and the kernel uses it: ICMP and IPv6 would fail.
    processor: "max,vx=off,vxeh=off,vxeh2=off",
    firmware: None,
    channels: "virtio-serial-ccw",
    serial: ["-device", "sclpconsole,chardev=serial"],
    console: "ttysclp0",
    quick: "nokaslr cryptomgr.notests audit=0 selinux=0 apparmor=0 random.trust_cpu=on norandmaps",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_found_by_name() {
        assert_eq!(Arch::parse("s390x").map(|arch| arch.debian), Ok("s390x"));
        assert_eq!(Arch::parse("x86_64").map(|arch| arch.debian), Ok("amd64"));
        assert_eq!(Arch::parse("amd64").err().as_deref(), Some("no such architecture; known: x86_64, s390x"));
    }

    #[test]
    fn the_emulator_and_the_linker_are_installed() {
        for arch in ARCHES {
            let has = |tools: &[(&str, &str)], name| tools.iter().any(|(program, _)| *program == name);
            assert!(has(arch.boot_tools, arch.emulator), "{}", arch.name);
            assert!(arch.linker.is_none_or(|linker| has(arch.build_tools, linker)), "{}", arch.name);
        }
    }
}

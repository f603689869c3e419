//! Bars that the figures must reach.
use super::figures::Figures;
use std::fmt;

/// Bar of a ratio.
#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// A ratio of two of those who do a work, at every size at which both did it.
struct Bar {
    what: &'static str,
    work: &'static str,
    /// The ratio of this one's cost...
    by: &'static str,
    /// ... to that one's.
    to: &'static str,
    limit: Limit,
    /// The smallest size at which it is asked for.
    from: u64,
}

const BARS: &[Bar] = &[
    Bar {
        what: "batched adds",
        work: "add services",
        by: "lvs, batched",
        to: "floor, batched",
        limit: Limit::AtMost(1.10),
        from: 0,
    },
    Bar {
        what: "adds one at a time",
        work: "add services",
        by: "lvs, one at a time",
        to: "floor, one at a time",
        limit: Limit::AtMost(1.05),
        from: 0,
    },
    Bar {
        what: "ipvsadm -R to batched adds",
        work: "add services (programs)",
        by: "ipvsadm -R",
        to: "lvs, batched",
        limit: Limit::AtLeast(12.0),
        from: 0,
    },
    Bar {
        what: "lists",
        work: "list services with 2 destinations",
        by: "lvs",
        to: "floor, services twice",
        limit: Limit::AtMost(1.15),
        from: 0,
    },
    Bar {
        what: "lists of one reading",
        work: "list 2 destinations",
        by: "lvs",
        to: "floor, inbox of 4 KiB",
        limit: Limit::AtMost(1.05),
        from: 0,
    },
    Bar {
        what: "ipvsadm-rs -Ln to ipvsadm -Ln",
        work: "list services with 2 destinations",
        by: "ipvsadm-rs -Ln",
        to: "ipvsadm -Ln",
        limit: Limit::AtMost(0.30),
        from: 0,
    },
    Bar {
        what: "ipvsadm-rs -R to ipvsadm -R",
        // Instructions of the kernel for an added service depend on the tables before.
        work: "update services (programs)",
        by: "ipvsadm-rs -R",
        to: "ipvsadm -R",
        limit: Limit::AtMost(0.07),
        from: 0,
    },
    Bar { what: "filling a set", work: "fill set", by: "lvs", to: "floor", limit: Limit::AtMost(1.15), from: 0 },
    Bar {
        what: "ipset restore to filling a set",
        work: "fill set",
        by: "ipset restore",
        to: "lvs",
        limit: Limit::AtLeast(15.0),
        from: 0,
    },
    Bar { what: "listing a set", work: "list set", by: "lvs", to: "floor", limit: Limit::AtMost(1.45), from: 0 },
    Bar { what: "binding virtual IPs", work: "bind VIPs", by: "lvs", to: "floor", limit: Limit::AtMost(1.10), from: 0 },
    Bar {
        what: "a cold list",
        work: "cold list",
        by: "ipvsadm-rs",
        to: "nothing",
        limit: Limit::AtMost(1.50),
        from: 0,
    },
    Bar {
        what: "ipvsadm to a cold list",
        work: "cold list",
        by: "ipvsadm",
        to: "ipvsadm-rs",
        limit: Limit::AtLeast(1.8),
        from: 0,
    },
    Bar { what: "a cold add", work: "cold add", by: "ipset-rs", to: "nothing", limit: Limit::AtMost(1.50), from: 0 },
    Bar {
        what: "ipset to a cold add",
        work: "cold add",
        by: "ipset",
        to: "ipset-rs",
        limit: Limit::AtLeast(1.8),
        from: 0,
    },
    Bar {
        what: "ipset-rs restore to filling a set that grows",
        work: "restore set",
        by: "ipset-rs restore",
        to: "lvs",
        limit: Limit::AtMost(1.95),
        from: 0,
    },
    Bar {
        what: "ipset-rs restore to ipset restore",
        work: "fill set",
        by: "ipset-rs restore",
        to: "ipset restore",
        limit: Limit::AtMost(0.10),
        from: 0,
    },
    Bar {
        what: "ipset-rs list to ipset list, of ports",
        work: "list ports",
        by: "ipset-rs list",
        to: "ipset list",
        limit: Limit::AtMost(0.06),
        from: 0,
    },
    Bar {
        what: "ipset-rs list to ipset list, of addresses",
        work: "list set",
        by: "ipset-rs list",
        to: "ipset list",
        limit: Limit::AtMost(0.26),
        from: 0,
    },
    Bar {
        what: "a director's first call",
        work: "first apply",
        by: "director",
        to: "batches",
        limit: Limit::AtMost(1.10),
        // In smaller tables the memory of the steps, which is new, is a larger part: docs/performance.md has the ratios.
        from: 20_000,
    },
    Bar {
        what: "a director that reads and finds nothing to do",
        work: "find nothing to do",
        by: "director, reading",
        to: "table",
        limit: Limit::AtMost(1.15),
        from: 0,
    },
    Bar { what: "planning", work: "find nothing to do", by: "plan", to: "table", limit: Limit::AtMost(0.10), from: 0 },
    Bar {
        what: "a director that remembers and finds nothing to do",
        work: "find nothing to do",
        by: "director, remembering",
        to: "director, reading",
        limit: Limit::AtMost(0.02),
        from: 0,
    },
];

/// How a bar stands at one size.
pub(crate) struct Standing {
    what: &'static str,
    size: u64,
    ratio: f64,
    limit: Limit,
    holds: bool,
    /// Ratio of the kernel alone, if it does not hold either.
    floor: Option<f64>,
}

impl Standing {
    /// Whether this crate is to blame.
    pub(crate) fn fails(&self) -> bool {
        !self.holds && self.floor.is_none()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, limit) = match self.limit {
            Limit::AtMost(limit) => ("at most", limit),
            Limit::AtLeast(limit) => ("at least", limit),
        };
        let verdict = if self.holds { "holds" } else { "DOES NOT HOLD" };
        write!(f, "bar: {} at {}: {:.3}, {word} {limit}: {verdict}", self.what, self.size, self.ratio)?;
        match self.floor {
            Some(floor) => write!(f, ", nor could it: the kernel alone comes to {floor:.3}"),
            None => Ok(()),
        }
    }
}

/// How all bars stand, where both were measured.
pub(crate) fn check(figures: &Figures) -> Vec<Standing> {
    let at = |bar: &Bar, size| {
        let of = |by| figures.instructions(bar.work, size, by);
        let ratio = of(bar.by)? / of(bar.to)?;
        let (holds, floor) = match bar.limit {
            Limit::AtMost(limit) => {
                // Two readings of the services, as the program makes.
                let floor = (bar.by == "ipvsadm-rs -Ln").then(|| of("floor, services twice")).flatten();
                let floor = floor.map(|floor| floor / of(bar.to).unwrap_or(f64::INFINITY));
                (ratio <= limit, floor.filter(|floor| *floor > limit))
            }
            Limit::AtLeast(limit) => {
                let by = bar.to.replace("lvs", "floor");
                let floor = figures.instructions(bar.work, size, &by).filter(|_| by != bar.to);
                let floor = floor.map(|floor| of(bar.by).unwrap_or_default() / floor);
                (ratio >= limit, floor.filter(|floor| *floor < limit))
            }
        };
        Some(Standing { what: bar.what, size, ratio, limit: bar.limit, holds, floor })
    };
    BARS.iter()
        .flat_map(|bar| {
            let sizes = figures.sizes(bar.work, bar.by).into_iter();
            sizes.filter(|size| *size >= bar.from).filter_map(move |size| at(bar, size))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::figures;
    use super::*;

    #[test]
    fn bars_are_named_with_their_size_and_ratio() {
        let figures = figures(&[
            ("add services", 1, "lvs, batched", 109),
            ("add services", 1, "floor, batched", 100),
            ("add services", 5, "lvs, batched", 120),
            ("add services", 5, "floor, batched", 100),
            ("add services", 9, "lvs, batched", 500),
            ("add services (programs)", 3, "floor, batched", 10),
            ("add services (programs)", 3, "lvs, batched", 11),
            ("add services (programs)", 3, "ipvsadm -R", 110),
            ("fill set", 7, "lvs", 10),
            ("fill set", 7, "ipset restore", 100),
            ("fill set", 9, "floor", 9),
            ("fill set", 9, "lvs", 10),
            ("fill set", 9, "ipset restore", 90),
        ]);
        let standings = check(&figures);
        assert_eq!(standings.iter().map(Standing::fails).collect::<Vec<_>>(), [false, true, false, false, true, false]);
        let lines: Vec<_> = standings.iter().map(ToString::to_string).collect();
        let expected = [
            "bar: batched adds at 1: 1.090, at most 1.1: holds",
            "bar: batched adds at 5: 1.200, at most 1.1: DOES NOT HOLD",
            "bar: ipvsadm -R to batched adds at 3: 10.000, at least 12: DOES NOT HOLD, nor could it: the kernel alone comes to \
             11.000",
            "bar: filling a set at 9: 1.111, at most 1.15: holds",
            "bar: ipset restore to filling a set at 7: 10.000, at least 15: DOES NOT HOLD",
            "bar: ipset restore to filling a set at 9: 9.000, at least 15: DOES NOT HOLD, nor could it: the kernel alone comes to \
             10.000",
        ];
        assert_eq!(lines, expected);
    }
}

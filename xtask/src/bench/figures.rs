//! The figures: read from two machines, joined, shown.
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fmt::Write;

/// One measurement on one machine: the time of each round of a work.
#[derive(Debug, PartialEq)]
struct Measurement {
    work: String,
    size: u64,
    by: String,
    count: u64,
    nanoseconds: Vec<u64>,
}

/// Figures of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// For one thing: instructions or nanoseconds.
    pub(crate) each: f64,
    /// How far the rounds are apart, as a part of the median.
    pub(crate) spread: f64,
}

/// Cost of one work for each program.
#[derive(Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) work: String,
    /// How large the table was.
    pub(crate) size: u64,
    pub(crate) by: String,
    pub(crate) instructions: Sample,
    pub(crate) time: Sample,
}

impl Figure {
    /// It is of bytes, the same in both machines.
    fn is_memory(&self) -> bool {
        self.work.starts_with("memory")
    }
}

pub(crate) struct Figures(pub(crate) Vec<Figure>);

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn sample(measurement: &Measurement) -> Result<Sample> {
    let mut sorted = measurement.nanoseconds.clone();
    sorted.sort_unstable();
    let (first, last) = (sorted.first().context("no rounds")?, sorted.last().context("no rounds")?);
    let median = sorted.get(sorted.len() / 2).copied().context("no rounds")?.max(1) as f64;
    Ok(Sample { each: median / measurement.count.max(1) as f64, spread: (last - first) as f64 / median })
}

fn parse(text: &str) -> Result<Vec<Measurement>> {
    text.lines().map(|line| measurement(line).with_context(|| format!("not a result: {line}"))).collect()
}

fn measurement(line: &str) -> Option<Measurement> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |name| value.get(name).and_then(Value::as_str).map(String::from);
    let number = |name| value.get(name).and_then(Value::as_u64);
    let rounds = value.get("nanoseconds")?.as_array()?.iter().map(Value::as_u64);
    Some(Measurement {
        work: text("work")?,
        size: number("size")?,
        by: text("by")?,
        count: number("count")?,
        nanoseconds: rounds.collect::<Option<_>>()?,
    })
}

impl Figures {
    /// Joins what a machine that counts instructions and one with real time said.
    pub(crate) fn join(instructions: &str, time: &str) -> Result<Self> {
        let (instructions, time) = (parse(instructions)?, parse(time)?);
        ensure!(instructions.len() == time.len(), "the two machines did not measure the same");
        let figures = instructions.into_iter().zip(&time).map(|(counted, timed)| {
            let same = (&counted.work, counted.size, &counted.by) == (&timed.work, timed.size, &timed.by);
            ensure!(same, "the two machines did not measure the same");
            let (instructions, time) = (sample(&counted)?, sample(timed)?);
            Ok(Figure { work: counted.work, size: counted.size, by: counted.by, instructions, time })
        });
        Ok(Self(figures.collect::<Result<_>>()?))
    }

    /// Returns the cost of a program's work at a size, in instructions.
    pub(crate) fn instructions(&self, work: &str, size: u64, by: &str) -> Option<f64> {
        let figure = self.0.iter().find(|figure| (&*figure.work, figure.size, &*figure.by) == (work, size, by))?;
        Some(figure.instructions.each)
    }

    /// Returns the sizes at which a work was measured.
    pub(crate) fn sizes(&self, work: &str, by: &str) -> Vec<u64> {
        self.0.iter().filter(|figure| figure.work == work && figure.by == by).map(|figure| figure.size).collect()
    }

    /// Returns the cost of a program's work at all sizes, in instructions.
    pub(crate) fn curve(&self, work: &str, by: &str) -> Vec<(u64, f64)> {
        let figures = self.0.iter().filter(|figure| figure.work == work && figure.by == by);
        figures.map(|figure| (figure.size, figure.instructions.each)).collect()
    }

    /// Returns the floor of a figure: that of its kind, if several exist.
    fn floor_of(&self, figure: &Figure) -> Option<f64> {
        let kind = figure.by.split_once(", ").map(|(_, kind)| format!("floor, {kind}"));
        let names = kind.iter().map(String::as_str).chain(["floor", "floor, one at a time"]);
        names.filter_map(|by| self.instructions(&figure.work, figure.size, by)).next()
    }

    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        let mut before = (String::new(), 0);
        for figure in &self.0 {
            if before != (figure.work.clone(), figure.size) {
                let _ = writeln!(table, "{}, {}:", figure.work, figure.size);
                let _ = if figure.is_memory() {
                    writeln!(table, "{:44} {:>14}", "", "bytes")
                } else {
                    writeln!(
                        table,
                        "{:44} {:>14} {:>8} {:>9} {:>14} {:>8}",
                        "", "instructions", "spread", "to floor", "time", "spread"
                    )
                };
                before = (figure.work.clone(), figure.size);
            }
            if figure.is_memory() {
                let _ = writeln!(table, "  {:42} {:>14.0}", figure.by, figure.instructions.each);
                continue;
            }
            let floor = self.floor_of(figure).map(|floor| format!("{:.3}", figure.instructions.each / floor));
            let (instructions, time) = (figure.instructions, figure.time);
            let _ = writeln!(
                table,
                "  {:42} {:>14.0} {:>7.2}% {:>9} {:>11.2} µs {:>7.0}%",
                figure.by,
                instructions.each,
                instructions.spread * 100.0,
                floor.unwrap_or_default(),
                time.each / 1000.0,
                time.spread * 100.0
            );
        }
        table
    }

    pub(crate) fn json(&self, release: &str, method: &str) -> Value {
        let figures = self.0.iter().map(|figure| {
            if figure.is_memory() {
                let bytes = rounded(figure.instructions.each);
                return json!({ "work": figure.work, "size": figure.size, "by": figure.by, "bytes": bytes });
            }
            json!({
                "work": figure.work,
                "size": figure.size,
                "by": figure.by,
                "instructions": rounded(figure.instructions.each),
                "instructions_spread": rounded(figure.instructions.spread),
                "nanoseconds": rounded(figure.time.each),
                "nanoseconds_spread": rounded(figure.time.spread),
                "to_floor": self.floor_of(figure).map(|floor| rounded(figure.instructions.each / floor)),
            })
        });
        json!({ "kernel": release, "method": method, "figures": figures.collect::<Vec<_>>() })
    }
}

/// Rounds a number to the precision of the rounds.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn figures(lines: &[(&str, u64, &str, u64)]) -> Figures {
        let text: String = lines
            .iter()
            .map(|(work, size, by, time)| {
                format!("{{\"work\":\"{work}\",\"size\":{size},\"by\":\"{by}\",\"count\":10,\"nanoseconds\":[{time},1,{time}0]}}\n")
            })
            .collect();
        Figures::join(&text, &text).unwrap()
    }

    #[test]
    fn a_figure_is_the_median_of_its_rounds_for_one_thing() {
        let figures = figures(&[("add", 5, "lvs", 2000)]);
        assert_eq!(figures.0[0].instructions, Sample { each: 200.0, spread: 9.9995 });
        assert_eq!(figures.instructions("add", 5, "lvs"), Some(200.0));
        assert_eq!(figures.instructions("add", 6, "lvs"), None);
    }

    #[test]
    fn each_way_has_its_own_floor() {
        let figures = figures(&[
            ("add", 5, "floor, batched", 100),
            ("add", 5, "floor, one at a time", 400),
            ("add", 5, "lvs, batched", 150),
            ("add", 5, "ipvsadm", 800),
        ]);
        let floors: Vec<_> = figures.0.iter().map(|figure| figures.floor_of(figure)).collect();
        assert_eq!(floors, [Some(10.0), Some(40.0), Some(10.0), Some(40.0)]);
    }

    #[test]
    fn a_missing_result_is_reported() {
        assert!(parse("{\"work\":\"add\"}").is_err());
        assert!(Figures::join("", "{\"work\":\"a\",\"size\":1,\"by\":\"b\",\"count\":1,\"nanoseconds\":[1]}").is_err());
    }
}

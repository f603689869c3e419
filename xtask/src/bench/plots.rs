//! The figures as pictures.
use super::figures::Figures;
use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (860, 480);
const COLOURS: [RGBColor; 8] = [
    RGBColor(120, 120, 120),
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(160, 110, 0),
    RGBColor(60, 60, 160),
];

/// A line of a plot: what it is called, whose, at what work.
type Line<'a> = (&'a str, &'a str, &'a str);

struct Plot<'a> {
    /// Kind of the figures: `bench` or `claims`.
    of: &'a str,
    name: &'a str,
    title: &'a str,
    x: &'a str,
    y: &'a str,
    lines: &'a [Line<'a>],
}

const PLOTS: [Plot<'_>; 5] = [
    Plot {
        of: "bench",
        name: "adding",
        title: "One more service in a table of N",
        x: "services in the table",
        y: "instructions for one service",
        lines: &[
            ("the kernel alone, batched (floor)", "add services", "floor, batched"),
            ("lvs, batched", "add services", "lvs, batched"),
            ("the kernel alone, one at a time (floor)", "add services", "floor, one at a time"),
            ("lvs, one at a time", "add services", "lvs, one at a time"),
            ("ipvsadm, a process for each command", "one more service", "ipvsadm"),
            ("iptables-nft-restore --noflush", "one more service", "iptables-nft-restore --noflush"),
            ("iptables-legacy-restore --noflush", "one more service", "iptables-legacy-restore --noflush"),
        ],
    },
    Plot {
        of: "bench",
        name: "all",
        title: "N services from nothing",
        x: "services",
        y: "instructions for one service",
        lines: &[
            ("lvs (a service and a destination)", "all services", "lvs"),
            ("iptables-nft-restore", "all services", "iptables-nft-restore"),
            ("iptables-legacy-restore", "all services", "iptables-legacy-restore"),
        ],
    },
    Plot {
        of: "bench",
        name: "connecting",
        title: "The first connection to a service, of N",
        x: "services",
        y: "instructions for connect()",
        lines: &[
            ("IPVS, first service", "first connection", "IPVS, first service"),
            ("IPVS, last service", "first connection", "IPVS, last service"),
            ("iptables-nft, first service", "first connection", "iptables-nft, first service"),
            ("iptables-nft, last service", "first connection", "iptables-nft, last service"),
            ("iptables-legacy, first service", "first connection", "iptables-legacy, first service"),
            ("iptables-legacy, last service", "first connection", "iptables-legacy, last service"),
        ],
    },
    Plot {
        of: "bench",
        name: "listing",
        title: "Listing N services",
        x: "services in the table",
        y: "instructions for one service",
        lines: &[
            ("the kernel alone (floor)", "list services", "floor"),
            ("lvs, streamed: read once", "list services", "lvs, streamed"),
            ("lvs: read twice, so that nothing is missing", "list services", "lvs"),
        ],
    },
    Plot {
        of: "claims",
        name: "short-connections",
        title: "A short connection to one of N services with 20 endpoints each",
        x: "services",
        y: "instructions for one connection",
        lines: &[
            ("IPVS", "short connection", "IPVS"),
            ("IPVS with the constant rules", "short connection", "IPVS with the constant rules"),
            ("iptables-nft", "short connection", "iptables-nft"),
            ("iptables-legacy", "short connection", "iptables-legacy"),
            ("nftables maps", "short connection", "nftables maps"),
        ],
    },
];

/// Draws the plots of one kind of figures, named after the kernel's line.
pub(super) fn draw(kind: &str, folder: &Path, line: &str, release: &str, figures: &Figures) -> Result<()> {
    for plot in PLOTS.iter().filter(|plot| plot.of == kind) {
        let file = folder.join(format!("{}-{line}.svg", plot.name));
        let area = SVGBackend::new(&file, SIZE).into_drawing_area();
        draw_plot(&area, plot, release, figures).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn draw_plot(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    plot: &Plot<'_>,
    release: &str,
    figures: &Figures,
) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "a picture")]
    let curve = |work, by| -> Vec<(f64, f64)> {
        figures.curve(work, by).into_iter().map(|(size, cost)| (size as f64, cost)).collect()
    };
    let curves: Vec<_> = plot
        .lines
        .iter()
        .map(|(label, work, by)| (*label, curve(work, by)))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let points = || curves.iter().flat_map(|(_, points)| points.iter().copied());
    let most = |values: &mut dyn Iterator<Item = f64>| values.reduce(f64::max).context("nothing to draw");
    let least = |values: &mut dyn Iterator<Item = f64>| values.reduce(f64::min).context("nothing to draw");
    if curves.is_empty() {
        return Ok(());
    }
    let right = most(&mut points().map(|(x, _)| x))?;
    let (low, high) = (least(&mut points().map(|(_, y)| y))?, most(&mut points().map(|(_, y)| y))?);

    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{} — Linux {release}", plot.title), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .margin_right(40)
        .build_cartesian_2d((1.0..right * 1.3).log_scale(), (low / 1.6..high * 1.6).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(plot.x)
        .y_desc(plot.y)
        .label_style(("sans-serif", 13))
        .x_label_formatter(&|x| grouped(*x))
        .y_label_formatter(&|y| grouped(*y))
        .draw()?;
    for ((label, points), colour) in curves.iter().zip(COLOURS) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(*label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 13))
        .draw()?;
    area.present()?;
    Ok(())
}

/// A whole number with a comma between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([1.0, 999.0, 1000.0, 1_234_567.0].map(grouped), ["1", "999", "1,000", "1,234,567"]);
    }
}

//! Draws the plots of the report as SVG.

use std::fmt::Display;

use anyhow::{Result, anyhow};
use piimg_tests::bench::{Bar, Line, Plot, Spread, Stack, seconds};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Okabe and Ito's colours, which people tell apart whatever they see, and two greys.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(240, 228, 66),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
    RGBColor(190, 190, 190),
];

const INK: RGBColor = RGBColor(40, 40, 40);
const FONT: &str = "sans-serif";
const WIDTH: u32 = 860;
/// Height of a row of bars, in pixels.
const ROW: u32 = 38;
/// Height of title, axis and margins together.
const FRAME: u32 = 100;
/// Width of the names beside bars.
const NAMES: u32 = 290;
/// Height of a line of the legend.
const LEGEND: u32 = 20;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'b, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Returns the plot as the text of an SVG file.
pub(crate) fn draw(plot: &Plot) -> Result<String> {
    let mut text = String::new();
    let rows = |count: usize| u32::try_from(count.max(1)).map(|count| count * ROW + FRAME);
    match plot {
        Plot::Bars { title, bars } => bars_plot(&area(&mut text, rows(bars.len())?)?, title, bars)?,
        Plot::Stacks { title, stacks } => {
            let legend = u32::try_from(names(stacks).len())? * LEGEND;
            stacks_plot(&area(&mut text, rows(stacks.len())? + legend)?, title, stacks, legend)?;
        }
        Plot::Lines { title, x, lines } => lines_plot(&area(&mut text, 420)?, title, x, lines)?,
    }
    // Generated, but a text file all the same.
    text.push('\n');
    Ok(text)
}

fn area(text: &mut String, height: u32) -> Result<Area<'_>> {
    let area = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    Ok(area)
}

/// Frees an error of plotters' from the backend, which it holds on to.
fn failed(error: impl Display) -> anyhow::Error {
    anyhow!("cannot draw a plot: {error}")
}

/// Returns what one second is on the axis, and what the axis is called.
fn scale(max: f64) -> (f64, &'static str) {
    match max {
        _ if max >= 1.0 => (1.0, "seconds"),
        _ if max >= 1e-3 => (1e3, "milliseconds"),
        _ => (1e6, "microseconds"),
    }
}

fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

fn tick(value: &f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6)
}

/// Makes a chart of `rows` rows with an axis of time below and the names of the rows to the left.
fn rows_chart<'a, 'b>(area: &'b Area<'a>, title: &str, names: &[&str], max: f64) -> Result<(Chart<'a, 'b>, f64)> {
    let (factor, unit) = scale(max);
    let rows = names.len() as f64;
    // Room for the number behind the longest bar.
    let end = if max > 0.0 { max * factor * 1.18 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(21))
        .margin(10)
        .x_label_area_size(42)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(0.0..end, rows..0.0)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .axis_style(RGBColor(150, 150, 150))
        .label_style(text(16))
        .x_desc(unit)
        .x_label_formatter(&tick)
        .draw()
        .map_err(failed)?;
    for (row, name) in names.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(0.0, row as f64 + 0.5));
        let style = text(16).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(name, &style, (x - 8, y)).map_err(failed)?;
    }
    Ok((chart, factor))
}

/// Writes a time behind the bar that ends at `end`.
fn number(area: &Area<'_>, chart: &Chart<'_, '_>, row: usize, end: f64, value: f64) -> Result<()> {
    let (x, y) = chart.backend_coord(&(end, row as f64 + 0.5));
    area.draw_text(&seconds(value), &text(15).pos(Pos::new(HPos::Left, VPos::Center)), (x + 6, y)).map_err(failed)
}

fn bars_plot(area: &Area<'_>, title: &str, bars: &[Bar]) -> Result<()> {
    let max = bars.iter().map(|bar| bar.spread.max).fold(0.0, f64::max);
    let names: Vec<&str> = bars.iter().map(|bar| bar.name.as_str()).collect();
    let (mut chart, factor) = rows_chart(area, title, &names, max)?;
    for (row, bar) in bars.iter().enumerate() {
        let Spread { min, median, max } = bar.spread;
        let y = row as f64;
        let body = Rectangle::new([(0.0, y + 0.2), (median * factor, y + 0.8)], COLOURS[0].filled());
        chart.draw_series([body]).map_err(failed)?;
        if min < max {
            let ends = [(min * factor, y + 0.5), (max * factor, y + 0.5)];
            chart.draw_series([PathElement::new(ends, INK.stroke_width(2))]).map_err(failed)?;
        }
        number(area, &chart, row, max * factor, median)?;
    }
    Ok(())
}

/// Lists all parts of all stacks, in the order in which they come.
fn names(stacks: &[Stack]) -> Vec<&str> {
    let mut names = Vec::new();
    for (name, _) in stacks.iter().flat_map(|stack| &stack.parts) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn stacks_plot(area: &Area<'_>, title: &str, stacks: &[Stack], legend: u32) -> Result<()> {
    let names = names(stacks);
    let colour = |name: &str| COLOURS[names.iter().position(|other| *other == name).unwrap_or(0) % COLOURS.len()];
    let (_, height) = area.dim_in_pixel();
    let (upper, lower) = area.split_vertically(height - legend);
    let sum = |stack: &Stack| stack.parts.iter().map(|(_, value)| value).sum::<f64>();
    let max = stacks.iter().map(sum).fold(0.0, f64::max);
    let rows: Vec<&str> = stacks.iter().map(|stack| stack.name.as_str()).collect();
    let (mut chart, factor) = rows_chart(&upper, title, &rows, max)?;
    for (row, stack) in stacks.iter().enumerate() {
        let (y, mut start) = (row as f64, 0.0);
        for (name, value) in &stack.parts {
            let end = start + value * factor;
            let part = Rectangle::new([(start, y + 0.2), (end, y + 0.8)], colour(name).filled());
            chart.draw_series([part]).map_err(failed)?;
            start = end;
        }
        number(&upper, &chart, row, start, sum(stack))?;
    }
    let left = i32::try_from(NAMES)? + 10;
    for (line, name) in names.iter().enumerate() {
        let y = i32::try_from(line)? * i32::try_from(LEGEND)?;
        let square = Rectangle::new([(left, y + 1), (left + 12, y + 13)], colour(name).filled());
        lower.draw(&square).map_err(failed)?;
        lower.draw_text(name, &text(16), (left + 20, y)).map_err(failed)?;
    }
    Ok(())
}

fn lines_plot(area: &Area<'_>, title: &str, x: &str, lines: &[Line]) -> Result<()> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (right, top) = points().fold((0.0, 0.0), |(x, y): (f64, f64), point| (x.max(point.0), y.max(point.1.max)));
    let (factor, unit) = scale(top);
    let end = |value: f64| if value > 0.0 { value * 1.08 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(21))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end(right), 0.0..end(top * factor))
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .axis_style(RGBColor(150, 150, 150))
        .label_style(text(16))
        .x_desc(x)
        .y_desc(unit)
        .x_label_formatter(&tick)
        .y_label_formatter(&tick)
        .draw()
        .map_err(failed)?;
    for (line, colour) in lines.iter().zip(COLOURS) {
        let medians = line.points.iter().map(|(x, spread)| (*x, spread.median * factor));
        chart
            .draw_series(LineSeries::new(medians.clone(), colour.stroke_width(2)))
            .map_err(failed)?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(medians.map(|point| Circle::new(point, 3, colour.filled()))).map_err(failed)?;
        let spread = |(x, spread): &(f64, Spread)| {
            PathElement::new([(*x, spread.min * factor), (*x, spread.max * factor)], colour.stroke_width(2))
        };
        chart.draw_series(line.points.iter().map(spread)).map_err(failed)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(text(16))
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(failed)
}

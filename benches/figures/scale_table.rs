//! Figures that depend on a size: kept as a table in `docs/plots/NAME.csv`, drawn beside it as `NAME.svg`.
//!
//! A row is a size, a column is what was measured at it. A run replaces the rows that it measures and leaves the others, so that
//! a long series may be measured in parts; each row has the day and the version. The drawing has colours that are read on a light
//! page and on a dark one, and no background of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use plotters::chart::SeriesLabelPosition;
use plotters::prelude::*;

/// Text and axes: legible on white and on near black.
const GREY: RGBColor = RGBColor(0x6e, 0x76, 0x81);
const COLOURS: [RGBColor; 3] =
    [RGBColor(0x2f, 0x81, 0xf7), RGBColor(0xd2, 0x6a, 0x1b), RGBColor(0x2d, 0x9a, 0x4b)];
/// A panel, in pixels, and the title above all of them.
const PANEL: (u32, u32) = (440, 290);
const TITLE: u32 = 60;

/// What was measured at each size.
pub struct Table {
    name: &'static str,
    /// What the size is of.
    of: &'static str,
    columns: &'static [&'static str],
    rows: BTreeMap<u64, Row>,
}

struct Row {
    values: Vec<Option<f64>>,
    /// The day and the version.
    measured: String,
}

/// One diagram among those of a table.
pub struct Panel {
    /// What its upright axis shows, with the unit.
    pub shows: &'static str,
    /// Columns, and what each line is called.
    pub lines: &'static [(&'static str, &'static str)],
    /// What must not be passed.
    pub limit: Option<f64>,
}

impl Table {
    /// The table with what earlier runs have measured.
    pub fn open(name: &'static str, of: &'static str, columns: &'static [&'static str]) -> Self {
        let mut table = Self { name, of, columns, rows: BTreeMap::new() };
        let text = std::fs::read_to_string(path(name, "csv")).unwrap_or_default();
        let mut lines = text.lines();
        // With other columns than today's it is begun again.
        if lines.next() == Some(table.header().as_str()) {
            table.rows.extend(lines.map(|line| {
                let mut cells = line.split(',');
                let size = cells.next().unwrap().parse().unwrap();
                let values = columns.iter().map(|_| cells.next().unwrap().parse().ok()).collect();
                (size, Row { values, measured: cells.next().unwrap().to_owned() })
            }));
        }
        table
    }

    fn header(&self) -> String {
        format!("{},{},measured", self.of, self.columns.join(","))
    }

    /// Forgets what earlier runs have measured at this size.
    pub fn clear(&mut self, size: u64) {
        self.rows.remove(&size);
    }

    /// Takes in what was measured at this size, and writes the table.
    pub fn put(&mut self, size: u64, measured: &[(&str, f64)]) {
        let columns = self.columns;
        let row = self
            .rows
            .entry(size)
            .or_insert_with(|| Row { values: vec![None; columns.len()], measured: String::new() });
        row.measured = format!("{} {}", today(), env!("CARGO_PKG_VERSION"));
        for (column, value) in measured {
            row.values[place(columns, column)] = Some(*value);
        }
        let lines = self.rows.iter().map(|(size, row)| {
            let cells: Vec<String> =
                row.values.iter().map(|value| value.map(cell).unwrap_or_default()).collect();
            format!("{size},{},{}\n", cells.join(","), row.measured)
        });
        let text = format!("{}\n{}", self.header(), lines.collect::<String>());
        let file = path(self.name, "csv");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// A column in words: `1,000: 0.61 s; 2,000: 1.20 s`.
    pub fn words(&self, column: &str, unit: &str, digits: usize) -> String {
        let column = place(self.columns, column);
        let said = self.rows.iter().filter_map(|(size, row)| {
            let value = row.values[column]?;
            Some(format!(
                "{}: {}{unit}",
                thousands(&size.to_string()),
                thousands(&format!("{value:.digits$}"))
            ))
        });
        said.collect::<Vec<_>>().join("; ")
    }

    /// Draws the panels, two beside each other.
    pub fn draw(&self, title: &str, panels: &[Panel]) {
        let lines = u32::try_from(panels.len().div_ceil(2)).unwrap();
        let size = (2 * PANEL.0, lines * PANEL.1 + TITLE);
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let (head, body) = root.split_vertically(TITLE);
            let last = self.rows.values().map(|row| &row.measured).max().cloned().unwrap_or_default();
            let (day, version) = last.split_once(' ').unwrap_or_default();
            let below =
                format!("bangui {version}, {day}; two cores, shared by load, workers, Redis and agents");
            head.draw(&Text::new(title.to_owned(), (12, 8), text(22))).unwrap();
            head.draw(&Text::new(below, (12, 34), text(16))).unwrap();
            for (area, panel) in body.split_evenly((usize::try_from(lines).unwrap(), 2)).iter().zip(panels) {
                self.draw_panel(area, panel);
            }
            root.present().unwrap();
        }
        let named = svg.replacen('>', &format!(" role=\"img\">\n<title>{title}</title>"), 1);
        std::fs::write(path(self.name, "svg"), named).unwrap();
    }

    fn draw_panel(&self, area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, panel: &Panel) {
        // The sizes grow by factors, so they stand at equal distances.
        let sizes: Vec<u64> = self.rows.keys().copied().collect();
        let last = i32::try_from(sizes.len()).unwrap() - 1;
        let points = |column: &str| -> Vec<(i32, f64)> {
            let values = self.rows.values().map(|row| row.values[place(self.columns, column)]);
            (0..).zip(values).filter_map(|(at, value)| Some((at, value?))).collect()
        };
        let most = panel.lines.iter().flat_map(|(column, _)| points(column)).map(|(_, value)| value);
        let most = most.chain(panel.limit).fold(f64::MIN_POSITIVE, f64::max);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(70)
            .build_cartesian_2d(0..last.max(1), 0.0..most * 1.4)
            .unwrap();
        let label = |at: &i32| {
            let size = usize::try_from(*at).ok().and_then(|at| sizes.get(at));
            size.map(|size| thousands(&size.to_string())).unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .axis_style(GREY)
            .bold_line_style(GREY.mix(0.3))
            .light_line_style(TRANSPARENT)
            .label_style(text(15))
            .axis_desc_style(text(16))
            .x_labels(sizes.len())
            .x_label_formatter(&label)
            .y_labels(6)
            .y_label_formatter(&|value| thousands(&cell(*value)))
            .x_desc(self.of)
            .y_desc(panel.shows)
            .draw()
            .unwrap();
        for ((column, name), colour) in panel.lines.iter().zip(COLOURS) {
            let line = LineSeries::new(points(column), colour.stroke_width(2)).point_size(3);
            let drawn = chart.draw_series(line).unwrap().label(*name);
            drawn.legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        if let Some(limit) = panel.limit {
            let line = DashedLineSeries::new([(0, limit), (last.max(1), limit)], 6, 4, GREY.stroke_width(1));
            chart.draw_series(line).unwrap();
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperLeft).label_font(text(15));
        legend.background_style(TRANSPARENT).border_style(TRANSPARENT).draw().unwrap();
    }
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&GREY)
}

fn place(columns: &[&str], column: &str) -> usize {
    columns.iter().position(|name| *name == column).unwrap_or_else(|| panic!("no column {column}"))
}

fn path(name: &str, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}/docs/plots/{name}.{ending}", env!("CARGO_MANIFEST_DIR")))
}

fn today() -> String {
    chrono::DateTime::<chrono::Utc>::from(SystemTime::now()).format("%Y-%m-%d").to_string()
}

/// As many digits as say something.
fn cell(value: f64) -> String {
    let digits = match value.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `1000.5` as `1,000.5`.
fn thousands(number: &str) -> String {
    let (whole, rest) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or_else(|| grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::app::App;
use super::data::Column;
use super::label::beginning;
use super::table::Grouping;
use super::totals::Totals;
use super::words::{
    HEADINGS, Span, WIDTHS, counts, length, numbers, subject, subject_heading, target, threads,
};

/// Lines above the table. On a low screen only the first of them is there.
const HEADER: u16 = 3;

/// A screen that is lower leaves out what is not the table.
const LOW: u16 = 9;

/// A screen that is narrower shows only the column that it is sorted by.
const NARROW: u16 = 60;

/// A row with this share of one thread's time is hot, and with that warm.
const HOT: f64 = 0.5;
const WARM: f64 = 0.1;

const FOOTER: [(&str, &str); 8] = [
    ("q", "quit"),
    ("1-4", "sort"),
    ("t", "lines"),
    ("i", "idle"),
    ("g", "GIL"),
    ("space", "pause"),
    ("r", "reset"),
    ("?", "help"),
];

const HELP: [(&str, &str); 19] = [
    (
        "%Own",
        "share of the last 2 s with this function innermost;",
    ),
    ("", "100 % is one thread all the time, so it may be more"),
    (
        "%Total",
        "… with it anywhere in the stack; recursion counts once",
    ),
    (
        "OwnTime",
        "time since the start with it innermost, over all threads",
    ),
    ("TotalTime", "… with it anywhere in the stack"),
    ("", ""),
    ("1 2 3 4", "sort by one of these columns"),
    (
        "t",
        "one row per function, at its hottest line, or one per line",
    ),
    ("i", "threads that wait too, or only those that run"),
    ("g", "only the thread that holds the GIL, or all"),
    ("arrows", "scroll; PageUp, PageDown, Home, End too"),
    ("space", "hold the picture still; sampling goes on"),
    ("r", "forget what there was"),
    ("?", "this help; again to leave it"),
    ("q, Ctrl-Z", "quit, and the last table stays; suspend"),
    ("", ""),
    ("lost", "a thread was due and its stack could not be read"),
    ("missed", "firefinch came too late for a tick"),
    ("own CPU", "what this profiler itself uses"),
];

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let is_low = area.height < LOW;
    let header = if is_low { 1 } else { HEADER };
    draw_header(buffer, area, app, header);
    let footer = u16::from(!is_low);
    let body = Rect {
        y: area.y + header.min(area.height),
        height: area.height.saturating_sub(header + footer),
        ..area
    };
    if app.shows_help {
        draw_help(buffer, body);
    } else {
        draw_table(buffer, body, app);
    }
    if footer > 0 && area.height > 0 {
        draw_footer(buffer, area, app);
    }
}

/// Writes a text into a line of an area, as much as fits; where it ends.
fn put(buffer: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    if x >= area.right() || y >= area.bottom() {
        return x;
    }
    let room = usize::from(area.right() - x);
    let (end, _) = buffer.set_stringn(x, y, beginning(text, room), room, style);
    end
}

fn draw_header(buffer: &mut Buffer, area: Rect, app: &App, lines: u16) {
    let data = app.shown();
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let plain = Style::new();
    let end = put(buffer, area, area.x, area.y, &target(data), bold);
    let mut rest = format!("  {}", length(data));
    if app.is_paused() {
        rest.push_str("  PAUSED");
    }
    put(buffer, area, end, area.y, &rest, plain);
    let more = [counts(data, Span::Recent), threads(data, Span::Recent)];
    for (y, text) in (1..lines).zip(more) {
        put(buffer, area, area.x, area.y + y, &text, plain);
    }
}

fn draw_table(buffer: &mut Buffer, area: Rect, app: &mut App) {
    if area.height == 0 {
        return;
    }
    draw_headings(buffer, area, app);
    let rows = app.rows();
    let room = usize::from(area.height - 1);
    let first = app.window(rows.len(), room);
    let data = app.shown();
    let totals = data.recent();
    if rows.is_empty() {
        let text = empty(app, &totals);
        put(buffer, area, area.x, area.y + 1, text, Style::new());
        return;
    }
    let shown = shown_columns(area, app);
    let numbers_width: usize = shown.iter().map(|at| WIDTHS[*at]).sum();
    let columns = usize::from(area.width).saturating_sub(numbers_width + 2);
    let style = app.label_style();
    let visible = rows.iter().skip(first).take(room);
    for (entry, y) in visible.zip(area.y + 1..) {
        let share = totals.share(entry.recent.own);
        let of_row = match entry.recent.total {
            0 => Style::new().add_modifier(Modifier::DIM),
            _ => Style::new(),
        };
        let of_share = match share {
            share if share >= HOT => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            share if share >= WARM => Style::new().fg(Color::Yellow),
            _ => of_row,
        };
        let numbers = numbers(entry, &totals, Span::Recent);
        let mut x = area.x;
        for at in shown {
            let style = if *at == 0 { of_share } else { of_row };
            x = put(buffer, area, x, y, &numbers[*at], style);
        }
        let subject = subject(data.names(), &style, entry, columns);
        put(buffer, area, x + 2, y, &subject, of_row);
    }
}

/// What stands where no rows are.
fn empty(app: &App, totals: &Totals) -> &'static str {
    match (app.whom.gil, app.whom.idle) {
        _ if totals.wall_ns == 0 => "  waiting for the first samples",
        (true, _) => "  no thread holds the GIL; g shows all threads",
        (false, false) => "  no thread runs; i shows those that wait",
        (false, true) => "  no thread has a stack to show",
    }
}

/// The column that it is sorted by, by its place among [`HEADINGS`].
fn sorted_column(app: &App) -> usize {
    match app.column {
        Column::OwnShare => 0,
        Column::TotalShare => 1,
        Column::OwnTime => 2,
        Column::TotalTime => 3,
    }
}

/// The columns that have room.
fn shown_columns(area: Rect, app: &App) -> &'static [usize] {
    const ALL: &[usize] = &[0, 1, 2, 3];
    match area.width < NARROW {
        true => ALL.get(sorted_column(app)..).map_or(ALL, |from| &from[..1]),
        false => ALL,
    }
}

fn draw_headings(buffer: &mut Buffer, area: Rect, app: &App) {
    let bar = Style::new().add_modifier(Modifier::REVERSED);
    buffer.set_style(Rect { height: 1, ..area }, bar);
    let sorted = sorted_column(app);
    let mut x = area.x;
    for at in shown_columns(area, app) {
        let (text, width) = (HEADINGS[*at], WIDTHS[*at]);
        let style = match *at == sorted {
            true => bar.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            false => bar,
        };
        let before = width - text.len();
        x = put(buffer, area, x, area.y, &" ".repeat(before), bar);
        x = put(buffer, area, x, area.y, text, style);
    }
    let subject = format!("  {}", subject_heading(app));
    put(buffer, area, x, area.y, &subject, bar);
}

fn draw_help(buffer: &mut Buffer, area: Rect) {
    for ((key, text), y) in HELP.iter().zip(area.y..area.bottom()) {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        put(buffer, area, area.x + 1, y, key, bold);
        put(buffer, area, area.x + 12, y, text, Style::new());
    }
}

fn draw_footer(buffer: &mut Buffer, area: Rect, app: &App) {
    let y = area.bottom() - 1;
    let mut x = area.x;
    for (key, text) in FOOTER {
        let on = match key {
            "t" => app.grouping == Grouping::Lines,
            "i" => app.whom.idle,
            "g" => app.whom.gil,
            "space" => app.is_paused(),
            "?" => app.shows_help,
            _ => false,
        };
        let bar = Style::new().add_modifier(Modifier::REVERSED);
        x = put(buffer, area, x, y, key, bar);
        let style = match on {
            true => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            false => Style::new(),
        };
        x = put(buffer, area, x + 1, y, text, style);
        x = put(buffer, area, x, y, "  ", Style::new());
    }
}

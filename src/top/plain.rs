use std::io::{self, Write};
use std::sync::mpsc::Receiver;

use ratatui::crossterm::terminal;

use super::app::App;
use super::data::{Column, RECENT};
use super::slice::Slice;
use super::words::{
    HEADINGS, Span, WIDTHS, counts, length, numbers, subject, subject_heading, target, threads,
};

/// How large a table of text is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    rows: usize,
    columns: usize,
}

/// That of one which nobody has to see at once.
pub(super) const ROOMY: Size = Size {
    rows: 20,
    columns: 200,
};

impl Size {
    /// That of one which a terminal shows at once, with what is said around it.
    pub(super) fn on_terminal() -> Self {
        const AROUND: u16 = 8;
        let Ok((columns, lines)) = terminal::size() else {
            return ROOMY;
        };
        Self {
            rows: ROOMY.rows.min(lines.saturating_sub(AROUND).max(1).into()),
            columns: columns.into(),
        }
    }
}

/// Writes a table each time all that is recent has come anew, for whoever has
/// no terminal.
pub(super) fn run(slices: &Receiver<Box<Slice>>, app: &mut App) -> io::Result<()> {
    let mut fresh = 0;
    for slice in slices {
        app.add(&slice);
        fresh += 1;
        if fresh == RECENT {
            fresh = 0;
            let mut out = io::stdout().lock();
            writeln!(out, "{}", table(app, Span::Recent, ROOMY))?;
            out.flush()?;
        }
    }
    Ok(())
}

/// The hottest rows as text, with shares of the last seconds or of all the time.
pub(super) fn table(app: &App, span: Span, size: Size) -> String {
    let data = app.data();
    let totals = match span {
        Span::Recent => data.recent(),
        Span::All => *data.all(),
    };
    let mut text = format!("{}: {}\n", target(data), length(data));
    text.push_str(&format!(
        "{}\n{}\n",
        counts(data, span),
        threads(data, span)
    ));
    let headings = HEADINGS.iter().zip(WIDTHS);
    let headings: String = headings.map(|(text, n)| format!("{text:>n$}")).collect();
    text.push_str(&format!("{headings}  {}\n", subject_heading(app)));
    let style = app.label_style();
    let column = match (span, app.column) {
        (Span::All, Column::OwnShare) => Column::OwnTime,
        (Span::All, Column::TotalShare) => Column::TotalTime,
        (_, column) => column,
    };
    for entry in data.rows(app.grouping, column).iter().take(size.rows) {
        let numbers = numbers(entry, &totals, span).concat();
        let columns = size.columns.saturating_sub(numbers.len() + 2);
        let subject = subject(data.names(), &style, entry, columns);
        text.push_str(&format!("{numbers}  {subject}\n"));
    }
    text
}

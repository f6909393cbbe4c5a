use std::collections::HashMap;
use std::sync::Arc;

use firefinch_report::{LineStyle, Style};
use firefinch_sampler::Whom;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::data::{Column, Data};
use super::slice::{Slice, Status};
use super::table::{Entry, Grouping};

/// The live view: what is known, and how it is looked at.
#[derive(Debug)]
pub(super) struct App {
    data: Data,
    /// What is shown while it is paused.
    frozen: Option<Data>,
    /// How frames are labelled, as asked for by arguments.
    style: Style,
    pub(super) column: Column,
    pub(super) grouping: Grouping,
    pub(super) whom: Whom,
    pub(super) shows_help: bool,
    /// The number of the first row that is shown.
    scroll: usize,
    /// How many rows were there, and how many had room, when they were drawn.
    drawn: (usize, usize),
}

/// What a key asks for beyond the view itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Nothing,
    Quit,
    /// To give the terminal back until the shell has it go on.
    Suspend,
}

impl App {
    pub(super) fn new(style: Style, whom: Whom) -> Self {
        Self {
            data: Data::since(Status::default()),
            frozen: None,
            style,
            column: Column::default(),
            grouping: Grouping::default(),
            whom,
            shows_help: false,
            scroll: 0,
            drawn: (0, 0),
        }
    }

    /// Takes in what was recorded, whatever is shown.
    pub(super) fn add(&mut self, slice: &Slice) {
        self.data.add(slice);
    }

    /// Gives functions names that have become known late.
    pub(super) fn rename_functions(&mut self, names: &HashMap<Arc<str>, Arc<str>>) {
        self.data.rename_functions(names);
    }

    /// What is shown.
    pub(super) fn shown(&self) -> &Data {
        self.frozen.as_ref().unwrap_or(&self.data)
    }

    /// What is known, shown or not.
    pub(super) fn data(&self) -> &Data {
        &self.data
    }

    pub(super) fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn rows(&self) -> Vec<Entry> {
        self.shown().rows(self.grouping, self.column)
    }

    /// How rows are labelled: a function stands at its hottest line unless
    /// arguments asked for something else.
    pub(super) fn label_style(&self) -> Style {
        let lines = match self.grouping {
            Grouping::Functions => self.style.lines,
            Grouping::Lines => LineStyle::Current,
        };
        Style {
            lines,
            ..self.style.clone()
        }
    }

    /// The first row to show, of so many, where so many have room.
    pub(super) fn window(&mut self, rows: usize, room: usize) -> usize {
        self.drawn = (rows, room);
        self.scroll = self.scroll.min(rows.saturating_sub(room));
        self.scroll
    }

    pub(super) fn press(&mut self, key: &KeyEvent) -> Request {
        if key.kind == KeyEventKind::Release {
            return Request::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return Request::Quit,
            KeyCode::Char('z') if control => return Request::Suspend,
            _ if control => {}
            KeyCode::Char('q' | 'Q') => return Request::Quit,
            KeyCode::Esc | KeyCode::Enter if self.shows_help => self.shows_help = false,
            KeyCode::Char('x' | 'X') => self.shows_help = false,
            KeyCode::Char('?' | 'h') => self.shows_help = !self.shows_help,
            KeyCode::Char('1') => self.column = Column::OwnShare,
            KeyCode::Char('2') => self.column = Column::TotalShare,
            KeyCode::Char('3') => self.column = Column::OwnTime,
            KeyCode::Char('4') => self.column = Column::TotalTime,
            KeyCode::Char('t' | 'T' | 'l' | 'L') => {
                self.grouping = match self.grouping {
                    Grouping::Functions => Grouping::Lines,
                    Grouping::Lines => Grouping::Functions,
                };
            }
            KeyCode::Char('i') => self.whom.idle = !self.whom.idle,
            KeyCode::Char('g') => self.whom.gil = !self.whom.gil,
            KeyCode::Char(' ') => {
                self.frozen = match self.frozen {
                    Some(_) => None,
                    None => Some(self.data.clone()),
                };
            }
            KeyCode::Char('r' | 'R') => {
                self.data = Data::since(self.data.status().clone());
                self.frozen = None;
            }
            code => self.scroll_by(code),
        }
        Request::Nothing
    }

    fn scroll_by(&mut self, code: KeyCode) {
        let (rows, room) = self.drawn;
        let page = room.saturating_sub(1).max(1);
        let to = match code {
            KeyCode::Up | KeyCode::Char('k') => self.scroll.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll.saturating_add(1),
            KeyCode::PageUp => self.scroll.saturating_sub(page),
            KeyCode::PageDown => self.scroll.saturating_add(page),
            KeyCode::Home => 0,
            KeyCode::End => rows,
            _ => self.scroll,
        };
        self.scroll = to.min(rows.saturating_sub(room));
    }
}

/// Which line of a function a label names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineStyle {
    /// The line that was executing: a function is split by its lines.
    #[default]
    Current,
    /// The function's first line: one label for each function.
    FunctionFirst,
    /// None: one label for each function and file.
    None,
}

/// How a report is to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Which line a label names.
    pub lines: LineStyle,
    /// Whether labels name files by their full path rather than the short one.
    pub full_filenames: bool,
    /// Whether each process is a root of its own even if there is only one; several
    /// always are.
    pub process_roots: bool,
    /// Whether each thread is a root of its own.
    pub thread_roots: bool,
    /// The title of a picture; that of the recording's target if there is none.
    pub title: Option<String>,
}

use serde_json::Value;

/// One frame as the target itself knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrueFrame {
    /// Qualified where the version knows how, else plain.
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) line: u64,
}

impl TrueFrame {
    fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Self {
            name: text("qualname").or_else(|| text("func")).unwrap(),
            file: text("file").unwrap(),
            line: value["line"].as_u64().unwrap(),
        }
    }
}

/// A stack of the truth, newest frame first, as `dump` shows it.
pub(crate) fn true_stack(value: &Value) -> Vec<TrueFrame> {
    let frames = value.as_array().expect("the truth has a stack");
    frames.iter().rev().map(TrueFrame::of).collect()
}

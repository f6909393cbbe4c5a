use std::time::{Duration, Instant};

use firefinch_cpython::FindError;
use firefinch_memory::ReadError;

use super::Target;
use crate::attach::find_in;
use crate::python::Python;

/// A list of threads that is older than this is not trusted.
const RELIST: Duration = Duration::from_secs(1);

/// Who is there: threads, and an interpreter that has come late.
impl Target {
    /// Brings the list of threads up to date. Cheap when nothing changed.
    ///
    /// # Errors
    /// [`ReadError`] if the interpreter cannot be read any more.
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        self.look_for_python();
        if let Some(until) = self.untidy_until {
            self.forget_threads();
            if Instant::now() >= until {
                self.untidy_until = None;
            }
        }
        let memory = &*self.memory;
        let python = self.python.as_ref();
        if python.is_some_and(|python| python.has_new_threads(memory)) || self.are_others_new() {
            self.list_threads()?;
        }
        if let Some(python) = &mut self.python {
            python.complete(&*self.memory, &mut self.threads);
        }
        Ok(())
    }

    fn list_threads(&mut self) -> Result<(), ReadError> {
        // Counted first: what comes meanwhile makes a difference next time. A
        // process that ends while it is listed has no threads to number.
        let count = self.process.thread_count().unwrap_or(0);
        let _ = self.threads.tids.refresh(&self.process);
        let mut found = match &mut self.python {
            Some(python) => python.threads(&*self.memory, &self.threads.tids)?,
            None => Vec::new(),
        };
        if self.untidy_until.is_some() {
            found.retain(|(_, tid)| tid.is_some());
        }
        let is_sure = self.listed.is_some();
        if self.is_native() {
            found.splice(0..0, self.threads.others(&self.process, &found));
        }
        let has_leftovers = self.python.as_ref().is_some_and(Python::has_leftovers);
        if self.is_native() || has_leftovers {
            self.listed = Some((count, Instant::now()));
        }
        if !is_sure || !self.threads.are(&found) {
            self.threads.set(&self.process, found);
            if let Some(python) = &mut self.python {
                python.follow(&*self.memory, &self.threads);
            }
        }
        if self.is_native() {
            // What Python has names for has them already, or gets them.
            self.threads.name(|_| None);
        }
        Ok(())
    }

    /// Whether threads that Python does not know may have come or gone, or a thread
    /// of a state that nobody seemed to run.
    fn are_others_new(&self) -> bool {
        let has_leftovers = self.python.as_ref().is_some_and(Python::has_leftovers);
        if !self.is_native() && !has_leftovers {
            return false;
        }
        let Some((count, when)) = self.listed else {
            return true;
        };
        // A name may be given late, and one thread may come as another goes.
        when.elapsed() >= RELIST || self.process.thread_count() != Ok(count)
    }

    /// Looks for an interpreter that may have come since there was none.
    fn look_for_python(&mut self) {
        if self.python.is_some() || !self.search.is_due() {
            return;
        }
        let Ok(mappings) = self.process.maps() else {
            return;
        };
        if !self.search.is_worthwhile(&mappings) {
            return;
        }
        let runtime = find_in(&self.process, &self.memory, &mappings);
        let expected = matches!(runtime, Err(FindError::NotReady(_)));
        self.search.failed(expected);
        let python = runtime.ok();
        self.python = python.and_then(|runtime| Python::new(&*self.memory, runtime).ok());
        if self.python.is_some() {
            // There was no reader yet or there is one: this cannot fail.
            let _ = self.prepare_native();
            self.forget_threads();
        }
    }

    /// Forgets the list of threads, so that the next refresh reads it anew.
    pub fn forget_threads(&mut self) {
        self.listed = None;
        if let Some(python) = &mut self.python {
            python.forget_threads();
        }
    }
}

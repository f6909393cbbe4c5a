use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use firefinch_report::grouped;
use firefinch_sampler::NativeSummary;
use firefinch_sampler::native::{Nameless, is_debug_file};
use indicatif::ProgressBar;
use tempfile::NamedTempFile;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::args::Beyond;
use crate::failure::{Failure, USAGE, printable};
use crate::progress::one_line;
use crate::signals::Stop;

/// Fetches debug information from the servers that the user has named, into the
/// cache that all clients of debuginfod share.
#[derive(Debug)]
pub(crate) struct Debuginfod {
    servers: Vec<String>,
    cache: PathBuf,
}

const SERVERS: &str = "DEBUGINFOD_URLS";

/// The largest file that is fetched: that of Chromium has some 2 GB, that of
/// libpython 20 MB.
const MAX_FILE: u64 = 4 << 30;

/// How long a server may take to answer: it may have to unpack a package first.
const ANSWER: Duration = Duration::from_secs(60);
/// … to be reached.
const CONNECT: Duration = Duration::from_secs(10);
/// … to send all of a file.
const BODY: Duration = Duration::from_secs(600);
/// How long it may send nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// Between two looks at whether the user has lost patience.
const SLICE: Duration = Duration::from_millis(100);

/// What the thread that fetches tells.
enum Told {
    Bytes(u64),
    Done(Result<(), String>),
}

impl Debuginfod {
    /// The client, if it was asked for.
    ///
    /// # Errors
    /// No server or no cache is named.
    pub(crate) fn of(beyond: &Beyond) -> Result<Option<Self>, Failure> {
        if !beyond.debuginfod {
            return Ok(None);
        }
        let urls = std::env::var(SERVERS).unwrap_or_default();
        let words = urls.split_whitespace();
        // Other words than addresses are about signatures, which files in the
        // clear need not have.
        let is_server = |word: &&str| word.starts_with("http://") || word.starts_with("https://");
        let servers: Vec<String> = words.filter(is_server).map(str::to_owned).collect();
        if servers.is_empty() {
            return Err(Failure::new(
                "no server to fetch debug information from",
                format!("{SERVERS} names none; sudo drops it unless it is told to keep it"),
                format!("{SERVERS}=https://debuginfod.elfutils.org, or that of your distribution"),
            )
            .with_code(USAGE));
        }
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let cache = firefinch_sampler::native::debuginfod_cache(variable);
        let cache = cache.ok_or_else(|| {
            Failure::new(
                "no place to keep debug information in",
                "none of DEBUGINFOD_CACHE_PATH, XDG_CACHE_HOME and HOME is set",
                "DEBUGINFOD_CACHE_PATH=/tmp/debuginfod, or any directory",
            )
            .with_code(USAGE)
        })?;
        Ok(Some(Self { servers, cache }))
    }

    /// Fetches what is missing of these objects, and says how that went; how
    /// many could be had. The user may end it.
    pub(crate) fn fetch(&self, summary: Option<NativeSummary>, stop: &Stop) -> usize {
        let objects = summary.map(|summary| summary.without_symbols);
        let objects = objects.unwrap_or_default();
        let agent = agent();
        let mut fetched = 0;
        for object in &objects {
            if stop.is_asked() {
                eprintln!("firefinch: fetching debug information was ended");
                break;
            }
            let name = printable(&object.name);
            let begun = Instant::now();
            match self.fetch_one(&agent, object, stop) {
                Ok(bytes) => {
                    fetched += 1;
                    eprintln!(
                        "fetched debug information of {name}: {} KB in {:.1} s",
                        grouped(bytes.div_ceil(1024)),
                        begun.elapsed().as_secs_f64(),
                    );
                }
                Err(why) => {
                    let why = printable(&why);
                    eprintln!("firefinch: no debug information of {name}: {why}");
                }
            }
        }
        fetched
    }

    /// From the first server that has it; how long it is in bytes.
    fn fetch_one(
        &self,
        agent: &ureq::Agent,
        object: &Nameless,
        stop: &Stop,
    ) -> Result<u64, String> {
        let mut why = "no server".to_owned();
        for server in &self.servers {
            match self.fetch_from(agent, server, object, stop) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => why = format!("{server}: {error}"),
            }
            if stop.is_asked() {
                break;
            }
        }
        Err(why)
    }

    fn fetch_from(
        &self,
        agent: &ureq::Agent,
        server: &str,
        object: &Nameless,
        stop: &Stop,
    ) -> Result<u64, String> {
        let directory = self.cache.join(&object.build_id);
        fs::create_dir_all(&directory).map_err(|error| cannot_write(&directory, &error))?;
        let fetched = Self::fetch_into(&directory, agent, server, object, stop);
        if fetched.is_err() {
            // Only if nothing is in it.
            let _ = fs::remove_dir(&directory);
        }
        fetched
    }

    fn fetch_into(
        directory: &Path,
        agent: &ureq::Agent,
        server: &str,
        object: &Nameless,
        stop: &Stop,
    ) -> Result<u64, String> {
        // Removed unless it becomes what was asked for.
        let file = NamedTempFile::new_in(directory);
        let file = file.map_err(|error| cannot_write(directory, &error))?;
        let url = url(server, &object.build_id);
        let into = file.reopen().map_err(|error| error.to_string())?;
        let (sender, told) = mpsc::channel();
        let agent = agent.clone();
        // A server may be silent for long: the user is not to wait for that.
        thread::spawn(move || {
            let done = transfer(&agent, &url, into, |bytes| {
                sender.send(Told::Bytes(bytes)).is_ok()
            });
            let _ = sender.send(Told::Done(done));
        });
        let line = Line::new(&object.name, server);
        let mut bytes = 0;
        loop {
            match told.recv_timeout(SLICE) {
                Ok(Told::Bytes(more)) => bytes += more,
                Ok(Told::Done(done)) => break done?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("it failed".to_owned()),
            }
            if stop.is_asked() {
                return Err("ended".to_owned());
            }
            line.update(bytes);
        }
        if !is_debug_file(file.as_file(), &object.build_id) {
            return Err("what came is not what was asked for".to_owned());
        }
        let place = directory.join("debuginfo");
        file.persist(&place)
            .map_err(|error| cannot_write(&place, &error.error))?;
        Ok(bytes)
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// debuginfod(8): `/buildid/BUILDID/debuginfo`.
fn url(server: &str, build_id: &str) -> String {
    format!(
        "{}/buildid/{build_id}/debuginfo",
        server.trim_end_matches('/')
    )
}

fn agent() -> ureq::Agent {
    // The system's certificates, as every other client here has them.
    let found = rustls_native_certs::load_native_certs().certs;
    let certificates: Vec<_> = found
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&certificates))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .user_agent(concat!("firefinch/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(ANSWER))
        .timeout_recv_body(Some(BODY))
        .timeout_per_read(Some(SILENCE.max(ANSWER)))
        .build();
    config.into()
}

/// Fetches a file; ends when `progress`, which is told how many bytes have come, says so.
fn transfer(
    agent: &ureq::Agent,
    url: &str,
    mut into: fs::File,
    progress: impl Fn(u64) -> bool,
) -> Result<(), String> {
    let response = agent.get(url).call().map_err(|error| error.to_string())?;
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let count = body.read(&mut buffer).map_err(|error| error.to_string())?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        total += bytes.len() as u64;
        if total > MAX_FILE {
            return Err("the file is too large".to_owned());
        }
        into.write_all(bytes).map_err(|error| error.to_string())?;
        if !progress(bytes.len() as u64) {
            return Err("nobody waits for it any more".to_owned());
        }
    }
}

/// One line on the terminal that says how far it is.
struct Line {
    bar: ProgressBar,
    what: String,
}

impl Line {
    fn new(name: &str, server: &str) -> Self {
        Self {
            bar: one_line(),
            what: printable(&format!("debug information of {name} from {server}")),
        }
    }

    fn update(&self, bytes: u64) {
        let so_far = grouped(bytes / 1024);
        self.bar.set_message(format!("{}: {so_far} KB", self.what));
        self.bar.tick();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address is that of debuginfod's protocol, whatever the server's ends with.
    #[test]
    fn addresses() {
        for server in ["https://example.org", "https://example.org/"] {
            assert_eq!(
                url(server, "c0ffee"),
                "https://example.org/buildid/c0ffee/debuginfo"
            );
        }
    }
}

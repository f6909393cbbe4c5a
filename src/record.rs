use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use firefinch_process::Pid;
use firefinch_profile::Profile;
use firefinch_report::{Format, Style, why_empty, write};
use firefinch_sampler::{End, Options, Recorder, Target, own_cpu_time};

use crate::args::{RecordArgs, shown, stacks};
use crate::debuginfod::Debuginfod;
use crate::end::{ended_early, say_end};
use crate::failure::{Failure, NOTHING, no_thread};
use crate::family::family;
use crate::launch::Launched;
use crate::limits::raise_open_files;
use crate::output::Output;
use crate::program::title;
use crate::progress::ProgressLine;
use crate::quality::quality;
use crate::signals::Stop;
use crate::summary::summary;
use crate::wait::attach;

/// A name like the default one, to find out whether that can be written.
const PROBE: &str = "firefinch-PID-TIME.svg";

/// Samples a process into a file.
pub(crate) fn run(args: &RecordArgs, verbose: bool) -> Result<ExitCode, Failure> {
    let format = format(args)?;
    let debuginfod = Debuginfod::of(&args.beyond)?;
    let stop = Stop::listen()
        .map_err(|error| Failure::new("cannot listen for signals", error, "report this"))?;
    match args.process.pid() {
        Some(pid) => {
            let path = args
                .output
                .clone()
                .unwrap_or_else(|| default_name(pid, format));
            let output = Output::open(&path)?;
            raise_open_files();
            let begun = Instant::now();
            let target = attach(pid, stacks(args.beyond.native(&args.frames)), Some(&stop));
            let target = target.map_err(|error| Failure::attach(pid, &error))?;
            let job = Job {
                args,
                path: &path,
                format,
                stop,
                verbose,
                begun,
                debuginfod,
            };
            job.record(target, output)
        }
        None => launch(args, format, stop, verbose, debuginfod),
    }
}

/// Starts a command, samples it, and passes on its exit status.
fn launch(
    args: &RecordArgs,
    format: Format,
    stop: Stop,
    verbose: bool,
    debuginfod: Option<Debuginfod>,
) -> Result<ExitCode, Failure> {
    // The name needs the PID, but the place must be known to be writable first.
    let early = match &args.output {
        Some(path) => Some(Output::open(path)?),
        None => {
            Output::open(Path::new(PROBE))?;
            None
        }
    };
    let mut launched = Launched::start(&args.process.program)?;
    raise_open_files();
    let Some(pid) = launched.pid() else {
        return Ok(launched.wait());
    };
    let path = args
        .output
        .clone()
        .unwrap_or_else(|| default_name(pid, format));
    let begun = Instant::now();
    let output = early.map_or_else(|| Output::open(&path), Ok);
    let ready = output.and_then(|output| {
        let stacks = stacks(args.beyond.native(&args.frames));
        Ok((launched.attach(pid, stacks, &stop)?, output))
    });
    let (target, output) = match ready {
        Ok(ready) => ready,
        Err(failure) => {
            failure.report();
            stop.only_wait();
            launched.wait();
            return Ok(ExitCode::FAILURE);
        }
    };
    let job = Job {
        args,
        path: &path,
        format,
        stop,
        verbose,
        begun,
        debuginfod,
    };
    let code = job.record(target, output);
    let failed = match &code {
        Ok(code) => *code != ExitCode::SUCCESS,
        Err(_) => true,
    };
    job.stop.only_wait();
    if launched.is_running() {
        eprintln!("firefinch: the command (PID {pid}) runs on; waiting for its end");
    }
    let status = launched.wait();
    if failed { code } else { Ok(status) }
}

/// Everything a recording needs besides its target.
struct Job<'a> {
    args: &'a RecordArgs,
    path: &'a Path,
    format: Format,
    stop: Stop,
    verbose: bool,
    begun: Instant,
    debuginfod: Option<Debuginfod>,
}

impl Job<'_> {
    fn record(&self, mut target: Target, output: Output) -> Result<ExitCode, Failure> {
        let mut style = Style {
            process_roots: self.args.family.subprocesses,
            thread_roots: self.args.threads,
            ..self.args.labels.style()
        };
        let attached = self.begun.elapsed();
        let options = Options {
            rate: self.args.sampling.rate,
            jitter: self.args.sampling.jitter(),
            duration: self.args.limit(),
            mode: self.args.sampling.mode(),
            whom: self.args.sampling.whom(),
            manner: self.args.sampling.manner(),
        };
        target.show(shown(self.args.frames.native));
        target.show_kernel(self.args.beyond.kernel);
        target.keep_addresses(self.debuginfod.is_some());
        let pid = target.process().pid();
        let mut recorder =
            Recorder::new(target, title, options).map_err(|error| Failure::access(&error))?;
        if self.args.family.subprocesses {
            recorder = recorder
                .with_descendants(self.debuginfod.is_some())
                .map_err(no_thread)?;
        }
        let mut line = ProgressLine::new();
        let cpu = own_cpu_time();
        let end = recorder.run(&mut |progress| {
            line.update(progress.tick.time, progress.profile(), &style);
            if self.stop.is_asked() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        line.clear();
        if self.args.process.pid().is_none() && recorder.sums().looks == 0 && end == End::Exited {
            let evidence = "it was gone at the first tick";
            return Err(ended_early(pid, evidence));
        }
        if self.verbose {
            self.explain(&recorder, attached);
        }
        let mut profile = recorder.take_profile();
        if let Some(client) = &self.debuginfod {
            self.stop.renew();
            client.fetch(recorder.native_summary(), &self.stop);
            // Even if nothing came: frames of one function are one then.
            recorder.name_again().tell(&mut profile);
        }
        profile.meta.profiler_cpu_ns =
            u64::try_from(own_cpu_time().saturating_sub(cpu).as_nanos()).unwrap_or(0);
        say_end(end, pid, self.args.family.subprocesses);
        if self.args.family.subprocesses {
            style.title = Some(format!("{} and its descendants", profile.meta.target));
        }
        let mut said = summary(&profile, &style);
        let census = recorder.census().map(|census| family(&census));
        let native = recorder.native_summary();
        let native = native.map(|native| quality(&native, recorder.target().process()));
        for more in census.into_iter().chain(native) {
            said.push('\n');
            said.push_str(&more);
        }
        self.finish(&profile, &style, &said, output)
    }

    fn finish(
        &self,
        profile: &Profile,
        style: &Style,
        said: &str,
        output: Output,
    ) -> Result<ExitCode, Failure> {
        let mut bytes = Vec::new();
        write(profile, self.format, style, &mut bytes)
            .map_err(|error| Failure::new("cannot make the report", error, "report this"))?;
        output.write(&bytes)?;
        eprintln!("{said}");
        if self.path.as_os_str() != "-" {
            eprintln!("wrote {}", self.path.display());
        }
        match why_empty(profile) {
            Some(why) => Err(Failure::new(
                "nothing was sampled",
                why,
                "firefinch dump shows what its threads do; -i samples waiting threads too",
            )
            .with_code(NOTHING)),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    fn explain(&self, recorder: &Recorder, attached: Duration) {
        let target = recorder.target();
        let memory = target.memory();
        let sums = recorder.sums();
        let (cost, looks, reuse) = (sums.memory, sums.watch, sums.reuse);
        let python = target.runtime().map_or("no Python".to_owned(), |runtime| {
            format!(
                "Python {} ({:?}) at {}, found by {}",
                runtime.version,
                runtime.layout().build(),
                runtime.location(),
                runtime.found_by,
            )
        });
        eprintln!(
            "{python}; memory by {:?} and {:?}",
            memory.method(),
            memory.scattered_method(),
        );
        let first = recorder
            .first_sample()
            .map_or("never".to_owned(), |first| milliseconds(attached + first));
        eprintln!(
            "attached in {}, first sample after {first}; followed {} execs",
            milliseconds(attached),
            recorder.execs(),
        );
        let per_sample = match recorder.sample_count() {
            0 => String::new(),
            samples => {
                let calls = (cost.calls + looks.calls) as f64 / samples as f64;
                format!("{calls:.1} calls a sample: ")
            }
        };
        eprintln!(
            "{per_sample}{} reads of {} bytes of memory, {} looks at threads; \
             as before: {} of stacks, {} of frames; {} looks waited for a stack, {} for a call to be seen again; \
             {} code objects decoded; slowest tick {}",
            cost.calls,
            cost.bytes,
            looks.calls,
            percentage(reuse.same_stacks, reuse.stacks),
            percentage(reuse.same_frames, reuse.frames),
            reuse.deferred,
            reuse.unproved,
            sums.decoded,
            milliseconds(recorder.slowest_tick()),
        );
    }
}

fn percentage(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

fn format(args: &RecordArgs) -> Result<Format, Failure> {
    if let Some(format) = args.format {
        return Ok(format);
    }
    let Some(path) = &args.output else {
        return Ok(Format::Flamegraph);
    };
    if path.as_os_str() == "-" {
        return Ok(Format::Flamegraph);
    }
    match (Format::from_path(path), path.extension()) {
        (Some(format), _) => Ok(format),
        (None, None) => Ok(Format::Flamegraph),
        (None, Some(extension)) => Err(Failure::new(
            format!("cannot tell the format of {}", path.display()),
            format!("no format has the extension .{}", extension.display()),
            "-f flamegraph or -f raw; by extension: .svg, or .txt, .folded, .collapsed",
        )
        .with_code(2)),
    }
}

fn default_name(pid: Pid, format: Format) -> PathBuf {
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    // No colons: they are not welcome in file names everywhere.
    let time = time.replace(':', "-");
    let extension = format.extension();
    PathBuf::from(format!("firefinch-{pid}-{time}.{extension}"))
}

//! What the user sees: data on stdout, everything else on stderr, progress while work runs.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, IsTerminal, Write},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use freehold_core::events::{Event, Listener, StepOutcome};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{failure::told, pace::Pace};

/// The progress that is shown, if any.
static SHOWN: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Why data did not arrive.
static LOST: OnceLock<String> = OnceLock::new();

/// Writes a line to stdout: data. A closed pipe is the reader's wish, not an error; any other is
/// told by [`lost`].
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            LOST.get_or_init(|| error.to_string());
        }
        _ => {}
    }
}

/// Returns why not all data was written, where it was not.
pub(crate) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Writes a line to stderr: everything else.
pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Does something at the terminal while no progress is drawn there. Work goes on: who draws meanwhile
/// draws nothing, and waits for nobody.
pub(crate) fn in_peace<T>(act: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().expect("no holder panics").clone();
    let Some(bars) = shown else { return act() };
    drop(bars.clear());
    bars.set_draw_target(ProgressDrawTarget::hidden());
    let done = act();
    bars.set_draw_target(ProgressDrawTarget::stderr());
    done
}

/// Returns a number of things in words: `1 host`, `2 hosts`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Aligns columns, with a head; those named are numbers, and stand to the right. Readable without colour and
/// at 80 columns.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    numbers: &[usize],
) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if numbers.contains(&column) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Starts the log on stderr: warnings, or more with `-v`.
pub(crate) fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "freehold_core=debug,freehold_dns=debug,freehold_discovery=debug,info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::new(level);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.without_time().with_target(verbose > 0).with_ansi(std::io::stderr().is_terminal()).init();
}

/// How often a step that moves bytes is told of where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(5);

/// One line per host being read and per running step: on a terminal with elapsed time, bytes, rate and
/// time left, elsewhere a plain line now and then and when it ends.
#[derive(Debug)]
pub(crate) struct Screen {
    bars: MultiProgress,
    live: bool,
    running: Mutex<BTreeMap<Key, Running>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Host(String),
    Step(usize),
}

#[derive(Debug)]
struct Running {
    bar: ProgressBar,
    words: String,
    since: Instant,
    pace: Pace,
    /// When a plain line was written.
    told: Instant,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        if live {
            *SHOWN.lock().expect("no holder panics") = Some(bars.clone());
        }
        Self { bars, live, running: Mutex::default() }
    }

    fn begin(&self, key: Key, words: String) {
        let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}")
            .expect("the template is ours");
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
        bar.set_message(words.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        let (since, pace) = (Instant::now(), Pace::default());
        let running = Running { bar, words, since, pace, told: since };
        self.running.lock().expect("no holder panics").insert(key, running);
    }

    fn progress(&self, key: &Key, done: u64, total: Option<u64>) {
        let mut running = self.running.lock().expect("no holder panics");
        let Some(running) = running.get_mut(key) else { return };
        let now = Instant::now();
        running.pace.note(now, done);
        let words = || format!("{}  {}", running.words, running.pace.words(total));
        if self.live {
            running.bar.set_message(words());
        } else if now - running.told >= INTERVAL {
            say(&words());
            running.told = now;
        }
    }

    fn end(&self, key: &Key) -> Option<(String, Duration)> {
        let running = self.running.lock().expect("no holder panics").remove(key)?;
        running.bar.finish_and_clear();
        self.bars.remove(&running.bar);
        Some((running.words, running.since.elapsed()))
    }

    fn line(&self, text: &str) {
        self.bars.suspend(|| say(text));
    }

    fn step_ended(&self, step: usize, outcome: StepOutcome) {
        let ended = self.end(&Key::Step(step));
        match (outcome, ended) {
            (StepOutcome::Failed { causes, hint }, Some((words, _))) => {
                self.line(&format!("{words}: failed"));
                self.line(&told(&causes, hint.as_deref()));
            }
            (StepOutcome::Done, Some((words, spent))) if !self.live => {
                self.line(&format!("{words}: done, {:.1} s", spent.as_secs_f64()));
            }
            _ => {}
        }
    }
}

impl Listener for Screen {
    fn on(&self, event: Event) {
        match event {
            Event::Observing { host } => {
                self.begin(Key::Host(host.to_string()), format!("{host}: reading"));
            }
            Event::Observed { host } => drop(self.end(&Key::Host(host.to_string()))),
            Event::StepStarted { step, host, what } => {
                let words = match host {
                    Some(host) => format!("{host}: {what}"),
                    None => what,
                };
                self.begin(Key::Step(step), words);
            }
            Event::StepProgress { step, done, total } => {
                self.progress(&Key::Step(step), done, total);
            }
            Event::StepEnded { step, outcome } => self.step_ended(step, outcome),
            Event::Held { object, text, hint, .. } => {
                let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                self.line(&format!("held back: {object}: {text}{hint}"));
            }
            Event::RunEnded { .. } => {}
        }
    }
}

/// What a run that changes things writes: for people, or one JSON object a line.
#[derive(Debug)]
pub(crate) struct Output {
    /// `None` writes JSON.
    screen: Option<Screen>,
}

impl Output {
    pub(crate) fn of(json: bool) -> Self {
        Self { screen: (!json).then(Screen::new) }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.screen.is_none()
    }

    /// Says something on stderr, above whatever progress is shown.
    pub(crate) fn say(&self, text: &str) {
        match &self.screen {
            Some(screen) => screen.line(text),
            None => say(text),
        }
    }

    /// Writes how the run ended to stdout.
    pub(crate) fn ended(&self, ended: Event) {
        if self.is_json() {
            self.on(ended);
            return;
        }
        let Event::RunEnded { done, failed, skipped, pending, .. } = ended else { return };
        let mut words = vec![format!("{done} steps done")];
        let counts = [(failed, "failed"), (skipped, "left out")];
        let counted = counts.iter().filter(|(count, _)| *count > 0);
        words.extend(counted.map(|(count, what)| format!("{count} {what}")));
        words.extend(pending.iter().map(|plugin| format!("{plugin} pending")));
        data(&words.join(", "));
    }
}

impl Listener for Output {
    fn on(&self, event: Event) {
        match &self.screen {
            Some(screen) => screen.on(event),
            None => data(&serde_json::to_string(&event).expect("an event is plain JSON")),
        }
    }
}

//! Log lines: made by any thread, written to standard error, or to systemd's journal, by one.
//!
//! ```text
//! any thread --try_send--> bounded queue --> log thread --> stderr, journal
//!                 |                              |
//!                 `----------- lost -------------'   counted, and said once writing works again
//! ```
//!
//! Invariant (contract s8.9): no failure to write a line panics, blocks or changes anything else. A line is
//! lost when the queue is full (the reader of a pipe has stopped) or cannot be written (the reader has
//! gone, the disk is full). In the daemon nothing else writes to standard error: what a panic says
//! and what a command prints go the same way.

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use serde_json::json;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Level, Log, LogFormat};
use crate::daemon::journald::Journald;
use crate::diagnostic::Colour;

/// Starts logging for the daemon: lines go to a thread of their own, and panics become lines.
pub fn start(log: Log, colour: Colour) {
    let Some(queue) = writer(log.format) else {
        return start_direct(log, colour);
    };
    let _ = QUEUE.set(queue.clone());
    let _ = FORMAT.set(log.format);
    std::panic::set_hook(Box::new(panicked));
    subscribe(log, colour, move || Line(queue.clone()));
}

/// Starts logging for a command: each line is written where it is made.
pub fn start_direct(log: Log, colour: Colour) {
    subscribe(log, colour, || Direct);
}

/// Takes another level from now on; `false` when logging was not started.
pub fn set_level(level: Level) -> bool {
    LEVEL.get().is_some_and(|set| set(level))
}

/// Lines that could not be written since the start.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Hands text over to the log thread, as it is; `false` when there is none.
pub fn hand_over(text: &str) -> bool {
    let Some(queue) = QUEUE.get() else {
        return false;
    };
    put(queue, format!("{}\n", text.trim_end()).into_bytes());
    true
}

/// Waits until the lines so far are written, for a moment: a reader that has stopped is not waited for.
pub fn finish() {
    let Some(queue) = QUEUE.get() else { return };
    let (done, written) = sync_channel(1);
    if queue.try_send(Message::Finish(done)).is_ok() {
        // Neither answer changes what happens next.
        let _ = written.recv_timeout(FINISH);
    }
}

/// Appends the metrics of logging.
pub fn write_metrics(out: &mut String) {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "# HELP {METRIC} Log lines that could not be written\n# TYPE {METRIC} counter\n\
         {METRIC}_total {}",
        lost()
    );
}

fn subscribe<M, W>(log: Log, colour: Colour, make: M)
where
    M: Fn() -> W + Send + Sync + 'static,
    W: Write + 'static,
{
    let filter = |level: Level| EnvFilter::new(level.as_str());
    // The type of the lines differs with their form, and the handle's with it.
    macro_rules! begin {
        ($lines:expr) => {{
            let lines = $lines
                .with_env_filter(filter(log.level))
                .with_filter_reloading();
            let handle = lines.reload_handle();
            // A second start of logging in one process is a test's; the first one stays.
            if lines.try_init().is_ok() {
                let set = move |level| handle.reload(filter(level)).is_ok();
                let _ = LEVEL.set(Box::new(set));
            }
        }};
    }
    let lines = fmt()
        .with_writer(make)
        // They would go to standard error by a macro that panics when its reader has gone.
        .log_internal_errors(false);
    match log.format {
        LogFormat::Json | LogFormat::Journald => begin!(lines.json().flatten_event(true)),
        LogFormat::Text => begin!(lines.with_ansi(colour == Colour::Ansi)),
    }
}

/// Starts the thread that writes; `None` when it cannot be.
fn writer(format: LogFormat) -> Option<SyncSender<Message>> {
    let journal = (format == LogFormat::Journald).then(Journald::new);
    let mut missing = None;
    match journal {
        Some(Ok(journal)) => return thread(journal, format),
        Some(Err(error)) => missing = Some(error),
        None => {}
    }
    // Another descriptor of the same file: a write that blocks holds no lock of the library's.
    let out = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
    let queue = thread(out, format)?;
    if let Some(error) = missing {
        let message = format!(
            "no journal of systemd is here ({error}); what `log.format` = \"journald\" would send it follows as JSON"
        );
        put(&queue, record(format, "WARN", &message).into_bytes());
    }
    Some(queue)
}

fn thread(out: impl Write + Send + 'static, format: LogFormat) -> Option<SyncSender<Message>> {
    let (queue, lines) = sync_channel(PLACES);
    let thread = std::thread::Builder::new().name("log".to_owned());
    let run = move || Writer::new(out, format).run(&lines);
    thread.spawn(run).ok().map(|_| queue)
}

enum Message {
    Line(Vec<u8>),
    /// Dropped when everything before it was tried.
    Finish(SyncSender<()>),
}

fn put(queue: &SyncSender<Message>, line: Vec<u8>) {
    if queue.try_send(Message::Line(line)).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// One line on its way to the thread. The formatter writes it at once.
struct Line(SyncSender<Message>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        put(&self.0, line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error of a command; lines that cannot be written are dropped.
struct Direct;

impl Write for Direct {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log thread.
struct Writer<W> {
    out: W,
    format: LogFormat,
    /// Lost lines that have been said.
    said: u64,
    /// The last line was written in part.
    torn: bool,
}

impl<W: Write> Writer<W> {
    const fn new(out: W, format: LogFormat) -> Self {
        Self {
            out,
            format,
            said: 0,
            torn: false,
        }
    }

    fn run(mut self, lines: &Receiver<Message>) {
        loop {
            let next = if self.said == lost() {
                lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                lines.recv_timeout(RETRY)
            };
            match next {
                Ok(Message::Line(line)) => self.line(&line),
                Ok(Message::Finish(done)) => drop(done),
                Err(RecvTimeoutError::Timeout) => self.say_lost(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.say_lost();
        if !self.write(line) {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says how many lines were lost since it was said last.
    fn say_lost(&mut self) {
        let lost = lost();
        let count = lost.saturating_sub(self.said);
        if count == 0 {
            return;
        }
        let lines = if count == 1 { "line was" } else { "lines were" };
        let notice = record(self.format, "WARN", &format!("{count} log {lines} lost"));
        if self.write(notice.as_bytes()) {
            self.said = lost;
        }
    }

    /// Whether all of it was written.
    fn write(&mut self, line: &[u8]) -> bool {
        if self.torn {
            match self.out.write_all(b"\n") {
                Ok(()) => self.torn = false,
                Err(_) => return false,
            }
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(count) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Another process made the shared descriptor non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(PAUSE);
                }
                _ => {
                    self.torn |= rest.len() < line.len();
                    return false;
                }
            }
        }
        true
    }
}

/// A line that is not an event: about lost lines, or a panic.
fn record(format: LogFormat, level: &str, message: &str) -> String {
    let time = jiff::Timestamp::now();
    match format {
        LogFormat::Text => format!("{time:.6}  {level} oncegate: {message}\n"),
        LogFormat::Json | LogFormat::Journald => {
            let record = json!({
                "timestamp": format!("{time:.6}"),
                "level": level,
                "message": message,
                "target": "oncegate",
            });
            format!("{record}\n")
        }
    }
}

/// Says that a thread panicked, and where; touches nothing that the panic may have left locked.
fn panicked(info: &PanicHookInfo<'_>) {
    let Some(queue) = QUEUE.get() else { return };
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "an unknown place".to_owned());
    let message = format!("thread `{name}` panicked at {place}: {what}");
    let format = FORMAT.get().copied().unwrap_or(LogFormat::Text);
    put(queue, record(format, "ERROR", &message).into_bytes());
}

type SetLevel = Box<dyn Fn(Level) -> bool + Send + Sync>;

/// Standard error belongs to the process, and so does what leads there.
static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();
static FORMAT: OnceLock<LogFormat> = OnceLock::new();
static LEVEL: OnceLock<SetLevel> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

const METRIC: &str = "oncegate_log_lines_lost";
/// Lines that wait for the thread: a burst of a few milliseconds at full speed.
const PLACES: usize = 4096;
/// How often writing is tried while nothing new is to be written.
const RETRY: Duration = Duration::from_secs(1);
/// Pause while a non-blocking standard error is full.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the end of the process waits for the last lines.
const FINISH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many octets.
    struct Disk {
        room: usize,
        text: Vec<u8>,
    }

    impl Write for &mut Disk {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let taken = octets.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.text.extend_from_slice(&octets[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_lost_is_said_once_and_on_a_line_of_its_own() {
        let mut disk = Disk {
            room: 9,
            text: Vec::new(),
        };
        let before = lost();
        let mut writer = Writer::new(&mut disk, LogFormat::Text);
        writer.said = before;
        writer.line(b"first\n");
        writer.line(b"second\n");
        writer.line(b"third\n");
        assert_eq!(lost() - before, 2);
        writer.out.room = 1000;
        writer.line(b"fourth\n");
        writer.line(b"fifth\n");
        let text = String::from_utf8(disk.text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [first, torn, notice, fourth, fifth] = lines.as_slice() else {
            panic!("{text}");
        };
        assert_eq!([*first, *torn], ["first", "sec"]);
        assert!(notice.ends_with("2 log lines were lost"), "{notice}");
        assert_eq!([*fourth, *fifth], ["fourth", "fifth"]);
    }
}

//! A gateway double: an HTTP server on loopback that takes messages, or does what bad ones do.
//!
//! It runs on threads of its own, so that tests with and without a runtime can use it. It remembers
//! every request, and knows a message by its header `X-Id`: the second copy is marked and answered
//! like the first.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use oncegate::config::Config;
use oncegate::core::courier::Delivering;
use oncegate::delivery::{Deliveries, Parts};
use oncegate::diagnostic::Source;
use oncegate::model::message::{Language, Medium, Message};
use oncegate::net::connect::Resolve;
use oncegate::secret::SecretString;
use oncegate::time::{FixedClock, UnixTime};

/// What a gateway does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Takes the message: `{"result":"ok","message_id":"m-1"}`.
    Take,
    /// Answers this.
    Say(u16, String),
    /// Answers 302 with this Location.
    Redirect(String),
    /// Answers what is no HTTP.
    Garbage,
    /// Answers 200 and sends JSON without end.
    Endless,
    /// Takes the message and says so only after [`GatewayDouble::release`].
    Hold,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The header `X-Id`.
    pub(crate) id: String,
    /// Whether a message of this id came before.
    pub(crate) duplicate: bool,
}

impl Received {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter();
        let found = found.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

/// The double.
pub(crate) struct GatewayDouble {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    usual: Option<Behaviour>,
    next: VecDeque<Behaviour>,
    received: Vec<Received>,
    connections: usize,
    endless: usize,
    released: bool,
    stopped: bool,
}

impl GatewayDouble {
    /// Listens on a port of the system's choice and takes every message.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::<Shared>::default();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let served = Arc::clone(&served);
                if served.state.lock().unwrap().stopped {
                    break;
                }
                let Ok(stream) = stream else { continue };
                // A client that hangs up is none of our failures.
                std::thread::spawn(move || served.serve(stream).ok());
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does from now on.
    pub(crate) fn behave(&self, usual: Behaviour) {
        self.shared.state.lock().unwrap().usual = Some(usual);
    }

    /// What it does with the next requests, before it behaves as usual.
    pub(crate) fn behave_next(&self, next: &[Behaviour]) {
        let mut state = self.shared.state.lock().unwrap();
        state.next.extend(next.iter().cloned());
    }

    /// Every request so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.state.lock().unwrap().received.clone()
    }

    /// Connections so far, with or without a request.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// Octets of endless answers that somebody took.
    pub(crate) fn endless(&self) -> usize {
        self.shared.state.lock().unwrap().endless
    }

    /// Waits until so many requests have come.
    pub(crate) async fn wait_for(&self, count: usize) {
        let shared = Arc::clone(&self.shared);
        let waited = tokio::task::spawn_blocking(move || shared.wait(count));
        waited.await.expect("the requests");
    }

    /// The same outside a runtime; all requests so far.
    pub(crate) fn wait(&self, count: usize) -> Vec<Received> {
        self.shared.wait(count);
        self.received()
    }

    /// Lets held requests be answered.
    pub(crate) fn release(&self) {
        self.shared.state.lock().unwrap().released = true;
        self.shared.changed.notify_all();
    }

    /// The table of a gateway that asks this double, with more lines of its own.
    pub(crate) fn table(&self, name: &str, more: &str) -> String {
        format!(
            "[delivery.{name}]\nkind = \"http\"\nallow_private = true\n\
             url = \"http://{}/send\"\nheaders = [\"X-Id: {{id}}\"]\n\
             body = '{{\"to\":\"{{to}}\",\"text\":\"{{text}}\"}}'\n\
             success_match = '/result = \"ok\"'\nreference = \"/message_id\"\n\
             media = [\"sms\"]\n{more}\n",
            self.address
        )
    }
}

impl Drop for GatewayDouble {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().stopped = true;
        self.release();
        // Wakes the accept loop.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn wait(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let waiting = |state: &mut State| state.received.len() < count;
        let wait = self.changed.wait_timeout_while(state, PATIENCE, waiting);
        assert!(
            !wait.unwrap().1.timed_out(),
            "{count} requests did not come"
        );
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        self.state.lock().unwrap().connections += 1;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut request = read(&mut reader)?;
        let (behaviour, reference) = {
            let mut state = self.state.lock().unwrap();
            let known = state.received.iter().position(|one| one.id == request.id);
            request.duplicate = known.is_some() && !request.id.is_empty();
            let reference = if request.duplicate { known } else { None };
            let reference = reference.unwrap_or(state.received.len()) + 1;
            state.received.push(request);
            let usual = state.usual.clone().unwrap_or(Behaviour::Take);
            (state.next.pop_front().unwrap_or(usual), reference)
        };
        self.changed.notify_all();
        self.answer(stream, behaviour, reference)
    }

    fn answer(&self, mut stream: TcpStream, behaviour: Behaviour, id: usize) -> io::Result<()> {
        let taken = format!("{{\"result\":\"ok\",\"message_id\":\"m-{id}\"}}");
        let (head, body) = match behaviour {
            Behaviour::Take => ("200 OK".to_owned(), taken),
            Behaviour::Say(status, body) => (format!("{status} x"), body),
            Behaviour::Redirect(location) => {
                (format!("302 Found\r\nLocation: {location}"), String::new())
            }
            Behaviour::Garbage => return stream.write_all(b"\x00\x01 220 hello\r\n\r\n"),
            Behaviour::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"result\":\"")?;
                loop {
                    stream.write_all(&[b'x'; 4096])?;
                    self.state.lock().unwrap().endless += 4096;
                }
            }
            Behaviour::Hold => {
                let state = self.state.lock().unwrap();
                let held = self.changed.wait_while(state, |state| !state.released);
                drop(held.unwrap());
                ("200 OK".to_owned(), taken)
            }
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Received> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next(), words.next());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut received = Received {
        method: method.unwrap_or_default(),
        path: path.unwrap_or_default(),
        headers,
        body: String::new(),
        id: String::new(),
        duplicate: false,
    };
    received.id = received.header("x-id").unwrap_or_default().to_owned();
    let length = received.header("content-length").unwrap_or("0").parse();
    let mut body = vec![0; length.map_err(io::Error::other)?];
    reader.read_exact(&mut body)?;
    received.body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(received)
}

/// Names that lead where a test says. A name with several answers gives them in turn, and the last
/// one from then on.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>>);

impl Names {
    pub(crate) fn lead(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        let mut names = self.0.lock().unwrap();
        let answers = names.entry(name.to_owned()).or_default();
        answers.push_back(addresses.collect());
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> Delivering<'a, io::Result<Vec<IpAddr>>> {
        let mut names = self.0.lock().unwrap();
        let answer = match names.get_mut(name) {
            Some(answers) if answers.len() > 1 => Ok(answers.pop_front().unwrap()),
            Some(answers) => Ok(answers[0].clone()),
            None => Err(io::Error::other("no such name")),
        };
        Box::pin(async move { answer })
    }
}

/// Gateways as a configuration file says, with a clock that stands still.
pub(crate) struct DeliveryLab {
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) clock: FixedClock,
    pub(crate) names: Names,
}

impl DeliveryLab {
    pub(crate) fn new(text: &str) -> Self {
        Self::open(&config(text).delivery)
    }

    pub(crate) fn open(plan: &oncegate::config::delivery::Delivery) -> Self {
        let clock = FixedClock::at(UnixTime::from_secs(1_800_000_000));
        let names = Names::default();
        let parts = Parts {
            clock: Arc::new(clock.clone()),
            resolver: Arc::new(names.clone()),
        };
        let deliveries = Deliveries::open(plan, &parts).expect("gateways");
        Self {
            deliveries: Arc::new(deliveries),
            clock,
            names,
        }
    }
}

/// The configuration of a text.
pub(crate) fn config(text: &str) -> Config {
    let source = Source::new("oncegate.toml", text);
    let loaded = Config::load(Some(&source), [], std::path::Path::new("/"));
    loaded.expect("a configuration").0
}

/// A message to a phone.
pub(crate) fn sms(id: u8, text: &str) -> Message {
    Message {
        id: [id; 16],
        medium: Medium::Sms,
        to: "010-1234-5678".to_owned(),
        subject: None,
        text: SecretString::from(text),
        code: Some(SecretString::from("755224")),
        language: Language::Ko,
    }
}

/// Longer than any honest wait on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

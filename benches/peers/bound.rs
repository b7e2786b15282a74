//! The ceiling of `machine bound`: what one thread does that has nothing to do but what cannot be left out.
//!
//! It reads requests by the batch, checks Message-Authenticator, reveals the code, computes three steps of the user's
//! TOTP and signs the answers. `durable` also links a record of each login into a chain of MACs and makes the batch
//! durable, by one write into a file that has its size and one fdatasync, before any answer leaves. There are no
//! policies, no throttle, no duplicates, no clients but one: it is a measure, not a server.

use std::collections::HashMap;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use oncegate::time::{Clock as _, SystemClock};
use sha1::Sha1;
use sha2::Sha256;
use socket2::SockRef;

use crate::Failure;

/// Prints its address, then answers until it is ended.
pub(crate) fn run(durable: Option<&Path>, secret: &Path, users: &Path) -> Result<(), Failure> {
    let mut server = Server::load(secret, users)?;
    let mut log = durable.map(Log::create).transpose()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    println!("ready radius={}", socket.local_addr()?);
    let mut post = Post::new();
    loop {
        let received = post.receive(&socket)?;
        let now = SystemClock.now().as_secs();
        post.replies.clear();
        for (place, length) in received.into_iter().enumerate() {
            let request = &mut post.buffers[place][..length];
            if let Some(right) = server.check(request, now, log.as_mut()) {
                post.replies.push((place, server.reply(right, request)));
            }
        }
        if let Some(log) = &mut log {
            log.commit()?;
        }
        post.send(&socket)?;
    }
}

struct User {
    key: Hmac<Sha1>,
    /// The step that was accepted last.
    last: u64,
}

struct Server {
    secret: Vec<u8>,
    signing: Hmac<Md5>,
    hiding: Md5,
    users: HashMap<Vec<u8>, User>,
    linking: Hmac<Sha256>,
    link: [u8; 32],
    sequence: u64,
}

impl Server {
    fn load(secret: &Path, users: &Path) -> Result<Self, Failure> {
        let secret = std::fs::read_to_string(secret)?.trim().as_bytes().to_vec();
        let mut known = HashMap::new();
        for line in std::fs::read_to_string(users)?.lines().skip(1) {
            let mut fields = line.split(',');
            let (Some(name), Some("totp"), Some(key)) =
                (fields.next(), fields.next(), fields.next())
            else {
                return Err("users: write them with `oncegate bench users`".into());
            };
            let key = data_encoding::BASE32_NOPAD.decode(key.as_bytes())?;
            let key = Hmac::new_from_slice(&key)?;
            known.insert(name.as_bytes().to_vec(), User { key, last: 0 });
        }
        Ok(Self {
            signing: Hmac::new_from_slice(&secret)?,
            hiding: Md5::new_with_prefix(&secret),
            linking: Hmac::new_from_slice(&[7; 32])?,
            users: known,
            link: [0; 32],
            sequence: 0,
            secret,
        })
    }

    /// Whether the code is right; nothing for what gets no answer.
    fn check(&mut self, request: &mut [u8], now: u64, log: Option<&mut Log>) -> Option<bool> {
        let length = u16::from_be_bytes([*request.get(2)?, *request.get(3)?]);
        let request = request.get_mut(..usize::from(length))?;
        let (mut name, mut hidden, mut signature) = (None, None, None);
        let mut at = 20;
        while at + 2 <= request.len() {
            let value = at + 2..at + usize::from(request[at + 1]);
            request.get(value.clone())?;
            at = value.end.max(at + 2);
            match request[value.start - 2] {
                1 => name = Some(value),
                2 => hidden = Some(value),
                80 => signature = Some(value),
                _ => {}
            }
        }
        let signature = signature?;
        let given: [u8; 16] = request.get(signature.clone())?.try_into().ok()?;
        request[signature].fill(0);
        let signed = self.signing.clone().chain_update(&*request);
        signed.verify_slice(&given).ok()?;
        let mask = self.hiding.clone().chain_update(request.get(4..20)?);
        let mask: [u8; 16] = mask.finalize().into();
        let typed = request[hidden?].iter().zip(mask).take(6);
        let typed = typed.fold(0, |typed, (octet, mask)| {
            typed * 10 + u32::from((octet ^ mask).wrapping_sub(b'0'))
        });
        let name = request.get(name?)?;
        let Some(user) = self.users.get_mut(name) else {
            return Some(false);
        };
        let present = now / 30;
        // All of them, as a server does whose time must not tell which one it was.
        let steps = [present - 1, present, present + 1];
        let made = steps.map(|step| (step, code(&user.key, step)));
        let Some((step, _)) = made.into_iter().find(|(_, made)| *made == typed) else {
            return Some(false);
        };
        let Some(log) = log else {
            return Some(true);
        };
        let right = step > user.last;
        user.last = user.last.max(step);
        self.sequence += 1;
        let start = log.batch.len();
        log.batch.extend_from_slice(&[0; 32]);
        log.batch.extend_from_slice(&self.sequence.to_le_bytes());
        log.batch.extend_from_slice(&now.to_le_bytes());
        log.batch.extend_from_slice(&step.to_le_bytes());
        log.batch.extend_from_slice(&request[4..20]);
        log.batch.extend_from_slice(name);
        log.batch.extend_from_slice(
            b"TOTP-0123456789A default:everybody radius bench pap accept totp_ok",
        );
        let linked = self.linking.clone().chain_update(self.link);
        let linked = linked.chain_update(&log.batch[start + 32..]);
        self.link = linked.finalize().into_bytes().into();
        log.batch[start..start + 32].copy_from_slice(&self.link);
        Some(right)
    }

    /// Message-Authenticator first, then the Response Authenticator over all (RFC 2869 s5.14, RFC 2865 s3).
    fn reply(&self, right: bool, request: &[u8]) -> [u8; REPLY] {
        let mut reply = [0; REPLY];
        reply[0] = if right { 2 } else { 3 };
        reply[1] = request[1];
        reply[2..4].copy_from_slice(&LENGTH.to_be_bytes());
        reply[4..20].copy_from_slice(&request[4..20]);
        reply[20..22].copy_from_slice(&[80, 18]);
        let signature = self.signing.clone().chain_update(reply);
        reply[22..].copy_from_slice(&signature.finalize().into_bytes());
        let authenticator = Md5::new().chain_update(reply).chain_update(&self.secret);
        reply[4..20].copy_from_slice(&authenticator.finalize());
        reply
    }
}

/// RFC 4226 s5.3, 6 digits.
fn code(key: &Hmac<Sha1>, step: u64) -> u32 {
    let tag: [u8; 20] = key
        .clone()
        .chain_update(step.to_be_bytes())
        .finalize()
        .into_bytes()
        .into();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes([tag[at], tag[at + 1], tag[at + 2], tag[at + 3]]);
    (number & 0x7fff_ffff) % 1_000_000
}

/// A file that has its size: a commit changes its content only.
struct Log {
    file: File,
    at: u64,
    batch: Vec<u8>,
}

impl Log {
    fn create(dir: &Path) -> Result<Self, Failure> {
        let file = File::create_new(dir.join("bound.log"))?;
        file.write_all_at(&vec![0; LOG], 0)?;
        file.sync_all()?;
        Ok(Self {
            file,
            at: 0,
            batch: Vec::new(),
        })
    }

    fn commit(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.at + self.batch.len() as u64 > LOG as u64 {
            self.at = 0;
        }
        self.file.write_all_at(&self.batch, self.at)?;
        self.file.sync_data()?;
        self.at += self.batch.len() as u64;
        self.batch.clear();
        Ok(())
    }
}

/// Buffers and kernel headers for batches in both directions.
struct Post {
    inbox: MultiHeaders<SockaddrStorage>,
    out: MultiHeaders<SockaddrStorage>,
    buffers: Vec<[u8; 512]>,
    from: Vec<Option<SockaddrStorage>>,
    /// With the place of the request.
    replies: Vec<(usize, [u8; REPLY])>,
}

impl Post {
    fn new() -> Self {
        Self {
            inbox: MultiHeaders::preallocate(BATCH, None),
            out: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; 512]; BATCH],
            from: Vec::with_capacity(BATCH),
            replies: Vec::with_capacity(BATCH),
        }
    }

    /// Waits for the first request and takes what else is there: their lengths.
    fn receive(&mut self, socket: &UdpSocket) -> Result<Vec<usize>, Failure> {
        let mut slices: Vec<_> = self
            .buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut self.inbox,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
        self.from.clear();
        let mut lengths = Vec::with_capacity(BATCH);
        for message in received {
            self.from.push(message.address);
            lengths.push(message.bytes);
        }
        Ok(lengths)
    }

    fn send(&mut self, socket: &UdpSocket) -> Result<(), Failure> {
        let mut first = 0;
        while first < self.replies.len() {
            let replies = self.replies.iter().skip(first);
            let to: Vec<_> = replies
                .clone()
                .map(|(place, _)| self.from[*place])
                .collect();
            let slices: Vec<_> = replies.map(|(_, reply)| [IoSlice::new(reply)]).collect();
            let flags = MsgFlags::empty();
            let sent = sendmmsg(socket.as_raw_fd(), &mut self.out, &slices, to, [], flags)?;
            first += sent.count();
        }
        Ok(())
    }
}

/// Most requests of one batch.
const BATCH: usize = 256;
/// Octets of an answer with nothing but Message-Authenticator in it.
const REPLY: usize = LENGTH as usize;
const LENGTH: u16 = 38;
/// Octets of the log, written over from its start when it is full.
const LOG: usize = 64 << 20;

//! Splits what the broker sends into frames, repairs content headers and cuts bodies off.

use sha2::{Digest as _, Sha256};
use wingbeat_core::HashMap;
use wingbeat_core::envelope::BODY_MAX;

use super::methods::{TUNE, method, readable};
use super::properties::{self, Extra};

/// The number of bytes that stay of a body that is too large.
pub(crate) const KEPT: usize = 64 << 10;
/// The bytes of the digest of the whole body, which follows the bytes that stay.
pub(crate) const DIGEST_BYTES: usize = 32;
/// The largest content header that is read as a whole. The rest of a longer one is skipped.
const HEADER_MAX: usize = 1 << 20;

// Frames (AMQP 0-9-1, section 4.2.3): type, channel, size, payload, end.
const HEAD: usize = 7;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xce;

/// The position in the stream.
enum Step {
    /// Collects the first bytes of a frame.
    Head,
    /// Collects a frame up to `want` bytes, and skips the rest.
    Whole { want: usize, skip: usize },
    /// Skips bytes.
    Skip(usize),
    /// Passes the rest of a frame on.
    Pass(usize),
    /// Passes the first bytes of a body frame on, and drops the rest.
    Cut {
        channel: u16,
        pass: usize,
        drop: usize,
        ends: bool,
    },
    /// Passes everything on: this is not AMQP, and the client reports it.
    Raw,
}

/// A body of which only the first bytes are passed on.
struct Cut {
    /// The bytes that the broker will still send.
    left: u64,
    /// The bytes that will still be passed on.
    keep: usize,
    digest: Sha256,
}

/// The frames of one connection.
pub(super) struct Frames {
    step: Step,
    partial: Vec<u8>,
    out: Vec<u8>,
    taken: usize,
    /// The longest frame that the client accepts.
    frame_max: usize,
    /// Bodies that are being cut off, by channel.
    cuts: HashMap<u16, Cut>,
}

impl Frames {
    pub(super) fn new(frame_max: u32) -> Self {
        Self {
            step: Step::Head,
            partial: Vec::new(),
            out: Vec::new(),
            taken: 0,
            // Zero stands for no limit of the client; the broker's follows.
            frame_max: match frame_max {
                0 => usize::MAX,
                limit => limit as usize,
            },
            cuts: HashMap::default(),
        }
    }

    /// Moves checked bytes into `buffer`. Returns their number.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let ready = &self.out[self.taken..];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.taken += count;
        if self.taken == self.out.len() {
            self.out.clear();
            self.taken = 0;
        }
        count
    }

    /// Adds bytes that the broker has sent.
    pub(super) fn feed(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let used = self.step(input);
            input = &input[used..];
        }
    }

    /// Handles a part of the input. Returns its length, which is not zero.
    fn step(&mut self, input: &[u8]) -> usize {
        match self.step {
            Step::Head => {
                let used = self.collect(input, HEAD);
                if !matches!(self.partial[0], METHOD | HEADER | BODY | HEARTBEAT) {
                    self.out.append(&mut self.partial);
                    self.step = Step::Raw;
                } else if self.partial.len() == HEAD {
                    self.begin();
                }
                used
            }
            Step::Whole { want, skip } => {
                let used = self.collect(input, want);
                if self.partial.len() == want {
                    self.whole(skip);
                    self.partial.clear();
                    self.step = if skip > 0 {
                        Step::Skip(skip)
                    } else {
                        Step::Head
                    };
                }
                used
            }
            Step::Skip(left) => {
                let used = left.min(input.len());
                self.step = after(left - used, Step::Skip);
                used
            }
            Step::Pass(left) => {
                let used = left.min(input.len());
                self.out.extend_from_slice(&input[..used]);
                self.step = after(left - used, Step::Pass);
                used
            }
            Step::Cut {
                channel,
                pass,
                drop,
                ends,
            } => self.cut(input, channel, (pass, drop), ends),
            Step::Raw => {
                self.out.extend_from_slice(input);
                input.len()
            }
        }
    }

    fn collect(&mut self, input: &[u8], want: usize) -> usize {
        let used = (want - self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input[..used]);
        used
    }

    fn channel(&self) -> u16 {
        u16::from_be_bytes([self.partial[1], self.partial[2]])
    }

    /// Decides how to read a frame, from its first bytes.
    fn begin(&mut self) {
        let head = &self.partial;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let channel = self.channel();
        match head[0] {
            METHOD | HEADER => {
                let whole = HEAD + size + 1;
                let want = whole.min(HEADER_MAX);
                let skip = whole - want;
                self.step = Step::Whole { want, skip };
            }
            BODY if self.cuts.contains_key(&channel) => {
                let keep = self.cuts[&channel].keep;
                let pass = size.min(keep);
                if pass > 0 {
                    frame_head(&mut self.out, BODY, channel, pass);
                }
                self.partial.clear();
                // The end of the frame is dropped, and written again if bytes were passed on.
                let (drop, ends) = (size - pass + 1, pass > 0);
                self.step = Step::Cut {
                    channel,
                    pass,
                    drop,
                    ends,
                };
            }
            _ => {
                self.out.append(&mut self.partial);
                self.step = Step::Pass(size + 1);
            }
        }
    }

    /// Handles a part of a body frame of which bytes are dropped.
    fn cut(
        &mut self,
        input: &[u8],
        channel: u16,
        (pass, drop): (usize, usize),
        ends: bool,
    ) -> usize {
        let Some(cut) = self.cuts.get_mut(&channel) else {
            self.step = Step::Head;
            return 0;
        };
        let used = if pass > 0 {
            pass.min(input.len())
        } else {
            drop.min(input.len())
        };
        let bytes = &input[..used];
        let (pass, drop) = if pass > 0 {
            self.out.extend_from_slice(bytes);
            cut.keep -= used;
            (pass - used, drop)
        } else {
            (0, drop - used)
        };
        // The last byte is the end of the frame.
        let data = used - usize::from(pass == 0 && drop == 0);
        cut.digest.update(&bytes[..data]);
        cut.left = cut.left.saturating_sub(data as u64);
        if pass > 0 || drop > 0 {
            self.step = Step::Cut {
                channel,
                pass,
                drop,
                ends,
            };
            return used;
        }
        if ends {
            self.out.push(END);
        }
        self.step = Step::Head;
        if cut.left == 0
            && let Some(cut) = self.cuts.remove(&channel)
        {
            frame_head(&mut self.out, BODY, channel, DIGEST_BYTES);
            self.out.extend_from_slice(&cut.digest.finalize());
            self.out.push(END);
        }
        used
    }

    /// Handles a method or a content header. `skip` bytes of it are missing.
    fn whole(&mut self, skip: usize) {
        let channel = self.channel();
        let end = if skip > 0 {
            self.partial.len()
        } else {
            self.partial.len() - 1
        };
        let payload = &self.partial[HEAD..end];
        if self.partial[0] == METHOD {
            self.cuts.remove(&channel);
            if method(payload) == Some(TUNE) {
                let server = payload.get(6..10).and_then(|it| it.try_into().ok());
                let server = server.map_or(0, u32::from_be_bytes) as usize;
                if server > 0 {
                    self.frame_max = self.frame_max.min(server);
                }
            }
            match readable(payload) {
                Some(payload) => frame(&mut self.out, METHOD, channel, &payload),
                None => self.out.append(&mut self.partial),
            }
            return;
        }
        let whole = self.partial.len() + skip;
        let Some(size) = payload.get(4..12).and_then(|it| it.try_into().ok()) else {
            self.out.append(&mut self.partial);
            return;
        };
        let size = u64::from_be_bytes(size);
        let too_long = (whole > self.frame_max).then_some(whole);
        let too_large = (size > BODY_MAX as u64).then_some(size);
        if too_long.is_none() && too_large.is_none() && properties::is_readable(payload) {
            self.out.append(&mut self.partial);
            return;
        }
        let passed = if too_large.is_some() {
            (KEPT + DIGEST_BYTES) as u64
        } else {
            size
        };
        let extra = Extra {
            too_long,
            too_large,
            passed,
        };
        let repaired = properties::repair(payload, &extra, self.frame_max - HEAD - 1);
        frame(&mut self.out, HEADER, channel, &repaired);
        if too_large.is_some() {
            let (left, keep, digest) = (size, KEPT, Sha256::new());
            self.cuts.insert(channel, Cut { left, keep, digest });
        }
    }
}

fn after(left: usize, then: fn(usize) -> Step) -> Step {
    if left == 0 { Step::Head } else { then(left) }
}

fn frame_head(out: &mut Vec<u8>, kind: u8, channel: u16, size: usize) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    out.extend_from_slice(&size.to_be_bytes());
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    frame_head(out, kind, channel, payload.len());
    out.extend_from_slice(payload);
    out.push(END);
}

/// Returns the properties and the body that a client receives for these. Feeds the frames in small
/// parts.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn checked(properties: &[u8], body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut header = vec![0, 60, 0, 0];
    header.extend_from_slice(&(body.len() as u64).to_be_bytes());
    header.extend_from_slice(properties);
    let mut input = Vec::new();
    frame(&mut input, HEADER, 1, &header);
    for part in body.chunks(16 << 10) {
        frame(&mut input, BODY, 1, part);
    }
    let mut frames = Frames::new(64 << 10);
    let mut output = Vec::new();
    let mut buffer = [0; 1_024];
    for part in input.chunks(1_021) {
        frames.feed(part);
        loop {
            let taken = frames.take(&mut buffer);
            if taken == 0 {
                break;
            }
            output.extend_from_slice(&buffer[..taken]);
        }
    }
    let (mut header, mut body) = (Vec::new(), Vec::new());
    let mut rest = &output[..];
    while let Some((head, after)) = rest.split_at_checked(HEAD) {
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        assert!(size + HEAD < 64 << 10, "a frame of {size} bytes");
        let (payload, after) = after.split_at(size);
        assert_eq!(after[0], END, "the end of a frame");
        match head[0] {
            HEADER => header.extend_from_slice(payload),
            _ => body.extend_from_slice(payload),
        }
        rest = &after[1..];
    }
    let told: [u8; 8] = header[4..12].try_into().expect("eight bytes");
    assert_eq!(
        u64::from_be_bytes(told),
        body.len() as u64,
        "the size of the body"
    );
    (header.split_off(12), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags for headers only, and an empty table.
    const NO_HEADERS: [u8; 6] = [0x20, 0, 0, 0, 0, 0];

    #[test]
    fn a_body_within_the_limit_passes_unchanged() {
        for size in [0, 1, KEPT + DIGEST_BYTES, BODY_MAX] {
            let body = vec![b'7'; size];
            let passed = checked(&NO_HEADERS, &body);
            assert_eq!(passed, (NO_HEADERS.to_vec(), body));
        }
    }

    #[test]
    fn a_larger_body_is_cut_off_and_followed_by_its_digest() {
        let mut body = vec![b'7'; BODY_MAX + 1];
        body[BODY_MAX] = b'8';
        let (properties, passed) = checked(&NO_HEADERS, &body);
        let (kept, digest) = passed.split_at(KEPT);
        assert!(kept.iter().all(|byte| *byte == b'7'));
        assert_eq!(digest, &Sha256::digest(&body)[..]);
        let size = (BODY_MAX + 1).to_string();
        let told = properties
            .windows(size.len())
            .any(|part| part == size.as_bytes());
        assert!(told, "a header has the size");
    }

    #[test]
    fn what_is_not_amqp_passes_unchanged() {
        let mut frames = Frames::new(4_096);
        frames.feed(b"AMQP\0\0\x09\x01 and more");
        let mut buffer = [0; 100];
        let taken = frames.take(&mut buffer);
        assert_eq!(&buffer[..taken], b"AMQP\0\0\x09\x01 and more");
    }

    /// The part of a cut body that waits in memory does not grow with the body.
    #[test]
    fn a_cut_body_needs_little_memory() {
        let mut frames = Frames::new(64 << 10);
        let size: u64 = 64 << 20;
        let header = [&[0, 60, 0, 0][..], &size.to_be_bytes(), &NO_HEADERS].concat();
        let mut input = Vec::new();
        frame(&mut input, HEADER, 1, &header);
        frames.feed(&input);
        let mut part = Vec::new();
        frame(&mut part, BODY, 1, &vec![b'7'; 32 << 10]);
        for _ in 0..2_048 {
            frames.feed(&part);
        }
        let waiting = frames.out.len() + frames.partial.len();
        assert!(waiting < 2 * KEPT, "{waiting} bytes");
        assert!(frames.cuts.is_empty() && matches!(frames.step, Step::Head));
    }
}

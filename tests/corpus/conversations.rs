//! Generated conversations of the clients with a scripted kernel.
//!
//! `LVS_CONVERSATIONS` is their number and `LVS_SEED` the seed. A third of the inputs are kept ones with mutations, half are
//! built of plausible datagrams, and the rest are random bytes.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use super::clients::{self, ACKNOWLEDGED, DELAY, ENDLESS, FAILURE, FITTING, MORE, OPERATIONS, OVERLONG, STRANGERS};
use super::exchange::{next, talk};

/// Number of the IPVS family in the kept answers of the controller.
const IPVS: u16 = 0x25;
/// Subsystem of ipset in the type of a message.
const IPSET: u16 = 6 << 8;

#[test]
fn conversations_of_random_bytes_do_not_panic() {
    let (seed, count) = (number("LVS_SEED", 1), number("LVS_CONVERSATIONS", 3000));
    let Some(kept) = Kept::read() else { return };
    let failed = Mutex::new(Vec::new());
    let mut generator = Generator { random: Random(seed), kept };
    for conversation in 0..count {
        let input = generator.input();
        if std::panic::catch_unwind(|| clients::run(&input)).is_err() {
            failed.lock().unwrap().push(format!("{conversation}: {}", talk::hex(&input)));
        }
    }
    let failed = failed.into_inner().unwrap();
    #[expect(clippy::print_stdout, reason = "the figure of a long run")]
    {
        println!("{count} conversations from seed {seed}: {} panics", failed.len());
    }
    assert!(failed.is_empty(), "seed {seed}, {} of {count}:\n{}", failed.len(), failed.join("\n"));
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.byte()).collect()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// A record of an input: the kind of reply and its bytes.
type Record = (u8, Vec<u8>);

/// The kept inputs and the messages of the other targets.
struct Kept {
    inputs: Vec<Vec<u8>>,
    /// Records of the kept inputs by client: IPVS, ipset, virtual IPs.
    records: [Vec<Record>; 3],
    /// Type and body of messages by client.
    messages: [Vec<(u16, Vec<u8>)>; 3],
    /// Answer of the controller that names the IPVS family.
    family: Record,
    acknowledgement: Record,
}

impl Kept {
    /// `None` in the package of the registry, which has no corpus.
    fn read() -> Option<Self> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        if !corpus.exists() {
            return None;
        }
        let files = |target: &str| -> Vec<Vec<u8>> {
            let mut paths: Vec<_> =
                fs::read_dir(corpus.join(target)).unwrap().map(|file| file.unwrap().path()).collect();
            // The order of a directory is not the same everywhere.
            paths.sort();
            paths.iter().map(|path| fs::read(path).unwrap()).collect()
        };
        let first = fs::read(corpus.join("clients/ipvs-7.3-4-info")).unwrap();
        let opening = records(&first);
        let inputs = files("clients");
        let mut by_client = [const { Vec::new() }; 3];
        for input in &inputs {
            let client = usize::from(input.first().map_or(0, |asked| asked % 4).div_ceil(2));
            by_client[client].extend(records(input));
        }
        let route = files("route").into_iter().filter_map(|file| {
            let (&kind, body) = file.split_first_chunk()?;
            Some((u16::from_le_bytes(kind), body.to_vec()))
        });
        let messages = [
            files("ipvs").into_iter().map(|body| (IPVS, body)).collect(),
            files("ipset").into_iter().map(|body| (IPSET, body)).collect(),
            route.collect(),
        ];
        let [family, acknowledgement] = [opening[0].clone(), opening[1].clone()];
        Some(Self { inputs, records: by_client, messages, family, acknowledgement })
    }
}

fn records(input: &[u8]) -> Vec<Record> {
    let mut rest = input.get(1..).unwrap_or_default();
    std::iter::from_fn(|| next(&mut rest).map(|(how, bytes)| (how, bytes.to_vec()))).collect()
}

struct Generator {
    random: Random,
    kept: Kept,
}

impl Generator {
    fn input(&mut self) -> Vec<u8> {
        match self.random.below(6) {
            0 | 1 => {
                let mut input = self.random.pick(&self.kept.inputs).clone();
                if self.random.one_in(2) && !input.is_empty() {
                    // The same answers to another question.
                    input[0] = input[0] % 4 + 4 * (self.random.byte() % 64);
                }
                self.damage(&mut input);
                input
            }
            5 => self.random.bytes(400),
            _ => self.plausible(),
        }
    }

    /// Answers of the right protocol, in an order that a kernel might send them in.
    fn plausible(&mut self) -> Vec<u8> {
        let client = self.random.below(3);
        let operation = self.random.byte() % OPERATIONS[client];
        let selector = [0, 1 + self.random.byte() % 2, 3][client];
        let mut input = vec![selector + 4 * operation];
        if client == 0 {
            let [family, acknowledgement] = [&self.kept.family, &self.kept.acknowledgement];
            write(&mut input, family.0, &family.1);
            write(&mut input, acknowledgement.0, &acknowledgement.1);
        }
        for _ in 0..=self.random.below(12) {
            self.exchange(client, operation, &mut input);
        }
        if self.random.one_in(2) {
            for _ in 0..self.random.below(80) {
                write(&mut input, FITTING, &[]);
            }
        }
        if self.random.one_in(4) {
            self.damage(&mut input);
        }
        input
    }

    /// The answer to one datagram of requests.
    fn exchange(&mut self, client: usize, operation: u8, input: &mut Vec<u8>) {
        match self.random.below(12) {
            0 => return write(input, ACKNOWLEDGED, &[]),
            1 => return write(input, 0, &talk::answer(&talk::message(0, 0, 0, &[]), 2)),
            2..=7 => {
                let body = if client == 0 { self.body_of_ipvs(operation) } else { Vec::new() };
                return write(input, FITTING, &body);
            }
            _ => {}
        }
        let dump = self.random.one_in(2);
        let mut replies: Vec<Record> = Vec::new();
        for _ in 0..self.random.below(4) {
            replies.push((0, self.datagram(client, dump)));
        }
        let code = if self.random.one_in(4) { self.errno() } else { 0 };
        match self.random.below(6) {
            0 => {}
            1 | 2 if dump => replies.push((0, talk::done(0, -code))),
            _ if code == 0 => replies.push((ACKNOWLEDGED, Vec::new())),
            _ => replies.push((0, talk::answer(&talk::message(0, 0, 0, &[]), code))),
        }
        for reply in &mut replies {
            self.disturb(reply);
        }
        if self.random.one_in(8) {
            replies.reverse();
        }
        if self.random.one_in(16) {
            let delay = u16::try_from(self.random.below(400)).unwrap();
            replies.insert(self.random.below(replies.len() + 1), (DELAY, delay.to_le_bytes().to_vec()));
        }
        if replies.is_empty() {
            return write(input, FAILURE, &[11]);
        }
        let last = replies.len() - 1;
        for (place, (how, bytes)) in replies.iter().enumerate() {
            write(input, if place < last { how | MORE } else { how & !MORE }, bytes);
        }
    }

    /// A kept message of the command that answers the operation.
    fn body_of_ipvs(&mut self, operation: u8) -> Vec<u8> {
        let command = match operation {
            3 | 13 => 5,
            4 => 14,
            5 => 12,
            6 => 9,
            0 | 12 | 14 => *self.random.pick(&[1, 5]),
            _ => 1,
        };
        let fitting: Vec<_> = self.kept.messages[0].iter().filter(|(_, body)| body.first() == Some(&command)).collect();
        if fitting.is_empty() { Vec::new() } else { self.random.pick(&fitting).1.clone() }
    }

    fn datagram(&mut self, client: usize, dump: bool) -> Vec<u8> {
        if self.random.one_in(3) {
            return self.random.pick(&self.kept.records[client]).1.clone();
        }
        let mut datagram = Vec::new();
        for _ in 0..=self.random.below(4) {
            let (kind, body) = self.random.pick(&self.kept.messages[client]);
            let (mut kind, mut body) = (*kind, body.clone());
            if kind == IPSET {
                kind |= u16::from(*self.random.pick(&[1u8, 7, 7, 12, 13, 14, 15]));
            }
            if self.random.one_in(6) && !body.is_empty() {
                let place = self.random.below(body.len());
                body[place] = self.random.byte();
            }
            let flags = if dump { talk::MULTI } else { 0 };
            let interrupted = if self.random.one_in(20) { talk::INTERRUPTED } else { 0 };
            datagram.extend(talk::message(kind, flags | interrupted, 0, &body));
        }
        datagram
    }

    /// An error number of the kernel or of ipset.
    fn errno(&mut self) -> i32 {
        let codes = [1, 2, 4, 11, 16, 17, 22, 95, 105, 4096, 4097, 4099, 4103, 4109, 4352, i32::MAX, i32::MIN + 1, -1];
        *self.random.pick(&codes)
    }

    /// Seldom makes a reply arrive otherwise than the kernel sends it.
    fn disturb(&mut self, (how, bytes): &mut Record) {
        match self.random.below(60) {
            0 => *how = ENDLESS,
            1 => *how = OVERLONG,
            2 => *how |= STRANGERS,
            3 => (*how, *bytes) = (FAILURE, vec![*self.random.pick(&[4, 11, 105, 9])]),
            4 => bytes.truncate(self.random.below(bytes.len())),
            // The length of the message or of an attribute.
            5 if bytes.len() > 24 => bytes[*self.random.pick(&[0, 1, 2, 3, 20, 21])] = self.random.byte(),
            // The number of an earlier request.
            6 if bytes.len() > 16 => bytes[8] = self.random.byte() % 16,
            7..=12 if !bytes.is_empty() => {
                let place = self.random.below(bytes.len());
                bytes[place] = self.random.byte();
            }
            _ => {}
        }
    }

    /// Some bytes are other ones, missing, doubled, or of another input.
    fn damage(&mut self, input: &mut Vec<u8>) {
        for _ in 0..=self.random.below(4) {
            let place = self.random.below(input.len());
            match self.random.below(6) {
                0 => input.truncate(place),
                1 => input.insert(place, self.random.byte()),
                2 => {
                    let other = self.random.pick(&self.kept.inputs);
                    input.truncate(place);
                    input.extend_from_slice(&other[place.min(other.len())..]);
                }
                3 => input.extend_from_within(place..),
                _ if input.is_empty() => {}
                4 => input[place] ^= 1 << self.random.below(8),
                _ => input[place] = *self.random.pick(&[0, 1, 4, 127, 128, 255]),
            }
        }
    }
}

fn write(input: &mut Vec<u8>, how: u8, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    input.push(how);
    input.extend(length.to_le_bytes());
    input.extend(&bytes[..usize::from(length)]);
}

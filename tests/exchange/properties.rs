//! Properties of all conversations.

use proptest::prelude::*;

use crate::talk::*;

/// Reply of a kernel to one request of a batch.
#[derive(Clone, Debug)]
struct Reaction {
    data: Vec<Vec<u8>>,
    errno: i32,
    /// Whether something of another conversation stands before it.
    noise: bool,
    /// Whether its last message starts a datagram.
    split: bool,
}

fn reaction() -> impl Strategy<Value = Reaction> {
    let data = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..3);
    let errno = prop_oneof![2 => Just(0), 1 => 1..200i32];
    (data, errno, any::<bool>(), any::<bool>()).prop_map(|(data, errno, noise, split)| Reaction {
        data,
        errno,
        noise,
        split,
    })
}

/// One step of the kernel, the driver or another process.
#[derive(Clone, Debug)]
enum Deed {
    Queue(Vec<u8>),
    Dump,
    Steps(u8),
    Receive {
        port: u32,
        bytes: Vec<u8>,
    },
    /// Well-formed, and with a sequence number that is or was in use.
    Reply {
        kind: u16,
        flags: u16,
        back: u32,
        body: Vec<u8>,
        cut: usize,
    },
    Long,
    Abandon,
    Reset,
}

fn deed() -> impl Strategy<Value = Deed> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    let kind = prop_oneof![Just(ERROR), Just(DONE), Just(FAMILY), 0..6u16];
    let flags = prop_oneof![Just(0), Just(MULTI), Just(CAPPED | ACK_TLVS), Just(ACK_TLVS), any::<u16>()];
    prop_oneof![
        2 => bytes().prop_map(Deed::Queue),
        2 => Just(Deed::Dump),
        4 => (0..5u8).prop_map(Deed::Steps),
        2 => (prop_oneof![4 => Just(0), 1 => any::<u32>()], bytes())
            .prop_map(|(port, bytes)| Deed::Receive { port, bytes }),
        6 => (kind, flags, 0..4u32, bytes(), prop_oneof![3 => Just(0), 1 => 0..20usize])
            .prop_map(|(kind, flags, back, body, cut)| Deed::Reply { kind, flags, back, body, cut }),
        1 => Just(Deed::Long),
        1 => Just(Deed::Abandon),
        1 => Just(Deed::Reset),
    ]
}

proptest! {
    #[test]
    fn every_reaction_to_a_batch_is_reported_once(
        reactions in prop::collection::vec(reaction(), 1..20)
    ) {
        let mut talk = Talk::new();
        let sent = batch(&mut talk, u8::try_from(reactions.len()).unwrap());
        let mut expected = Vec::new();
        let mut datagrams = vec![Vec::new()];
        for (i, (request, reaction)) in sent.iter().zip(&reactions).enumerate() {
            let mut said = Vec::new();
            if reaction.noise {
                said.extend(entry(sequence(request).wrapping_sub(1000), b"noise"));
            }
            for body in &reaction.data {
                said.extend(message(FAMILY, 0, sequence(request), body));
                expected.push(got(i, body));
            }
            datagrams.last_mut().unwrap().extend(said);
            if reaction.split {
                datagrams.push(Vec::new());
            }
            if reaction.errno != 0 {
                expected.push(refused(i, reaction.errno));
            }
            if reaction.errno != 0 || i + 1 == sent.len() {
                datagrams.last_mut().unwrap().extend(answer(request, reaction.errno));
            }
        }
        let mut heard = Vec::new();
        for datagram in &datagrams {
            prop_assert_ne!(heard.last(), Some(&Said::Finished));
            heard.extend(talk.hear(datagram));
            if heard.last() == Some(&Said::Receive) {
                heard.pop();
            }
        }
        expected.push(Said::Finished);
        prop_assert_eq!(heard, expected);
        talk.works();
    }

    #[test]
    fn no_sequence_of_steps_panics_or_hangs_and_a_reset_recovers(deeds in prop::collection::vec(deed(), 0..40)) {
        let mut limits = Limits::default();
        limits.inbox = 512;
        let mut talk = Talk::within(limits);
        let mut queued = 0u32;
        for deed in deeds {
            match deed {
                Deed::Queue(body) => queued += u32::from(talk.0.queue(FAMILY, 0, &body).is_ok()),
                Deed::Dump => queued += u32::from(talk.0.queue_dump(FAMILY, b"all!").is_ok()),
                Deed::Steps(count) => {
                    for _ in 0..count {
                        talk.step();
                    }
                }
                Deed::Receive { port, bytes } => talk.receive_from(port, &bytes),
                Deed::Reply { kind, flags, back, body, cut } => {
                    let mut bytes = message(kind, flags, queued.wrapping_sub(back), &body);
                    bytes.truncate(bytes.len().saturating_sub(cut));
                    talk.receive_from(0, &bytes);
                }
                Deed::Long => talk.0.received(513, 0),
                Deed::Abandon => talk.0.abandon(),
                Deed::Reset => talk.0.reset(),
            }
            let _ = talk.0.is_full();
            let _ = talk.0.outgoing();
            prop_assert!(talk.0.message().len() <= 512);
        }
        // It comes to rest: at most every 16 bytes of the inbox say something.
        let rest = (0..40).map(|_| talk.step()).find(|said| {
            matches!(said, Said::Receive | Said::Finished)
        });
        prop_assert!(rest.is_some());
        talk.0.reset();
        talk.works();
    }

    #[test]
    fn a_damaged_conversation_never_panics_and_the_next_one_works(
        damage in prop::collection::vec((0..3usize, any::<prop::sample::Index>(), any::<u8>()), 1..6),
        shorter in prop::option::of((0..3usize, any::<prop::sample::Index>())),
        dump in any::<bool>(),
    ) {
        let mut talk = Talk::new();
        let mut datagrams = if dump {
            let dump = talk.dump();
            let words = [&(-EINVAL).to_ne_bytes()[..], &attribute(1, b"words\0")].concat();
            vec![
                [entry(dump, b"one"), entry(dump, b"two++")].concat(),
                [entry(dump, &[7; 33]), entry(dump, b"")].concat(),
                [entry(dump, b"three"), message(DONE, MULTI | ACK_TLVS, dump, &words)].concat(),
            ]
        } else {
            let sent = batch(&mut talk, 4);
            vec![
                answer_with(&sent[0], EEXIST, ACK_TLVS, &attribute(1, b"words\0")),
                [message(FAMILY, 0, sequence(&sent[2]), b"data"), answer(&sent[2], EEXIST)].concat(),
                answer(&sent[3], 0),
            ]
        };
        for (which, at, byte) in damage {
            let at = at.index(datagrams[which].len());
            datagrams[which][at] = byte;
        }
        if let Some((which, at)) = shorter {
            let length = at.index(datagrams[which].len());
            datagrams[which].truncate(length);
        }
        for datagram in &datagrams {
            talk.hear(datagram);
        }
        talk.0.reset();
        talk.works();
    }
}
